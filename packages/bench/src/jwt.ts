// Decode and verify, beside the libraries that people use for it.
import { BearerAuth, JwtCodec } from "@effect-authn/core"
import { NodeJwtCodec } from "@effect-authn/platform-node"
import { Console, Effect, Redacted, Result } from "effect"
import * as fastJwt from "fast-jwt"
import * as jose from "jose"
import jsonwebtoken from "jsonwebtoken"
import { createPublicKey, createSecretKey, type KeyObject } from "node:crypto"
import { effect, measure, median, promise, ratio, sync } from "./measure.ts"

const algorithms = ["RS256", "ES256", "EdDSA", "HS256"] as const
type Algorithm = typeof algorithms[number]

const issuer = "https://iam.example.com"
const audience = "https://api.example.com"
// Several tokens, as a client meets them: nobody is measured on a text that it has just seen.
const tokensPerAlgorithm = 64

const claims = (i: number) => ({
  iss: issuer,
  aud: audience,
  sub: `4f9a1c2e-7c1b-4c55-9d3f-0b2a6e1d${1000 + i}`,
  iat: 1_760_000_000 + i,
  exp: 4_000_000_000 + i,
  jti: `a7c1-${i}`,
  scope: "openid profile email",
  roles: ["admin", "user"],
  name: "Ada Lovelace"
})

const generate = (algorithm: Algorithm): Promise<jose.GenerateKeyPairResult> =>
  algorithm === "HS256"
    ? crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, true, ["sign", "verify"])
      .then((key) => ({ privateKey: key, publicKey: key }))
    : jose.generateKeyPair(algorithm, { extractable: true })

interface Key {
  readonly forWebCrypto: CryptoKey
  readonly forNode: KeyObject
  readonly forFastJwt: string | Buffer
}

const exportKey = (key: CryptoKey): Promise<Key> =>
  key.type === "secret"
    ? crypto.subtle.exportKey("raw", key).then((bytes) => {
      const secret = Buffer.from(bytes)
      return { forWebCrypto: key, forNode: createSecretKey(secret), forFastJwt: secret }
    })
    : jose.exportSPKI(key).then((pem) => ({ forWebCrypto: key, forNode: createPublicKey(pem), forFastJwt: pem }))

// jsonwebtoken knows no EdDSA.
const knownToJsonwebtoken = (algorithm: Algorithm) => algorithm === "EdDSA" ? undefined : algorithm

const contests = Effect.fnUntraced(function*(
  codec: JwtCodec.JwtCodec["Service"],
  onNode: JwtCodec.JwtCodec["Service"],
  algorithm: Algorithm
) {
  const { privateKey, publicKey } = yield* Effect.promise(() => generate(algorithm))
  const { forFastJwt, forNode, forWebCrypto } = yield* Effect.promise(() => exportKey(publicKey))
  const redacted = yield* Effect.forEach(
    Array.from({ length: tokensPerAlgorithm }, (_, i) => claims(i)),
    (claims) => codec.sign(claims, privateKey, { kid: "2025-06" })
  )
  const texts = redacted.map(Redacted.value)
  const text = (i: number) => texts[i % tokensPerAlgorithm]!
  const token = (i: number) => redacted[i % tokensPerAlgorithm]!

  const fastDecode = fastJwt.createDecoder()
  const decoders = [
    sync("jose", (i) => jose.decodeJwt(text(i))),
    sync("fast-jwt", (i) => fastDecode(text(i))),
    sync("jsonwebtoken", (i) => jsonwebtoken.decode(text(i)))
  ]
  const fastVerify = fastJwt.createVerifier({
    key: forFastJwt,
    algorithms: [algorithm],
    allowedIss: issuer,
    allowedAud: audience
  })
  const fastRemembers = fastJwt.createVerifier({
    key: forFastJwt,
    algorithms: [algorithm],
    allowedIss: issuer,
    allowedAud: audience,
    cache: true
  })
  const options = { key: forWebCrypto, algorithms: [algorithm], issuer, audience }
  const remembers = yield* Effect.provide(BearerAuth.jwt(options), NodeJwtCodec.layer)
  // A request brings its token as a text that nobody has seen: no engine knows its hash.
  const arrived = (i: number) => Buffer.from(text(i), "latin1").toString("latin1")
  const known = knownToJsonwebtoken(algorithm)
  return [
    {
      title: `${algorithm} decode`,
      subjects: [sync("ours", (i) => Result.getOrThrow(JwtCodec.decodeUnverified(text(i)))), ...decoders]
    },
    {
      title: `${algorithm} decode with claims schema`,
      subjects: [effect("ours", (i) => codec.decode(token(i))), ...decoders]
    },
    {
      title: `${algorithm} verify`,
      subjects: [
        effect("ours", (i) => codec.verify(token(i), options)),
        promise("jose", (i) => jose.jwtVerify(text(i), forWebCrypto, { algorithms: [algorithm], issuer, audience })),
        sync("fast-jwt", (i) => fastVerify(text(i))),
        ...(known === undefined
          ? []
          : [
            sync(
              "jsonwebtoken",
              (i) => jsonwebtoken.verify(text(i), forNode, { algorithms: [known], issuer, audience })
            )
          ])
      ]
    },
    {
      title: `${algorithm} verify on node:crypto`,
      subjects: [
        effect("ours", (i) => onNode.verify(token(i), options)),
        promise("jose", (i) => jose.jwtVerify(text(i), forWebCrypto, { algorithms: [algorithm], issuer, audience })),
        sync("fast-jwt", (i) => fastVerify(text(i))),
        ...(known === undefined
          ? []
          : [
            sync(
              "jsonwebtoken",
              (i) => jsonwebtoken.verify(text(i), forNode, { algorithms: [known], issuer, audience })
            )
          ])
      ]
    },
    {
      title: `${algorithm} verify, remembered`,
      subjects: [
        effect("ours", (i) => remembers.verify(Redacted.make(arrived(i)))),
        promise(
          "jose",
          (i) => jose.jwtVerify(arrived(i), forWebCrypto, { algorithms: [algorithm], issuer, audience })
        ),
        sync("fast-jwt", (i) => fastRemembers(arrived(i)))
      ]
    }
  ]
})

const peers = ["jose", "fast-jwt", "jsonwebtoken"]

const row = (cells: ReadonlyArray<string>): string =>
  cells.map((cell, i) => i === 0 ? cell.padEnd(34) : cell.padStart(i === 1 ? 8 : 20)).join("")

const micros = (nanos: number): string => (nanos / 1000).toFixed(2)

const result = (title: string, measured: ReadonlyMap<string, ReadonlyArray<number>>): string => {
  const ours = measured.get("ours") ?? []
  return row([
    title,
    micros(median(ours)),
    ...peers.map((peer) => {
      const theirs = measured.get(peer)
      return theirs === undefined ? "-" : `${micros(median(theirs))}  ${ratio(ours, theirs).toFixed(2).padStart(5)}x`
    })
  ])
}

// Each line is measured for about two seconds.
const progress = (text: string) =>
  Effect.sync(() => process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${text}` : text === "" ? "" : `${text}\n`))

export const run: Effect.Effect<void> = Effect.gen(function*() {
  const codec = yield* JwtCodec.JwtCodec
  const onNode = yield* Effect.provide(JwtCodec.JwtCodec, NodeJwtCodec.layer)
  const rows: Array<string> = []
  for (const [i, algorithm] of algorithms.entries()) {
    const all = yield* contests(codec, onNode, algorithm)
    for (const [j, { subjects, title }] of all.entries()) {
      yield* progress(`measuring ${title} (${i * all.length + j + 1} of ${algorithms.length * all.length})`)
      rows.push(result(title, yield* measure(subjects)))
    }
  }
  yield* progress("")
  yield* Console.log(
    `Node ${process.version}, microseconds per token (median), and how many times as fast as theirs ours is\n`
  )
  yield* Console.log([row(["", "ours", ...peers.map((peer) => `${peer}  ratio`)]), ...rows].join("\n"))
}).pipe(Effect.provide(JwtCodec.layer), Effect.orDie)
