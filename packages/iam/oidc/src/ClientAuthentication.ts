/**
 * How a client proves to a provider that it is the one it says it is (OpenID Connect Core 1.0, section 9).
 *
 * @since 0.1.0
 */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as oauth from "oauth4webapi"
import * as External from "./internal/external.ts"
import * as PrivateKey from "./internal/privateKey.ts"

/**
 * A secret as it is, or an effect that gets it. An effect runs for each request, so that a secret that rotates (a file, a
 * vault, a platform's token) is the one of now. What it fails with is shown by its message, which holds no secret.
 *
 * @category models
 * @since 0.1.0
 */
export type Secret<A = string> = Redacted.Redacted<A> | Effect.Effect<Redacted.Redacted<A>, Error>

/**
 * - `none`: a public client, which has nothing to prove with. PKCE protects its logins.
 * - `client_secret_basic`, `client_secret_post`: a secret, in the header or in the body.
 * - `client_secret`: a secret, in the header or in the body: as the provider's metadata has it
 *   (`token_endpoint_auth_methods_supported`; the header where it says nothing), and where that is refused the other way.
 * - `private_key_jwt`: an assertion signed with a private key, of which the provider has the public one (RFC 7523). The
 *   key is a JWK (as an object or as its text), a text in PEM (PKCS#8, or PKCS#1 for RSA), or a `CryptoKey`. `alg` is the
 *   usual one of the key unless told (RS256, ES256, ES384, ES512, EdDSA), `kid` that of the JWK. `header` has what else
 *   the provider wants in the assertion's header, such as `x5t`. `audience` is for whom the assertion is: the provider's
 *   `issuer`, which the standards ask for now (RFC 7523 as it is being amended), its `token_endpoint`, which some still
 *   want, or whatever else it calls itself. `issuer` unless told.
 * - `client_secret_jwt`: an assertion that is made with the secret (HS256), which is not sent itself. `audience` as above.
 * - `assertion`: an assertion that somebody else has signed (RFC 7523, section 2.2): a platform's token, by
 *   `WorkloadIdentity`. `type` is `jwt-bearer` unless told, and `jwt-spiffe` for a JWT-SVID at a provider that asks for it.
 *   The assertion names the client: with `sendClientId: false` the request does not.
 * - `tls_client_auth`: the certificate of the connection (RFC 8705), also one that is self-signed. The program's
 *   `HttpClient` has it (`ClientCertificate.layerHttpClient` of `@effect-authn/platform-node`), and the provider's `mtls_endpoint_aliases` are used.
 *
 * @category models
 * @since 0.1.0
 */
export type ClientAuthentication =
  | { readonly method: "none" }
  | {
    readonly method: "client_secret" | "client_secret_basic" | "client_secret_post"
    readonly secret: Secret
  }
  | {
    readonly method: "client_secret_jwt"
    readonly secret: Secret
    readonly audience?: "issuer" | "token_endpoint" | (string & {}) | undefined
  }
  | {
    readonly method: "private_key_jwt"
    readonly key: Secret<JwtCodec.Jwk> | Secret | CryptoKey
    readonly alg?: string | undefined
    readonly kid?: string | undefined
    readonly header?: { readonly [name: string]: Schema.Json } | undefined
    readonly audience?: "issuer" | "token_endpoint" | (string & {}) | undefined
  }
  | {
    readonly method: "assertion"
    readonly token: Secret
    readonly type?: "jwt-bearer" | "jwt-spiffe" | undefined
    readonly sendClientId?: boolean | undefined
  }
  | { readonly method: "tls_client_auth" }

/**
 * One way to authenticate a request. `name` tells it from the others, also after a secret was rotated, and is kept with a
 * session. `isDated` says that it is judged by the provider's clock.
 *
 * @internal
 */
export interface Way {
  readonly name: string
  readonly auth: oauth.ClientAuth
  readonly isDated?: true
}

/**
 * What one request is authenticated with: the ways, best first, at a provider whose metadata lists those in `supported`
 * (where one is refused, the next is shown), and the secrets in it.
 *
 * @internal
 */
export interface Shown {
  readonly ways: (supported: ReadonlyArray<string>) => readonly [Way, ...ReadonlyArray<Way>]
  readonly secrets: ReadonlyArray<Redacted.Redacted>
}

/**
 * Checks what is constant at once; `show` gets what a request is authenticated with.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(
  authentication: ClientAuthentication,
  options: { readonly issuer: string; readonly clientId: string; readonly timeLimit: Duration.Duration }
): Effect.fn.Return<{ readonly show: Effect.Effect<Shown, IamError> }, IamError> {
  const { clientId, issuer } = options
  const call = { issuer, method: "authenticate" }
  const get = <A>(secret: A | Effect.Effect<A, Error>) =>
    !Effect.isEffect(secret) ? Effect.succeed(secret) : External.get(secret, call, {
      what: "what this client authenticates with",
      timeLimit: options.timeLimit
    })
  switch (authentication.method) {
    case "none":
    case "tls_client_auth": {
      const [name, auth] = authentication.method === "none"
        ? ["none", oauth.None()] as const
        : ["certificate", oauth.TlsClientAuth()] as const
      return { show: Effect.succeed<Shown>({ ways: () => [{ name, auth }], secrets: [] }) }
    }
    case "private_key_jwt": {
      const { alg, key: given } = authentication
      const signing = (key: PrivateKey.Given) =>
        Effect.map(
          Effect.mapError(PrivateKey.read(key, alg), ({ detail }) =>
            IamHttp.error(
              { issuer, method: "configure" },
              new Misconfigured({ detail: `the client's key is not usable: ${detail}` })
            )),
          (key): Shown => ({
            ways: () => [{ name: "key", auth: signed(key, authentication), isDated: true }],
            secrets: []
          })
        )
      if (Effect.isEffect(given)) {
        return { show: Effect.flatMap(get<PrivateKey.Given>(given), signing) }
      }
      return { show: Effect.succeed(yield* signing(given)) }
    }
    case "client_secret_jwt": {
      const shown = (secret: Redacted.Redacted): Shown => ({
        ways: () => [{
          name: "secret",
          auth: (as, ...request) =>
            oauth.ClientSecretJwt(Redacted.value(secret), {
              [oauth.modifyAssertion]: (_header, payload) => addressed(payload, as, authentication)
            })(as, ...request),
          isDated: true
        }],
        secrets: [secret]
      })
      return { show: Effect.map(get(authentication.secret), shown) }
    }
    case "assertion": {
      const { sendClientId = true, token, type = "jwt-bearer" } = authentication
      const shown = (token: Redacted.Redacted): Shown => ({
        ways: () => [{
          name: "assertion",
          auth: (_as, client, body) => {
            if (sendClientId) body.set("client_id", client.client_id)
            body.set("client_assertion_type", `urn:ietf:params:oauth:client-assertion-type:${type}`)
            body.set("client_assertion", Redacted.value(token))
          }
        }],
        secrets: [token]
      })
      const sent = Effect.flatMap(get(token), (token) =>
        External.sendable(
          token,
          (why) => IamHttp.error(call, new Misconfigured({ detail: `the client's assertion ${why}` }))
        ))
      return { show: Effect.map(sent, shown) }
    }
    default: {
      const { method } = authentication
      const shown = (secret: Redacted.Redacted): Shown => ({
        ways: secretWays(method, clientId, secret),
        secrets: [secret, ...basic(clientId, secret)]
      })
      return { show: Effect.map(get(authentication.secret), shown) }
    }
  }
})

/** Names the provider in an assertion as it wants to be named. */
const addressed = (
  payload: Record<string, oauth.JsonValue | undefined>,
  as: oauth.AuthorizationServer,
  { audience = "issuer" }: { readonly audience?: string | undefined }
): void => {
  if (audience === "token_endpoint") payload["aud"] = as.token_endpoint
  else if (audience !== "issuer") payload["aud"] = audience
}

const signed = (
  { alg, key, kid }: PrivateKey.SigningKey,
  options: Extract<ClientAuthentication, { readonly method: "private_key_jwt" }>
): oauth.ClientAuth => {
  const sent = options.kid ?? kid
  return (as, ...request) =>
    oauth.PrivateKeyJwt(sent === undefined ? key : { key, kid: sent }, {
      [oauth.modifyAssertion]: (header, payload) => {
        // Ed25519 has two names (RFC 8037, RFC 9864), of which providers know the older one.
        Object.assign(header, alg === undefined ? {} : { alg }, options.header)
        addressed(payload, as, options)
      }
    })(as, ...request)
}

const secretWays = (
  method: "client_secret" | "client_secret_basic" | "client_secret_post",
  clientId: string,
  secret: Redacted.Redacted
): Shown["ways"] => {
  const post: Way = { name: "post", auth: oauth.ClientSecretPost(Redacted.value(secret)) }
  const [first, second] = basic(clientId, secret)
  const header = (name: string, text: Redacted.Redacted): Way => ({
    name,
    auth: (_as, _client, _body, headers) => headers.set("authorization", `Basic ${Redacted.value(text)}`)
  })
  const inHeader: readonly [Way, ...ReadonlyArray<Way>] = [
    header("basic", first),
    ...(Redacted.value(first) === Redacted.value(second) ? [] : [header("basic, not encoded", second)])
  ]
  if (method === "client_secret_post") return () => [post]
  if (method === "client_secret_basic") return () => inHeader
  return (supported) =>
    supported.includes("client_secret_post") && !supported.includes("client_secret_basic")
      ? [post, ...inHeader]
      : [...inHeader, post]
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
