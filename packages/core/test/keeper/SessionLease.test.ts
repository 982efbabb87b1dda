// What holds where the lock excludes nobody: of the intent, the lease and compare and set, each is needed and all suffice.
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { type History, movesOf, Setting } from "./model/moves.ts"
import { pasteable, promises } from "./model/promises.ts"
import type { Faults } from "./model/world.ts"

const runs = Math.ceil(Number(process.env["EFFECT_AUTHN_MODEL_RUNS"]) / 2)
const seed = process.env["EFFECT_AUTHN_MODEL_SEED"]!

// Both wake over fresh and over expired tokens, read slowly, stop, start again and lose answers. A clock that is set tells
// nobody how old an intent is, and an import is a second copy of the token: neither is among the exceptions.
const some = ["Answer", "Freeze", "Hints", "Latency", "Life", "Put", "Reads", "Rejected", "Restart", "Thaw"] as const
const histories = Arbitrary.schema(Schema.Struct({
  grace: Setting.fields.grace,
  names: Schema.Array(Schema.Literals(some)).check(Schema.isMinLength(1), Schema.isMaxLength(4))
})).pipe(
  Arbitrary.flatMap(({ grace, names }) =>
    Arbitrary.map(movesOf(["Call", "Pass", "Refresh", ...names]), (moves): History => ({
      moves,
      setting: { lock: "none", grace }
    }))
  )
)

/** Looks for a history in which a refresh token is presented again outside the exceptions (a) and (b). */
const search = (faults: Faults, options: { readonly runs: number; readonly maxShrinks: number }) =>
  Arbitrary.checkEffect(
    histories,
    (history) =>
      Effect.flatMap(promises(history, faults), (broken) => {
        const again = broken.filter((one) => one.startsWith("a refresh token was presented again"))
        return again.length === 0 ? Effect.succeed(true) : Effect.fail(pasteable(history, again))
      }),
    { ...options, size: 24, seed }
  )

describe("without a lock, under a lease of 45 seconds", () => {
  it.live(
    `compare and set lets nobody present a token twice, in ${runs} random histories from seed ${seed}`,
    () =>
      Effect.gen(function*() {
        const result = yield* search({ compareAndSet: "intact" }, { runs, maxShrinks: 300 })
        if (result._tag !== "Passed") assert.fail(Arbitrary.formatCheckFailure(result))
      }),
    600_000
  )

  it.live("a storage that takes every write lets two present one token", () =>
    Effect.gen(function*() {
      const result = yield* search({ compareAndSet: "always" }, { runs: 2000, maxShrinks: 0 })
      assert.strictEqual(result._tag, "Falsified")
    }), 600_000)
})
