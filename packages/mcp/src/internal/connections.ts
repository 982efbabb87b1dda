/**
 * What is known of a server's sign-ins, and the managers of their sessions: one for each client at an issuer, of which one is
 * in use.
 */
import * as AuthManager from "@effect-authn/core/AuthManager"
import { IamClient } from "@effect-authn/core/iam/IamClient"
import type { IamError } from "@effect-authn/core/iam/IamError"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import type * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as TokenSource from "@effect-authn/iam-oidc/TokenSource"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as ClientRegistration from "../ClientRegistration.ts"
import * as Clients from "./clients.ts"
import * as Named from "./named.ts"
import type { Options, Services } from "./options.ts"
import * as Reason from "./reason.ts"
import * as Records from "./records.ts"
import * as Server from "./server.ts"

/** A manager, and what its sessions were asked for with. */
export interface Connected {
  readonly signIn: Server.SignIn
  readonly manager: AuthManager.AuthManager["Service"]
}

/** As which client records of servers are kept. */
export const serverKind = "mcp server"

/** The connections of a server, whose canonical address names it. */
export type Connections = Effect.Success<ReturnType<typeof make>>

/** Nothing is read or sent before the first use. */
export const make = Effect.fnUntraced(function*(url: URL, canonical: string, options: Options) {
  const scope = yield* Effect.scope
  const services = yield* Effect.context<Services>()
  const storage = yield* TokenStorage
  const account = options.account ?? "default"
  const keeper = yield* Records.keeper
  const servers = Records.make(keeper, storage, serverKind, Server.Server, account)

  /** The records of clients that registered themselves, by issuer. */
  const registrations = Records.make(keeper, storage, "mcp client", ClientRegistration.Registered)

  /** Forgets the registration of a client, unless there is another one by now. */
  const forgetClient = Effect.fnUntraced(function*({ as: { issuer }, client: { clientId } }: Server.SignIn) {
    const kept = yield* registrations.get(issuer)
    if (Option.exists(kept, (one) => one.clientId === clientId)) yield* registrations.drop(issuer)
  })

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

  const connect = Effect.fnUntraced(function*(
    signIn: Server.SignIn,
    clients: ClientRegistration.Clients
  ): Effect.fn.Return<Connected, IamError> {
    const scopes = options.login === "machine" ? signIn.scopes : []
    const name = Reason.nameOf({ canonical: signIn.resource, account })
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
  let gone: string | undefined

  return {
    /** The address of the server. */
    url,
    /** What the server is called, everywhere. */
    canonical,
    /** Which of several sessions at the server. */
    account,
    /** What earlier sign-ins have left. */
    remembered,
    /** Remembers what a sign-in leaves. */
    remember: (server: Server.Server) => servers.set(canonical, server),
    /**
     * Forgets the server, the connection that is in use, and a registration that no other server uses: where the
     * authorization server no longer knows it, only its page says so, and this is the way to another one.
     */
    forget: Effect.gen(function*() {
      const { signIn } = yield* remembered
      yield* servers.drop(canonical)
      connected = undefined
      if (Option.isNone(signIn) || !signIn.value.isDynamic) return
      const { clientId } = signIn.value.client
      for (const key of yield* storage.keys) {
        if (key.clientId !== serverKind) continue
        const other = yield* Records.make(keeper, storage, serverKind, Server.Server, key.account).get(key.issuer)
        if (Option.exists(Option.flatMap(other, ({ signIn }) => signIn), (one) => one.client.clientId === clientId)) {
          return
        }
      }
      yield* forgetClient(signIn.value)
    }),
    forgetClient,
    registrations,
    clientsOf,
    sourcesOf,
    oidcOf,
    /** The manager of the sessions of a client at an issuer. There is one, however often it is asked for. */
    connect,
    /** The connection that is in use. */
    current: (): Connected | undefined => connected,
    /** Uses a connection from now on. */
    take: (one: Connected): void => {
      connected = one
    },
    /** The client that the authorization server no longer knows. */
    gone: (): string | undefined => gone,
    /** Notes the client that the authorization server no longer knows, or that a sign-in has brought another. */
    lost: (clientId: string | undefined): void => {
      gone = clientId
    },
    /** The connection of the last sign-in, of this program or of another one. */
    known: Effect.gen(function*(): Effect.fn.Return<Connected | undefined, Reason.McpAuthError> {
      if (connected !== undefined) return connected
      const server = yield* remembered
      if (Option.isNone(server.signIn)) return undefined
      connected = yield* connect(server.signIn.value, clientsOf(server))
      return connected
    }),
    /** What the session has to show now, without asking anybody; nothing where only a sign-in helps. */
    present: Effect.fnUntraced(function*(
      one: Connected | undefined
    ): Effect.fn.Return<Session.Bearer | undefined, Reason.McpAuthError> {
      if (one === undefined) return undefined
      return yield* Effect.catchIf(
        one.manager.bearerToken,
        (error) => Reason.isEnded(error) || Reason.isRefusedClient(error),
        (error) =>
          Effect.sync(() => {
            if (Reason.isRefusedClient(error)) gone = one.signIn.client.clientId
            return undefined
          })
      )
    })
  }
})
