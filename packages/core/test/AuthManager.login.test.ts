import { AuthStrategy, IamError, Selection, Session, TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Option, Redacted, Ref } from "effect"
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
  raw,
  setup,
  sibling,
  storedRaw,
  token,
  variables,
  wrong
} from "./fixtures.ts"

describe("login", () => {
  it.effect("with a password answers with the session, which is stored", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const session = yield* auth.login(passwordLogin)
      assert.strictEqual(session.strategy, "password")
      assert.strictEqual(session.key.issuer, "https://iam.example")
      assert.strictEqual(handle(Option.getOrThrow(session.user)), "ada")
      assert.deepStrictEqual(yield* document, Option.some(TokenStorage.encode(session)))
      assert.deepStrictEqual(yield* storedRaw, Option.some(yield* token))
    }).pipe(Effect.provide(setup())))

  it.effect("that fails leaves the earlier session as it was, in memory, in the storage and at the IAM", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const [before, first] = [yield* document, yield* token]
      for (
        const [strategy, tag] of [
          [wrong("ada"), "InvalidCredentials"],
          [AuthStrategy.token(Redacted.make("bad")), "InvalidCredentials"],
          [AuthStrategy.password({ handle: "", password: ScriptedIam.password }), "InvalidCredentials"],
          [AuthStrategy.environment(), "NoCredentials"]
        ] as const
      ) {
        assert.strictEqual((yield* Effect.flip(auth.login(strategy)))._tag, tag)
        assert.deepStrictEqual(yield* document, before)
        assert.strictEqual(yield* token, first)
      }
      assert.strictEqual(yield* count("revoke"), 0)
      // and what is there is still ours to sign out of
      assert.strictEqual((yield* auth.logout)._tag, "Revoked")
    }).pipe(Effect.provide(setup())))

  it.effect("as one user never answers with the stored token of another", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin))
      const auth = yield* manager
      const error = yield* Effect.flip(auth.login(wrong("bob")))
      assert.strictEqual(error._tag, "InvalidCredentials")
      assert.include(error.message, "wrong handle or password")
      assert.strictEqual(yield* count("login"), 2)
    }).pipe(Effect.provide(setup())))

  it.effect("with nothing to log in with says what was tried, and sends nothing", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const error = yield* Effect.flip(auth.login())
      assert.strictEqual(error._tag, "NoCredentials")
      assert.include(error.message, "default at https://iam.example")
      assert.include(error.message, "environment: SCRIPTED_TOKEN is not set")
      assert.include(error.message, "stored: no session in memory")
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
      assert.isFalse(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("without a strategy takes the environment before the stored session; a strategy is taken as it is", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const environment = yield* iam.use((scripted) => scripted.issue)
      const env = Effect.provide(variables({ SCRIPTED_TOKEN: Redacted.value(environment) }))
      const signedIn = yield* auth.login(passwordLogin).pipe(env)
      assert.strictEqual(signedIn.strategy, "password")
      assert.strictEqual((yield* auth.login().pipe(env)).strategy, "environment")
      assert.strictEqual(yield* token, Redacted.value(environment))
      assert.strictEqual((yield* auth.login()).strategy, "password")
      assert.strictEqual(yield* token, raw(Option.getOrThrow(Session.currentToken(signedIn))))
    }).pipe(Effect.provide(setup())))

  it.effect("takes up the stored session without a request, also while the IAM is down", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin))
      const before = yield* document
      for (const method of ["login", "renew", "whoami"] as const) yield* failNext(method, down, 10)
      assert.strictEqual((yield* auth.login()).strategy, "password")
      assert.isTrue(yield* auth.isAuthenticated)
      assert.deepStrictEqual(yield* document, before)
      assert.strictEqual((yield* iam.use((scripted) => scripted.calls)).length, 1)
    }).pipe(Effect.provide(setup())))

  it.effect("does not take up a session that ended, and says what ended it", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* failNext("renew", new IamError.GrantDead({ detail: "invalid_grant" }))
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* Effect.flip(auth.token)
      const error = yield* Effect.flip(auth.login())
      assert.strictEqual(error._tag, "NoCredentials")
      assert.include(error.message, "the session in memory ended: invalid_grant")
      // signing in again is what helps
      yield* auth.login(passwordLogin)
      yield* auth.token
    }).pipe(Effect.provide(setup())))

  it.effect("asks for its selection, which is then the current one", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const session = yield* auth.login(passwordLogin, { selection: { organization: "acme", project: "apollo" } })
      assert.strictEqual(Selection.id(session.current), "organization=acme&project=apollo")
      assert.strictEqual((yield* auth.claims).project, "apollo")
      assert.strictEqual((yield* iam.use((scripted) => scripted.calls))[0]?.selection, Selection.id(session.current))
    }).pipe(Effect.provide(setup())))

  it.effect("with `store: false` writes nothing and leaves what is stored", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const before = yield* document
      const session = yield* auth.login(passwordLogin, { store: false })
      assert.isFalse(session.durable)
      assert.deepStrictEqual(yield* document, before)
      assert.strictEqual(yield* token, raw(Option.getOrThrow(Session.currentToken(session))))
      assert.notDeepEqual(yield* storedRaw, Option.some(yield* token))
    }).pipe(Effect.provide(setup())))

  it.effect("leaves the session that it replaces to its expiry, unless asked to revoke it", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* auth.login(passwordLogin)
      assert.strictEqual(yield* count("revoke"), 0)
      const second = yield* token
      yield* auth.login(passwordLogin, { revokePrevious: true })
      assert.strictEqual(yield* count("revoke"), 1)
      assert.notStrictEqual(yield* token, second)
      assert.strictEqual((yield* auth.validate(Redacted.make(second)))._tag, "Invalid")
      assert.strictEqual((yield* auth.validate(Redacted.make(yield* token)))._tag, "Valid")
      // nothing was replaced: nothing to revoke
      yield* auth.login(AuthStrategy.stored(), { revokePrevious: true })
      assert.strictEqual(yield* count("revoke"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("succeeds even if the replaced session cannot be revoked", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* failNext("revoke", down)
      yield* auth.login(passwordLogin, { revokePrevious: true })
      assert.isTrue(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("many times at once ends with one session, the same in memory and in the storage", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* iam.use((scripted) => scripted.set({ latency: Duration.seconds(1) }))
      const logins = yield* Effect.forkChild(
        Effect.all(Array.from({ length: 50 }, () => auth.login(passwordLogin)), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      const sessions = yield* Fiber.join(logins)
      assert.strictEqual(new Set(sessions.map((session) => session.generation)).size, 50)
      const newest = sessions.reduce((one, other) => one.generation > other.generation ? one : other)
      assert.deepStrictEqual(yield* document, Option.some(TokenStorage.encode(newest)))
      assert.deepStrictEqual(yield* storedRaw, Option.some(yield* token))
    }).pipe(Effect.provide(setup())))
})

describe("a token of the environment", () => {
  const environment = Effect.gen(function*() {
    const given = yield* iam.use((scripted) => scripted.issue)
    const auth = yield* manager
    yield* Effect.provide(auth.login(), variables({ SCRIPTED_TOKEN: Redacted.value(given) }))
    return Redacted.value(given)
  })

  it.effect("is presented, never written and never exchanged", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* environment
      assert.strictEqual(yield* token, given)
      yield* TestClock.setTime(Duration.toMillis("59 minutes"))
      assert.strictEqual(yield* token, given)
      yield* auth.refreshUser
      assert.strictEqual(yield* Ref.get((yield* Faults).writes), 0)
      yield* TestClock.setTime(Duration.toMillis("1 hour"))
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "ReauthenticationRequired")
      yield* Effect.flip(auth.refresh())
      assert.strictEqual(yield* count("renew"), 0)
    }).pipe(Effect.provide(setup({ grant: "ExchangeAccessToken" }))))

  it.effect("leaves the stored session as it is", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const before = yield* document
      yield* environment
      yield* auth.logout
      assert.deepStrictEqual(yield* document, before)
    }).pipe(Effect.provide(setup())))

  it.effect("is not revoked by a logout: it is not ours", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* environment
      assert.strictEqual((yield* auth.logout)._tag, "NotRevoked")
      assert.strictEqual(yield* count("revoke"), 0)
      assert.strictEqual((yield* auth.validate(Redacted.make(given)))._tag, "Valid")
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
    }).pipe(Effect.provide(setup())))

  it.effect("is not revoked by a login that replaces it", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* environment
      yield* auth.login(passwordLogin, { revokePrevious: true })
      assert.strictEqual((yield* auth.validate(Redacted.make(given)))._tag, "Valid")
    }).pipe(Effect.provide(setup())))

  it.effect("that is refused leaves the stored session, and the message names the variable", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const before = yield* document
      const error = yield* Effect.flip(Effect.provide(auth.login(), variables({ SCRIPTED_TOKEN: "bad" })))
      assert.strictEqual(error._tag, "InvalidCredentials")
      assert.include(error.message, "the token in SCRIPTED_TOKEN")
      assert.deepStrictEqual(yield* document, before)
    }).pipe(Effect.provide(setup())))

  it.effect("that cannot be refreshed is not said to have expired while it is valid", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* environment
      const error = yield* Effect.flip(auth.refresh())
      assert.notInclude(error.message, "expired")
      assert.include(error.message, "nothing can renew it")
      yield* auth.token
    }).pipe(Effect.provide(setup())))
})
