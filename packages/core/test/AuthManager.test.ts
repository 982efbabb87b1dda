import {
  type AuthError,
  AuthManager,
  AuthStrategy,
  IamClient,
  IamError,
  Selection,
  Session,
  SessionKeeper,
  TokenSet,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Duration, Effect, Fiber, Layer, Option, Redacted, Ref, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { altered, Faults, leave, passwordLogin, setup, sibling, stored, variables } from "./fixtures.ts"

const manager = AuthManager.AuthManager
const iam = ScriptedIam.ScriptedIam
const count = (method: ScriptedIam.Method) => iam.use((scripted) => scripted.count(method))
const failNext = (method: ScriptedIam.Method, reason: IamError.IamErrorReason, times = 1) =>
  iam.use((scripted) => scripted.failNext(method, { reason, times }))
const raw = (tokens: TokenSet.TokenSet) => Redacted.value(tokens.accessToken)
const token = Effect.map(Effect.flatMap(manager, (auth) => auth.token), raw)
const storedRaw = Effect.map(
  Effect.flatMap(manager, (auth) => auth.storedToken),
  Option.map((given) => Redacted.value(given))
)
const document = Effect.map(stored, Option.map(TokenStorage.encode))
const down = new IamError.Unavailable({ sent: "no", detail: "connection refused" })
const refused = new IamError.CredentialsRefused({ detail: "invalid token" })
const wrong = (handle: string) => AuthStrategy.password({ handle, password: Redacted.make("wrong") })
const handle = (user: { readonly handle: Option.Option<string> }) => Option.getOrUndefined(user.handle)
const nextState = Effect.flatMap(manager, (auth) => Effect.map(Stream.runHead(auth.changes), Option.getOrThrow))

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

describe("logout", () => {
  it.effect("reaches the IAM even in a fresh process, and leaves nothing here", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin))
      const auth = yield* manager
      const given = Option.getOrThrow(yield* auth.storedToken)
      assert.strictEqual((yield* auth.logout)._tag, "Revoked")
      assert.strictEqual(yield* count("revoke"), 1)
      assert.isTrue(Option.isNone(yield* stored))
      assert.isTrue(Option.isNone(yield* auth.storedToken))
      assert.isTrue(Option.isNone(yield* auth.session))
      assert.isTrue(Option.isNone(yield* auth.whoami))
      assert.isFalse(yield* auth.isAuthenticated)
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
      assert.strictEqual((yield* auth.validate(given))._tag, "Invalid")
    }).pipe(Effect.provide(setup())))

  it.effect("cleans up here even when the IAM cannot be told, and says why it was not", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      for (const reason of [down, new IamError.Unsupported({ detail: "no such route" }), refused]) {
        yield* auth.login(passwordLogin)
        yield* failNext("revoke", reason)
        const revocation = yield* auth.logout
        assert.strictEqual(revocation._tag, "NotRevoked")
        assert.include(revocation._tag === "NotRevoked" ? revocation.reason : "", reason.message)
        assert.isTrue(Option.isNone(yield* stored))
        assert.isFalse(yield* auth.isAuthenticated)
      }
    }).pipe(Effect.provide(setup())))

  it.effect("does not wait for ever for an IAM that hangs", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* iam.use((scripted) => scripted.set({ latency: Duration.hours(1) }))
      const logout = yield* Effect.forkChild(auth.logout)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual((yield* Fiber.join(logout))._tag, "NotRevoked")
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup())))

  it.effect("of nobody asks nobody", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const revocation = yield* auth.logout
      assert.deepStrictEqual(revocation, IamClient.Revocation.cases.NotRevoked.make({ reason: "nobody was signed in" }))
      assert.strictEqual(yield* count("revoke"), 0)
      // twice is once
      yield* auth.login(passwordLogin)
      yield* Effect.all([auth.logout, auth.logout, auth.logout], { concurrency: "unbounded" })
      assert.strictEqual(yield* count("revoke"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("fails only if the storage cannot be cleaned, and names it", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const { failing } = yield* Faults
      yield* Ref.set(failing, "writes")
      const error = yield* Effect.flip(auth.logout)
      assert.strictEqual(error._tag, "TokenStorageError")
      assert.include(error.message, "no space left on device")
      yield* Ref.set(failing, "nothing")
      yield* auth.logout
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup())))

  it.effect("leaves a session of a newer version where it is, and names it", () =>
    Effect.gen(function*() {
      const newer = new TokenStorageError.TokenStorageError({
        storage: "files in /home/ada",
        method: "get",
        reason: new TokenStorageError.StorageNewerVersion({ found: 9, supported: 1, place: "/home/ada/session.json" })
      })
      const touched = yield* Ref.make(0)
      const storage = Layer.effect(
        TokenStorage.TokenStorage,
        Effect.map(TokenStorage.TokenStorage, (inner) =>
          TokenStorage.TokenStorage.of({
            ...inner,
            get: () => Effect.fail(newer),
            put: () => Ref.update(touched, (n) => n + 1),
            remove: () => Ref.update(touched, (n) => n + 1)
          }))
      )
      yield* Effect.gen(function*() {
        const auth = yield* manager
        const attempts: ReadonlyArray<Effect.Effect<void, AuthError.AuthError>> = [
          Effect.asVoid(auth.logout),
          Effect.asVoid(auth.login(passwordLogin)),
          Effect.asVoid(auth.token),
          auth.clearStoredToken
        ]
        for (const attempt of attempts) {
          const error = yield* Effect.flip(attempt)
          assert.include(error.message, "/home/ada/session.json holds a session of version 9")
          assert.include(error.message, "update this program")
        }
        assert.strictEqual(yield* Ref.get(touched), 0)
      }).pipe(
        Effect.provide(AuthManager.layer().pipe(Layer.provide(SessionKeeper.layer), Layer.provide(storage)))
      )
    }).pipe(Effect.provide(Layer.merge(ScriptedIam.layer(), TokenStorage.layerMemory))))
})

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

describe("tokens", () => {
  it.effect("token, bearer and claims are those of the current selection, of a stored session, too", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin, { selection: { project: "apollo" } }))
      const auth = yield* manager
      const tokens = yield* auth.token
      assert.strictEqual(Redacted.value(yield* auth.bearer), `Bearer ${raw(tokens)}`)
      const claims = yield* auth.claims
      assert.strictEqual(claims.iss, "https://iam.example")
      assert.strictEqual(claims.project, "apollo")
    }).pipe(Effect.provide(setup())))

  it.effect("claims of a token that is no JWT are a typed error", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const error = yield* Effect.flip(auth.claims)
      assert.strictEqual(error._tag, "JwtError")
      assert.include(error.message, "not a JWT")
    }).pipe(Effect.provide(setup({ tokens: "opaque" }))))

  it.effect("tokenFor another selection does not make it current; refresh does", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin, { selection: { organization: "acme", project: "apollo" } })
      const first = yield* token
      const other = yield* auth.tokenFor({ project: "borealis" })
      assert.notStrictEqual(raw(other), first)
      assert.strictEqual(yield* token, first)
      // asked again, it is there
      assert.strictEqual(raw(yield* auth.tokenFor({ project: "borealis" })), raw(other))
      assert.strictEqual(yield* count("renew"), 1)
      const session = yield* auth.refresh({ project: "cassini" })
      assert.strictEqual(Selection.id(session.current), "organization=acme&project=cassini")
      assert.strictEqual((yield* auth.claims).project, "cassini")
      // the selection stays with the session
      yield* auth.refresh()
      assert.strictEqual((yield* auth.claims).project, "cassini")
    }).pipe(Effect.provide(setup())))

  it.effect("a selection that is refused leaves the current one in use", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const first = yield* token
      yield* failNext("renew", new IamError.SelectionRefused({ detail: "no such project" }), 2)
      assert.include((yield* Effect.flip(auth.tokenFor({ project: "x" }))).message, "no such project")
      assert.include((yield* Effect.flip(auth.refresh({ project: "x" }))).message, "no such project")
      assert.strictEqual(yield* token, first)
      assert.strictEqual((yield* nextState)._tag, "SignedIn")
    }).pipe(Effect.provide(setup())))

  it.effect("a rejected token is answered with another one", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const first = yield* auth.token
      const second = yield* auth.rejected(first)
      assert.notStrictEqual(raw(second), raw(first))
      assert.strictEqual(raw(yield* auth.rejected(first)), raw(second))
      assert.strictEqual(yield* count("renew"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("a rejected token of another selection is, too, and the current selection stays", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const current = yield* token
      const first = yield* auth.tokenFor({ project: "apollo" })
      const second = yield* auth.rejected(first, { project: "apollo" })
      assert.notStrictEqual(raw(second), raw(first))
      assert.strictEqual(raw(yield* auth.rejected(first, { project: "apollo" })), raw(second))
      assert.strictEqual(raw(yield* auth.tokenFor({ project: "apollo" })), raw(second))
      assert.strictEqual(yield* token, current)
      assert.strictEqual(yield* count("renew"), 2)
    }).pipe(Effect.provide(setup())))

  it.effect("isAuthenticated needs no request, no user, and no valid token if the grant can renew", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.isFalse(yield* auth.isAuthenticated)
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      assert.isTrue(yield* auth.isAuthenticated)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      assert.isFalse(yield* auth.isAuthenticated)
      yield* auth.login(passwordLogin)
      yield* TestClock.setTime(Duration.toMillis("9 hours"))
      assert.isTrue(yield* auth.isAuthenticated)
      assert.strictEqual((yield* iam.use((scripted) => scripted.calls)).length, 1)
    }).pipe(Effect.provide(setup())))

  it.effect("without a session every one of them says that nobody is signed in, and why", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const now = yield* DateTime.now
      const some = TokenSet.TokenSet.make({
        accessToken: Redacted.make("x"),
        tokenType: "Bearer",
        issuedAt: now,
        expiresAt: Option.none(),
        idToken: Option.none(),
        scope: Option.none()
      })
      const attempts: ReadonlyArray<Effect.Effect<object | boolean, AuthError.AuthError>> = [
        auth.token,
        auth.bearer,
        auth.claims,
        auth.tokenFor({ project: "a" }),
        auth.refresh(),
        auth.refreshUser,
        auth.rejected(some)
      ]
      for (const attempt of attempts) {
        const error = yield* Effect.flip(attempt)
        assert.strictEqual(error._tag, "NotAuthenticated")
        assert.strictEqual(error.message, "not signed in as default at https://iam.example: sign in first")
      }
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
    }).pipe(Effect.provide(setup())))
})

describe("changes", () => {
  it.effect("tell the state now, and whenever it changes", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* iam.use((scripted) => scripted.set({ latency: Duration.seconds(1) }))
      const watcher = yield* Effect.forkChild(
        auth.changes.pipe(
          Stream.map((state) => state._tag),
          Stream.changes,
          Stream.take(6),
          Stream.runCollect
        ),
        { startImmediately: true }
      )
      const run = <A>(effect: Effect.Effect<A, AuthError.AuthError>) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(Effect.ignore(effect))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
        })
      yield* run(auth.login(passwordLogin))
      yield* run(auth.refresh())
      yield* failNext("renew", new IamError.GrantDead({ detail: "revoked" }))
      yield* run(auth.refresh())
      assert.deepStrictEqual(yield* Fiber.join(watcher), [
        "SignedOut",
        "SignedIn",
        "Renewing",
        "SignedIn",
        "Renewing",
        "ReauthenticationRequired"
      ])
      yield* run(auth.logout)
      assert.strictEqual((yield* nextState)._tag, "SignedOut")
    }).pipe(Effect.provide(setup())))
})

describe("export and import", () => {
  it.effect("carry a session to another program, which renews it when it first needs to", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin, { selection: { organization: "acme", project: "apollo" } })
      const exported = yield* auth.export
      assert.strictEqual(exported.token, yield* token)
      assert.strictEqual(exported.host, "https://iam.example")
      assert.strictEqual(exported.project, "apollo")
      assert.strictEqual(exported.account, "default")
      yield* auth.clearStoredToken
      const work = yield* AuthManager.make({ account: "work" })
      const calls = (yield* iam.use((scripted) => scripted.calls)).length
      const session = yield* work.import(JSON.parse(JSON.stringify(exported)))
      assert.strictEqual((yield* iam.use((scripted) => scripted.calls)).length, calls)
      assert.strictEqual(session.strategy, "import")
      assert.strictEqual(session.key.account, "work")
      assert.strictEqual(Selection.id(session.current), "organization=acme&project=apollo")
      const text = JSON.stringify(exported)
      assert.strictEqual(
        JSON.stringify(yield* work.export),
        text.replace("\"account\":\"default\"", "\"account\":\"work\"")
      )
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* work.token
      assert.strictEqual(yield* count("renew"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("read camelCase, unknown and null members, and a document without a version", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const session = yield* auth.import({
        token: "Bearer given",
        refreshToken: "refresh",
        tokenType: "DPoP",
        env: null,
        theme: "dark",
        version: null
      })
      assert.strictEqual(Redacted.value(yield* auth.bearer), "DPoP given")
      assert.strictEqual(session.grant._tag, "RefreshToken")
    }).pipe(Effect.provide(setup())))

  it.effect("of a token alone is a session that nothing renews", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.strictEqual((yield* auth.import({ token: "given" })).grant._tag, "None")
      assert.strictEqual(yield* token, "given")
    }).pipe(Effect.provide(setup())))

  it.effect("refuse what is no such document, and leave the session as it was", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const before = yield* document
      const bad: ReadonlyArray<readonly [unknown, string]> = [
        ["text", "not a document of an exported session"],
        [null, "not a document of an exported session"],
        [{ token: 1 }, "not a document of an exported session"],
        [{ token: "x", version: 2 }, "of version 2, this program reads version 1"],
        [{ token: "x", host: "https://other.example" }, "of another host"],
        [{ refresh_token: "x" }, "no token that can be sent"],
        [{ token: "a\nb" }, "no token that can be sent"],
        [{ token: "x", token_type: "a b" }, "token type is not a word"]
      ]
      for (const [given, message] of bad) {
        const error = yield* Effect.flip(auth.import(given))
        assert.strictEqual(error._tag, "IamError")
        assert.include(error.message, message)
      }
      assert.deepStrictEqual(yield* document, before)
    }).pipe(Effect.provide(setup())))

  it.effect("write nothing where nothing shall be stored, and show nothing of nobody", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.strictEqual((yield* Effect.flip(auth.export))._tag, "NotAuthenticated")
      yield* auth.import({ token: "given" }, { store: false })
      assert.strictEqual(yield* token, "given")
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup())))
})

describe("sessions", () => {
  it.effect("of different issuers, clients and accounts never mix", () =>
    Effect.gen(function*() {
      const identities = ["https://one.example", "https://two.example"].flatMap((issuer) =>
        ["web", "cli"].flatMap((client) => ["default", "work"].map((account) => ({ account, client, issuer })))
      )
      const programs = yield* Effect.forEach(identities, ({ account, client, issuer }) =>
        Effect.map(
          Layer.build(
            AuthManager.layer({ account }).pipe(
              Layer.provide(Layer.fresh(SessionKeeper.layer)),
              Layer.provide(ScriptedIam.layer({ issuer, clientId: client, tokens: "jwt" }))
            )
          ),
          (context) => ({ account, auth: Context.get(context, AuthManager.AuthManager), issuer })
        ))
      for (const { auth, issuer } of programs) {
        assert.isFalse(yield* auth.isAuthenticated)
        yield* auth.login(passwordLogin)
        assert.strictEqual((yield* auth.claims).iss, issuer)
      }
      const storage = yield* TokenStorage.TokenStorage
      assert.strictEqual((yield* storage.keys).length, 8)
      const [first, ...others] = programs
      yield* first!.auth.logout
      assert.isFalse(yield* first!.auth.isAuthenticated)
      for (const { auth, issuer } of others) assert.strictEqual((yield* auth.claims).iss, issuer)
      assert.strictEqual((yield* storage.keys).length, 7)
    }).pipe(Effect.provide(TokenStorage.layerMemory)))

  it.effect("are neither read nor written by building a layer", () =>
    Effect.gen(function*() {
      yield* manager
      assert.strictEqual(yield* Ref.get((yield* Faults).writes), 0)
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
    }).pipe(Effect.provide(altered(() => ({})))))

  it.effect("that cannot be read are a typed error of the storage, not a logout", () =>
    Effect.gen(function*() {
      const other = yield* sibling
      yield* other.login(passwordLogin)
      const auth = yield* manager
      const { failing } = yield* Faults
      yield* Ref.set(failing, "reads")
      const attempts: ReadonlyArray<Effect.Effect<object | boolean, AuthError.AuthError>> = [
        auth.token,
        auth.whoami,
        auth.session,
        auth.isAuthenticated,
        auth.storedToken,
        auth.login()
      ]
      for (const attempt of attempts) {
        assert.strictEqual((yield* Effect.flip(attempt))._tag, "TokenStorageError")
      }
      yield* Ref.set(failing, "nothing")
      assert.isTrue(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("that are damaged count as signed out, with the reason in the error", () =>
    Effect.gen(function*() {
      const corrupt = new TokenStorageError.TokenStorageError({
        storage: "files",
        method: "get",
        reason: new TokenStorageError.StorageCorrupt({
          detail: "a.json is not a session document",
          quarantine: "a.json.corrupt"
        })
      })
      const storage = Layer.effect(
        TokenStorage.TokenStorage,
        Effect.gen(function*() {
          const inner = yield* TokenStorage.TokenStorage
          const isMoved = yield* Ref.make(false)
          return TokenStorage.TokenStorage.of({
            ...inner,
            get: (key) =>
              Effect.flatMap(Ref.getAndSet(isMoved, true), (moved) => moved ? inner.get(key) : Effect.fail(corrupt))
          })
        })
      )
      yield* Effect.gen(function*() {
        const auth = yield* manager
        const error = yield* Effect.flip(auth.token)
        assert.strictEqual(error._tag, "NotAuthenticated")
        assert.include(error.message, "a.json.corrupt")
        yield* auth.login(passwordLogin)
        assert.isTrue(Result.isSuccess(yield* Effect.result(auth.token)))
      }).pipe(
        Effect.provide(AuthManager.layer().pipe(Layer.provide(SessionKeeper.layer), Layer.provide(storage)))
      )
    }).pipe(Effect.provide(Layer.merge(ScriptedIam.layer(), TokenStorage.layerMemory))))
})
