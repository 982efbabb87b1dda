import { ServiceTokens, TokenStorageError } from "@effect-authn/core"
import { ServiceTokensSuite } from "@effect-authn/testing"
import { assert, it } from "@effect/vitest"
import { Context, DateTime, Effect, Fiber, Layer, Option, Redacted } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"

ServiceTokensSuite.suite("memory", ServiceTokens.layerMemory)

/** A store that counts its questions, and can be away. */
const store = () => {
  const rows = new Map<string, ServiceTokens.ServiceToken>()
  const state: { isAway: boolean | "silent" | "mute"; asked: number } = { isAway: false, asked: 0 }
  const away = new TokenStorageError.TokenStorageError({
    storage: "a store",
    method: "find",
    reason: new TokenStorageError.StorageUnavailable({ detail: "it is away" })
  })
  const service = ServiceTokens.make({
    insert: (digest, token) => Effect.sync(() => rows.set(digest, token).has(digest)),
    find: (digest) =>
      Effect.suspend(() => {
        state.asked += 1
        if (state.isAway === "silent") return Effect.never
        // as a statement on a line that was cut
        if (state.isAway === "mute") return Effect.uninterruptible(Effect.never)
        return state.isAway ? Effect.fail(away) : Effect.succeed(Option.fromUndefinedOr(rows.get(digest)))
      }),
    list: Effect.sync(() => [...rows.values()]),
    remove: () => Effect.sync(() => rows.size > 0 && (rows.clear(), true))
  }).pipe(Effect.provide([Digest.layerWebCrypto, SecureRandom.layerWebCrypto]))
  return { rows, service, state }
}

it.effect("asks the store again after five seconds, so that a revocation elsewhere is heard", () =>
  Effect.gen(function*() {
    const { rows, service, state } = store()
    const tokens = yield* service
    const token = yield* tokens.create({ name: "app", rights: ["token"] })
    for (let times = 0; times < 3; times++) assert.isTrue(Option.isSome(yield* tokens.find(token)))
    assert.strictEqual(state.asked, 1)
    rows.clear()
    yield* TestClock.adjust("5 seconds")
    assert.isTrue(Option.isNone(yield* tokens.find(token)))
  }))

it.effect("knows a token for five minutes while the store is away, and not beyond its end", () =>
  Effect.gen(function*() {
    const { service, state } = store()
    const tokens = yield* service
    const token = yield* tokens.create({ name: "app", rights: ["token"] })
    const short = yield* tokens.create({ name: "short", rights: ["token"], lifetime: "1 minute" })
    yield* tokens.find(token)
    yield* tokens.find(short)
    state.isAway = true
    yield* TestClock.adjust("2 minutes")
    assert.isTrue(Option.isSome(yield* tokens.find(token)))
    assert.isTrue(Option.isNone(yield* tokens.find(short)))
    yield* TestClock.adjust("4 minutes")
    assert.strictEqual((yield* Effect.flip(tokens.find(token)))._tag, "TokenStorageError")
  }))

for (const silence of ["silent", "mute"] as const) {
  it.effect(`waits a second for a store that is ${silence}, and not again for five`, () =>
    Effect.gen(function*() {
      const { service, state } = store()
      const tokens = yield* service
      const token = yield* tokens.create({ name: "app", rights: ["token"] })
      yield* tokens.find(token)
      state.isAway = silence
      yield* TestClock.adjust("10 seconds")
      const finding = yield* Effect.forkChild(tokens.find(token))
      // a digest is made in time that is real
      yield* Effect.promise(async () => {
        while (state.asked < 2) await new Promise((resolve) => setImmediate(resolve))
      })
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isSome(yield* Fiber.join(finding)))
      assert.isTrue(Option.isSome(yield* tokens.find(token)))
      assert.strictEqual(state.asked, 2)
    }))
}

it.effect("asks no store about what has not the form of a service token", () =>
  Effect.gen(function*() {
    const { service, state } = store()
    const tokens = yield* service
    for (const text of ["", "authn_", "eyJhbGciOiJub25lIn0.e30.", `authn_${"A".repeat(44)}`]) {
      assert.isTrue(Option.isNone(yield* tokens.find(Redacted.make(text))))
    }
    assert.strictEqual(state.asked, 0)
  }))

it.effect("a life is a year unless told, ten years at most, and the token never shows", () =>
  Effect.gen(function*() {
    const tokens = Context.get(yield* Layer.build(ServiceTokens.layerMemory), ServiceTokens.ServiceTokens)
    const token = yield* tokens.create({ name: "long", rights: ["token"], lifetime: "Infinity" })
    const found = Option.getOrThrow(yield* tokens.find(token))
    assert.strictEqual(DateTime.toEpochMillis(found.endsAt), 3650 * 86_400_000)
    assert.notInclude(`${token} ${JSON.stringify([token, found])}`, Redacted.value(token))
  }))
