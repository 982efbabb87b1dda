/** How a client shows its secret: by the metadata, and then by what the answers say. */
import { IamClient, JwtCodec, Selection } from "@effect-authn/core"
import { OidcIam, OidcOptions } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted, Result } from "effect"
import { FetchHttpClient } from "effect/http"
import { type Asked, keys, type Reply, serve, sessionOf } from "./rawProvider.ts"

const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300, refresh_token: "rt-1" }
const wayOf = ({ form, headers }: Asked) =>
  headers.authorization === undefined ? form.get("client_secret") === null ? "none" : "post" : "basic"

/** A provider that knows its client in one way only, and says `refusal` to the other. */
const knowing = (way: "basic" | "post", refusal: Reply, discovery: object = {}) =>
  serve({
    discovery: () => discovery,
    routes: { "/token": (asked) => wayOf(asked) === way ? { body: tokens } : refusal }
  })

const layerOf = (issuer: string, method: "client_secret" | "client_secret_basic" = "client_secret") =>
  OidcIam.layer({
    issuer,
    clientId: "cli",
    clientAuthentication: { method, secret: Redacted.make("a secret/with+signs") }
  }).pipe(Layer.provide(FetchHttpClient.layer))

const renew = (issuer: string) =>
  Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return yield* iam.renew(yield* sessionOf(issuer), Selection.none)
  })

const ways = (asked: ReadonlyArray<Asked>) => asked.filter(({ path }) => path === "/token").map(wayOf)

describe("the way that the metadata names is the first", () => {
  const rows: Record<string, { readonly way: "basic" | "post"; readonly listed?: ReadonlyArray<string> }> = {
    "the body": { way: "post", listed: ["client_secret_post", "private_key_jwt"] },
    "the header": { way: "basic", listed: ["client_secret_basic"] },
    "the header, where both are listed": { way: "basic", listed: ["client_secret_post", "client_secret_basic"] },
    "the header, where nothing is listed": { way: "basic" }
  }
  for (const [name, { listed, way }] of Object.entries(rows)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const refusal: Reply = { status: 401, body: { error: "invalid_client" } }
        const server = yield* knowing(
          way,
          refusal,
          listed === undefined ? {} : { token_endpoint_auth_methods_supported: listed }
        )
        yield* Effect.provide(renew(server.issuer), layerOf(server.issuer))
        assert.deepStrictEqual(ways(server.asked), [way])
      }))
  }

  it.live("for a secret of the environment", () =>
    Effect.gen(function*() {
      const refusal: Reply = { status: 401, body: { error: "invalid_client" } }
      const server = yield* knowing("post", refusal, { token_endpoint_auth_methods_supported: ["client_secret_post"] })
      const env = { OIDC_ISSUER: server.issuer, OIDC_CLIENT_ID: "cli", OIDC_CLIENT_SECRET: "s" }
      const configured = OidcIam.layerConfig(OidcOptions.fromEnvironment).pipe(
        Layer.provide([FetchHttpClient.layer, ConfigProvider.layer(ConfigProvider.fromEnv({ env }))])
      )
      yield* Effect.provide(renew(server.issuer), configured)
      assert.deepStrictEqual(ways(server.asked), ["post"])
    }))
})

describe("a provider that says nothing in its metadata is shown the other way, once, when it says", () => {
  const refusals: Record<string, Reply> = {
    "invalid_client": { status: 401, body: { error: "invalid_client" } },
    "unauthorized_client": {
      status: 401,
      body: { error: "unauthorized_client", error_description: "Invalid client or Invalid client credentials" }
    },
    "invalid_request": { status: 400, body: { error: "invalid_request" } },
    "401 with a page": { status: 401, headers: { "content-type": "text/html" }, body: "<h1>Unauthorized</h1>" },
    "401 with nothing": { status: 401 }
  }
  for (const [name, refusal] of Object.entries(refusals)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const server = yield* knowing("post", refusal)
        yield* Effect.gen(function*() {
          yield* renew(server.issuer)
          yield* renew(server.issuer)
        }).pipe(Effect.provide(layerOf(server.issuer)))
        assert.deepStrictEqual(ways(server.asked), ["basic", "basic", "post", "post"])
      }))
  }
})

it.live("a client that names its way is shown in no other", () =>
  Effect.gen(function*() {
    const server = yield* knowing("post", { status: 401, body: { error: "invalid_client" } })
    const { reason } = yield* Effect.flip(
      Effect.provide(renew(server.issuer), layerOf(server.issuer, "client_secret_basic"))
    )
    assert.strictEqual(reason._tag, "Misconfigured")
    assert.notInclude(ways(server.asked), "post")
  }))

it.live("a dead refresh token is sent in one way only", () =>
  Effect.gen(function*() {
    const server = yield* serve({
      routes: {
        "/token": {
          status: 400,
          body: { error: "invalid_request", error_description: "the refresh token is expired" }
        }
      }
    })
    const { reason } = yield* Effect.flip(Effect.provide(renew(server.issuer), layerOf(server.issuer)))
    assert.strictEqual(reason._tag, "GrantDead")
    assert.deepStrictEqual(ways(server.asked), ["basic"])
  }))

it.live("a token that userinfo refuses is shown once", () =>
  Effect.gen(function*() {
    const server = yield* serve({ routes: { "/userinfo": { status: 401 } } })
    const session = yield* sessionOf(server.issuer)
    const asked = Effect.flatMap(IamClient.IamClient, (iam) => iam.whoami(session))
    const { reason } = yield* Effect.flip(Effect.provide(asked, layerOf(server.issuer)))
    assert.strictEqual(reason._tag, "CredentialsRefused")
    assert.strictEqual(server.asked.filter(({ path }) => path === "/userinfo").length, 1)
  }))

describe("an assertion is for", () => {
  const key = Redacted.make({ ...keys.privateKey.export({ format: "jwk" }), kty: "EC", alg: "ES256" })
  const audiences = {
    "the issuer, unless told": [undefined, (issuer: string) => issuer],
    "the issuer": ["issuer", (issuer: string) => issuer],
    "the token endpoint, where the client says so": ["token_endpoint", (issuer: string) => `${issuer}/token`]
  } as const
  for (const [name, [audience, expected]] of Object.entries(audiences)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const server = yield* serve({ routes: { "/token": { body: tokens } } })
        yield* Effect.provide(
          renew(server.issuer),
          OidcIam.layer({
            issuer: server.issuer,
            clientId: "cli",
            clientAuthentication: { method: "private_key_jwt", key, audience }
          }).pipe(Layer.provide(FetchHttpClient.layer))
        )
        const assertion = server.asked.at(-1)?.form.get("client_assertion") ?? ""
        const { claims } = Result.getOrThrow(JwtCodec.decodeUnverified(assertion))
        assert.strictEqual(claims["aud"], expected(server.issuer))
      }))
  }
})
