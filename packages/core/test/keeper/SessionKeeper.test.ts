import { AuthManager, AuthStrategy, IamError, type Session, type TokenSet, TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Option, Redacted, Ref, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fixtures from "../fixtures.ts"

const { passwordLogin, scheduled, setup, sibling } = fixtures
const auth = AuthManager.AuthManager
const renewals = ScriptedIam.ScriptedIam.use((iam) => iam.count("renew"))
const raw = (tokens: TokenSet.TokenSet) => Redacted.value(tokens.accessToken)
const unavailable = (sent: "no" | "maybe", retryAfter?: Duration.Duration) =>
  new IamError.Unavailable({ sent, detail: "out of order", ...(retryAfter === undefined ? {} : { retryAfter }) })
const misconfigured = new IamError.Misconfigured({ detail: "invalid_client" })
const failRenewals = (reason: IamError.IamErrorReason, options: Partial<ScriptedIam.Failure> = {}) =>
  ScriptedIam.ScriptedIam.use((iam) => iam.failNext("renew", { reason, ...options }))
const stored = Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  return yield* storage.get((yield* auth).key)
})

describe("rule 1: the hot path", () => {
  it.effect("a fresh token is handed out without a request or a look at the storage", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* Ref.set((yield* fixtures.Faults).failing, "reads")
      const first = yield* manager.token
      yield* TestClock.adjust("54 minutes")
      assert.strictEqual(raw(yield* manager.token), raw(first))
      assert.strictEqual(yield* renewals, 0)
    }).pipe(Effect.provide(setup())))
})

describe("rule 2: in the window, still valid", () => {
  it.effect("hands out the current token at once and renews once behind it", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      const first = yield* manager.token
      yield* iam.set({ latency: Duration.seconds(2) })
      yield* TestClock.setTime(Duration.toMillis("56 minutes"))
      const handed = yield* Effect.all(Array.from({ length: 100 }, () => manager.token), { concurrency: "unbounded" })
      assert.isTrue(handed.every((tokens) => raw(tokens) === raw(first)))
      yield* TestClock.adjust("2 seconds")
      assert.notStrictEqual(raw(yield* manager.token), raw(first))
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(setup())))

  it.effect("under renew first the caller waits, and gets the valid token when the renewal fails", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const first = yield* manager.token
      yield* TestClock.setTime(Duration.toMillis("45 minutes"))
      assert.strictEqual(raw(yield* manager.token), raw(first))
      assert.strictEqual(yield* renewals, 0)
      yield* failRenewals(unavailable("no"))
      yield* TestClock.setTime(Duration.toMillis("45 minutes") + 1)
      assert.strictEqual(raw(yield* manager.token), raw(first))
      assert.strictEqual(yield* renewals, 1)
      yield* TestClock.adjust("1 second")
      assert.notStrictEqual(raw(yield* manager.token), raw(first))
      assert.strictEqual(yield* renewals, 2)
    }).pipe(Effect.provide(setup({ policy: { window: Duration.minutes(15), renewFirst: true } }))))

  for (const reason of [misconfigured, new IamError.GrantDead({ detail: "invalid_grant" })]) {
    it.effect(`under renew first also a failure that will not pass (${reason._tag}) gives the valid token`, () =>
      Effect.gen(function*() {
        const manager = yield* auth
        yield* manager.login(passwordLogin)
        const first = yield* manager.token
        yield* failRenewals(reason)
        yield* TestClock.setTime(Duration.toMillis("50 minutes"))
        assert.strictEqual(raw(yield* manager.token), raw(first))
        assert.strictEqual(yield* renewals, 1)
      }).pipe(Effect.provide(setup({ policy: { window: Duration.minutes(15), renewFirst: true } }))))
  }
})

describe("rule 3: expired", () => {
  it.effect("callers join the one renewal", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(1) })
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const callers = yield* Effect.forkChild(
        Effect.all(Array.from({ length: 1000 }, () => manager.token), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      const handed = yield* Fiber.join(callers)
      assert.strictEqual(new Set(handed.map(raw)).size, 1)
      assert.strictEqual(yield* renewals, 1)
      // one login, one intent, one answer: nobody queued up for a renewal of their own
      assert.strictEqual(yield* Ref.get((yield* fixtures.Faults).writes), 3)
      assert.isAtMost(yield* Ref.get((yield* fixtures.Faults).reads), 4)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("an expired token cannot be exchanged: reauthentication, and no request", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const error = yield* Effect.flip(manager.token)
      assert.strictEqual(error._tag, "ReauthenticationRequired")
      assert.include(error.message, "sign in again")
      assert.strictEqual(yield* renewals, 0)
      assert.isFalse(yield* manager.isAuthenticated)
    }).pipe(Effect.provide(setup({ grant: "ExchangeAccessToken" }))))
})

describe("rule 4: one renewal per grant", () => {
  it.effect("three selections at once queue behind each other, with the newest refresh token each", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(1) })
      const callers = yield* Effect.forkChild(
        Effect.forEach(["a", "b", "c"], (project) => manager.tokenFor({ project }), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(new Set((yield* Fiber.join(callers)).map(raw)).size, 3)
      const calls = (yield* iam.calls).filter((call) => call.method === "renew")
      assert.deepStrictEqual(calls.map((call) => call.outcome), ["answered", "answered", "answered"])
      for (const [index, call] of calls.entries()) {
        if (index > 0) assert.isAtLeast(call.at, calls[index - 1]!.answeredAt!)
      }
      // and the session still renews
      yield* iam.set({ latency: Duration.zero })
      yield* manager.refresh()
      assert.strictEqual(yield* renewals, 4)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("what a sibling renewed is used, not asked for again", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const other = yield* sibling
      yield* other.token
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const [one, two] = yield* Effect.all([manager.token, other.token], { concurrency: "unbounded" })
      assert.strictEqual(raw(one), raw(two))
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))
})

describe("rule 5: a renewal belongs to the keeper", () => {
  it.effect("no interruption of a caller, not even of the only one, loses the answer", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(1) })
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const caller = yield* Effect.forkChild(manager.token, { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interrupt(caller)
      yield* TestClock.adjust("500 millis")
      yield* manager.token
      assert.strictEqual(yield* renewals, 1)
      const session = Option.getOrThrow(yield* stored)
      assert.strictEqual(session.grant._tag, "RefreshToken")
      assert.isTrue(Option.isNone(session.intent))
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("a program that ends waits for the renewal to be durable", () =>
    Effect.gen(function*() {
      const iam = yield* ScriptedIam.ScriptedIam
      const storage = yield* TokenStorage.TokenStorage
      const scope = yield* Scope.make()
      const manager = yield* Scope.provide(sibling, scope)
      yield* manager.login(passwordLogin)
      const first = yield* manager.token
      yield* iam.set({ latency: Duration.seconds(1) })
      yield* Effect.forkChild(manager.refresh(), { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      const end = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      assert.isUndefined(end.pollUnsafe())
      yield* TestClock.adjust("400 millis")
      yield* Fiber.join(end)
      const left = Option.getOrThrow(yield* storage.get(manager.key))
      assert.notStrictEqual(raw(left.tokens[""]!), raw(first))
      assert.isTrue(Option.isNone(left.intent))
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("the time limit cuts a renewal that hangs", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* (yield* ScriptedIam.ScriptedIam).set({ latency: Duration.hours(5) })
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const caller = yield* Effect.forkChild(Effect.flip(manager.refresh()))
      yield* TestClock.adjust("30 seconds")
      const error = yield* Fiber.join(caller)
      assert.include(error.message, "no answer within 30s")
    }).pipe(Effect.provide(setup())))
})

describe("rule 6: durable, then published", () => {
  it.effect("an intent is stored while the renewal is under way", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* (yield* ScriptedIam.ScriptedIam).set({ latency: Duration.seconds(1) })
      const before = Option.getOrThrow(yield* stored).generation
      const caller = yield* Effect.forkChild(manager.refresh(), { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      const during = Option.getOrThrow(yield* stored)
      assert.isTrue(Option.isSome(during.intent))
      assert.isAbove(during.generation, before)
      yield* TestClock.adjust("500 millis")
      const after = yield* Fiber.join(caller)
      assert.isTrue(Option.isNone(after.intent))
      assert.isAbove(after.generation, during.generation)
    }).pipe(Effect.provide(setup())))

  it.effect("an answer that cannot be written lives on in memory, is told, and is written later", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const { failing } = yield* fixtures.Faults
      yield* TestClock.adjust("54 minutes")
      yield* Ref.set(failing, "writes")
      yield* TestClock.adjust("3 minutes")
      const renewed = yield* manager.token
      assert.strictEqual(raw(yield* manager.token), raw(renewed))
      const [state] = yield* Stream.runCollect(Stream.take(manager.changes, 1))
      assert.strictEqual(state?._tag, "SignedIn")
      assert.include(state?._tag === "SignedIn" ? state.unsaved?.cause : "", "no space left")
      yield* Ref.set(failing, "nothing")
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(
        raw(
          Option.getOrThrow(
            Option.flatMap(yield* stored, (session: Session.Session) => Option.fromUndefinedOr(session.tokens[""]))
          )
        ),
        raw(renewed)
      )
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(scheduled({ grant: "ExchangeAccessToken" }))))

  it.effect("a login that cannot be stored fails, and the session lives on in this program", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* Ref.set((yield* fixtures.Faults).failing, "writes")
      const error = yield* Effect.flip(manager.login(passwordLogin))
      assert.strictEqual(error._tag, "TokenStorageError")
      assert.include(error.message, "no space left on device: free some")
      yield* manager.token
      assert.isTrue(yield* manager.isAuthenticated)
    }).pipe(Effect.provide(setup())))
})

describe("rule 7: the refresh token", () => {
  it.effect("an answer without one keeps the old one", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* manager.refresh()
      yield* manager.refresh()
      const calls = (yield* (yield* ScriptedIam.ScriptedIam).calls).filter((call) => call.method === "renew")
      assert.deepStrictEqual(calls.map((call) => call.refreshToken), [2, 2])
    }).pipe(Effect.provide(setup({ rotation: "none" }))))

  it.effect("an answer with one replaces the old one", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* manager.refresh()
      yield* manager.refresh()
      const calls = (yield* (yield* ScriptedIam.ScriptedIam).calls).filter((call) => call.method === "renew")
      assert.deepStrictEqual(calls.map((call) => call.outcome), ["answered", "answered"])
      assert.strictEqual(new Set(calls.map((call) => call.refreshToken)).size, 2)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))
})

describe("rule 8: kinds of failure", () => {
  const dead = new IamError.GrantDead({ detail: "invalid_grant" })

  it.effect("a dead grant is never sent again, by this program or by another one", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* failRenewals(dead)
      yield* TestClock.adjust("2 hours")
      const errors = yield* Effect.all(Array.from({ length: 1000 }, () => Effect.flip(manager.token)), {
        concurrency: "unbounded"
      })
      assert.isTrue(errors.every((error) => error._tag === "ReauthenticationRequired"))
      assert.strictEqual((yield* Effect.flip((yield* sibling).token))._tag, "ReauthenticationRequired")
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* renewals, 1)
      const session = Option.getOrThrow(yield* stored)
      assert.strictEqual(session.grant._tag, "None")
      assert.strictEqual(Option.getOrThrow(session.dead).cause, "invalid_grant")
    }).pipe(Effect.provide(scheduled())))

  it.effect("what is still valid of a dead session is served until it expires", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const first = yield* manager.token
      yield* failRenewals(dead)
      yield* TestClock.setTime(Duration.toMillis("56 minutes"))
      assert.strictEqual(raw(yield* manager.token), raw(first))
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(raw(yield* manager.token), raw(first))
      yield* TestClock.adjust("1 minutes")
      assert.strictEqual((yield* Effect.flip(manager.token))._tag, "ReauthenticationRequired")
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(setup())))

  it.effect("an IAM that is down: the valid token is served, the storage untouched, the IAM asked with backoff", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const first = yield* manager.token
      const grant = Option.getOrThrow(yield* stored).grant
      yield* failRenewals(unavailable("no"), { times: 10_000 })
      yield* TestClock.adjust("56 minutes")
      for (let call = 0; call < 200; call++) {
        assert.strictEqual(raw(yield* manager.token), raw(first))
        yield* TestClock.adjust("1 second")
      }
      const asked = yield* renewals
      assert.isAtLeast(asked, 5)
      assert.isAtMost(asked, 20)
      assert.deepStrictEqual(Option.getOrThrow(yield* stored).grant, grant)
      const [state] = yield* Stream.runCollect(Stream.take(manager.changes, 1))
      assert.strictEqual(state?._tag, "Stale")
    }).pipe(Effect.provide(scheduled())))

  it.effect("Retry-After is honoured", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* failRenewals(unavailable("no", Duration.seconds(100)))
      yield* TestClock.setTime(Duration.toMillis("56 minutes"))
      yield* manager.token
      yield* TestClock.adjust("99 seconds")
      yield* manager.token
      assert.strictEqual(yield* renewals, 1)
      yield* TestClock.adjust("2 seconds")
      yield* manager.token
      assert.strictEqual(yield* renewals, 2)
    }).pipe(Effect.provide(setup())))

  it.effect("without a valid token a caller tries three times, then says why", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* failRenewals(unavailable("no"), { times: 10_000 })
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const caller = yield* Effect.forkChild(Effect.flip(manager.token), { startImmediately: true })
      while (caller.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
      const error = yield* Fiber.join(caller)
      assert.include(error.message, "out of order")
      assert.isTrue(Option.isSome(yield* stored))
      const asked = yield* renewals
      // the next caller is told at once, and nobody is asked
      assert.include((yield* Effect.flip(manager.token)).message, "out of order")
      assert.strictEqual(yield* renewals, asked)
    }).pipe(Effect.provide(setup({
      // pauses that no detour of the fibers outlasts
      policy: {
        backoff: { first: Duration.seconds(10), longest: Duration.minutes(10) },
        timeLimit: Duration.minutes(5)
      }
    }))))

  it.effect("an answer that may have been lost is not asked for again while a valid token is there", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const first = yield* manager.token
      yield* failRenewals(unavailable("maybe"), { answerLost: true })
      yield* TestClock.setTime(Duration.toMillis("56 minutes"))
      yield* manager.token
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(raw(yield* manager.token), raw(first))
      assert.strictEqual(raw(yield* (yield* sibling).token), raw(first))
      assert.strictEqual(yield* renewals, 1)
      yield* TestClock.adjust("1 minutes")
      const error = yield* Effect.flip(manager.token)
      assert.strictEqual(error._tag, "ReauthenticationRequired")
      assert.include(error.message, "the answer to an earlier renewal was lost")
      assert.strictEqual(yield* renewals, 2)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("an exchange of the access token has no such restraint", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const first = yield* manager.token
      yield* failRenewals(unavailable("maybe"))
      yield* TestClock.setTime(Duration.toMillis("56 minutes"))
      yield* manager.token
      yield* TestClock.adjust("1 seconds")
      yield* manager.token
      yield* TestClock.adjust("1 seconds")
      assert.notStrictEqual(raw(yield* manager.token), raw(first))
    }).pipe(Effect.provide(setup({ grant: "ExchangeAccessToken" }))))

  it.effect("a wrong set-up fails with what to change, and loses nothing", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* failRenewals(new IamError.Misconfigured({ detail: "invalid_client: check the client's secret" }))
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      assert.include((yield* Effect.flip(manager.token)).message, "check the client's secret")
      assert.strictEqual(Option.getOrThrow(yield* stored).grant._tag, "RefreshToken")
    }).pipe(Effect.provide(setup())))
})

describe("rule 9: wall clock", () => {
  for (const days of [30, 400]) {
    it.effect(`a token of ${days} days is not renewed in its first day`, () =>
      Effect.gen(function*() {
        const manager = yield* auth
        yield* manager.login(passwordLogin)
        yield* TestClock.adjust("1 day")
        yield* manager.token
        assert.strictEqual(yield* renewals, 0)
      }).pipe(Effect.provide(scheduled({ lifetime: Duration.days(days) }))))
  }

  it.effect("a jump forward renews at the next call, a jump back does not loop", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* TestClock.setTime(Duration.toMillis("10 hours"))
      yield* manager.login(passwordLogin)
      const at = yield* Clock.currentTimeMillis
      yield* TestClock.setTime(at + Duration.toMillis("3 hours"))
      yield* manager.token
      assert.strictEqual(yield* renewals, 1)
      yield* TestClock.setTime(at - Duration.toMillis("3 hours"))
      yield* manager.token
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(setup())))
})

describe("rule 10: a window larger than half of the token's life", () => {
  it.effect("shrinks, so that a short-lived token is not renewed on every call", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* TestClock.adjust("40 seconds")
      yield* manager.token
      assert.strictEqual(yield* renewals, 0)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(scheduled({ lifetime: "1 minute" }))))
})

describe("rule 11: the scheduler", () => {
  it.effect("renews in the background, again and again, when nobody asks", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* TestClock.adjust("10 hours")
      const asked = yield* renewals
      assert.isAtLeast(asked, 10)
      assert.isAtMost(asked, 11)
    }).pipe(Effect.provide(scheduled({ rotation: "strict" }))))
})

describe("rule 12: a 401 from an API", () => {
  it.effect("renews only if the token that failed is still the current one", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const first = yield* manager.bearerToken
      const replaced = yield* Effect.all(Array.from({ length: 200 }, () => manager.rejected(first)), {
        concurrency: "unbounded"
      })
      assert.strictEqual(new Set(replaced.map(({ tokens }) => raw(tokens))).size, 1)
      yield* manager.rejected(first)
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))
})

describe("rule 13: login and logout", () => {
  it.effect("a renewal that comes home after a logout does not bring the session back", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(1) })
      const renewal = yield* Effect.forkChild(manager.refresh(), { startImmediately: true })
      const logout = yield* Effect.forkChild(manager.logout, { startImmediately: true })
      assert.strictEqual((yield* Effect.flip(manager.token))._tag, "NotAuthenticated")
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.await(renewal)
      assert.strictEqual((yield* Fiber.join(logout))._tag, "Revoked")
      assert.isTrue(Option.isNone(yield* stored))
      assert.isTrue(Option.isNone(yield* manager.session))
      // what was revoked is the newest refresh token
      const calls = yield* iam.calls
      assert.strictEqual(calls.at(-1)?.method, "revoke")
      assert.strictEqual(calls.at(-1)?.refreshToken, 4)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("a sibling's logout signs this program out", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      const other = yield* sibling
      yield* manager.login(passwordLogin)
      yield* other.token
      yield* manager.logout
      yield* Effect.yieldNow
      yield* TestClock.adjust("1 milli")
      assert.strictEqual((yield* Effect.flip(other.token))._tag, "NotAuthenticated")
    }).pipe(Effect.provide(setup())))

  it.effect("a stored session that a sibling renewed or ended meanwhile is not put back", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      const other = yield* sibling
      const session = yield* other.login(passwordLogin)
      const stale: AuthStrategy.AuthStrategy = { name: "stale", obtain: () => Effect.succeed(session) }
      const renewed = yield* other.refresh()
      assert.strictEqual((yield* manager.login(stale)).generation, renewed.generation)
      yield* manager.refresh()
      yield* other.logout
      const error = yield* Effect.flip(manager.login(stale))
      assert.include(error.message, "changed the session first")
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("a failed login leaves the earlier session as it was", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const first = yield* manager.token
      const wrong = AuthStrategy.password({ handle: "ada", password: Redacted.make("wrong") })
      assert.strictEqual((yield* Effect.flip(manager.login(wrong)))._tag, "InvalidCredentials")
      assert.strictEqual(raw(yield* manager.token), raw(first))
    }).pipe(Effect.provide(setup())))
})

describe("rule 14: a session that must not be stored", () => {
  it.effect("lives in memory, renews there, and touches no storage", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin, { store: false })
      yield* TestClock.adjust("10 hours")
      yield* manager.token
      assert.isAtLeast(yield* renewals, 9)
      assert.strictEqual(yield* Ref.get((yield* fixtures.Faults).writes), 0)
      assert.isTrue(Option.isNone(yield* stored))
      yield* manager.logout
      assert.strictEqual((yield* Effect.flip(manager.token))._tag, "NotAuthenticated")
    }).pipe(Effect.provide(scheduled({ rotation: "strict" }))))

  it.effect("signing out of it leaves the stored session alone, and does not take it up", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* manager.login(passwordLogin, { store: false })
      yield* manager.logout
      assert.strictEqual((yield* Effect.flip(manager.token))._tag, "NotAuthenticated")
      assert.isTrue(Option.isSome(yield* stored))
      yield* manager.login(AuthStrategy.stored())
      yield* manager.token
    }).pipe(Effect.provide(setup())))
})
