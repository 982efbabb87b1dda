import { type AuthError, IamError, Selection, TokenSet } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { count, failNext, iam, manager, nextState, passwordLogin, raw, setup, sibling, token } from "./fixtures.ts"

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
      const first = yield* auth.bearerToken
      const second = yield* auth.rejected(first)
      assert.notStrictEqual(raw(second.tokens), raw(first.tokens))
      assert.strictEqual(raw((yield* auth.rejected(first)).tokens), raw(second.tokens))
      assert.strictEqual(yield* count("renew"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("a rejected token of another selection is, too, and the current selection stays", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const current = yield* token
      const first = yield* auth.bearerTokenFor({ project: "apollo" })
      const second = yield* auth.rejected(first, { project: "apollo" })
      assert.notStrictEqual(raw(second.tokens), raw(first.tokens))
      assert.strictEqual(raw((yield* auth.rejected(first, { project: "apollo" })).tokens), raw(second.tokens))
      assert.strictEqual(raw(yield* auth.tokenFor({ project: "apollo" })), raw(second.tokens))
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
        auth.rejected({ tokens: some, login: 0 })
      ]
      for (const attempt of attempts) {
        const error = yield* Effect.flip(attempt)
        assert.strictEqual(error._tag, "NotAuthenticated")
        assert.strictEqual(error.message, "not signed in as default at https://iam.example: sign in first")
      }
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
    }).pipe(Effect.provide(setup())))
})
