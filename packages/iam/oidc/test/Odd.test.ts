import { BrowserLogin, IamClient, Selection, type Session, TokenSet } from "@effect-authn/core"
import { OidcClaims, OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Cause, DateTime, Duration, Effect, Exit, Layer, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { createHmac } from "node:crypto"
import {
  type Asked,
  barejwks,
  otherKeys,
  type Reply,
  type Script,
  seconds,
  serve,
  sessionOf,
  sign,
  unsigned
} from "./rawProvider.ts"

const redirectUri = "http://localhost:8400/cb"

const layer = (issuer: string, options: Partial<OidcOptions.OidcOptions> = {}) =>
  OidcIam.layer({ issuer, clientId: "cli", ...options }).pipe(Layer.provide(FetchHttpClient.layer))

const against = <A, E>(
  script: Script,
  test: (server: { readonly issuer: string; readonly asked: ReadonlyArray<Asked> }) => Effect.Effect<
    A,
    E,
    IamClient.IamClient | BrowserLogin.BrowserLogin | OidcIam.OidcIam
  >,
  options: Partial<OidcOptions.OidcOptions> = {}
) =>
  Effect.gen(function*() {
    const server = yield* serve(script)
    return yield* Effect.provide(test(server), layer(server.issuer, options))
  })

const renew = (issuer: string, selection = Selection.none) =>
  Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return yield* iam.renew(yield* sessionOf(issuer), selection)
  })

const answering = (body: object, path = "/token"): Script => ({ routes: { [path]: { body } } })

const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300 }

const login = (
  script: Script,
  options: Partial<OidcOptions.OidcOptions> = {},
  claims: object = {},
  extra: object = {}
) => {
  let nonce = ""
  const token: (asked: Asked, base: string) => Reply = (_asked, base) => ({
    body: {
      ...tokens,
      refresh_token: "rt-1",
      id_token: sign({
        iss: base,
        aud: "cli",
        sub: "ada",
        name: "Ada",
        nonce,
        iat: seconds(),
        exp: seconds() + 300,
        ...claims
      }),
      ...extra
    }
  })
  const path = `${script.path?.replace(/\/$/, "") ?? ""}/token`
  return against({ ...script, routes: { [path]: token, ...script.routes } }, ({ asked }) =>
    Effect.gen(function*() {
      const browser = yield* BrowserLogin.BrowserLogin
      const { pending, url } = yield* browser.begin({ redirectUri })
      const parameters = new URL(url).searchParams
      nonce = parameters.get("nonce") ?? ""
      const issued = yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
      return { issued, parameters, asked }
    }), options)
}

describe("what a renewal's refusal means", () => {
  const dead: Record<string, Reply> = {
    "invalid_grant": { status: 400, body: { error: "invalid_grant", error_description: "Token has been revoked" } },
    "invalid_grant with 403": {
      status: 403,
      body: { error: "invalid_grant", error_description: "Unknown refresh token" }
    },
    "invalid_grant with 401": { status: 401, body: { error: "invalid_grant" } },
    "invalid_grant without a content type": { status: 400, body: `{"error":"invalid_grant"}` },
    "an error with status 200": {
      status: 200,
      body: { error: "bad_refresh_token", error_description: "incorrect or expired" }
    },
    "403 with a code of its own": { status: 403, body: { error: "refresh_token_expired" } },
    "403 for another reason than it says": {
      status: 403,
      body: { error: "unauthorized_client", error_description: "refresh_token is invalid" }
    },
    "400 with a vague code": {
      status: 400,
      body: { error: "invalid_request", error_description: "The refresh token has expired" }
    },
    "a code of its own, with hyphens": { status: 401, body: { error: "expired-refresh-token" } },
    "a code of its own, in capitals": { status: 400, body: { error: "INVALID_REFRESH_TOKEN" } },
    "a refresh token that was used": {
      status: 400,
      body: { error: "invalid_request", error_description: "The refresh token has already been used" }
    },
    "a refresh token that is quoted": {
      status: 400,
      body: { error: "invalid_request", error_description: `Invalid "refresh_token" in request.` }
    },
    "a refresh token that is named": {
      status: 400,
      body: { error: "invalid_request", error_description: "Refresh token 'rt-0' is not valid" }
    },
    "a refresh token of another client": {
      status: 400,
      body: {
        error: "invalid_request",
        error_description: "Refresh token is invalid or has already been claimed by another client."
      }
    },
    "access_denied with words": {
      status: 403,
      body: { error: "access_denied", error_description: "Unknown or revoked refresh token" }
    },
    "a code in camel case": { status: 400, body: { error: "invalidGrant" } },
    "a code in the manner of classes": { status: 400, body: { code: "InvalidGrant" } },
    "an error in an error": { status: 400, body: { error: { error: "invalid_grant" } } },
    "an error with a name": { status: 400, body: { error: { name: "invalid_grant" } } },
    "an error in an envelope": { status: 400, body: { ok: false, data: { error: "invalid_grant" } } },
    "an error as a detail": { status: 400, body: { detail: "invalid_grant" } },
    "an error in a detail": { status: 400, body: { detail: { error: "invalid_grant" } } },
    "an error as a title": { status: 400, body: { title: "invalid_grant", status: 400 } },
    "words and no code": { status: 400, body: { error_description: "Invalid refresh token" } },
    "a code after blank lines and a mark of the byte order": {
      status: 400,
      body: "\ufeff\r\n {\"error\":\"invalid_grant\"}"
    },
    "a session that ended": { status: 400, body: { error: "session_terminated" } },
    "interaction is required": { status: 400, body: { error: "interaction_required" } },
    "a second factor is required": { status: 403, body: { error: "mfa_required" } }
  }
  const passing: Record<string, Reply> = {
    "500": { status: 500, body: { error: "server_error" } },
    "502 with a page": { status: 502, body: "<h1>Bad gateway</h1>" },
    "503": { status: 503, headers: { "retry-after": "3" } },
    "429": { status: 429, body: { error: "slow_down" } },
    "403 with a proxy's page": {
      status: 403,
      headers: { "content-type": "text/html" },
      body: "<h1>Sign in to the proxy</h1>"
    },
    // It does not say that the grant is dead.
    "400 with an empty body": { status: 400 },
    "401 with an empty body": { status: 401 },
    "403 with an empty body": { status: 403 },
    "400 with an empty object": { status: 400, body: {} },
    "403 with a code that nobody knows": { status: 403, body: { error: "forbidden_by_policy_7" } },
    "403 of a gateway in JSON": { status: 403, body: { error: "Forbidden", status: 403, path: "/token" } },
    "403 of a gateway that has sessions itself": {
      status: 403,
      body: { error: "Forbidden", error_description: "Your proxy session has expired" }
    },
    "401 of a gateway that has refresh tokens itself": {
      status: 401,
      body: { error: "gateway_login", error_description: "The refresh token has expired" }
    },
    "200 with a page": { status: 200, headers: { "content-type": "text/html" }, body: "<h1>Welcome</h1>" },
    "temporarily_unavailable": { status: 400, body: { error: "temporarily_unavailable" } },
    "server_error with 400": { status: 400, body: { error: "server_error" } },
    "a connection that is cut": { drop: true }
  }
  const misconfigured: Record<string, Reply> = {
    "invalid_client": { status: 401, body: { error: "invalid_client" } },
    "unauthorized_client": {
      status: 400,
      body: { error: "unauthorized_client", error_description: "Grant type refresh_token not allowed" }
    },
    "a client that is not meant for renewals": {
      status: 400,
      body: { error: "unauthorized_client", error_description: "not intended for the refresh_token grant" }
    },
    "a grant type that is not valid for the client": {
      status: 400,
      body: { error: "unauthorized_client", error_description: "Grant type refresh_token is invalid for this client" }
    },
    "a client that may not use refresh tokens": {
      status: 400,
      body: { error: "unauthorized_client", error_description: "refresh_token is not valid for this client" }
    },
    "a parameter that is not allowed": {
      status: 400,
      body: {
        error: "invalid_request",
        error_description: "Bad request: parameter resource is not allowed with refresh_token"
      }
    },
    "a parameter that is bad": {
      status: 400,
      body: { error: "invalid_request", error_description: "Invalid refresh_token parameter: given twice" }
    },
    "a refresh token that was left out": {
      status: 400,
      body: { error: "invalid_request", error_description: "Missing refresh token" }
    },
    "unsupported_grant_type": { status: 400, body: { error: "unsupported_grant_type" } },
    "404": { status: 404, body: "<h1>Not found</h1>" },
    "a redirect": { status: 302, headers: { location: "https://elsewhere.example/token" } }
  }
  const refused: Record<string, Reply> = {
    "invalid_scope": { status: 400, body: { error: "invalid_scope" } },
    "invalid_target": { status: 400, body: { error: "invalid_target" } }
  }
  const tables = { GrantDead: dead, Misconfigured: misconfigured, SelectionRefused: refused }
  for (const [tag, table] of Object.entries(tables)) {
    for (const [name, reply] of Object.entries(table)) {
      it.live(`${tag}: ${name}`, () =>
        against({ routes: { "/token": reply } }, ({ asked, issuer }) =>
          Effect.gen(function*() {
            const error = yield* Effect.flip(renew(issuer))
            assert.strictEqual(error.reason._tag, tag)
            assert.strictEqual(asked.filter(({ path }) => path === "/token").length, 1)
            const said = typeof reply.body === "object" ? Object.values(reply.body)[0] : undefined
            if (typeof said === "string") assert.include(error.message, said)
            if (tag === "GrantDead") assert.notMatch(error.message, /status \d+ with/)
            assert.notInclude(error.message, "rt-0")
          })))
    }
  }
  it.live("403 in JSON without a code is an outage, at a login as at a renewal, with its Retry-After", () =>
    against(
      { routes: { "/token": { status: 403, headers: { "retry-after": "7" }, body: { message: "Request blocked" } } } },
      ({ issuer }) =>
        Effect.gen(function*() {
          const { clientCredentials } = yield* OidcIam.OidcIam
          for (const asked of [clientCredentials(Selection.none), renew(issuer)]) {
            const { reason } = yield* Effect.flip(asked)
            assert(reason._tag === "Unavailable")
            assert.include(reason.message, "Request blocked")
            assert.deepStrictEqual(reason.retryAfter, Duration.seconds(7))
          }
        }),
      { clientAuthentication: { method: "client_secret", secret: Redacted.make("secret") } }
    ))

  it.live("a refusal of the selection may have cost the refresh token, unless it outlives renewals", () =>
    against({ routes: { "/token": refused["invalid_target"]! } }, ({ issuer }) =>
      Effect.gen(function*() {
        for (const [rotates, spent] of [[undefined, "maybe"], [true, "maybe"], [false, "no"]] as const) {
          const iam = yield* IamClient.IamClient
          const session = { ...(yield* sessionOf(issuer)), rotates }
          const { reason } = yield* Effect.flip(iam.renew(session, Selection.none))
          assert.strictEqual(reason._tag === "SelectionRefused" && (reason.spent ?? "no"), spent)
        }
      })))

  for (const [name, reply] of Object.entries(passing)) {
    it.live(`passing: ${name}`, () =>
      against({ routes: { "/token": reply } }, ({ issuer }) =>
        Effect.gen(function*() {
          const { reason } = yield* Effect.flip(renew(issuer))
          assert.include(["Unavailable", "Malformed"], reason._tag)
          const said = typeof reply.body === "object" ? Object.values(reply.body)[0] : undefined
          if (said !== undefined) assert.include(reason.message, String(said))
        })))
  }

  it.live("a provider whose metadata names no token endpoint: it is said where to name it", () =>
    Effect.gen(function*() {
      for (const token_endpoint of [undefined, null, "", ["x"]]) {
        const { reason } = yield* Effect.flip(
          against({ discovery: () => ({ token_endpoint }) }, ({ issuer }) => renew(issuer))
        )
        assert.strictEqual(reason._tag, "Misconfigured")
        assert.include(reason.message, "names no token_endpoint: check the issuer, or name it in the option `metadata`")
      }
    }))

  it.live("a provider that cannot be found out about was not sent the refresh token", () =>
    against(
      { routes: { "/.well-known/openid-configuration": { drop: true } } },
      ({ issuer }) =>
        Effect.gen(function*() {
          const { reason } = yield* Effect.flip(renew(issuer))
          assert.isTrue(reason._tag === "Unavailable" && reason.sent === "no")
        })
    ))
})

describe("what a renewal's answer may be like", () => {
  const bodies: Record<string, object> = {
    "token_type in lower case": { ...tokens, token_type: "bearer" },
    "token_type in capitals": { ...tokens, token_type: "BEARER" },
    "no token_type": { access_token: "at-1", expires_in: 300 },
    "expires_in as text": { ...tokens, expires_in: "300" },
    "no expires_in": { access_token: "at-1", token_type: "Bearer" },
    "expires_in that is no number": { ...tokens, expires_in: "soon" },
    "expires_in of 0": { ...tokens, expires_in: 0 },
    "a refresh token that is null": { ...tokens, refresh_token: null },
    "an empty refresh token": { ...tokens, refresh_token: "" },
    "scopes as a list": { ...tokens, scope: ["a", "b"] },
    "an id_token that is null": { ...tokens, id_token: null },
    "an id_token of another issuer, who knows another person": {
      ...tokens,
      id_token: sign({ iss: "https://other.example", aud: "cli", sub: "eve" })
    },
    "an id_token that nobody can read": { ...tokens, id_token: "x.y.z" },
    "fields that nobody asked for": { ...tokens, error_uri: null, foo: { bar: 1 } }
  }
  for (const [name, body] of Object.entries(bodies)) {
    it.live(`${name}: taken, and the old refresh token is kept`, () =>
      against(answering(body), ({ issuer }) =>
        Effect.gen(function*() {
          const issued = yield* renew(issuer)
          assert.strictEqual(Redacted.value(TokenSet.authorization(issued.tokens)), "Bearer at-1")
          assert.isTrue(TokenSet.isValid(issued.tokens, yield* DateTime.now))
          assert.isTrue(issued.grant._tag === "RefreshToken" && Redacted.value(issued.grant.refreshToken) === "rt-0")
        })))
  }

  it.live("an answer that says beside its tokens that there was no error is taken", () =>
    Effect.gen(function*() {
      for (const error of ["none", "0", "success"]) {
        const { grant } = yield* against(
          answering({ ...tokens, error, refresh_token: "rt-1" }),
          ({ issuer }) => renew(issuer)
        )
        assert.strictEqual(grant._tag === "RefreshToken" ? Redacted.value(grant.refreshToken) : "", "rt-1")
      }
      const { reason } = yield* Effect.flip(
        against(answering({ ...tokens, error: "invalid_grant" }), ({ issuer }) => renew(issuer))
      )
      assert.strictEqual(reason._tag, "GrantDead")
    }))

  it.live("a new refresh token is adopted", () =>
    against(answering({ ...tokens, refresh_token: "rt-1" }), ({ issuer }) =>
      Effect.gen(function*() {
        const { grant } = yield* renew(issuer)
        assert.isTrue(grant._tag === "RefreshToken" && Redacted.value(grant.refreshToken) === "rt-1")
      })))

  const ends: ReadonlyArray<readonly [string, object, number | undefined, string]> = [
    ["refresh_expires_in", { refresh_token: "rt-1", refresh_expires_in: 1800 }, 1800, "rt-1"],
    ["refresh_token_expires_in", { refresh_token: "rt-1", refresh_token_expires_in: 15_897_600 }, 15_897_600, "rt-1"],
    ["an end as text", { refresh_token: "rt-1", refresh_token_expires_in: "1800" }, 1800, "rt-1"],
    ["an end of the old refresh token", { refresh_expires_in: 1800 }, 1800, "rt-0"],
    ["0, for a refresh token without an end", { refresh_token: "rt-1", refresh_expires_in: 0 }, undefined, "rt-1"],
    ["no end", { refresh_token: "rt-1" }, undefined, "rt-1"],
    ["an end that is no number", { refresh_token: "rt-1", refresh_expires_in: "soon" }, undefined, "rt-1"]
  ]
  for (const [name, fields, seconds, refreshToken] of ends) {
    it.live(`${name}: the refresh token is ${seconds === undefined ? "of no known end" : `good for ${seconds} s`}`, () =>
      against(answering({ ...tokens, ...fields }), ({ issuer }) =>
        Effect.gen(function*() {
          const issued = yield* renew(issuer)
          if (issued.grant._tag !== "RefreshToken") return assert.fail(issued.grant._tag)
          assert.strictEqual(Redacted.value(issued.grant.refreshToken), refreshToken)
          const { expiresAt } = issued.grant
          const life = expiresAt && DateTime.toEpochMillis(expiresAt) - DateTime.toEpochMillis(issued.tokens.issuedAt)
          assert.strictEqual(life, seconds && seconds * 1000)
        })))
  }

  it.live("an id_token of another person is refused", () =>
    against({
      routes: {
        "/token": (_asked, base) => ({
          body: {
            ...tokens,
            id_token: sign({ iss: base, aud: "cli", sub: "eve", iat: seconds(), exp: seconds() + 300 })
          }
        })
      }
    }, ({ issuer }) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(renew(issuer))).reason._tag, "Malformed")
      })))

  it.live("an id_token of another person is refused also where it spells the issuer in another way, or not at all", () =>
    Effect.forEach(
      [(base: string) => `${base}/`, (base: string) => base.toUpperCase(), () => undefined],
      (iss) =>
        against({
          routes: {
            "/token": (_asked, base) => ({
              body: {
                ...tokens,
                id_token: sign({ iss: iss(base), aud: "cli", sub: "eve", iat: seconds(), exp: seconds() + 300 })
              }
            })
          }
        }, ({ issuer }) =>
          Effect.gen(function*() {
            const { reason } = yield* Effect.flip(renew(issuer))
            assert.include(reason.message, "another person")
          }))
    ))

  it.live("a type that says back one of the answer's tokens is not quoted", () =>
    Effect.gen(function*() {
      const own = { access_token: "SECRET-at", refresh_token: "SECRET-rt" }
      for (const type of ["SECRET-at", "SECRET-rt"]) {
        yield* against(answering({ ...tokens, ...own, token_type: type }), ({ issuer }) =>
          Effect.gen(function*() {
            const { message } = yield* Effect.flip(renew(issuer))
            assert.include(message, "not Bearer")
            assert.notInclude(message, "SECRET")
          }))
      }
    }))

  for (const type of ["DPoP", "BearerToken", "JWT", "mac", "N_A"]) {
    it.live(`a token of the type ${type} is refused, and it is said how to take it`, () =>
      against(answering({ ...tokens, token_type: type }), ({ issuer }) =>
        Effect.gen(function*() {
          const { message, reason } = yield* Effect.flip(renew(issuer))
          assert.strictEqual(reason._tag, "Malformed")
          assert.include(message, `"${type}"`)
          assert.include(message, "`tokenType`")
        })))

    it.live(`a token of the type ${type} is taken where the option says that word, to the letter`, () =>
      Effect.gen(function*() {
        const taken = (tokenType: string, sent: string) =>
          against(answering({ ...tokens, token_type: sent }), ({ issuer }) => renew(issuer), { tokenType })
        for (const sent of [type, "bearer", "Bearer"]) {
          const { tokens } = yield* taken(type, sent)
          assert.strictEqual(Redacted.value(TokenSet.authorization(tokens)), "Bearer at-1")
        }
        assert.strictEqual((yield* Effect.flip(taken(type.toLowerCase() + "x", type))).reason._tag, "Malformed")
      }))
  }
})

describe("the characters of tokens", () => {
  const secret = "SECRET-of-nobody"
  const odd = {
    "a line of another protocol": `${secret}\nhost=evil.example`,
    "a carriage return": `${secret}\r\nx-evil: 1`,
    "an escape sequence": `\u001b[2J${secret}`,
    "a letter that is not ASCII": `${secret}é`,
    "an invisible one": `${secret}\u200b`,
    "a NUL": `${secret}\0`,
    "a DEL": `${secret}\u007f`
  }
  for (const name of ["access_token", "refresh_token"]) {
    for (
      const [what, value] of Object.entries({ ...odd, ...(name === "access_token" && { "a space": `${secret} b` }) })
    ) {
      it.live(`${name} with ${what} is refused at a renewal, and never shown`, () =>
        against(answering({ ...tokens, [name]: value }), ({ issuer }) =>
          Effect.gen(function*() {
            const exit = yield* Effect.exit(renew(issuer))
            assert.isTrue(Exit.isFailure(exit))
            const shown = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
            assert.include(shown, `the tokens are refused: the ${name} has a character`)
            assert.notInclude(shown, secret)
          })))
    }
  }

  it.live("at a login: refused before userinfo is asked with it", () =>
    Effect.gen(function*() {
      const server: Script = { routes: { "/userinfo": { body: { sub: "ada" } } } }
      const error = yield* Effect.flip(
        login(server, {}, { name: undefined }, { access_token: odd["a line of another protocol"] })
      )
      assert.include(error.message, "the tokens are refused")
      assert.notInclude(error.message, secret)
    }))

  it.live("an id_token with a line break costs a renewal nothing, and is not kept", () =>
    against({
      routes: {
        "/token": (_asked, base) => ({
          body: {
            ...tokens,
            id_token: sign({ iss: base, aud: "cli", sub: "ada", iat: seconds(), exp: seconds() + 300 })
              .replace(".", ".\n")
          }
        })
      }
    }, ({ issuer }) =>
      Effect.gen(function*() {
        const { tokens } = yield* renew(issuer)
        assert.isFalse(Option.exists(tokens.idToken, (token) => Redacted.value(token).includes("\n")))
      })))

  it.live("what a platform throws about a header is not quoted", () =>
    against({}, ({ issuer }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const now = yield* DateTime.now
        const held = TokenSet.TokenSet.make({
          accessToken: Redacted.make(odd["a line of another protocol"]),
          tokenType: "Bearer",
          issuedAt: now,
          expiresAt: Option.none(),
          idToken: Option.none(),
          scope: Option.none()
        }, { disableChecks: true })
        const session = yield* sessionOf(issuer, "", { tokens: { "": held } })
        const error = yield* Effect.flip(iam.whoami(session))
        assert.notInclude(error.message, secret)
      })))

  it.live("characters of real tokens are taken", () =>
    Effect.forEach(
      ["ya29.a0|b:c%2F", "!#$&'()*+,-./:;<=>?@[]^_`{|}~\"\\"],
      (value) =>
        against(answering({ ...tokens, access_token: value, refresh_token: `1//${value} x` }), ({ issuer }) =>
          Effect.gen(function*() {
            const issued = yield* renew(issuer)
            assert.strictEqual(Redacted.value(issued.tokens.accessToken), value)
          }))
    ))
})

describe("what a login may meet", () => {
  it.live("a redirect URI that is matched to the byte: it is sent as it was given, twice", () =>
    Effect.gen(function*() {
      const { asked, parameters } = yield* login({})
      assert.strictEqual(parameters.get("redirect_uri"), redirectUri)
      assert.strictEqual(asked.find(({ path }) => path === "/token")?.form.get("redirect_uri"), redirectUri)
    }))

  it.live("a nonce that is compulsory: it is always sent", () =>
    Effect.gen(function*() {
      const { parameters } = yield* login({})
      assert.isAbove(parameters.get("nonce")?.length ?? 0, 20)
    }))

  it.live("auth_time: 0", () => login({}, {}, { auth_time: 0 }))

  it.live("a JWKS without `use`, with keys for other things", () => login({ routes: { "/jwks": { body: barejwks } } }))

  it.live("lists in the metadata that leave out what the provider does", () =>
    login({
      discovery: () => ({
        response_types_supported: [],
        grant_types_supported: ["implicit"],
        code_challenge_methods_supported: [],
        token_endpoint_auth_methods_supported: ["client_secret_basic"],
        id_token_signing_alg_values_supported: ["RS256"],
        scopes_supported: ["openid"]
      })
    }))

  it.live("endpoints that are null", () =>
    login({ discovery: () => ({ end_session_endpoint: null, revocation_endpoint: "" }) }))

  for (const path of ["/realms/acme", "/tenant/", "/a//b"]) {
    it.live(`an issuer with a path: ${path}`, () => login({ path }))
  }

  it.live("metadata only in the place of RFC 8414", () =>
    Effect.gen(function*() {
      const path = "/tenant"
      yield* login({
        path,
        routes: {
          [`${path}/.well-known/openid-configuration`]: { status: 404 },
          [`/.well-known/oauth-authorization-server${path}`]: (_asked, base) => ({
            body: {
              issuer: base,
              authorization_endpoint: `${base}/authorize`,
              token_endpoint: `${base}/token`,
              jwks_uri: `${base}/jwks`
            }
          })
        }
      })
    }))

  it.live("no metadata at all: they are given", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        routes: {
          "/token": { body: { ...tokens, scope: "read" } },
          "/.well-known/openid-configuration": { status: 404 }
        }
      })
      const issued = yield* Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending, url } = yield* browser.begin({ redirectUri })
        assert.isNull(new URL(url).searchParams.get("nonce"))
        return yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
      }).pipe(Effect.provide(layer(server.issuer, {
        scopes: ["read"],
        metadata: {
          authorization_endpoint: `${server.issuer}/authorize?kind=app`,
          token_endpoint: `${server.issuer}/token`
        }
      })))
      assert.strictEqual(Redacted.value(issued.tokens.accessToken), "at-1")
      assert.isTrue(Option.isNone(issued.user))
      assert.isFalse(server.asked.some(({ method }) => method === "GET"))
    }))

  it.live("a token endpoint on another host than the issuer", () =>
    Effect.gen(function*() {
      let issuer = ""
      let nonce = ""
      const other = yield* serve({
        routes: {
          "/token": () => ({
            body: {
              ...tokens,
              id_token: sign({ iss: issuer, aud: "cli", sub: "ada", nonce, iat: seconds(), exp: seconds() + 300 })
            }
          })
        }
      })
      const server = yield* serve({ discovery: () => ({ token_endpoint: `${other.origin}/token` }) })
      issuer = server.issuer
      yield* Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending, url } = yield* browser.begin({ redirectUri })
        nonce = new URL(url).searchParams.get("nonce") ?? ""
        yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
      }).pipe(Effect.provide(layer(issuer)))
    }))

  it.live("scopes that are dropped silently: the token says which it has", () =>
    Effect.gen(function*() {
      const { issued } = yield* login({}, {}, {}, { scope: "openid", refresh_token: undefined })
      assert.deepStrictEqual(issued.tokens.scope, Option.some("openid"))
      assert.strictEqual(issued.grant._tag, "None")
    }))

  it.live("a refusal in the callback says what the provider said, in one line without markup of ours", () =>
    against({}, () =>
      Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const refused = (parameters: string) =>
          Effect.gen(function*() {
            const { pending } = yield* browser.begin({ redirectUri })
            const url = `${redirectUri}?state=${pending.state}&${parameters}`
            return (yield* Effect.flip(browser.complete(pending, url))).reason
          })
        const denied = yield* refused("error=access_denied&error_description=No%0A%1b[31mway")
        assert.deepStrictEqual([denied._tag, denied.message.includes("\n"), denied.message.includes("\u001b")], [
          "CredentialsRefused",
          false,
          false
        ])
        assert.include(denied.message, "access_denied: No")
        assert.strictEqual((yield* refused("error=invalid_scope"))._tag, "SelectionRefused")
        assert.strictEqual((yield* refused("error=unauthorized_client"))._tag, "Misconfigured")
        assert.strictEqual((yield* refused("error=temporarily_unavailable"))._tag, "Unavailable")
      })))
})

describe("client_secret_basic", () => {
  const secret = "a+b/c=="
  const accepts = (expected: string): Script => ({
    routes: {
      "/token": ({ headers }) => {
        const sent = Buffer.from((headers.authorization ?? "").replace("Basic ", ""), "base64").toString()
        return sent === expected ? { body: tokens } : { status: 401, body: { error: "invalid_client" } }
      }
    }
  })
  const requests = (asked: ReadonlyArray<Asked>) => asked.filter(({ path }) => path === "/token").length
  const client = (given: string) => ({
    clientAuthentication: { method: "client_secret_basic", secret: Redacted.make(given) } as const
  })

  it.live("is form-encoded", () =>
    against(accepts(`cli:${encodeURIComponent(secret)}`), ({ asked, issuer }) =>
      Effect.gen(function*() {
        yield* renew(issuer)
        assert.strictEqual(requests(asked), 1)
      }), client(secret)))

  it.live("is not, for a provider that does not decode it; that is found out once", () =>
    against(accepts(`cli:${secret}`), ({ asked, issuer }) =>
      Effect.gen(function*() {
        yield* renew(issuer)
        yield* renew(issuer)
        assert.strictEqual(requests(asked), 3)
      }), client(secret)))

  it.live("makes no difference for the characters that most secrets have", () =>
    against(accepts("cli:Abc-1_2.3"), ({ asked, issuer }) =>
      Effect.gen(function*() {
        yield* renew(issuer)
        assert.strictEqual(requests(asked), 1)
      }), client("Abc-1_2.3")))
})

describe("revocation", () => {
  const revoke = (script: Script) =>
    against(script, ({ issuer }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        return yield* iam.revoke(yield* sessionOf(issuer))
      }))

  const told: Record<string, Script> = {
    "an endpoint that is not there": { discovery: () => ({ revocation_endpoint: null }) },
    "public clients that are refused": { routes: { "/revoke": { status: 401, body: { error: "invalid_client" } } } },
    "an unsupported token type": { routes: { "/revoke": { status: 400, body: { error: "unsupported_token_type" } } } },
    "403 with a page": { routes: { "/revoke": { status: 403, body: "<h1>no</h1>" } } }
  }
  for (const [name, script] of Object.entries(told)) {
    it.live(`${name}: told, not failed`, () =>
      Effect.gen(function*() {
        const revocation = yield* revoke(script)
        assert.strictEqual(revocation._tag, "NotRevoked")
      }))
  }

  it.live("is Revoked with 200 and an empty body, and names the refresh token", () =>
    against({ routes: { "/revoke": { status: 200 } } }, ({ asked, issuer }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        assert.strictEqual((yield* iam.revoke(yield* sessionOf(issuer)))._tag, "Revoked")
        const form = asked.at(-1)?.form
        assert.deepStrictEqual([form?.get("token"), form?.get("token_type_hint")], ["rt-0", "refresh_token"])
      })))

  it.live("a provider without a page to sign out has none", () =>
    against({}, ({ issuer }) =>
      Effect.gen(function*() {
        const oidc = yield* OidcIam.OidcIam
        assert.isTrue(Option.isNone(yield* oidc.endSessionUrl(yield* sessionOf(issuer))))
      })))
})

describe("who somebody is", () => {
  const whoami = (script: Script, fields: Partial<Session.Session> = {}) =>
    against(script, ({ issuer }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        return yield* iam.whoami(yield* sessionOf(issuer, "", fields))
      }))

  it.live("is told by userinfo, with the standard claims", () =>
    Effect.gen(function*() {
      const user = yield* whoami(answering({
        sub: "ada",
        name: "Ada Lovelace",
        given_name: "Ada",
        family_name: "Lovelace",
        nickname: "al",
        picture: "https://example.org/a.png",
        email: "ada@example.org",
        email_verified: false,
        groups: ["admins", 7]
      }, "/userinfo"))
      assert.deepStrictEqual(
        [user.id, user.displayName, user.firstName, user.lastName, user.handle, user.avatarUrl, user.email, user.roles],
        [
          "ada",
          Option.some("Ada Lovelace"),
          Option.some("Ada"),
          Option.some("Lovelace"),
          Option.some("al"),
          Option.some("https://example.org/a.png"),
          Option.some("ada@example.org"),
          ["admins"]
        ]
      )
    }))

  const named = (fields: object) => ({ user: OidcClaims.toUser({ sub: "ada", ...fields }) })

  it.live("keeps the name that is known where the provider tells only the sub", () =>
    Effect.gen(function*() {
      const told: ReadonlyArray<Script> = [
        answering({ sub: "ada" }, "/userinfo"),
        { discovery: () => ({ userinfo_endpoint: null }) }
      ]
      for (const script of told) {
        assert.deepStrictEqual((yield* whoami(script, named({ name: "Ada" }))).displayName, Option.some("Ada"))
        const user = yield* whoami(script, named({ given_name: "Ada", family_name: "Lovelace" }))
        assert.deepStrictEqual(user.displayName, Option.some("Ada Lovelace"))
      }
      const { email } = yield* whoami(answering({ sub: "ada", email: "a@b.example" }, "/userinfo"), named({}))
      assert.deepStrictEqual(email, Option.some("a@b.example"))
    }))

  it.live("a name of another person is not taken for it", () =>
    Effect.gen(function*() {
      const user = yield* whoami(answering({ sub: "ada" }, "/userinfo"), {
        user: OidcClaims.toUser({ sub: "eve", name: "Eve" })
      })
      assert.isTrue(Option.isNone(user.displayName))
    }))

  it.live("is asked for at a login whose id_token names nobody, also where userinfo is away for a moment", () =>
    Effect.gen(function*() {
      const replies: Array<Reply> = [{ body: { sub: "ada", email: "a@b.example" } }, { status: 503 }]
      const { issued } = yield* login({ routes: { "/userinfo": () => replies.pop()! } }, {}, { name: undefined })
      assert.deepStrictEqual(Option.flatMap(issued.user, ({ email }) => email), Option.some("a@b.example"))
    }))

  it.live("a sub that is a number, in the id_token and at userinfo, is its digits", () =>
    Effect.gen(function*() {
      const script: Script = { routes: { "/userinfo": { body: { sub: 4711, name: "Ada" } } } }
      const { issued } = yield* login(script, {}, { sub: 4711, name: undefined })
      const user = Option.getOrThrow(issued.user)
      assert.deepStrictEqual([user.id, user.displayName], ["4711", Option.some("Ada")])
      const other = yield* Effect.flip(login({}, {}, { sub: 4711.5 }))
      assert.strictEqual(other.reason._tag, "Malformed")
    }))

  it.live("a renewal for another number is for another person", () =>
    against({
      routes: {
        "/token": (_asked, base) => ({
          body: {
            ...tokens,
            id_token: sign({ iss: base, aud: "cli", sub: 4712, iat: seconds(), exp: seconds() + 300 })
          }
        })
      }
    }, ({ issuer }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const session = yield* sessionOf(issuer, "", { user: OidcClaims.toUser({ sub: 4711 }), tokens: {} })
        assert.include((yield* Effect.flip(iam.renew(session, Selection.none))).message, "another person")
      })))

  describe("in a signed answer (application/jwt)", () => {
    const claims = (issuer: string) => ({ iss: issuer, aud: "cli", sub: "ada", name: "Ada" })
    const signed = (jwt: (issuer: string) => string, headers = { "content-type": "application/jwt" }): Script => ({
      routes: { "/userinfo": (_asked, base) => ({ headers, body: jwt(base) }) }
    })
    const secret = Redacted.make("a secret of the client")

    const good: Record<string, (issuer: string) => string> = {
      "for this client": (issuer) => sign(claims(issuer)),
      "for several clients": (issuer) => sign({ ...claims(issuer), aud: ["other", "cli"] }),
      "that names neither issuer nor client": () => sign({ sub: "ada", name: "Ada" }),
      "with an end": (issuer) => sign({ ...claims(issuer), exp: seconds() + 60 }),
      "with a line break behind it": (issuer) => `${sign(claims(issuer))}\n`
    }
    for (const [name, jwt] of Object.entries(good)) {
      it.live(`is told, ${name}`, () =>
        Effect.gen(function*() {
          assert.deepStrictEqual((yield* whoami(signed(jwt))).displayName, Option.some("Ada"))
        }))
    }

    it.live("is told, also where it comes under another content type, and asks for both", () =>
      against(
        signed((issuer) => sign(claims(issuer)), { "content-type": "text/plain; charset=utf-8" }),
        ({ asked, issuer }) =>
          Effect.gen(function*() {
            const iam = yield* IamClient.IamClient
            assert.strictEqual((yield* iam.whoami(yield* sessionOf(issuer))).id, "ada")
            assert.include(asked.at(-2)?.headers.accept, "application/jwt")
          })
      ))

    const bad: Record<string, readonly [(issuer: string) => string, string]> = {
      "signed with another key": [(issuer) => sign(claims(issuer), {}, otherKeys.privateKey), "signature"],
      "that is not signed": [(issuer) => unsigned(claims(issuer)), "none"],
      "signed with HS256": [(issuer) => sign(claims(issuer), { alg: "HS256" }), "HS256"],
      "of another issuer": [(issuer) => sign({ ...claims(issuer), iss: "https://other.example" }), "issuer"],
      "for another client": [(issuer) => sign({ ...claims(issuer), aud: "other" }), "client"],
      "that has expired": [(issuer) => sign({ ...claims(issuer), exp: seconds() - 120 }), "expired"],
      "about another person": [(issuer) => sign({ ...claims(issuer), sub: "eve" }), "another person"],
      "that is encrypted": [(issuer) => `${sign(claims(issuer))}.x.y`, "encrypted"]
    }
    for (const [name, [jwt, words]] of Object.entries(bad)) {
      it.live(`is not believed ${name}`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(whoami(signed(jwt)))
          assert.strictEqual(error.reason._tag, "Malformed")
          assert.include(error.message, words)
          assert.notMatch(error.message, /eyJ/)
        }))
    }

    it.live("is told by HS256 where the client says so", () =>
      against(
        signed((issuer) => {
          const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
          const text = `${part({ alg: "HS256" })}.${part(claims(issuer))}`
          return `${text}.${createHmac("sha256", Redacted.value(secret)).update(text).digest("base64url")}`
        }),
        ({ issuer }) =>
          Effect.gen(function*() {
            const iam = yield* IamClient.IamClient
            assert.strictEqual((yield* iam.whoami(yield* sessionOf(issuer))).id, "ada")
          }),
        { clientAuthentication: { method: "client_secret", secret }, idTokenAlgorithm: "HS256" }
      ))
  })

  it.live("is not believed of another person", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(whoami(answering({ sub: "eve" }, "/userinfo")))).reason._tag, "Malformed")
    }))

  it.live("a refused token is CredentialsRefused", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(whoami({ routes: { "/userinfo": { status: 401 } } }))
      assert.strictEqual(error.reason._tag, "CredentialsRefused")
    }))

  it.live("where there is no userinfo, or not for this token, it is what the id_token said", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* whoami({ discovery: () => ({ userinfo_endpoint: null }) })).id, "ada")
      assert.strictEqual(
        (yield* whoami({ routes: { "/userinfo": { status: 403, body: { error: "insufficient_scope" } } } })).id,
        "ada"
      )
    }))

  it.live("a token for an API is not shown to userinfo", () =>
    Effect.gen(function*() {
      const user = yield* whoami({ routes: { "/userinfo": { status: 401 } } }, {
        current: Selection.make({ resource: "urn:api" })
      })
      assert.strictEqual(user.id, "ada")
    }))
})
