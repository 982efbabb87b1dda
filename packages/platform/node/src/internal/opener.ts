/** The program that opens a web page, per operating system. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** The operating system, as far as opening a page goes. */
export type System = "macos" | "windows" | "wsl" | "linux"

/** The program and its arguments. No shell takes part, so nothing in an address can be a command. */
export const opener = (system: System, url: string): readonly [program: string, ...args: ReadonlyArray<string>] =>
  openers[system](url)

const openers: { readonly [system in System]: (url: string) => readonly [string, ...ReadonlyArray<string>] } = {
  macos: (url) => ["open", url],
  windows: (url) => ["rundll32", "url.dll,FileProtocolHandler", url],
  wsl: (url) => ["rundll32.exe", "url.dll,FileProtocolHandler", url],
  linux: (url) => ["xdg-open", url]
}

/** The system that this program runs on. */
export const system: Effect.Effect<System> = Effect.suspend(() => {
  if (process.platform === "darwin") return Effect.succeed("macos")
  if (process.platform === "win32") return Effect.succeed("windows")
  const isSet = (name: string) =>
    Effect.orElseSucceed(Effect.map(Config.option(Config.String(name)), Option.isSome), () => false)
  return Effect.map(
    Effect.all([isSet("WSL_DISTRO_NAME"), isSet("WSL_INTEROP")]),
    (signs): System => signs.some(Boolean) ? "wsl" : "linux"
  )
})
