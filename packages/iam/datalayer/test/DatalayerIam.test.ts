import { IamClient, type IamError, Selection, Session, TokenSet } from "@effect-authn/core"
import { DatalayerIam, DatalayerOptions } from "@effect-authn/iam-datalayer"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, DateTime, Duration, Effect, Layer, Option, Redacted, Result } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { goodToken, jwt, make, only, password, profile, requests, sessionOf, signedIn } from "./fixtures.ts"

const { answer, json, serve } = BareServer

/** Sends nothing: whoever asks it fails the test. */
const noNetwork = Layer.succeed(HttpClient.HttpClient)(HttpClient.make(() => Effect.die("a request was sent")))

const offline = make({ issuer: "https://iam.test" })
const credentials = IamClient.Credentials.cases.Password.make({ handle: "ada", password: Redacted.make(password) })
const reasonOf = <A, R>(effect: Effect.Effect<A, IamError.IamError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("the issuer", () => {
  for (
    const [written, canonical] of [
      ["https://iam.example.com", "https://iam.example.com"],
      ["https://iam.example.com/", "https://iam.example.com"],
      ["https://iam.example.com///", "https://iam.example.com"],
      ["https://iam.example.com/api/iam/v1", "https://iam.example.com"],
      ["https://iam.example.com/api/iam/v1/", "https://iam.example.com"],
      [" HTTPS://IAM.Example.com:443/api/iam/v1 ", "https://iam.example.com"],
      ["https://example.com/eu/api/iam/v1", "https://example.com/eu"],
      ["https://iam.example.com:8443", "https://iam.example.com:8443"],
      ["http://localhost:9", "http://localhost:9"],
      ["http://127.0.0.1:80/", "http://127.0.0.1"],
      ["http://127.8.9.1", "http://127.8.9.1"],
      ["http://[::1]:9/api/iam/v1", "http://[::1]:9"]
    ] as const
  ) {
    it(`${written} is ${canonical}`, () => {
      assert.strictEqual(Result.getOrThrow(DatalayerOptions.canonicalIssuer(written)), canonical)
      assert.strictEqual(Result.getOrThrow(DatalayerOptions.canonicalIssuer(canonical)), canonical)
    })
  }

  for (
    const [written, message] of [
      ["", /write it as a URL/],
      ["iam.example.com", /"iam.example.com" is not the address.*https:\/\/iam.example.com/],
      ["https:iam.example.com", /write it as a URL/],
      ["ftp://iam.example.com", /write it as a URL/],
      ["https://", /write it as a URL/],
      ["http://iam.example.com/x", /plain http .* write https:\/\/iam.example.com/],
      ["http://127.evil.com", /plain http/],
      ["http://localhost.evil.com", /plain http/],
      ["http://127.0.0.1.evil.com", /plain http/],
      ["http://10.0.0.1", /plain http/],
      ["http://0.0.0.0", /plain http/],
      ["https://ada:hunter2@iam.example.com/x", /write https:\/\/iam.example.com\/x/],
      ["https://ada:hunter2@iam exam", /write it as a URL/],
      ["https://iam.example.com?token=hunter2", /write https:\/\/iam.example.com\//],
      ["https://iam.example.com#hunter2", /no user, query or fragment/],
      [goodToken, /write it as a URL/]
    ] as const
  ) {
    it.effect(`${written.slice(0, 40)} is refused when the layer is built`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(DatalayerIam.layer({ issuer: written }))))
        assert.strictEqual(error.reason._tag, "Misconfigured")
        assert.match(error.message, message)
        assert.notInclude(`${error.message}${JSON.stringify(error)}`, "hunter2")
        assert.notInclude(`${error.message}${JSON.stringify(error)}`, goodToken)
      }).pipe(Effect.provide(noNetwork)))
  }

  it.effect("comes from the configuration", () =>
    Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      assert.strictEqual(iam.issuer, "https://iam.test")
    }).pipe(
      Effect.provide(DatalayerIam.layerConfig()),
      Effect.provide([
        noNetwork,
        ConfigProvider.layer(ConfigProvider.fromUnknown({ DATALAYER_IAM_URL: "https://iam.test/api/iam/v1\r" }))
      ])
    ))

  it.effect("that the configuration lacks is a ConfigError", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(DatalayerIam.layerConfig())))
      assert.strictEqual(error._tag, "ConfigError")
    }).pipe(Effect.provide([noNetwork, ConfigProvider.layer(ConfigProvider.fromUnknown({}))])))
})

describe("adopt", () => {
  const adopt = (token: string) => Effect.flatMap(offline, (iam) => iam.adopt(Redacted.make(token)))
  const now = 1_700_000_000

  it.effect("takes a JWT as a token that can be exchanged until its exp", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now * 1000)
      const issued = yield* adopt(`  ${jwt({ exp: now + 60 })}\n`)
      assert.strictEqual(Redacted.value(issued.tokens.accessToken), jwt({ exp: now + 60 }))
      assert.strictEqual(issued.grant._tag, "ExchangeAccessToken")
      assert.deepStrictEqual(issued.tokens.expiresAt, Option.some(DateTime.makeUnsafe((now + 60) * 1000)))
      assert.deepStrictEqual(issued.user, Option.none())
    }).pipe(Effect.provide(noNetwork)))

  it.effect("takes the token of an authorization header", () =>
    Effect.gen(function*() {
      const issued = yield* adopt(`Bearer ${goodToken}`)
      assert.strictEqual(Redacted.value(issued.tokens.accessToken), goodToken)
    }).pipe(Effect.provide(noNetwork)))

  it.effect("takes a JWT without exp as one without a known end", () =>
    Effect.gen(function*() {
      const issued = yield* adopt(jwt())
      assert.deepStrictEqual([issued.tokens.expiresAt, issued.grant._tag], [Option.none(), "ExchangeAccessToken"])
    }).pipe(Effect.provide(noNetwork)))

  for (const key of ["dla_0123456789", "a.b.c", "a.b", "eyJhbGciOiJIUzI1NiJ9..x"]) {
    it.effect(`takes ${key} as an API key`, () =>
      Effect.gen(function*() {
        const issued = yield* adopt(key)
        assert.strictEqual(Redacted.value(issued.tokens.accessToken), key)
        assert.deepStrictEqual([issued.tokens.expiresAt, issued.grant._tag], [Option.none(), "None"])
      }).pipe(Effect.provide(noNetwork)))
  }

  for (
    const [name, token, message] of [
      ["nothing", "", /empty/],
      ["white space", " \n\t", /empty/],
      ["a header injection", "abc\r\nx-evil: 1", /line break/],
      ["a token with a space", `${goodToken} x`, /a space/],
      ["a NUL", "abc\0def", /another character/],
      ["letters beyond ASCII", "tökén", /another character/],
      ["a JWT that expired", jwt({ exp: now - 1 }), /expired at 2023-11-14T22:13:19.000Z: get a new one/],
      ["a JWT that expires now", jwt({ exp: now }), /expired/],
      ["a JWT that is not valid yet", jwt({ exp: now + 999, nbf: now + 61 }), /nbf is in the future/],
      ["a JWT from the future", jwt({ exp: now + 999, iat: now + 61 }), /iat is in the future/]
    ] as const
  ) {
    it.effect(`refuses ${name}`, () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const error = yield* Effect.flip(adopt(token))
        assert.strictEqual(error.reason._tag, "CredentialsRefused")
        assert.match(error.message, message)
        if (token.trim() !== "") assert.notInclude(error.message, token.trim())
      }).pipe(Effect.provide(noNetwork)))
  }

  it.effect("bears a minute of difference between the clocks", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now * 1000)
      yield* adopt(jwt({ exp: now + 999, iat: now + 60, nbf: now + 60 }))
    }).pipe(Effect.provide(noNetwork)))

  for (const claims of [{ exp: "soon" }, { exp: 1e300 }, { nbf: "later" }, { iat: null }, { exp: {} }]) {
    it.effect(`takes the odd claim ${JSON.stringify(claims)} for absent`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual((yield* adopt(jwt(claims))).tokens.expiresAt, Option.none())
      }).pipe(Effect.provide(noNetwork)))
  }
})

describe("login", () => {
  it.live("sends handle and password once and reads token, user and server time", () =>
    Effect.gen(function*() {
      const server = yield* only("POST", "/login", () =>
        json(201, { success: true, message: "Login successful", user: profile, token: goodToken }, {
          date: "Thu, 01 Jan 2026 00:00:00 GMT"
        }))
      const { iam } = yield* signedIn(`${server.origin}/api/iam/v1/`)
      const issued = yield* iam.login(credentials, Selection.none)
      assert.strictEqual(Redacted.value(issued.tokens.accessToken), goodToken)
      assert.strictEqual(issued.tokens.tokenType, "Bearer")
      assert.strictEqual(issued.grant._tag, "ExchangeAccessToken")
      assert.deepStrictEqual(
        Option.map(issued.user, ({ id }) =>
          id),
        Option.some("01HADA")
      )
      assert.strictEqual(server.seen.length, 1)
      assert.deepStrictEqual(JSON.parse(server.seen[0]!.body), { handle: "ada", password })
      assert.match(server.seen[0]!.headers["content-type"]!, /^application\/json/)
      assert.isUndefined(server.seen[0]!.headers["authorization"])
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.live("takes the route of the Python client where there is no other", () =>
    Effect.gen(function*() {
      for (const status of [404, 405]) {
        const server = yield* serve((seen) =>
          seen.path.endsWith("/authentication/login") ? json(200, { token: "opaque" }) : answer(status, "")
        )
        const { iam } = yield* signedIn(server.origin)
        const issued = yield* iam.login(credentials, Selection.none)
        assert.deepStrictEqual([issued.grant._tag, issued.user._tag], ["None", "None"])
        assert.strictEqual(server.seen.length, 2)
      }
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.live("takes the IAM's own 404 for its word, and asks once", () =>
    Effect.gen(function*() {
      const server = yield* serve(() => json(404, { success: false, message: "User not found" }))
      const { iam } = yield* signedIn(server.origin)
      const reason = yield* reasonOf(iam.login(credentials, Selection.none))
      assert.strictEqual(reason._tag, "CredentialsRefused")
      assert.strictEqual(server.seen.length, 1)
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.live("ignores a user that cannot be read", () =>
    Effect.gen(function*() {
      for (const user of [null, [], {}, "ada"]) {
        const server = yield* serve(() => json(201, { success: true, token: goodToken, user }))
        const { iam } = yield* signedIn(server.origin)
        assert.deepStrictEqual((yield* iam.login(credentials, Selection.none)).user, Option.none())
      }
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.effect("with a selection is Unsupported, and sends nothing", () =>
    Effect.gen(function*() {
      const iam = yield* offline
      const reason = yield* reasonOf(iam.login(credentials, Selection.make({ project: "apollo" })))
      assert.strictEqual(reason._tag, "Unsupported")
    }).pipe(Effect.provide(noNetwork)))

  it.live("waits no longer than the policy says", () =>
    Effect.gen(function*() {
      const server = yield* serve(() => ({ bytes: "", after: "hang" }))
      const iam = yield* make({ issuer: server.origin, policy: { timeLimit: Duration.millis(50) } })
      const error = yield* Effect.flip(iam.login(credentials, Selection.none))
      assert.match(error.message, /no answer within 50ms/)
    }).pipe(Effect.provide(FetchHttpClient.layer)))
})

describe("renew", () => {
  it.live("exchanges the current token", () =>
    Effect.gen(function*() {
      const next = jwt({ exp: 4_100_000_000 })
      const server = yield* only("POST", "/login", () =>
        json(201, { success: true, token: next, provided_token: goodToken, is_provided_token_external: false }))
      const { iam, session } = yield* signedIn(server.origin)
      const issued = yield* iam.renew(session, Selection.none)
      assert.strictEqual(Redacted.value(issued.tokens.accessToken), next)
      assert.deepStrictEqual(JSON.parse(server.seen[0]!.body), { token: goodToken })
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.effect("sends nothing for an API key, an expired token or a selection", () =>
    Effect.gen(function*() {
      const iam = yield* offline
      const key = sessionOf(iam.issuer, yield* iam.adopt(Redacted.make("key")))
      assert.strictEqual((yield* reasonOf(iam.renew(key, Selection.none)))._tag, "Unsupported")

      const short = sessionOf(iam.issuer, yield* iam.adopt(Redacted.make(jwt({ exp: 60 }))))
      assert.strictEqual(
        (yield* reasonOf(iam.renew(short, Selection.make({ scope: "read" }))))._tag,
        "Unsupported"
      )
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* reasonOf(iam.renew(short, Selection.none)))._tag, "GrantDead")
    }).pipe(Effect.provide(noNetwork)))
})

describe("revoke", () => {
  const revoke = (script: (seen: BareServer.Seen) => BareServer.Reply) =>
    Effect.gen(function*() {
      const server = yield* serve(script)
      const { iam, session } = yield* signedIn(server.origin)
      return { revocation: yield* iam.revoke(session), seen: server.seen }
    })

  it.live("tells the IAM with the session's token", () =>
    Effect.gen(function*() {
      for (const reply of [json(200, { success: true }), answer(200, ""), answer(204, "")]) {
        const { revocation, seen } = yield* revoke(() => reply)
        assert.strictEqual(revocation._tag, "Revoked")
        assert.deepStrictEqual(seen.map(({ method, path }) => `${method} ${path}`), ["GET /api/iam/v1/logout"])
        assert.strictEqual(seen[0]!.headers["authorization"], `Bearer ${goodToken}`)
      }
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.live("takes the other route where there is no /logout", () =>
    Effect.gen(function*() {
      const { revocation, seen } = yield* revoke((seen) =>
        seen.path.endsWith("/authentication/logout") ? json(200, {}) : json(405, { detail: "Method Not Allowed" })
      )
      assert.strictEqual(revocation._tag, "Revoked")
      assert.strictEqual(seen.length, 2)
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  for (
    const [name, reply, why] of [
      ["has neither route", json(404, { detail: "Not Found" }), /no logout route/],
      ["no longer knows the token", json(401, { detail: "expired" }), /no longer accepts the token/],
      ["says no", json(200, { success: false, message: "not yours" }), /not yours/],
      ["is forbidden to", json(403, { message: "Forbidden" }), /Forbidden/],
      ["answers with a page", answer(200, "<html>", { "content-type": "text/html" }), /text\/html/]
    ] as const
  ) {
    it.live(`says why when the IAM ${name}`, () =>
      Effect.gen(function*() {
        const { revocation } = yield* revoke(() => reply)
        assert.isTrue(revocation._tag === "NotRevoked")
        if (revocation._tag === "NotRevoked") assert.match(revocation.reason, why)
      }).pipe(Effect.provide(FetchHttpClient.layer)))
  }

  it.live("fails when the IAM cannot be asked", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* reasonOf(revoke(() => json(503, {}))))._tag, "Unavailable")
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.effect("sends nothing for an API key or an expired token", () =>
    Effect.gen(function*() {
      const iam = yield* offline
      const key = sessionOf(iam.issuer, yield* iam.adopt(Redacted.make("key")))
      const short = sessionOf(iam.issuer, yield* iam.adopt(Redacted.make(jwt({ exp: 60 }))))
      yield* TestClock.adjust("1 minute")
      for (const session of [key, short]) assert.strictEqual((yield* iam.revoke(session))._tag, "NotRevoked")
    }).pipe(Effect.provide(noNetwork)))
})

describe("the rest of the dialect", () => {
  it.live("whoami asks with the session's token", () =>
    Effect.gen(function*() {
      const server = yield* only("GET", "/whoami", () => json(200, { success: true, profile }))
      const { iam, session } = yield* signedIn(server.origin)
      const user = yield* iam.whoami(session)
      assert.deepStrictEqual([user.id, user.email], ["01HADA", Option.some("ada@example.com")])
      assert.strictEqual(server.seen[0]!.headers["authorization"], `Bearer ${goodToken}`)
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.effect("present adds an Authorization header", () =>
    Effect.gen(function*() {
      const iam = yield* offline
      const issued = yield* iam.adopt(Redacted.make("key"))
      const request = yield* iam.present(
        { tokens: issued.tokens, login: 0 },
        HttpClientRequest.get("https://api.test", { headers: { authorization: "Basic x", accept: "text/plain" } })
      )
      assert.deepStrictEqual({ ...request.headers }, { authorization: "Bearer key", accept: "text/plain" })
    }).pipe(Effect.provide(noNetwork)))

  it.effect("names itself, its variables and its policy", () =>
    Effect.gen(function*() {
      const iam = yield* make({ issuer: "https://iam.test", policy: { window: Duration.minutes(1) } })
      assert.strictEqual(iam.clientId, "datalayer")
      assert.deepStrictEqual(iam.environment, ["DATALAYER_API_KEY", "DATALAYER_ACCESS_TOKEN"])
      assert.deepStrictEqual(iam.policy, { ...DatalayerOptions.policy, window: Duration.minutes(1) })
      const issued = yield* iam.adopt(Redacted.make(jwt()))
      assert.isTrue(TokenSet.isValid(issued.tokens, DateTime.makeUnsafe("9999-01-01T00:00:00Z")))
    }).pipe(Effect.provide(noNetwork)))

  it.live("a session without a token is Unsupported", () =>
    Effect.gen(function*() {
      const { iam, session } = yield* signedIn("https://iam.test")
      const { renew, revoke, whoami } = requests(iam, Session.update(session, { tokens: {} }))
      for (const attempt of [renew, revoke, whoami]) {
        assert.strictEqual((yield* reasonOf(attempt))._tag, "Unsupported")
      }
    }).pipe(Effect.provide(noNetwork)))
})
