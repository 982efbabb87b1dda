/** How a client shows its secret: by the metadata, and then by what the answers say. */
import { BrowserLogin, IamClient, JwtCodec, Selection, Session } from "@effect-authn/core"
import { OidcIam, OidcOptions } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted, Result, Schema } from "effect"
import { FetchHttpClient } from "effect/http"
import { type Asked, date, keys, type Reply, seconds, serve, sessionOf } from "./rawProvider.ts"

const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300, refresh_token: "rt-1" }
const wayOf = ({ form, headers }: Asked) =>
  headers.authorization === undefined ? form.get("client_secret") === null ? "none" : "post" : "basic"

/** A provider that knows its client in one way only, and says `refusal` to the other. */
const knowing = (way: "basic" | "post", refusal: Reply, discovery: object = {}) =>
  serve({
    discovery: () => discovery,
    routes: { "/token": (asked) => wayOf(asked) === way ? { body: tokens } : refusal }
  })

const layerOf = (
  issuer: string,
  method: "client_secret" | "client_secret_basic" = "client_secret",
  options: Partial<OidcOptions.OidcOptions> = {}
) =>
  OidcIam.layer({
    ...options,
    issuer,
    clientId: "cli",
    clientAuthentication: { method, secret: Redacted.make("a secret/with+signs") }
  }).pipe(Layer.provide(FetchHttpClient.layer))

const renewOf = (session: Session.Session) => IamClient.IamClient.use((iam) => iam.renew(session, Selection.none))

const renew = (issuer: string) => Effect.flatMap(sessionOf(issuer), renewOf)

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
      const env = { AUTHN_ISSUER: `${server.issuer}\r`, AUTHN_CLIENT_ID: "cli\r", AUTHN_CLIENT_SECRET: "s\r" }
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

describe("the way that was taken is remembered", () => {
  for (const way of ["basic", "post"] as const) {
    it.live(`with the session (${way}): no program that comes later begins with a refusal`, () =>
      Effect.gen(function*() {
        const server = yield* knowing(way, { status: 401, body: { error: "invalid_client" } })
        const session = yield* sessionOf(server.issuer)
        const renewed = yield* Effect.provide(renewOf(session), layerOf(server.issuer))
        const stored = yield* Schema.encodeEffect(Schema.fromJsonString(Session.Session))(
          Session.update(session, { grant: renewed.grant, madeAt: renewed.madeAt })
        )
        assert.notInclude(stored, "a secret/with+signs")
        const before = server.asked.length
        for (let programs = 0; programs < 2; programs++) {
          const read = yield* Schema.decodeEffect(Schema.fromJsonString(Session.Session))(stored)
          yield* Effect.provide(renewOf(read), layerOf(server.issuer))
        }
        assert.deepStrictEqual(ways(server.asked.slice(before)), [way, way])
      }))
  }

  it.live("with the session that a login made, also for its logout", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        routes: {
          "/token": (asked) =>
            wayOf(asked) === "post" ? { body: tokens } : { status: 401, body: { error: "invalid_client" } },
          "/revoke": (asked) => wayOf(asked) === "post" ? {} : { status: 401, body: { error: "invalid_client" } }
        }
      })
      const layer = layerOf(server.issuer, "client_secret", { scopes: ["read"] })
      const issued = yield* Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending } = yield* browser.begin({ redirectUri: "http://127.0.0.1:49321/callback" })
        return yield* browser.complete(pending, `${pending.redirectUri}?code=c&state=${pending.state}`)
      }).pipe(Effect.provide(layer))
      const key = (yield* sessionOf(server.issuer)).key
      const session = Session.fromResponse(key, issued, { strategy: "browser", selection: Selection.none })
      const before = server.asked.length
      yield* Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        yield* iam.renew(session, Selection.none)
        assert.strictEqual((yield* iam.revoke(session))._tag, "Revoked")
      }).pipe(Effect.provide(Layer.fresh(layer)))
      const later = server.asked.slice(before).filter(({ method }) => method === "POST")
      assert.deepStrictEqual(later.map(wayOf), ["post", "post"])
    }))

  it.live("and given up where the provider changes its mind: no process stays refused", () =>
    Effect.gen(function*() {
      let way = "basic"
      const server = yield* serve({
        routes: {
          "/token": (asked) =>
            wayOf(asked) === way ? { body: tokens } : { status: 401, body: { error: "invalid_client" } }
        }
      })
      yield* Effect.gen(function*() {
        yield* renew(server.issuer)
        way = "post"
        yield* renew(server.issuer)
        yield* renew(server.issuer)
        way = "basic"
        yield* renew(server.issuer)
      }).pipe(Effect.provide(layerOf(server.issuer)))
      assert.strictEqual(ways(server.asked).at(-1), "basic")
      assert.strictEqual(ways(server.asked).length, 1 + 3 + 1 + 2)
    }))
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

describe("an assertion, where our clock is wrong,", () => {
  const key = Redacted.make({ ...keys.privateKey.export({ format: "jwk" }), kty: "EC", alg: "ES256" })

  /** A provider whose clock is `ahead.seconds` ahead of ours, and which allows no difference. */
  const strict = (refusal: Reply, ahead: { seconds: number }) =>
    serve({
      routes: {
        "/token": ({ form }) => {
          const { claims } = Result.getOrThrow(JwtCodec.decodeUnverified(form.get("client_assertion") ?? ""))
          const now = seconds() + ahead.seconds
          const isGood = Number(claims["nbf"]) <= now + 1 && Number(claims["exp"]) > now
          return { headers: date(ahead.seconds), ...(isGood ? { body: tokens } : refusal) }
        }
      }
    })

  const client = (issuer: string) =>
    OidcIam.layer({ issuer, clientId: "cli", clientAuthentication: { method: "private_key_jwt", key } }).pipe(
      Layer.provide(FetchHttpClient.layer)
    )
  const sent = (asked: ReadonlyArray<Asked>) => asked.filter(({ path }) => path === "/token")

  const refusals: Record<string, Reply> = {
    "invalid_client": { status: 401, body: { error: "invalid_client", error_description: "assertion not yet valid" } },
    "400 invalid_client": { status: 400, body: { error: "invalid_client" } },
    "invalid_request": { status: 400, body: { error: "invalid_request" } },
    "401 with a page": { status: 401, body: "<h1>Unauthorized</h1>" }
  }
  for (const [name, refusal] of Object.entries(refusals)) {
    for (const ahead of [-30, -7200, 90, 7200]) {
      it.live(`by ${-ahead} s: ${name} is answered by one of the provider's time, which is kept`, () =>
        Effect.gen(function*() {
          const server = yield* strict(refusal, { seconds: ahead })
          yield* Effect.gen(function*() {
            yield* renew(server.issuer)
            yield* renew(server.issuer)
          }).pipe(Effect.provide(client(server.issuer)))
          const assertions = sent(server.asked).map(({ form }) => form.get("client_assertion"))
          assert.strictEqual(assertions.length, 3)
          assert.strictEqual(new Set(assertions).size, 3)
        }))
    }
  }

  it.live("because it jumped between two renewals, and back", () =>
    Effect.gen(function*() {
      const ahead = { seconds: 0 }
      const server = yield* strict(refusals["invalid_client"]!, ahead)
      yield* Effect.gen(function*() {
        const lengths = []
        for (const seconds of [0, 3600, 3600, 0, -3600]) {
          ahead.seconds = seconds
          const before = sent(server.asked).length
          yield* renew(server.issuer)
          lengths.push(sent(server.asked).length - before)
        }
        assert.deepStrictEqual(lengths, [1, 2, 1, 2, 2])
      }).pipe(Effect.provide(client(server.issuer)))
    }))

  it.live("is shown once where the clocks are the same: then it is the key", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        routes: { "/token": { status: 401, body: { error: "invalid_client" }, headers: date(1) } }
      })
      const { reason } = yield* Effect.flip(Effect.provide(renew(server.issuer), client(server.issuer)))
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.strictEqual(sent(server.asked).length, 1)
    }))

  it.live("is shown twice at most where the time changes nothing, and the session stays", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        routes: { "/token": { status: 401, body: { error: "invalid_client" }, headers: date(3600) } }
      })
      const { reason } = yield* Effect.flip(Effect.provide(renew(server.issuer), client(server.issuer)))
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.strictEqual(sent(server.asked).length, 2)
    }))
})
