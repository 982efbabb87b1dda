/** What is put into a vault, as its IAM has answered it. */
import * as Session from "@effect-authn/core/session/Session"
import { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Vault } from "../Vault.ts"
import * as Api from "../VaultApi.ts"

/** The key that a request names. */
export const keyOf = (
  asked: { readonly issuer: string; readonly client: string; readonly account: string }
): SessionKey => SessionKey.make({ issuer: asked.issuer, clientId: asked.client, account: asked.account })

/** What was put in, in the words of a session, or what of it cannot be one. */
export const responseOf = Effect.fnUntraced(function*(vault: Vault["Service"], asked: typeof Api.SessionRequest.Type) {
  const receivedAt = yield* DateTime.now
  const refuse = (error_description: string) => new Api.InvalidRequest({ error: "invalid_request", error_description })
  const read = (
    name: string,
    text: Redacted.Redacted | undefined,
    from: (text: string) => Option.Option<Redacted.Redacted>
  ) =>
    text === undefined || Redacted.value(text) === ""
      ? Effect.succeedNone
      : Effect.asSome(
        Effect.fromOption(from(Redacted.value(text)), () => refuse(`${name} has a character that no such token has`))
      )
  const accessToken = yield* read("access_token", asked.access_token, TokenSet.accessTokenFrom)
  const refreshToken = yield* read("refresh_token", asked.refresh_token, TokenSet.refreshTokenFrom)
  const idToken = yield* read("id_token", asked.id_token, TokenSet.idTokenFrom)
  if (Option.isNone(accessToken)) return yield* refuse("access_token is empty")
  const tokenType = asked.token_type ?? "Bearer"
  if (!TokenSet.isTokenType(tokenType)) return yield* refuse("token_type is not a word")
  if (/^dpop$/i.test(tokenType)) {
    return yield* refuse(
      "a token of the type DPoP is bound to a key that is not here: sign in to a client whose tokens are not bound"
    )
  }

  const grant = Option.isSome(refreshToken)
    ? Session.Grant.cases.RefreshToken.make({
      refreshToken: refreshToken.value,
      ...Option.match(
        Option.orElse(
          TokenSet.lifetimeFrom(asked.refresh_expires_in),
          () => TokenSet.lifetimeFrom(asked.refresh_token_expires_in)
        ),
        { onNone: () => ({}), onSome: (life) => ({ expiresAt: DateTime.addDuration(receivedAt, life) }) }
      )
    })
    : (yield* Effect.catchTag(
      vault.adopt(keyOf(asked), accessToken.value),
      "IamError",
      ({ reason }) => Effect.fail(refuse(reason.message))
    )).grant
  // Without a life of its own, a token that has expired is one: its refresh token makes the next.
  const tokens = Option.isSome(TokenSet.lifetimeFrom(asked.expires_in))
    ? TokenSet.fromAnswer({
      accessToken: accessToken.value,
      tokenType,
      scope: asked.scope,
      expiresIn: asked.expires_in,
      idToken: Option.getOrUndefined(idToken),
      receivedAt,
      serverTime: Option.none(),
      defaultLifetime: Duration.infinity
    })
    : TokenSet.TokenSet.make({
      accessToken: accessToken.value,
      tokenType,
      issuedAt: receivedAt,
      expiresAt: TokenSet.timeClaim(accessToken.value, "exp"),
      idToken,
      scope: Option.fromUndefinedOr(asked.scope)
    })
  return { tokens, grant, user: Option.none() } satisfies Session.TokenResponse
})
