import { Variable } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Logger } from "effect"

/** What is read, and the notes. */
const read = (env: { readonly [name: string]: string }) => {
  const notes: Array<string> = []
  const logger = Logger.make(({ message }) => {
    notes.push(String(message))
  })
  return Effect.map(
    Effect.result(Variable.renamed("AUTHN_KEY", "EFFECT_AUTHN_KEY", Config.NonEmptyString)).pipe(
      Effect.provide([ConfigProvider.layer(ConfigProvider.fromEnv({ env })), Logger.layer([logger])])
    ),
    (result) => ({ value: result._tag === "Success" ? result.success : undefined, result, notes })
  )
}

describe("a variable that was renamed", () => {
  const rows: Record<string, readonly [env: Record<string, string>, value: string | undefined, isNoted: boolean]> = {
    "under its name": [{ AUTHN_KEY: "new" }, "new", false],
    "under the earlier one, with a note": [{ EFFECT_AUTHN_KEY: "old" }, "old", true],
    "under both: by its name": [{ AUTHN_KEY: "new", EFFECT_AUTHN_KEY: "old" }, "new", false],
    "empty under its name": [{ AUTHN_KEY: "", EFFECT_AUTHN_KEY: "old" }, "old", true],
    "under neither": [{}, undefined, false]
  }
  for (const [what, [env, value, isNoted]] of Object.entries(rows)) {
    it.effect(`is read: ${what}`, () =>
      Effect.gen(function*() {
        const found = yield* read(env)
        assert.strictEqual(found.value, value)
        assert.deepStrictEqual(
          found.notes,
          isNoted ? ["EFFECT_AUTHN_KEY is now AUTHN_KEY: rename it; the earlier name still works"] : []
        )
      }))
  }

  it.effect("is called by its name where it is missing", () =>
    Effect.gen(function*() {
      const { result } = yield* read({})
      assert.include(String(result._tag === "Failure" ? result.failure : ""), "\"AUTHN_KEY\"")
      assert.notInclude(String(result._tag === "Failure" ? result.failure : ""), "EFFECT")
    }))
})
