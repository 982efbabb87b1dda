/**
 * What stands for a token where one is remembered: nobody can make a token of it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"

/**
 * The SHA-256 of a token, as text. WebCrypto makes it unless the platform has a faster way: `NodeJwtCodec.layer` of
 * `@effect-authn/platform-node` has one.
 *
 * @category references
 * @since 0.1.0
 */
export const TokenDigest = Context.Reference<(token: string) => Effect.Effect<string>>(
  "@effect-authn/core/jwt/TokenDigest",
  {
    defaultValue: () => (token) =>
      Effect.map(
        Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(token))),
        (digest) => Base64Url.encode(new Uint8Array(digest))
      )
  }
)
