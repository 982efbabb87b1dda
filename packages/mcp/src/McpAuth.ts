/**
 * The client's side of authorization for the Model Context Protocol: an `HttpClient` that signs in when a server asks for
 * it, and the sign-in, sign-out and status of a server by themselves.
 *
 * A session is named by the issuer, the client and the resource, so that every program of the user that talks to a server
 * has the same one.
 *
 * @since 0.1.0
 */
import { Revocation } from "@effect-authn/core/iam/IamClient"
import type { IamError } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Session from "@effect-authn/core/session/Session"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import type { ClientAuthentication } from "@effect-authn/iam-oidc/ClientAuthentication"
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as ClientRegistration from "./ClientRegistration.ts"
import * as Connections from "./internal/connections.ts"
import * as Exchange from "./internal/exchange.ts"
import type { Assertion, Options, Services } from "./internal/options.ts"
import * as Reason from "./internal/reason.ts"
import * as SignIn from "./internal/signIn.ts"
import * as ProtectedResource from "./ProtectedResource.ts"

export { type Assertion, type Login, type Options, type Services } from "./internal/options.ts"
export { type McpAuthError, reasonOf, ScopeRefused } from "./internal/reason.ts"

/**
 * The options of a program that signs in for itself: with the secret or the key of its client, or with an `assertion`.
 *
 * **Example** (A job without a person)
 *
 * ```ts
 * import { McpAuth } from "@effect-authn/mcp"
 * import { Redacted } from "effect"
 *
 * export const layer = McpAuth.layer({
 *   url: "https://mcp.example.com/mcp",
 *   ...McpAuth.machine({
 *     clientId: "nightly",
 *     authentication: { method: "client_secret_basic", secret: Redacted.make("…") }
 *   })
 * })
 * ```
 *
 * **Example** (A job that its platform signs in)
 *
 * ```ts
 * import { WorkloadIdentity } from "@effect-authn/core"
 * import { McpAuth } from "@effect-authn/mcp"
 * import { Effect, Layer } from "effect"
 *
 * export const layer = Layer.unwrap(Effect.map(WorkloadIdentity.WorkloadIdentity, (platform) =>
 *   McpAuth.layer({
 *     url: "https://mcp.example.com/mcp",
 *     ...McpAuth.machine({
 *       clientId: "nightly",
 *       assertion: ({ issuer }) => Effect.map(platform.token(issuer), ({ token }) => token)
 *     })
 *   })))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const machine = (
  client:
    & ClientRegistration.PreRegistered
    & (
      | { readonly authentication: ClientAuthentication }
      | { readonly assertion: Assertion }
    )
): Pick<Options, "assertion" | "clients" | "login"> => ({
  clients: { registered: client },
  login: "machine",
  ...("assertion" in client ? { assertion: client.assertion } : {})
})

/**
 * What is known of a session at a server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The canonical address of the server. */
  readonly url: string
  /** Which of several sessions there. */
  readonly account: string
  /** Whether there is a token that is valid, or a grant that can make one. */
  readonly isSignedIn: boolean
  /** Where the last sign-in was; absent where there was none. */
  readonly issuer: string | undefined
  /** As which client. */
  readonly clientId: string | undefined
  /** The scopes that were asked for. */
  readonly scopes: ReadonlyArray<string>
  /** When the access token ends, where that is known. */
  readonly expiresAt: Option.Option<DateTime.Utc>
}

/**
 * The authorization of one server.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpAuth {
  /** The client whose requests to the server carry the session, and sign in when the server asks for it. */
  readonly client: HttpClient.HttpClient
  /** Signs in now, whatever session there is, and remembers the options. */
  readonly login: Effect.Effect<Session.Session, Reason.McpAuthError>
  /** Ends the session at the authorization server and here, and forgets the server. */
  readonly logout: Effect.Effect<Revocation, Reason.McpAuthError>
  /** What is known. No request. */
  readonly status: Effect.Effect<Status, TokenStorageError>
  /** A token for the server that is valid now, renewed if it must be. Nobody is asked. */
  readonly bearer: Effect.Effect<Session.Bearer, Reason.McpAuthError>
}

const patience = Duration.seconds(30)

/**
 * Makes the authorization of one server. Nothing is read or sent before its first use.
 *
 * Fails with `Misconfigured` for an address that may carry no token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<McpAuth, IamError, Services | Scope.Scope> {
  const { resource: canonical, url } = yield* ProtectedResource.canonical(options.url)
  const services = yield* Effect.context<Services>()
  const http = yield* HttpClient.HttpClient
  const connections = yield* Connections.make(url, canonical, options)
  const { connect, clientsOf, known, remembered } = connections
  const signIn = yield* SignIn.make(options, connections)
  const send = (request: HttpClientRequest.HttpClientRequest) =>
    SecureUrl.withoutRedirects(http.postprocess(Effect.succeed(request)))
  const exchange = Exchange.make({ connections, mode: options.login, send, signIn })
  const withCommand = Reason.withCommand(connections)

  const client = HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
    Effect.flatMap((request) =>
      Effect.mapError(
        withCommand(Effect.provideContext(exchange(request), services)),
        (error) => HttpClientError.isHttpClientError(error) ? error : Reason.carried(request, error)
      )
    ),
    http.preprocess
  )

  const bearer = Effect.gen(function*(): Effect.fn.Return<Session.Bearer, Reason.McpAuthError> {
    const one = yield* known
    if (one === undefined) {
      return yield* Reason.signedOut(connections, {
        issuer: canonical,
        clientId: "any client",
        detail: "nobody has signed in"
      })
    }
    // Nobody may be asked here: the next sign-in, of any program, registers anew.
    return yield* Effect.catchIf(
      one.manager.bearerToken,
      (error) => Reason.isRefusedClient(error) && one.signIn.isDynamic,
      () =>
        Effect.andThen(
          connections.forgetClient(one.signIn),
          Effect.fail(Reason.signedOut(connections, {
            issuer: one.signIn.as.issuer,
            clientId: one.signIn.client.clientId,
            detail: "the authorization server no longer knows this client"
          }))
        )
    )
  })

  return {
    client,
    bearer: withCommand(bearer),
    login: Effect.gen(function*() {
      // What the server asks for, it says to somebody who comes with nothing.
      const response = yield* Effect.flatMap(send(Exchange.probe(url)), Exchange.read).pipe(
        IamHttp.inTime(patience, () => Reason.unavailable(url.origin, `no answer within ${Duration.format(patience)}`)),
        Effect.catchTag(
          "HttpClientError",
          (cause) => Effect.fail(IamHttp.unanswered(cause, { issuer: url.origin, method: "connect" }))
        )
      )
      const challenge = ProtectedResource.challenge(response.headers["www-authenticate"] ?? "")
      const made = yield* signIn({ challenge, refused: undefined, isForced: true, scopes: [] })
      return Option.isSome(made) && Option.isSome(made.value.session)
        ? made.value.session.value
        : yield* Reason.noSignIn(url.origin, response)
    }).pipe(Effect.provideContext(services)),
    logout: Effect.gen(function*() {
      const one = yield* known
      const revocation = one === undefined
        ? Revocation.cases.NotRevoked.make({ reason: "nobody was signed in" })
        : yield* one.manager.logout
      yield* connections.forget
      return revocation
    }),
    status: Effect.gen(function*(): Effect.fn.Return<Status, TokenStorageError> {
      const server = yield* remembered
      const signIn = Option.getOrUndefined(server.signIn)
      const one = signIn === undefined ? undefined : yield* Effect.option(connect(signIn, clientsOf(server)))
      const manager = one === undefined || Option.isNone(one) ? undefined : one.value.manager
      const session = manager === undefined ? Option.none() : yield* manager.session
      return {
        url: canonical,
        account: connections.account,
        isSignedIn: manager !== undefined && (yield* manager.isAuthenticated),
        issuer: signIn?.as.issuer,
        clientId: signIn?.client.clientId,
        scopes: signIn?.scopes ?? [],
        expiresAt: Option.flatMap(Option.flatMap(session, Session.currentToken), ({ expiresAt }) => expiresAt)
      }
    })
  }
})

/**
 * The `HttpClient` of one server: whatever is built on it, `McpClient.layerHttp` for example, needs nothing else. A failure
 * of the authorization arrives as the cause of a transport error: see `reasonOf`.
 *
 * **Example** (A client of MCP that signs in by itself)
 *
 * ```ts
 * import { McpAuth } from "@effect-authn/mcp"
 * import { NodeAuth, NodeLogin, NodeStorage } from "@effect-authn/platform-node"
 * import { Effect, Layer } from "effect"
 * import { McpClient, McpProtocol } from "effect/ai"
 *
 * const url = "https://mcp.example.com/mcp"
 *
 * const auth = McpAuth.layer({ url }).pipe(
 *   Layer.provide([
 *     NodeAuth.layerHttpClient,
 *     NodeAuth.layerPublicHttpClient,
 *     NodeLogin.layer(),
 *     NodeStorage.layer({ plainFiles: Effect.succeed(true) })
 *   ])
 * )
 *
 * export const layer = McpClient.layerHttp({
 *   name: "my-program",
 *   version: "1.0.0",
 *   url,
 *   protocol: McpProtocol.v2026_07_28
 * }).pipe(Layer.provide(auth))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<HttpClient.HttpClient, IamError, Services> =>
  Layer.effect(HttpClient.HttpClient, Effect.map(make(options), ({ client }) => client))

/**
 * Signs in to a server now, and remembers the options for every program of the user.
 *
 * @category sessions
 * @since 0.1.0
 */
export const login = (options: Options): Effect.Effect<Session.Session, Reason.McpAuthError, Services> =>
  Effect.scoped(Effect.flatMap(make(options), ({ login }) => login))

/**
 * Ends the session at a server, and forgets what was remembered of it. The answer says whether the authorization server
 * was told.
 *
 * @category sessions
 * @since 0.1.0
 */
export const logout = (options: Options): Effect.Effect<Revocation, Reason.McpAuthError, Services> =>
  Effect.scoped(Effect.flatMap(make(options), ({ logout }) => logout))

/**
 * What is known of the session at a server. No request.
 *
 * @category sessions
 * @since 0.1.0
 */
export const status = (options: Options): Effect.Effect<Status, IamError | TokenStorageError, Services> =>
  Effect.scoped(Effect.flatMap(make(options), ({ status }) => status))

/**
 * The servers at which somebody has signed in, by their canonical addresses, and as which of several accounts there. Each is
 * what `status` and `logout` take.
 *
 * @category sessions
 * @since 0.1.0
 */
export const servers: Effect.Effect<
  ReadonlyArray<Pick<Status, "account" | "url">>,
  TokenStorageError,
  TokenStorage
> = Effect.map(
  TokenStorage.use((storage) => storage.keys),
  (keys) =>
    keys.filter(({ clientId }) => clientId === Connections.serverKind)
      .map(({ account, issuer }) => ({ url: issuer, account }))
      .sort((one, other) => one.url < other.url || (one.url === other.url && one.account < other.account) ? -1 : 1)
)
