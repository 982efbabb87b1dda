/**
 * What a provider says of itself: where its endpoints are (OpenID Connect Discovery 1.0, RFC 8414).
 *
 * @since 0.1.0
 */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type * as oauth from "oauth4webapi"

/**
 * The endpoints of a provider, under the names of RFC 8414. `authorization_response_iss_parameter_supported` says that
 * callbacks name their issuer (RFC 9207), and then they must. `token_endpoint_auth_methods_supported` says how clients
 * authenticate, and `mtls_endpoint_aliases` where those do who have a certificate (RFC 8705, section 5).
 *
 * @category models
 * @since 0.1.0
 */
export interface OidcMetadata {
  readonly authorization_endpoint?: string
  readonly token_endpoint?: string
  readonly device_authorization_endpoint?: string
  readonly userinfo_endpoint?: string
  readonly revocation_endpoint?: string
  readonly end_session_endpoint?: string
  readonly jwks_uri?: string
  readonly authorization_response_iss_parameter_supported?: boolean
  readonly token_endpoint_auth_methods_supported?: ReadonlyArray<string>
  readonly mtls_endpoint_aliases?: { readonly [endpoint: string]: string }
}

const endpoints = [
  "authorization_endpoint",
  "token_endpoint",
  "device_authorization_endpoint",
  "userinfo_endpoint",
  "revocation_endpoint",
  "end_session_endpoint",
  "jwks_uri"
] as const

/**
 * Asks the provider for its metadata, in the place of OpenID Connect and then in that of RFC 8414. The issuer in the answer
 * must be `issuer` to the letter; anything else, and an endpoint that is not https, is `Misconfigured`.
 *
 * A redirect within the origin is followed. What says "not here" leads to the next place: a 4xx, 501, an answer that is no
 * metadata, a redirect to another origin. An outage ends it: to go on after one would let another place speak for the
 * provider.
 *
 * @category constructors
 * @since 0.1.0
 */
export const discover = Effect.fnUntraced(function*(
  issuer: string,
  call: IamHttp.Call
): Effect.fn.Return<oauth.AuthorizationServer, IamError, HttpClient.HttpClient> {
  const shapes: Array<string> = []
  for (const url of addresses(issuer)) {
    const answer = yield* IamHttp.lookUp(url, call)
    if (answer.status === 200 && Option.exists(answer.body, ({ issuer }) => typeof issuer === "string")) {
      return yield* checked(issuer, Option.getOrThrow(answer.body), call)
    }
    shapes.push(`${url.pathname}: ${answer.shape}`)
  }
  return yield* IamHttp.error(
    call,
    new Misconfigured({
      detail: `no provider's metadata there (${shapes.join("; ")}): check the issuer, or give the \`metadata\` of a ` +
        "provider that publishes none"
    })
  )
})

/**
 * The metadata that a caller gives for a provider that publishes none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const given = (
  issuer: string,
  metadata: OidcMetadata,
  call: IamHttp.Call
): Effect.Effect<oauth.AuthorizationServer, IamError> => checked(issuer, { ...metadata, issuer }, call)

const addresses = (issuer: string): ReadonlyArray<URL> => {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, "")
  return [
    new URL(`${origin}${path}/.well-known/openid-configuration`),
    new URL(`${origin}/.well-known/oauth-authorization-server${path}`)
  ]
}

const checked = Effect.fnUntraced(function*(
  issuer: string,
  document: Schema.JsonObject,
  call: IamHttp.Call
): Effect.fn.Return<oauth.AuthorizationServer, IamError> {
  const refuse = (detail: string) => IamHttp.error(call, new Misconfigured({ detail }))
  if (document["issuer"] !== issuer) {
    const named = typeof document["issuer"] === "string" ? `"${IamHttp.quote(document["issuer"])}"` : "nothing"
    return yield* refuse(
      `the provider there calls itself ${named}, not "${issuer}": if that is the one you mean, write it as the issuer, ` +
        "to the letter"
    )
  }
  const authMethods = document["token_endpoint_auth_methods_supported"]
  const named = Effect.fnUntraced(function*(
    document: Schema.JsonObject
  ): Effect.fn.Return<{ [name in typeof endpoints[number]]?: string }, IamError> {
    const found: { [name in typeof endpoints[number]]?: string } = {}
    for (const name of endpoints) {
      const address = document[name]
      if (typeof address !== "string" || address === "") continue
      const url = URL.parse(address)
      if (url === null || !isSafe(url, issuer)) {
        return yield* refuse(`the provider's metadata names a ${name} that is not https: nothing secret is sent there`)
      }
      found[name] = address
    }
    return found
  })
  const aliases = document["mtls_endpoint_aliases"]
  return {
    ...yield* named(document),
    ...(isObject(aliases) ? { mtls_endpoint_aliases: yield* named(aliases) } : {}),
    issuer,
    ...(Array.isArray(authMethods)
      ? { token_endpoint_auth_methods_supported: authMethods.filter(Predicate.isString) }
      : {}),
    authorization_response_iss_parameter_supported: document["authorization_response_iss_parameter_supported"] === true
  }
})

const isObject = (value: Schema.Json | undefined): value is Schema.JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

// Only a provider on this machine may have endpoints in plain http, and only on this machine.
const isSafe = (url: URL, issuer: string): boolean =>
  SecureUrl.mayCarrySecrets(url) && (url.protocol === "https:" || new URL(issuer).protocol === "http:")
