/**
 * The bridge to oauth4webapi: it builds the requests and judges the answers, Effect's `HttpClient` sends the ones and
 * reads the others, and Effect's clock tells the time.
 */
import { IamError, Malformed, Misconfigured, Unavailable, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as User from "@effect-authn/core/session/User"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as oauth from "oauth4webapi"
import * as ClientAuthentication from "../ClientAuthentication.ts"
import * as OidcMetadata from "../OidcMetadata.ts"
import type { Settings } from "../OidcOptions.ts"
import * as Refusal from "./refusal.ts"

interface Init {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: unknown
  readonly signal?: AbortSignal | undefined
}

/** What a request function of oauth4webapi is called with. */
export interface RequestContext {
  readonly as: oauth.AuthorizationServer
  readonly client: oauth.Client
  readonly auth: oauth.ClientAuth
  readonly options: {
    readonly signal: AbortSignal
    readonly [oauth.allowInsecureRequests]: boolean
    readonly [oauth.customFetch]: (url: string, init: Init) => Promise<Response>
  }
}

/** An answer, and the metadata of the provider that it was asked for with. */
export interface Answered extends IamHttp.Answer {
  readonly as: oauth.AuthorizationServer
}

/** What an id_token said, after it was checked. */
export type Claims = oauth.IDToken

/** An answer with tokens that was checked. */
export interface Accepted {
  readonly answer: Answered
  readonly accessToken: Redacted.Redacted
  readonly refreshToken: Redacted.Redacted | undefined
  readonly idToken: Redacted.Redacted | undefined
  readonly scope: string | undefined
  readonly claims: Claims | undefined
}

/** Why an answer is not believed; `isTime`: by one of the clocks. */
class Disbelieved extends Data.TaggedError("Disbelieved")<{ readonly detail: string; readonly isTime: boolean }> {}

const isIamError = Schema.is(IamError)

export interface Provider extends Effect.Success<ReturnType<typeof make>> {}

export const make = Effect.fnUntraced(function*(settings: Settings) {
  const http = yield* HttpClient.HttpClient
  const { clientId, issuer } = settings
  const [firstAuth, ...otherAuths] = yield* ClientAuthentication.methods(settings.clientAuthentication, issuer)
  const isLoopback = new URL(issuer).protocol === "http:"
  const own = settings.clientAuthentication
  const ownSecrets = "secret" in own ? [own.secret, ...ClientAuthentication.basic(clientId, own.secret)] : []

  const call = (method: string, ...secrets: ReadonlyArray<Redacted.Redacted>): IamHttp.Call => ({
    issuer,
    method,
    secrets: [...secrets, ...ownSecrets],
    timeLimit: settings.policy.timeLimit
  })

  /** Where the endpoints are. What goes wrong here happened before anything else was sent. */
  const metadata: Effect.Effect<oauth.AuthorizationServer, IamError> = yield* Effect.cachedWithTTL(
    (settings.metadata === undefined
      ? Effect.provideService(OidcMetadata.discover(issuer, call("discover")), HttpClient.HttpClient, http)
      : OidcMetadata.given(issuer, settings.metadata, call("configure"))).pipe(
        Effect.catchReasons("IamError", {
          Unavailable: ({ detail, retryAfter }) =>
            IamHttp.error(
              call("discover"),
              new Unavailable({ sent: "no", detail, retryAfter })
            ),
          Malformed: ({ detail }) => IamHttp.error(call("discover"), new Misconfigured({ detail }))
        })
      ),
    (exit) => Exit.isSuccess(exit) ? "1 day" : Duration.zero
  )

  /** The address of an endpoint, or `Unsupported` where the provider has none. */
  const endpoint = (name: keyof OidcMetadata.OidcMetadata, method: string) =>
    Effect.flatMap(metadata, (as) => {
      const address = as[name]
      return typeof address === "string"
        ? Effect.succeed(address)
        : Effect.fail(IamHttp.error(call(method), new Unsupported({ detail: `the provider has no ${name}` })))
    })

  // oauth4webapi reads the system's clock: the difference makes it Effect's, or the provider's.
  const clientAt = (offset: Duration.Duration): Effect.Effect<oauth.Client> =>
    Effect.map(Clock.currentTimeMillis, (now) => ({
      client_id: clientId,
      [oauth.clockTolerance]: Duration.toSeconds(TokenSet.clockTolerance),
      [oauth.clockSkew]: Math.round(
        (now - Clock.Clock.defaultValue().currentTimeMillisUnsafe() + Duration.toMillis(offset)) / 1000
      )
    }))

  const fetchVia = (
    call: IamHttp.Call,
    seen: (answer: IamHttp.Answer) => void,
    heard: (status: number) => void = () => {}
  ) =>
    Effect.map(Effect.context(), (context) => (url: string, init: Init) =>
      Effect.runPromiseWith(context)(
        IamHttp.execute(toRequest(url, init), call).pipe(
          Effect.map((answer) => {
            seen(answer)
            return toResponse(answer.status, answer.body)
          }),
          Effect.provideService(
            HttpClient.HttpClient,
            HttpClient.tap(http, ({ status }) => Effect.sync(() => heard(status)))
          )
        ),
        init.signal === undefined ? {} : { signal: init.signal }
      ))

  const attempt = Effect.fnUntraced(function*(
    call: IamHttp.Call,
    auth: oauth.ClientAuth,
    start: (context: RequestContext) => Promise<Response>,
    heard?: (status: number) => void
  ): Effect.fn.Return<Answered, IamError> {
    const as = yield* metadata
    const client = yield* clientAt(Duration.zero)
    let answer: IamHttp.Answer | undefined
    const fetch = yield* fetchVia(call, (received) => {
      answer = received
    }, heard)
    yield* Effect.tryPromise({
      try: (signal) =>
        start({
          as,
          client,
          auth,
          options: { signal, [oauth.allowInsecureRequests]: isLoopback, [oauth.customFetch]: fetch }
        }),
      catch: (cause) =>
        isIamError(cause)
          ? cause
          : IamHttp.error(call, new Misconfigured({ detail: `the request could not be made: ${messageOf(cause)}` }))
    })
    if (answer === undefined) return yield* IamHttp.error(call, new Malformed({ detail: "no answer" }))
    return { ...answer, as }
  })

  let auth = firstAuth

  /** Sends one request of oauth4webapi, and reads the whole answer. `heard` is told the status also where that fails. */
  const request = Effect.fnUntraced(function*(
    call: IamHttp.Call,
    start: (context: RequestContext) => Promise<Response>,
    heard?: (status: number) => void
  ): Effect.fn.Return<Answered, IamError> {
    let answer = yield* attempt(call, auth, start, heard)
    for (const other of otherAuths) {
      if (auth === other || Refusal.codeOf(answer) !== "invalid_client") break
      answer = yield* attempt(call, other, start, heard)
      if (Refusal.codeOf(answer) !== "invalid_client") auth = other
    }
    return answer
  })

  const believe = Effect.fnUntraced(function*(
    answer: Answered,
    call: IamHttp.Call,
    process: (
      as: oauth.AuthorizationServer,
      client: oauth.Client,
      response: Response
    ) => Promise<oauth.TokenEndpointResponse>,
    offset: Duration.Duration
  ): Effect.fn.Return<Accepted, IamError | Disbelieved> {
    const { as } = answer
    const client = yield* clientAt(offset)
    const response = toResponse(200, Option.map(answer.body, normalised))
    const fetch = yield* fetchVia(call, () => {})
    const judge = <A>(evaluate: (signal: AbortSignal) => Promise<A>) =>
      Effect.tryPromise({
        try: evaluate,
        catch: (cause) =>
          isIamError(cause) ? cause : new Disbelieved({
            detail: messageOf(cause),
            isTime: Predicate.hasProperty(cause, "code") && cause.code === oauth.JWT_TIMESTAMP_CHECK
          })
      })
    const tokens = yield* judge(() => process(as, client, response))
    if (tokens.token_type !== "bearer") {
      return yield* new Disbelieved({ detail: `their type is ${tokens.token_type}, not bearer`, isTime: false })
    }
    const claims = oauth.getValidatedIdTokenClaims(tokens)
    if (claims !== undefined) {
      const now = (yield* Clock.currentTimeMillis) + Duration.toMillis(offset)
      if (claims.iat * 1000 > now + Duration.toMillis(TokenSet.clockTolerance)) {
        return yield* new Disbelieved({ detail: "the id_token was issued in the future", isTime: true })
      }
      yield* judge((signal) =>
        oauth.validateApplicationLevelSignature(as, response, {
          signal,
          [oauth.allowInsecureRequests]: isLoopback,
          [oauth.customFetch]: fetch
        })
      )
    }
    return {
      answer,
      accessToken: Redacted.make(tokens.access_token, { label: "access_token" }),
      refreshToken: secret(tokens.refresh_token, "refresh_token"),
      idToken: secret(tokens.id_token, "id_token"),
      scope: tokens.scope,
      claims
    }
  })

  /**
   * Checks an answer with tokens, by our clock, and where that does not do by the provider's own: a clock that goes wrong
   * must not keep anybody out.
   */
  const accept = Effect.fnUntraced(function*(
    answer: Answered,
    call: IamHttp.Call,
    process: (
      as: oauth.AuthorizationServer,
      client: oauth.Client,
      response: Response
    ) => Promise<oauth.TokenEndpointResponse>
  ): Effect.fn.Return<Accepted, IamError> {
    const offset = TokenSet.clockOffset(answer.serverTime, answer.receivedAt)
    return yield* believe(answer, call, process, Duration.zero).pipe(
      Effect.catchIf(
        (error) => error._tag === "Disbelieved" && error.isTime && !Duration.isZero(offset),
        () =>
          Effect.tap(
            believe(answer, call, process, offset),
            () =>
              Effect.logWarning(
                `the clocks of this machine and of ${issuer} differ by ${Math.round(Duration.toSeconds(offset))} s`
              )
          )
      ),
      Effect.catchTag(
        "Disbelieved",
        ({ detail }) => Effect.fail(IamHttp.error(call, new Malformed({ detail: `the tokens are refused: ${detail}` })))
      )
    )
  })

  const isIssued = (answer: IamHttp.Answer): boolean =>
    answer.status < 300 && Option.isSome(answer.body) && Refusal.codeOf(answer) === undefined

  const refusal = (answer: IamHttp.Answer, call: IamHttp.Call, purpose: Refusal.Purpose): IamError =>
    IamHttp.error(call, Refusal.reasonOf(answer, call, purpose))

  const issued = (accepted: Accepted, options: {
    readonly grant: Session.Grant
    readonly user: Option.Option<User.User>
    readonly idToken?: Redacted.Redacted | undefined
  }): TokenResponse => ({
    tokens: TokenSet.fromAnswer({
      accessToken: accepted.accessToken,
      expiresIn: Option.getOrUndefined(accepted.answer.body)?.["expires_in"],
      idToken: accepted.idToken ?? options.idToken,
      scope: accepted.scope,
      receivedAt: accepted.answer.receivedAt,
      serverTime: accepted.answer.serverTime,
      defaultLifetime: settings.policy.defaultLifetime
    }),
    grant: accepted.refreshToken === undefined
      ? options.grant
      : Session.Grant.make({ _tag: "RefreshToken", refreshToken: accepted.refreshToken }),
    user: options.user
  })

  return { settings, call, metadata, endpoint, request, accept, isIssued, refusal, issued }
})

const toRequest = (url: string, { body, headers, method }: Init): HttpClientRequest.HttpClientRequest => {
  const request = method === "POST" ? HttpClientRequest.post(url) : HttpClientRequest.get(url)
  const described = HttpClientRequest.setHeaders(request, headers)
  return body instanceof URLSearchParams ? HttpClientRequest.bodyUrlParams(described, body) : described
}

const toResponse = (status: number, body: Option.Option<Schema.JsonObject>): Response =>
  Option.isSome(body) ? Response.json(body.value, { status }) : new Response(null, { status })

/** The fields of a token answer, without the liberties that providers take with their types. */
const normalised = (body: Schema.JsonObject): Schema.JsonObject => {
  const { access_token = null, scope = null, token_type = null } = body
  const scopes = Array.isArray(scope) ? scope.join(" ") : scope
  const { id_token = null, refresh_token = null } = body
  return {
    access_token,
    token_type: isText(token_type) ? token_type : "bearer",
    ...(isText(refresh_token) ? { refresh_token } : {}),
    ...(isText(id_token) ? { id_token } : {}),
    ...(isText(scopes) ? { scope: scopes } : {})
  }
}

const isText = (value: Schema.Json): value is string => typeof value === "string" && value !== ""

const secret = (value: string | undefined, label: string) =>
  value === undefined ? undefined : Redacted.make(value, { label })

// The messages of oauth4webapi hold no values of what they are about.
const messageOf = (cause: unknown): string => Predicate.isError(cause) ? cause.message : "unknown error"
