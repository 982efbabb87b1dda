/**
 * What is printed: data on the standard output, people's text on the standard error, colour on terminals only.
 *
 * @since 0.1.0
 */
import * as CliOutput from "effect/cli/CliOutput"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Os from "node:os"
import * as Util from "node:util"
import { failed, type Failure } from "./Failure.ts"

type Stream = "stdout" | "stderr"

const write = (stream: Stream, text: string): Effect.Effect<void, Failure> =>
  Effect.callback((resume) => {
    process[stream].write(text, (error) => {
      // Who stopped reading has what they wanted.
      if (error === null || error === undefined || ("code" in error && error.code === "EPIPE")) resume(Effect.void)
      else {resume(
          Effect.fail(failed(`the ${stream === "stdout" ? "output" : "messages"} cannot be written: ${error.message}`))
        )}
    })
  })

/**
 * Prints data, as it is.
 *
 * @category printing
 * @since 0.1.0
 */
export const raw = (text: string): Effect.Effect<void, Failure> => write("stdout", text)

/**
 * Prints lines of data.
 *
 * @category printing
 * @since 0.1.0
 */
export const out = (...lines: ReadonlyArray<string>): Effect.Effect<void, Failure> => raw(`${lines.join("\n")}\n`)

/**
 * Tells people something. That nobody hears it is no failure.
 *
 * @category printing
 * @since 0.1.0
 */
export const say = (...lines: ReadonlyArray<string>): Effect.Effect<void> => show(`${lines.join("\n")}\n`)

/**
 * Shows people something, as it is.
 *
 * @category printing
 * @since 0.1.0
 */
export const show = (text: string): Effect.Effect<void> => Effect.ignore(write("stderr", text))

const encodeJson = Schema.encodeEffect(Schema.fromJsonString(Schema.Json, { space: 2 }))

/**
 * Prints data as JSON.
 *
 * @category printing
 * @since 0.1.0
 */
export const json = (value: Schema.Json): Effect.Effect<void, Failure> =>
  Effect.flatMap(Effect.orDie(encodeJson(value)), (text) => out(text))

/**
 * Styles for a stream: they change nothing where it is no terminal, or where `NO_COLOR` is set.
 *
 * @category models
 * @since 0.1.0
 */
export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
}

/**
 * The styles for a stream.
 *
 * @category formatting
 * @since 0.1.0
 */
export const paint = (stream: Stream): Effect.Effect<Paint> =>
  Effect.gen(function*() {
    const never = yield* Effect.orElseSucceed(Config.option(Config.NonEmptyString("NO_COLOR")), () => Option.none())
    const isOn = process[stream].isTTY && Option.isNone(never)
    const style = (format: Parameters<typeof Util.styleText>[0]) => (text: string) =>
      isOn ? Util.styleText(format, text, { validateStream: false }) : text
    return { bold: style("bold"), dim: style("dim"), red: style("red"), green: style("green"), yellow: style("yellow") }
  })

/**
 * How wide the terminal of a stream is; 80 columns where there is none.
 *
 * @category formatting
 * @since 0.1.0
 */
export const columns = (stream: Stream): number => Math.max(40, process[stream].columns || 80)

/**
 * Text that came from elsewhere, on one line and without control characters.
 *
 * @category formatting
 * @since 0.1.0
 */
export const plain = (text: string): string => text.replace(/[\p{C}\s]+/gu, " ").trim()

/**
 * A text with paths, as people write them: `~` is their home.
 *
 * @category formatting
 * @since 0.1.0
 */
export const short = (text: string): string => {
  const home = Os.homedir()
  return home.length > 1 ? text.replaceAll(home, "~") : text
}

/**
 * Rows of cells as a table: columns are aligned, the last one is wrapped at the width under itself.
 *
 * @category formatting
 * @since 0.1.0
 */
export const table = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  width: number,
  indent = ""
): ReadonlyArray<string> => {
  const count = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from(
    { length: count - 1 },
    (_, column) => Math.max(0, ...rows.map((row) => visible(row[column] ?? "")))
  )
  const left = indent.length + widths.reduce((sum, cell) => sum + cell + 2, 0)
  return rows.flatMap((row) => {
    const head = widths.map((cell, column) =>
      `${row[column] ?? ""}${" ".repeat(cell - visible(row[column] ?? "") + 2)}`
    ).join("")
    const [first = "", ...rest] = wrap(row[count - 1] ?? "", Math.max(20, width - left))
    return [`${indent}${head}${first}`.trimEnd(), ...rest.map((line) => " ".repeat(left) + line)]
  })
}

const visible = (text: string): number => CliOutput.displayWidth(Util.stripVTControlCharacters(text))

/**
 * How many rows of a terminal a line takes.
 *
 * @category formatting
 * @since 0.1.0
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
