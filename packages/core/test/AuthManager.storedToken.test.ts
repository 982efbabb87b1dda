import { Session } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option, Redacted, Ref } from "effect"
import { TestClock } from "effect/testing"
import {
  count,
  document,
  Faults,
  iam,
  leave,
  manager,
  passwordLogin,
  raw,
  setup,
  sibling,
  stored,
  storedRaw,
  token
} from "./fixtures.ts"

describe("the stored token", () => {
  it.effect("is there as soon as storeToken has returned, and is the current one; nobody was asked", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* iam.use((scripted) => scripted.issue)
      yield* auth.storeToken(given)
      assert.deepStrictEqual(yield* storedRaw, Option.some(Redacted.value(given)))
      assert.strictEqual(yield* token, Redacted.value(given))
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
    }).pipe(Effect.provide(setup())))

  it.effect("replaces the user, too", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      assert.isTrue(Option.isNone(Option.getOrThrow(yield* auth.session).user))
      yield* auth.whoami
      assert.strictEqual(yield* count("whoami"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("that could not be used is refused, and replaces nothing", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* iam.use((scripted) => scripted.issue)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* auth.login(passwordLogin)
      const before = yield* document
      for (const bad of [given, Redacted.make(""), Redacted.make("a\nb")]) {
        assert.strictEqual((yield* Effect.flip(auth.storeToken(bad)))._tag, "InvalidCredentials")
      }
      assert.deepStrictEqual(yield* document, before)
    }).pipe(Effect.provide(setup())))

  it.effect("followed by clearStoredToken leaves nothing, in sequence and at once", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* iam.use((scripted) => scripted.issue)
      for (const concurrency of [1, "unbounded"] as const) {
        yield* Effect.all([auth.storeToken(given), auth.clearStoredToken], { concurrency })
        assert.isTrue(Option.isNone(yield* stored))
        assert.isTrue(Option.isNone(yield* auth.storedToken))
        assert.isTrue(Option.isNone(yield* auth.session))
        assert.isTrue(Option.isNone(yield* auth.whoami))
        assert.isFalse(yield* auth.isAuthenticated)
        assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
      }
      assert.strictEqual(yield* count("revoke"), 0)
      assert.isTrue(Option.isNone(yield* (yield* sibling).session))
    }).pipe(Effect.provide(setup())))

  it.effect("is cleared even when only the storage has one", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin))
      const auth = yield* manager
      yield* auth.clearStoredToken
      assert.isTrue(Option.isNone(yield* stored))
      assert.strictEqual(yield* count("revoke"), 0)
    }).pipe(Effect.provide(setup())))

  it.effect("is told as the storage has it, not as memory does", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const session = yield* auth.login(passwordLogin)
      const other = yield* sibling
      yield* other.login(passwordLogin)
      assert.deepStrictEqual(yield* storedRaw, Option.some(raw(yield* other.token)))
      yield* leave(Session.update(session, { tokens: {} }))
      assert.isTrue(Option.isNone(yield* auth.storedToken))
      yield* Ref.set((yield* Faults).failing, "reads")
      assert.strictEqual((yield* Effect.flip(auth.storedToken))._tag, "TokenStorageError")
    }).pipe(Effect.provide(setup())))
})
