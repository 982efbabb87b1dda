/** Logins whose parameters are told beforehand (RFC 9126), and logins that have to be recent. */
import { BrowserLogin } from "@effect-authn/core"
import { OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { type Reply, seconds, serve, sign } from "./rawProvider.ts"

const redirectUri = "http://127.0.0.1:4000/callback"

const layerOf = (issuer: string, options: Partial<OidcOptions.OidcOptions> = {}) =>
  OidcIam.layer({ issuer, clientId: "cli", ...options }).pipe(Layer.provide(FetchHttpClient.layer))

const begin = (parameters?: { readonly [name: string]: string }) =>
  BrowserLogin.BrowserLogin.use((login) =>
    login.begin({ redirectUri, ...(parameters === undefined ? {} : { parameters }) })
  )

const pushing = (reply: Reply, isRequired: boolean) =>
  serve({
    discovery: (base) => ({
      pushed_authorization_request_endpoint: `${base}/par`,
      ...(isRequired ? { require_pushed_authorization_requests: true } : {})
    }),
    routes: { "/par": reply }
  })

const taken: Reply = { status: 201, body: { request_uri: "urn:ietf:params:oauth:request_uri:1", expires_in: 60 } }

describe("parameters of a login", () => {
  for (
    const [name, isRequired, options] of [["the provider", true, {}], ["the caller", false, { par: true }]] as const
  ) {
    it.live(`are pushed where ${name} wants that, and the page is opened with a reference`, () =>
      Effect.gen(function*() {
        const server = yield* pushing(taken, isRequired)
        const { url } = yield* Effect.provide(
          begin({ acr_values: "mfa" }),
          layerOf(server.issuer, {
            ...options,
            clientAuthentication: { method: "client_secret_post", secret: Redacted.make("s") }
          })
        )
        assert.deepStrictEqual(Object.fromEntries(new URL(url).searchParams), {
          client_id: "cli",
          request_uri: "urn:ietf:params:oauth:request_uri:1"
        })
        const form = server.asked.find(({ path }) => path === "/par")?.form
        assert.strictEqual(form?.get("redirect_uri"), redirectUri)
        assert.strictEqual(form?.get("code_challenge_method"), "S256")
        assert.strictEqual(form?.get("acr_values"), "mfa")
        assert.strictEqual(form?.get("client_secret"), "s")
      }))
  }

  it.live("are in the address where nobody wants that", () =>
    Effect.gen(function*() {
      const server = yield* pushing(taken, false)
      const { url } = yield* Effect.provide(begin(), layerOf(server.issuer))
      assert.strictEqual(new URL(url).searchParams.get("redirect_uri"), redirectUri)
      assert.isUndefined(server.asked.find(({ path }) => path === "/par"))
    }))

  const refusals: Record<string, readonly [Reply, string]> = {
    "a refusal": [{ status: 400, body: { error: "invalid_request" } }, "Misconfigured"],
    "a client that is refused": [{ status: 401, body: { error: "invalid_client" } }, "Misconfigured"],
    "an outage": [{ status: 503 }, "Unavailable"],
    "an answer without a reference": [{ status: 201, body: { expires_in: 60 } }, "Malformed"],
    "an answer with a reference that is none": [{ status: 201, body: { request_uri: 5, expires_in: 60 } }, "Malformed"],
    "a refusal with a reference": [
      { status: 200, body: { request_uri: "urn:x", error: "invalid_scope" } },
      "SelectionRefused"
    ]
  }
  for (const [name, [reply, tag]] of Object.entries(refusals)) {
    it.live(`are never sent another way: ${name} is ${tag}`, () =>
      Effect.gen(function*() {
        const server = yield* pushing(reply, true)
        const { reason } = yield* Effect.flip(Effect.provide(begin(), layerOf(server.issuer)))
        assert.strictEqual(reason._tag, tag)
      }))
  }

  it.live("cannot be pushed where there is no place for them", () =>
    Effect.gen(function*() {
      const server = yield* serve({ discovery: () => ({ require_pushed_authorization_requests: true }) })
      for (const options of [{}, { par: true }]) {
        const { message } = yield* Effect.flip(Effect.provide(begin(), layerOf(server.issuer, options)))
        assert.include(message, "pushed_authorization_request_endpoint")
      }
    }))
})

describe("a login that has to be recent", () => {
  for (
    const [name, ago, isTaken] of [["was", 10, true], ["was not", 500, false], [
      "does not say",
      undefined,
      false
    ]] as const
  ) {
    it.live(`is ${isTaken ? "taken" : "refused"} where it ${name}`, () =>
      Effect.gen(function*() {
        let nonce = ""
        const server = yield* serve({
          routes: {
            "/token": (_asked, iss) => ({
              body: {
                access_token: "at-1",
                token_type: "Bearer",
                expires_in: 300,
                id_token: sign({
                  iss,
                  aud: "cli",
                  sub: "ada",
                  name: "Ada",
                  nonce,
                  iat: seconds(),
                  exp: seconds() + 300,
                  ...(ago === undefined ? {} : { auth_time: seconds() - ago })
                })
              }
            })
          }
        })
        const result = yield* Effect.gen(function*() {
          const login = yield* BrowserLogin.BrowserLogin
          const { pending, url } = yield* login.begin({ redirectUri, parameters: { max_age: "120" } })
          nonce = new URL(url).searchParams.get("nonce") ?? ""
          assert.strictEqual(new URL(url).searchParams.get("max_age"), "120")
          return yield* Effect.result(login.complete(pending, `${redirectUri}?code=c&state=${pending.state}`))
        }).pipe(Effect.provide(layerOf(server.issuer)))
        assert.strictEqual(result._tag, isTaken ? "Success" : "Failure")
      }))
  }
})
