import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option, Redacted, Ref } from "effect"
import { TestClock } from "effect/testing"
import {
  count,
  document,
  down,
  failNext,
  Faults,
  handle,
  iam,
  manager,
  passwordLogin,
  refused,
  setup,
  sibling,
  stored,
  token
} from "./fixtures.ts"

describe("whoami", () => {
  it.effect("is the known user, without a request, also in a fresh process", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      for (const one of [auth, yield* sibling]) {
        assert.strictEqual(handle(Option.getOrThrow(yield* one.whoami)), "ada")
      }
      assert.strictEqual(yield* count("whoami"), 0)
    }).pipe(Effect.provide(setup())))

  it.effect("is none only when nobody is signed in; an IAM that is down is told as such", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.isTrue(Option.isNone(yield* auth.whoami))
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      yield* failNext("whoami", down)
      const error = yield* Effect.flip(auth.whoami)
      assert.strictEqual(error._tag, "IamError")
      assert.include(error.message, "connection refused")
      // it was not a logout
      assert.strictEqual(handle(Option.getOrThrow(yield* auth.whoami)), "ada")
    }).pipe(Effect.provide(setup())))

  it.effect("asked once is known, here and in the storage", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      yield* auth.whoami
      yield* auth.whoami
      assert.strictEqual(yield* count("whoami"), 1)
      assert.isTrue(Option.isSome(Option.getOrThrow(yield* stored).user))
    }).pipe(Effect.provide(setup())))

  it.effect("of a session that ended for good says that signing in again is needed", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      assert.strictEqual((yield* Effect.flip(auth.whoami))._tag, "ReauthenticationRequired")
    }).pipe(Effect.provide(setup())))
})

describe("refreshUser", () => {
  it.effect("always asks", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* auth.refreshUser
      yield* auth.refreshUser
      assert.strictEqual(yield* count("whoami"), 2)
    }).pipe(Effect.provide(setup())))

  it.effect("asks once more with a renewed token when the IAM refuses the one at hand", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* failNext("whoami", refused)
      assert.strictEqual(handle(yield* auth.refreshUser), "ada")
      assert.strictEqual(yield* count("renew"), 1)
      assert.strictEqual(yield* count("whoami"), 2)
    }).pipe(Effect.provide(setup())))

  it.effect("that is refused with a new token, too, needs a new login", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* failNext("whoami", refused, 2)
      const error = yield* Effect.flip(auth.refreshUser)
      assert.strictEqual(error._tag, "ReauthenticationRequired")
      assert.include(error.message, "invalid token")
    }).pipe(Effect.provide(setup())))

  it.effect("of nobody is an error", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.strictEqual((yield* Effect.flip(auth.refreshUser))._tag, "NotAuthenticated")
    }).pipe(Effect.provide(setup())))
})

describe("validate", () => {
  it.effect("of a good token answers with its user, of a bad one with the reason, and never touches the session", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const { writes } = yield* Faults
      const [before, first, written] = [yield* document, yield* token, yield* Ref.get(writes)]
      const good = yield* auth.validate(yield* iam.use((scripted) => scripted.issue))
      assert.strictEqual(good._tag === "Valid" ? handle(Option.getOrThrow(good.user)) : "", "ada")
      for (const bad of ["bad", "", " ", "a\nb", "ü", "x".repeat(10_000)]) {
        const validation = yield* auth.validate(Redacted.make(bad))
        assert.strictEqual(validation._tag, "Invalid", JSON.stringify(bad))
        assert.isNotEmpty(validation._tag === "Invalid" ? validation.reason : "")
      }
      assert.strictEqual(yield* Ref.get(writes), written)
      assert.deepStrictEqual(yield* document, before)
      assert.strictEqual(yield* token, first)
      assert.isTrue(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("signs nobody in", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.strictEqual((yield* auth.validate(yield* iam.use((scripted) => scripted.issue)))._tag, "Valid")
      assert.isFalse(yield* auth.isAuthenticated)
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup())))

  it.effect("does not call a token invalid because the IAM is down", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* failNext("whoami", down)
      const error = yield* Effect.flip(auth.validate(yield* iam.use((scripted) => scripted.issue)))
      assert.strictEqual(error.reason._tag, "Unavailable")
    }).pipe(Effect.provide(setup())))

  it.effect("of an expired token does not even ask", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* iam.use((scripted) => scripted.issue)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      assert.strictEqual((yield* auth.validate(given))._tag, "Invalid")
      assert.strictEqual(yield* count("whoami"), 0)
    }).pipe(Effect.provide(setup())))
})
