/**
 * The contract that every `ServiceTokens` keeps, as a Vitest suite.
 *
 * @since 0.1.0
 */
import * as ServiceTokens from "@effect-authn/core/storage/ServiceTokens"
import { assert, layer } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/**
 * Registers the contract for service tokens. The layer is built once and shared by all tests, which run at the same time
 * under different names; time is real.
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = <E>(name: string, tokensLayer: Layer.Layer<ServiceTokens.ServiceTokens, E>): void => {
  layer(tokensLayer, { excludeTestServices: true })(`ServiceTokens contract: ${name}`, (it) => {
    it.effect("a token is found as it was made, by its text alone", () =>
      Effect.gen(function*() {
        const tokens = yield* ServiceTokens.ServiceTokens
        const token = yield* tokens.create({
          name: "one",
          rights: ["token", "sessions:read"],
          accounts: "team-\u0000é"
        })
        const other = yield* tokens.create({ name: "two", rights: ["sessions:write"] })
        assert.notStrictEqual(Redacted.value(token), Redacted.value(other))
        assert.isTrue(ServiceTokens.isServiceToken(Redacted.value(token)))
        const found = Option.getOrThrow(yield* tokens.find(token))
        assert.deepStrictEqual(
          [found.name, found.rights, found.accounts],
          ["one", ["token", "sessions:read"], "team-\u0000é"]
        )
        assert.isTrue(DateTime.isGreaterThan(found.endsAt, DateTime.add(found.createdAt, { days: 364 })))
        assert.isTrue(Option.isNone(yield* tokens.find(Redacted.make(`${Redacted.value(token).slice(0, -1)}!`))))
        assert.isTrue(Option.isNone(yield* tokens.find(Redacted.make(`authn_${"A".repeat(43)}`))))
        assert.isTrue(Option.isNone(yield* tokens.find(Redacted.make(""))))
      }))

    it.effect("a name is one token's, until that is revoked", () =>
      Effect.gen(function*() {
        const tokens = yield* ServiceTokens.ServiceTokens
        const first = yield* tokens.create({ name: "taken", rights: ["token"] })
        const error = yield* Effect.flip(tokens.create({ name: "taken", rights: ["token"] }))
        assert.strictEqual(error._tag, "ServiceTokenExists")
        assert.isTrue(Option.isSome(yield* tokens.find(first)))
        assert.isTrue(yield* tokens.revoke("taken"))
        assert.isFalse(yield* tokens.revoke("taken"))
        assert.isTrue(Option.isNone(yield* tokens.find(first)))
        const second = yield* tokens.create({ name: "taken", rights: ["token"] })
        assert.isTrue(Option.isSome(yield* tokens.find(second)))
        assert.isTrue(Option.isNone(yield* tokens.find(first)))
      }))

    it.effect("of many who make one name at once one succeeds", () =>
      Effect.gen(function*() {
        const tokens = yield* ServiceTokens.ServiceTokens
        const made = yield* Effect.forEach(
          Array.from({ length: 8 }),
          () => Effect.option(tokens.create({ name: "many", rights: ["token"] })),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(made.filter(Option.isSome).length, 1)
      }))

    it.effect("a token ends, and gives its name away", () =>
      Effect.gen(function*() {
        const tokens = yield* ServiceTokens.ServiceTokens
        const token = yield* tokens.create({ name: "short", rights: ["token"], lifetime: "300 millis" })
        assert.isTrue(Option.isSome(yield* tokens.find(token)))
        yield* Effect.sleep("400 millis")
        assert.isTrue(Option.isNone(yield* tokens.find(token)))
        assert.include((yield* tokens.list).map(({ name }) => name), "short")
        const again = yield* tokens.create({ name: "short", rights: ["token"] })
        assert.isTrue(Option.isSome(yield* tokens.find(again)))
        assert.strictEqual((yield* tokens.list).filter(({ name }) => name === "short").length, 1)
      }))
  })
}
