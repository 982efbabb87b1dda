import { Jwks, JwtCodec } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted, Ref } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as jose from "jose"
import { generateKeyPairSync } from "node:crypto"
import { createServer, type Server } from "node:http"

interface Pair {
  readonly kid: string
  readonly publicJwk: JwtCodec.Jwk
  readonly privateKey: CryptoKey
}

const generate = (kid: string, algorithm = "ES256"): Promise<Pair> =>
  jose.generateKeyPair(algorithm).then(({ privateKey, publicKey }) =>
    jose.exportJWK(publicKey).then((jwk) => ({ kid, privateKey, publicJwk: { ...jwk, kid } }))
  )
const pairs = Promise.all(["a", "b"].map((kid) => generate(kid)))

const url = "https://iam.example/jwks.json"
const options = (jwks: JwtCodec.KeySet): JwtCodec.VerifyOptions => ({ jwks, algorithms: ["ES256", "RS256", "HS256"] })

const sign = (pair: Pair, kid: string | undefined = pair.kid) =>
  JwtCodec.JwtCodec.use((codec) => codec.sign({ sub: "ada" }, pair.privateKey, { kid }))

const verify = (token: Redacted.Redacted, jwks: JwtCodec.KeySet) =>
  JwtCodec.JwtCodec.use((codec) => codec.verify(token, options(jwks))).pipe(
    Effect.match({ onFailure: ({ reason }) => reason._tag, onSuccess: ({ claims }) => claims.sub })
  )

// An issuer that answers with what `answer` says, and counts.
const issuer = Effect.gen(function*() {
  const [a, b] = yield* Effect.promise(() => pairs)
  const fetches = yield* Ref.make(0)
  const keys = (...pairs: ReadonlyArray<Pair>) => Response.json({ keys: pairs.map(({ publicJwk }) => publicJwk) })
  const answer = yield* Ref.make<Effect.Effect<Response, "broken">>(Effect.sync(() => keys(a!)))
  const client = HttpClient.make((request) =>
    Ref.update(fetches, (n) => n + 1).pipe(
      Effect.andThen(Effect.flatten(Ref.get(answer))),
      Effect.mapBoth({
        onFailure: () =>
          new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) }),
        onSuccess: (response) => HttpClientResponse.fromWeb(request, response)
      })
    )
  )
  return {
    a: a!,
    b: b!,
    fetches: Ref.get(fetches),
    answers: (next: Effect.Effect<Response, "broken">) => Ref.set(answer, next),
    has: (...pairs: ReadonlyArray<Pair>) => Ref.set(answer, Effect.sync(() => keys(...pairs))),
    jwks: Jwks.remote(url).pipe(Effect.provideService(HttpClient.HttpClient, client))
  }
})

const test = <A, E>(name: string, body: () => Effect.Effect<A, E, JwtCodec.JwtCodec>) =>
  it.effect(name, () => Effect.provide(body(), JwtCodec.layer))

describe("Jwks.local", () => {
  test("finds the key by the kid of the token", () =>
    Effect.gen(function*() {
      const { a, b } = yield* issuer
      const jwks = yield* Jwks.local({ keys: [a.publicJwk, b.publicJwk] })
      assert.strictEqual(yield* verify(yield* sign(a), jwks), "ada")
      assert.strictEqual(yield* verify(yield* sign(b), jwks), "ada")
      assert.strictEqual(yield* verify(yield* sign(b, "a"), jwks), "BadSignature")
      assert.strictEqual(yield* verify(yield* sign(b, "c"), jwks), "UnknownKey")
    }))

  test("tries each key that fits a token without kid", () =>
    Effect.gen(function*() {
      const { a, b } = yield* issuer
      const { kid: _a, ...first } = a.publicJwk
      const { kid: _b, ...second } = b.publicJwk
      const jwks = yield* Jwks.local({ keys: [first, second] })
      assert.strictEqual(yield* verify(yield* sign(a, ""), jwks), "UnknownKey")
      const unnamed = (pair: Pair) =>
        Effect.promise(() =>
          new jose.SignJWT({ sub: "ada" }).setProtectedHeader({ alg: "ES256" }).sign(pair.privateKey)
        )
          .pipe(Effect.map((token) => Redacted.make(token)))
      assert.strictEqual(yield* verify(yield* unnamed(a), jwks), "ada")
      assert.strictEqual(yield* verify(yield* unnamed(b), jwks), "ada")
      const stranger = yield* Effect.promise(() => generate("c"))
      assert.strictEqual(yield* verify(yield* unnamed(stranger), jwks), "BadSignature")
    }))

  test("takes no secret or private key, and no token of another kind of key", () =>
    Effect.gen(function*() {
      const { a } = yield* issuer
      const secret: JwtCodec.Jwk = { kty: "oct", k: "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U", kid: "s" }
      const jwks = yield* Jwks.local({ keys: [secret, a.publicJwk] })
      const codec = yield* JwtCodec.JwtCodec
      const mac = yield* codec.sign({ sub: "eve" }, Redacted.make(secret))
      assert.strictEqual(yield* verify(mac, jwks), "AlgorithmRefused")

      const pair = yield* Effect.promise(() => jose.generateKeyPair("ES256", { extractable: true }))
      const privateJwk = yield* Effect.promise(() => jose.exportJWK(pair.privateKey))
      const leaked = yield* Jwks.local({ keys: [{ ...privateJwk, kid: "p" }] })
      assert.strictEqual(yield* verify(yield* sign({ ...a, kid: "p" }), leaked), "KeyNotUsable")

      const error = yield* Effect.flip(Jwks.local(JSON.parse("{\"keys\":[1]}")))
      assert.strictEqual(error.reason._tag, "KeyNotUsable")
    }))
})

describe("Jwks.remote", () => {
  test("fetches nothing before the first token, then keeps the set for ten minutes", () =>
    Effect.gen(function*() {
      const { a, fetches, jwks: make } = yield* issuer
      const jwks = yield* make
      assert.strictEqual(yield* fetches, 0)
      const token = yield* sign(a)
      for (let minute = 0; minute < 10; minute++) {
        assert.strictEqual(yield* verify(token, jwks), "ada")
        yield* TestClock.adjust("1 minute")
      }
      assert.strictEqual(yield* fetches, 1)
      assert.strictEqual(yield* verify(token, jwks), "ada")
      assert.strictEqual(yield* fetches, 2)
    }))

  test("fetches once for a hundred verifications at the same time", () =>
    Effect.gen(function*() {
      const { a, answers, fetches, has, jwks: make } = yield* issuer
      const jwks = yield* make
      const token = yield* sign(a)
      const gate = yield* Deferred.make<void>()
      yield* answers(Effect.as(Deferred.await(gate), Response.json({ keys: [a.publicJwk] })))
      const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () => Effect.forkChild(verify(token, jwks)))
      yield* Effect.yieldNow
      yield* has(a)
      yield* Deferred.succeed(gate, undefined)
      const outcomes = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(new Set(outcomes), new Set(["ada"]))
      assert.strictEqual(yield* fetches, 1)
    }))

  test("goes on for the others when the one who started the fetch is interrupted", () =>
    Effect.gen(function*() {
      const { a, answers, fetches, has, jwks: make } = yield* issuer
      const jwks = yield* make
      const token = yield* sign(a)
      yield* answers(Effect.never)
      const first = yield* Effect.forkChild(verify(token, jwks), { startImmediately: true })
      const second = yield* Effect.forkChild(verify(token, jwks), { startImmediately: true })
      yield* has(a)
      yield* Fiber.interrupt(first)
      assert.strictEqual(yield* Fiber.join(second), "ada")
      assert.strictEqual(yield* fetches, 2)
    }))

  test("finds a new key at once, but fetches at most once per cooldown for a thousand unknown ones", () =>
    Effect.gen(function*() {
      const { a, b, fetches, has, jwks: make } = yield* issuer
      const jwks = yield* make
      assert.strictEqual(yield* verify(yield* sign(a), jwks), "ada")
      yield* has(a, b)
      assert.strictEqual(yield* verify(yield* sign(b), jwks), "ada")
      assert.strictEqual(yield* fetches, 2)
      yield* TestClock.adjust("30 seconds")

      const made = yield* Effect.forEach(Array.from({ length: 1000 }), (_, i) => sign(a, `made-up-${i}`))
      const flood = Effect.forEach(made, (token) => verify(token, jwks), { concurrency: "unbounded" })
      for (const expected of [3, 4, 5]) {
        assert.deepStrictEqual(new Set(yield* flood), new Set(["UnknownKey"]))
        assert.strictEqual(yield* fetches, expected)
        yield* TestClock.adjust("30 seconds")
      }
    }))

  test("finds a new key under the name of the old one, in one fetch for all who have tokens of it", () =>
    Effect.gen(function*() {
      const { a, b, fetches, has, jwks: make } = yield* issuer
      const jwks = yield* make
      const [old, renamed] = [yield* sign(a), yield* sign(b, "a")]
      assert.strictEqual(yield* verify(old, jwks), "ada")
      yield* has({ ...b, publicJwk: { ...b.publicJwk, kid: "a" } })
      const outcomes = yield* Effect.forEach(
        Array.from({ length: 100 }),
        () => verify(renamed, jwks),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set(outcomes), new Set(["ada"]))
      assert.strictEqual(yield* fetches, 2)
      assert.strictEqual(yield* verify(old, jwks), "BadSignature")
      assert.strictEqual(yield* fetches, 2)
    }))

  test("fetches at most once per cooldown for a thousand signatures that none of its keys made", () =>
    Effect.gen(function*() {
      const { a, b, fetches, jwks: make } = yield* issuer
      const jwks = yield* make
      const good = yield* sign(a)
      assert.strictEqual(yield* verify(good, jwks), "ada")
      const version = yield* jwks.version!
      const forged = yield* sign(b, "a")
      const flood = Effect.forEach(Array.from({ length: 1000 }), () => verify(forged, jwks), {
        concurrency: "unbounded"
      })
      for (const expected of [2, 3, 4]) {
        assert.deepStrictEqual(new Set(yield* flood), new Set(["BadSignature"]))
        assert.strictEqual(yield* verify(good, jwks), "ada")
        assert.strictEqual(yield* fetches, expected)
        yield* TestClock.adjust("30 seconds")
      }
      // What was verified with keys that are no others is still known.
      assert.strictEqual(yield* jwks.version!, version)
    }))

  test("a signature that the issuer cannot be asked about is of none of the known keys, which go on", () =>
    Effect.gen(function*() {
      const { a, answers, b, has, jwks: make } = yield* issuer
      const jwks = yield* make
      const [token, forged] = [yield* sign(a), yield* sign(b, "a")]
      assert.strictEqual(yield* verify(token, jwks), "ada")
      yield* answers(Effect.sync(() => new Response("down", { status: 503 })))
      assert.strictEqual(yield* verify(forged, jwks), "BadSignature")
      assert.strictEqual(yield* verify(token, jwks), "ada")
      yield* has(a)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* verify(forged, jwks), "BadSignature")
    }))

  test("goes on with the known keys for a day when the issuer fails, asking once per cooldown", () =>
    Effect.gen(function*() {
      const { a, answers, fetches, has, jwks: make } = yield* issuer
      const jwks = yield* make
      const token = yield* sign(a)
      assert.strictEqual(yield* verify(token, jwks), "ada")
      const failures = [
        Effect.fail("broken" as const),
        Effect.sync(() => new Response("down", { status: 500 })),
        Effect.sync(() => new Response("<html>")),
        Effect.sync(() => Response.json({ keys: "none" })),
        Effect.sync(() => new Response(null, { status: 302, headers: { location: "http://elsewhere.example" } }))
      ]
      yield* TestClock.adjust("10 minutes")
      for (const [i, failure] of failures.entries()) {
        yield* answers(failure)
        for (let n = 0; n < 10; n++) assert.strictEqual(yield* verify(token, jwks), "ada")
        assert.strictEqual(yield* fetches, 2 + i)
        yield* TestClock.adjust("30 seconds")
      }
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* verify(token, jwks), "JwksUnavailable")
      yield* TestClock.adjust("30 seconds")
      yield* has(a)
      assert.strictEqual(yield* verify(token, jwks), "ada")
    }))

  test("a thousand unknown keys before the set is known are one fetch", () =>
    Effect.gen(function*() {
      const { a, fetches, jwks: make } = yield* issuer
      const jwks = yield* make
      const made = yield* Effect.forEach(Array.from({ length: 1000 }), (_, i) => sign(a, `made-up-${i}`))
      const outcomes = yield* Effect.forEach(made, (token) => verify(token, jwks), { concurrency: "unbounded" })
      assert.deepStrictEqual(new Set(outcomes), new Set(["UnknownKey"]))
      assert.strictEqual(yield* fetches, 1)
    }))

  test("a key that the issuer cannot be asked about is not called unknown, and the known ones go on", () =>
    Effect.gen(function*() {
      const { a, answers, b, has, jwks: make } = yield* issuer
      const jwks = yield* make
      const [token, rotated] = [yield* sign(a), yield* sign(b)]
      assert.strictEqual(yield* verify(token, jwks), "ada")
      yield* answers(Effect.sync(() => new Response("down", { status: 503 })))
      assert.strictEqual(yield* verify(rotated, jwks), "JwksUnavailable")
      assert.strictEqual(yield* verify(token, jwks), "ada")
      yield* has(a, b)
      assert.strictEqual(yield* verify(rotated, jwks), "JwksUnavailable")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* verify(rotated, jwks), "ada")
    }))

  test("says what went wrong when there is no key yet, and tries again after a second", () =>
    Effect.gen(function*() {
      const { a, answers, fetches, has, jwks: make } = yield* issuer
      const jwks = yield* make
      const token = yield* sign(a)
      yield* answers(Effect.sync(() => new Response("down", { status: 503 })))
      const codec = yield* JwtCodec.JwtCodec
      const error = yield* Effect.flip(codec.verify(token, options(jwks)))
      assert.strictEqual(error.message, `the key set at ${url} is not available: it answers with status 503`)
      yield* has(a)
      assert.strictEqual(yield* verify(token, jwks), "JwksUnavailable")
      assert.strictEqual(yield* fetches, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* verify(token, jwks), "ada")
    }))

  test("gives up on a fetch after five seconds", () =>
    Effect.gen(function*() {
      const { a, answers, jwks: make } = yield* issuer
      const jwks = yield* make
      yield* answers(Effect.never)
      const fiber = yield* Effect.forkChild(verify(yield* sign(a), jwks), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "JwksUnavailable")
    }))

  it.effect.each([
    "http://iam.example/jwks",
    "ftp://iam.example/jwks",
    "iam.example/jwks",
    "http://127.0.0.1.example/jwks"
  ])("refuses the address %s", (bad) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Jwks.remote(bad))
      assert.strictEqual(error.reason._tag, "JwksUnavailable")
      assert.include(error.message, "https")
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.live("fetches over a socket, and follows no redirect", () =>
    Effect.gen(function*() {
      const { a } = yield* issuer
      const server = yield* Effect.acquireRelease(
        Effect.callback<Server>((resume) => {
          const server = createServer((request, response) => {
            if (request.url === "/moved") return response.writeHead(307, { location: "/jwks" }).end()
            return response.writeHead(200, { "content-type": "application/json" })
              .end(JSON.stringify({ keys: [a.publicJwk] }))
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const address = server.address()
      const port = typeof address === "object" ? address?.port : undefined
      const token = yield* sign(a)
      const at = (path: string) => Jwks.remote(`http://127.0.0.1:${port}${path}`)
      assert.strictEqual(yield* verify(token, yield* at("/jwks")), "ada")
      assert.strictEqual(yield* verify(token, yield* at("/moved")), "JwksUnavailable")
    }).pipe(Effect.provide(Layer.merge(JwtCodec.layer, FetchHttpClient.layer))))
})

describe("a key that cannot be used", () => {
  it.live("hides no good one, wherever it stands", () =>
    Effect.gen(function*() {
      const good = generateKeyPairSync("rsa", { modulusLength: 2048 })
      const short = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "jwk" })
      const key = { ...good.publicKey.export({ format: "jwk" }), kty: "RSA" }
      const codec = yield* JwtCodec.JwtCodec
      const privateKey = Redacted.make({ ...good.privateKey.export({ format: "jwk" }), kty: "RSA", alg: "RS256" })
      const token = yield* codec.sign({ sub: "ada" }, privateKey)
      const odd: ReadonlyArray<unknown> = [short, null, "key", { ...key, n: "!" }, { kty: "RSA" }, { kty: "odd" }, key]
      const asGood = [{ key_ops: ["sign", "verify"] }, { key_ops: ["verify", "verify"] }, { use: null, alg: null }, {
        ext: "true"
      }].map((fields) => Object.assign({}, key, fields))
      for (const one of odd) {
        for (const keys of [[one, key], [key, one], ...asGood.map((good) => [one, good])]) {
          const document: { readonly keys: ReadonlyArray<JwtCodec.Jwk> } = JSON.parse(JSON.stringify({ keys }))
          const jwks = yield* Jwks.local(document)
          const { claims } = yield* codec.verify(token, { jwks, algorithms: ["RS256"] })
          assert.strictEqual(claims.sub, "ada", JSON.stringify(one))
        }
      }
      // A signature that does not match is told as that, wherever the other key stands.
      const other = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ format: "jwk" })
      for (const keys of [[short, { ...other, kty: "RSA" }], [{ ...other, kty: "RSA" }, short]]) {
        const document: { readonly keys: ReadonlyArray<JwtCodec.Jwk> } = JSON.parse(JSON.stringify({ keys }))
        const jwks = yield* Jwks.local(document)
        const error = yield* Effect.flip(codec.verify(token, { jwks, algorithms: ["RS256"] }))
        assert.strictEqual(error.reason._tag, "BadSignature")
      }
    }).pipe(Effect.provide(JwtCodec.layer)))
})
