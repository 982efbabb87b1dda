import {
  type AuthError,
  AuthManager,
  AuthStrategy,
  BrowserLogin,
  InteractiveStrategy,
  JwtCodec,
  Selection,
  Session,
  TokenStorage
} from "@effect-authn/core"
import { OidcStrategy } from "@effect-authn/iam-oidc"
import { OidcProvider } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Redacted, Result } from "effect"
import {
  age,
  expired,
  grants,
  logins,
  oidc,
  program,
  type ProviderOf,
  refreshTokenOf,
  setup,
  tokenOf
} from "./fixtures.ts"

const claimsOf = (token: string) => Result.getOrThrow(JwtCodec.decodeUnverified(token)).claims

for (const [name, { acts, strategy }] of Object.entries(logins)) {
  describe(`${name} login`, () => {
    it.live("signs in, renews with rotation, and signs out, after one look at the provider's metadata", () =>
      Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        yield* Effect.forkChild(acts)
        const first = yield* auth.login(strategy)
        assert.strictEqual(first.strategy, name)
        const user = Option.getOrThrow(first.user)
        assert.deepStrictEqual([user.id, user.displayName, user.handle, user.email], [
          "ada",
          Option.some("Name of ada"),
          Option.some("ada"),
          Option.some("ada@example.test")
        ])
        const second = yield* auth.refresh()
        assert.notStrictEqual(tokenOf(second), tokenOf(first))
        assert.notStrictEqual(refreshTokenOf(second), refreshTokenOf(first))

        const other = Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          const stored = yield* auth.login(AuthStrategy.stored())
          assert.strictEqual(tokenOf(stored), tokenOf(second))
          const third = yield* auth.refresh()
          assert.notStrictEqual(refreshTokenOf(third), refreshTokenOf(second))
          assert.deepStrictEqual(Option.map(yield* auth.whoami, ({ id }) => id), Option.some("ada"))
          assert.strictEqual((yield* auth.logout)._tag, "Revoked")
          assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
        })
        yield* Effect.provide(other, program)
        const { errors, proxy } = yield* OidcProvider.OidcProvider
        assert.deepStrictEqual(yield* errors, [])
        const routes = (yield* proxy.ledger).map(({ route }) => route)
        assert.include(routes, "revocation")
        assert.strictEqual(routes.filter((route) => route === "discovery").length, 1)
        const sent = (yield* grants).filter((grant) => grant === "refresh_token").length
        assert.strictEqual(sent, 2)
      }).pipe(Effect.provide(setup())))
  })
}

describe("client credentials", () => {
  const clients = {
    client_secret_basic: ({ secretClient }: OidcProvider.OidcProvider["Service"]) => ({
      clientId: secretClient.id,
      clientAuthentication: { method: "client_secret_basic", secret: secretClient.secret } as const
    }),
    client_secret_post: ({ postClient }: OidcProvider.OidcProvider["Service"]) => ({
      clientId: postClient.id,
      clientAuthentication: { method: "client_secret_post", secret: postClient.secret } as const
    }),
    private_key_jwt: ({ keyClient }: OidcProvider.OidcProvider["Service"]) => ({
      clientId: keyClient.id,
      clientAuthentication: { method: "private_key_jwt", key: keyClient.key } as const
    })
  }
  for (const [method, options] of Object.entries(clients)) {
    it.live(`sign in with ${method}, and are issued again`, () =>
      Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const { resource } = yield* OidcProvider.OidcProvider
        const first = yield* auth.login(OidcStrategy.clientCredentials(), {
          selection: { resource, scope: "api:read" }
        })
        assert.strictEqual(first.grant._tag, "Reissue")
        const { aud, scope } = claimsOf(tokenOf(first))
        assert.deepStrictEqual([aud, scope], [resource, "api:read"])
        const second = yield* auth.refresh()
        assert.notStrictEqual(tokenOf(second), tokenOf(first))
        assert.deepStrictEqual(yield* grants, ["client_credentials", "client_credentials"])
        assert.strictEqual((yield* Effect.flip(auth.whoami))._tag, "IamError")
        assert.strictEqual((yield* auth.logout)._tag, "NotRevoked")
        assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
        assert.isFalse(yield* auth.isAuthenticated)
        assert.strictEqual((yield* grants).length, 2)
      }).pipe(Effect.provide(setup(options))))
  }

  it.live("that are wrong are Misconfigured, and the secret is in no message", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const error = yield* Effect.flip(auth.login(OidcStrategy.clientCredentials()))
      assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "Misconfigured")
      assert.include(error.message, "invalid_client")
      assert.notInclude(`${error.stack}`, "not/the+secret")
    }).pipe(Effect.provide(setup(({ secretClient }) => ({
      clientId: secretClient.id,
      clientAuthentication: { method: "client_secret_basic", secret: Redacted.make("not/the+secret") }
    })))))
})

describe("selections", () => {
  it.live("narrow the access token by resource and scope, over one refresh token", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { resource } = yield* OidcProvider.OidcProvider
      const session = yield* auth.login(InteractiveStrategy.browser(), {
        selection: { resource, scope: "api:read api:write" }
      })
      assert.strictEqual(claimsOf(tokenOf(session))["aud"], resource)
      const { accessToken } = yield* auth.tokenFor({ resource, scope: "api:read" })
      assert.strictEqual(claimsOf(Redacted.value(accessToken))["scope"], "api:read")
      assert.deepStrictEqual(yield* grants, ["authorization_code", "refresh_token"])
    }).pipe(Effect.provide(setup())))

  it.live("that the provider refuses, or that OpenID Connect does not know, leave the session alone", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* auth.login(InteractiveStrategy.browser())
      const reason = (selection: Parameters<typeof auth.tokenFor>[0]) =>
        Effect.map(
          Effect.flip(auth.tokenFor(selection)),
          (error) => error._tag === "IamError" ? error.reason._tag : error._tag
        )
      assert.strictEqual(yield* reason({ scope: "api:admin" }), "SelectionRefused")
      assert.strictEqual(yield* reason({ resource: "urn:x" }), "SelectionRefused")
      assert.strictEqual(yield* reason({ organization: "acme" }), "Unsupported")
      // What the session was not granted is refused here.
      assert.deepStrictEqual(yield* grants, ["authorization_code"])
      assert.isTrue(yield* auth.isAuthenticated)
      yield* auth.refresh()
      assert.strictEqual(yield* reason({ resource: "urn:x" }), "SelectionRefused")
      assert.deepStrictEqual(yield* grants, ["authorization_code", "refresh_token"])
    }).pipe(Effect.provide(setup())))

  it.live("for another resource than the one of the options are refused without asking the provider", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* auth.login(InteractiveStrategy.browser())
      const refused = yield* Effect.flip(auth.tokenFor({ resource: "urn:x" }))
      assert.strictEqual(refused._tag === "IamError" && refused.reason._tag, "SelectionRefused")
      assert.include(refused.message, "urn:x")
      assert.deepStrictEqual(yield* grants, ["authorization_code"])
      yield* auth.refresh()
    }).pipe(Effect.provide(setup(({ resource }) => ({ resource })))))

  it.live("that a narrowed session was granted once stay to be had", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { resource } = yield* OidcProvider.OidcProvider
      yield* auth.login(InteractiveStrategy.browser(), { selection: { resource, scope: "api:read api:write" } })
      yield* auth.refresh({ resource, scope: "api:read" })
      yield* age(expired)
      yield* auth.refresh()
      const { accessToken } = yield* auth.tokenFor({ resource, scope: "api:write" })
      assert.strictEqual(claimsOf(Redacted.value(accessToken))["scope"], "api:write")
    }).pipe(Effect.provide(setup())))

  for (const rotates of [undefined, false]) {
    const which = rotates === false ? "costs nothing where nothing rotates" : "says what it cost, and is not sent again"
    it.live(`that the provider spends and refuses, of a session of which it is not known: ${which}`, () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const auth = yield* AuthManager.AuthManager
        const { key } = auth
        yield* auth.login(InteractiveStrategy.browser())
        const session = Option.getOrThrow(yield* storage.get(key))
        yield* storage.put(
          key,
          Session.update(session, { granted: undefined, rotates, generation: session.generation + 1 }),
          session.generation
        )
        yield* Effect.gen(function*() {
          const other = yield* AuthManager.AuthManager
          const before = yield* other.token
          const error = yield* Effect.flip(other.tokenFor({ resource: "urn:x" }))
          assert.isTrue(error._tag === "IamError" && error.reason._tag === "SelectionRefused")
          assert.strictEqual(error.message.includes("may have used up"), rotates !== false)
          assert.isTrue(yield* other.isAuthenticated)
          assert.deepStrictEqual(yield* other.token, before)
          const stored = Option.getOrThrow(yield* storage.get(key))
          assert.strictEqual(Option.isSome(stored.intent), rotates !== false)
          // A refresh token that may be spent is not sent while a valid token is left.
          if (rotates !== false) {
            assert.include((yield* Effect.flip(other.refresh())).message, "a valid token is left")
            assert.deepStrictEqual(yield* grants, ["authorization_code", "refresh_token"])
          }
        }).pipe(Effect.provide(Layer.fresh(program)))
      }).pipe(Effect.provide(setup())))
  }
})

describe("programs that share a session and ask for different APIs", () => {
  /** A program of its own, with other options, over the storage and the provider of the test. */
  const another = (options: ProviderOf) =>
    Effect.map(
      Layer.build(Layer.fresh(program).pipe(Layer.provide(Layer.fresh(oidc(options))))),
      (built) => Context.get(built, AuthManager.AuthManager)
    )
  const audOf = ({ accessToken }: { readonly accessToken: Redacted.Redacted }) =>
    Option.getOrUndefined(
      Option.map(
        Result.getSuccess(JwtCodec.decodeUnverified(Redacted.value(accessToken))),
        ({ claims }) => claims["aud"]
      )
    )

  for (const option of ["resource", "audience"] as const) {
    it.live(`are never given the token that another asked for: ${option}`, () =>
      Effect.gen(function*() {
        const { resource } = yield* OidcProvider.OidcProvider
        const plain = yield* AuthManager.AuthManager
        yield* plain.login(InteractiveStrategy.browser())
        const other = yield* another(() => ({ [option]: resource }))
        const ways = { token: other.token, bearer: other.bearer, bearerToken: other.bearerToken, claims: other.claims }
        for (const [way, asked] of Object.entries<Effect.Effect<unknown, AuthError.AuthError>>(ways)) {
          const refused = yield* Effect.flip(asked)
          assert.strictEqual(refused._tag === "IamError" && refused.reason._tag, "SelectionRefused", way)
          assert.include(refused.message, resource, way)
        }
        assert.deepStrictEqual(yield* other.storedToken, Option.none())
        // Nothing was sent, and the session is as good as before.
        assert.deepStrictEqual(yield* grants, ["authorization_code"])
        assert.isUndefined(audOf(yield* plain.token))
      }).pipe(Effect.provide(setup())))
  }

  it.live("each get the token of their own, and none moves the session of the other", () =>
    Effect.gen(function*() {
      const { resource } = yield* OidcProvider.OidcProvider
      const own = yield* AuthManager.AuthManager
      yield* own.login(InteractiveStrategy.browser())
      assert.strictEqual(audOf(yield* own.token), resource)
      const plain = yield* another(() => ({}))
      assert.strictEqual(audOf(yield* plain.token), resource, "who asks for nothing gets what the session is of")
      yield* plain.refresh({ scope: "openid" })
      const current = Effect.map(plain.session, Option.map(({ current }) => Selection.id(current)))
      const moved = yield* current
      assert.deepStrictEqual(moved, Option.some("scope=openid"))
      assert.strictEqual(audOf(yield* own.token), resource)
      yield* own.refresh()
      assert.deepStrictEqual(yield* current, moved)
      const bearer = yield* own.bearerToken
      assert.strictEqual(audOf((yield* own.rejected(bearer)).tokens), resource)
      assert.strictEqual(audOf(yield* own.tokenFor({ scope: "api:read" })), resource)
    }).pipe(Effect.provide(setup(({ resource }) => ({ resource, scopes: ["openid", "offline_access", "api:read"] })))))
})

describe("several logins at once", () => {
  it.live("open one browser and share the result", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const other = yield* Effect.provide(AuthManager.AuthManager, Layer.fresh(program))
      const sessions = yield* Effect.forEach(
        [auth, auth, auth, other],
        (auth) => auth.login(InteractiveStrategy.browser()),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(sessions.map(tokenOf)).size, 1)
      assert.deepStrictEqual(yield* grants, ["authorization_code"])
      // A login that comes later is one of its own.
      yield* auth.login(InteractiveStrategy.browser())
      assert.strictEqual((yield* grants).length, 2)
    }).pipe(Effect.provide(setup())))
})

describe("without offline_access", () => {
  it.live("the session ends with its access token, and no prompt is asked for", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const login = yield* BrowserLogin.BrowserLogin
      const { url } = yield* login.begin({ redirectUri: "http://127.0.0.1/callback" })
      assert.isFalse(new URL(url).searchParams.has("prompt"))
      const session = yield* auth.login(InteractiveStrategy.browser())
      assert.strictEqual(session.grant._tag, "None")
      assert.strictEqual((yield* Effect.flip(auth.refresh()))._tag, "ReauthenticationRequired")
    }).pipe(Effect.provide(setup(() => ({ scopes: ["openid"] })))))
})

describe("signing out", () => {
  it.live("says in the provider's words why it did not revoke, and the session is gone all the same", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { proxy } = yield* OidcProvider.OidcProvider
      const { key } = auth
      yield* auth.login(InteractiveStrategy.browser())
      yield* proxy.setKnobs({ fail: ["revocation:403:1"] })
      const revocation = yield* auth.logout
      const said = revocation._tag === "NotRevoked" ? revocation.reason : ""
      assert.include(said, "The proxy was told to fail")
      assert.match(said, /the refresh token works on at the IAM until/)
      assert.include(said, `in your account at ${key.issuer}`)
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
    }).pipe(Effect.provide(setup())))

  it.live("asks again while the revocation endpoint is away", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { proxy } = yield* OidcProvider.OidcProvider
      yield* auth.login(InteractiveStrategy.browser())
      yield* proxy.setKnobs({ fail: ["revocation:503:1", "revocation:drop:1"] })
      assert.strictEqual((yield* auth.logout)._tag, "Revoked")
    }).pipe(Effect.provide(setup())))
})
