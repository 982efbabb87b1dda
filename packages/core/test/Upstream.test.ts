/**
 * The counterparts of the test cases that the clients of the Datalayer-style IAM have, by their names. A case that
 * asserts what we hold to be a bug is turned around, and says so.
 */
import { AuthManager, AuthStrategy, TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { passwordLogin, setup, stored, variables } from "./fixtures.ts"

const manager = AuthManager.AuthManager
const issue = ScriptedIam.ScriptedIam.use((iam) => iam.issue)
const count = (method: ScriptedIam.Method) => ScriptedIam.ScriptedIam.use((iam) => iam.count(method))
const storedRaw = Effect.map(
  Effect.flatMap(manager, (auth) => auth.storedToken),
  Option.map((given) => Redacted.value(given))
)
const currentRaw = Effect.map(
  Effect.flatMap(manager, (auth) => auth.token),
  (tokens) => Redacted.value(tokens.accessToken)
)

const nobody = Effect.gen(function*() {
  const auth = yield* manager
  assert.isTrue(Option.isNone(yield* stored))
  assert.isTrue(Option.isNone(yield* auth.storedToken))
  assert.isTrue(Option.isNone(yield* auth.session))
  assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
})

describe("test_authn.py", () => {
  it.effect("upstream: test_initialization keeps the IAM, has a storage and something to log in with", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.strictEqual(auth.key.issuer, "https://prod1.example")
      assert.isNotEmpty((yield* TokenStorage.TokenStorage).description)
      const error = yield* Effect.flip(auth.login())
      assert.deepStrictEqual(error._tag === "NoCredentials" ? error.tried.map((one) => one.strategy) : [], [
        "environment",
        "stored"
      ])
    }).pipe(Effect.provide(setup({ issuer: "https://prod1.example" }))))

  it.effect("upstream: test_initialization_with_custom_storage uses the given storage", () =>
    Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      assert.deepStrictEqual(yield* storage.keys, [auth.key])
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_get_current_user_when_not_authenticated is none", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.isTrue(Option.isNone(yield* auth.whoami))
      assert.isTrue(Option.isNone(yield* auth.session))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_get_current_token_when_not_authenticated says that nobody is signed in", () =>
    Effect.provide(nobody, setup()))

  it.effect("upstream: test_is_authenticated_when_not_authenticated is false", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* (yield* manager).isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_store_token makes it the current and the stored one", () =>
    Effect.gen(function*() {
      const given = yield* issue
      yield* (yield* manager).storeToken(given)
      assert.strictEqual(yield* currentRaw, Redacted.value(given))
      assert.deepStrictEqual(yield* storedRaw, Option.some(Redacted.value(given)))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_clear_stored_token leaves neither", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.storeToken(yield* issue)
      yield* auth.clearStoredToken
      yield* nobody
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_get_stored_token answers with what is stored; no variable of the environment beats it (inverted)", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = yield* issue
      yield* auth.storeToken(given)
      const env = variables({ SCRIPTED_TOKEN: Redacted.value(yield* issue) })
      assert.deepStrictEqual(yield* Effect.provide(storedRaw, env), Option.some(Redacted.value(given)))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_login_without_options_raises_error with what was tried", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip((yield* manager).login())
      assert.strictEqual(error._tag, "NoCredentials")
      assert.include(error.message, "nothing to sign in with")
      assert.include(error.message, "Sign in with a password or a token")
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_logout_calls_api_and_clears_storage", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* auth.logout
      assert.strictEqual(yield* count("revoke"), 1)
      assert.isTrue(Option.isNone(yield* auth.whoami))
      yield* nobody
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_whoami_returns_none_when_not_authenticated", () =>
    Effect.gen(function*() {
      assert.isTrue(Option.isNone(yield* (yield* manager).whoami))
      assert.strictEqual(yield* count("whoami"), 0)
    }).pipe(Effect.provide(setup())))
})

// Here the environment is not a storage: it is a way to sign in, which writes nothing.
describe("test_authn_storage.py, Environment", () => {
  const login = (env: Record<string, string>) =>
    Effect.flatMap(manager, (auth) => Effect.provide(auth.login(AuthStrategy.environment()), variables(env)))

  it.effect("upstream: test_is_available (Environment): there is always an environment to look at", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(login({})))._tag, "NoCredentials")
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_set_and_get (Environment): the token that is set is the one in use", () =>
    Effect.gen(function*() {
      const given = Redacted.value(yield* issue)
      yield* login({ SCRIPTED_TOKEN: given })
      assert.strictEqual(yield* currentRaw, given)
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_delete (Environment): a token that is no longer set is not used", () =>
    Effect.gen(function*() {
      yield* login({ SCRIPTED_TOKEN: Redacted.value(yield* issue) })
      yield* (yield* manager).logout
      assert.strictEqual((yield* Effect.flip(login({})))._tag, "NoCredentials")
      yield* nobody
    }).pipe(Effect.provide(setup())))

  it.effect("upstream: test_get_token_from_api_key (Environment): the dialect's first variable wins", () =>
    Effect.gen(function*() {
      const [key, token] = [Redacted.value(yield* issue), Redacted.value(yield* issue)]
      yield* login({ THE_API_KEY: key, THE_ACCESS_TOKEN: token })
      assert.strictEqual(yield* currentRaw, key)
    }).pipe(Effect.provide(setup({ environment: ["THE_API_KEY", "THE_ACCESS_TOKEN"] }))))

  it.effect("upstream: test_clear (Environment): nothing is left, and the variable was never written anywhere", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* login({ SCRIPTED_TOKEN: Redacted.value(yield* issue) })
      assert.isTrue(Option.isNone(yield* stored))
      yield* auth.logout
      yield* nobody
    }).pipe(Effect.provide(setup())))
})

describe("AuthenticationManager.test.ts", () => {
  it.effect("upstream (TS): constructor should create an instance with default storage, which is touched only when used", () =>
    Effect.gen(function*() {
      assert.isDefined(yield* manager)
      assert.deepStrictEqual(yield* (yield* TokenStorage.TokenStorage).keys, [])
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): constructor should create an instance with custom storage, for the account that it is told", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.make({ account: "work" })
      yield* auth.login(passwordLogin)
      assert.deepStrictEqual((yield* (yield* TokenStorage.TokenStorage).keys).map((key) => key.account), ["work"])
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): getCurrentUser is none when nobody is signed in", () =>
    Effect.gen(function*() {
      assert.isTrue(Option.isNone(yield* (yield* manager).session))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): getCurrentToken says that nobody is signed in", () => Effect.provide(nobody, setup()))

  it.effect("upstream (TS): isAuthenticated is false when nobody is signed in, true with a token, user known or not", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.isFalse(yield* auth.isAuthenticated)
      yield* auth.storeToken(yield* issue)
      assert.isTrue(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): storeToken should store token in storage, at once and not 100 ms later (inverted)", () =>
    Effect.gen(function*() {
      const given = yield* issue
      yield* (yield* manager).storeToken(given)
      assert.deepStrictEqual(yield* storedRaw, Option.some(Redacted.value(given)))
      assert.strictEqual(yield* currentRaw, Redacted.value(given))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): clearStoredToken should clear, at once, whatever was still being stored (inverted)", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* Effect.all([auth.storeToken(yield* issue), auth.clearStoredToken], { concurrency: "unbounded" })
      yield* nobody
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): getStoredToken should get token from storage, also in a fresh program", () =>
    Effect.gen(function*() {
      const given = yield* issue
      yield* (yield* manager).storeToken(given)
      const fresh = yield* AuthManager.make()
      assert.deepStrictEqual(Option.map(yield* fresh.storedToken, Redacted.value), Option.some(Redacted.value(given)))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): getStoredToken should return null when none", () =>
    Effect.gen(function*() {
      assert.isTrue(Option.isNone(yield* (yield* manager).storedToken))
    }).pipe(Effect.provide(setup())))
})

// `NodeStorage` without a keychain is memory: here it says so.
describe("storage.test.ts, NodeStorage", () => {
  it.effect("upstream (TS): NodeStorage is always available", () =>
    Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      assert.strictEqual(storage.description, "memory")
      assert.isFalse(storage.guarantees.durable)
      assert.deepStrictEqual(yield* storage.keys, [])
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): NodeStorage should store and retrieve from memory", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const session = yield* auth.login(passwordLogin)
      assert.deepStrictEqual(Option.map(yield* stored, TokenStorage.encode), Option.some(TokenStorage.encode(session)))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): NodeStorage should delete token from memory", () =>
    Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      const auth = yield* manager
      const session = yield* auth.login(passwordLogin)
      yield* storage.remove(auth.key, session.generation)
      assert.isTrue(Option.isNone(yield* storage.get(auth.key)))
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): NodeStorage should clear all memory storage, and of one account only (inverted)", () =>
    Effect.gen(function*() {
      const work = yield* AuthManager.make({ account: "work" })
      const auth = yield* manager
      yield* work.login(passwordLogin)
      yield* auth.login(passwordLogin)
      yield* auth.clearStoredToken
      yield* nobody
      assert.isTrue(Option.isSome(yield* work.storedToken))
      yield* work.clearStoredToken
      assert.deepStrictEqual(yield* (yield* TokenStorage.TokenStorage).keys, [])
    }).pipe(Effect.provide(setup())))

  it.effect("upstream (TS): NodeStorage should read from environment variables: only those that the dialect names (inverted)", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const given = Redacted.value(yield* issue)
      const wrong = variables({ access_token: given, TEST_KEY: given })
      assert.strictEqual((yield* Effect.flip(Effect.provide(auth.login(), wrong)))._tag, "NoCredentials")
      yield* Effect.provide(auth.login(), variables({ SCRIPTED_TOKEN: given }))
      assert.strictEqual(yield* currentRaw, given)
    }).pipe(Effect.provide(setup())))
})
