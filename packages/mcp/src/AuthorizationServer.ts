/**
 * Who gives the tokens of a protected resource: its metadata (RFC 8414), in the order in which MCP looks for it.
 *
 * @since 0.1.0
 */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Named from "./internal/named.ts"

const optionalText = Schema.optionalKey(Schema.String)
const optionalTexts = Schema.optionalKey(Schema.Array(Schema.String))

/**
 * The metadata of an authorization server, as far as MCP needs it. The members have the names of RFC 8414.
 *
 * @category models
 * @since 0.1.0
 */
export const AuthorizationServer = Schema.Struct({
  issuer: Schema.NonEmptyString,
  authorization_endpoint: optionalText,
  token_endpoint: Schema.NonEmptyString,
  registration_endpoint: optionalText,
  revocation_endpoint: optionalText,
  device_authorization_endpoint: optionalText,
  userinfo_endpoint: optionalText,
  jwks_uri: optionalText,
  scopes_supported: optionalTexts,
  grant_types_supported: optionalTexts,
  token_endpoint_auth_methods_supported: optionalTexts,
  code_challenge_methods_supported: optionalTexts,
  authorization_response_iss_parameter_supported: Schema.optionalKey(Schema.Boolean),
  client_id_metadata_document_supported: Schema.optionalKey(Schema.Boolean)
})

/**
 * The type of the schema `AuthorizationServer`.
 *
 * @category models
 * @since 0.1.0
 */
export type AuthorizationServer = typeof AuthorizationServer.Type

const decode = Schema.decodeUnknownOption(AuthorizationServer)

const endpoints = [
  "authorization_endpoint",
  "token_endpoint",
  "registration_endpoint",
  "revocation_endpoint",
  "device_authorization_endpoint",
  "userinfo_endpoint",
  "jwks_uri"
] as const

/**
 * Finds the metadata of the authorization server that `server` names: as OAuth publishes it, as OpenID Connect does, and,
 * for an issuer with a path, below that path.
 *
 * Fails with `Misconfigured` where the server may not name that address, where the metadata is of another issuer, and
 * where it names an endpoint that is not safe.
 *
 * @category requests
 * @since 0.1.0
 */
export const discover = Effect.fn("AuthorizationServer.discover")(function*(
  server: URL,
  issuer: string
): Effect.fn.Return<AuthorizationServer, IamError, Named.Services> {
  const url = yield* Named.check(server, issuer, "its authorization server")
  const call = { issuer, method: "discover", secrets: [] }
  const path = url.pathname.replace(/\/$/, "")
  const addresses = [
    `${url.origin}/.well-known/oauth-authorization-server${path}`,
    `${url.origin}/.well-known/openid-configuration${path}`,
    ...(path === "" ? [] : [`${url.origin}${path}/.well-known/openid-configuration`])
  ]
  const shapes: Array<string> = []
  for (const address of addresses) {
    const answer = yield* Named.execute(server, HttpClientRequest.get(address, { acceptJson: true }), call)
    if (answer.status === 200 && Option.isSome(answer.body)) {
      return yield* checked(server, issuer, answer.body.value, call)
    }
    shapes.push(`${new URL(address).pathname}: ${answer.shape}`)
  }
  return yield* IamHttp.error(
    call,
    new Misconfigured({ detail: `no metadata of an authorization server there (${shapes.join("; ")})` })
  )
})

/**
 * The authorization server of a server that describes no resource, as the specification of 2025-03-26 has it: on the
 * server's own host, and with fixed paths where it publishes no metadata.
 *
 * @category requests
 * @since 0.1.0
 */
export const discoverLegacy = Effect.fn("AuthorizationServer.discoverLegacy")(function*(
  server: URL
): Effect.fn.Return<AuthorizationServer, IamError, Named.Services> {
  const { origin } = server
  const call = { issuer: origin, method: "discover", secrets: [] }
  const answer = yield* Named.execute(
    server,
    HttpClientRequest.get(`${origin}/.well-known/oauth-authorization-server`, { acceptJson: true }),
    call
  )
  if (answer.status === 200 && Option.isSome(answer.body)) {
    const { issuer } = answer.body.value
    return yield* checked(server, issuer === `${origin}/` ? issuer : origin, answer.body.value, call)
  }
  return {
    issuer: origin,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    registration_endpoint: `${origin}/register`,
    code_challenge_methods_supported: ["S256"]
  }
})

const checked = Effect.fnUntraced(function*(
  server: URL,
  issuer: string,
  document: Schema.JsonObject,
  call: IamHttp.Call
): Effect.fn.Return<AuthorizationServer, IamError, Named.Services> {
  const refuse = (detail: string) => IamHttp.error(call, new Misconfigured({ detail }))
  // An issuer is compared to the letter: one that speaks for another would get its codes (RFC 9207).
  if (document["issuer"] !== issuer) {
    const named = typeof document["issuer"] === "string" ? `"${IamHttp.quote(document["issuer"])}"` : "nothing"
    return yield* refuse(`the authorization server there calls itself ${named}, not "${issuer}": it is not trusted`)
  }
  const found = decode(document)
  if (Option.isNone(found)) {
    return yield* refuse("the metadata of the authorization server cannot be understood: its token_endpoint is missing")
  }
  for (const name of endpoints) {
    const address = found.value[name]
    if (address !== undefined) yield* Named.check(server, address, `its ${name}`)
  }
  return found.value
})

/**
 * Refuses an authorization server that does not say that it checks PKCE with S256 (RFC 7636): without it, a code that is
 * stolen on the way can be used.
 *
 * @category guards
 * @since 0.1.0
 */
export const requireS256 = (
  { code_challenge_methods_supported = [], issuer }: AuthorizationServer
): Effect.Effect<void, IamError> =>
  code_challenge_methods_supported.includes("S256") ? Effect.void : Effect.fail(
    IamHttp.error(
      { issuer, method: "login" },
      new Misconfigured({
        detail:
          "the authorization server does not say that it checks PKCE with S256, and MCP must not sign in without: " +
          "its operator has to list S256 in code_challenge_methods_supported"
      })
    )
  )
