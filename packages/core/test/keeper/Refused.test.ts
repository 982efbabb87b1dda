// An IAM whose refusal does not pass by itself (a client that was deleted, a changed route) is not asked at full pace.
import { type AuthManager, IamError, Session } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { count, down, failNext, manager, nextState, passwordLogin, scheduled, setup, token } from "../fixtures.ts"

const misconfigured = new IamError.Misconfigured({ detail: "invalid_client: register the client" })
const always = 100_000
const renewals = count("renew")
const signIn = Effect.flatMap(manager, (auth) => auth.login(passwordLogin))

/** The clock of so many minutes, and what is done after each. */
const minutes = (many: number, each: Effect.Effect<unknown, unknown, AuthManager.AuthManager> = Effect.void) =>
  Effect.forEach(
    Array.from({ length: many }),
    () => Effect.andThen(TestClock.adjust("1 minute"), Effect.ignore(each)),
    { discard: true }
  )

describe("a refusal that does not pass by itself", () => {
  const reasons: ReadonlyArray<readonly [string, IamError.IamErrorReason]> = [
    ["Misconfigured", misconfigured],
    ["Unsupported", new IamError.Unsupported({ detail: "no such grant" })],
    ["CredentialsRefused", new IamError.CredentialsRefused({ detail: "invalid token" })]
  ]
  for (const [name, reason] of reasons) {
    it.effect(`${name}: nobody asks for a token, and the IAM hears of it once or twice an hour`, () =>
      Effect.gen(function*() {
        yield* signIn
        yield* failNext("renew", reason, always)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* renewals, 1)
        const state = yield* nextState
        assert.strictEqual(state._tag, "Stale")
        yield* TestClock.adjust("1 day")
        const asked = yield* renewals
        assert.isAtLeast(asked, 24)
        assert.isAtMost(asked, 49)
      }).pipe(Effect.provide(scheduled())))
  }

  it.effect("callers with a valid token are a reason to ask once", () =>
    Effect.gen(function*() {
      yield* signIn
      yield* failNext("renew", misconfigured, always)
      yield* minutes(55)
      const first = yield* token
      yield* minutes(4, Effect.map(token, (now) => assert.strictEqual(now, first)))
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(scheduled())))

  it.effect("callers without one, who never stop, wait longer from one to the next, up to a quarter of an hour", () =>
    Effect.gen(function*() {
      yield* signIn
      yield* failNext("renew", misconfigured, always)
      yield* minutes(60)
      yield* minutes(60, token)
      const before = yield* renewals
      const failure = yield* Effect.flip(token)
      assert.include(failure.message, "register the client")
      yield* minutes(24 * 60, token)
      const asked = (yield* renewals) - before
      assert.isAtLeast(asked, 24 * 4)
      assert.isAtMost(asked, 24 * 8 + 1)
    }).pipe(Effect.provide(scheduled())))

  it.effect("who asks for a renewal gets one at once, and so does a login", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* signIn
      yield* failNext("renew", misconfigured, 2)
      yield* minutes(61)
      const asked = yield* renewals
      yield* Effect.flip(auth.refresh())
      assert.strictEqual(yield* renewals, asked + 1)
      yield* auth.refresh()
      assert.strictEqual(yield* renewals, asked + 2)
      yield* failNext("renew", misconfigured, always)
      yield* minutes(61)
      yield* signIn
      yield* failNext("renew", misconfigured, always)
      const before = yield* renewals
      yield* minutes(56)
      assert.strictEqual(yield* renewals, before + 1)
    }).pipe(Effect.provide(scheduled())))

  it.effect("is asked about until the end where the session ends with its token", () =>
    Effect.gen(function*() {
      yield* signIn
      yield* failNext("renew", misconfigured, 8)
      yield* minutes(60)
      assert.isAbove(yield* renewals, 8)
      yield* token
    }).pipe(Effect.provide(scheduled({ grant: "ExchangeAccessToken" }))))

  it.effect("is asked about until the end where the grant ends before the hour is over", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const end = DateTime.addDuration(yield* DateTime.now, Duration.minutes(75))
      const limited: typeof passwordLogin = {
        ...passwordLogin,
        obtain: (context) =>
          Effect.map(passwordLogin.obtain(context), (session) =>
            Session.update(session, {
              grant: session.grant._tag === "RefreshToken" ? { ...session.grant, expiresAt: end } : session.grant
            }))
      }
      yield* auth.login(limited)
      yield* failNext("renew", misconfigured, 4)
      yield* minutes(65)
      assert.isAtLeast(yield* renewals, 5)
    }).pipe(Effect.provide(scheduled())))

  it.effect("an outage is asked about all the time", () =>
    Effect.gen(function*() {
      yield* signIn
      yield* failNext("renew", down, always)
      yield* TestClock.adjust("2 hours")
      assert.isAbove(yield* renewals, 60)
    }).pipe(Effect.provide(scheduled())))

  it.effect("a caller in the window of a policy that renews first gets the valid token, and asks once", () =>
    Effect.gen(function*() {
      yield* signIn
      const first = yield* token
      yield* failNext("renew", misconfigured, always)
      yield* TestClock.adjust("50 minutes")
      for (let call = 0; call < 5; call++) {
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* token, first)
      }
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(setup({ policy: { window: Duration.minutes(15), renewFirst: true } }))))
})
