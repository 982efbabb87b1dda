/**
 * Any OAuth 2 or OpenID Connect provider, as an `IamClient`, with its browser and device logins.
 *
 * @since 0.1.0
 */
import { BrowserLogin } from "@effect-authn/core/iam/BrowserLogin"
import { DeviceLogin } from "@effect-authn/core/iam/DeviceLogin"
import * as ExportDocument from "@effect-authn/core/iam/ExportDocument"
import { adoptBearer, IamClient, presentBearer, Revocation } from "@effect-authn/core/iam/IamClient"
import {
  type IamError,
  type IamErrorReason,
  Malformed,
  Misconfigured,
  SelectionRefused,
  Unavailable,
  Unsupported
} from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import { WorkloadIdentity } from "@effect-authn/core/login/WorkloadIdentity"
import type * as Selection from "@effect-authn/core/session/Selection"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as oauth from "oauth4webapi"
import * as OidcBrowserLogin from "./internal/browserLogin.ts"
import * as OidcDeviceLogin from "./internal/deviceLogin.ts"
import * as Dpop from "./internal/dpop.ts"
import * as Granted from "./internal/granted.ts"
import * as Issue from "./internal/issue.ts"
import * as Provider from "./internal/provider.ts"
import * as Refusal from "./internal/refusal.ts"
import * as TokenAnswer from "./internal/tokenAnswer.ts"
import * as Userinfo from "./internal/userinfo.ts"
import * as Workload from "./internal/workload.ts"
import * as OidcClaims from "./OidcClaims.ts"
import * as OidcOptions from "./OidcOptions.ts"
import * as TokenSource from "./TokenSource.ts"

/**
 * What this dialect has besides an `IamClient`.
 *
 * @category services
 * @since 0.1.0
 */
export class OidcIam extends Context.Service<OidcIam, {
  /**
   * Makes a token for the client itself (RFC 6749, section 4.4). `OidcStrategy.clientCredentials` signs in with it. Fails
   * with `CredentialsRefused` when the provider refuses the client.
   */
  readonly clientCredentials: (selection: Selection.Selection) => Effect.Effect<TokenResponse, IamError>
  /**
   * Makes a token from a source, and remembers the source under its name, so that the session renews from it. The
   * strategies of `OidcStrategy` sign in with it. Fails with `CredentialsRefused` when the provider refuses what the source
   * gave, and with `Malformed` when the token is of somebody else.
   */
  readonly issue: (
    source: TokenSource.TokenSource,
    selection: Selection.Selection
  ) => Effect.Effect<TokenResponse, IamError>
  /**
   * Exchanges a token for another one (RFC 8693), of any type, which becomes no session. It fails with
   * `CredentialsRefused` when the provider refuses the tokens that were given, and with `Malformed` when it gives another
   * type than was asked for.
   */
  readonly exchange: (exchange: TokenSource.Exchange) => Effect.Effect<TokenSource.Exchanged, IamError>
  /**
   * The page that signs the person out at the provider too (OpenID Connect RP-Initiated Logout 1.0), to be opened in their
   * browser; `None` where the provider has none. `logout` opens no page: it revokes the tokens and forgets the session, so
   * take the address before. It holds the id_token, and belongs in no log.
   */
  readonly endSessionUrl: (
    session: Session.Session,
    options?: { readonly postLogoutRedirectUri?: string | undefined; readonly state?: string | undefined }
  ) => Effect.Effect<Option.Option<string>, IamError>
}>()("@effect-authn/iam-oidc/OidcIam") {}

/**
 * Makes the services of one provider. Nothing is sent before the first use; what is wrong with the options is
 * `Misconfigured`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: OidcOptions.OidcOptions): Effect.fn.Return<
  Context.Context<IamClient | BrowserLogin | DeviceLogin | OidcIam>,
  IamError,
  HttpClient.HttpClient
> {
  const settings = yield* OidcOptions.complete(options)
  const provider = yield* Provider.make(settings)
  const { clientId, issuer, policy } = settings
  const fail = (method: string, reason: IamErrorReason) => IamHttp.error({ issuer, method }, reason)

  /** Whoever names another token endpoint than at the login would be sent what the session lives from. */
  const isElsewhere = Effect.fnUntraced(function*({ madeAt }: Session.Session): Effect.fn.Return<boolean, IamError> {
    if (madeAt === undefined) return false
    const address = provider.addressIn(yield* provider.metadata("token_endpoint"), "token_endpoint")
    return address !== undefined && URL.parse(address)?.href !== URL.parse(madeAt.token)?.href
  })

  /** An endpoint of a session's login. One that was not known then has to be where its token endpoint is. */
  const endpointOf = Effect.fnUntraced(function*(
    { madeAt }: Session.Session,
    name: "revocation" | "userinfo"
  ): Effect.fn.Return<string | undefined, IamError> {
    if (madeAt?.[name] !== undefined) return madeAt[name]
    const endpoint = `${name}_endpoint` as const
    const address = provider.addressIn(yield* provider.metadata(endpoint), endpoint)
    if (address === undefined || madeAt === undefined) return address
    return URL.parse(address)?.origin === URL.parse(madeAt.token)?.origin ? address : undefined
  })

  const clientCredentials = Effect.fn("OidcIam.clientCredentials")(function*(
    selection: Selection.Selection,
    session?: Session.Session
  ) {
    const call = provider.call("login")
    // The scopes of the options are for people.
    const target = yield* OidcOptions.target(settings, selection, "login", OidcOptions.scopesOfPrograms(settings))
    const answer = yield* provider.request(
      call,
      ({ as, auth, client, options }) => oauth.clientCredentialsGrantRequest(as, client, auth, { ...target }, options),
      {
        way: session?.madeAt?.clientAuthentication,
        bound: yield* session === undefined ? provider.binding : provider.bindingOf(session)
      }
    )
    if (!TokenAnswer.isIssued(answer)) return yield* Refusal.errorOf(answer, call, "client")
    const accepted = yield* TokenAnswer.accept(provider, answer, call, oauth.processClientCredentialsResponse)
    // With its credentials at hand, a client needs no refresh token.
    return TokenAnswer.issued(provider, { ...accepted, refreshToken: undefined }, {
      grant: Session.Grant.make({ _tag: "Reissue" }),
      user: Option.none(),
      scope: target["scope"],
      madeAt: session?.madeAt
    })
  })

  // How many renewals of an account were refused in a row without a word of what became of its grant.
  const doubts = new Map<string, number>()

  /** When in doubt the session is kept, but not asked for at full pace for ever. */
  const doubt = ({ key }: Session.Session, error: IamError): IamError => {
    if (error.reason._tag !== "Unavailable") return error
    const inARow = (doubts.get(key.account) ?? 0) + 1
    doubts.set(key.account, inARow)
    const { detail, retryAfter, sent } = error.reason
    return fail("renew", new Unavailable({ sent, detail, retryAfter: retryAfter ?? Refusal.doubtful(inARow) }))
  }

  const refresh = Effect.fnUntraced(function*(
    session: Session.Session,
    refreshToken: Redacted.Redacted,
    selection: Selection.Selection
  ): Effect.fn.Return<TokenResponse, IamError> {
    const call = provider.call("renew", refreshToken)
    const startedAt = yield* Clock.currentTimeMillis
    const { audience, resource = "", ...rest } = yield* OidcOptions.target(settings, selection, "renew", [])
    // A session that another program signed in for something else is renewed as what it is.
    const isForeign = selection.resource === undefined && session.granted?.resources.includes(resource) === false
    const target = resource === "" || isForeign ? rest : { ...rest, resource }
    const missing = Granted.missing(session.granted, selection.resource === audience ? { ...target, audience } : target)
    if (missing !== undefined) {
      const detail = `this session was not granted ${missing}: sign in again and select it`
      return yield* fail("renew", new SelectionRefused({ detail, spent: "no" }))
    }
    const answer = yield* provider.request(
      call,
      ({ as, auth, client, options }) =>
        oauth.refreshTokenGrantRequest(as, client, auth, Redacted.value(refreshToken), {
          ...options,
          additionalParameters: target
        }),
      { way: session.madeAt?.clientAuthentication, bound: yield* provider.bindingOf(session) }
    )
    if (!TokenAnswer.isIssued(answer)) {
      const refused = Refusal.errorOf(answer, call, "renew", session.rotates === false ? "no" : "maybe")
      if (Refusal.isDoubtful(answer, refused)) return yield* doubt(session, refused)
      doubts.delete(session.key.account)
      return yield* refused
    }
    doubts.delete(session.key.account)
    const idToken = Option.getOrUndefined(answer.body)?.["id_token"]
    const subject = subjectOf(session)
    const named = typeof idToken === "string" ? subjectIn(idToken, issuer) : undefined
    if (subject !== undefined && named !== undefined && named !== subject) {
      return yield* fail("renew", new Malformed({ detail: "the provider answered for another person than signed in" }))
    }
    const { checked, tokens } = yield* TokenAnswer.acceptRenewal(provider, answer, call)
    // The refresh token is spent: neither an id_token nor a wait for the keys to check it with may cost the new one.
    const left = Duration.toMillis(policy.timeLimit) - DateTime.toEpochMillis(answer.receivedAt) + startedAt
    const timeLimit = Duration.millis(Math.min(keysTimeLimit, Math.round(left / 2)))
    const accepted = yield* checked(timeLimit).pipe(
      Effect.catch(({ reason }) =>
        Effect.as(
          Effect.logWarning(`${issuer} renewed with an id_token that cannot be checked: ${reason.detail}`),
          tokens
        )
      )
    )
    return TokenAnswer.issued(provider, accepted, {
      grant: session.grant,
      user: Option.none(),
      idToken: idTokenOf(session),
      scope: target["scope"] ?? scopeOf(session, selection),
      granted: Granted.after(session.granted, accepted.scope),
      madeAt: session.madeAt
    })
  })

  const sources = new Map(settings.sources.map((source) => [source.name, source]))

  const reissue = (session: Session.Session, name: string | undefined, selection: Selection.Selection) => {
    if (name === undefined) return clientCredentials(selection, session)
    const source = sources.get(name)
    return source === undefined
      ? Effect.fail(fail(
        "renew",
        new Misconfigured({
          detail:
            `the session was made by "${session.strategy}" and gets its tokens from the source "${name}", which ` +
            "this program does not have: run it where that is, name it in the option `sources`, or sign in again"
        })
      ))
      : Issue.issue(provider, source, selection, session)
  }

  const iam = IamClient.of({
    issuer,
    clientId,
    policy,
    selection: OidcOptions.selection(settings),
    environment: settings.environment,

    login: () =>
      Effect.fail(
        fail("login", new Unsupported({ detail: "OpenID Connect has no password login: sign in with the browser" }))
      ),

    adopt: adoptBearer({ issuer }),

    renew: Effect.fn("OidcIam.renew")(function*(session: Session.Session, target: Selection.Selection) {
      if (yield* isElsewhere(session)) {
        const detail =
          `the token endpoint is another than at this session's login, ${session.madeAt?.token}: nothing ` +
          "was sent; sign in again, or put the old metadata back"
        return yield* fail("renew", new Misconfigured({ detail }))
      }
      switch (session.grant._tag) {
        case "RefreshToken":
          return yield* refresh(session, session.grant.refreshToken, target)
        case "Reissue":
          return yield* reissue(session, session.grant.source, target)
        default:
          return yield* fail("renew", new Unsupported({ detail: "the session has no refresh token: sign in again" }))
      }
    }),

    whoami: Effect.fn("OidcIam.whoami")(function*(session: Session.Session) {
      const tokens = Session.currentToken(session)
      const { resource = settings.resource } = session.current
      // At Auth0 a token with an audience is one for userinfo, too.
      const isForApi = resource !== undefined && resource !== settings.audience
      const known = OidcClaims.best(
        [Option.flatMap(claimsOf(session), OidcClaims.toUser), session.user].flatMap(Option.toArray)
      )
      if (!isForApi && session.grant._tag !== "Reissue" && Option.isSome(tokens)) {
        const address = yield* endpointOf(session, "userinfo")
        const bound = yield* provider.bindingOf(session)
        return yield* Userinfo.ask(provider, tokens.value.accessToken, subjectOf(session), { address, bound }).pipe(
          Effect.map((asked) => Option.getOrElse(OidcClaims.best([asked, ...Option.toArray(known)]), () => asked)),
          Effect.catchReason(
            "IamError",
            "Unsupported",
            (reason) => Effect.fromOption(known, () => fail("whoami", reason))
          )
        )
      }
      return yield* Effect.fromOption(
        known,
        () => fail("whoami", new Unsupported({ detail: "the session is not of a person who is known by name" }))
      )
    }),

    revoke: Effect.fn("OidcIam.revoke")(function*(session: Session.Session) {
      const kept = (reason: string) => Revocation.cases.NotRevoked.make({ reason })
      const tokens = Option.getOrUndefined(Session.currentToken(session))
      const [token, hint] = session.grant._tag === "RefreshToken"
        ? [session.grant.refreshToken, "refresh_token"]
        : [tokens?.accessToken, "access_token"]
      if (token === undefined) return kept("there is no token that could be revoked")
      const address = yield* endpointOf(session, "revocation")
      if (address === undefined) {
        return kept("the provider has no revocation endpoint")
      }
      const call = provider.call("revoke", token)
      const answer = yield* provider.request(
        call,
        ({ as, auth, client, options }) =>
          oauth.revocationRequest(as, client, auth, Redacted.value(token), {
            ...options,
            additionalParameters: { token_type_hint: hint }
          }),
        { way: session.madeAt?.clientAuthentication, endpoint: "revocation_endpoint", address }
      )
      return answer.status < 300
        ? Revocation.cases.Revoked.make({})
        : kept(`the provider did not revoke: ${Option.getOrElse(answer.message, () => answer.shape)}`)
    }),

    present: Effect.fnUntraced(function*(bearer, request) {
      const bound = yield* provider.bindingOf(bearer)
      if (bound === undefined) return yield* presentBearer(bearer, request)
      const url = HttpClientRequest.toUrl(request)
      if (Option.isNone(url)) {
        return yield* fail(
          "present",
          new Misconfigured({ detail: "the request has no address to prove the token for" })
        )
      }
      const { accessToken } = bearer.tokens
      const headers = yield* Dpop.headers(bound, { method: request.method, url: url.value, accessToken })
      return HttpClientRequest.setHeaders(request, headers)
    }),

    challenged: Effect.fnUntraced(function*(bearer, { headers, request, status }) {
      const nonce = headers["dpop-nonce"]
      const bound = bearer.proofKey === undefined || nonce === undefined
        ? undefined
        : yield* Effect.orElseSucceed(provider.bindingOf(bearer), () => undefined)
      const url = URL.parse(request.url)
      if (bound !== undefined && nonce !== undefined && url !== null) yield* Dpop.learned(bound, url, nonce)
      if (status !== 401) return "no"
      const wanted = headers["www-authenticate"] ?? ""
      if (bearer.proofKey === undefined) return "rejected"
      if (/\buse_dpop_nonce\b/.test(wanted)) return bound === undefined ? "no" : "retry"
      if (!/\binvalid_dpop_proof\b/.test(wanted)) return "rejected"
      // It is the proof, and another token would be shown with the same.
      const time = Result.getSuccess(Headers.parseHttpDate(headers["date"] ?? ""))
      return url !== null && (yield* provider.keepTime(time, url)) ? "retry" : "no"
    }),

    document: ExportDocument.make({ issuer })
  })

  const oidc = OidcIam.of({
    clientCredentials: (selection) => clientCredentials(selection),
    issue: Effect.fn("OidcIam.issue")(function*(source: TokenSource.TokenSource, selection: Selection.Selection) {
      const issued = yield* Issue.issue(provider, source, selection)
      sources.set(source.name, source)
      return issued
    }),
    exchange: Effect.fn("OidcIam.exchange")((exchange: TokenSource.Exchange) => Issue.exchange(provider, exchange)),
    endSessionUrl: Effect.fnUntraced(function*(session, options) {
      const { end_session_endpoint: address } = yield* provider.metadata("end_session_endpoint")
      if (address === undefined) return Option.none()
      const url = new URL(address)
      const idToken = idTokenOf(session)
      const parameters = {
        client_id: clientId,
        id_token_hint: idToken === undefined ? undefined : Redacted.value(idToken),
        post_logout_redirect_uri: options?.postLogoutRedirectUri,
        state: options?.state
      }
      for (const [name, value] of Object.entries(parameters)) {
        if (value !== undefined) url.searchParams.set(name, value)
      }
      return Option.some(url.href)
    })
  })

  const platform = Option.getOrUndefined(yield* Effect.serviceOption(WorkloadIdentity))
  const { workload } = settings
  const unattended: ReadonlyArray<AuthStrategy.AuthStrategy> = platform === undefined || workload === undefined
    ? []
    : [{
      name: "workload",
      obtain: (context) => Workload.obtain(context, oidc.issue, platform, workload)
    }]
  // A session of an earlier process renews without another login.
  if (platform !== undefined && workload !== undefined && !sources.has("workload")) {
    sources.set("workload", TokenSource.workload({ ...workload, platform }))
  }

  return Context.make(IamClient, iam).pipe(
    Context.add(AuthStrategy.Unattended, unattended),
    Context.add(BrowserLogin, OidcBrowserLogin.make(provider)),
    Context.add(DeviceLogin, OidcDeviceLogin.make(provider)),
    Context.add(OidcIam, oidc)
  )
})

/**
 * The services of one provider. Its sessions are named by the issuer and the client id.
 *
 * **Example** (A public client of a provider)
 *
 * ```ts
 * import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
 * import { OidcIam } from "@effect-authn/iam-oidc"
 * import { NodeAuth, NodeLogin } from "@effect-authn/platform-node"
 * import { Effect } from "effect"
 *
 * const iam = OidcIam.layer({
 *   issuer: "https://idp.example.com",
 *   clientId: "my-app",
 *   resource: "https://api.example.com"
 * })
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(InteractiveStrategy.interactive())
 * }).pipe(Effect.provide([NodeAuth.layer(iam), NodeLogin.layer()]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: OidcOptions.OidcOptions
): Layer.Layer<IamClient | BrowserLogin | DeviceLogin | OidcIam, IamError, HttpClient.HttpClient> =>
  Layer.effectContext(make(options))

/**
 * The services of the provider that the configuration names; `OidcOptions.fromEnvironment` unless told otherwise.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<OidcOptions.OidcOptions> = OidcOptions.fromEnvironment
): Layer.Layer<
  IamClient | BrowserLogin | DeviceLogin | OidcIam,
  IamError | Config.ConfigError,
  HttpClient.HttpClient
> => Layer.effectContext(Effect.flatMap(Config.unwrap(options), make))

const keysTimeLimit = 5000

const idTokenOf = (session: Session.Session): Redacted.Redacted | undefined =>
  [Option.toArray(Session.currentToken(session)), Object.values(session.tokens)].flat()
    .map(({ idToken }) => Option.getOrUndefined(idToken)).find((idToken) => idToken !== undefined)

/** The scope that a session's token for a selection has; one that is new for a resource has that of the login. */
const scopeOf = (session: Session.Session, selection: Selection.Selection): string | undefined =>
  Option.orElse(Session.tokenFor(session, selection), () => Session.currentToken(session)).pipe(
    Option.flatMap(({ scope }) => scope),
    Option.getOrUndefined
  )

const claimsIn = (idToken: string): Option.Option<JwtCodec.JsonObject> =>
  Option.map(Result.getSuccess(JwtCodec.decodeUnverified(idToken)), ({ claims }) => claims)

/** Whom an id_token is about, unless another issuer says it. */
const subjectIn = (idToken: string, issuer: string): string | undefined => {
  const claims = Option.getOrElse(claimsIn(idToken), (): JwtCodec.JsonObject => ({}))
  const { iss = issuer } = claims
  const isOurs = typeof iss === "string" && withoutSlash(iss) === withoutSlash(issuer)
  return isOurs ? OidcClaims.subjectOf(claims) : undefined
}

// A provider that spells its name in another way is still the one that knows this person.
const withoutSlash = (issuer: string): string => issuer.replace(/\/+$/, "").toLowerCase()

// What a session has was verified when it came.
const claimsOf = (session: Session.Session): Option.Option<JwtCodec.JsonObject> =>
  Option.flatMap(Option.fromUndefinedOr(idTokenOf(session)), (idToken) => claimsIn(Redacted.value(idToken)))

const subjectOf = (session: Session.Session): string | undefined =>
  OidcClaims.subjectOf(Option.getOrElse(claimsOf(session), (): JwtCodec.JsonObject => ({}))) ??
    Option.getOrUndefined(session.user)?.id
