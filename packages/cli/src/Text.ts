/**
 * Text as a terminal may have it. It loads no more than it uses, for the sake of what is answered without `Process`.
 */
import * as CliOutput from "effect/cli/CliOutput"
import type * as Schema from "effect/Schema"
import * as Util from "node:util"

// What a terminal acts on instead of showing it: control characters, C1 among them, and the marks that turn the direction
// of a text. The joiners ZWNJ and ZWJ stay, which names and emoji are written with.
const acting = "(?:(?![\\u200c\\u200d])[\\p{C}\\p{Zl}\\p{Zp}])"
const run = new RegExp(`${acting}+`, "gu")
// The styles of `paint` stay, as the one exception.
const runBesideStyle = new RegExp(`(\\x1b\\[\\d\\d?m)|(?:(?!\\x1b\\[\\d\\d?m)${acting})+`, "gu")

/** A line as the terminal may have it: in one row, with no other escape than a style. */
export const inert = (line: string): string =>
  line.replace(runBesideStyle, (_, style: string | undefined) => style ?? " ")

/** Lines as they are printed. */
export const lines = (lines: ReadonlyArray<string>): string =>
  lines.flatMap((line) => line.split("\n")).map((line) => `${inert(line)}\n`).join("")

/**
 * Text that came from elsewhere, on one line and with nothing that a terminal acts on.
 */
export const plain = (text: string): string => text.replace(run, " ").replace(/\s+/g, " ").trim()

const escaped = (characters: string): string =>
  Array.from(
    { length: characters.length },
    (_, at) => `\\u${characters.charCodeAt(at).toString(16).padStart(4, "0")}`
  ).join("")

/** Lines in which nothing has a style. */
export const unstyled = (text: string): string => text.replaceAll("\x1b", " ")

/** Data as JSON. What a terminal would act on is written as `\\u…`, which says the same to whoever parses it. */
export const json = (value: Schema.Json): string =>
  `${JSON.stringify(value, null, 2).split("\n").map((line) => line.replace(run, escaped)).join("\n")}\n`

/** How things are shown on a channel. */
export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
}

/** The styles, or what changes nothing. */
export const paint = (isOn: boolean): Paint => {
  const style = (format: Parameters<typeof Util.styleText>[0]) => (text: string) =>
    isOn ? Util.styleText(format, text, { validateStream: false }) : text
  return { bold: style("bold"), dim: style("dim"), red: style("red"), green: style("green"), yellow: style("yellow") }
}

const two = (number: number): string => String(Math.trunc(number)).padStart(2, "0")

/** An instant in epoch milliseconds as people read it: in the time of where they are, to the second (RFC 3339). */
export const time = (millis: number): string => {
  // What DateTime has for the zone of this machine takes longer than all the rest of `authn status`.
  // oxlint-disable-next-line effecttsgo/global-date
  const offset = -new Date(millis).getTimezoneOffset()
  // oxlint-disable-next-line effecttsgo/global-date
  const local = new Date(millis + offset * 60_000).toISOString().replace(/\.\d+Z$/, "")
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`
  return `${local}${offset === 0 ? "Z" : zone}`
}

/** The text with its instants as people read them. The library, which knows no person, writes them in UTC. */
export const localTimes = (text: string): string =>
  text.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (written) => {
    const millis = Date.parse(written)
    return Number.isNaN(millis) ? written : time(millis)
  })

/** A text with paths below `home` and instants as people write them: `~` is their home, and the time is theirs. */
export const short = (text: string, home: string): string => {
  const place = home.replace(/\/+$/, "")
  // One that begins with the same letters is another directory, and so is one below another path.
  const part = "[\\w.\\-\\x80-\\uffff]"
  const whole = new RegExp(`(?<!${part}|/)${place.replace(/[^\w/]/g, "\\$&")}(?!${part})`, "g")
  return localTimes(place === "" ? text : text.replace(whole, "~"))
}

/**
 * Rows of cells as a table no wider than `width`: columns are aligned, and what is too long for its column goes on below.
 * Where the columns in front leave no room for the last one, the widest of them is made narrower.
 */
export const table = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  width: number,
  indent = ""
): ReadonlyArray<string> => {
  const cellOf = (row: ReadonlyArray<string>, column: number) => inert(row[column] ?? "")
  const count = Math.max(1, ...rows.map((row) => row.length))
  const widths = Array.from(
    { length: count },
    (_, column) => Math.max(0, ...rows.map((row) => visible(cellOf(row, column))))
  )
  const gaps = indent.length + 2 * (count - 1)
  const last = count - 1
  const front = () => widths.slice(0, last).reduce((sum, cell) => sum + cell, gaps)
  const least = Math.min(widths[last] ?? 0, 30)
  while (front() + least > width) {
    const widest = Math.max(...widths.slice(0, last))
    if (widest <= 12) break
    widths[widths.indexOf(widest)] = widest - 1
  }
  widths[last] = Math.max(20, width - front())
  return rows.flatMap((row) => {
    const cells = widths.map((width, column) => wrap(cellOf(row, column), width))
    return Array.from({ length: Math.max(...cells.map((lines) => lines.length)) }, (_, line) => {
      const shown = cells.map((lines, column) => {
        const part = lines[line] ?? ""
        return column === last ? part : part + " ".repeat(Math.max(0, (widths[column] ?? 0) - visible(part)) + 2)
      })
      return `${indent}${shown.join("")}`.trimEnd()
    })
  })
}

const visible = (text: string): number => {
  const shown = Util.stripVTControlCharacters(text)
  // The tables of Unicode are loaded for those whose text needs them.
  return /^[\x20-\x7e]*$/.test(shown) ? shown.length : CliOutput.displayWidth(shown)
}

/**
 * How many rows of a terminal a line takes.
 */
export const rows = (line: string, width: number): number => Math.max(1, Math.ceil(visible(line) / width))

// A cell of one style has it in each of its lines.
const style = "(?:\\x1b\\[\\d\\d?m)+"
const styled = new RegExp(`^(${style})([^\\x1b]*)(${style})$`)

/** A cell in lines no wider than `width`: they end between words, and where a word is longer, inside it. */
const wrap = (text: string, width: number): ReadonlyArray<string> => {
  if (visible(text) <= width) return [text]
  const [, begin = "", inner, end = ""] = styled.exec(text) ?? []
  if (inner !== undefined) return wrap(inner, width).map((line) => `${begin}${line}${end}`)
  return filled(text.split(" ").flatMap((word) => pieces(word, width)), width)
}

/** Words in lines, as many as there is room for. */
const filled = (words: ReadonlyArray<string>, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && visible(last) + 1 + visible(word) <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

/** A word that is longer than a line, such as a path, in pieces that end behind a mark in it. */
const pieces = (word: string, width: number): ReadonlyArray<string> => {
  if (visible(word) <= width || word.includes("\x1b")) return [word]
  const found: Array<string> = []
  for (const part of word.match(/[^/?&=,;:._-]*[/?&=,;:._-]+|[^/?&=,;:._-]+$/gu) ?? [word]) {
    const last = found.at(-1)
    if (last !== undefined && visible(last + part) <= width) found[found.length - 1] = last + part
    else found.push(part)
  }
  return found
}

/** A line in several, under its own beginning. A word that is longer than a line stays whole, to be copied. */
export const folded = (line: string, width: number): ReadonlyArray<string> => {
  if (visible(line) <= width) return [line]
  const indent = /^ */.exec(line)?.[0] ?? ""
  return filled(line.trim().split(" "), width - indent.length).map((part) => `${indent}${part}`)
}

const joint = "\u00a0"

/** Words that stay in one line, such as a command to be copied, until `spaced`. */
export const whole = (text: string): string => text.replaceAll(" ", joint)

/** The text of a line with its spaces. */
export const spaced = (line: string): string => line.replaceAll(joint, " ")

/** A line of help in several: a description goes on under itself. */
const helpLines = (line: string, width: number): ReadonlyArray<string> => {
  if (visible(line) <= width) return [line]
  const [, head, description] = /^(\s+\S.*?\s{2,})(\S.*)$/.exec(line) ?? []
  if (head !== undefined && description !== undefined && visible(head) < width - 20) {
    const indent = " ".repeat(visible(head))
    return filled(description.split(" "), width - indent.length).map((part, at) => (at === 0 ? head : indent) + part)
  }
  return folded(line, width)
}

// What is quoted stays whole, and so do a flag with its value and a redirection.
const words = /(?:(?:--?[\w-]*|<) (?![-<]))?(?:'[^']*'|"[^"]*"|[^\s'"])+/g

/** A command of an example in several lines, which a shell takes for one. */
const commandLines = (line: string, width: number): ReadonlyArray<string> =>
  visible(line) <= width
    ? [line]
    : filled(line.match(words) ?? [line], width - 6).map((part, at, all) =>
      `${at === 0 ? "  " : "    "}${part}${at === all.length - 1 ? "" : " \\"}`
    )

/** Help in lines that end between words. */
export const help = (text: string, width: number): string => {
  if (width === Number.POSITIVE_INFINITY) return text
  let isExample = false
  return text.split("\n").flatMap((line) => {
    const shown = Util.stripVTControlCharacters(line)
    if (/^\S/.test(shown)) isExample = shown === "EXAMPLES"
    return isExample && !/^ *#/.test(shown) ? commandLines(line, width) : helpLines(line, width)
  }).join("\n")
}

/** How many columns a text may take in a terminal that has `columns` of them, if that is known. */
export const widthOf = (columns: number): number => Math.max(40, columns || 80)
