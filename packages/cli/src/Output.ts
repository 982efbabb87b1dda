/**
 * What is printed: data on the standard output, people's text on the standard error, colour on terminals only.
 */
import * as CliOutput from "effect/cli/CliOutput"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as UserDirectories from "effect/persistence/UserDirectories"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import * as Util from "node:util"
import { failed, type Failure } from "./Failure.ts"

type Channel = "stdout" | "stderr"

const write = Effect.fnUntraced(function*(channel: Channel, text: string) {
  const stdio = yield* Stdio.Stdio
  yield* Stream.run(Stream.succeed(text), stdio[channel]({ endOnDone: false })).pipe(
    Effect.catchTag("PlatformError", ({ message, reason: { cause } }) => {
      // Who stopped reading has what they wanted.
      if (Predicate.hasProperty(cause, "code") && cause.code === "EPIPE") return Effect.void
      const why = Predicate.isError(cause) ? cause.message : message
      return Effect.fail(failed(`the ${channel === "stdout" ? "output" : "messages"} cannot be written: ${why}`))
    })
  )
})

/** Prints data, as it is. */
export const raw = (text: string): Effect.Effect<void, Failure, Stdio.Stdio> => write("stdout", text)

// What a terminal acts on instead of showing it: control characters, C1 among them, and the marks that turn the direction
// of a text. The joiners ZWNJ and ZWJ stay, which names and emoji are written with.
const acting = "(?:(?![\\u200c\\u200d])[\\p{C}\\p{Zl}\\p{Zp}])"
const run = new RegExp(`${acting}+`, "gu")
// The styles of `paint` stay, as the one exception.
const runBesideStyle = new RegExp(`(\\x1b\\[\\d\\d?m)|(?:(?!\\x1b\\[\\d\\d?m)${acting})+`, "gu")

/** A line as the terminal may have it: in one row, with no other escape than a style. */
const inert = (line: string): string => line.replace(runBesideStyle, (_, style: string | undefined) => style ?? " ")

const text = (lines: ReadonlyArray<string>): string =>
  lines.flatMap((line) => line.split("\n")).map((line) => `${inert(line)}\n`).join("")

/** Prints lines of data. */
export const out = (...lines: ReadonlyArray<string>): Effect.Effect<void, Failure, Stdio.Stdio> => raw(text(lines))

/** Tells people something. That nobody hears it is no failure. */
export const say = (...lines: ReadonlyArray<string>): Effect.Effect<void, never, Stdio.Stdio> => show(text(lines))

/** Shows people something, as it is. */
export const show = (text: string): Effect.Effect<void, never, Stdio.Stdio> => Effect.ignore(write("stderr", text))

const encodeJson = Schema.encodeEffect(Schema.fromJsonString(Schema.Json, { space: 2 }))

const escaped = (characters: string): string =>
  Array.from(
    { length: characters.length },
    (_, at) => `\\u${characters.charCodeAt(at).toString(16).padStart(4, "0")}`
  ).join("")

/**
 * Prints data as JSON. What a terminal would act on is written as `\\u…`, which says the same to whoever parses it.
 */
export const json = (value: Schema.Json): Effect.Effect<void, Failure, Stdio.Stdio> =>
  Effect.flatMap(
    Effect.orDie(encodeJson(value)),
    (text) => raw(`${text.split("\n").map((line) => line.replace(run, escaped)).join("\n")}\n`)
  )

/** How things are shown on a channel: styles change nothing where it is no terminal, or where `NO_COLOR` is set. */
export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
}

/** Whether the terminal can only write: no colour, and no cursor that moves. */
export const isDumb: Effect.Effect<boolean> = Effect.map(
  Effect.option(Config.String("TERM")),
  Option.contains("dumb")
)

/** The styles for a channel. */
export const paint = Effect.fnUntraced(function*(channel: Channel): Effect.fn.Return<Paint, never, Stdio.Stdio> {
  const stdio = yield* Stdio.Stdio
  const never = yield* Effect.orElseSucceed(Config.option(Config.NonEmptyString("NO_COLOR")), () => Option.none())
  const isOn = (yield* stdio[`${channel}IsTerminal`]) && Option.isNone(never) && !(yield* isDumb)
  const style = (format: Parameters<typeof Util.styleText>[0]) => (text: string) =>
    isOn ? Util.styleText(format, text, { validateStream: false }) : text
  return { bold: style("bold"), dim: style("dim"), red: style("red"), green: style("green"), yellow: style("yellow") }
})

/** How wide the terminal is; 80 columns where there is none. */
export const columns: Effect.Effect<number, never, Terminal.Terminal> = Effect.flatMap(
  Terminal.Terminal,
  (terminal) => Effect.map(terminal.columns, (columns) => Math.max(40, columns || 80))
)

/**
 * Text that came from elsewhere, on one line and with nothing that a terminal acts on.
 */
export const plain = (text: string): string => text.replace(run, " ").replace(/\s+/g, " ").trim()

/** Writes paths in a text as people do: `~` is their home. */
export const short: Effect.Effect<(text: string) => string> = UserDirectories.make().home.pipe(
  Effect.map((home) => (text: string) => home.length > 1 ? text.replaceAll(home, "~") : text),
  Effect.orElseSucceed(() => (text: string) => text)
)

/**
 * Rows of cells as a table: columns are aligned, the last one is wrapped at the width under itself.
 */
export const table = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  width: number,
  indent = ""
): ReadonlyArray<string> => {
  const cellOf = (row: ReadonlyArray<string>, column: number) => inert(row[column] ?? "")
  const count = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from(
    { length: count - 1 },
    (_, column) => Math.max(0, ...rows.map((row) => visible(cellOf(row, column))))
  )
  const left = indent.length + widths.reduce((sum, cell) => sum + cell + 2, 0)
  return rows.flatMap((row) => {
    const head = widths.map((cell, column) =>
      `${cellOf(row, column)}${" ".repeat(cell - visible(cellOf(row, column)) + 2)}`
    ).join("")
    const [first = "", ...rest] = wrap(cellOf(row, count - 1), Math.max(20, width - left))
    return [`${indent}${head}${first}`.trimEnd(), ...rest.map((line) => " ".repeat(left) + line)]
  })
}

const visible = (text: string): number => CliOutput.displayWidth(Util.stripVTControlCharacters(text))

/**
 * How many rows of a terminal a line takes.
 */
export const rows = (line: string, width: number): number => Math.max(1, Math.ceil(visible(line) / width))

const wrap = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const word of text.split(" ")) {
    const last = lines.at(-1)
    if (last !== undefined && visible(last) + 1 + visible(word) <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
