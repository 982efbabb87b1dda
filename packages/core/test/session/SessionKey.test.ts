import { SessionKey } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Digest } from "effect/crypto"
import { createHash } from "node:crypto"

const keyOf = (account: string) =>
  SessionKey.SessionKey.make({ issuer: "https://id.example.com", clientId: "app", account })

describe("the digest of a key", () => {
  it.effect("is the SHA-256 of its id, made once while it is remembered", () =>
    Effect.gen(function*() {
      const digest = yield* Digest.Digest
      let made = 0
      const digestOf = SessionKey.makeDigest({
        ...digest,
        digestHex: (algorithm, data) => {
          made += 1
          return digest.digestHex(algorithm, data)
        }
      })
      const expected = createHash("sha256").update(keyOf("ada").id).digest("hex")
      assert.strictEqual(yield* digestOf(keyOf("ada")), expected)
      assert.strictEqual(yield* digestOf(keyOf("ada")), expected)
      assert.strictEqual(made, 1)
      for (let index = 0; index < 1024; index += 1) yield* digestOf(keyOf(`other ${index}`))
      assert.strictEqual(made, 1025)
      yield* digestOf(keyOf("other 1023"))
      assert.strictEqual(made, 1025)
      assert.strictEqual(yield* digestOf(keyOf("ada")), expected)
      assert.strictEqual(made, 1026)
    }).pipe(Effect.provide(Digest.layerWebCrypto)))
})
