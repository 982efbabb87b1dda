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
 * authenticate, `dpop_signing_alg_values_supported` how proofs are signed (RFC 9449, section 5.1), `mtls_endpoint_aliases` where those do who have a certificate (RFC 8705, section 5), and `scopes_supported`
 * what may be asked for. `require_pushed_authorization_requests` says that a login is told beforehand (RFC 9126).
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
  readonly pushed_authorization_request_endpoint?: string
  readonly require_pushed_authorization_requests?: boolean
  readonly end_session_endpoint?: string
  readonly jwks_uri?: string
  readonly authorization_response_iss_parameter_supported?: boolean
  readonly token_endpoint_auth_methods_supported?: ReadonlyArray<string>
  readonly dpop_signing_alg_values_supported?: ReadonlyArray<string>
  readonly mtls_endpoint_aliases?: { readonly [endpoint: string]: string }
  readonly scopes_supported?: ReadonlyArray<string>
}

/**
 * Metadata that was checked. `insecure` names the endpoints that are not https, where only their use is refused.
 *
 * @internal
 */
export interface Checked extends oauth.AuthorizationServer {
  readonly insecure: Array<string>
}

/** An endpoint in the metadata. */
type EndpointName = typeof endpoints[number]

const endpoints = [
  "authorization_endpoint",
  "token_endpoint",
  "device_authorization_endpoint",
  "userinfo_endpoint",
  "revocation_endpoint",
  "pushed_authorization_request_endpoint",
  "end_session_endpoint",
  "jwks_uri"
] as const

// Every session meets them, if only when it ends: an address of these that is not https refuses the whole provider.
const always: ReadonlySet<string> = new Set<EndpointName>(["token_endpoint", "revocation_endpoint", "jwks_uri"])

/**
 * Asks the provider for its metadata, in the place of OpenID Connect and then in that of RFC 8414. The issuer in the answer
 * must be `issuer` to the letter; anything else is `Misconfigured`. So is a `token_endpoint`, `revocation_endpoint` or
 * `jwks_uri` that is not https; of the other endpoints only the use is refused.
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
): Effect.fn.Return<Checked, IamError, HttpClient.HttpClient> {
  const shapes: Array<string> = []
  for (const url of addresses(issuer)) {
    const answer = yield* IamHttp.lookUp(url, call)
    if (answer.status === 200 && Option.exists(answer.body, ({ issuer }) => typeof issuer === "string")) {
      return yield* checked(issuer, Option.getOrThrow(answer.body), call, always)
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
 * The metadata that a caller gives, where a provider publishes none, or not all of it. No endpoint may be other than https.
 *
 * @category constructors
 * @since 0.1.0
 */
export const given = (
  issuer: string,
  metadata: OidcMetadata,
  call: IamHttp.Call
): Effect.Effect<Checked, IamError> => checked(issuer, { ...metadata, issuer }, call, new Set(endpoints))

/**
 * What is discovered, with what a caller gives: where both name a member, the caller's counts.
 *
 * @internal
 */
export const merge = (discovered: Checked, given: Checked): Checked => ({
  ...discovered,
  ...given,
  insecure: discovered.insecure.filter((name) => given[name] === undefined)
})

/**
 * Why a provider is none of OpenID Connect, as far as its metadata tells; `undefined` where it may be one.
 *
 * @internal
 */
export const withoutOpenId = (as: Checked): string | undefined => {
  const { id_token_signing_alg_values_supported: algorithms, scopes_supported: scopes = [] } = as
  if (algorithms !== undefined || scopes.length === 0 || scopes.includes("openid")) return undefined
  return notOpenId("its metadata lists the scopes that it knows, and openid is none of them", scopes)
}

/**
 * The words with which a login is refused at a provider that knows no OpenID Connect.
 *
 * @internal
 */
export const notOpenId = (why: string, scopes: ReadonlyArray<string> | undefined): string => {
  const known = scopes?.filter((scope) => scope !== "openid") ?? []
  const shown = known.length === 0 ? "" : `, of these: ${IamHttp.quote(known.join(" "))}`
  return `this provider knows no OpenID Connect (${why}): ask for its own scopes, without openid${shown}`
}

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
  call: IamHttp.Call,
  needed: ReadonlySet<string>
): Effect.fn.Return<Checked, IamError> {
  const refuse = (detail: string) => IamHttp.error(call, new Misconfigured({ detail }))
  if (document["issuer"] !== issuer) {
    const named = typeof document["issuer"] === "string" ? `"${IamHttp.quote(document["issuer"])}"` : "nothing"
    return yield* refuse(
      `the provider there calls itself ${named}, not "${issuer}": if that is the one you mean, write it as the issuer, ` +
        "to the letter"
    )
  }
  const insecure: Array<string> = []
  const named = Effect.fnUntraced(function*(
    document: Schema.JsonObject
  ): Effect.fn.Return<{ [name in EndpointName]?: string }, IamError> {
    const found: { [name in EndpointName]?: string } = {}
    for (const name of endpoints) {
      const address = document[name]
      if (typeof address !== "string" || address === "") continue
      const url = URL.parse(address)
      if (url !== null && isSafe(url, issuer)) found[name] = address
      else if (needed.has(name)) return yield* refuse(insecureEndpoint(name))
      else insecure.push(name)
    }
    return found
  })
  const aliases = document["mtls_endpoint_aliases"]
  const namesIssuer = document["authorization_response_iss_parameter_supported"]
  const texts = (name: string) => {
    const list = document[name]
    return Array.isArray(list) ? { [name]: list.filter(Predicate.isString) } : {}
  }
  return {
    ...yield* named(document),
    ...(isObject(aliases) ? { mtls_endpoint_aliases: yield* named(aliases) } : {}),
    ...texts("token_endpoint_auth_methods_supported"),
    ...texts("scopes_supported"),
    ...texts("dpop_signing_alg_values_supported"),
    ...texts("id_token_signing_alg_values_supported"),
    issuer,
    insecure,
    ...(document["require_pushed_authorization_requests"] === true
      ? { require_pushed_authorization_requests: true }
      : {}),
    ...(typeof namesIssuer === "boolean" ? { authorization_response_iss_parameter_supported: namesIssuer } : {})
  }
})

/** @internal */
export const insecureEndpoint = (name: string): string =>
  `the provider's metadata names a ${name} that is not https, or names a user: nothing secret is sent there`

const isObject = (value: Schema.Json | undefined): value is Schema.JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

// Only a provider on this machine may have endpoints in plain http, and only on this machine.
const isSafe = (url: URL, issuer: string): boolean =>
  SecureUrl.mayCarrySecrets(url) && url.username + url.password === "" &&
  (url.protocol === "https:" || new URL(issuer).protocol === "http:")
