/** What `BearerAuth` remembers of tokens that it verified, and when it forgets. */
import { BearerAuth, Jwks, JwtCodec } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Ref, type Schema } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as jose from "jose"

const pairs = Promise.all(
  ["a", "b"].map((kid) =>
    jose.generateKeyPair("ES256").then(({ privateKey, publicKey }) =>
      jose.exportJWK(publicKey).then((jwk) => ({ kid, privateKey, jwk: { ...jwk, kid } }))
    )
  )
)

/** A codec that counts how often it verified. */
const counting = Effect.gen(function*() {
  const codec = yield* JwtCodec.make
  const count = yield* Ref.make(0)
  return {
    count: Ref.get(count),
    layer: Layer.succeed(JwtCodec.JwtCodec, {
      ...codec,
      verify: (token, options) => Effect.andThen(Ref.update(count, (n) => n + 1), codec.verify(token, options))
    })
  }
})

const setup = Effect.fnUntraced(function*(
  options: { readonly remember?: number; readonly clockTolerance?: "30 seconds"; readonly endless?: true } = {}
) {
  const [a, b] = yield* Effect.promise(() => pairs)
  const answer = yield* Ref.make(() => Response.json({ keys: [a!.jwk] }))
  const fetches = yield* Ref.make(0)
  const client = HttpClient.make((request) =>
    Effect.map(
      Effect.andThen(Ref.update(fetches, (n) => n + 1), Ref.get(answer)),
      (answer) => HttpClientResponse.fromWeb(request, answer())
    )
  )
  const jwks = yield* Effect.provideService(Jwks.remote("https://idp.example/keys"), HttpClient.HttpClient, client)
  const { count, layer } = yield* counting
  const verifier = yield* BearerAuth.jwt({ jwks, algorithms: ["ES256"], audience: "api", ...options }).pipe(
    Effect.provide(layer)
  )
  const codec = yield* JwtCodec.make
  const sign = (claims: Schema.JsonObject, pair = a!) =>
    codec.sign({ aud: "api", exp: 3600, ...claims }, pair.privateKey, { kid: pair.kid })
  const told = (token: Redacted.Redacted) =>
    verifier.verify(token).pipe(
      Effect.match({
        onFailure: (error) => error._tag === "Unauthorized" ? error.message : error._tag,
        onSuccess: ({ payload }) => payload["sub"]
      })
    )
  return {
    a: a!,
    b: b!,
    count,
    fetches: Ref.get(fetches),
    has: (...pairs: ReadonlyArray<{ readonly jwk: jose.JWK }>) =>
      Ref.set(answer, () => Response.json({ keys: pairs.map(({ jwk }) => jwk) })),
    fails: Ref.set(answer, () => new Response("down", { status: 503 })),
    sign,
    told,
    verifier
  }
})

describe("BearerAuth", () => {
  it.effect("verifies a token once, and each other token itself", () =>
    Effect.gen(function*() {
      const { count, sign, told } = yield* setup()
      const ada = yield* sign({ sub: "ada" })
      const bob = yield* sign({ sub: "bob" })
      for (let round = 0; round < 3; round++) {
        assert.strictEqual(yield* told(Redacted.make(Redacted.value(ada))), "ada")
        assert.strictEqual(yield* told(bob), "bob")
      }
      assert.strictEqual(yield* count, 2)
      const text = Redacted.value(ada)
      assert.include(yield* told(Redacted.make(`${text.slice(0, -6)}AAAAAA`)), "signature")
      assert.include(yield* told(Redacted.make(`${text.slice(0, -6)}AAAAAA`)), "signature")
      assert.strictEqual(yield* count, 4)
    }))

  it.effect("forgets a token when it ends, with the tolerance that is allowed", () =>
    Effect.gen(function*() {
      for (const [options, seconds] of [[{}, 3600], [{ clockTolerance: "30 seconds" as const }, 3630]] as const) {
        const { sign, told } = yield* setup(options)
        const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const token = yield* sign({ sub: "ada", exp: now / 1000 + 3600 })
        assert.strictEqual(yield* told(token), "ada")
        yield* TestClock.adjust(`${seconds - 1} seconds`)
        assert.strictEqual(yield* told(token), "ada")
        yield* TestClock.adjust("1 second")
        assert.include(yield* told(token), "expired")
      }
    }))

  it.effect("forgets all tokens when the keys change, and looks for that although it verifies nothing", () =>
    Effect.gen(function*() {
      const { a, b, count, fetches, has, sign, told } = yield* setup()
      const token = yield* sign({ sub: "ada" })
      assert.strictEqual(yield* told(token), "ada")
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* told(token), "ada")
      assert.deepStrictEqual([yield* fetches, yield* count], [2, 1])
      yield* has(b)
      yield* TestClock.adjust("9 minutes")
      assert.strictEqual(yield* told(token), "ada")
      yield* TestClock.adjust("1 minute")
      assert.include(yield* told(token), "no key of the key set")
      yield* has(a, b)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* told(token), "ada")
      // Another's new key is looked for at once, and the tokens of the old one must stand by it.
      yield* has(b)
      yield* TestClock.adjust("1 minute")
      const news = yield* sign({ sub: "new" }, { ...b, kid: "b" })
      assert.strictEqual(yield* told(news), "new")
    }))

  it.effect("does not outlive the keys that it cannot fetch any more", () =>
    Effect.gen(function*() {
      const { fails, sign, told } = yield* setup({ endless: true })
      const token = yield* sign({ sub: "ada", exp: 1_000_000 })
      assert.strictEqual(yield* told(token), "ada")
      yield* fails
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* told(token), "ada")
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* told(token), "KeysUnavailable")
    }))

  it.effect("remembers so many, and those that were seen last", () =>
    Effect.gen(function*() {
      const { count, sign, told } = yield* setup({ remember: 2 })
      const tokens = yield* Effect.forEach(["1", "2", "3"], (sub) => sign({ sub }))
      for (const at of [0, 1, 0, 2, 0]) assert.strictEqual(yield* told(tokens[at]!), `${at + 1}`)
      assert.strictEqual(yield* count, 3)
      yield* told(tokens[1]!)
      assert.strictEqual(yield* count, 4)
      const none = yield* setup({ remember: 0 })
      const token = yield* none.sign({ sub: "ada" })
      yield* none.told(token)
      yield* none.told(token)
      assert.strictEqual(yield* none.count, 2)
    }))

  it.effect("gives nobody what another could have changed", () =>
    Effect.gen(function*() {
      const { sign, verifier } = yield* setup()
      const token = yield* sign({ sub: "ada", roles: ["user"] })
      for (let round = 0; round < 2; round++) {
        const { payload } = yield* verifier.verify(token)
        assert.throws(() => Object.assign(payload, { sub: "root" }))
        assert.throws(() => (payload["roles"] as Array<string>).push("admin"))
        assert.deepStrictEqual(payload["roles"], ["user"])
      }
    }))

  it.effect("remembers nothing by a key set that does not say when it changes", () =>
    Effect.gen(function*() {
      const [a] = yield* Effect.promise(() => pairs)
      const { find } = yield* Jwks.local({ keys: [a!.jwk] })
      const { count, layer } = yield* counting
      const verifier = yield* Effect.provide(
        BearerAuth.jwt({ jwks: { find }, algorithms: ["ES256"], audience: "api" }),
        layer
      )
      const token = yield* (yield* JwtCodec.make).sign({ aud: "api", exp: 3600 }, a!.privateKey, { kid: "a" })
      yield* verifier.verify(token)
      yield* verifier.verify(token)
      assert.strictEqual(yield* count, 2)
    }))
})
