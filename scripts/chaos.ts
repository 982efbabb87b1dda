// Kills, stops and cuts off everything of a fleet in turn, in full length, and prints what the IAM's ledger says of it:
// `npm run soak -- chaos`. Words after that choose the scenarios whose name, store or grace has one of them.
// EFFECT_AUTHN_AT_ONCE: how many are played at the same time (default: 1).
import * as Effect from "effect/Effect"
import { complaints, type Outcome, play, type Scenario, type Size } from "../packages/storage/sql/test/chaos/play.ts"
import { controls, crowded, long, scenarios } from "../packages/storage/sql/test/chaos/scenarios.ts"
import { isThere } from "../packages/storage/sql/test/chaos/stores.ts"

type Row = readonly [scenario: Scenario, outcome: Outcome | undefined, complaints: ReadonlyArray<string>]

const chosen = process.argv.slice(2)

const all = [
  ...scenarios.map((scenario): readonly [Scenario, Size] => [scenario, long]),
  ...controls.map((scenario): readonly [Scenario, Size] => [scenario, crowded])
].filter(([{ hasGrace, kind, name }]) =>
  chosen.length === 0 ||
  chosen.some((word) => `${name}, ${kind}, ${hasGrace ? "with" : "without"} a grace`.includes(word))
)

const run = ([scenario, size]: readonly [Scenario, Size]) =>
  Effect.gen(function*() {
    if (!isThere(scenario.kind)) {
      return [scenario, undefined, ["there is no such server on this machine"]] satisfies Row
    }
    const outcome = yield* play(scenario, size)
    const row: Row = [scenario, outcome, complaints(scenario, outcome)]
    console.error(JSON.stringify([scenario.name, scenario.kind, scenario.hasGrace, outcome, row[2]]))
    return row
  }).pipe(
    Effect.catchCause((cause) => Effect.succeed<Row>([scenario, undefined, [String(cause)]]))
  )

const seconds = (millis: number) => `${millis / 1000} s`
const cells = ([scenario, outcome]: Row): ReadonlyArray<string> => [
  scenario.name,
  scenario.kind,
  scenario.hasGrace ? seconds(long.grace) : "none",
  ...(outcome === undefined ? Array.from({ length: 6 }, () => "") : [
    `${outcome.renewals}`,
    outcome.inFlight.join(" "),
    `${outcome.again}`,
    `${outcome.twice}`,
    `${outcome.lost}`,
    `${outcome.inGap} / ${outcome.struckAgain} / ${outcome.lost - outcome.silent}`
  ])
]

const rows = await Effect.runPromise(
  Effect.forEach(all, run, { concurrency: Number(process.env["EFFECT_AUTHN_AT_ONCE"] ?? 1) })
)
const head = [
  "what dies",
  "store",
  "grace",
  "renewals",
  "in flight then",
  "again, by the rules",
  "against them",
  "lost",
  "in a gap / again in one / say so"
]
const table = [head, ...rows.map(cells)]
const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]!.length)))
const line = (mark: string, row: ReadonlyArray<string>) =>
  `${mark} ${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}`.trimEnd()

console.log(
  `\nthree workers, strict rotation: ${long.sessions} sessions, access tokens ${seconds(long.life)}, ` +
    `lease ${seconds(long.lease)}, a renewal at most ${seconds(long.timeLimit)}, grace ${
      seconds(long.grace)
    } where there ` +
    `is one; a store is away ${seconds(long.outage)}\n`
)
console.log(line(" ", head))
console.log(line(" ", widths.map((width) => "─".repeat(width))))
for (const row of rows) {
  console.log(line(row[2].length === 0 ? "✔" : "✘", cells(row)))
  for (const complaint of row[2]) console.log(`    ${complaint}`)
}
const missed = rows.filter(([, , complaints]) => complaints.length > 0).length
console.log(`\n${rows.length - missed} scenarios as they have to be, ${missed} not`)
process.exit(missed === 0 && rows.length > 0 ? 0 : 1)
