import { JwtCodec } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as jose from "jose"

const algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"] as const

describe("the algorithm of a key", () => {
  for (const algorithm of algorithms) {
    it.effect(`is ${algorithm} of one that is for it, as a JWK and as a key of the platform`, () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const pair = yield* Effect.promise(() => jose.generateKeyPair(algorithm, { extractable: true }))
        const jwk = yield* Effect.promise(() => jose.exportJWK(pair.privateKey))
        const named = Redacted.make({ ...jwk, alg: algorithm })
        // an RSA key that names none is for RS256
        const implied = algorithm === "RS256" || !/^(RS|PS)/.test(algorithm) ? [Redacted.make(jwk)] : []
        for (const key of [pair.privateKey, named, ...implied]) {
          const token = yield* codec.sign({ sub: "ada" }, key)
          const { header } = yield* codec.verify(token, { key: pair.publicKey, algorithms: [algorithm] })
          assert.strictEqual(header["alg"], algorithm)
        }
      }).pipe(Effect.provide(JwtCodec.layer)))
  }

  it.effect("is HS256 of a secret, unless that names another", () =>
    Effect.gen(function*() {
      const codec = yield* JwtCodec.JwtCodec
      const secret = { kty: "oct", k: Buffer.alloc(64, 7).toString("base64url") }
      for (const [key, algorithm] of [[secret, "HS256"], [{ ...secret, alg: "HS512" }, "HS512"]] as const) {
        const token = yield* codec.sign({ sub: "ada" }, Redacted.make(key))
        const { header } = yield* codec.verify(token, { key, algorithms: [algorithm] })
        assert.strictEqual(header["alg"], algorithm)
      }
    }).pipe(Effect.provide(JwtCodec.layer)))
})
