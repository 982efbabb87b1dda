/**
 * What people and pipes say: prompts on a terminal, secrets on the standard input.
 */
import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import { failed, usage } from "./Failure.ts"
import * as Output from "./Output.ts"

/** The terminal, with everything that is shown on the standard error: the standard output is for data. */
export const layerTerminal: Layer.Layer<Terminal.Terminal, never, Stdio.Stdio | Terminal.Terminal> = Layer.effect(
  Terminal.Terminal,
  Effect.gen(function*() {
    const stdio = yield* Stdio.Stdio
    return Terminal.make({
      ...(yield* Terminal.Terminal),
      display: (text) => Effect.provideService(Output.show(text), Stdio.Stdio, stdio)
    })
  })
)

/** Prompts in colour only where people see them. */
export const layerTheme: Layer.Layer<never, never, Stdio.Stdio> = Layer.effect(
  Prompt.Theme,
  Effect.map(Output.paint("stderr"), ({ bold }) => Prompt.makeTheme({ colors: bold("x") !== "x" }))
)

/** Whether there is a person to ask. */
export const hasPerson: Effect.Effect<boolean, never, Stdio.Stdio> = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  return (yield* stdio.stdinIsTerminal) && (yield* stdio.stderrIsTerminal)
})

// No token and no document is larger.
const most = 1024 * 1024

/** The whole standard input as text. A terminal is refused, since people would wait without knowing for what. */
export const text = Effect.fnUntraced(function*(what: string) {
  const stdio = yield* Stdio.Stdio
  if (yield* stdio.stdinIsTerminal) {
    return yield* usage(`${what} is read from the standard input, which is a terminal: pipe it in`)
  }
  return yield* Stream.decodeText(stdio.stdin).pipe(
    Stream.mapError(({ message, reason: { cause } }) =>
      failed(`the standard input cannot be read: ${Predicate.isError(cause) ? cause.message : message}`)
    ),
    Stream.runFoldEffect(() => "", (read, chunk) =>
      read.length + chunk.length > most
        ? Effect.fail(usage(`${what} is longer than ${most} characters`))
        : Effect.succeed(read + chunk))
  )
})

/**
 * A secret from the standard input: its first line.
 */
export const secret = Effect.fnUntraced(function*(what: string) {
  const [line = ""] = (yield* text(what)).split(/\r?\n/)
  if (line === "") return yield* usage(`${what} is read from the standard input, and that is empty`)
  return Redacted.make(line)
})
