/** What an answer with tokens amounts to: whether it is believed, and the session's tokens that are made of it. */
import { type IamError, Malformed } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as User from "@effect-authn/core/session/User"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as oauth from "oauth4webapi"
import { type Answered, isIamError, messageOf, type Provider, toResponse } from "./provider.ts"
import * as Refusal from "./refusal.ts"

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

/** How oauth4webapi reads the answer of one grant. */
type Process = (
  as: oauth.AuthorizationServer,
  client: oauth.Client,
  response: Response
) => Promise<oauth.TokenEndpointResponse>

const believe = Effect.fnUntraced(function*(
  provider: Provider,
  answer: Answered,
  call: IamHttp.Call,
  process: Process,
  offset: Duration.Duration
): Effect.fn.Return<Accepted, IamError | Disbelieved> {
  const { as } = answer
  const { client, options } = yield* provider.judging(call, offset)
  const response = toResponse(200, Option.map(answer.body, normalised))
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
  const read = yield* readable(tokens)
  const claims = oauth.getValidatedIdTokenClaims(tokens)
  if (claims !== undefined) {
    const now = (yield* Clock.currentTimeMillis) + Duration.toMillis(offset)
    if (claims.iat * 1000 > now + Duration.toMillis(TokenSet.clockTolerance)) {
      return yield* new Disbelieved({ detail: "the id_token was issued in the future", isTime: true })
    }
    yield* judge((signal) => oauth.validateApplicationLevelSignature(as, response, { signal, ...options }))
  }
  return { answer, ...read, scope: tokens.scope, claims }
})

/**
 * Checks an answer with tokens whole: its id_token, too, for which the provider's keys may have to be fetched. It is
 * judged by our clock, and where that does not do by the provider's own: a clock that goes wrong must not keep anybody out.
 */
export const accept = (
  provider: Provider,
  answer: Answered,
  call: IamHttp.Call,
  process: Process
): Effect.Effect<Accepted, IamError> => {
  const offset = TokenSet.clockOffset(answer.serverTime, answer.receivedAt)
  return believe(provider, answer, call, process, Duration.zero).pipe(
    Effect.catchIf(
      (error) => error._tag === "Disbelieved" && error.isTime && !Duration.isZero(offset),
      () =>
        Effect.tap(
          believe(provider, answer, call, process, offset),
          () =>
            Effect.logWarning(
              `the clocks of this machine and of ${call.issuer} differ by ${Math.round(Duration.toSeconds(offset))} s`
            )
        )
    ),
    Effect.catchTag(
      "Disbelieved",
      ({ detail }) => Effect.fail(IamHttp.error(call, new Malformed({ detail: `the tokens are refused: ${detail}` })))
    )
  )
}

/**
 * Checks the answer to a renewal in two steps: the tokens at once, and the id_token when `checked` runs, within its time
 * limit. The refresh token is spent: an id_token that cannot be checked may not cost the new one.
 */
export const acceptRenewal = Effect.fnUntraced(function*(
  provider: Provider,
  answer: Answered,
  call: IamHttp.Call
): Effect.fn.Return<{
  readonly tokens: Accepted
  readonly checked: (timeLimit: Duration.Duration) => Effect.Effect<Accepted, IamError>
}, IamError> {
  const { id_token: _idToken, ...withoutIdToken } = Option.getOrElse(answer.body, (): Schema.JsonObject => ({}))
  const tokens = yield* accept(
    provider,
    { ...answer, body: Option.some(withoutIdToken) },
    call,
    oauth.processRefreshTokenResponse
  )
  const checked = (timeLimit: Duration.Duration) =>
    accept(provider, answer, { ...call, timeLimit }, oauth.processRefreshTokenResponse)
  return { tokens, checked }
})

/** Whether an answer has tokens, as far as its status and its body tell. */
export const isIssued = (answer: IamHttp.Answer): boolean =>
  answer.status < 300 && Option.isSome(answer.body) && Refusal.codeOf(answer) === undefined

/** What an accepted answer means for a session; `options` are what stays where the answer does not say. */
export const issued = (provider: Provider, accepted: Accepted, options: {
  readonly grant: Session.Grant
  readonly user: Option.Option<User.User>
  readonly idToken?: Redacted.Redacted | undefined
  readonly scope: string | undefined
  readonly granted?: Session.Granted | undefined
}): TokenResponse => ({
  tokens: TokenSet.fromAnswer({
    accessToken: accepted.accessToken,
    expiresIn: Option.getOrUndefined(accepted.answer.body)?.["expires_in"],
    idToken: accepted.idToken ?? options.idToken,
    // An answer that says nothing of it has the scope that was asked for (RFC 6749, section 5.1).
    scope: accepted.scope ?? options.scope,
    receivedAt: accepted.answer.receivedAt,
    serverTime: accepted.answer.serverTime,
    defaultLifetime: provider.settings.policy.defaultLifetime
  }),
  grant: grantOf(accepted, options.grant),
  user: options.user,
  granted: options.granted
})

/** The refresh token of an answer, or the old grant where it brings none, with the end that the answer tells of it. */
const grantOf = ({ answer, refreshToken }: Accepted, old: Session.Grant): Session.Grant => {
  const grant = refreshToken === undefined ? old : Session.Grant.cases.RefreshToken.make({ refreshToken })
  const body = Option.getOrElse(answer.body, (): Schema.JsonObject => ({}))
  const life = Option.orElse(
    TokenSet.lifetimeFrom(body["refresh_expires_in"]),
    () => TokenSet.lifetimeFrom(body["refresh_token_expires_in"])
  )
  return grant._tag === "RefreshToken" && Option.isSome(life)
    ? { ...grant, expiresAt: DateTime.addDuration(answer.receivedAt, life.value) }
    : grant
}

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

/** The tokens of an answer, if they hold nothing but the characters of such tokens. */
const readable = Effect.fnUntraced(function*(tokens: oauth.TokenEndpointResponse) {
  const take = (name: string, text: string, from: (text: string) => Option.Option<Redacted.Redacted>) =>
    Effect.fromOption(
      from(text),
      () => new Disbelieved({ detail: `the ${name} has a character that no such token has`, isTime: false })
    )
  return {
    accessToken: yield* take("access_token", tokens.access_token, TokenSet.accessTokenFrom),
    refreshToken: tokens.refresh_token === undefined
      ? undefined
      : yield* take("refresh_token", tokens.refresh_token, TokenSet.refreshTokenFrom),
    idToken: tokens.id_token === undefined
      ? undefined
      : yield* take("id_token", tokens.id_token, TokenSet.idTokenFrom)
  }
})
