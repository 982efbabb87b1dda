/**
 * What stands for a token where one is remembered: nobody can make a token of it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Base64Url from "effect/encoding/Base64Url"

/**
 * The SHA-256 of a token, in base64url, which is also how a proof names it (`ath`, RFC 9449). WebCrypto makes it, a
 * moment later, unless the platform has a faster way:
 * `NodeJwtCodec.layer` of `@effect-authn/platform-node` has one.
 *
 * @category references
 * @since 0.1.0
 */
export const TokenDigest = Context.Reference<(token: string) => string | Promise<string>>(
  "@effect-authn/core/jwt/TokenDigest",
  {
    defaultValue: () => (token) =>
      crypto.subtle.digest("SHA-256", new TextEncoder().encode(token))
        .then((digest) => Base64Url.encode(new Uint8Array(digest)))
  }
)
