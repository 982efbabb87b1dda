/**
 * What a dialect implements: how one family of IAMs signs people in, renews and signs out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as RefreshPolicy from "../session/RefreshPolicy.ts"
import type * as Selection from "../session/Selection.ts"
import * as Session from "../session/Session.ts"
import * as TokenSet from "../session/TokenSet.ts"
import type * as User from "../session/User.ts"
import { CredentialsRefused, IamError } from "./IamError.ts"
import type { SessionDocument } from "./SessionDocument.ts"

/**
 * What a person or a program offers to prove who it is.
 *
 * @category models
 * @since 0.1.0
 */
export const Credentials = Schema.TaggedUnion({
  Password: {
    handle: Schema.NonEmptyString,
    password: Schema.Redacted(Schema.String, { disallowJsonEncode: true })
  }
})

/**
 * @category models
 * @since 0.1.0
 */
export type Credentials = typeof Credentials.Type

/**
 * What became of a session at the IAM when it was signed out here: `Revoked`, or `NotRevoked` with the reason (the IAM
 * has no such route, could not be reached, the token is not ours to revoke).
 *
 * @category models
 * @since 0.1.0
 */
export const Revocation = Schema.TaggedUnion({
  Revoked: {},
  NotRevoked: { reason: Schema.String }
})

/**
 * @category models
 * @since 0.1.0
 */
export type Revocation = typeof Revocation.Type

/**
 * One IAM, spoken to in its dialect. Only the keeper calls `renew`.
 *
 * - `issuer` and `clientId` name the sessions; a dialect whose users write its address in several ways canonicalises it.
 * - `policy` is the dialect's default; a layer option may override it.
 * - `environment` names the variables that may hold a token, the first one set wins.
 * - `login` signs in. It is sent once: a second try could lock the account.
 * - `adopt` says what a token obtained elsewhere amounts to (its end, its grant), without a request. A token that can
 *   be seen to be of no use (expired, not yet valid, not a header value) is `CredentialsRefused`. `adoptBearer` makes it.
 * - `renew` makes a new access token for `target` from the session's grant.
 * - `whoami` says who the session belongs to: from a route, the login answer or the claims.
 * - `revoke` tells the IAM that the session ended, or why it was not told.
 * - `present` puts a token on a request for an API; `presentBearer` is the one for bearer tokens.
 * - `document` writes and reads the plain document in which a session travels between clients.
 *
 * @category services
 * @since 0.1.0
 */
export class IamClient extends Context.Service<IamClient, {
  readonly issuer: string
  readonly clientId: string
  readonly policy: RefreshPolicy.RefreshPolicy
  readonly environment: ReadonlyArray<string>
  readonly login: (
    credentials: Credentials,
    selection: Selection.Selection
  ) => Effect.Effect<Session.TokenResponse, IamError>
  readonly adopt: (token: Redacted.Redacted) => Effect.Effect<Session.TokenResponse, IamError>
  readonly renew: (
    session: Session.Session,
    target: Selection.Selection
  ) => Effect.Effect<Session.TokenResponse, IamError>
  readonly whoami: (session: Session.Session) => Effect.Effect<User.User, IamError>
  readonly revoke: (session: Session.Session) => Effect.Effect<Revocation, IamError>
  readonly present: (
    bearer: Session.Bearer,
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientRequest.HttpClientRequest>
  readonly document: SessionDocument
}>()("@effect-authn/core/iam/IamClient") {}

/**
 * Puts a bearer token on a request, in its `Authorization` header (RFC 6750, section 2.1): the `present` of every IAM
 * whose tokens need no proof of a key.
 *
 * @category requests
 * @since 0.1.0
 */
export const presentBearer: IamClient["Service"]["present"] = ({ tokens }, request) =>
  Effect.succeed(HttpClientRequest.setHeader(request, "authorization", Redacted.value(TokenSet.authorization(tokens))))

/**
 * Makes the `adopt` of an IAM with bearer tokens. Without a request it says what a token that was obtained elsewhere
 * amounts to: a token without `exp` has no known end, and is presented until the IAM refuses it.
 *
 * - `tokenType` stands before the token in a header; `Bearer` unless told.
 * - `grantOf` says what can renew the token; nothing unless told.
 *
 * `CredentialsRefused` are: what no header can carry, a token that has expired, and one whose `nbf` or `iat` lies ahead
 * of this machine's clock by more than `TokenSet.clockTolerance`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const adoptBearer = (options: {
  readonly issuer: string
  readonly tokenType?: string | undefined
  readonly grantOf?: (accessToken: Redacted.Redacted) => Session.Grant
}): IamClient["Service"]["adopt"] =>
  Effect.fn("IamClient.adopt")(function*(offered: Redacted.Redacted) {
    const refuse = (detail: string) =>
      new IamError({ issuer: options.issuer, method: "adopt", reason: new CredentialsRefused({ detail }) })
    const text = Redacted.value(offered).trim()
    const accessToken = yield* Effect.fromOption(
      TokenSet.accessTokenFrom(text),
      () =>
        refuse(
          text === ""
            ? "the token is empty: give the token itself"
            : "the token has a space, a line break or another character that no token has: give it alone"
        )
    )
    const now = yield* DateTime.now
    const tokens = TokenSet.fromAnswer({
      accessToken,
      tokenType: options.tokenType,
      receivedAt: now,
      serverTime: Option.none(),
      defaultLifetime: Duration.infinity
    })
    if (Option.isSome(tokens.expiresAt) && !TokenSet.isValid(tokens, now)) {
      return yield* refuse(`the token expired at ${DateTime.formatIso(tokens.expiresAt.value)}: get a new one`)
    }
    const soon = DateTime.addDuration(now, TokenSet.clockTolerance)
    for (const name of ["nbf", "iat"]) {
      if (Option.exists(TokenSet.timeClaim(accessToken, name), (at) => DateTime.isGreaterThan(at, soon))) {
        return yield* refuse(
          `the token is not valid yet (${name} is in the future): set this machine's clock, or get another token`
        )
      }
    }
    return {
      tokens,
      grant: options.grantOf?.(accessToken) ?? Session.Grant.make({ _tag: "None" }),
      user: Option.none()
    }
  })
