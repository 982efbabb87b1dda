/** A certified provider that wants it strictly: parameters that are pushed (RFC 9126), and proofs with nonces (RFC 9449). */
import { AuthHttpClient, AuthManager, Session, TokenStorage, WorkloadIdentity } from "@effect-authn/core"
import { OidcStrategy } from "@effect-authn/iam-oidc"
import { OidcProvider } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { createServer } from "node:http"
import * as oauth from "oauth4webapi"
import { logins, setup, tokenOf } from "./fixtures.ts"

/** An API that oauth4webapi protects, by the provider's keys, with proofs. */
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

describe("at a strict provider", () => {
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
