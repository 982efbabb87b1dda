/**
 * As which client a program signs in at an authorization server that it has never met.
 *
 * @since 0.1.0
 */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type { ClientAuthentication } from "@effect-authn/iam-oidc/ClientAuthentication"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { AuthorizationServer } from "./AuthorizationServer.ts"
import * as Named from "./internal/named.ts"

/**
 * The ports at which a browser comes back, in the order in which they are tried. A client id metadata document lists
 * `http://127.0.0.1:PORT/callback` of each as its `redirect_uris`, and a registration names them.
 *
 * @category models
 * @since 0.1.0
 */
export const callbackPorts: ReadonlyArray<number> = [42_813, 42_814, 42_815]

/**
 * A client that the operator of an authorization server has registered:
 *
 * - `clientId`: its id.
 * - `authentication`: how it proves who it is; a public client unless told.
 * - `issuer`: the only authorization server that it is shown to; the first one that the server names, unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface PreRegistered {
  readonly clientId: string
  readonly authentication?: ClientAuthentication | undefined
  readonly issuer?: string | undefined
}

/**
 * Which clients a program can sign in as. They are tried in the order of the specification: the registered one, the
 * document, a registration.
 *
 * - `registered`: a client that is known there already.
 * - `metadataDocument`: the https address of a client id metadata document, where the authorization server takes such.
 * - `name`: how a registration calls the program; `effect-authn` unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Clients {
  readonly registered?: PreRegistered | undefined
  readonly metadataDocument?: string | undefined
  readonly name?: string | undefined
}

/**
 * A client at one authorization server, with what it proves itself with. It is kept for that issuer alone.
 *
 * @category models
 * @since 0.1.0
 */
export const Registered = Schema.Struct({
  clientId: Schema.NonEmptyString,
  secret: Schema.OptionFromOptionalKey(Schema.RedactedFromValue(Schema.NonEmptyString)),
  method: Schema.Literals(["none", "client_secret_basic", "client_secret_post"])
})

/**
 * The type of the schema `Registered`.
 *
 * @category models
 * @since 0.1.0
 */
export type Registered = typeof Registered.Type

/**
 * How a registered client proves who it is.
 *
 * @category conversions
 * @since 0.1.0
 */
export const authentication = ({ method, secret }: Registered): ClientAuthentication =>
  method === "none" || Option.isNone(secret) ? { method: "none" } : { method, secret: secret.value }

/**
 * How a client with a secret shows it to an authorization server: in the header, unless the server takes it in the body
 * only.
 *
 * @category conversions
 * @since 0.1.0
 */
export const secretMethod = (
  { token_endpoint_auth_methods_supported: methods }: AuthorizationServer
): "client_secret_basic" | "client_secret_post" =>
  methods === undefined || methods.includes("client_secret_basic") || !methods.includes("client_secret_post")
    ? "client_secret_basic"
    : "client_secret_post"

const Answer = Schema.Struct({
  client_id: Schema.NonEmptyString,
  client_secret: Schema.optionalKey(Schema.NullOr(Schema.String)),
  token_endpoint_auth_method: Schema.optionalKey(Schema.NullOr(Schema.String))
})
const decodeAnswer = Schema.decodeUnknownOption(Answer)
const isMethod = Schema.is(Registered.fields.method)

/**
 * Registers a client (RFC 7591), native and for browsers that come back at `redirectUris`. It is sent once. Fails with
 * `Misconfigured` where the authorization server has no such endpoint, or refuses.
 *
 * @category requests
 * @since 0.1.0
 */
export const register = Effect.fn("ClientRegistration.register")(function*(
  server: URL,
  as: AuthorizationServer,
  options: {
    readonly name: string
    readonly redirectUris: ReadonlyArray<string>
    readonly scopes: ReadonlyArray<string>
  }
): Effect.fn.Return<Registered, IamError, Named.Services> {
  const call = { issuer: as.issuer, method: "register", secrets: [] }
  const refuse = (detail: string) => IamHttp.error(call, new Misconfigured({ detail }))
  const advice = "register a client there by hand, and give its id (authn mcp login URL --client-id ID)"
  if (as.registration_endpoint === undefined) {
    return yield* refuse(`the authorization server registers no clients by itself: ${advice}`)
  }
  const url = yield* Named.check(server, as.registration_endpoint, "its registration_endpoint")
  const methods = as.token_endpoint_auth_methods_supported
  const wanted = methods === undefined || methods.includes("none") ? "none" : secretMethod(as)
  const request = HttpClientRequest.post(url, { acceptJson: true }).pipe(
    HttpClientRequest.bodyJsonUnsafe({
      client_name: options.name,
      redirect_uris: options.redirectUris,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: wanted,
      application_type: "native",
      ...(options.scopes.length === 0 ? {} : { scope: options.scopes.join(" ") })
    })
  )
  const answer = yield* Named.execute(server, request, call)
  const registered = answer.status < 300 ? Option.flatMap(answer.body, decodeAnswer) : Option.none()
  if (Option.isNone(registered)) {
    const said = Option.getOrElse(answer.message, () => answer.shape)
    return yield* refuse(`the authorization server did not register this program (${said}): ${advice}`)
  }
  const { client_id: clientId, client_secret, token_endpoint_auth_method } = registered.value
  const secret = Option.map(
    Option.filter(Option.fromNullishOr(client_secret), (secret) => secret !== ""),
    (secret) => Redacted.make(secret)
  )
  const method = isMethod(token_endpoint_auth_method)
    ? token_endpoint_auth_method
    : Option.isSome(secret)
    ? (wanted === "none" ? secretMethod(as) : wanted)
    : "none"
  return { clientId, secret, method }
})
