/** The key with which a client signs: from a JWK, from PEM, or as WebCrypto has it already. */
import type * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Why a key cannot sign, in words that hold nothing of it. */
export class UnusableKey extends Data.TaggedError("UnusableKey")<{ readonly detail: string }> {}

/** What is given as a key: a JWK as an object, or a text with PEM or with a JWK. */
export type Given = Redacted.Redacted<JwtCodec.Jwk> | Redacted.Redacted | CryptoKey

/** A key, the algorithm that is asked of it, and the id that its JWK names. */
export interface SigningKey {
  readonly key: CryptoKey
  readonly alg: string | undefined
  readonly kid: string | undefined
}

const algorithms: { readonly [alg: string]: EcKeyImportParams | RsaHashedImportParams | string } = {
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  ES384: { name: "ECDSA", namedCurve: "P-384" },
  ES512: { name: "ECDSA", namedCurve: "P-521" },
  EdDSA: "Ed25519",
  Ed25519: "Ed25519",
  ...Object.fromEntries(
    ["256", "384", "512"].flatMap((bits) => [
      [`RS${bits}`, { name: "RSASSA-PKCS1-v1_5", hash: `SHA-${bits}` }],
      [`PS${bits}`, { name: "RSA-PSS", hash: `SHA-${bits}` }]
    ])
  )
}

/** The algorithm of a key that names none: the usual one of its kind. */
const usual = (jwk: JwtCodec.Jwk): string => {
  const ofCurve: { readonly [curve: string]: string } = {
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    Ed25519: "EdDSA"
  }
  return jwk.kty === "RSA" ? "RS256" : ofCurve[typeof jwk["crv"] === "string" ? jwk["crv"] : ""] ?? ""
}

const algorithmOf = (alg: string): Result.Result<(typeof algorithms)[string], UnusableKey> => {
  const found = Object.hasOwn(algorithms, alg) ? algorithms[alg] : undefined
  return found === undefined
    ? Result.fail(
      new UnusableKey({
        detail: `its \`alg\` is none that a client signs with: give a private key with one of ${
          Object.keys(algorithms).join(", ")
        }`
      })
    )
    : Result.succeed(found)
}

/** Makes a key ready to sign. `alg` is needed only where it is not the usual one of such a key, such as PS256. */
export const read = Effect.fnUntraced(function*(
  given: Given,
  alg: string | undefined
): Effect.fn.Return<SigningKey, UnusableKey> {
  if (!Redacted.isRedacted(given)) {
    return given.type === "private" && given.usages.includes("sign")
      ? yield* longEnough({ key: given, alg, kid: undefined })
      : yield* new UnusableKey({ detail: "the CryptoKey is not a private one that may `sign`" })
  }
  const value: JwtCodec.Jwk | string = Redacted.value<JwtCodec.Jwk | string>(given)
  if (typeof value !== "string") return yield* longEnough(yield* fromJwk(value, alg))
  const text = value.trim()
  if (!text.startsWith("{")) return yield* longEnough(yield* fromPem(text, alg))
  const json = decodeJwk(text)
  const jwk = Option.filter(json, isJwk)
  if (Option.isSome(jwk)) return yield* longEnough(yield* fromJwk(jwk.value, alg))
  return yield* new UnusableKey({
    detail: Option.isNone(json)
      ? "the text begins as a JWK and is none: is it cut short?"
      : "the text is JSON and no JWK, since it has no `kty`: give the key in it alone, of a set one of its `keys`"
  })
})

// Nobody signs with less (RFC 7518, section 3.3).
const leastBits = 2048

const longEnough = (signing: SigningKey): Effect.Effect<SigningKey, UnusableKey> => {
  const { algorithm }: { readonly algorithm: KeyAlgorithm & { readonly modulusLength?: number } } = signing.key
  const { modulusLength: bits = leastBits } = algorithm
  return bits >= leastBits
    ? Effect.succeed(signing)
    : Effect.fail(new UnusableKey({ detail: `it is an RSA key of ${bits} bits: make one of ${leastBits} or more` }))
}

const decodeJwk = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.JsonObject))

const isJwk = (value: Schema.JsonObject): value is Schema.JsonObject & JwtCodec.Jwk => typeof value["kty"] === "string"

const fromJwk = Effect.fnUntraced(function*(
  given: JwtCodec.Jwk,
  alg: string | undefined
): Effect.fn.Return<SigningKey, UnusableKey> {
  const { alg: own, ext: _ext, key_ops: _operations, kid, use: _use, ...jwk } = given
  const name = alg ?? own ?? usual(given)
  const algorithm = yield* Effect.fromResult(algorithmOf(name))
  if (typeof jwk["d"] !== "string") {
    return yield* new UnusableKey({ detail: "the JWK is a public one: give the private key, which has a `d`" })
  }
  const key = yield* Effect.tryPromise({
    try: () => crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]),
    catch: () =>
      new UnusableKey({
        detail: "give a private JWK with the `alg` of its kind, for example ES256 for the curve P-256"
      })
  })
  return { key, alg: name, kid: nameOf(kid) }
})

// A JWK from elsewhere may have anything there.
const nameOf = (kid: unknown): string | undefined =>
  typeof kid === "number" ? String(kid) : typeof kid === "string" && kid !== "" ? kid : undefined

const toPkcs8 = "openssl pkcs8 -topk8 -nocrypt -in key.pem -out key.pkcs8.pem"

// What people hold who hold the wrong thing.
const others: ReadonlyArray<readonly [RegExp, string]> = [
  [/^ENCRYPTED PRIVATE KEY$/, `the key is encrypted with a passphrase: decrypt it, with ${toPkcs8}`],
  [/^EC PRIVATE KEY$/, `the key is in the form SEC 1: write it as PKCS#8, with ${toPkcs8}`],
  [/^DSA PRIVATE KEY$/, "no IAM takes a key of DSA: make one of EC or RSA"],
  [/^OPENSSH PRIVATE KEY$/, "the key is one of OpenSSH: write it as PKCS#8, with ssh-keygen -p -m PKCS8 -f FILE"],
  [/CERTIFICATE/, "this is a certificate: give the private key that belongs to it"],
  [/PUBLIC KEY$/, "this is a public key: give the private one"]
]

const fromPem = Effect.fnUntraced(function*(
  text: string,
  alg: string | undefined
): Effect.fn.Return<SigningKey, UnusableKey> {
  const refuse = (detail: string) => new UnusableKey({ detail })
  // One file may hold a certificate beside its key.
  // In a variable or in JSON its lines often end in the two characters of an escape, which no PEM has.
  const blocks = [
    ...text.replaceAll(/(\\[rn])+/g, "\n").matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g)
  ]
  const block = blocks.find(([, label]) => label === "PRIVATE KEY" || label === "RSA PRIVATE KEY") ??
    blocks.find(([, label = ""]) => label.endsWith("PRIVATE KEY")) ?? blocks[0]
  if (block === undefined) {
    return yield* refuse(
      "the text is neither PEM (-----BEGIN PRIVATE KEY-----) nor a JWK ({\"kty\": …}): is it cut short?"
    )
  }
  const [, label = "", content = ""] = block
  if (/^Proc-Type:.*ENCRYPTED/m.test(content)) {
    return yield* refuse(`the key is encrypted with a passphrase: decrypt it, with ${toPkcs8}`)
  }
  const other = others.find(([labels]) => labels.test(label))
  if (other !== undefined) return yield* refuse(other[1])
  const bytes = Result.getOrUndefined(Base64.decode(content.replaceAll(/\s+/g, "")))
  if (bytes === undefined || bytes.length === 0) {
    return yield* refuse("between the lines of the PEM is no base64: is it cut short?")
  }
  const der = label === "RSA PRIVATE KEY" ? asPkcs8(bytes) : new Uint8Array(bytes)
  const asked = alg === undefined ? ["ES256", "ES384", "ES512", "EdDSA", "RS256"] : [alg]
  for (const name of asked) {
    const algorithm = yield* Effect.fromResult(algorithmOf(name))
    const key = yield* Effect.result(
      Effect.tryPromise(() => crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]))
    )
    if (Result.isSuccess(key)) return { key: key.success, alg: name, kid: undefined }
  }
  return yield* refuse(
    alg === undefined
      ? "the PEM holds no key of EC (P-256, P-384, P-521), Ed25519 or RSA"
      : `the PEM holds no key for ${alg}`
  )
})

/** A length in DER (X.690, section 8.1.3). */
const lengthOf = (length: number): ReadonlyArray<number> =>
  length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]

/** PKCS#8 around an RSA key in PKCS#1 (RFC 5208, section 5; RFC 8017, A.1): a version, the algorithm, and the key. */
const asPkcs8 = (key: Uint8Array): Uint8Array<ArrayBuffer> => {
  const rsaEncryption = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]
  const content = [0x02, 0x01, 0x00, ...rsaEncryption, 0x04, ...lengthOf(key.length), ...key]
  return new Uint8Array([0x30, ...lengthOf(content.length), ...content])
}
