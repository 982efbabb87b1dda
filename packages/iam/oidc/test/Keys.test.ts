/** The keys that a login and a renewal verify with: which of a set, and what happens when the set is away. */
import { BrowserLogin, IamClient, Selection } from "@effect-authn/core"
import { OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import * as Crypto from "node:crypto"
import { jwks, keys, otherKeys, type Reply, seconds, serve, sessionOf, sign } from "./rawProvider.ts"

const redirectUri = "http://127.0.0.1:49321/callback"
const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
const jwk = (key: Crypto.KeyObject, fields: object = {}) => ({ ...key.export({ format: "jwk" }), ...fields })
const short = jwk(Crypto.generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey)

/** An id_token by RS256, for which odd keys have the right kind. */
const signRsa = (claims: object, header: object = {}): string => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const text = `${part({ alg: "RS256", ...header })}.${part(claims)}`
  return `${text}.${Crypto.sign("sha256", Buffer.from(text), rsa.privateKey).toString("base64url")}`
}

/** A program, and a provider that signs with what `sign` says and publishes what `jwks` says. */
const at = Effect.fnUntraced(function*(
  signed: (claims: object) => string,
  jwks: () => Reply,
  options: Partial<OidcOptions.OidcOptions> = {}
) {
  let nonce = ""
  const server = yield* serve({
    routes: {
      "/jwks": () => jwks(),
      "/token": ({ form }, base) => ({
        body: {
          access_token: "at-1",
          refresh_token: "rt-1",
          token_type: "Bearer",
          expires_in: 300,
          id_token: signed({
            iss: base,
            aud: "cli",
            sub: "ada",
            name: "Ada",
            iat: seconds(),
            exp: seconds() + 300,
            ...(form.get("grant_type") === "authorization_code" && { nonce })
          })
        }
      })
    }
  })
  const services = yield* Layer.build(
    OidcIam.layer({ issuer: server.issuer, clientId: "cli", ...options }).pipe(Layer.provide(FetchHttpClient.layer))
  )
  const login = Effect.gen(function*() {
    const browser = yield* BrowserLogin.BrowserLogin
    const { pending, url } = yield* browser.begin({ redirectUri })
    nonce = new URL(url).searchParams.get("nonce") ?? ""
    return yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
  }).pipe(Effect.provide(services))
  const renew = Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return yield* iam.renew(yield* sessionOf(server.issuer), Selection.none)
  }).pipe(Effect.provide(services))
  return { login, renew, count: (path: string) => server.asked.filter((asked) => asked.path === path).length }
})

describe("a key that cannot be used hides no good one at a login, wherever it stands:", () => {
  const good = jwk(rsa.publicKey, { kid: "1" })
  const odd: Record<string, unknown> = {
    "1024 bits": short,
    "1024 bits under the same kid": { ...short, kid: "1" },
    "a member that is null": null,
    "a text": "key",
    "an odd n": { ...good, n: "!" },
    "no n": { kty: "RSA", kid: "1" },
    "another kind of key": { kty: "odd", kid: "1" },
    "the same key again": good,
    "a secret": { kty: "oct", k: "c2VjcmV0", kid: "1" }
  }
  const asGood: Record<string, object> = {
    "": good,
    ", with key_ops of both": { ...good, key_ops: ["sign", "verify"] },
    ", with members that are null": { ...good, alg: null, use: null, x5c: null },
    ", with members that are empty, and a number as its name": { ...good, alg: "", use: "", key_ops: "", kid: 1 }
  }
  for (const [name, one] of Object.entries(odd)) {
    for (const [how, other] of Object.entries(asGood)) {
      for (const header of [{}, { kid: "1" }]) {
        it.live(`${name}${how}${"kid" in header ? ", by its kid" : ""}`, () =>
          Effect.gen(function*() {
            for (const keys of [[one, other], [other, one]]) {
              const { login } = yield* at((claims) => signRsa(claims, header), () => ({ body: { keys } }))
              assert.isTrue(Option.isSome((yield* login).user))
            }
          }))
      }
    }
  }
})

describe("a new signing key", () => {
  const first = jwk(keys.publicKey, { kid: "1" })
  const second = jwk(otherKeys.publicKey, { kid: "2" })

  it.live("between two logins is fetched at once; who signs with unknown ones causes one fetch in half a minute", () =>
    Effect.gen(function*() {
      let published = [first]
      let signed = (claims: object) => sign(claims)
      const { count, login, renew } = yield* at((claims) => signed(claims), () => ({ body: { keys: published } }))
      yield* login
      yield* login
      assert.strictEqual(count("/jwks"), 1)
      published = [first, second]
      signed = (claims) => sign(claims, { kid: "2" }, otherKeys.privateKey)
      yield* login
      assert.strictEqual(count("/jwks"), 2)
      signed = (claims) => sign(claims, { kid: "3" })
      for (let logins = 0; logins < 3; logins++) {
        const error = yield* Effect.flip(login)
        assert.strictEqual(error.reason._tag, "Malformed")
        assert.include(error.message, "the tokens are refused: the id_token is not the provider's: no key")
      }
      assert.strictEqual(count("/jwks"), 2)
      assert.strictEqual((yield* renew).grant._tag, "RefreshToken")
    }))

  for (const kid of ["1", undefined]) {
    it.live(`${kid === undefined ? "without a name" : "under the name of the old one"} is found, too`, () =>
      Effect.gen(function*() {
        let [pair, published] = [keys, keys]
        const { count, login } = yield* at(
          (claims) => sign(claims, { kid }, pair.privateKey),
          () => ({ body: { keys: [jwk(published.publicKey, { kid })] } })
        )
        yield* login
        pair = published = otherKeys
        yield* login
        yield* login
        assert.strictEqual(count("/jwks"), 2)
        pair = keys
        for (let logins = 0; logins < 3; logins++) assert.include((yield* Effect.flip(login)).message, "signature")
        assert.strictEqual(count("/jwks"), 2)
      }))
  }

  it.live("and a key set that is away just then cost nothing", () =>
    Effect.gen(function*() {
      let signed = (claims: object) => sign(claims)
      const replies: Array<Reply> = []
      const { count, login } = yield* at(
        (claims) => signed(claims),
        () => replies.pop() ?? { body: { keys: [first, second] } }
      )
      replies.push({ body: { keys: [first] } })
      yield* login
      signed = (claims) => sign(claims, { kid: "2" }, otherKeys.privateKey)
      replies.push({ status: 503 })
      yield* login
      assert.strictEqual(count("/jwks"), 3)
    }))
})

describe("a key set that is away after the code is spent", () => {
  const away: Record<string, Reply> = {
    "503": { status: 503, headers: { "retry-after": "1" } },
    "a page": { body: "<h1>Bad gateway</h1>" },
    "a connection that is cut": { drop: true },
    "429": { status: 429 }
  }
  for (const [name, reply] of Object.entries(away)) {
    it.live(`${name}: the login waits for it, and the code is sent once`, () =>
      Effect.gen(function*() {
        const replies = [reply, reply]
        const { count, login } = yield* at(sign, () => replies.pop() ?? { body: jwks })
        yield* login
        assert.deepStrictEqual([count("/jwks"), count("/token")], [3, 1])
      }))
  }

  it.live("for longer than the time limit ends the login, and says what was away", () =>
    Effect.gen(function*() {
      const { login } = yield* at(sign, () => ({ status: 503 }), { policy: { timeLimit: Duration.millis(1500) } })
      const { reason } = yield* Effect.flip(login)
      assert.strictEqual(reason._tag, "Unavailable")
      assert.include(reason.message, "/jwks is not available: it answers with status 503")
    }))
})

describe("an id_token by the client's secret", () => {
  const secret = Redacted.make("a secret of the client, long enough for every hash")
  const mac = (algorithm: string, key = secret) => (claims: object) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
    const text = `${part({ alg: algorithm })}.${part(claims)}`
    const hash = `sha${algorithm.slice(2)}`
    return `${text}.${Crypto.createHmac(hash, Redacted.value(key)).update(text).digest("base64url")}`
  }
  const none = () => ({ status: 404 })
  const client = { clientAuthentication: { method: "client_secret_post", secret } } as const

  for (const idTokenAlgorithm of ["HS256", "HS384", "HS512"] as const) {
    it.live(`${idTokenAlgorithm}: is taken where the client says so, and no key is fetched`, () =>
      Effect.gen(function*() {
        const { count, login } = yield* at(mac(idTokenAlgorithm), none, { ...client, idTokenAlgorithm })
        assert.isTrue(Option.isSome((yield* login).user))
        assert.strictEqual(count("/jwks"), 0)
      }))
  }

  it.live("also where the secret is short, as some providers make them", () =>
    Effect.gen(function*() {
      const short = Redacted.make("s3cret")
      const { login } = yield* at(mac("HS256", short), none, {
        clientAuthentication: { method: "client_secret_basic", secret: short },
        idTokenAlgorithm: "HS256"
      })
      yield* login
    }))

  const refused: Record<string, readonly [(claims: object) => string, Partial<OidcOptions.OidcOptions>, string]> = {
    "where the client does not say so, and is told how to": [mac("HS256"), client, "idTokenAlgorithm"],
    "of another secret": [
      mac("HS256", Redacted.make("another one")),
      { ...client, idTokenAlgorithm: "HS256" },
      "the signature does not match"
    ],
    "by another hash than the client says": [mac("HS512"), { ...client, idTokenAlgorithm: "HS256" }, "alg"],
    "by a public key, where the client says HS256": [sign, { ...client, idTokenAlgorithm: "HS256" }, "alg"],
    "by another public algorithm than the client says": [sign, { idTokenAlgorithm: "RS256" }, "alg"],
    "by the text of the public key": [
      mac("HS256", Redacted.make(keys.publicKey.export({ type: "spki", format: "pem" }).toString())),
      {},
      "idTokenAlgorithm"
    ]
  }
  for (const [name, [signed, options, words]] of Object.entries(refused)) {
    it.live(`is refused ${name}`, () =>
      Effect.gen(function*() {
        const { login } = yield* at(signed, () => ({ body: { keys: [jwk(keys.publicKey)] } }), options)
        const error = yield* Effect.flip(login)
        assert.strictEqual(error.reason._tag, "Malformed")
        assert.include(error.message, words)
        assert.notInclude(error.message, Redacted.value(secret))
      }))
  }

  it.effect("needs a secret, which is said before anything is sent", () =>
    Effect.gen(function*() {
      const layer = OidcIam.layer({ issuer: "https://idp.example", clientId: "cli", idTokenAlgorithm: "HS256" })
      const error = yield* Effect.flip(Effect.provide(IamClient.IamClient, Layer.provide(layer, FetchHttpClient.layer)))
      assert.strictEqual(error.reason._tag, "Misconfigured")
      assert.include(error.message, "secret")
    }))
})
