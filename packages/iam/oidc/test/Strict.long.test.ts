/** A certified provider that wants it strictly: parameters that are pushed (RFC 9126), and proofs with nonces (RFC 9449). */
import {
  AuthHttpClient,
  AuthManager,
  BrowserLogin,
  InteractiveStrategy,
  Session,
  TokenStorage,
  WorkloadIdentity
} from "@effect-authn/core"
import { OidcStrategy } from "@effect-authn/iam-oidc"
import { OidcProvider } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Struct } from "effect"
import { FetchHttpClient } from "effect/http"
import { createServer } from "node:http"
import * as oauth from "oauth4webapi"
import { answers, logins, oidc, program, setup, tokenOf, visit } from "./fixtures.ts"

// As an API names the one that proofs have to hold.
const nonce = "nonce-of-the-api"

const nonceOf = (request: Request): unknown => {
  const [, claims = ""] = (request.headers.get("dpop") ?? "").split(".")
  return claims === "" ? undefined : JSON.parse(Buffer.from(claims, "base64url").toString()).nonce
}

/** An API that oauth4webapi protects, by the provider's keys, with proofs that hold a nonce. */
const api = (issuer: string, audience: string) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<{ readonly origin: string; readonly stop: () => void }>((resolve) => {
        let origin = ""
        const as = { issuer, jwks_uri: `${issuer}/jwks` }
        const server = createServer((request, response) => {
          const seen = new Request(`${origin}${request.url}`, {
            method: request.method ?? "GET",
            headers: Object.entries(request.headers).map(([name, value]): [string, string] => [name, String(value)])
          })
          if (seen.headers.has("dpop") && nonceOf(seen) !== nonce) {
            response.writeHead(401, { "dpop-nonce": nonce, "www-authenticate": "DPoP error=\"use_dpop_nonce\"" })
            response.end()
            return
          }
          oauth.validateJwtAccessToken(as, seen, audience, {
            requireDPoP: true,
            [oauth.allowInsecureRequests]: true
          }).then(
            ({ sub }) => response.end(sub),
            (cause: unknown) => {
              response.statusCode = 401
              response.end(String(cause))
            }
          )
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          origin = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
          resolve({ origin, stop: () => server.close() })
        })
      })
    ),
    ({ stop }) => Effect.sync(stop)
  )

describe("at a provider that trusts a platform", () => {
  for (const grant of ["jwt-bearer", "token-exchange"] as const) {
    it.live(`a workload signs in by ${grant}, and an assertion for somebody else is refused`, () =>
      Effect.gen(function*() {
        const { issuer, platform } = yield* OidcProvider.OidcProvider
        const auth = yield* AuthManager.AuthManager
        let claims = {}
        const identity = {
          description: "the platform",
          token: () => Effect.map(platform.sign(claims), (token) => ({ source: "the platform", token }))
        }
        const login = auth.login(OidcStrategy.workload({ audience: issuer, grant })).pipe(
          Effect.provideService(WorkloadIdentity.WorkloadIdentity, identity)
        )
        const session = yield* login
        assert.deepStrictEqual(session.grant, { _tag: "Reissue", source: "workload" })
        const renewed = yield* auth.refresh()
        assert.notStrictEqual(tokenOf(renewed), tokenOf(session))
        claims = { aud: "https://elsewhere.test" }
        assert.strictEqual((yield* Effect.flip(login))._tag, "InvalidCredentials")
      }).pipe(Effect.provide(setup())))
  }
})

describe("at a provider that trusts what a client has signed", () => {
  const login = Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const session = yield* auth.login(OidcStrategy.clientCredentials())
    const renewed = yield* auth.refresh()
    assert.notStrictEqual(tokenOf(renewed), tokenOf(session))
  })

  it.live("a client signs in by assertions of another issuer, each of which is taken once", () =>
    Effect.gen(function*() {
      const provider = yield* OidcProvider.OidcProvider
      const { federatedClient: { id } } = provider
      let count = 0
      let claims: { readonly [name: string]: string } = { iss: id, sub: id }
      const own = oidc(() => ({
        clientId: id,
        clientAuthentication: {
          method: "assertion",
          token: Effect.suspend(() => provider.platform.sign({ jti: `jti-${count++}`, ...claims }))
        }
      }))
      yield* Effect.gen(function*() {
        yield* login
        assert.strictEqual(count, 2)
        const auth = yield* AuthManager.AuthManager
        for (const wrong of [{ jti: "jti-0" }, { aud: "https://elsewhere.test" }]) {
          claims = { iss: id, sub: id, ...wrong }
          const error = yield* Effect.flip(auth.refresh())
          assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "Misconfigured")
        }
      }).pipe(
        Effect.provide(Layer.fresh(program).pipe(Layer.provideMerge(own), Layer.provide(TokenStorage.layerMemory)))
      )
    }).pipe(Effect.provide(OidcProvider.layer())))

  it.live("a client signs in by an assertion that is made with its secret", () =>
    Effect.provide(
      login,
      setup(({ hmacClient: { id, secret } }) => ({
        clientId: id,
        clientAuthentication: { method: "client_secret_jwt", secret }
      }))
    ))

  it.live("a client signs in by its key, with the thumbprint of its certificate in the header", () =>
    Effect.provide(
      login,
      setup(({ keyClient: { id, key } }) => ({
        clientId: id,
        clientAuthentication: { method: "private_key_jwt", key, header: { x5t: "dGh1bWI" } }
      }))
    ))
})

describe("at a strict provider", () => {
  for (const isPushed of [true, false]) {
    const how = isPushed ? "pushed" : "in the address"
    it.live(`a code that was stolen with its verifier is worth nothing without the key (dpop_jkt ${how})`, () =>
      Effect.gen(function*() {
        const provider = yield* OidcProvider.OidcProvider
        const browser = yield* BrowserLogin.BrowserLogin
        const redirectUri = "http://127.0.0.1:4000/callback"
        const begin = Effect.gen(function*() {
          const { pending, url } = yield* browser.begin({ redirectUri })
          assert.strictEqual(new URL(url).searchParams.has("request_uri"), isPushed)
          const page = yield* visit(url, { answers, stopAt: (url) => url.pathname === "/callback" })
          return { pending, callback: page.url }
        })
        const own = yield* begin
        assert.strictEqual((yield* browser.complete(own.pending, own.callback)).proofKey?._tag, "Enclosed")
        for (const proofKey of [undefined, own.pending.proofKey]) {
          const stolen = yield* begin
          const thief = BrowserLogin.PendingLogin.make(Struct.assign(stolen.pending, { proofKey }))
          const refused = yield* Effect.flip(browser.complete(thief, stolen.callback))
          assert.strictEqual(refused.reason._tag, "CredentialsRefused")
        }
        assert.deepStrictEqual(yield* provider.errors, [])
      }).pipe(Effect.provide(setup(() => ({ dpop: true }), { isStrict: isPushed }))))
  }

  it.live("the provider's own API is shown the token with a proof and its nonce", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const provider = yield* OidcProvider.OidcProvider
      yield* auth.login(InteractiveStrategy.browser())
      yield* provider.proxy.forget
      const asked = Effect.map(provider.proxy.ledger, (all) =>
        all.flatMap(({ route, status }) => route === "userinfo" ? [status] : []))
      assert.strictEqual((yield* auth.refreshUser).id, "ada")
      const api = yield* AuthHttpClient.make({ baseUrl: provider.issuer })
      assert.strictEqual((yield* api.get("/me")).status, 200)
      assert.deepStrictEqual(yield* asked, [200, 200])
    }).pipe(Effect.provide([setup(() => ({ dpop: true }), { isStrict: true }), FetchHttpClient.layer])))

  for (const [name, { acts, strategy }] of Object.entries(logins)) {
    it.live(`a ${name} login is bound to a key, renews with it, and calls an API`, () =>
      Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const provider = yield* OidcProvider.OidcProvider
        yield* Effect.forkChild(acts)
        const session = yield* auth.login(strategy)
        assert.strictEqual(Option.getOrThrow(Session.currentToken(session)).tokenType, "DPoP")
        const { origin } = yield* api(provider.issuer, provider.resource)
        const client = yield* AuthHttpClient.make({ baseUrl: origin })
        const call = Effect.flatMap(client.get("/notes?page=2"), (answer) =>
          Effect.map(answer.text, (text) => `${answer.status} ${text}`))
        assert.strictEqual(yield* call, "200 ada")
        const renewed = yield* auth.refresh()
        assert.notStrictEqual(tokenOf(renewed), tokenOf(session))
        assert.strictEqual(yield* call, "200 ada")
        assert.deepStrictEqual(yield* provider.errors, [])

        // The document alone, without its key.
        const storage = yield* TokenStorage.TokenStorage
        const stored = Option.getOrThrow(yield* storage.get(session.key))
        const { grant } = stored
        const stolen = yield* Effect.promise(() =>
          fetch(`${provider.issuer}/token`, {
            method: "POST",
            body: new URLSearchParams({
              grant_type: "refresh_token",
              client_id: "cli",
              refresh_token: grant._tag === "RefreshToken" ? Redacted.value(grant.refreshToken) : ""
            })
          })
        )
        assert.strictEqual(stolen.status, 400)
        const shown = yield* Effect.promise(() =>
          fetch(origin, { headers: { authorization: `Bearer ${tokenOf(stored)}` } })
        )
        assert.strictEqual(shown.status, 401)
      }).pipe(
        Effect.provide([
          setup(
            ({ resource }) => ({ dpop: true, resource, scopes: ["openid", "offline_access", "api:read"] }),
            { isStrict: true }
          ),
          FetchHttpClient.layer
        ])
      ))
  }

  it.live("a client that signs itself in is bound to a key, too", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const session = yield* auth.login(OidcStrategy.clientCredentials())
      assert.strictEqual(Option.getOrThrow(Session.currentToken(session)).tokenType, "DPoP")
      yield* auth.refresh()
    }).pipe(
      Effect.provide(setup(
        ({ secretClient: { id, secret } }) => ({
          dpop: true,
          clientId: id,
          clientAuthentication: { method: "client_secret_basic", secret }
        }),
        { isStrict: true }
      ))
    ))
})
