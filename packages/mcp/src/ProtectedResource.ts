/**
 * What a protected resource says of itself (RFC 9728), and what it asks for when it refuses a request (RFC 6750).
 *
 * @since 0.1.0
 */
import * as Challenges from "@effect-authn/core/Challenge"
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Named from "./internal/named.ts"

/**
 * What a `Bearer` challenge asks for:
 *
 * - `metadata`: where the resource describes itself.
 * - `scopes`: what the refused request needs.
 * - `error`, `description`: why it was refused, for example `insufficient_scope`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Challenge {
  readonly metadata: Option.Option<string>
  readonly scopes: ReadonlyArray<string>
  readonly error: Option.Option<string>
  readonly description: Option.Option<string>
}

/**
 * A resource, as it describes itself:
 *
 * - `resource`: its indicator (RFC 8707), which covers the address that was asked.
 * - `authorizationServers`: who gives tokens for it, at least one.
 * - `scopes`: all scopes that it lists.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProtectedResource {
  readonly resource: string
  readonly authorizationServers: readonly [string, ...Array<string>]
  readonly scopes: ReadonlyArray<string>
}

/**
 * Reads the `Bearer` challenge of a `WWW-Authenticate` header, which may hold several challenges; `None` without one. Of
 * several, the first that names metadata counts.
 *
 * **Example** (What a refused request asks for)
 *
 * ```ts import.meta.vitest
 * import { ProtectedResource } from "@effect-authn/mcp"
 * import { Option } from "effect"
 *
 * const header = `Basic realm="x, y", Bearer error="insufficient_scope", scope="files:read files:write"`
 * Option.getOrThrow(ProtectedResource.challenge(header)).scopes // => ["files:read", "files:write"]
 * ```
 *
 * @category parsing
 * @since 0.1.0
 */
export const challenge = (header: string): Option.Option<Challenge> => {
  const bearers = Challenges.parse(header).filter(({ scheme }) => scheme === "bearer")
  const chosen = bearers.find(({ parameters }) => parameters.has("resource_metadata")) ?? bearers[0]
  if (chosen === undefined) return Option.none()
  const { parameters } = chosen
  const text = (name: string) => Option.fromUndefinedOr(parameters.get(name))
  return Option.some({
    metadata: text("resource_metadata"),
    scopes: words(parameters.get("scope")),
    error: text("error"),
    description: text("error_description")
  })
}

const words = (scope: string | undefined): ReadonlyArray<string> => (scope ?? "").split(/\s+/).filter(Boolean)

const Document = Schema.Struct({
  resource: Schema.NonEmptyString,
  authorization_servers: Schema.optionalKey(Schema.Array(Schema.NonEmptyString)),
  scopes_supported: Schema.optionalKey(Schema.Array(Schema.String))
})
const decodeDocument = Schema.decodeUnknownOption(Document)

/**
 * Asks a resource to describe itself: at the address that its challenge names, else at the well-known addresses for its
 * path and for its host. `None` where there is no description.
 *
 * Fails with `Misconfigured` where the address is not one that this server may name, and where the description is of
 * another resource or names nobody who gives tokens.
 *
 * @category requests
 * @since 0.1.0
 */
export const discover = Effect.fn("ProtectedResource.discover")(function*(
  server: URL,
  asked: Option.Option<Challenge>
): Effect.fn.Return<Option.Option<ProtectedResource>, IamError, Named.Services> {
  const call = { issuer: server.origin, method: "discover", secrets: [] }
  const named = Option.flatMap(asked, ({ metadata }) => metadata)
  const { origin, pathname } = server
  const path = pathname === "/" ? "" : pathname
  const addresses = Option.isSome(named)
    ? [named.value]
    : [...new Set([path, ""].map((path) => `${origin}/.well-known/oauth-protected-resource${path}`))]
  const refuse = (detail: string) => IamHttp.error(call, new Misconfigured({ detail }))

  let failure: IamError | undefined
  for (const address of addresses) {
    const url = yield* Named.check(server, address, "the description of the resource")
    const answer = yield* Named.execute(server, HttpClientRequest.get(url, { acceptJson: true }), call).pipe(
      Effect.asSome,
      // A guessed address may be anything.
      Effect.catchReason("IamError", "Unavailable", (_, error) => {
        failure = error
        return Effect.succeedNone
      })
    )
    if (Option.isNone(answer)) continue
    const { body, shape, status } = answer.value
    const document = status === 200 ? Option.flatMap(body, decodeDocument) : Option.none()
    if (Option.isNone(document)) {
      if (Option.isSome(named)) {
        return yield* refuse(`${IamHttp.quote(url.href)} does not describe the resource (${shape})`)
      }
      continue
    }
    const { authorization_servers = [], resource, scopes_supported = [] } = document.value
    if (!covers(resource, server)) {
      return yield* refuse(
        `${IamHttp.quote(url.href)} describes another resource, ${IamHttp.quote(resource)}: a token for it must not ` +
          `be sent to ${server.href}`
      )
    }
    const [first, ...others] = authorization_servers
    if (first === undefined) return yield* refuse(`${IamHttp.quote(url.href)} names no authorization server`)
    return Option.some({ resource, authorizationServers: [first, ...others], scopes: scopes_supported })
  }
  return failure === undefined ? Option.none() : yield* failure
})

/**
 * Whether a resource indicator is about an address: the same origin, and a path that the address begins with.
 *
 * **Example** (What a token may be sent to)
 *
 * ```ts import.meta.vitest
 * import { ProtectedResource } from "@effect-authn/mcp"
 *
 * ProtectedResource.covers("https://mcp.example.com/a", new URL("https://mcp.example.com/a/b")) // => true
 * ProtectedResource.covers("https://mcp.example.com/a", new URL("https://mcp.example.com/ab")) // => false
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const covers = (resource: string, address: URL): boolean => {
  const url = URL.parse(resource)
  if (url === null || url.origin !== address.origin || url.origin === "null") return false
  const within = (path: string) => path.endsWith("/") ? path : `${path}/`
  return within(address.pathname).startsWith(within(url.pathname))
}

/**
 * The canonical address of a server (RFC 8707, section 2): without fragment, and without the slash that a bare host gets.
 * Fails with `Misconfigured` for an address that may carry no token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const canonical = (address: string): Effect.Effect<{ readonly url: URL; readonly resource: string }, IamError> =>
  Effect.gen(function*() {
    const url = yield* Named.own(address)
    return { url, resource: url.pathname === "/" && url.search === "" ? url.origin : url.href }
  })
