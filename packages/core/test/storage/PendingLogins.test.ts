import { PendingLogins } from "@effect-authn/core"
import * as PendingLoginsSuite from "@effect-authn/testing/PendingLoginsSuite"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Option, Redacted } from "effect"
import { Aead, Kdf, SecureRandom } from "effect/crypto"

const crypto = Layer.mergeAll(
  Kdf.layerWebCrypto,
  Layer.provideMerge(Aead.layerWebCrypto, SecureRandom.layerWebCrypto)
)

const sealed = Layer.effect(
  PendingLogins.PendingLogins,
  Effect.flatMap(PendingLogins.PendingLogins, PendingLogins.sealed)
).pipe(Layer.provide([PendingLogins.layerMemory, crypto]))

PendingLoginsSuite.suite("memory", PendingLogins.layerMemory)
PendingLoginsSuite.suite("sealed", sealed)

describe("a pending login that is sealed", () => {
  /** A storage that shows what it holds. */
  const shown = Effect.gen(function*() {
    const held = new Map<string, string>()
    const pending = yield* PendingLogins.sealed({
      put: (id, login) => Effect.sync(() => void held.set(Redacted.value(id), Redacted.value(login))),
      take: (id) => Effect.sync(() => Option.map(Option.fromNullishOr(held.get(Redacted.value(id))), Redacted.make))
    }).pipe(Effect.provide(crypto))
    return { held, pending }
  })
  const text = Option.map(Redacted.value<string>)

  it.effect("says nothing to who holds it, and never the same thing twice", () =>
    Effect.gen(function*() {
      const { held, pending } = yield* shown
      const seen = new Set<string>()
      for (const id of ["one", "other", "one"]) {
        yield* pending.put(Redacted.make(id), Redacted.make("key-canary"), Duration.minutes(1))
        seen.add(held.get(id) ?? "")
      }
      assert.strictEqual(seen.size, 3)
      assert.notInclude([...seen].join(" "), "canary")
    }))

  it.effect("is none where it was changed, cut, put under another identifier, or is not sealed", () =>
    Effect.gen(function*() {
      const { held, pending } = yield* shown
      const id = Redacted.make("id")
      yield* pending.put(id, Redacted.make("login"), Duration.minutes(1))
      const good = held.get("id") ?? ""
      const last = good.endsWith("A") ? "B" : "A"
      for (const bad of [`${last}${good.slice(1)}`, good.slice(0, 8), "", "login", "{}", `${good}${good}`]) {
        held.set("id", bad)
        assert.deepStrictEqual(text(yield* pending.take(id)), Option.none(), bad)
      }
      held.set("another", good)
      assert.deepStrictEqual(text(yield* pending.take(Redacted.make("another"))), Option.none())
      held.set("id", good)
      assert.deepStrictEqual(text(yield* pending.take(id)), Option.some("login"))
    }))
})
