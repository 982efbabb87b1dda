import { JwtCodec } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as jose from "jose"
import { inspect } from "node:util"

const encode = (text: string) => Buffer.from(text).toString("base64url")
const json = (value: unknown) => encode(JSON.stringify(value))
const header = json({ alg: "RS256", typ: "JWT" })
const token = (payload: unknown) => `${header}.${json(payload)}.c2ln`
const decode = (text: string) => Result.getOrThrow(JwtCodec.decodeUnverified(text))
const fromJose = (text: string) =>
  Result.try({
    try: () => {
      jose.decodeProtectedHeader(text)
      return jose.decodeJwt(text)
    },
    catch: String
  })

const now = 1_750_000_000
const claims = { iss: "https://iam.example", sub: "ada", aud: ["api", "web"], iat: now, nbf: now, exp: now + 3600 }

// One clock for each test: they run at the same time.
const test = <A, E>(name: string, body: () => Effect.Effect<A, E, JwtCodec.JwtCodec>) =>
  it.effect(name, () => Effect.provide(body(), JwtCodec.layer))

describe("JwtCodec", () => {
  describe("decode", () => {
    test("reads header, registered claims and everything else, whether or not the token has expired", () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const sub = { id: 7, email: "ada@example.com" }
        const jwt = yield* codec.decode(Redacted.make(token({ ...claims, sub, exp: 1, extra: [{ deep: true }] })))
        assert.deepStrictEqual(jwt.header, { alg: "RS256", typ: "JWT" })
        assert.deepStrictEqual(jwt.claims, { ...claims, sub, exp: 1 })
        assert.deepStrictEqual(jwt.payload, { ...claims, sub, exp: 1, extra: [{ deep: true }] })
      }))

    test("decodes the claims by a schema of the caller", () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const Mine = Schema.Struct({ ...JwtCodec.Claims.fields, projectId: Schema.FiniteFromString })
        const jwt = yield* codec.decode(Redacted.make(token({ sub: "ada", projectId: "42" })), Mine)
        assert.strictEqual(jwt.claims.projectId, 42)
        assert.strictEqual(jwt.payload["projectId"], "42")

        const error = yield* Effect.flip(codec.decode(Redacted.make(token({ projectId: ["top", "secret"] })), Mine))
        assert.strictEqual(error.reason._tag, "InvalidClaims")
        assert.include(error.message, "projectId")
        assert.notInclude(inspect(error, { depth: 9 }), "secret")
      }))

    test("refuses a registered claim of the wrong type", () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const error = yield* Effect.flip(codec.decode(Redacted.make(token({ exp: "tomorrow" }))))
        assert.strictEqual(error.reason._tag, "InvalidClaims")
        assert.include(error.message, "exp")
      }))
  })

  describe("verify", () => {
    test("passes what sign made, for every algorithm and kind of key", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const codec = yield* JwtCodec.JwtCodec
        for (const algorithm of JwtCodec.Algorithm.literals) {
          if (algorithm === "Ed25519") continue
          const keys = yield* generate(algorithm)
          for (const [signingKey, keysToVerify] of keys) {
            const signed = yield* codec.sign(claims, signingKey)
            for (const key of keysToVerify) {
              const jwt = yield* codec.verify(signed, { key, algorithms: [algorithm] })
              assert.deepStrictEqual(jwt.claims, claims, algorithm)
              assert.deepStrictEqual(jwt.header, { alg: algorithm, typ: "JWT", kid: "k1" })
            }
          }
        }
      }))

    test("wants issuer, audience and required claims where they are asked for", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const codec = yield* JwtCodec.JwtCodec
        const { key, sign } = yield* rsa
        const options = { key, algorithms: ["RS256"] } as const
        const signed = yield* sign(claims)
        yield* codec.verify(signed, { ...options, issuer: claims.iss, audience: "web", requiredClaims: ["exp"] })
        yield* codec.verify(signed, { ...options, issuer: ["https://old.example", claims.iss], audience: ["x", "api"] })

        const reason = (options: JwtCodec.VerifyOptions) =>
          Effect.map(Effect.flip(codec.verify(signed, options)), (error) => error.reason)
        assert.deepStrictEqual(yield* reason({ ...options, issuer: "https://other.example" }), {
          _tag: "WrongIssuer",
          expected: ["https://other.example"]
        })
        assert.deepStrictEqual(yield* reason({ ...options, audience: ["x", "y"] }), {
          _tag: "WrongAudience",
          expected: ["x", "y"]
        })
        assert.deepStrictEqual(yield* reason({ ...options, requiredClaims: ["project"] }), {
          _tag: "MissingClaim",
          claim: "project"
        })
        const bare = yield* sign({ sub: "ada" })
        const error = yield* Effect.flip(codec.verify(bare, { ...options, issuer: claims.iss }))
        assert.deepStrictEqual(error.reason, { _tag: "MissingClaim", claim: "iss" })
      }))

    test("checks exp and nbf against Effect's clock, with no tolerance unless told", () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const { key, sign } = yield* rsa
        const signed = yield* sign(claims)
        const options = { key, algorithms: ["RS256"] } as const
        const at = (seconds: number, clockTolerance?: "30 seconds") =>
          Effect.andThen(
            TestClock.setTime(seconds * 1000),
            codec.verify(signed, { ...options, clockTolerance }).pipe(
              Effect.match({ onFailure: (error) => error.reason, onSuccess: () => "passes" })
            )
          )
        const early = { _tag: "NotYetValid", at: claims.nbf } as const
        const late = { _tag: "Expired", at: claims.exp } as const
        assert.deepStrictEqual(yield* at(claims.nbf - 1), early)
        assert.deepStrictEqual(yield* at(claims.nbf), "passes")
        assert.deepStrictEqual(yield* at(claims.exp - 1), "passes")
        assert.deepStrictEqual(yield* at(claims.exp), late)
        assert.deepStrictEqual(yield* at(claims.nbf - 30, "30 seconds"), "passes")
        assert.deepStrictEqual(yield* at(claims.nbf - 31, "30 seconds"), early)
        assert.deepStrictEqual(yield* at(claims.exp + 29, "30 seconds"), "passes")
        assert.deepStrictEqual(yield* at(claims.exp + 30, "30 seconds"), late)
        const error = yield* Effect.flip(codec.verify(signed, options))
        assert.include(error.message, "2025-06-15T16:06:40.000Z")
      }))

    test("refuses a token that was changed, and one that another key signed", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const codec = yield* JwtCodec.JwtCodec
        const { key, sign } = yield* rsa
        const options = { key, algorithms: ["RS256"] } as const
        const [head, , signature] = Redacted.value(yield* sign(claims)).split(".")
        const changed = Redacted.make(`${head}.${json({ ...claims, sub: "eve" })}.${signature}`)
        const foreign = yield* codec.sign(claims, (yield* Effect.promise(() => otherPair)).privateKey)
        const unsigned = Redacted.make(`${head}.${json(claims)}.`)
        // a decoder that overlooks blanks would take a token in any number of texts
        const spellings = [`${signature!.slice(0, 4)} ${signature!.slice(4)}`, `${signature}\t`, `${signature}==`].map((
          text
        ) => Redacted.make(`${head}.${json(claims)}.${text}`))
        for (const bad of [changed, foreign, unsigned]) {
          const error = yield* Effect.flip(codec.verify(bad, options))
          assert.strictEqual(error.reason._tag, "BadSignature")
        }
        for (const bad of spellings) {
          const error = yield* Effect.flip(codec.verify(bad, options))
          assert.strictEqual(error.reason._tag, "Malformed")
        }
      }))

    test("lets the caller, never the token, choose the algorithm", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const codec = yield* JwtCodec.JwtCodec
        const { jwk, key, pem, sign } = yield* rsa
        const refusal = (token: Redacted.Redacted, options: JwtCodec.VerifyOptions) =>
          Effect.map(Effect.flip(codec.verify(token, options)), (error) => error.reason)

        const none = Redacted.make(`${json({ alg: "none" })}.${json(claims)}.`)
        assert.deepStrictEqual(yield* refusal(none, { key, algorithms: JwtCodec.Algorithm.literals }), {
          _tag: "AlgorithmRefused",
          algorithm: "none",
          detail: `allowed: ${JwtCodec.Algorithm.literals.join(", ")}`
        })
        const odd = Redacted.make(`${json({ alg: "sneaky\nlog line" })}.${json(claims)}.c2ln`)
        const error = yield* Effect.flip(codec.verify(odd, { key, algorithms: ["RS256"] }))
        assert.notInclude(error.message, "sneaky")
        assert.strictEqual(
          (yield* refusal(yield* sign(claims), { key, algorithms: ["ES256"] }))._tag,
          "AlgorithmRefused"
        )

        // The classic: the text of the public key as the secret of a MAC.
        const macWithPem = yield* Effect.promise(() =>
          new jose.SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(pem))
        )
        const confused = Redacted.make(macWithPem)
        const both = ["RS256", "HS256"] as const
        assert.strictEqual((yield* refusal(confused, { key: pem, algorithms: ["RS256"] }))._tag, "AlgorithmRefused")
        assert.strictEqual((yield* refusal(confused, { key: pem, algorithms: both }))._tag, "AlgorithmRefused")
        assert.strictEqual((yield* refusal(confused, { key: pem, algorithms: ["HS256"] }))._tag, "AlgorithmRefused")
        assert.strictEqual((yield* refusal(confused, { key: jwk, algorithms: both }))._tag, "AlgorithmRefused")
        assert.strictEqual((yield* refusal(confused, { key, algorithms: both }))._tag, "AlgorithmRefused")
      }))

    test("says when the key is of no use", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const codec = yield* JwtCodec.JwtCodec
        const { jwk, pem, privateJwk, sign } = yield* rsa
        const signed = yield* sign(claims)
        const small = yield* Effect.promise(() =>
          crypto.subtle.generateKey(
            {
              name: "RSASSA-PKCS1-v1_5",
              hash: "SHA-256",
              modulusLength: 1024,
              publicExponent: new Uint8Array([1, 0, 1])
            },
            true,
            ["sign", "verify"]
          )
        )
        const useless = [
          "not a key",
          "",
          pem.replace(/A/g, "B"),
          pem.slice(0, 100),
          `-----BEGIN PUBLIC KEY-----\n${btoa("nonsense")}\n-----END PUBLIC KEY-----`,
          { ...jwk, n: "AQAB" },
          { kty: "RSA" },
          privateJwk,
          Redacted.make({ kty: "oct", k: "c2VjcmV0" }),
          small.publicKey
        ]
        for (const key of useless) {
          const error = yield* Effect.flip(codec.verify(signed, { key, algorithms: ["RS256"] }))
          assert.strictEqual(error.reason._tag, "KeyNotUsable", error.message)
          assert.notInclude(inspect(error, { depth: 9 }), privateJwk.d!)
        }
        yield* codec.verify(signed, { key: `\n${pem}\n`, algorithms: ["RS256"] })
      }))

    test("refuses what is no compact JWS with claims", () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const { key, privateKey } = yield* rsa
        const signedText = (text: string) =>
          Effect.promise(() =>
            new jose.CompactSign(new TextEncoder().encode(text)).setProtectedHeader({ alg: "RS256" }).sign(privateKey)
          )
        const tokens = [
          "",
          "a.b",
          "a.b.c.d.e",
          `${header}.${json(claims)}.?`,
          yield* signedText("[1]"),
          yield* signedText("42"),
          yield* signedText("null"),
          yield* signedText("not JSON"),
          yield* signedText("")
        ]
        for (const text of tokens) {
          const error = yield* Effect.flip(codec.verify(Redacted.make(text), { key, algorithms: ["RS256"] }))
          assert.strictEqual(error.reason._tag, "Malformed", text)
        }
        const critical = yield* Effect.promise(() =>
          new jose.CompactSign(new TextEncoder().encode("{}"))
            .setProtectedHeader({ alg: "RS256", crit: ["exp"], exp: 1 }).sign(privateKey, { crit: { exp: true } })
        )
        const error = yield* Effect.flip(codec.verify(Redacted.make(critical), { key, algorithms: ["RS256"] }))
        assert.strictEqual(error.reason._tag, "Malformed")
        assert.include(error.message, "crit")
      }))

    test("refuses times that are no numbers, and claims that their schema refuses", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const codec = yield* JwtCodec.JwtCodec
        const { key, sign } = yield* rsa
        const options = { key, algorithms: ["RS256"] } as const
        for (const bad of [{ exp: "never" }, { nbf: null }, { iss: 7 }, { aud: { any: true } }]) {
          const error = yield* Effect.flip(codec.verify(yield* sign(bad), options))
          assert.strictEqual(error.reason._tag, "InvalidClaims", JSON.stringify(bad))
        }
        for (const exp of [(now + 60) * 1000, 1e12, 1e300]) {
          const error = yield* Effect.flip(codec.verify(yield* sign({ exp }), options))
          assert.strictEqual(error.reason._tag, "InvalidClaims")
          assert.include(error.message, "\"exp\" is in milliseconds")
        }
        // 9999-12-31, as those write it whose tokens shall not end.
        yield* codec.verify(yield* sign({ exp: 253_402_300_799 }), options)
        const Mine = Schema.Struct({ role: Schema.Literal("admin") })
        const error = yield* Effect.flip(codec.verify(yield* sign({ role: "guest" }), { ...options, claims: Mine }))
        assert.strictEqual(error.reason._tag, "InvalidClaims")
        const jwt = yield* codec.verify(yield* sign({ role: "admin" }), { ...options, claims: Mine })
        assert.strictEqual(jwt.claims.role, "admin")
      }))

    test("shows no token and no claim in its errors", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const codec = yield* JwtCodec.JwtCodec
        const { key, sign } = yield* rsa
        const secrets = { ...claims, iss: "canary-iss", aud: "canary-aud", email: "canary-email" }
        const signed = yield* sign(secrets)
        const expired = yield* sign({ ...secrets, exp: 1 })
        const options = { key, algorithms: ["RS256"] } as const
        const errors = yield* Effect.forEach([
          codec.verify(signed, { ...options, issuer: "https://iam.example" }),
          codec.verify(signed, { ...options, audience: "api" }),
          codec.verify(signed, { ...options, requiredClaims: ["scope"] }),
          codec.verify(signed, { key: (yield* Effect.promise(() => otherPair)).publicKey, algorithms: ["RS256"] }),
          codec.verify(signed, { ...options, algorithms: ["ES256"] }),
          codec.verify(expired, options),
          codec.verify(yield* sign({ ...secrets, nbf: "canary-nbf" }), options),
          codec.decode(Redacted.make(`${Redacted.value(signed)}.canary`))
        ], Effect.flip)
        for (const error of errors) {
          const shown = `${error.message} ${JSON.stringify(error)} ${inspect(error, { depth: 9, showHidden: true })}`
          assert.notInclude(shown, "canary")
          for (const part of Redacted.value(signed).split(".")) assert.notInclude(shown, part)
        }
      }))
  })

  describe("verifySignature", () => {
    test("judges the signature, and neither times nor claims", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(now * 1000)
        const { key, sign } = yield* rsa
        const options = { key, algorithms: ["RS256"] } as const
        const signed = yield* sign({ ...claims, exp: now - 3600, nbf: now + 3600 })
        yield* JwtCodec.verifySignature(signed, options)

        const reason = (token: string, algorithms: ReadonlyArray<JwtCodec.Algorithm> = ["RS256"]) =>
          Effect.map(
            Effect.flip(JwtCodec.verifySignature(Redacted.make(token), { key, algorithms })),
            ({ reason }) => reason._tag
          )
        const [head, , signature] = Redacted.value(signed).split(".")
        assert.strictEqual(yield* reason(`${head}.${json({ sub: "eve" })}.${signature}`), "BadSignature")
        assert.strictEqual(yield* reason(`${json({ alg: "none" })}.${json(claims)}.`), "AlgorithmRefused")
        assert.strictEqual(yield* reason(Redacted.value(signed), ["ES256"]), "AlgorithmRefused")
        assert.strictEqual(yield* reason("no token"), "Malformed")
      }))
  })

  describe("sign", () => {
    test("answers with a redacted token, under the kid that is given", () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const { privateKey } = yield* rsa
        const signed = yield* codec.sign({ sub: "ada" }, privateKey, { kid: "2025-06" })
        assert.strictEqual(inspect(signed), "<redacted:jwt>")
        assert.deepStrictEqual(decode(Redacted.value(signed)).header, { alg: "RS256", typ: "JWT", kid: "2025-06" })
      }))

    test("refuses a key that cannot sign", () =>
      Effect.gen(function*() {
        const codec = yield* JwtCodec.JwtCodec
        const { jwk, key } = yield* rsa
        for (const bad of [key, Redacted.make(jwk), Redacted.make<JwtCodec.Jwk>({ kty: "PQ", d: "canary" })]) {
          const error = yield* Effect.flip(codec.sign(claims, bad))
          assert.strictEqual(error.reason._tag, "KeyNotUsable")
          assert.notInclude(inspect(error, { depth: 9 }), "canary")
        }
      }))
  })
})

describe("decodeUnverified", () => {
  it("reads UTF-8, short and long", () => {
    for (const name of ["Ada", "Åda Løvelace", "愛達", "🧮", "\u0000\u007f\u0080\uffff", "é".repeat(20_000)]) {
      assert.deepStrictEqual(decode(token({ name })).claims, { name })
    }
  })

  it("keeps the headers of different keys apart", () => {
    const tokens = ["a", "b", "a"].map((kid) => `${json({ alg: "RS256", kid })}.${json({ sub: kid })}.c2ln`)
    assert.deepStrictEqual(tokens.map((text) => decode(text).header["kid"]), ["a", "b", "a"])
  })

  it("refuses everything that is no compact JWS with claims, without showing it", () => {
    const good = json({ name: "canary ~?>ÿ" })
    const bad = [
      "",
      ".",
      "..",
      ".e30.",
      `${header}..c2ln`,
      `${header}.${good}`,
      `${header}.${good}.c2ln.c2ln`,
      `${header}.a.b.c.d`,
      `${header}.${json([1])}.c2ln`,
      `${header}.${json(42)}.c2ln`,
      `${header}.${json("canary")}.c2ln`,
      `${header}.${json(null)}.c2ln`,
      `${header}.${encode("{\"name\":\"canary\"")}.c2ln`,
      `${header}.${Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString("base64url")}.c2ln`,
      `${header}.${good}=.c2ln`,
      `${header}.${good.slice(0, 4)} ${good.slice(4)}.c2ln`,
      `${header}.\n${good}.c2ln`,
      `${header}.\n${json({ abc: 1 })}.c2ln`,
      `${header}.${good}A.c2ln`,
      `${header}.${good.replaceAll("-", "+").replaceAll("_", "/")}.c2ln`,
      `${json([])}.${good}.c2ln`,
      `e30=.${good}.c2ln`,
      `canary.${good}.c2ln`,
      `Bearer ${header}.${good}.c2ln`
    ]
    assert.match(good, /[-_]/)
    for (const text of bad) {
      const result = JwtCodec.decodeUnverified(text)
      assert.isTrue(Result.isFailure(result), text)
      if (Result.isFailure(result)) {
        assert.strictEqual(result.failure.reason._tag, "Malformed")
        assert.notInclude(inspect(result.failure, { depth: 9 }), "canary")
      }
    }
    const encrypted = JwtCodec.decodeUnverified("a.b.c.d.e")
    assert.include(Result.isFailure(encrypted) ? encrypted.failure.message : "", "encrypted")
  })

  it.prop("reads every claims set as jose does", [Schema.Record(Schema.String, Schema.Json)], ([claims]) => {
    const text = token(claims)
    assert.deepStrictEqual<unknown>(decode(text).claims, jose.decodeJwt(text))
  })

  const Fragment = Schema.Literals(
    [
      ".",
      header,
      json({ a: 1 }),
      encode("{\"é\":\"ü\"}"),
      "e30",
      "eyI",
      "fQ",
      "-",
      "_",
      "+",
      "/",
      "=",
      " ",
      "\n",
      "A",
      "é"
    ]
  )
  it.prop("accepts what jose accepts, if it is base64url", [Schema.Array(Fragment)], ([fragments]) => {
    const text = fragments.join("")
    const ours = JwtCodec.decodeUnverified(text)
    const theirs = fromJose(text)
    if (Result.isSuccess(ours)) {
      assert.deepStrictEqual<unknown>(Result.map(ours, ({ claims }) => claims), theirs)
    } else if (/^[\w-]+\.[\w-]+\.[^.]*$/.test(text)) {
      assert.isTrue(Result.isFailure(theirs), text)
    }
  }, { arbitrary: { runs: 2000 } })
})

const exportJwk = (key: CryptoKey) => Effect.promise(() => jose.exportJWK(key))

const pair = jose.generateKeyPair("RS256", { extractable: true })
const otherPair = jose.generateKeyPair("RS256")

const rsa = Effect.gen(function*() {
  const codec = yield* JwtCodec.JwtCodec
  const { privateKey, publicKey } = yield* Effect.promise(() => pair)
  return {
    key: publicKey,
    privateKey,
    jwk: yield* exportJwk(publicKey),
    privateJwk: yield* exportJwk(privateKey),
    pem: yield* Effect.promise(() => jose.exportSPKI(publicKey)),
    sign: (claims: Schema.JsonObject) => codec.sign(claims, privateKey)
  }
})

// Pairs of a key that signs and the keys that verify what it signed.
const generate = (algorithm: JwtCodec.Algorithm) =>
  Effect.gen(function*() {
    if (algorithm.startsWith("HS")) {
      const secret = yield* Effect.promise(() =>
        crypto.subtle.generateKey({ name: "HMAC", hash: `SHA-${algorithm.slice(2)}` }, true, ["sign", "verify"])
      )
      const jwk = Redacted.make<JwtCodec.Jwk>({ ...(yield* exportJwk(secret)), alg: algorithm, kid: "k1" })
      return [[jwk, [jwk, secret]]] as const
    }
    const pair = yield* Effect.promise(() => jose.generateKeyPair(algorithm, { extractable: true }))
    const privateJwk = Redacted.make<JwtCodec.Jwk>({
      ...(yield* exportJwk(pair.privateKey)),
      alg: algorithm,
      kid: "k1"
    })
    const pem = yield* Effect.promise(() => jose.exportSPKI(pair.publicKey))
    return [[privateJwk, [pair.publicKey, pem, yield* exportJwk(pair.publicKey)]]] as const
  })
