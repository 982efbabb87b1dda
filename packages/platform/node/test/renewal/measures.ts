/** How often a case is played, and what was measured, for `npm run soak`. */
import { Effect } from "effect"
import * as Fs from "node:fs"

const set = process.env["EFFECT_AUTHN_ROUNDS"]
const file = process.env["EFFECT_AUTHN_MEASURES"]
const share = set === undefined ? 0.1 : set === "full" ? 1 : Math.min(1, Number(set) / 1000)

/** A tenth of the rounds, unless `EFFECT_AUTHN_ROUNDS` names how many of a thousand (`full`: all). */
export const rounds = (full: number): number => Math.max(1, Math.ceil(full * share))

/** Whether nothing else runs, as in `npm run soak`, so that milliseconds mean something. */
export const isQuiet = set !== undefined

/** A bar of milliseconds, ten times as wide beside other tests. */
export const within = (millis: number): number => isQuiet ? millis : 10 * millis

/** Notes what was measured, and whether it is good enough, in the file that `EFFECT_AUTHN_MEASURES` names. */
export const measured = (row: {
  readonly case: string
  readonly bar: string
  readonly measured: string
  readonly met: boolean
}) =>
  Effect.sync(() => {
    if (file !== undefined) Fs.appendFileSync(file, `${JSON.stringify(row)}\n`)
  })

/** The value below which this part of them lies. */
export const percentile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((one, two) => one - two)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
}

/** The middle, the 99th percentile and the largest of some milliseconds. */
export const spread = (millis: ReadonlyArray<number>): string => {
  const at = (part: number) => Math.round(percentile(millis, part))
  return `median ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`
}
