import { BearerAuth, Jwks, JwtCodec, TokenDigest } from "@effect-authn/core"
import { NodeJwtCodec } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as crypto from "node:crypto"

const rsa = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
const ec = (namedCurve: string) => crypto.generateKeyPairSync("ec", { namedCurve })
const pairs = {
  RS256: rsa,
  RS384: rsa,
  RS512: rsa,
  PS256: rsa,
  PS384: rsa,
  PS512: rsa,
  ES256: ec("P-256"),
  ES384: ec("P-384"),
  ES512: ec("P-521"),
  EdDSA: crypto.generateKeyPairSync("ed25519"),
  Ed25519: crypto.generateKeyPairSync("ed25519")
} as const

type Algorithm = keyof typeof pairs
const algorithms = Object.keys(pairs) as ReadonlyArray<Algorithm>

const publicJwk = (alg: Algorithm): JwtCodec.Jwk => ({ ...pairs[alg].publicKey.export({ format: "jwk" }), alg })
const secret = (alg: string): JwtCodec.Jwk => ({ kty: "oct", alg, k: crypto.randomBytes(64).toString("base64url") })

/** The verdicts of both codecs on a token. They must be the same one. */
const verdict = Effect.fnUntraced(function*(
  token: Redacted.Redacted,
  options: JwtCodec.VerifyOptions,
  fast: JwtCodec.JwtCodec["Service"],
  slow: JwtCodec.JwtCodec["Service"]
) {
  const of = (codec: JwtCodec.JwtCodec["Service"]) =>
    codec.verify(token, options).pipe(
      Effect.match({ onFailure: ({ reason }) => JSON.stringify(reason), onSuccess: ({ payload }) => payload["sub"] })
    )
  const told = yield* of(fast)
  assert.strictEqual(told, yield* of(slow))
  return told
})

const codecs = Effect.all([
  Effect.provide(JwtCodec.JwtCodec, NodeJwtCodec.layer),
  Effect.provide(JwtCodec.JwtCodec, JwtCodec.layer)
])

const claims = { sub: "ada", iss: "https://idp.example", aud: "api", exp: 3600 }

const tampered = (token: string): ReadonlyArray<string> => {
  const [header, payload, signature = ""] = token.split(".")
  const bytes = Buffer.from(signature, "base64url")
  const flip = (at: number) => Buffer.from(bytes.map((byte, i) => i === at ? byte ^ 1 : byte)).toString("base64url")
  const other = Buffer.from(JSON.stringify({ ...claims, sub: "eve" })).toString("base64url")
  return [
    `${header}.${payload}.`,
    `${header}.${other}.${signature}`,
    `${header}.${payload}.${flip(0)}`,
    `${header}.${payload}.${flip(bytes.length - 1)}`,
    `${header}.${payload}.${bytes.subarray(1).toString("base64url")}`,
    `${header}.${payload}.${Buffer.concat([bytes, bytes]).toString("base64url")}`,
    `${header}.${payload}.${Buffer.alloc(bytes.length).toString("base64url")}`,
    `${header}.${payload}.${signature}!`,
    `${header}.${payload}.${signature}A`,
    `${header}.${payload}.${signature}AA`,
    `${header}.${payload} .${signature}`,
    `${header}.${payload}!.${signature}`
  ]
}

describe("NodeJwtCodec", () => {
  it.effect("has the verdict of JwtCodec.layer on good and bad tokens of every algorithm, again and again", () =>
    Effect.gen(function*() {
      const [fast, slow] = yield* codecs
      const wrong: ReadonlyArray<[object, Partial<JwtCodec.VerifyOptions>]> = [
        [{}, { issuer: "https://other.example" }],
        [{}, { audience: "other" }],
        [{}, { requiredClaims: ["jti"] }],
        [{ exp: 0 }, {}],
        [{ exp: -3 }, { clockTolerance: "5 seconds" }],
        [{ nbf: 60 }, {}],
        [{ exp: "soon" }, {}],
        [{ iss: 7 }, {}]
      ]
      const cases = [
        ...algorithms.map((alg) => ({
          alg,
          key: publicJwk(alg),
          signing: Redacted.make<JwtCodec.Jwk>({ ...pairs[alg].privateKey.export({ format: "jwk" }), alg })
        })),
        ...(["HS256", "HS384", "HS512"] as const).map((alg) => {
          const signing = Redacted.make(secret(alg))
          return { alg, key: signing, signing }
        })
      ]
      for (const { alg, key, signing } of cases) {
        const options = { key, algorithms: [alg] }
        const good = yield* fast.sign(claims, signing)
        // The first is verified by WebCrypto, and all others by node:crypto.
        for (let round = 0; round < 3; round++) {
          assert.strictEqual(yield* verdict(good, options, fast, slow), "ada")
          yield* verdict(Redacted.make(`${Redacted.value(good)}=`), options, fast, slow)
          for (const bad of tampered(Redacted.value(good))) {
            assert.notStrictEqual(yield* verdict(Redacted.make(bad), options, fast, slow), "ada", `${alg} ${bad}`)
          }
        }
        for (const [members, asked] of wrong) {
          const token = yield* fast.sign({ ...claims, ...members }, signing)
          yield* verdict(token, { ...options, ...asked }, fast, slow)
        }
      }
    }))

  it.effect("takes no key for another algorithm than it is fit for, after it was used for one", () =>
    Effect.gen(function*() {
      const [fast, slow] = yield* codecs
      const signing = Redacted.make<JwtCodec.Jwk>({ ...rsa.privateKey.export({ format: "jwk" }), alg: "RS256" })
      const key = yield* Effect.promise(() =>
        globalThis.crypto.subtle.importKey(
          "jwk",
          publicJwk("RS256"),
          { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
          true,
          ["verify"]
        )
      )
      const good = yield* fast.sign(claims, signing)
      const options = { key, algorithms: ["RS256", "RS512", "PS256"] } as const
      assert.strictEqual(yield* verdict(good, options, fast, slow), "ada")
      assert.strictEqual(yield* verdict(good, options, fast, slow), "ada")
      for (const alg of ["RS512", "PS256"] as const) {
        const other = yield* fast.sign(claims, Redacted.make({ ...Redacted.value(signing), alg }))
        assert.include(yield* verdict(other, options, fast, slow), "KeyNotUsable")
      }
      const short = crypto.generateKeyPairSync("rsa", { modulusLength: 1024 })
      const header = Buffer.from("{\"alg\":\"RS256\"}").toString("base64url")
      const signed = `${header}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`
      const signature = crypto.sign("sha256", Buffer.from(signed), short.privateKey).toString("base64url")
      const jwk = short.publicKey.export({ format: "jwk" })
      for (let round = 0; round < 2; round++) {
        const told = yield* verdict(
          Redacted.make(`${signed}.${signature}`),
          {
            key: jwk,
            algorithms: ["RS256"]
          },
          fast,
          slow
        )
        assert.include(told, "KeyNotUsable")
      }
    }))

  it.effect("verifies with key sets and PEM, and under BearerAuth", () =>
    Effect.gen(function*() {
      const [fast, slow] = yield* codecs
      const jwks = yield* Jwks.local({ keys: [publicJwk("ES384"), publicJwk("ES256")] })
      const signing = Redacted.make<JwtCodec.Jwk>({ ...pairs.ES256.privateKey.export({ format: "jwk" }), alg: "ES256" })
      const good = yield* fast.sign(claims, signing)
      const pem = pairs.ES256.publicKey.export({ format: "pem", type: "spki" }).toString()
      for (let round = 0; round < 2; round++) {
        assert.strictEqual(yield* verdict(good, { jwks, algorithms: ["ES256"] }, fast, slow), "ada")
        assert.strictEqual(yield* verdict(good, { key: pem, algorithms: ["ES256"] }, fast, slow), "ada")
      }
      const verifier = yield* Effect.provide(
        BearerAuth.jwt({ jwks, algorithms: ["ES256"], audience: "api" }),
        NodeJwtCodec.layer
      )
      assert.strictEqual((yield* verifier.verify(good)).claims.sub, "ada")
      assert.strictEqual((yield* verifier.verify(good)).claims.sub, "ada")
    }))

  it.effect("leaves a key to WebCrypto that must not be taken out of it", () =>
    Effect.gen(function*() {
      const [fast, slow] = yield* codecs
      const warnings: Array<Error> = []
      const warned = (warning: Error) => warnings.push(warning)
      process.on("warning", warned)
      const algorithm = { name: "HMAC", hash: "SHA-256" }
      const bytes = crypto.randomBytes(32)
      const key = yield* Effect.promise(() =>
        globalThis.crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign", "verify"])
      )
      const token = yield* fast.sign(claims, key)
      for (let round = 0; round < 3; round++) {
        assert.strictEqual(yield* verdict(token, { key, algorithms: ["HS256"] }, fast, slow), "ada")
      }
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      process.off("warning", warned)
      assert.deepStrictEqual(warnings, [])
    }))

  it.effect("has the digest that WebCrypto makes", () =>
    Effect.gen(function*() {
      const digests = yield* Effect.forEach(
        [NodeJwtCodec.layer, Layer.empty],
        (layer) =>
          Effect.provide(
            Effect.flatMap(TokenDigest.TokenDigest, (digest) => Effect.promise(async () => digest("token ü"))),
            layer
          )
      )
      assert.strictEqual(digests[0], digests[1])
      assert.strictEqual(digests[0]?.length, 43)
    }))
})
