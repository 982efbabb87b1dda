/**
 * The client's side of authorization for the Model Context Protocol: an `HttpClient` that signs in when a server asks for
 * it, and the sign-in, sign-out and status of a server by themselves.
 *
 * A session is named by the issuer, the client and the resource, so that every program of the user that talks to a server
 * has the same one.
 *
 * @since 0.1.0
 */
import { type AuthError, NotAuthenticated, ReauthenticationRequired } from "@effect-authn/core/AuthError"
import * as AuthManager from "@effect-authn/core/AuthManager"
import { BrowserLogin } from "@effect-authn/core/iam/BrowserLogin"
import { DeviceLogin } from "@effect-authn/core/iam/DeviceLogin"
import { IamClient, Revocation } from "@effect-authn/core/iam/IamClient"
import { IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import type { PublicHttpClient } from "@effect-authn/core/iam/PublicHttpClient"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import type { AuthStrategy } from "@effect-authn/core/login/AuthStrategy"
import * as Strategy from "@effect-authn/core/login/AuthStrategy"
import { Browser } from "@effect-authn/core/login/Browser"
import { CallbackServer } from "@effect-authn/core/login/CallbackServer"
import * as InteractiveStrategy from "@effect-authn/core/login/InteractiveStrategy"
import { LoginPrompt } from "@effect-authn/core/login/LoginPrompt"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import { SessionLock, type SessionLockError } from "@effect-authn/core/storage/SessionLock"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import type { ClientAuthentication, Secret } from "@effect-authn/iam-oidc/ClientAuthentication"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as OidcStrategy from "@effect-authn/iam-oidc/OidcStrategy"
import * as TokenSource from "@effect-authn/iam-oidc/TokenSource"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as AuthorizationServer from "./AuthorizationServer.ts"
import * as ClientRegistration from "./ClientRegistration.ts"
import * as Asking from "./internal/asking.ts"
import * as Clients from "./internal/clients.ts"
import * as Exchange from "./internal/exchange.ts"
import * as Named from "./internal/named.ts"
import * as Records from "./internal/records.ts"
import * as Server from "./internal/server.ts"
import * as ProtectedResource from "./ProtectedResource.ts"

/**
 * The server wants scopes that no sign-in brought: it was asked for them as often as it may be. `required` are those that
 * it named last.
 *
 * @category errors
 * @since 0.1.0
 */
export class ScopeRefused extends Schema.TaggedError<ScopeRefused>("@effect-authn/mcp/McpAuth/ScopeRefused")(
  "ScopeRefused",
  { url: Schema.String, required: Schema.Array(Schema.String) }
) {
  override get message(): string {
    return `${this.url} still wants the scopes "${
      this.required.join(" ")
    }" after signing in for them: ask who runs the ` +
      `server which account may have them, then type: authn mcp login ${this.url}`
  }
}

/**
 * Every failure of a request or a sign-in.
 *
 * @category errors
 * @since 0.1.0
 */
export type McpAuthError = AuthError | ScopeRefused

const tags: ReadonlySet<string> = new Set([
  "NotAuthenticated",
  "ReauthenticationRequired",
  "InvalidCredentials",
  "NoCredentials",
  "LoginTimedOut",
  "StepUpRequired",
  "IamError",
  "TokenStorageError",
  "SessionLockError",
  "JwtError",
  "ScopeRefused"
])

const isOurs = (error: unknown): error is McpAuthError =>
  Predicate.isError(error) && Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" &&
  tags.has(error._tag)

/**
 * What went wrong with the authorization, of an error in which it arrives: an `HttpClientError`, or whatever a client of
 * MCP makes of one. `None` where it is about something else.
 *
 * @category errors
 * @since 0.1.0
 */
export const reasonOf = (error: unknown): Option.Option<McpAuthError> => {
  const seen = new Set<unknown>()
  const waiting = [error]
  for (const one of waiting) {
    if (isOurs(one)) return Option.some(one)
    if (!Predicate.isObject(one) || seen.has(one)) continue
    seen.add(one)
    for (const name of ["cause", "reason", "error", "failure"]) {
      if (Predicate.hasProperty(one, name)) waiting.push(one[name])
    }
  }
  return Option.none()
}

/**
 * How somebody is asked:
 *
 * - `browser`: a page in the browser of this machine, and nothing where there is none in front of the person.
 * - `interactive`: the browser, else a device code, else a pasted address.
 * - `machine`: nobody; the client signs in for itself (RFC 6749, section 4.4), or by an assertion (RFC 7523, section 2.1).
 * - `never`: nobody, and without a session a request fails with the command to type.
 *
 * @category models
 * @since 0.1.0
 */
export type Login = "browser" | "interactive" | "machine" | "never"

/**
 * Which server, and how to sign in there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The address of the server, https or on this machine. */
  readonly url: string
  /** Which of several sessions at the same server; `default` unless told. */
  readonly account?: string | undefined
  /** As which client. What a person has given once to `login` is remembered, and counts where nothing is told. */
  readonly clients?: ClientRegistration.Clients | undefined
  /** How somebody is asked; `browser` unless told. */
  readonly login?: Login | undefined
  /** With the login `machine`: an assertion for an authorization server and the server behind it, read for each token. */
  readonly assertion?: Assertion | undefined
  /** Whether the tokens of a login are bound to a key that is made for it (RFC 9449); not unless told. */
  readonly dpop?: boolean | undefined
  /** The scopes to ask for besides those that the server names; none unless told. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** How many times a request may sign in for more scopes before it fails with `ScopeRefused`; 2 unless told. */
  readonly stepUpLimit?: number | undefined
}

/**
 * What a program signs in with, as a JWT that the authorization server `issuer` takes for an access token for `resource`: the
 * token of the platform that runs it, or an identity assertion (ID-JAG) of the person's own provider, by
 * `TokenSource.identityAssertion`.
 *
 * @category models
 * @since 0.1.0
 */
export type Assertion = (server: { readonly issuer: string; readonly resource: string }) => Secret

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
 * What a sign-in needs of the program: a place for sessions with its lock, and clients for the web. `Browser`,
 * `CallbackServer` and `LoginPrompt` are used where they are in the context; without them nobody can be asked.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = HttpClient.HttpClient | PublicHttpClient | TokenStorage | SessionLock

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
  readonly login: Effect.Effect<Session.Session, McpAuthError>
  /** Ends the session at the authorization server and here, and forgets the server. */
  readonly logout: Effect.Effect<Revocation, McpAuthError>
  /** What is known. No request. */
  readonly status: Effect.Effect<Status, TokenStorageError>
  /** A token for the server that is valid now, renewed if it must be. Nobody is asked. */
  readonly bearer: Effect.Effect<Session.Bearer, McpAuthError>
}

/** A manager, and what its sessions were asked for with. */
interface Connected {
  readonly signIn: Server.SignIn
  readonly manager: AuthManager.AuthManager["Service"]
}

const clientKind = "mcp client"
const serverKind = "mcp server"

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
  const scope = yield* Effect.scope
  const services = yield* Effect.context<Services>()
  const http = yield* HttpClient.HttpClient
  const storage = yield* TokenStorage
  const lock = yield* SessionLock
  const account = options.account ?? "default"
  const mode = options.login ?? "browser"
  const stepUpLimit = options.stepUpLimit ?? 2
  const keeper = yield* Records.keeper
  const registrations = Records.make(keeper, storage, clientKind, ClientRegistration.Registered)
  const servers = Records.make(keeper, storage, serverKind, Server.Server, account)
  const command = `authn mcp login ${canonical}`
  const turn = Semaphore.makeUnsafe(1)
  const refuse = (issuer: string, method: string, detail: string) =>
    new IamError({ issuer, method, reason: new Misconfigured({ detail }) })

  const remembered = Effect.map(servers.get(canonical), Option.getOrElse(() => Server.unknown))

  const clientsOf = (server: Server.Server) => Clients.of(server, options.clients)

  const sourcesOf = ({ as: { issuer }, resource }: Server.SignIn): ReadonlyArray<TokenSource.TokenSource> =>
    options.assertion === undefined
      ? []
      : [TokenSource.jwtBearer({ name: "assertion", assertion: options.assertion({ issuer, resource }) })]

  const oidcOf = Effect.fnUntraced(function*(
    signIn: Server.SignIn,
    clients: ClientRegistration.Clients,
    scopes: ReadonlyArray<string>
  ) {
    const { as } = signIn
    return yield* OidcIam.make({
      issuer: as.issuer,
      clientId: signIn.client.clientId,
      clientAuthentication: Clients.authentication(signIn, clients),
      scopes,
      resource: signIn.resource,
      metadata: as,
      dpop: options.dpop,
      sources: sourcesOf(signIn)
    }).pipe(Effect.provideService(HttpClient.HttpClient, yield* Named.clientFor(url)), Effect.provideContext(services))
  })

  const managers = new Map<string, Connected["manager"]>()

  /** The manager of the sessions of a client at an issuer. There is one, however often it is asked for. */
  const connect = Effect.fnUntraced(function*(
    signIn: Server.SignIn,
    clients: ClientRegistration.Clients
  ): Effect.fn.Return<Connected, IamError> {
    const scopes = mode === "machine" ? signIn.scopes : []
    const name = account === "default" ? `mcp ${signIn.resource}` : `mcp ${signIn.resource} ${account}`
    const key = SessionKey.SessionKey.make({
      issuer: signIn.as.issuer,
      clientId: signIn.client.clientId,
      account: name
    })
    const id = `${key.id} ${scopes.join(" ")}`
    const known = managers.get(id)
    if (known !== undefined) return { signIn, manager: known }
    const iam = Context.get(yield* Effect.provideContext(oidcOf(signIn, clients, scopes), services), IamClient)
    const built = yield* AuthManager.layer({ account: name }).pipe(
      Layer.provide(SessionKeeper.layer),
      Layer.provide([Layer.succeed(IamClient, iam), Layer.succeedContext(services)]),
      Layer.build,
      Scope.provide(scope)
    )
    const manager = Context.get(built, AuthManager.AuthManager)
    managers.set(id, manager)
    return { signIn, manager }
  })

  let connected: Connected | undefined
  // The client that the authorization server no longer knows.
  let gone: string | undefined

  /** The manager of the last sign-in, of this program or of another one. */
  const known = Effect.gen(function*(): Effect.fn.Return<Connected | undefined, McpAuthError> {
    if (connected !== undefined) return connected
    const server = yield* remembered
    if (Option.isNone(server.signIn)) return undefined
    connected = yield* connect(server.signIn.value, clientsOf(server))
    return connected
  })

  const signedOut = (issuer: string, clientId: string, detail: string) =>
    new NotAuthenticated({
      key: SessionKey.SessionKey.make({ issuer, clientId, account: `mcp ${canonical}` }),
      detail: `${detail}; type: ${command}`
    })

  const withCommand = <A, E, R>(effect: Effect.Effect<A, E | AuthError, R>) =>
    Effect.mapError(
      effect,
      (error) =>
        Predicate.isTagged(error, "ReauthenticationRequired") && isReauthentication(error)
          ? new ReauthenticationRequired({
            key: error.key,
            answerLost: error.answerLost,
            detail: error.detail.includes(command) ? error.detail : `${error.detail}; type: ${command}`
          })
          : Predicate.isTagged(error, "NotAuthenticated") && isNotAuthenticated(error) && error.detail === undefined
          ? signedOut(error.key.issuer, error.key.clientId, "nobody has signed in")
          : error
    )

  /** What the session has to show now, without asking anybody; nothing where only a sign-in helps. */
  const present = Effect.fnUntraced(function*(
    one: Connected | undefined
  ): Effect.fn.Return<Session.Bearer | undefined, McpAuthError> {
    if (one === undefined) return undefined
    return yield* Effect.catchIf(
      one.manager.bearerToken,
      (error) => isEnded(error) || isRefusedClient(error),
      (error) =>
        Effect.sync(() => {
          if (isRefusedClient(error)) gone = one.signIn.client.clientId
          return undefined
        })
    )
  })

  /** The client to sign in as. Registrations are made one after the other, and are kept for their issuer alone. */
  const clientAt = Effect.fnUntraced(function*(
    as: AuthorizationServer.AuthorizationServer,
    server: Server.Server,
    scopes: ReadonlyArray<string>,
    dead: string | undefined
  ) {
    const clients = clientsOf(server)
    const { metadataDocument, registered } = clients
    const bound = registered?.issuer ?? Option.getOrUndefined(Option.map(server.signIn, ({ as }) => as.issuer))
    if (registered !== undefined && (bound ?? as.issuer) === as.issuer) {
      const secret = Clients.constantSecret(registered.authentication)
      return {
        isDynamic: false,
        client: {
          clientId: registered.clientId,
          secret,
          method: Option.isSome(secret) ? ClientRegistration.secretMethod(as) : "none"
        } satisfies ClientRegistration.Registered
      }
    }
    if (mode === "machine") {
      return yield* refuse(
        as.issuer,
        "login",
        "a program that signs in for itself needs a client that is registered there"
      )
    }
    if (metadataDocument !== undefined && as.client_id_metadata_document_supported === true) {
      return {
        isDynamic: false,
        client: {
          clientId: metadataDocument,
          secret: Option.none(),
          method: "none"
        } satisfies ClientRegistration.Registered
      }
    }
    const client = yield* lock.withLock(registrations.key(as.issuer), "login")(
      Effect.gen(function*() {
        const kept = yield* registrations.get(as.issuer)
        if (Option.isSome(kept) && kept.value.clientId !== dead) return kept.value
        const made = yield* ClientRegistration.register(url, as, {
          name: clients.name ?? "effect-authn",
          redirectUris: ClientRegistration.callbackPorts.map((port) => `http://127.0.0.1:${port}/callback`),
          scopes
        })
        yield* registrations.set(as.issuer, made)
        return made
      })
    )
    return { isDynamic: true, client }
  })

  /** Who gives tokens for the server. `None` where the server wants something else than a token of OAuth. */
  const find = Effect.fnUntraced(function*(
    challenge: Option.Option<ProtectedResource.Challenge>,
    server: Server.Server
  ) {
    const described = yield* ProtectedResource.discover(url, challenge)
    if (Option.isNone(described)) {
      if (Option.isNone(challenge)) return Option.none()
      const as = yield* AuthorizationServer.discoverLegacy(url)
      return Option.some({ as, resource: canonical, scopes: as.scopes_supported ?? [] })
    }
    const { authorizationServers, resource, scopes } = described.value
    const wanted = options.clients?.registered?.issuer ??
      Option.getOrUndefined(Option.map(server.signIn, ({ as }) => as.issuer))
    const issuer = authorizationServers.find((issuer) => issuer === wanted) ?? authorizationServers[0]
    const as = yield* AuthorizationServer.discover(url, issuer)
    return Option.some({ as, resource, scopes })
  })

  /** What a person is asked with. */
  const strategyFor = Effect.fnUntraced(function*(
    signIn: Server.SignIn,
    server: Server.Server,
    seen: number | undefined
  ): Effect.fn.Return<AuthStrategy, McpAuthError> {
    const oidc = yield* Effect.provideContext(oidcOf(signIn, clientsOf(server), signIn.scopes), services)
    if (mode === "machine") {
      const [source] = sourcesOf(signIn)
      const own = source === undefined ? OidcStrategy.clientCredentials() : OidcStrategy.from(source)
      return Strategy.provide(own, Context.pick(OidcIam.OidcIam)(oidc))
    }
    const browser = Context.getOption(services as Context.Context<never>, Browser)
    const callbacks = Context.getOption(services as Context.Context<never>, CallbackServer)
    const prompt = Context.getOption(services as Context.Context<never>, LoginPrompt)
    if (mode === "never" || Option.isNone(browser) || Option.isNone(callbacks) || Option.isNone(prompt)) {
      return yield* signedOut(signIn.as.issuer, signIn.client.clientId, "nobody can be asked here")
    }
    const isFirst = !Option.exists(
      server.signIn,
      ({ as, resource }) => as.issuer === signIn.as.issuer && resource === signIn.resource
    )
    const person = Context.make(Browser, browser.value).pipe(
      Context.add(
        CallbackServer,
        isFirst ? Asking.confirming(signIn, callbacks.value, canonical) : callbacks.value
      ),
      Context.add(LoginPrompt, prompt.value),
      Context.add(BrowserLogin, Context.get(oidc, BrowserLogin))
    )
    const way = mode === "browser"
      ? Strategy.provide(Asking.inFront(InteractiveStrategy.browser()), person)
      : Strategy.provide(
        Asking.withDevice(InteractiveStrategy.interactive(), Context.get(oidc, DeviceLogin), signIn.as),
        person
      )
    // Another program may have signed in since this one looked.
    return { ...Strategy.firstOf(Asking.newerThan(seen), way), interactive: true }
  })

  /**
   * Signs in, with what the server asks for. One sign-in at a time; who waited takes what it brought. `None` where the
   * server wants something else.
   */
  const signIn = (asked: {
    readonly challenge: Option.Option<ProtectedResource.Challenge>
    readonly refused: Session.Bearer | undefined
    readonly isForced: boolean
    readonly scopes: ReadonlyArray<string>
  }) =>
    turn.withPermit(Effect.gen(function*(): Effect.fn.Return<
      Option.Option<{ readonly bearer: Session.Bearer; readonly session: Option.Option<Session.Session> }>,
      McpAuthError,
      Services
    > {
      const server = yield* remembered
      const isOther = (bearer: Session.Bearer | undefined): bearer is Session.Bearer =>
        bearer !== undefined && (asked.refused === undefined || bearer.login !== asked.refused.login)
      const coversAll = (signIn: Server.SignIn) => asked.scopes.every((scope) => signIn.scopes.includes(scope))
      if (!asked.isForced) {
        const one = Option.isNone(server.signIn) ? undefined : yield* connect(server.signIn.value, clientsOf(server))
        const bearer = yield* present(one)
        if (one !== undefined && isOther(bearer) && coversAll(one.signIn)) {
          connected = one
          return Option.some({ bearer, session: Option.none() })
        }
      }
      const found = yield* find(asked.challenge, server)
      if (Option.isNone(found)) return Option.none()
      const { as, resource } = found.value
      if (mode !== "machine") yield* AuthorizationServer.requireS256(as)
      if (mode === "never") {
        return yield* signedOut(
          as.issuer,
          "any client",
          asked.refused === undefined ? "nobody has signed in" : "refused"
        )
      }
      const before = Option.match(
        Option.filter(server.signIn, (one) => one.as.issuer === as.issuer && one.resource === resource),
        { onNone: (): ReadonlyArray<string> => [], onSome: ({ scopes }) => scopes }
      )
      const named = Option.match(asked.challenge, { onNone: () => [], onSome: ({ scopes }) => scopes })
      const wanted = [
        ...before,
        ...asked.scopes,
        ...(named.length > 0 ? named : asked.scopes.length > 0 ? [] : found.value.scopes),
        ...(options.scopes ?? server.settings.scopes),
        ...(mode !== "machine" && as.scopes_supported?.includes("offline_access") === true ? ["offline_access"] : [])
      ]
      const scopes = [...new Set(wanted)]

      const attempt = Effect.fnUntraced(function*(dead: string | undefined): Effect.fn.Return<
        Session.Session,
        McpAuthError,
        Services
      > {
        const { client, isDynamic } = yield* clientAt(as, server, scopes, dead)
        const signIn: Server.SignIn = { resource, as, client, isDynamic, scopes }
        const one = yield* connect(signIn, clientsOf(server))
        const held = yield* one.manager.session
        const strategy = yield* strategyFor(
          signIn,
          server,
          asked.isForced ? Option.getOrUndefined(Option.map(held, Session.login)) : asked.refused?.login
        )
        const session = yield* one.manager.login(strategy)
        yield* servers.set(canonical, {
          settings: Clients.settings(server, as.issuer, options),
          signIn: Option.some(signIn)
        })
        connected = one
        gone = undefined
        return session
      })
      const first = gone
      const session = yield* Effect.catchIf(
        attempt(first),
        (error) => first === undefined && clientsOf(server).registered === undefined && isRefusedClient(error),
        // A registration that died is made anew, once.
        (error) =>
          Effect.flatMap(
            registrations.get(as.issuer),
            (kept) => Option.isSome(kept) ? attempt(kept.value.clientId) : Effect.fail(error)
          )
      )
      const bearer = yield* present(connected)
      return bearer === undefined
        ? yield* signedOut(as.issuer, session.key.clientId, "the session ended at once")
        : Option.some({ bearer, session: Option.some(session) })
    }))

  const send = (request: HttpClientRequest.HttpClientRequest) =>
    SecureUrl.withoutRedirects(http.postprocess(Effect.succeed(request)))

  // How often a sign-in for a set of scopes did not help, in this program.
  const stepUps = new Map<string, number>()

  const attempt = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest): Effect.fn.Return<
    HttpClientResponse.HttpClientResponse,
    HttpClientError.HttpClientError | McpAuthError,
    Services
  > {
    const address = HttpClientRequest.toUrl(request)
    // A token goes to its resource's origin, and nowhere else.
    if (Option.isNone(address) || address.value.origin !== url.origin) return yield* send(request)
    const sendWith = (bearer: Session.Bearer | undefined) =>
      bearer === undefined || connected === undefined
        ? send(request)
        : Effect.flatMap(connected.manager.present(bearer, request), send)
    // A server that wants a nonce in the proof gets it once.
    const sendAgain = (bearer: Session.Bearer | undefined, response: HttpClientResponse.HttpClientResponse) =>
      Effect.gen(function*() {
        if (bearer === undefined || connected === undefined) return response
        const challenge = yield* connected.manager.challenged(bearer, response)
        return challenge === "retry" && Exchange.canReplay(request) ? yield* sendWith(bearer) : response
      })
    const show = (bearer: Session.Bearer | undefined) =>
      Effect.flatMap(sendWith(bearer), (response) => sendAgain(bearer, response))
    let bearer = yield* present(yield* known)
    let response = yield* show(bearer)
    if (!Exchange.canReplay(request)) return response
    let isRenewed = false
    let isSignedIn = false
    let steps = 0
    for (;;) {
      if (response.status === 401 || response.status === 403) response = yield* Exchange.read(response)
      const challenge = ProtectedResource.challenge(response.headers["www-authenticate"] ?? "")
      if (response.status === 401) {
        if (bearer !== undefined && connected !== undefined && !isRenewed) {
          isRenewed = true
          const other = yield* Effect.result(connected.manager.rejected(bearer))
          if (Result.isSuccess(other)) {
            bearer = other.success
            response = yield* show(bearer)
            continue
          }
          if (isRefusedClient(other.failure)) gone = connected.signIn.client.clientId
          else if (!isEnded(other.failure)) return yield* other.failure
        }
        if (isSignedIn) return response
        const next = yield* signIn({ challenge, refused: bearer, isForced: false, scopes: [] })
        if (Option.isNone(next)) return response
        isSignedIn = true
        bearer = next.value.bearer
        response = yield* show(bearer)
        continue
      }
      const isTooSmall = response.status === 403 &&
        Option.exists(challenge, ({ error }) => Option.contains(error, "insufficient_scope"))
      if (!isTooSmall || bearer === undefined || mode === "never") return response
      const { scopes: required } = Option.getOrThrow(challenge)
      const union = [...new Set([...connected?.signIn.scopes ?? [], ...required])].sort()
      const id = union.join(" ")
      const tried = stepUps.get(id) ?? 0
      if (steps >= stepUpLimit || tried >= stepUpLimit) return yield* new ScopeRefused({ url: canonical, required })
      steps += 1
      stepUps.set(id, tried + 1)
      const next = yield* signIn({ challenge, refused: bearer, isForced: false, scopes: union })
      if (Option.isNone(next)) return response
      bearer = next.value.bearer
      response = yield* show(bearer)
      if (response.status < 400) stepUps.delete(id)
    }
  }, Effect.provideContext(services))

  const client = HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
    Effect.flatMap((request) =>
      Effect.mapError(
        withCommand(attempt(request)),
        (error) => HttpClientError.isHttpClientError(error) ? error : carried(request, error)
      )
    ),
    http.preprocess
  )

  const bearer = Effect.gen(function*(): Effect.fn.Return<Session.Bearer, McpAuthError> {
    const one = yield* known
    return one === undefined
      ? yield* signedOut(canonical, "any client", "nobody has signed in")
      : yield* one.manager.bearerToken
  })

  return {
    client,
    bearer: withCommand(bearer),
    login: Effect.gen(function*() {
      // What the server asks for, it says to somebody who comes with nothing.
      const response = yield* Effect.flatMap(send(Exchange.probe(url)), Exchange.read).pipe(
        Effect.mapError(({ message }) => refuse(url.origin, "login", `the server cannot be reached: ${message}`))
      )
      const challenge = ProtectedResource.challenge(response.headers["www-authenticate"] ?? "")
      const made = yield* signIn({ challenge, refused: undefined, isForced: true, scopes: [] })
      return Option.isSome(made) && Option.isSome(made.value.session)
        ? made.value.session.value
        : yield* refuse(
          url.origin,
          "login",
          `the server does not say where to sign in (status ${response.status}): nothing has to be done, or it wants ` +
            "something else than a token of OAuth"
        )
    }).pipe(Effect.provideContext(services)),
    logout: Effect.gen(function*() {
      const one = yield* known
      const revocation = one === undefined
        ? Revocation.cases.NotRevoked.make({ reason: "nobody was signed in" })
        : yield* one.manager.logout
      yield* servers.drop(canonical)
      connected = undefined
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
export const login = (options: Options): Effect.Effect<Session.Session, McpAuthError, Services> =>
  Effect.scoped(Effect.flatMap(make(options), ({ login }) => login))

/**
 * Ends the session at a server, and forgets what was remembered of it. The answer says whether the authorization server
 * was told.
 *
 * @category sessions
 * @since 0.1.0
 */
export const logout = (options: Options): Effect.Effect<Revocation, McpAuthError, Services> =>
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
 * The servers at which somebody has signed in, by their canonical addresses.
 *
 * @category sessions
 * @since 0.1.0
 */
export const servers: Effect.Effect<ReadonlyArray<string>, TokenStorageError | SessionLockError, Services> = Effect
  .map(
    TokenStorage.use((storage) => storage.keys),
    (keys) => [...new Set(keys.filter(({ clientId }) => clientId === serverKind).map(({ issuer }) => issuer))].sort()
  )

const isReauthentication = Schema.is(ReauthenticationRequired)
const isNotAuthenticated = Schema.is(NotAuthenticated)

/** Whether only a new sign-in helps. */
const isEnded = (error: AuthError | ScopeRefused): boolean => isReauthentication(error) || isNotAuthenticated(error)

/** Whether the authorization server does not know the client any more. */
const isRefusedClient = (error: AuthError | ScopeRefused): boolean =>
  error._tag === "IamError" && error.reason._tag === "Misconfigured" && error.reason.refused === "client"

const carried = (request: HttpClientRequest.HttpClientRequest, cause: McpAuthError | HttpClientError.HttpClientError) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, cause, description: cause.message })
  })
