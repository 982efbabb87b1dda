/** Which endpoints a session is used at, and what metadata of a caller's own means. */
import { BrowserLogin, DeviceLogin, IamClient, type IamError, Selection, Session } from "@effect-authn/core"
import { OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { NodeAuth } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { FetchHttpClient } from "effect/http"
import { type RawProvider, type Reply, type Script, seconds, serve, sessionOf, sign } from "./rawProvider.ts"

const redirectUri = "http://127.0.0.1:49321/callback"
const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300, refresh_token: "rt-1" }

const program = (issuer: string, options: Partial<OidcOptions.OidcOptions> = {}) =>
  Layer.fresh(OidcIam.layer({ issuer, clientId: "cli", scopes: ["read"], ...options })).pipe(
    Layer.provide(FetchHttpClient.layer)
  )

const login = Effect.gen(function*() {
  const browser = yield* BrowserLogin.BrowserLogin
  const { pending, url } = yield* browser.begin({ redirectUri })
  return { issued: yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`), url: new URL(url) }
})

/** The session of a login, after it lay in a storage. */
const stored = Effect.fnUntraced(function*(issuer: string, options?: Partial<OidcOptions.OidcOptions>) {
  const { issued } = yield* Effect.provide(login, program(issuer, options))
  const session = Session.fromResponse((yield* sessionOf(issuer)).key, issued, {
    strategy: "browser",
    selection: Selection.none
  })
  const codec = Schema.fromJsonString(Session.Session)
  return yield* Effect.flatMap(Schema.encodeEffect(codec)(session), Schema.decodeEffect(codec))
})

const paths = ({ asked }: RawProvider) => asked.filter(({ method }) => method === "POST").map(({ path }) => path)

const honest: Script = {
  routes: { "/token": { body: tokens }, "/revoke": {}, "/userinfo": { body: { sub: "ada", name: "Ada" } } }
}

describe("a stored session is used only at the endpoints of its own login:", () => {
  const elsewhere: Record<
    string,
    (evil: string, base: string) => { readonly hand?: OidcOptions.OidcOptions["metadata"]; readonly found?: object }
  > = {
    "the caller names others": (evil) => ({
      hand: { token_endpoint: `${evil}/token`, revocation_endpoint: `${evil}/revoke`, userinfo_endpoint: `${evil}/me` }
    }),
    "the provider's metadata names others": (evil) => ({
      found: { token_endpoint: `${evil}/token`, revocation_endpoint: `${evil}/revoke`, userinfo_endpoint: `${evil}/me` }
    }),
    "the caller names others, of the same token endpoint": (evil, base) => ({
      hand: { token_endpoint: `${base}/token`, revocation_endpoint: `${evil}/revoke`, userinfo_endpoint: `${evil}/me` }
    })
  }
  for (const [name, change] of Object.entries(elsewhere)) {
    it.live(name, () =>
      Effect.gen(function*() {
        let found: object | undefined
        const server = yield* serve({ ...honest, discovery: () => found ?? {} })
        const evil = yield* serve(honest)
        const session = yield* stored(server.issuer)
        const changed = change(evil.origin, server.issuer)
        found = changed.found
        yield* Effect.gen(function*() {
          const iam = yield* IamClient.IamClient
          const renewal = yield* Effect.result(iam.renew(session, Selection.none))
          if (name.endsWith("the same token endpoint")) {
            assert.strictEqual(renewal._tag, "Success")
            const kept = renewal._tag === "Success" ? renewal.success.madeAt : undefined
            assert.deepStrictEqual(kept, session.madeAt)
          } else {
            const error = yield* Effect.flip(Effect.fromResult(renewal))
            assert.strictEqual(error.reason._tag, "Misconfigured")
            assert.include(error.message, `${server.issuer}/token`)
            assert.include(error.message, "sign in again")
          }
          assert.strictEqual((yield* iam.revoke(session))._tag, "Revoked")
          assert.strictEqual((yield* iam.whoami(session)).id, "ada")
        }).pipe(Effect.provide(program(server.issuer, { metadata: changed.hand })))
        assert.deepStrictEqual(evil.asked, [])
        assert.strictEqual(paths(server).at(-1), "/revoke")
      }))
  }

  it.live("an endpoint that the login did not know counts where its token endpoint is", () =>
    Effect.gen(function*() {
      let revocation: string | null = null
      const server = yield* serve({ ...honest, discovery: () => ({ revocation_endpoint: revocation }) })
      const evil = yield* serve(honest)
      const session = yield* stored(server.issuer)
      const revoked = IamClient.IamClient.use((iam) => iam.revoke(session))
      for (
        const [address, tag] of [
          [`${server.issuer}/revoke`, "Revoked"],
          [`${evil.origin}/revoke`, "NotRevoked"],
          [null, "NotRevoked"]
        ] as const
      ) {
        revocation = address
        assert.strictEqual((yield* Effect.provide(revoked, program(server.issuer)))._tag, tag)
      }
      assert.deepStrictEqual(evil.asked, [])
    }))

  it.live("it is revoked also while the provider's metadata are away", () =>
    Effect.gen(function*() {
      let isAway = false
      const found = (base: string) => ({
        issuer: base,
        authorization_endpoint: `${base}/authorize`,
        token_endpoint: `${base}/token`,
        revocation_endpoint: `${base}/revoke`
      })
      const server = yield* serve({
        routes: {
          ...honest.routes,
          "/.well-known/openid-configuration": (_asked, base): Reply => isAway ? { status: 503 } : { body: found(base) }
        }
      })
      const session = yield* stored(server.issuer)
      isAway = true
      const revoked = IamClient.IamClient.use((iam) => iam.revoke(session))
      assert.strictEqual((yield* Effect.provide(revoked, program(server.issuer)))._tag, "Revoked")
    }))

  it.live("one of an earlier version takes them from its next renewal", () =>
    Effect.gen(function*() {
      const server = yield* serve(honest)
      const session = yield* sessionOf(server.issuer)
      const { madeAt } = yield* Effect.provide(
        IamClient.IamClient.use((iam) => iam.renew(session, Selection.none)),
        program(server.issuer)
      )
      assert.deepStrictEqual(
        [madeAt?.token, madeAt?.revocation, madeAt?.userinfo, madeAt?.clientAuthentication],
        [`${server.issuer}/token`, `${server.issuer}/revoke`, `${server.issuer}/userinfo`, "none"]
      )
    }))
})

describe("metadata of the caller", () => {
  it.live("add to what is discovered, and win where both name a member", () =>
    Effect.gen(function*() {
      let nonce = ""
      const idToken = (base: string) =>
        sign({ iss: base, aud: "cli", sub: "ada", name: "Ada", nonce, iat: seconds(), exp: seconds() + 300 })
      const server = yield* serve({
        routes: {
          "/hand/token": (_asked, base) => ({ body: { ...tokens, id_token: idToken(base) } }),
          "/token": { status: 500 },
          "/revoke": {}
        }
      })
      yield* Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending, url } = yield* browser.begin({ redirectUri })
        assert.strictEqual(new URL(url).pathname, "/authorize")
        nonce = new URL(url).searchParams.get("nonce") ?? ""
        const issued = yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
        assert.deepStrictEqual(Option.map(issued.user, ({ id }) => id), Option.some("ada"))
        const iam = yield* IamClient.IamClient
        assert.strictEqual((yield* iam.revoke(yield* sessionOf(server.issuer)))._tag, "Revoked")
      }).pipe(Effect.provide(
        program(server.issuer, { scopes: ["openid"], metadata: { token_endpoint: `${server.issuer}/hand/token` } })
      ))
      assert.deepStrictEqual(paths(server), ["/hand/token", "/revoke"])
    }))

  it.live("that lack the keys: those of the provider verify", () =>
    Effect.gen(function*() {
      let nonce = ""
      const server = yield* serve({
        routes: {
          "/token": (_asked, base) => ({
            body: {
              ...tokens,
              id_token: sign({ iss: base, aud: "cli", sub: "ada", nonce, iat: seconds(), exp: seconds() + 300 })
            }
          })
        }
      })
      const metadata = {
        authorization_endpoint: `${server.issuer}/authorize`,
        token_endpoint: `${server.issuer}/token`
      }
      yield* Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending, url } = yield* browser.begin({ redirectUri })
        nonce = new URL(url).searchParams.get("nonce") ?? ""
        yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
      }).pipe(Effect.provide(program(server.issuer, { scopes: ["openid"], metadata })))
    }))

  const missing: Record<string, Reply> = {
    "none": { status: 404 },
    "those of another issuer": { body: { issuer: "https://other.example" } },
    "a page": { body: "<h1>Hello</h1>" }
  }
  for (const [name, reply] of Object.entries(missing)) {
    it.live(`stand alone where the provider publishes ${name}`, () =>
      Effect.gen(function*() {
        const server = yield* serve({
          routes: { ...honest.routes, "/.well-known/openid-configuration": reply }
        })
        const metadata = {
          authorization_endpoint: `${server.issuer}/authorize`,
          token_endpoint: `${server.issuer}/token`
        }
        const session = yield* stored(server.issuer, { metadata })
        const revocation = yield* Effect.provide(
          IamClient.IamClient.use((iam) => iam.revoke(session)),
          program(server.issuer, { metadata })
        )
        assert.strictEqual(revocation._tag, "NotRevoked")
      }))
  }
})

describe("an endpoint that is not https refuses its use, not the provider:", () => {
  const plain = "http://other.example/x"

  it.live("userinfo", () =>
    Effect.gen(function*() {
      const server = yield* serve({ ...honest, discovery: () => ({ userinfo_endpoint: plain }) })
      const session = yield* stored(server.issuer)
      yield* Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        yield* iam.renew(session, Selection.none)
        const error = yield* Effect.flip(iam.whoami(session))
        assert.strictEqual(error.reason._tag, "Unsupported")
      }).pipe(Effect.provide(program(server.issuer)))
    }))

  it.live("device codes", () =>
    Effect.gen(function*() {
      const server = yield* serve({ ...honest, discovery: () => ({ device_authorization_endpoint: plain }) })
      yield* Effect.provide(login, program(server.issuer))
      const begun = DeviceLogin.DeviceLogin.use((device) => device.begin())
      const { reason } = yield* Effect.flip(Effect.provide(begun, program(server.issuer)))
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.include(reason.message, "device_authorization_endpoint that is not https")
    }))

  it.live("the page that signs out", () =>
    Effect.gen(function*() {
      const server = yield* serve({ ...honest, discovery: () => ({ end_session_endpoint: plain }) })
      const session = yield* stored(server.issuer)
      const page = OidcIam.OidcIam.use((oidc) => oidc.endSessionUrl(session))
      assert.isTrue(Option.isNone(yield* Effect.provide(page, program(server.issuer))))
    }))

  it.live("the page that signs in, for whoever signs in with a code", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        routes: {
          "/device": (_asked, base) => ({
            body: { device_code: "dc", user_code: "AB-CD", verification_uri: `${base}/enter`, expires_in: 60 }
          })
        },
        discovery: () => ({ authorization_endpoint: plain })
      })
      const begun = DeviceLogin.DeviceLogin.use((device) => device.begin())
      assert.strictEqual((yield* Effect.provide(begun, program(server.issuer))).userCode, "AB-CD")
      const { reason } = yield* Effect.flip(Effect.provide(login, program(server.issuer)))
      assert.strictEqual(reason._tag, "Misconfigured")
    }))
})

describe("a provider that knows no OpenID Connect", () => {
  const openId = { scopes: undefined }

  it.live("says so in its list of scopes: before a page is opened or a code begun, with the scopes to ask for", () =>
    Effect.gen(function*() {
      const server = yield* serve({ ...honest, discovery: () => ({ scopes_supported: ["read", "write:all"] }) })
      const acts: ReadonlyArray<
        Effect.Effect<unknown, IamError.IamError, BrowserLogin.BrowserLogin | DeviceLogin.DeviceLogin>
      > = [login, DeviceLogin.DeviceLogin.use((device) => device.begin())]
      for (const act of acts) {
        const error = yield* Effect.flip(Effect.provide(act, program(server.issuer, openId)))
        assert.strictEqual(error.reason._tag, "Misconfigured")
        assert.include(error.message, "without openid")
        assert.include(error.message, "read write:all")
      }
      assert.deepStrictEqual(paths(server), [])
      yield* Effect.provide(login, program(server.issuer, { scopes: ["read"] }))
    }))

  it.live("publishes no keys: before the code is spent", () =>
    Effect.gen(function*() {
      const server = yield* serve({ ...honest, discovery: () => ({ jwks_uri: null }) })
      const error = yield* Effect.flip(Effect.provide(login, program(server.issuer, openId)))
      assert.strictEqual(error.reason._tag, "Misconfigured")
      assert.include(error.message, "without openid")
      assert.deepStrictEqual(paths(server), [])
    }))

  it.live("tells nothing, and answers without an id_token: what to do is said then", () =>
    Effect.gen(function*() {
      const server = yield* serve(honest)
      const error = yield* Effect.flip(Effect.provide(login, program(server.issuer, openId)))
      assert.strictEqual(error.reason._tag, "Malformed")
      assert.include(error.message, "no id_token")
      assert.include(error.message, "without openid")
    }))

  it.live("is none because openid is missing in a list of one that publishes what it signs with", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        discovery: () => ({ scopes_supported: ["email"], id_token_signing_alg_values_supported: ["ES256"] })
      })
      yield* Effect.provide(
        BrowserLogin.BrowserLogin.use((browser) => browser.begin({ redirectUri })),
        program(server.issuer, openId)
      )
    }))
})

describe("a code is sent again where it was certainly not processed:", () => {
  const unprocessed: Record<string, Reply> = {
    "503": { status: 503 },
    "429": { status: 429, headers: { "retry-after": "1" } },
    "temporarily_unavailable": { status: 400, body: { error: "temporarily_unavailable" } },
    "a connection that was just being closed": { drop: true }
  }
  for (const [name, reply] of Object.entries(unprocessed)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const replies = [reply]
        const server = yield* serve({ routes: { "/token": () => replies.pop() ?? { body: tokens } } })
        const { issued } = yield* Effect.provide(login, program(server.issuer))
        assert.strictEqual(Redacted.value(issued.tokens.accessToken), "at-1")
        const codes = server.asked.filter(({ path }) => path === "/token").map(({ form }) => form.get("code_verifier"))
        assert.strictEqual(codes.length, 2)
        assert.strictEqual(new Set(codes).size, 1)
      }))
  }

  it.live("a connection that was just being closed, with the client of NodeAuth", () =>
    Effect.gen(function*() {
      const replies: Array<Reply> = [{ drop: true }]
      const server = yield* serve({ routes: { "/token": () => replies.pop() ?? { body: tokens } } })
      const layer = OidcIam.layer({ issuer: server.issuer, clientId: "cli", scopes: ["read"] })
      yield* Effect.provide(login, Layer.provide(layer, NodeAuth.layerHttpClient))
      assert.deepStrictEqual(paths(server), ["/token", "/token"])
    }))

  const final: Record<string, Reply> = {
    "500": { status: 500 },
    "502 with a page": { status: 502, body: "<h1>Bad gateway</h1>" },
    "invalid_grant": { status: 400, body: { error: "invalid_grant" } },
    "server_error": { status: 400, body: { error: "server_error" } },
    "a Retry-After beyond the time limit": { status: 503, headers: { "retry-after": "3600" } },
    "a connection that answered nobody before": { drop: true }
  }
  for (const [name, reply] of Object.entries(final)) {
    it.live(`once, after ${name}`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ routes: { "/token": reply } })
        const other = yield* serve({
          discovery: () => ({ token_endpoint: `${server.origin}/token` })
        })
        yield* Effect.flip(Effect.provide(login, program(other.issuer)))
        assert.strictEqual(paths(server).length, 1)
      }))
  }

  it.live("one that was not spent is good for another try of the caller", () =>
    Effect.gen(function*() {
      const replies: Array<Reply> = [{ status: 503, headers: { "retry-after": "3600" } }]
      const server = yield* serve({ routes: { "/token": () => replies.pop() ?? { body: tokens } } })
      yield* Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending } = yield* browser.begin({ redirectUri })
        const completed = browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
        assert.strictEqual((yield* Effect.flip(completed)).reason._tag, "Unavailable")
        yield* completed
        assert.strictEqual((yield* Effect.flip(completed)).reason._tag, "CredentialsRefused")
      }).pipe(Effect.provide(program(server.issuer)))
    }))
})
