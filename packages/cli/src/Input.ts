/**
 * What people and pipes say: prompts on a terminal, secrets on the standard input.
 */
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import { failed, type Failure, usage } from "./Failure.ts"
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

/** What comes in as text, up to where it is enough. A terminal is refused, since people would wait without knowing for what. */
const read = Effect.fnUntraced(function*(what: string, isEnough: (text: string) => boolean) {
  const stdio = yield* Stdio.Stdio
  if (yield* stdio.stdinIsTerminal) {
    return yield* usage(`${what} is read from the standard input, which is a terminal: pipe it in`)
  }
  const input = Stream.mapError(
    stdio.stdin,
    ({ message, reason: { cause } }) =>
      failed(`the standard input cannot be read: ${Predicate.isError(cause) ? cause.message : message}`)
  )
  return yield* decoded(input, what, isEnough)
})

/** The text of a stream, up to where it is enough. */
const decoded = Effect.fnUntraced(function*(
  input: Stream.Stream<Uint8Array, Failure>,
  what: string,
  isEnough: (text: string) => boolean
) {
  const bytes = yield* input.pipe(
    Stream.scan(() => new Uint8Array(), joined),
    Stream.takeUntil((bytes) => bytes.length > most || isEnough(decoder(bytes, false).decode(bytes))),
    Stream.runLast,
    Effect.map(Option.getOrElse(() => new Uint8Array()))
  )
  if (bytes.length > most) return yield* usage(`${what} is longer than ${most} bytes`)
  const text = yield* Effect.try({
    try: () => decoder(bytes, true).decode(bytes),
    catch: () => usage(`${what} came in as something else than UTF-8: write it as UTF-8`)
  })
  // UTF-16 without its mark, or no text at all.
  return text.includes("\0")
    ? yield* usage(`${what} came in with NUL characters, as in UTF-16: write it as UTF-8`)
    : text
})

const joined = (head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> => {
  const all = new Uint8Array(head.length + tail.length)
  all.set(head)
  all.set(tail, head.length)
  return all
}

/** Windows begins a text with a mark, which tells its encoding and is no part of it. */
const decoder = (bytes: Uint8Array, fatal: boolean): TextDecoder => {
  const [first, second] = bytes
  const encoding = first === 0xff && second === 0xfe
    ? "utf-16le"
    : first === 0xfe && second === 0xff
    ? "utf-16be"
    : "utf-8"
  return new TextDecoder(encoding, { fatal })
}

/** The text of a file that was named, a pipe's as well. */
export const file = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const input = Stream.mapError(
    fs.stream(path),
    (error) =>
      usage(
        `${path} cannot be read: ${
          error.reason._tag === "NotFound" ? "there is no such file" : PrivateFile.reasonOf(error)
        }`
      )
  )
  return yield* decoded(input, path, () => false)
})

/** The whole standard input as text. */
export const text = (what: string) => read(what, () => false)

/** The lines before the first empty one, which ends them as the end of the input does: who asks may keep the pipe open. */
export const paragraph = (what: string) =>
  Effect.map(read(what, (text) => /(^|\n)\r?\n/.test(text)), (text) => {
    const lines = text.split(/\r?\n/)
    const end = lines.indexOf("")
    return end === -1 ? lines : lines.slice(0, end)
  })

/**
 * A secret from the standard input: its first line that is not empty.
 */
export const secret = Effect.fnUntraced(function*(what: string) {
  const text = yield* read(what, (text) => /[^\r\n]\r?\n/.test(text))
  const line = text.split(/\r?\n/).find((line) => line !== "")
  if (line === undefined) return yield* usage(`${what} is read from the standard input, and that is empty`)
  return Redacted.make(line)
})

/**
 * A token from the standard input, as people hand it on: with or without `Bearer`.
 */
export const token = Effect.gen(function*() {
  const found = TokenSet.accessTokenFrom((yield* secret("the token")).pipe(Redacted.value).trim())
  return Option.isSome(found) ? found.value : yield* usage("what came in is no token: it is empty, or not plain text")
})
