/** An API whose tokens are bound to keys (RFC 9449, section 4.3), with proofs that jose signs. */
import { BearerAuth, JwtCodec } from "@effect-authn/core"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { HttpClient, HttpClientRequest, HttpRouter } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { TestClock } from "effect/testing"
import * as jose from "jose"
import { createHash } from "node:crypto"

const origin = "https://api.example"
const issuer = jose.generateKeyPair("ES256")
const holder = jose.generateKeyPair("ES256", { extractable: true })
const stranger = jose.generateKeyPair("ES256", { extractable: true })

const digest = (text: string) => createHash("sha256").update(text).digest("base64url")
const promise = <A>(make: () => Promise<A>) => Effect.promise(make)

const sign = (claims: jose.JWTPayload, bound: boolean) =>
  promise(async () => {
    const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK((await holder).publicKey))
    return new jose.SignJWT({ sub: "ada", exp: 3600, ...claims, ...(bound ? { cnf: { jkt } } : {}) })
      .setProtectedHeader({ alg: "ES256" }).sign((await issuer).privateKey)
  })

let count = 0

interface Edit {
  readonly claims?: object
  readonly header?: object
  readonly by?: typeof holder
  readonly jwk?: (jwk: jose.JWK, pair: jose.GenerateKeyPairResult) => Promise<object>
}

const proof = (token: string, { by = holder, claims = {}, header = {}, jwk }: Edit = {}) =>
  promise(async () => {
    const pair = await by
    const open = await jose.exportJWK(pair.publicKey)
    return new jose.SignJWT({
      jti: `jti-${++count}`,
      htm: "GET",
      htu: `${origin}/who`,
      iat: 0,
      ath: digest(token),
      ...claims
    }).setProtectedHeader({
      alg: "ES256",
      typ: "dpop+jwt",
      jwk: jwk === undefined ? open : await jwk(open, pair),
      ...header
    }).sign(pair.privateKey)
  })

const Api = HttpApi.make("api").add(
  HttpApiGroup.make("records").add(HttpApiEndpoint.get("who", "/who", { success: Schema.Json }))
    .middleware(BearerAuth.BearerAuth)
)

const handlers = HttpApiBuilder.group(
  Api,
  "records",
  (handlers) => handlers.handle("who", () => Effect.map(BearerAuth.Identity, ({ claims }) => String(claims.sub)))
)

const serve = (dpop: BearerAuth.Proofs["dpop"]) =>
  HttpRouter.serve(
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide(handlers),
      Layer.provide(
        Layer.unwrap(Effect.map(promise(() => issuer), ({ publicKey }) =>
          BearerAuth.layer({
            key: publicKey,
            algorithms: ["ES256"],
            anyAudience: true,
            realm: "records",
            dpop
          })))
      )
    ),
    { disableListenLog: true, disableLogger: true }
  ).pipe(Layer.provideMerge(Layer.merge(JwtCodec.layer, NodeHttpServer.layerTest)))

const ask = (authorization: string, dpop?: string, path = "/who") =>
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    const request = HttpClientRequest.setHeader(HttpClientRequest.get(path), "authorization", authorization)
    const response = yield* client.execute(
      dpop === undefined ? request : HttpClientRequest.setHeader(request, "dpop", dpop)
    )
    return { status: response.status, challenge: response.headers["www-authenticate"] ?? "" }
  })

describe("a token that is bound to a key", () => {
  it.effect("is taken with a proof, in any case of the scheme, with a query and with another form of the address", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token))).status, 200)
      assert.strictEqual((yield* ask(`dpop ${token}`, yield* proof(token), "/who?page=2")).status, 200)
      const claims = { htu: "HTTPS://API.example:443/who?x#y" }
      assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims }))).status, 200)
    }).pipe(Effect.provide(serve({ origin }))))

  it.effect("is taken with an address that encodes what need not be encoded, or with digits in the other case", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      for (const [path, other] of [["/who", "/%77ho"], ["/%77ho", "/who"]] as const) {
        const claims = { htu: `${origin}${other}` }
        assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims }), path)).status, 200, other)
      }
      // What encoding makes another path stays another.
      const claims = { htu: `${origin}/who%2F` }
      assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims }))).status, 401)
    }).pipe(Effect.provide(serve({ origin }))))

  it.effect("is taken with a key of Ed25519, by both of its names", () =>
    Effect.gen(function*() {
      const by = jose.generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true })
      const jkt = yield* promise(async () => jose.calculateJwkThumbprint(await jose.exportJWK((await by).publicKey)))
      const token = yield* sign({ cnf: { jkt } }, false)
      for (const alg of ["EdDSA", "Ed25519"]) {
        assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { by, header: { alg } }))).status, 200, alg)
      }
    }).pipe(Effect.provide(serve({ origin }))))

  it.effect("is refused as a bearer token, and without a proof", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      const bearer = yield* ask(`Bearer ${token}`)
      assert.strictEqual(bearer.status, 401)
      assert.match(bearer.challenge, /^DPoP realm="records", error="invalid_token".*algs="ES256 /)
      const bare = yield* ask(`DPoP ${token}`)
      assert.strictEqual(bare.status, 401)
      assert.match(bare.challenge, /^DPoP .*error="invalid_dpop_proof"/)
    }).pipe(Effect.provide(serve({ origin }))))

  it.effect("is not taken twice by one proof, nor by one that is too old", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      const once = yield* proof(token)
      assert.strictEqual((yield* ask(`DPoP ${token}`, once)).status, 200)
      const again = yield* ask(`DPoP ${token}`, once)
      assert.strictEqual(again.status, 401)
      assert.include(again.challenge, "used before")
      yield* TestClock.adjust("61 seconds")
      assert.include((yield* ask(`DPoP ${token}`, once)).challenge, "too old")
      assert.include((yield* ask(`DPoP ${token}`, yield* proof(token))).challenge, "too old")
      assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims: { iat: 61 } }))).status, 200)
    }).pipe(Effect.provide(serve({ origin }))))

  it.effect("keeps a bounded memory of proofs, and takes none that it may have forgotten", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      const first = yield* proof(token)
      assert.strictEqual((yield* ask(`DPoP ${token}`, first)).status, 200)
      for (let at = 1; at <= 3; at++) {
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims: { iat: at } }))).status, 200)
      }
      const replayed = yield* ask(`DPoP ${token}`, first)
      assert.strictEqual(replayed.status, 401)
    }).pipe(Effect.provide(serve({ origin, remembers: 2 }))))

  it.effect("of a clock that is ahead makes no other proof too old, however little is remembered", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims: { iat: 59 } }))).status, 200)
      for (let at = 1; at <= 6; at++) {
        yield* TestClock.adjust("1 second")
        assert.strictEqual(
          (yield* ask(`DPoP ${token}`, yield* proof(token, { claims: { iat: at } }))).status,
          200,
          `${at}`
        )
      }
    }).pipe(Effect.provide(serve({ origin, remembers: 2 }))))

  it.effect("is taken also after a flood of proofs of the future, but for that second of theirs", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      const early = yield* proof(token)
      assert.strictEqual((yield* ask(`DPoP ${token}`, early)).status, 200)
      const flooding = yield* proof(token, { claims: { iat: 50 } })
      assert.strictEqual((yield* ask(`DPoP ${token}`, flooding)).status, 200)
      for (let sent = 0; sent < 20; sent++) {
        yield* ask(`DPoP ${token}`, yield* proof(token, { claims: { iat: 50 } }))
      }
      assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token))).status, 200)
      // What may have been forgotten is not taken again.
      assert.strictEqual((yield* ask(`DPoP ${token}`, flooding)).status, 401)
      assert.strictEqual((yield* ask(`DPoP ${token}`, early)).status, 401)
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims: { iat: 51 } }))).status, 200)
    }).pipe(Effect.provide(serve({ origin, remembers: 4 }))))

  it.effect("is taken for the address that clients know, where a proxy takes a part of its path away", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      for (const [htu, status] of [["/v1/api/who", 200], ["/who", 401], ["/api/who", 401]] as const) {
        const claims = { htu: `${origin}${htu}` }
        assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token, { claims }))).status, status, htu)
      }
    }).pipe(Effect.provide(serve({ origin: `${origin}/v1/api/` }))))

  const wrong: Record<string, Edit> = {
    "for another method": { claims: { htm: "POST" } },
    "for another path": { claims: { htu: `${origin}/other` } },
    "for another host": { claims: { htu: "https://evil.example/who" } },
    "for plain http": { claims: { htu: "http://api.example/who" } },
    "for no address": { claims: { htu: "who" } },
    "for another token": { claims: { ath: digest("other") } },
    "for no token": { claims: { ath: undefined } },
    "from the future": { claims: { iat: 120 } },
    "without a time": { claims: { iat: undefined } },
    "with a time that is a text": { claims: { iat: "0" } },
    "without an id": { claims: { jti: undefined } },
    "of another type": { header: { typ: "JWT" } },
    "without a type": { header: { typ: undefined } },
    "of another key": { by: stranger },
    "with another key than it is signed with": {
      by: stranger,
      jwk: async () => jose.exportJWK((await holder).publicKey)
    },
    "with the private key": { jwk: (_jwk, pair) => jose.exportJWK(pair.privateKey) },
    "with no key": { header: { jwk: undefined } },
    "with a key that is a text": { header: { jwk: "key" } }
  }
  for (const [name, edit] of Object.entries(wrong)) {
    it.effect(`is refused with a proof ${name}`, () =>
      Effect.gen(function*() {
        const token = yield* sign({}, true)
        const { challenge, status } = yield* ask(`DPoP ${token}`, yield* proof(token, edit))
        assert.strictEqual(status, 401)
        assert.include(challenge, "error=\"invalid_dpop_proof\"")
      }).pipe(Effect.provide(serve({ origin }))))
  }

  it.effect("is refused with what is no proof, or more than one", () =>
    Effect.gen(function*() {
      const token = yield* sign({}, true)
      const two = `${yield* proof(token)}, ${yield* proof(token)}`
      const unsigned = (yield* proof(token)).replace(/[^.]+$/, "")
      for (const text of ["x", "a.b.c", two, unsigned, "x".repeat(10_000)]) {
        assert.strictEqual((yield* ask(`DPoP ${token}`, text)).status, 401)
      }
    }).pipe(Effect.provide(serve({ origin }))))
})

it.effect("a token that is not bound is taken as a bearer token, and not by showing a proof", () =>
  Effect.gen(function*() {
    const token = yield* sign({}, false)
    assert.strictEqual((yield* ask(`Bearer ${token}`)).status, 200)
    assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token))).status, 401)
  }).pipe(Effect.provide(serve({ origin }))))

it.effect("where proofs are required, a token that is not bound is refused", () =>
  Effect.gen(function*() {
    const token = yield* sign({}, false)
    assert.strictEqual((yield* ask(`Bearer ${token}`)).status, 401)
    // Whoever shows nothing, or what is no token, learns what to show.
    assert.match((yield* ask("")).challenge, /^DPoP realm="records", algs="ES256 /)
    assert.match((yield* ask("Bearer x")).challenge, /^DPoP realm="records", error="invalid_token".* algs="ES256 /)
  }).pipe(Effect.provide(serve({ origin, required: true }))))

it.effect("where no proofs are asked for, a token that is bound to a key is refused", () =>
  Effect.gen(function*() {
    const token = yield* sign({}, true)
    assert.include((yield* ask(`Bearer ${token}`)).challenge, "without a proof")
    assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token))).status, 401)
  }).pipe(Effect.provide(serve(undefined))))

it.effect("a token that is bound to a certificate is refused, also where proofs are taken", () =>
  Effect.gen(function*() {
    const token = yield* sign({ cnf: { "x5t#S256": "thumbprint" } }, false)
    assert.include((yield* ask(`Bearer ${token}`)).challenge, "without a proof")
    assert.strictEqual((yield* ask(`DPoP ${token}`, yield* proof(token))).status, 401)
  }).pipe(Effect.provide(serve({ origin }))))
