import { BrowserLogin, IamClient, type IamError } from "@effect-authn/core"
import { OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { FetchHttpClient } from "effect/http"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import { answers, setup } from "./fixtures.ts"
import { date, otherKeys, type RawProvider, type Script, seconds, serve, sign, unsigned } from "./rawProvider.ts"

const redirectUri = "http://127.0.0.1:49321/callback"

const layer = (issuer: string, options: Partial<OidcOptions.OidcOptions> = {}) =>
  OidcIam.layer({ issuer, clientId: "cli", ...options }).pipe(Layer.provide(FetchHttpClient.layer))

const goodClaims = (issuer: string, nonce: string) => ({
  iss: issuer,
  aud: "cli",
  sub: "ada",
  nonce,
  name: "Ada",
  iat: seconds(),
  exp: seconds() + 3600
})

type IdToken = (issuer: string, nonce: string) => string

const good: IdToken = (issuer, nonce) => sign(goodClaims(issuer, nonce))

/** Begins a login, and comes back with the callback that `callback` makes of what the provider was asked. */
const login = (options: {
  readonly idToken?: IdToken
  readonly script?: Script
  readonly headers?: Record<string, string>
  readonly callback?: (asked: URLSearchParams, provider: RawProvider) => string
  readonly settings?: Partial<OidcOptions.OidcOptions>
}) =>
  Effect.gen(function*() {
    let nonce = ""
    const provider = yield* serve({
      ...options.script,
      routes: {
        "/token": (_asked, base) => ({
          headers: options.headers ?? {},
          body: {
            access_token: "at-secret",
            refresh_token: "rt-secret",
            token_type: "Bearer",
            expires_in: 300,
            id_token: (options.idToken ?? good)(base, nonce)
          }
        }),
        ...options.script?.routes
      }
    })
    return yield* Effect.gen(function*() {
      const browser = yield* BrowserLogin.BrowserLogin
      const { pending, url } = yield* browser.begin({ redirectUri })
      const asked = new URL(url).searchParams
      nonce = asked.get("nonce") ?? ""
      const callback = options.callback?.(asked, provider) ?? `?code=c-secret&state=${asked.get("state")}`
      return { provider, browser, pending, asked, issued: browser.complete(pending, `${redirectUri}${callback}`) }
    }).pipe(Effect.provide(layer(provider.issuer, options.settings)))
  })

const refusal = <A>(effect: Effect.Effect<A, IamError.IamError>, ...secrets: ReadonlyArray<string>) =>
  Effect.map(Effect.flip(effect), (error) => {
    for (const secret of ["at-secret", "rt-secret", "c-secret", ...secrets]) {
      assert.notInclude(`${error.stack} ${inspect(error, { depth: 9 })}`, secret)
    }
    return error.reason
  })

const tokenRequests = ({ asked }: RawProvider) => asked.filter(({ path }) => path === "/token")

it.live("a login that nobody tampers with is accepted", () =>
  Effect.gen(function*() {
    const { asked, issued, provider } = yield* login({})
    const { grant, tokens, user } = yield* issued
    assert.strictEqual(Redacted.value(tokens.accessToken), "at-secret")
    assert.strictEqual(grant._tag, "RefreshToken")
    assert.deepStrictEqual(Option.flatMap(user, (user) => user.displayName), Option.some("Ada"))
    const [sent] = tokenRequests(provider)
    assert.strictEqual(sent?.form.get("redirect_uri"), redirectUri)
    const verifier = sent?.form.get("code_verifier") ?? ""
    assert.isAbove(verifier.length, 42)
    assert.strictEqual(asked.get("code_challenge_method"), "S256")
    assert.strictEqual(asked.get("code_challenge"), createHash("sha256").update(verifier).digest("base64url"))
  }))

describe("a callback is refused, and no code is sent,", () => {
  const state = (asked: URLSearchParams) => `state=${asked.get("state")}`
  const callbacks: Record<string, (asked: URLSearchParams, provider: RawProvider) => string> = {
    "with a wrong state": () => "?code=c-secret&state=another",
    "without a state": () => "?code=c-secret",
    "with two states": (asked) => `?code=c-secret&${state(asked)}&state=another`,
    "with two codes": (asked) => `?code=c-secret&code=d-secret&${state(asked)}`,
    "without a code": (asked) => `?${state(asked)}`,
    "with an empty code": (asked) => `?code=&${state(asked)}`,
    "with another provider's iss": (asked) => `?code=c-secret&${state(asked)}&iss=https://other.example`,
    "with an iss that differs by a slash": (asked, { issuer }) => `?code=c-secret&${state(asked)}&iss=${issuer}/`,
    "with tokens in the address": (asked) => `?code=c-secret&id_token=x&${state(asked)}`,
    "with an error and a code": (asked) => `?code=c-secret&error=access_denied&${state(asked)}`
  }
  for (const [name, callback] of Object.entries(callbacks)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const { issued, provider } = yield* login({ callback })
        assert.strictEqual((yield* refusal(issued))._tag, "CredentialsRefused")
        assert.strictEqual(tokenRequests(provider).length, 0)
      }))
  }

  it.live("without an iss, where the provider always sends one", () =>
    Effect.gen(function*() {
      const { issued, provider } = yield* login({
        script: { discovery: () => ({ authorization_response_iss_parameter_supported: true }) }
      })
      assert.strictEqual((yield* refusal(issued))._tag, "CredentialsRefused")
      assert.strictEqual(tokenRequests(provider).length, 0)
    }))

  it.live("that was used before: it is not sent again", () =>
    Effect.gen(function*() {
      const { issued, provider } = yield* login({})
      yield* issued
      assert.strictEqual((yield* refusal(issued))._tag, "CredentialsRefused")
      assert.strictEqual(tokenRequests(provider).length, 1)
    }))

  it.live("that belongs to another login", () =>
    Effect.gen(function*() {
      const { asked, browser, issued, provider } = yield* login({})
      const other = yield* browser.begin({ redirectUri })
      const injected = browser.complete(other.pending, `${redirectUri}?code=c-secret&state=${asked.get("state")}`)
      assert.strictEqual((yield* refusal(injected))._tag, "CredentialsRefused")
      assert.strictEqual(tokenRequests(provider).length, 0)
      yield* issued
    }))

  it.live("that completes a login begun at another provider (mix-up)", () =>
    Effect.gen(function*() {
      const honest = yield* login({})
      const attacker = yield* login({})
      const url = `${redirectUri}?code=c-secret&state=${honest.asked.get("state")}`
      assert.strictEqual((yield* refusal(attacker.browser.complete(honest.pending, url)))._tag, "CredentialsRefused")
      assert.strictEqual(tokenRequests(attacker.provider).length, 0)
    }))
})

it.live("a code of another login, injected into this one with this one's state, is refused by its verifier", () =>
  Effect.gen(function*() {
    const { proxy } = yield* OidcProvider.OidcProvider
    const browser = yield* BrowserLogin.BrowserLogin
    const begin = browser.begin({ redirectUri })
    const codeOf = ({ url }: { readonly url: string }) =>
      ScriptedUserAgent.make().visit(url, { answers, stopAt: ({ pathname }) => pathname === "/callback" }).pipe(
        Effect.provide(FetchHttpClient.layer),
        Effect.map((page) => new URL(page.url).searchParams)
      )
    const [attacker, victim] = [yield* begin, yield* begin]
    const stolen = yield* codeOf(attacker)
    const injected = new URLSearchParams(stolen)
    injected.set("state", victim.pending.state)
    const refused = yield* Effect.flip(browser.complete(victim.pending, `${redirectUri}?${injected}`))
    assert.strictEqual(refused.reason._tag, "CredentialsRefused")
    assert.include(refused.message, "invalid_grant")
    assert.deepStrictEqual((yield* proxy.ledger).flatMap(({ grant }) => grant ?? []), ["authorization_code"])
    // It was the verifier: with the one that it belongs to, such a code is good.
    const again = yield* begin
    yield* browser.complete(again.pending, `${redirectUri}?${yield* codeOf(again)}`)
  }).pipe(Effect.provide(setup())))

it.live("a pending login survives as text, and shows no secret when it is printed", () =>
  Effect.gen(function*() {
    const { browser, pending } = yield* login({})
    const text = yield* Schema.encodeEffect(Schema.fromJsonString(BrowserLogin.PendingLogin))(pending)
    const again = yield* Schema.decodeEffect(Schema.fromJsonString(BrowserLogin.PendingLogin))(text)
    const { tokens } = yield* browser.complete(again, `${redirectUri}?code=c-secret&state=${pending.state}`)
    assert.strictEqual(Redacted.value(tokens.accessToken), "at-secret")
    const verifier = Redacted.value(Option.getOrThrow(pending.codeVerifier))
    assert.notInclude(`${inspect(pending, { depth: 9 })}${JSON.stringify(pending)}`, verifier)
  }))

describe("an id_token is refused", () => {
  const idTokens: Record<string, IdToken> = {
    "for another audience": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), aud: "another" }),
    "for several audiences without azp": (issuer, nonce) =>
      sign({ ...goodClaims(issuer, nonce), aud: ["cli", "another"] }),
    "from another issuer": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), iss: "https://other.example" }),
    "with another nonce": (issuer) => sign(goodClaims(issuer, "another")),
    "without a nonce": (issuer) => sign({ ...goodClaims(issuer, ""), nonce: undefined }),
    "signed with another key": (issuer, nonce) => sign(goodClaims(issuer, nonce), {}, otherKeys.privateKey),
    "with a key id that the provider does not have": (issuer, nonce) => sign(goodClaims(issuer, nonce), { kid: "2" }),
    "that was changed": (issuer, nonce) => {
      const [header, , signature] = good(issuer, nonce).split(".")
      const claims = Buffer.from(JSON.stringify({ ...goodClaims(issuer, nonce), sub: "eve" })).toString("base64url")
      return [header, claims, signature].join(".")
    },
    "with alg none": (issuer, nonce) => unsigned(goodClaims(issuer, nonce)),
    "with alg HS256": (issuer, nonce) => sign(goodClaims(issuer, nonce), { alg: "HS256" }),
    "that demands an extension": (issuer, nonce) => sign(goodClaims(issuer, nonce), { crit: ["x"], x: 1 }),
    "that has expired": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), exp: seconds() - 120 }),
    "from the future": (issuer, nonce) =>
      sign({ ...goodClaims(issuer, nonce), iat: seconds() + 3600, exp: seconds() + 7200 }),
    "that is not valid yet": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), nbf: seconds() + 3600 }),
    "without an audience": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), aud: undefined }),
    "without an issuer": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), iss: undefined }),
    "without an end": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), exp: undefined }),
    "without a time of issue": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), iat: undefined }),
    "without a subject": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), sub: undefined }),
    "with an empty subject": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), sub: "" }),
    "with a subject that is a list": (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), sub: ["ada"] }),
    "for several audiences, issued to another one": (issuer, nonce) =>
      sign({ ...goodClaims(issuer, nonce), aud: ["cli", "another"], azp: "another" }),
    "that is no token": () => "not.a.token",
    "that is encrypted": (issuer, nonce) => `${good(issuer, nonce)}.x.y`,
    "that is not there": () => ""
  }
  for (const [name, idToken] of Object.entries(idTokens)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const { issued } = yield* login({ idToken })
        const reason = yield* refusal(issued)
        assert.strictEqual(reason._tag, "Malformed")
        assert.include(reason.message, "the tokens are refused")
      }))
  }
})

it.live("an id_token is taken with its audience in a list of one", () =>
  Effect.gen(function*() {
    const { issued } = yield* login({
      idToken: (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), aud: ["cli"] })
    })
    yield* issued
  }))

describe("clocks", () => {
  for (const ahead of [7200, -7200]) {
    it.live(`a provider whose clock is ${ahead} s ahead signs in: its Date says so`, () =>
      Effect.gen(function*() {
        const { issued } = yield* login({
          headers: date(ahead),
          idToken: (issuer, nonce) =>
            sign({
              ...goodClaims(issuer, nonce),
              iat: seconds() + ahead,
              nbf: seconds() + ahead,
              exp: seconds() + ahead + 300
            })
        })
        yield* issued
      }))
  }

  it.live("an id_token that has expired by the provider's own clock stays refused", () =>
    Effect.gen(function*() {
      const { issued } = yield* login({
        headers: date(7200),
        idToken: (issuer, nonce) => sign({ ...goodClaims(issuer, nonce), iat: seconds() - 9000, exp: seconds() - 120 })
      })
      assert.strictEqual((yield* refusal(issued))._tag, "Malformed")
    }))
})

describe("a provider is Misconfigured, and nothing secret is sent,", () => {
  const reasonAt = (script: Script, issuer = (provider: RawProvider) => provider.issuer) =>
    Effect.gen(function*() {
      const provider = yield* serve(script)
      const reason = yield* BrowserLogin.BrowserLogin.use((browser) => refusal(browser.begin({ redirectUri }))).pipe(
        Effect.provide(layer(issuer(provider)))
      )
      assert.isTrue(provider.asked.every(({ method }) => method === "GET"))
      return reason
    })

  it.live("when its metadata names another issuer", () =>
    Effect.gen(function*() {
      const reason = yield* reasonAt({ discovery: () => ({ issuer: "https://other.example" }) })
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.include(reason.message, `"https://other.example"`)
    }))

  it.live("when the issuer differs by a slash, and it is told how to write it", () =>
    Effect.gen(function*() {
      const reason = yield* reasonAt({}, ({ issuer }) => `${issuer}/`)
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.include(reason.message, "to the letter")
    }))

  for (const name of ["token_endpoint", "authorization_endpoint", "jwks_uri", "revocation_endpoint"]) {
    it.live(`when its ${name} is plain http`, () =>
      Effect.gen(function*() {
        const reason = yield* reasonAt({ discovery: () => ({ [name]: "http://other.example/x" }) })
        assert.strictEqual(reason._tag, "Misconfigured")
        assert.include(reason.message, name)
      }))
  }

  it.live("when an endpoint that every session needs names a user", () =>
    Effect.gen(function*() {
      const discovery = (base: string) => ({ token_endpoint: `${base.replace("//", "//user:canary@")}/token` })
      const reason = yield* reasonAt({ discovery })
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.include(reason.message, "token_endpoint that is not https, or names a user")
      assert.notInclude(reason.message, "canary")
    }))

  it.live("when an https provider has endpoints on this machine's http", () =>
    Effect.gen(function*() {
      const metadata = { token_endpoint: "http://127.0.0.1:1/token", authorization_endpoint: "https://idp.example/a" }
      const reason = yield* BrowserLogin.BrowserLogin.use((browser) => refusal(browser.begin({ redirectUri }))).pipe(
        Effect.provide(layer("https://idp.example", { metadata }))
      )
      assert.strictEqual(reason._tag, "Misconfigured")
    }))

  it.live("when it redirects the token request: the code does not follow", () =>
    Effect.gen(function*() {
      const other = yield* serve({ routes: { "/token": { body: { access_token: "x", token_type: "bearer" } } } })
      const { issued } = yield* login({
        script: { routes: { "/token": { status: 307, headers: { location: `${other.origin}/token` } } } }
      })
      const reason = yield* refusal(issued)
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.include(reason.message, other.origin)
      assert.strictEqual(other.asked.length, 0)
    }))
})

it.effect("an issuer that is not safe is refused before anything is sent", () =>
  Effect.gen(function*() {
    for (
      const issuer of [
        "http://idp.example",
        "idp.example",
        "https://ada:hunter2@idp.example",
        "https://idp.example?x=1"
      ]
    ) {
      const error = yield* Effect.flip(Effect.provide(IamClient.IamClient, layer(issuer)))
      assert.strictEqual(error.reason._tag, "Misconfigured")
      assert.notInclude(error.message, "hunter2")
    }
  }))
