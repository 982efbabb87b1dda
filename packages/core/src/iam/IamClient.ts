/**
 * What a dialect implements: how one family of IAMs signs people in, renews and signs out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as RefreshPolicy from "../session/RefreshPolicy.ts"
import type * as Selection from "../session/Selection.ts"
import type * as Session from "../session/Session.ts"
import * as TokenSet from "../session/TokenSet.ts"
import type * as User from "../session/User.ts"
import type { IamError } from "./IamError.ts"
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
 *   be seen to be of no use (expired, not yet valid, not a header value) is `CredentialsRefused`.
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
