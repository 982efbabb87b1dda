/**
 * Opening a web page on the screen of the person who runs the program.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * No browser could be opened; `detail` says why.
 *
 * @category errors
 * @since 0.1.0
 */
export class BrowserNotOpened
  extends Schema.TaggedError<BrowserNotOpened>("@effect-authn/core/login/Browser/BrowserNotOpened")(
    "BrowserNotOpened",
    { detail: Schema.String }
  )
{
  override get message(): string {
    return `no browser could be opened: ${this.detail}`
  }
}

/**
 * Opens pages in front of the person. `NodeBrowser` of `@effect-authn/platform-node` starts the browser of the system.
 *
 * @category services
 * @since 0.1.0
 */
export class Browser extends Context.Service<Browser, {
  /**
   * Why a page that opens here would not be in front of the person, in words for people; `None` if nothing is known to
   * be in the way. `environmentObstacle` reads it from the environment.
   */
  readonly obstacle: Effect.Effect<Option.Option<string>>
  /**
   * Shows an http or https page. Success says that a browser was started, not that anybody looks at it. Fails with
   * `BrowserNotOpened` when none could be started.
   */
  readonly open: (url: string) => Effect.Effect<void, BrowserNotOpened>
}>()("@effect-authn/core/login/Browser") {}

const elsewhere: ReadonlyArray<readonly [names: ReadonlyArray<string>, where: string]> = [
  [["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"], "this is an SSH session"],
  [["CODESPACES"], "this is a GitHub codespace"],
  [["REMOTE_CONTAINERS", "DEVCONTAINER"], "this is a development container"],
  [["KUBERNETES_SERVICE_HOST", "container"], "this is a container"],
  [["CI"], "this is a run of continuous integration"]
]

/**
 * Why a browser that opens on this machine would not be in front of the person, by the environment variables that SSH,
 * Codespaces, development containers and the like set, read through the program's `ConfigProvider`. `needsDisplay` is for
 * systems whose windows need `DISPLAY` or `WAYLAND_DISPLAY` (not macOS, not Windows).
 *
 * **Example** (A session over SSH)
 *
 * ```ts import.meta.vitest
 * import { Browser } from "@effect-authn/core"
 * import { ConfigProvider, Effect, Option } from "effect"
 *
 * const env = { SSH_CONNECTION: "10.0.0.1 51234 10.0.0.2 22" }
 * const obstacle = Browser.environmentObstacle({ needsDisplay: true }).pipe(
 *   Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
 * )
 *
 * Option.getOrThrow(await Effect.runPromise(obstacle)) // => "this is an SSH session (SSH_CONNECTION is set)"
 * ```
 *
 * @category detection
 * @since 0.1.0
 */
export const environmentObstacle = Effect.fnUntraced(function*(options: {
  readonly needsDisplay: boolean
}): Effect.fn.Return<Option.Option<string>> {
  for (const [names, where] of elsewhere) {
    const name = yield* firstSet(names)
    if (name !== undefined) return Option.some(`${where} (${name} is set)`)
  }
  // Under WSL, the windows are those of Windows.
  const display = yield* firstSet(["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "WSL_INTEROP"])
  return options.needsDisplay && display === undefined
    ? Option.some("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)")
    : Option.none()
})

/** The first of the variables that says something; `0` and `false` say no. */
const firstSet = Effect.fnUntraced(function*(names: ReadonlyArray<string>) {
  for (const name of names) {
    const value = yield* Effect.orElseSucceed(Config.option(Config.String(name)), () => Option.none())
    if (Option.isSome(value) && !/^(|0|false)$/i.test(value.value.trim())) return name
  }
  return undefined
})
