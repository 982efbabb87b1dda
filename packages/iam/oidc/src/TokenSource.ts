/**
 * Where access tokens come from that no refresh token renews: an assertion, or a token that is exchanged for another.
 *
 * @since 0.1.0
 */
import type * as AuthManager from "@effect-authn/core/AuthManager"
import { CredentialsRefused, IamError } from "@effect-authn/core/iam/IamError"
import type * as WorkloadIdentity from "@effect-authn/core/login/WorkloadIdentity"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type { Secret } from "./ClientAuthentication.ts"

/**
 * A type of token in an exchange (RFC 8693, section 3): the last part of its name, or the whole name of another type.
 *
 * @category models
 * @since 0.1.0
 */
export type TokenType =
  | "access_token"
  | "refresh_token"
  | "id_token"
  | "jwt"
  | "saml1"
  | "saml2"
  | "id-jag"
  | `${string}:${string}`

/**
 * A token that is exchanged for another (RFC 8693, section 2.1).
 *
 * - `subject` is the token of whom the new one is about, read for each exchange; `subjectType` is `access_token` unless
 *   told. `actor` is the token of whom acts for them, and `actorType` its type, likewise.
 * - `requestedType` is the type of the new token, which is the provider's to choose unless told.
 * - `audience`, `resource` and `scope` are for what the new token is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange {
  readonly subject: Secret
  readonly subjectType?: TokenType | undefined
  readonly actor?: Secret | undefined
  readonly actorType?: TokenType | undefined
  readonly requestedType?: TokenType | undefined
  readonly audience?: string | undefined
  readonly resource?: string | undefined
  readonly scope?: string | undefined
}

/**
 * What an exchange gave. It need not be an access token: then `tokenType` is `N_A`, and the token is for another exchange.
 * `expiresAt` is no later than the end of the subject's token, where that is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchanged {
  readonly token: Redacted.Redacted
  readonly issuedType: string | undefined
  readonly tokenType: string
  readonly expiresAt: Option.Option<DateTime.Utc>
  readonly scope: string | undefined
}

/**
 * A source of access tokens. A session remembers the `name` of its source, and renews by asking it again: a program that
 * takes up the session has to have a source of that name, in the option `sources` of its IAM or by a login.
 *
 * @category models
 * @since 0.1.0
 */
export type TokenSource =
  | {
    readonly _tag: "JwtBearer"
    readonly name: string
    readonly assertion: Secret
    readonly subject: string | undefined
  }
  | {
    readonly _tag: "TokenExchange"
    readonly name: string
    readonly exchange: Exchange
    readonly subject: string | undefined
  }

/**
 * An assertion as the grant (RFC 7523, section 2.1): a JWT of somebody whom the provider trusts, read for each token.
 *
 * - `name` is `jwt-bearer` unless told.
 * - `subject` is of whom the access token has to be, where it is a JWT; not looked at unless told, since a provider may know
 *   the subject of the assertion by another name.
 *
 * No access token lives longer than its assertion.
 *
 * @category constructors
 * @since 0.1.0
 */
export const jwtBearer = (options: {
  readonly assertion: Secret
  readonly name?: string | undefined
  readonly subject?: string | undefined
}): TokenSource => ({
  _tag: "JwtBearer",
  name: options.name ?? "jwt-bearer",
  assertion: options.assertion,
  subject: options.subject
})

/**
 * A token that is exchanged for an access token of this provider (RFC 8693).
 *
 * - `name` is `token-exchange` unless told.
 * - `expectedSubject` is of whom the access token has to be, where it is a JWT. Unless told, it is the subject of the token
 *   that was given, where both are JWTs of one issuer.
 *
 * No access token lives longer than the subject's.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tokenExchange = (
  options: Exchange & { readonly name?: string | undefined; readonly expectedSubject?: string | undefined }
): TokenSource => {
  const { expectedSubject, name, ...exchange } = options
  return { _tag: "TokenExchange", name: name ?? "token-exchange", exchange, subject: expectedSubject }
}

/**
 * The token of the platform that runs this program, as `OidcStrategy.workload` presents it. `first` is one that was got
 * already, and is used once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const workload = (options: {
  readonly platform: WorkloadIdentity.WorkloadIdentity["Service"]
  readonly audience: string
  readonly grant?: "jwt-bearer" | "token-exchange" | undefined
  readonly name?: string | undefined
  readonly first?: WorkloadIdentity.Identity | undefined
}): TokenSource => {
  const { audience, grant, name = "workload", platform } = options
  let { first } = options
  const token = Effect.suspend(() => {
    const got = first
    first = undefined
    return got === undefined ? platform.token(audience) : Effect.succeed(got)
  }).pipe(Effect.map(({ token }) => token))
  return grant === "token-exchange"
    ? tokenExchange({ name, subject: token, subjectType: "jwt" })
    : jwtBearer({ name, assertion: token })
}

/**
 * An identity assertion (ID-JAG, draft-ietf-oauth-identity-assertion-authz-grant) for the authorization server `audience`:
 * the id_token of the session at the person's own provider, exchanged there. It is an assertion for `jwtBearer` at that
 * server, and so the first of two steps.
 *
 * - `session` is the manager of the session at the person's provider, and `provider` that provider's `OidcIam`.
 * - `audience` is the issuer of the authorization server, to the letter, and `resource` the API behind it.
 *
 * Fails as `session` does; where that has no id_token that is valid now, it is renewed once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const identityAssertion = (options: {
  readonly session: AuthManager.AuthManager["Service"]
  readonly provider: { readonly exchange: (exchange: Exchange) => Effect.Effect<Exchanged, IamError> }
  readonly audience: string
  readonly resource?: string | undefined
  readonly scope?: string | undefined
}): Effect.Effect<Redacted.Redacted, Error> =>
  Effect.gen(function*() {
    const { session } = options
    const held = yield* idTokenOf(yield* session.token)
    const idToken = Option.isSome(held)
      ? held
      : yield* Effect.flatMap(Effect.andThen(session.refresh(), session.token), idTokenOf)
    if (Option.isNone(idToken)) {
      return yield* new IamError({
        issuer: session.key.issuer,
        method: "exchange",
        reason: new CredentialsRefused({
          detail: "the session has no id_token that is valid now: sign in again, with the scope `openid`"
        })
      })
    }
    const exchanged = yield* options.provider.exchange({
      subject: idToken.value,
      subjectType: "id_token",
      requestedType: "id-jag",
      audience: options.audience,
      resource: options.resource,
      scope: options.scope
    })
    return exchanged.token
  })

const idTokenOf = ({ idToken }: TokenSet.TokenSet) =>
  Effect.map(DateTime.now, (now) =>
    Option.filter(
      idToken,
      (idToken) => !Option.exists(TokenSet.timeClaim(idToken, "exp"), (end) => DateTime.isLessThanOrEqualTo(end, now))
    ))
