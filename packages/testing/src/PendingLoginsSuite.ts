/**
 * The contract that every `PendingLogins` keeps, as a Vitest suite.
 *
 * @since 0.1.0
 */
import * as PendingLogins from "@effect-authn/core/storage/PendingLogins"
import { assert, layer } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

const long = Duration.minutes(5)

const text = Option.map(Redacted.value<string>)

const odd = "quotes ' \" and \\ and \u{1F680} and\nlines, {\"json\": null}"

/**
 * Registers the contract for a storage of pending logins. The layer is built once and shared by all tests, which run at the
 * same time under different identifiers; time is real.
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = <E>(name: string, pendingLayer: Layer.Layer<PendingLogins.PendingLogins, E>): void => {
  layer(pendingLayer, { excludeTestServices: true })(`PendingLogins contract: ${name}`, (it) => {
    it.effect("a login is taken once, as it was put", () =>
      Effect.gen(function*() {
        const pending = yield* PendingLogins.PendingLogins
        const id = Redacted.make(`once ${odd}`)
        yield* pending.put(id, Redacted.make(odd), long)
        assert.deepStrictEqual(text(yield* pending.take(id)), Option.some(odd))
        assert.deepStrictEqual(text(yield* pending.take(id)), Option.none())
      }))

    it.effect("an unknown identifier gives nothing", () =>
      Effect.gen(function*() {
        const pending = yield* PendingLogins.PendingLogins
        yield* pending.put(Redacted.make("known"), Redacted.make("login"), long)
        assert.deepStrictEqual(text(yield* pending.take(Redacted.make("unknown"))), Option.none())
        assert.deepStrictEqual(text(yield* pending.take(Redacted.make("known"))), Option.some("login"))
      }))

    it.effect("of many who ask at once one gets it", () =>
      Effect.gen(function*() {
        const pending = yield* PendingLogins.PendingLogins
        const id = Redacted.make("many")
        yield* pending.put(id, Redacted.make("login"), long)
        const taken = yield* Effect.forEach(Array.from({ length: 8 }), () => pending.take(id), {
          concurrency: "unbounded"
        })
        assert.strictEqual(taken.filter(Option.isSome).length, 1)
      }))

    it.effect("a login past its end is gone", () =>
      Effect.gen(function*() {
        const pending = yield* PendingLogins.PendingLogins
        const id = Redacted.make("ended")
        yield* pending.put(id, Redacted.make("login"), Duration.millis(50))
        yield* Effect.sleep("200 millis")
        assert.deepStrictEqual(text(yield* pending.take(id)), Option.none())
      }))

    it.effect("a later login of the same identifier replaces the earlier one, and its end", () =>
      Effect.gen(function*() {
        const pending = yield* PendingLogins.PendingLogins
        const id = Redacted.make("again")
        yield* pending.put(id, Redacted.make("earlier"), Duration.millis(1))
        yield* pending.put(id, Redacted.make("later"), long)
        yield* Effect.sleep("20 millis")
        assert.deepStrictEqual(text(yield* pending.take(id)), Option.some("later"))
      }))
  })
}
