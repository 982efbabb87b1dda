/**
 * Opens web pages with the program that the operating system has for it.
 *
 * @since 0.1.0
 */
import { Browser, BrowserNotOpened, environmentObstacle } from "@effect-authn/core/login/Browser"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ChildProcess from "effect/process/ChildProcess"
import * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import { opener, system } from "./internal/opener.ts"

// An opener that is still running by then has become the browser, or waits for it.
const patience = "3 seconds"

/**
 * Makes the opener for the system that this program runs on. The browser outlives the program.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const on = yield* system

  const open = Effect.fn("NodeBrowser.open")(function*(url: string): Effect.fn.Return<void, BrowserNotOpened> {
    const page = URL.parse(url)
    if (page?.protocol !== "https:" && page?.protocol !== "http:") {
      return yield* new BrowserNotOpened({ detail: "only http and https addresses are opened" })
    }
    const [program, ...args] = opener(on, page.href)
    const command = ChildProcess.make(program, args, { stdin: "ignore", stdout: "ignore", stderr: "ignore" })
    // A scope that closes ends its processes, but not one that was let go.
    const ended = yield* spawner.spawn(command).pipe(
      Effect.tap((child) => child.unref),
      Effect.flatMap((child) => Effect.timeoutOption(child.exitCode, patience)),
      Effect.scoped,
      Effect.mapError(({ reason }) =>
        new BrowserNotOpened({ detail: `${program} could not be started (${reason._tag})` })
      )
    )
    return yield* Option.isSome(ended) && ended.value !== 0
      ? new BrowserNotOpened({ detail: `${program} ended with ${ended.value}` })
      : Effect.void
  })

  return Browser.of({
    obstacle: environmentObstacle({ needsDisplay: on === "linux" }),
    open
  })
})

/**
 * Opens pages with `open` (macOS), `rundll32` (Windows, and Windows from WSL) or `xdg-open`. Where it runs is told by the
 * environment variables that the program's `ConfigProvider` knows.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Browser> = Layer.provide(Layer.effect(Browser, make), NodeServices.layer)
