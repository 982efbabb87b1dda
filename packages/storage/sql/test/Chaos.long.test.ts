// Workers that are killed and stopped, stores that are, and lines that are cut, under renewals with strict rotation: what the
// IAM's ledger and the sessions say. `npm run soak -- chaos` plays all of it in its full length.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Play from "./chaos/play.ts"
import * as Scenarios from "./chaos/scenarios.ts"
import * as Stores from "./chaos/stores.ts"

const played = [
  ["kill -9 every 4 s", "SQLite", false],
  ["kill -9 every 4 s", "PostgreSQL", true],
  ["kill -9 every 4 s", "Redis, one replica", true],
  ["the store killed under load", "PostgreSQL", false],
  ["its replica promoted", "Redis, one replica", true],
  ["line to the store stalled", "PostgreSQL", true],
  ["line to the IAM stalled", "SQLite", false],
  ["stopped at each step", "SQLite", true],
  ["without the lock", "SQLite", false],
  ["without compare and set", "SQLite", false]
] as const

describe("three workers over a store", { concurrent: false }, () => {
  for (const [name, kind, hasGrace] of played) {
    const isControl = Scenarios.controls.some((scenario) => scenario.name === name)
    const scenario = [...Scenarios.scenarios, ...Scenarios.controls].find((scenario) =>
      scenario.name === name && scenario.kind === kind && scenario.hasGrace === hasGrace
    )!
    it.live.runIf(Stores.isThere(kind))(
      `${name}: ${kind}, ${hasGrace ? "with" : "without"} a grace`,
      () =>
        Effect.gen(function*() {
          const outcome = yield* Play.play(scenario, isControl ? Scenarios.crowded : Scenarios.short)
          assert.deepStrictEqual(Play.complaints(scenario, outcome), [], JSON.stringify(outcome))
        })
    )
  }
})
