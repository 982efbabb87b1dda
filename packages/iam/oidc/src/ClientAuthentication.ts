/**
 * How a client proves to a provider that it is the one it says it is (OpenID Connect Core 1.0, section 9).
 *
 * @since 0.1.0
 */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"

/**
 * - `none`: a public client, which has nothing to prove with. PKCE protects its logins.
 * - `client_secret_basic`, `client_secret_post`: a secret, in the header or in the body.
 * - `client_secret`: a secret, in the header or in the body: as the provider's metadata has it
 *   (`token_endpoint_auth_methods_supported`; the header where it says nothing), and where that is refused the other way.
 * - `private_key_jwt`: an assertion signed with a private key, of which the provider has the public one. A JWK needs its
 *   `alg`; its `kid` is sent. `audience` is for whom the assertion is: the provider's `issuer`, which the standards ask for
 *   now (RFC 7523 as it is being amended), or its `token_endpoint`, which some still want. `issuer` unless told.
 *
 * @category models
 * @since 0.1.0
 */
export type ClientAuthentication =
  | { readonly method: "none" }
  | {
    readonly method: "client_secret" | "client_secret_basic" | "client_secret_post"
    readonly secret: Redacted.Redacted
  }
  | {
    readonly method: "private_key_jwt"
    readonly key: Redacted.Redacted<JwtCodec.Jwk> | CryptoKey
    readonly kid?: string
    readonly audience?: "issuer" | "token_endpoint" | undefined
  }

/**
 * What the requests are authenticated with, best first, at a provider whose metadata lists the ways in `supported`: where
 * one is refused, the next is shown.
 *
 * @internal
 */
export const methods = (
  authentication: ClientAuthentication,
  issuer: string,
  clientId: string
): Effect.Effect<(supported: ReadonlyArray<string>) => ReadonlyArray<oauth.ClientAuth>, IamError> => {
  if (authentication.method === "none") return Effect.succeed(() => [oauth.None()])
  if (authentication.method === "private_key_jwt") {
    return Effect.map(privateKey(authentication.key, issuer), ({ key, kid }) => {
      const sent = authentication.kid ?? kid
      const assertion: oauth.ClientAuth = (as, ...request) =>
        oauth.PrivateKeyJwt(sent === undefined ? key : { key, kid: sent }, {
          [oauth.modifyAssertion]: (_header, payload) => {
            if (authentication.audience === "token_endpoint") payload["aud"] = as.token_endpoint
          }
        })(as, ...request)
      return () => [assertion]
    })
  }
  const { method, secret } = authentication
  const post = oauth.ClientSecretPost(Redacted.value(secret))
  const headers = [...new Set(basic(clientId, secret).map(Redacted.value))].map(
    (text): oauth.ClientAuth => (_as, _client, _body, headers) => headers.set("authorization", `Basic ${text}`)
  )
  if (method === "client_secret_post") return Effect.succeed(() => [post])
  if (method === "client_secret_basic") return Effect.succeed(() => headers)
  return Effect.succeed((supported) =>
    supported.includes("client_secret_post") && !supported.includes("client_secret_basic")
      ? [post, ...headers]
      : [...headers, post]
  )
}

/**
 * What the `Basic` header holds of an id and a secret, first choice first. Both are form-encoded (RFC 6749, section
 * 2.3.1), and some providers do not decode them. The encoding leaves alone what need not be encoded, so that most secrets
 * are the same to both; for the others, the plain form comes second.
 *
 * @internal
 */
export const basic = (id: string, secret: Redacted.Redacted): readonly [Redacted.Redacted, Redacted.Redacted] => {
  const encoded = (encode: (text: string) => string) =>
    Redacted.make(Base64.encode(`${encode(id)}:${encode(Redacted.value(secret))}`))
  return [encoded((text) => new URLSearchParams([["", text]]).toString().slice(1)), encoded((text) => text)]
}

const curves: { readonly [algorithm: string]: string } = { ES256: "P-256", ES384: "P-384", ES512: "P-521" }

const importAlgorithm = (algorithm: string): EcKeyImportParams | RsaHashedImportParams | string => {
  const hash = `SHA-${algorithm.slice(2)}`
  if (algorithm.startsWith("RS")) return { name: "RSASSA-PKCS1-v1_5", hash }
  if (algorithm.startsWith("PS")) return { name: "RSA-PSS", hash }
  const namedCurve = curves[algorithm]
  return namedCurve === undefined ? "Ed25519" : { name: "ECDSA", namedCurve }
}

const privateKey = (given: Redacted.Redacted<JwtCodec.Jwk> | CryptoKey, issuer: string) => {
  if (!Redacted.isRedacted(given)) return Effect.succeed({ key: given, kid: undefined })
  const { alg = "", ext: _ext, key_ops: _operations, kid, use: _use, ...jwk } = Redacted.value(given)
  return Effect.tryPromise({
    try: () => crypto.subtle.importKey("jwk", jwk, importAlgorithm(alg), false, ["sign"]),
    catch: () =>
      IamHttp.error(
        { issuer, method: "configure" },
        new Misconfigured({
          detail: "the client's key is not usable: give a private JWK with its `alg`, for example ES256"
        })
      )
  }).pipe(Effect.map((key) => ({ key, kid })))
}
