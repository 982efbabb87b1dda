/**
 * JSON Web Tokens on `node:crypto`, which verifies several times as fast as WebCrypto does.
 *
 * @since 0.1.0
 */
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import { TokenDigest } from "@effect-authn/core/jwt/TokenDigest"
import * as Layer from "effect/Layer"
import * as crypto from "node:crypto"

/**
 * `JwtCodec` for servers on Node: what it accepts is what `JwtCodec.layer` accepts. It verifies on the thread of the
 * program, which is faster than to hand a signature to another one and to wait; and it has a fast `TokenDigest` for what
 * remembers tokens. A `CryptoKey` that is not extractable is left to WebCrypto.
 *
 * **Example** (An API that verifies fast)
 *
 * ```ts
 * import { BearerAuth } from "@effect-authn/core"
 * import { NodeJwtCodec } from "@effect-authn/platform-node"
 * import { Config, Layer } from "effect"
 * import { FetchHttpClient } from "effect/http"
 *
 * export const auth = BearerAuth.layerConfig({
 *   realm: Config.succeed("notes"),
 *   issuer: Config.NonEmptyString("AUTH_ISSUER"),
 *   audience: Config.NonEmptyString("AUTH_AUDIENCE")
 * }).pipe(Layer.provide([NodeJwtCodec.layer, FetchHttpClient.layer]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<JwtCodec.JwtCodec> = Layer.merge(
  Layer.effect(
    JwtCodec.JwtCodec,
    JwtCodec.makeWith((algorithm, key) => {
      const known = keyObject(key)
      return known === undefined ? undefined : checkWith(algorithm, known)
    })
  ),
  Layer.succeed(TokenDigest, (token) => crypto.hash("sha256", token, "base64url"))
)

const keyObject = (key: CryptoKey | JwtCodec.Jwk): crypto.KeyObject | undefined => {
  // Node gives up to take a key out of WebCrypto that its maker wants to stay there.
  if ("algorithm" in key) return key.extractable ? crypto.KeyObject.from(key) : undefined
  return key.kty === "oct"
    ? crypto.createSecretKey(Buffer.from(key.k ?? "", "base64url"))
    : crypto.createPublicKey({ key, format: "jwk" })
}

// How `node:crypto` is asked for the algorithms of RFC 7518, section 3.1, and RFC 8037. A key has been found fit for its
// algorithm before it comes here.
const checkWith = (algorithm: JwtCodec.Algorithm, key: crypto.KeyObject): JwtCodec.SignatureCheck => {
  const hash = `sha${algorithm.slice(2)}`
  if (algorithm.startsWith("HS")) {
    return (signed, signature) => {
      const expected = crypto.createHmac(hash, key).update(signed).digest()
      const given = Buffer.from(signature, "base64url")
      return given.length === expected.length && crypto.timingSafeEqual(given, expected)
    }
  }
  const isEd25519 = algorithm === "EdDSA" || algorithm === "Ed25519"
  // A key alone is asked with a third faster than one in an object.
  const how = algorithm.startsWith("PS")
    ? { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST }
    : algorithm.startsWith("ES")
    ? { key, dsaEncoding: "ieee-p1363" as const }
    : key
  return (signed, signature) =>
    crypto.verify(isEd25519 ? null : hash, Buffer.from(signed), how, Buffer.from(signature, "base64url"))
}
