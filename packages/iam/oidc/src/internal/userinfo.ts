/** Who somebody is, by the id_token and by the userinfo endpoint (OpenID Connect Core 1.0, section 5.3). */
import { CredentialsRefused, type IamError, Malformed, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type * as User from "@effect-authn/core/session/User"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as OidcClaims from "../OidcClaims.ts"
import type { Provider } from "./provider.ts"
import type { Accepted } from "./tokenAnswer.ts"

/** Asks the provider who an access token belongs to. An answer about another `subject` is not believed. */
export const ask = Effect.fnUntraced(function*(
  provider: Provider,
  accessToken: Redacted.Redacted,
  subject: string | undefined
): Effect.fn.Return<User.User, IamError> {
  const call = provider.call("whoami", accessToken)
  yield* provider.endpoint("userinfo_endpoint", "whoami")
  const answer = yield* provider.request(
    call,
    ({ as, client, options }) => oauth.userInfoRequest(as, client, Redacted.value(accessToken), options)
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
  const user = Option.flatMap(answer.body, OidcClaims.toUser)
  if (Option.isNone(user)) return yield* IamHttp.unexpected(answer, call)
  if (subject !== undefined && user.value.id !== subject) {
    return yield* IamHttp.error(call, new Malformed({ detail: "the provider tells of another person than signed in" }))
  }
  return user.value
})

/** Who signed in: by the id_token, and by asking, where that names nobody and the token is for the provider itself. */
export const userOf = (
  provider: Provider,
  { accessToken, claims }: Accepted,
  resource: string | undefined
): Effect.Effect<Option.Option<User.User>> => {
  const known = Option.flatMap(Option.fromUndefinedOr(claims), OidcClaims.toUser)
  return resource !== undefined || Option.isNone(known) || OidcClaims.hasName(known.value)
    ? Effect.succeed(known)
    : Effect.map(Effect.option(ask(provider, accessToken, known.value.id)), Option.orElse(() => known))
}
