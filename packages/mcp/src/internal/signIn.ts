/** Signing in at a server: who gives tokens for it, as which client, and how a person is asked. */
import { ReauthenticationRequired } from "@effect-authn/core/AuthError"
import { BrowserLogin } from "@effect-authn/core/iam/BrowserLogin"
import { DeviceLogin } from "@effect-authn/core/iam/DeviceLogin"
import type { AuthStrategy } from "@effect-authn/core/login/AuthStrategy"
import * as Strategy from "@effect-authn/core/login/AuthStrategy"
import { Browser } from "@effect-authn/core/login/Browser"
import { CallbackServer } from "@effect-authn/core/login/CallbackServer"
import * as InteractiveStrategy from "@effect-authn/core/login/InteractiveStrategy"
import { LoginPrompt } from "@effect-authn/core/login/LoginPrompt"
import * as Session from "@effect-authn/core/session/Session"
import { SessionLock } from "@effect-authn/core/storage/SessionLock"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as OidcStrategy from "@effect-authn/iam-oidc/OidcStrategy"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as AuthorizationServer from "../AuthorizationServer.ts"
import * as ClientRegistration from "../ClientRegistration.ts"
import * as ProtectedResource from "../ProtectedResource.ts"
import * as Asking from "./asking.ts"
import * as Clients from "./clients.ts"
import type { Connections } from "./connections.ts"
import type { Options, Services } from "./options.ts"
import * as Reason from "./reason.ts"
import type * as Server from "./server.ts"

/** Why somebody has to sign in, and what for. */
export interface Asked {
  readonly challenge: Option.Option<ProtectedResource.Challenge>
  /** What the server has refused. */
  readonly refused: Session.Bearer | undefined
  /** Whether a session that is there does not do. */
  readonly isForced: boolean
  readonly scopes: ReadonlyArray<string>
}

/** What a sign-in brought: something to show, and the session where it is new. */
export interface SignedIn {
  readonly bearer: Session.Bearer
  readonly session: Option.Option<Session.Session>
}

/** How a server is signed in to. */
export const make = Effect.fnUntraced(function*(options: Options, connections: Connections) {
  const services = yield* Effect.context<Services>()
  const lock = yield* SessionLock
  const mode = options.login ?? "browser"
  const { canonical, clientsOf, connect, oidcOf, present, registrations, remembered, sourcesOf, url } = connections
  const turn = Semaphore.makeUnsafe(1)

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
      return yield* Reason.misconfigured(
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
  ): Effect.fn.Return<AuthStrategy, Reason.McpAuthError> {
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
      return yield* Reason.signedOut(connections, {
        issuer: signIn.as.issuer,
        clientId: signIn.client.clientId,
        detail: "nobody can be asked here"
      })
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
      ? Strategy.provide(Asking.inFront(InteractiveStrategy.browser(), connections), person)
      : Strategy.provide(
        Asking.withDevice(InteractiveStrategy.interactive(), Context.get(oidc, DeviceLogin), signIn.as),
        person
      )
    // Another program may have signed in since this one looked.
    return { ...Strategy.firstOf(Asking.newerThan(seen), way), interactive: true }
  })

  /** Where there was no way to ask a person, why, and where there is one. */
  const withoutWay = (error: Reason.McpAuthError): Reason.McpAuthError => {
    if (mode === "machine" || !Reason.isWithoutWay(error)) return error
    const { key: { clientId, issuer }, tried } = error
    const ways = tried.filter(({ strategy }) => strategy !== Asking.elsewhere)
      .map(({ reason, strategy }) => `${strategy}: ${reason}`)
    const detail = `nobody can be asked here (${ways.join("; ")}); at a terminal with a person`
    return Reason.signedOut(connections, { clientId, detail, issuer })
  }

  /** Where nobody can be asked, how the session ended says more than that nobody is signed in. */
  const telling = <A, R>(effect: Effect.Effect<A, Reason.McpAuthError, R>) =>
    Effect.catchIf(effect, Reason.isNotAuthenticated, (error) =>
      Effect.gen(function*() {
        const one = yield* connections.known
        const held = one === undefined ? Option.none() : yield* one.manager.session
        const now = yield* DateTime.now
        if (Option.isNone(held) || (Option.isNone(held.value.dead) && Session.isAlive(held.value, now))) {
          return yield* error
        }
        const { answerLost, detail } = Session.ending(held.value, now)
        return yield* new ReauthenticationRequired({
          key: held.value.key,
          answerLost,
          detail: error.detail === undefined ? detail : `${detail}; ${error.detail}`
        })
      }))

  /**
   * Signs in, with what the server asks for. One sign-in at a time; who waited takes what it brought. `None` where the
   * server wants something else.
   */
  return (asked: Asked) =>
    telling(turn.withPermit(Effect.gen(function*(): Effect.fn.Return<
      Option.Option<SignedIn>,
      Reason.McpAuthError,
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
          connections.take(one)
          return Option.some({ bearer, session: Option.none() })
        }
      }
      const found = yield* find(asked.challenge, server)
      if (Option.isNone(found)) return Option.none()
      const { as, resource } = found.value
      if (mode !== "machine") yield* AuthorizationServer.requireS256(as)
      if (mode === "never") {
        return yield* Reason.signedOut(connections, {
          issuer: as.issuer,
          clientId: "any client",
          detail: asked.refused === undefined ? "nobody has signed in" : "refused"
        })
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
        Reason.McpAuthError,
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
        const session = yield* Effect.mapError(one.manager.login(strategy), withoutWay)
        yield* connections.remember({
          settings: Clients.settings(server, as.issuer, options),
          signIn: Option.some(signIn)
        })
        connections.take(one)
        connections.lost(undefined)
        return session
      })
      const first = connections.gone()
      const session = yield* Effect.catchIf(
        attempt(first),
        (error) => first === undefined && clientsOf(server).registered === undefined && Reason.isRefusedClient(error),
        // A registration that died is made anew, once.
        (error) =>
          Effect.flatMap(
            registrations.get(as.issuer),
            (kept) => Option.isSome(kept) ? attempt(kept.value.clientId) : Effect.fail(error)
          )
      )
      const bearer = yield* present(connections.current())
      return bearer === undefined
        ? yield* Reason.signedOut(connections, {
          issuer: as.issuer,
          clientId: session.key.clientId,
          detail: "the session ended at once"
        })
        : Option.some({ bearer, session: Option.some(session) })
    })))
})
