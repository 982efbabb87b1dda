/** Who somebody is, by the id_token and by the userinfo endpoint (OpenID Connect Core 1.0, section 5.3). */
import { CredentialsRefused, type IamError, Malformed, Unavailable, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as User from "@effect-authn/core/session/User"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as oauth from "oauth4webapi"
import * as OidcClaims from "../OidcClaims.ts"
import type { Bound } from "./dpop.ts"
import type { Answered, Provider } from "./provider.ts"
import type { Accepted } from "./tokenAnswer.ts"

/** Asks the provider, at an address, who an access token belongs to. An answer about another `subject` is not believed. */
export const ask = Effect.fnUntraced(function*(
  provider: Provider,
  accessToken: Redacted.Redacted,
  subject: string | undefined,
  { address, bound }: { readonly address: string | undefined; readonly bound: Bound | undefined }
): Effect.fn.Return<User.User, IamError> {
  const call = provider.call("whoami", accessToken)
  if (address === undefined) {
    return yield* IamHttp.error(
      call,
      new Unsupported({ detail: "the provider has no userinfo_endpoint that is https" })
    )
  }
  const answer = yield* provider.present(
    call,
    ({ as, client, options }) => oauth.userInfoRequest(as, client, Redacted.value(accessToken), options),
    { endpoint: "userinfo_endpoint", address, bound }
  )
  const said = Option.getOrElse(answer.message, () => answer.shape)
  switch (answer.status) {
    case 200:
      break
    case 400:
    case 401:
      return yield* IamHttp.error(
        call,
        new CredentialsRefused({ detail: `the provider refuses the token (${said}): sign in again` })
      )
    case 403:
      return yield* IamHttp.error(
        call,
        new Unsupported({ detail: `this token may not be used to ask who it belongs to (${said})` })
      )
    default:
      return yield* IamHttp.unexpected(answer, call)
  }
  const claims = yield* Option.match(answer.jwt, {
    onNone: () => Effect.succeed(answer.body),
    onSome: (jwt) => Effect.asSome(signed(provider, answer, jwt, call))
  })
  const user = Option.flatMap(claims, OidcClaims.toUser)
  if (Option.isNone(user)) {
    const detail = `what the provider says of the person (${answer.shape}) names nobody: it has no sub`
    return yield* IamHttp.error(call, new Malformed({ detail }))
  }
  if (subject !== undefined && user.value.id !== subject) {
    return yield* IamHttp.error(call, new Malformed({ detail: "the provider tells of another person than signed in" }))
  }
  return user.value
})

/** The claims of a signed answer, if it is the provider's own, and for this client (section 5.3.2). */
const signed = Effect.fnUntraced(function*(
  { jwksUri, settings, verify }: Provider,
  { as, receivedAt, serverTime }: Answered,
  jwt: Redacted.Redacted,
  call: IamHttp.Call
): Effect.fn.Return<JwtCodec.JsonObject, IamError> {
  const refuse = (why: string) =>
    IamHttp.error(
      call,
      new Malformed({
        detail: `what the provider says of the person is not believed: ${IamHttp.quote(why, call.secrets)}`
      })
    )
  const { claims } = yield* Effect.mapError(
    Effect.fromResult(JwtCodec.decodeUnverified(Redacted.value(jwt))),
    ({ message }) => refuse(message)
  )
  yield* Effect.mapError(
    verify(jwt, jwksUri(as)),
    (error) => {
      if (error._tag === "IamError") return error
      const { message, reason } = error
      return reason._tag === "JwksUnavailable"
        ? IamHttp.error(call, new Unavailable({ sent: "maybe", detail: message }))
        : refuse(message)
    }
  )
  const { aud = settings.clientId, iss = settings.issuer } = claims
  if (iss !== settings.issuer) return yield* refuse("it is from another issuer")
  if (aud !== settings.clientId && !(Array.isArray(aud) && aud.includes(settings.clientId))) {
    return yield* refuse("it is meant for another client")
  }
  const end = Option.map(TokenSet.timeClaim(jwt, "exp"), (exp) => DateTime.addDuration(exp, TokenSet.clockTolerance))
  // By the provider's clock, where it tells it: it has just answered.
  const now = Option.getOrElse(serverTime, () => receivedAt)
  if (Option.exists(end, (end) => DateTime.isLessThanOrEqualTo(end, now))) return yield* refuse("it has expired")
  return claims
})

/** Who signed in: by the id_token, and by asking, where that names nobody and the token is for the provider itself. */
export const userOf = (
  provider: Provider,
  { accessToken, answer, claims }: Accepted,
  resource: string | undefined
): Effect.Effect<Option.Option<User.User>> => {
  const known = Option.flatMap(Option.fromUndefinedOr(claims), OidcClaims.toUser)
  if (resource !== undefined || Option.isNone(known) || OidcClaims.hasName(known.value)) return Effect.succeed(known)
  const address = provider.addressIn(answer.as, "userinfo_endpoint")
  return Effect.flatMap(
    provider.bindingOf(answer),
    (bound) => ask(provider, accessToken, known.value.id, { address, bound })
  ).pipe(
    // Whoever is away for a moment leaves nobody without a name.
    Effect.retry({
      while: ({ reason }) => reason._tag === "Unavailable",
      schedule: Schedule.spaced("1 second"),
      times: 2
    }),
    Effect.timeoutOption("10 seconds"),
    Effect.orElseSucceed(Option.none),
    Effect.map((asked) => OidcClaims.best([...Option.toArray(asked), known.value]))
  )
}
