/** What an answer with tokens amounts to: whether it is believed, and the session's tokens that are made of it. */
import { type IamError, Malformed, Unavailable } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import type { JwtError } from "@effect-authn/core/jwt/JwtError"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as User from "@effect-authn/core/session/User"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import * as oauth from "oauth4webapi"
import * as OidcClaims from "../OidcClaims.ts"
import { type Answered, messageOf, type Provider } from "./provider.ts"
import * as Refusal from "./refusal.ts"
import { asymmetric } from "./signature.ts"

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
): Effect.fn.Return<Accepted, Disbelieved> {
  const as = { ...answer.as, id_token_signing_alg_values_supported: [...asymmetric] }
  const { idTokenAlgorithm, tokenType } = provider.settings
  const client = yield* provider.clientAt(offset)
  const body = normalised(Option.getOrElse(answer.body, (): Schema.JsonObject => ({})), tokenType)
  const type = body.token_type
  if (answer.proofKey !== undefined && type.toLowerCase() === "bearer") {
    return yield* new Disbelieved({
      detail:
        "they are not bound to the key that was shown: the provider does not know DPoP, or not for this client; " +
        "switch it on there, or leave the option `dpop` out",
      isTime: false
    })
  }
  if (type.toLowerCase() !== (answer.proofKey === undefined ? "bearer" : "dpop")) {
    // Whatever is no word may be an echo.
    const word = /^[\w.-]{1,40}$/.test(type) ? `"${IamHttp.quote(type, [...call.secrets, ...secretsIn(body)])}", ` : ""
    return yield* new Disbelieved({
      detail: `their type is ${word}not Bearer: if this provider means bearer tokens by it, say so with the option ` +
        "`tokenType`",
      isTime: false
    })
  }
  if (idTokenAlgorithm === undefined && /^HS\d+$/.test(algorithmOf(body.id_token))) {
    return yield* new Disbelieved({
      detail:
        `the id_token is signed with ${algorithmOf(body.id_token)}: if the client is registered so, say it with ` +
        "the option `idTokenAlgorithm`",
      isTime: false
    })
  }
  const read = yield* readable(body)
  const tokens = yield* Effect.tryPromise({
    try: () => process(as, client, Response.json({ ...body, ...withTextSubject(body.id_token) })),
    catch: (cause) =>
      new Disbelieved({
        detail: messageOf(cause),
        isTime: Predicate.hasProperty(cause, "code") && cause.code === oauth.JWT_TIMESTAMP_CHECK
      })
  })
  const claims = oauth.getValidatedIdTokenClaims(tokens)
  if (claims !== undefined) {
    // Nobody could be told from somebody else by it.
    if (OidcClaims.subjectOf(claims) === undefined) {
      return yield* new Disbelieved({ detail: "the id_token names nobody: its sub is empty", isTime: false })
    }
    const now = (yield* Clock.currentTimeMillis) + Duration.toMillis(offset)
    if (claims.iat * 1000 > now + Duration.toMillis(TokenSet.clockTolerance)) {
      return yield* new Disbelieved({ detail: "the id_token was issued in the future", isTime: true })
    }
  }
  return { answer, ...read, scope: tokens.scope, claims }
})

/** How the signature of an id_token is verified: how long that may take, and whether keys that are away are asked for again. */
interface Verification {
  readonly timeLimit: Duration.Duration
  readonly isRepeated: boolean
}

const verified = (
  provider: Provider,
  { answer, idToken }: Accepted,
  call: IamHttp.Call,
  { isRepeated, timeLimit }: Verification
): Effect.Effect<void, IamError | Disbelieved> => {
  if (idToken === undefined) return Effect.void
  let away = `the provider's keys did not come within ${Duration.format(timeLimit)}`
  const isAway = (error: IamError | JwtError) =>
    error._tag === "IamError" ? error.isRetryable : error.reason._tag === "JwksUnavailable"
  const once = Effect.tapError(provider.verify(idToken, provider.jwksUri(answer.as)), (error) =>
    Effect.sync(() => {
      away = IamHttp.quote(error.message, call.secrets)
    }))
  const unavailable = () => IamHttp.error(call, new Unavailable({ sent: "maybe", detail: away }))
  return Effect.retry(once, {
    while: (error) => isRepeated && isAway(error),
    schedule: Schedule.spaced("1 second")
  }).pipe(
    Effect.mapError((error) => {
      if (isAway(error)) return unavailable()
      return error._tag === "IamError"
        ? error
        : new Disbelieved({
          // A kid may be anything.
          detail: `the id_token is not the provider's: ${IamHttp.quote(error.message, call.secrets)}`,
          isTime: false
        })
    }),
    IamHttp.inTime(timeLimit, unavailable)
  )
}

/**
 * Checks an answer with tokens whole: its id_token, too, for which the provider's keys may have to be fetched. It is
 * judged by our clock, and where that does not do by the provider's own: a clock that goes wrong must not keep anybody out.
 */
export const accept = (
  provider: Provider,
  answer: Answered,
  call: IamHttp.Call,
  process: Process,
  // A code is spent by now: keys that are away for a moment may not cost the tokens.
  how: Verification = { timeLimit: provider.settings.policy.timeLimit, isRepeated: true }
): Effect.Effect<Accepted, IamError> => {
  const offset = TokenSet.clockOffset(answer.serverTime, answer.receivedAt)
  return believe(provider, answer, call, process, Duration.zero).pipe(
    Effect.catchIf(
      (error) => error.isTime && !Duration.isZero(offset),
      () =>
        Effect.tap(
          believe(provider, answer, call, process, offset),
          () =>
            Effect.logWarning(
              `the clocks of this machine and of ${call.issuer} differ by ${Math.round(Duration.toSeconds(offset))} s`
            )
        )
    ),
    Effect.tap((accepted) => verified(provider, accepted, call, how)),
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
    accept(provider, answer, call, oauth.processRefreshTokenResponse, { timeLimit, isRepeated: false })
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
  readonly madeAt?: Session.MadeAt | undefined
}): TokenResponse => {
  const grant = grantOf(accepted, options.grant)
  return {
    tokens: TokenSet.fromAnswer({
      accessToken: accepted.accessToken,
      tokenType: accepted.answer.proofKey === undefined ? undefined : "DPoP",
      expiresIn: Option.getOrUndefined(accepted.answer.body)?.["expires_in"],
      idToken: accepted.idToken ?? options.idToken,
      // An answer that says nothing of it has the scope that was asked for (RFC 6749, section 5.1).
      scope: accepted.scope ?? options.scope,
      receivedAt: accepted.answer.receivedAt,
      serverTime: accepted.answer.serverTime,
      // Nothing could renew it: a guess would end the session, and so it lives until an API refuses it.
      defaultLifetime: grant._tag === "None" ? Duration.infinity : provider.settings.policy.defaultLifetime
    }),
    grant,
    user: options.user,
    granted: options.granted,
    madeAt: madeAt(provider, accepted.answer, options.madeAt),
    proofKey: accepted.answer.proofKey
  }
}

/** Where a session was made, and how the client was taken last: a renewal moves it nowhere. */
const madeAt = (
  { addressIn }: Provider,
  { as, way }: Answered,
  old: Session.MadeAt | undefined
): Session.MadeAt | undefined => {
  if (old !== undefined && old.clientAuthentication === way) return old
  const token = old?.token ?? addressIn(as, "token_endpoint")
  if (token === undefined) return undefined
  const known = (name: "revocation" | "userinfo") => old === undefined ? addressIn(as, `${name}_endpoint`) : old[name]
  const [revocation, userinfo] = [known("revocation"), known("userinfo")]
  return Session.MadeAt.make({
    token,
    ...(revocation === undefined ? {} : { revocation }),
    ...(userinfo === undefined ? {} : { userinfo }),
    ...(way === undefined ? {} : { clientAuthentication: way })
  })
}

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

/** The fields of a token answer, without the liberties that providers take with their types and words. */
const normalised = (body: Schema.JsonObject, tokenType: string | undefined) => {
  const { access_token = null, scope = null, token_type = null } = body
  const scopes = Array.isArray(scope) ? scope.filter(Predicate.isString).join(" ") : scope
  const { id_token = null, refresh_token = null } = body
  return {
    access_token,
    token_type: isText(token_type) && token_type !== tokenType ? token_type : "bearer",
    ...(isText(refresh_token) ? { refresh_token } : {}),
    ...(isText(id_token) ? { id_token } : {}),
    ...(isText(scopes) ? { scope: scopes } : {})
  }
}

/** The tokens of an answer, which may say them back in another member. */
export const secretsIn = (body: { readonly [name: string]: unknown }): ReadonlyArray<Redacted.Redacted> =>
  ["access_token", "refresh_token", "id_token"].map((name) => body[name]).filter(Predicate.isString)
    .map((token) => Redacted.make(token))

const isText = (value: Schema.Json): value is string => typeof value === "string" && value !== ""

const algorithmOf = (idToken: string | undefined): string => {
  const decoded = idToken === undefined ? undefined : JwtCodec.decodeUnverified(idToken)
  return decoded !== undefined && Result.isSuccess(decoded) ? String(decoded.success.header["alg"]) : ""
}

/** The tokens of an answer, if they hold nothing but the characters of such tokens. */
const readable = Effect.fnUntraced(function*(body: ReturnType<typeof normalised>) {
  const take = (name: string, text: string, from: (text: string) => Option.Option<Redacted.Redacted>) =>
    Effect.fromOption(
      from(text),
      () => new Disbelieved({ detail: `the ${name} has a character that no such token has`, isTime: false })
    )
  const { access_token, id_token, refresh_token } = body
  if (!isText(access_token)) return yield* new Disbelieved({ detail: "there is no access_token", isTime: false })
  return {
    accessToken: yield* take("access_token", access_token, TokenSet.accessTokenFrom),
    refreshToken: refresh_token === undefined
      ? undefined
      : yield* take("refresh_token", refresh_token, TokenSet.refreshTokenFrom),
    idToken: id_token === undefined ? undefined : yield* take("id_token", id_token, TokenSet.idTokenFrom)
  }
})

/** An id_token whose `sub` is a number, as oauth4webapi reads it: with its digits. Its signature is that of the one that came. */
const withTextSubject = (idToken: string | undefined): { readonly id_token?: string } => {
  if (idToken === undefined) return {}
  const decoded = JwtCodec.decodeUnverified(idToken)
  if (Result.isFailure(decoded)) return {}
  const { claims } = decoded.success
  const sub = OidcClaims.subjectOf(claims)
  if (typeof claims["sub"] === "string" || sub === undefined) return {}
  const [header, , signature] = idToken.split(".")
  return { id_token: [header, Base64Url.encode(JSON.stringify({ ...claims, sub })), signature].join(".") }
}
