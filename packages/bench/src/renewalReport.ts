// How what was measured is shown: a table, what is expected of us beside it, and notes.

export interface Goal {
  readonly goal: string
  readonly measured: string
  readonly isMet: boolean
}

export interface Report {
  readonly title: string
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<readonly [string, ...Array<string>]>
  readonly goals: ReadonlyArray<Goal>
  readonly notes: ReadonlyArray<string>
}

export const absent = "-"

const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = rows.reduce<ReadonlyArray<number>>(
    (widths, row) => row.map((cell, column) => Math.max(cell.length, widths[column] ?? 0)),
    []
  )
  return rows.map((row) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join("   ")
      .trimEnd()
  )
}

export const text = ({ columns, goals, notes, rows, title }: Report): string =>
  [
    title,
    "",
    ...aligned([["", ...columns], ...rows]).map((line) => `  ${line}`),
    "",
    ...aligned(goals.map(({ goal, isMet, measured }) => [`${isMet ? "✓" : "✗"} ${goal}`, measured]))
      .map((line) => `  ${line}`),
    ...notes.map((note) => `  ${note}`),
    ""
  ].join("\n")

const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((one, two) => one - two)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)
export const p99 = (values: ReadonlyArray<number>): number => quantile(values, 0.99)

/** From the first to the third quartile: half of the rounds were within. */
export const middleHalf = (values: ReadonlyArray<number>, show: (value: number) => string): string =>
  `${show(quantile(values, 0.25))} to ${show(quantile(values, 0.75))}`

export const millis = (value: number): string => value < 10 ? value.toFixed(2) : value.toFixed(0)
export const times = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(0)}x`

/** What is being measured, on the standard error. */
export const progress = (text: string): void => {
  process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${text}` : text === "" ? "" : `${text}\n`)
}
