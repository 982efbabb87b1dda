/**
 * What people and pipes say: prompts on a terminal, secrets on the standard input.
 *
 * @since 0.1.0
 */
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Terminal from "effect/Terminal"
import { failed, type Failure, usage } from "./Failure.ts"
import * as Output from "./Output.ts"

/**
 * The terminal, with everything that is shown on the standard error: the standard output is for data.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTerminal: Layer.Layer<Terminal.Terminal> = Layer.effect(
  Terminal.Terminal,
  Effect.map(Terminal.Terminal, (terminal) => Terminal.make({ ...terminal, display: Output.show }))
).pipe(Layer.provide(NodeTerminal.layer))

/**
 * Prompts in colour only where people see them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTheme: Layer.Layer<never> = Layer.effect(
  Prompt.Theme,
  Effect.map(Output.paint("stderr"), ({ bold }) => Prompt.makeTheme({ colors: bold("x") !== "x" }))
)

/**
 * Whether there is a person to ask.
 *
 * @category accessors
 * @since 0.1.0
 */
export const hasPerson: Effect.Effect<boolean> = Effect.sync(() => process.stdin.isTTY && process.stderr.isTTY)

// No token and no document is larger.
const most = 1024 * 1024

/**
 * The whole standard input as text. A terminal is refused, since people would wait without knowing for what.
 *
 * @category reading
 * @since 0.1.0
 */
export const text = (what: string): Effect.Effect<string, Failure> =>
  Effect.suspend(() => {
    if (process.stdin.isTTY) {
      return Effect.fail(usage(`${what} is read from the standard input, which is a terminal: pipe it in`))
    }
    return Effect.callback<string, Failure>((resume) => {
      let read = ""
      const { stdin } = process
      stdin.setEncoding("utf8")
      const onData = (chunk: string) => {
        read += chunk
        if (read.length > most) resume(Effect.fail(usage(`${what} is longer than ${most} characters`)))
      }
      const onEnd = () => resume(Effect.succeed(read))
      const onError = (error: Error) =>
        resume(Effect.fail(failed(`the standard input cannot be read: ${error.message}`)))
      stdin.on("data", onData).on("end", onEnd).on("error", onError)
      return Effect.sync(() => {
        stdin.off("data", onData).off("end", onEnd).off("error", onError)
        stdin.pause()
      })
    })
  })

/**
 * A secret from the standard input: its first line.
 *
 * @category reading
 * @since 0.1.0
 */
export const secret = Effect.fnUntraced(function*(what: string) {
  const [line = ""] = (yield* text(what)).split(/\r?\n/)
  if (line === "") return yield* usage(`${what} is read from the standard input, and that is empty`)
  return Redacted.make(line)
})
