/**
 * The server's side of authorization for the Model Context Protocol: only tokens that were made for this server pass, and
 * whoever comes without one is told where to get it.
 *
 * @since 0.1.0
 */
import * as BearerAuth from "@effect-authn/core/BearerAuth"
import type * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * A message of a client, as far as a scope depends on it: its method, and the name of a tool or a prompt, or the address of
 * a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  readonly method: string
  readonly name: string | undefined
}

/**
 * What a server is, and whom it lets pass:
 *
 * - `resource`: the public address of the server, to the letter. A token that is not made for it is refused (RFC 8707).
 * - `issuers`: who may give tokens, the preferred one first.
 * - the options of `BearerAuth.jwt`, whose audience is the resource and whose issuers are these; or a `verifier` for tokens
 *   that are no JWTs, which has to look at audience and issuer itself.
 * - `dpop`: whether tokens may, or must, be bound to a key (RFC 9449), as `BearerAuth.Proofs` has it; the address of the
 *   proofs is the resource's. Without it a token that is bound to a key is refused.
 * - `scopes`: what every token must have; nothing unless told.
 * - `scopesOf`: what a token must have for an operation; nothing more unless told.
 * - `name`: how the resource is called for people; absent unless told.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = (TokenOptions | { readonly verifier: BearerAuth.TokenVerifier }) & {
  readonly resource: string
  readonly issuers: readonly [string, ...Array<string>]
  readonly dpop?: Omit<NonNullable<BearerAuth.Proofs["dpop"]>, "origin"> | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly scopesOf?: ((operation: Operation) => ReadonlyArray<string>) | undefined
  readonly name?: string | undefined
}

type TokenOptions =
  & Omit<BearerAuth.JwtOptions, "audience" | "anyAudience" | "issuer" | "claims" | "key">
  & { readonly jwks: JwtCodec.KeySet }

/** Where a resource describes itself (RFC 9728, section 3.1). */
const metadataPath = (resource: string): `/${string}` => {
  const { pathname } = new URL(resource)
  return `/.well-known/oauth-protected-resource${pathname === "/" ? "" : pathname}`
}

const quoted = (text: string): string => text.replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")

/** The challenge of a refusal, with where the resource describes itself and with the scopes that are needed. */
const challenged = (
  error: BearerAuth.Unauthorized | BearerAuth.InsufficientScope,
  resource: string,
  scopes: ReadonlyArray<string>
): string => {
  const base = BearerAuth.challenge(error)
  const metadata = `resource_metadata="${quoted(`${new URL(resource).origin}${metadataPath(resource)}`)}"`
  const scope = error._tag === "InsufficientScope" || scopes.length === 0 ? "" : `, scope="${quoted(scopes.join(" "))}"`
  // Nobody came with a token: there is nothing wrong with one.
  const isMissing = error._tag === "Unauthorized" && error.description === undefined
  return isMissing ? `Bearer ${metadata}${scope}` : `${base}, ${metadata}${scope}`
}

const decodeMessage = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** The operations in the body of a request. */
const operations = (body: string): ReadonlyArray<Operation> => {
  const parsed = Option.getOrUndefined(decodeMessage(body))
  const text = (value: unknown) => typeof value === "string" ? value : undefined
  return (Array.isArray(parsed) ? parsed : [parsed]).flatMap((message) => {
    if (!Predicate.isObject(message) || !Predicate.hasProperty(message, "method")) return []
    const method = text(message.method)
    if (method === undefined) return []
    const params = Predicate.hasProperty(message, "params") && Predicate.isObject(message.params) ? message.params : {}
    // What the method reads, and not what stands beside it: a server drops a member that it does not know.
    const member = method.startsWith("resources/") ? "uri" : "name"
    return [{ method, name: Predicate.hasProperty(params, member) ? text(params[member]) : undefined }]
  })
}

// The token may be a good one: its holder keeps it, and tries again.
const unavailable = ({ retryAfter }: BearerAuth.KeysUnavailable) =>
  HttpServerResponse.empty({
    status: 503,
    ...(retryAfter === undefined ? {} : { headers: { "retry-after": String(retryAfter) } })
  })

/**
 * Protects the routes that it is provided to, and gives their handlers a `BearerAuth.Identity`; and adds the route at
 * which the resource describes itself. It is for `McpServer.layerHttp`, and works for any route.
 *
 * A request without a token is answered with 401 and where the resource describes itself, one whose token lacks a scope
 * with 403 and `insufficient_scope`, and any request with 503 where the issuers' keys cannot be had.
 *
 * **Example** (A server of MCP that takes tokens)
 *
 * ```ts
 * import { Jwks, JwtCodec } from "@effect-authn/core"
 * import { McpServerAuth } from "@effect-authn/mcp"
 * import { Effect, Layer } from "effect"
 * import { McpProtocol, McpServer } from "effect/ai"
 * import { FetchHttpClient } from "effect/http"
 *
 * const auth = Layer.unwrap(
 *   Effect.map(Jwks.remote("https://idp.example.com/jwks"), (jwks) =>
 *     McpServerAuth.layer({
 *       resource: "https://mcp.example.com/mcp",
 *       issuers: ["https://idp.example.com"],
 *       jwks,
 *       algorithms: ["RS256", "ES256"],
 *       scopesOf: ({ name }) => name === "delete" ? ["files:write"] : []
 *     }))
 * ).pipe(Layer.provide([JwtCodec.layer, FetchHttpClient.layer]))
 *
 * export const layer = McpServer.layerHttp({
 *   name: "files",
 *   version: "1.0.0",
 *   path: "/mcp",
 *   protocols: [McpProtocol.v2026_07_28]
 * }).pipe(Layer.provide(auth))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options) => {
  const { issuers, name, resource, scopes = [] } = options
  const dpop = options.dpop === undefined ? undefined : { ...options.dpop, origin: new URL(resource).origin }
  // A token for somebody else, who may be a server that hands it on, is refused.
  const verifying = "verifier" in options
    ? Effect.succeed(options.verifier)
    : BearerAuth.jwt({ ...options, issuer: issuers, audience: resource })
  const proving = BearerAuth.prover({ dpop })
  const refused = (error: BearerAuth.Unauthorized | BearerAuth.InsufficientScope) =>
    HttpServerResponse.jsonUnsafe({ error: error.message }, {
      status: error._tag === "Unauthorized" ? 401 : 403,
      headers: { "www-authenticate": challenged(error, resource, scopes) }
    })
  const description = HttpServerResponse.jsonUnsafe({
    resource,
    authorization_servers: issuers,
    bearer_methods_supported: ["header"],
    ...(scopes.length === 0 ? {} : { scopes_supported: scopes }),
    ...(dpop?.required === true ? { dpop_bound_access_tokens_required: true } : {}),
    ...(name === undefined ? {} : { resource_name: name })
  })

  const protection = HttpRouter.middleware<{ provides: BearerAuth.Identity }>()(
    Effect.map(Effect.all([verifying, proving]), ([verifier, proofs]) =>
      Effect.fnUntraced(function*(handler) {
        const request = yield* HttpServerRequest.HttpServerRequest
        const [, text = ""] = /^Bearer +(\S+)$/i.exec(request.headers["authorization"] ?? "") ?? []
        const presented = proofs.shown(Redacted.make(text), request)
        const { token } = presented
        if (Redacted.value(token) === "") return refused(new BearerAuth.Unauthorized({}))
        const verified = yield* Effect.result(verifier.verify(token))
        if (verified._tag === "Failure") {
          return verified.failure._tag === "Unauthorized" ? refused(verified.failure) : unavailable(verified.failure)
        }
        const proven = yield* Effect.result(proofs.prove(presented, verified.success, request))
        if (Result.isFailure(proven)) return refused(proven.failure)
        const caller = BearerAuth.caller(token, verified.success)
        const read = options.scopesOf === undefined || request.method !== "POST"
          ? Result.succeed("")
          : yield* Effect.result(request.text)
        if (Result.isFailure(read)) return HttpServerResponse.empty({ status: 400 })
        const body = read.success
        const required = [...new Set([...scopes, ...operations(body).flatMap((one) => options.scopesOf?.(one) ?? [])])]
        if (!required.every((scope) => caller.scopes.includes(scope))) {
          return refused(
            new BearerAuth.InsufficientScope({
              scope: required.join(" "),
              description: "the token's scope is too small"
            })
          )
        }
        return yield* Effect.provideService(handler, BearerAuth.Identity, caller)
      }))
  ).layer
  return Layer.mergeAll(protection, HttpRouter.add("GET", metadataPath(resource), description))
}
