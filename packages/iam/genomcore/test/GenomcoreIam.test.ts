import { IamClient, RefreshPolicy, Selection, Session, TokenSet } from "@effect-authn/core"
import { GenomcoreIam, type GenomcoreOptions } from "@effect-authn/iam-genomcore"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, DateTime, Duration, Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient, HttpClientRequest } from "effect/http"
import { inspect } from "node:util"
import {
  acme,
  acmeIn,
  bodyOf,
  credentials,
  dialect,
  jwt,
  layer,
  refreshGrant,
  refusal,
  secret,
  session,
  shown
} from "./fixtures.ts"

const { json, serve } = BareServer

const host = "https://auth.example.com"
const environments = { prod: host, dev: "https://auth-dev.example.com:8443" }

const misconfigured = (options: GenomcoreOptions.GenomcoreOptions) =>
  Effect.map(refusal(Layer.build(layer(options)), "hunter2"), (reason) => {
    assert.strictEqual(reason._tag, "Misconfigured")
    return reason.message
  })

const adopt = (text: string, options: GenomcoreOptions.GenomcoreOptions = {}) =>
  IamClient.IamClient.use((iam) => iam.adopt(secret(text))).pipe(Effect.provide(layer({ host, ...options })))

describe("row 1 constructor", () => {
  it.effect("building the layer sends nothing, and the session's issuer is the auth origin", () =>
    Effect.gen(function*() {
      const server = yield* serve(() => json(500, {}))
      const iam = yield* Effect.provide(IamClient.IamClient, layer({ environments: { prod: server.origin } }))
      assert.deepStrictEqual([iam.issuer, iam.clientId, iam.environment], [server.origin, "genomcore", []])
      assert.strictEqual(server.seen.length, 0)
    }))

  it.effect("a token is taken as it is, without a leading Bearer, also one that is no JWT", () =>
    Effect.gen(function*() {
      for (
        const [given, expected] of [["x", "x"], ["Bearer x", "x"], ["bearer  x", "x"], ["garbage", "garbage"]]
      ) {
        const { grant, tokens } = yield* adopt(given!)
        assert.strictEqual(Redacted.value(tokens.accessToken), expected)
        assert.deepStrictEqual([tokens.expiresAt, grant._tag], [Option.none(), "None"])
      }
    }))

  it.effect("a token's end is its exp", () =>
    Effect.gen(function*() {
      const { tokens } = yield* adopt(jwt({ exp: 3600.5 }))
      assert.deepStrictEqual(Option.map(tokens.expiresAt, DateTime.toEpochMillis), Option.some(3_600_500))
    }))

  it.effect("a token that no header can carry, that has expired or is not yet valid is refused", () =>
    Effect.gen(function*() {
      const wait = jwt({ nbf: 3600 })
      for (const text of ["", "Bearer ", " ", "a\nb", "all of it", "a\u0000", "caf\u00e9", jwt({ exp: 0 }), wait]) {
        const reason = yield* refusal(adopt(text), wait, "caf\u00e9")
        assert.strictEqual(reason._tag, "CredentialsRefused", JSON.stringify(text))
      }
      assert.isTrue(Option.isNone((yield* adopt(jwt({ nbf: 30 }))).tokens.expiresAt))
    }))

  it.effect("an unknown environment names the known ones, and only the table's own names count", () =>
    Effect.gen(function*() {
      for (const env of ["staging", "PROD", "__proto__", "constructor", "toString", " "]) {
        const message = yield* misconfigured({ environments, env })
        for (const part of [`"${env}"`, `"prod"`, `"dev"`]) assert.include(message, part)
      }
      assert.include(yield* misconfigured({}), "environments")
    }))

  it.effect("plain http is for loopback only", () =>
    Effect.gen(function*() {
      assert.include(yield* misconfigured({ host: "http://auth.example.com" }), "https")
      for (const address of ["http://127.0.0.1:80", "http://localhost:8080", "http://[::1]:8080"]) {
        yield* dialect({ host: address })
      }
    }))
})

describe("layerConfig", () => {
  const built = (layer: ReturnType<typeof GenomcoreIam.layerConfig>, variables: Record<string, string>) =>
    Effect.provide(IamClient.IamClient, Layer.provide(layer, FetchHttpClient.layer)).pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables))
    )

  it.effect("takes the auth origin from GENOMCORE_HOST", () =>
    Effect.gen(function*() {
      const iam = yield* built(GenomcoreIam.layerConfig(), { GENOMCORE_HOST: `${host}/\r` })
      assert.strictEqual(iam.issuer, host)
      assert.strictEqual((yield* Effect.flip(built(GenomcoreIam.layerConfig(), {})))._tag, "ConfigError")
    }))

  it.effect("takes any option from where it is told", () =>
    Effect.gen(function*() {
      const options = { environments: Config.succeed(environments), env: Config.NonEmptyString("STAGE") }
      const iam = yield* built(GenomcoreIam.layerConfig(options), { STAGE: "dev" })
      assert.strictEqual(iam.issuer, "https://auth-dev.example.com:8443")
    }))
})

describe("row 2 env", () => {
  it.effect("is the name that was given, and prod where none was", () =>
    Effect.gen(function*() {
      const env = (env: string | null | undefined) =>
        Effect.map(GenomcoreIam.GenomcoreIam, (genomcore) => genomcore.env).pipe(
          Effect.provide(layer({ environments, env }))
        )
      assert.deepStrictEqual(yield* Effect.forEach(["dev", undefined, null, ""], env), ["dev", "prod", "prod", "prod"])
    }))
})

describe("row 5 token_type", () => {
  it.effect("is Bearer unless told, and stands before the token", () =>
    Effect.gen(function*() {
      const authorization = (tokens: TokenSet.TokenSet) => Redacted.value(TokenSet.authorization(tokens))
      assert.strictEqual(authorization((yield* adopt("x")).tokens), "Bearer x")
      assert.strictEqual(authorization((yield* adopt("x", { tokenType: "JWT" })).tokens), "JWT x")
    }))

  it.effect("an empty one, or one with a space or a line break, is a wrong set-up", () =>
    Effect.gen(function*() {
      for (const tokenType of ["", "a b", "a\r\nb: c", "a\n", "\u00e9"]) {
        assert.include(yield* misconfigured({ host, tokenType }), "token type")
      }
    }))
})

describe("row 6 host", () => {
  it.effect("comes from the table, or is given", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* dialect({ host: undefined, environments })).issuer, host)
      assert.strictEqual(
        (yield* dialect({ host: undefined, environments, env: "dev" })).issuer,
        "https://auth-dev.example.com:8443"
      )
      assert.strictEqual(
        (yield* dialect({ host: "https://other.example", environments, env: "dev" })).issuer,
        "https://other.example"
      )
    }))

  it.effect("loses a trailing slash and the scheme's own port", () =>
    Effect.gen(function*() {
      for (
        const address of ["https://auth.example.com/", "https://auth.example.com:443", "HTTPS://Auth.Example.com:443/"]
      ) {
        assert.strictEqual((yield* dialect({ host: address })).issuer, host)
      }
    }))

  it.effect("with a path, query, fragment or user is a wrong set-up, and no password is shown", () =>
    Effect.gen(function*() {
      for (
        const address of [
          `${host}/api`,
          `${host}//`,
          `${host}/?a=b`,
          `${host}/#a`,
          "https://ada:hunter2@auth.example.com",
          "auth.example.com",
          "ftp://auth.example.com",
          ""
        ]
      ) {
        assert.include(yield* misconfigured({ host: address }), "origin", address)
        yield* misconfigured({ environments: { prod: address } })
      }
    }))

  it.effect("a path that would become a part of the host's name is a wrong set-up", () =>
    Effect.gen(function*() {
      for (const path of ["", "login", "@evil.example/login", ".evil.example/login"]) {
        assert.include(yield* misconfigured({ host, paths: { login: path } }), "slash")
      }
    }))
})

describe("row 8 bearer", () => {
  it.effect("the policy: strictly under 15 minutes, renewed first, no end where none is named", () =>
    Effect.gen(function*() {
      const { policy } = yield* Effect.provide(IamClient.IamClient, layer({ host }))
      assert.isTrue(policy.renewFirst)
      const { tokens } = yield* adopt(jwt({ exp: 3600 }))
      const left = (seconds: number) => (3600 - seconds) * 1000
      assert.isAtMost(left(900), RefreshPolicy.freshUntil(policy, tokens))
      assert.isAbove(left(899), RefreshPolicy.freshUntil(policy, tokens))
      assert.strictEqual(RefreshPolicy.freshUntil(policy, (yield* adopt("no-jwt")).tokens), Number.POSITIVE_INFINITY)
    }))

  it.effect("a part of it can be set", () =>
    Effect.gen(function*() {
      const { policy } = yield* dialect({ policy: { window: Duration.minutes(1) } })
      assert.deepStrictEqual([policy.window, policy.renewFirst], [Duration.minutes(1), true])
    }))
})

describe("row 12 refresh: which project, and which token", () => {
  const server = serve((seen) => json(201, { token: jwt({ asked: seen.body.length }), refreshToken: "r-next" }))
  const at = (seconds: number, accessToken: string) =>
    TokenSet.fromAnswer({
      accessToken: secret(accessToken, "access_token"),
      receivedAt: DateTime.makeUnsafe(seconds * 1000),
      serverTime: Option.none(),
      defaultLifetime: Duration.infinity
    })
  const held = (current: Selection.Selection, tokens: Session.Session["tokens"]) =>
    Session.update(session({ ...issued, grant: refreshGrant("r") }, current), { tokens })
  const issued = { tokens: at(0, "t"), user: Option.none() }
  const own = { [Selection.id(acme)]: at(1, "default"), [Selection.id(acmeIn("A"))]: at(2, "a") }

  const sent = (
    current: Session.Session,
    target: Selection.Selection,
    options: GenomcoreOptions.GenomcoreOptions = {}
  ) =>
    Effect.gen(function*() {
      const { origin, seen } = yield* server
      const layerHere = layer({ host: origin, ...options })
      yield* Effect.provide(IamClient.IamClient.use((iam) => iam.renew(current, target)), layerHere)
      const { refreshToken: _, ...rest } = bodyOf(seen[0])
      return rest
    })

  it.live("the current project is named again, with the current token", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* sent(held(acmeIn("A"), own), acmeIn("A")), { token: "a", project: "A" })
    }))

  it.live("stickyProject: false names a project only to change it", () =>
    Effect.gen(function*() {
      const current = held(acmeIn("A"), own)
      const options = { stickyProject: false }
      assert.deepStrictEqual(yield* sent(current, acmeIn("A"), options), { token: "a" })
      assert.deepStrictEqual(yield* sent(current, acmeIn("B"), options), { token: "a", project: "B" })
    }))

  it.live("the default project is asked for by naming none, with the token that has its scope", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* sent(held(acmeIn("A"), own), acme), { token: "default" })
      const { [Selection.id(acme)]: _, ...others } = own
      assert.deepStrictEqual(yield* sent(held(acmeIn("A"), others), acme), { token: "a" })
    }))

  it.live("a named project goes with the newest pair, whatever its token is for", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* sent(held(acme, own), acmeIn("A")), { token: "a", project: "A" })
      const older = { ...own, [Selection.id(acmeIn("B"))]: at(0, "b") }
      assert.deepStrictEqual(yield* sent(held(acme, older), acmeIn("B")), { token: "a", project: "B" })
    }))
})

describe("row 15 use by others", () => {
  it.effect("present sets the header and nothing else, and inspection does not show it", () =>
    Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      const adopted = yield* iam.adopt(secret("canary-token"))
      const request = HttpClientRequest.get("https://records.example.com/api")
      const presented = yield* iam.present({ tokens: adopted.tokens, login: 0 }, request)
      assert.deepStrictEqual({ ...presented.headers }, { authorization: "Bearer canary-token" })
      assert.notInclude(inspect(presented, { depth: 9 }), "canary-token")
    }).pipe(Effect.provide(layer({ host }))))
})

describe("whoami and revoke", () => {
  it.effect("whoami: the session's user, else the claims, else Unsupported; no request", () =>
    Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      const named = session(yield* iam.adopt(secret(jwt({ sub: "u-1", email: "ada@acme.example" }))), acme)
      const user = yield* iam.whoami(named)
      assert.strictEqual(user.id, "u-1")
      const known = yield* iam.whoami(Session.update(named, { user: Option.some(user), tokens: {} }))
      assert.strictEqual(known, user)
      const nobody = session(yield* iam.adopt(secret("opaque-canary")), acme)
      assert.strictEqual((yield* refusal(iam.whoami(nobody), "opaque-canary"))._tag, "Unsupported")
    }).pipe(Effect.provide(layer({ host }))))

  it.effect("revoke says that only this side forgot", () =>
    Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      const revocation = yield* iam.revoke(session(yield* iam.adopt(secret("t")), acme))
      assert.strictEqual(revocation._tag, "NotRevoked")
      assert.include(revocation._tag === "NotRevoked" ? revocation.reason : "", "only this side")
    }).pipe(Effect.provide(layer({ host }))))
})

describe("row 14 privates", () => {
  it.live("neither an answer nor a session shows a secret, however it is printed", () =>
    Effect.gen(function*() {
      const token = jwt({ sub: "1" })
      const server = yield* serve(() =>
        json(201, { token, refreshToken: "canary-refresh", user: { id: 1, phone: "canary-phone" } })
      )
      yield* Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const genomcore = yield* GenomcoreIam.GenomcoreIam
        const issued = yield* iam.login(credentials("canary-password"), acme)
        const pair = yield* genomcore.login({
          username: "ada",
          password: secret("canary-password"),
          organizationId: "acme"
        })
        const text = [issued, session(issued, acme), pair, iam, genomcore].map(shown)
          .join("\n")
        for (const canary of [token, "canary-"]) assert.notInclude(text, canary)
      }).pipe(Effect.provide(layer({ host: server.origin })))
    }))
})
