/**
 * Every failure that a caller can meet.
 *
 * What callers branch on is a tag of its own (`NotAuthenticated`, `ReauthenticationRequired`, `InvalidCredentials`,
 * `NoCredentials`); what a service could not do is one error per service with a `reason`. Each message says what
 * happened, at which issuer and account, and what to do next. None holds a secret.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type * as JwtCodec from "./JwtCodec.ts"
import { SessionKey } from "./Session.ts"

/**
 * Nobody is signed in.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotAuthenticated
  extends Schema.TaggedError<NotAuthenticated>("@effect-authn/core/AuthError/NotAuthenticated")(
    "NotAuthenticated",
    { key: SessionKey, detail: Schema.optionalKey(Schema.String) }
  )
{
  override get message(): string {
    return `not signed in as ${this.key.label}${this.detail === undefined ? "" : ` (${this.detail})`}: sign in first`
  }
}

/**
 * The session ended, and only a new login can bring it back. `detail` says what ended it; `answerLost` that the answer
 * to an earlier renewal never arrived, so that the IAM may have rotated the grant without us.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReauthenticationRequired
  extends Schema.TaggedError<ReauthenticationRequired>("@effect-authn/core/AuthError/ReauthenticationRequired")(
    "ReauthenticationRequired",
    { key: SessionKey, detail: Schema.String, answerLost: Schema.Boolean }
  )
{
  override get message(): string {
    const lost = this.answerLost ? "; the answer to an earlier renewal was lost" : ""
    return `the session of ${this.key.label} ended (${this.detail}${lost}): sign in again`
  }
}

/**
 * The IAM refused what was offered as proof of who is asking.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidCredentials
  extends Schema.TaggedError<InvalidCredentials>("@effect-authn/core/AuthError/InvalidCredentials")(
    "InvalidCredentials",
    { key: SessionKey, detail: Schema.String }
  )
{
  override get message(): string {
    return `could not sign in as ${this.key.label}: ${this.detail}`
  }
}

/**
 * There was nothing to sign in with. `tried` has each strategy, in order, with the reason why it had nothing to offer.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoCredentials extends Schema.TaggedError<NoCredentials>("@effect-authn/core/AuthError/NoCredentials")(
  "NoCredentials",
  { key: SessionKey, tried: Schema.Array(Schema.Struct({ strategy: Schema.String, reason: Schema.String })) }
) {
  override get message(): string {
    const tried = this.tried.map(({ reason, strategy }) => `\n  ${strategy}: ${reason}`).join("")
    return `nothing to sign in with as ${this.key.label}; tried:${tried}\nSign in with a password or a token, or set one of the named variables.`
  }
}

/**
 * Nobody finished a login that needs a person, within `waited`. `advice` says how to continue.
 *
 * @category errors
 * @since 0.1.0
 */
export class LoginTimedOut extends Schema.TaggedError<LoginTimedOut>("@effect-authn/core/AuthError/LoginTimedOut")(
  "LoginTimedOut",
  { key: SessionKey, waited: Schema.Duration, advice: Schema.String }
) {
  override get message(): string {
    return `nobody finished signing in as ${this.key.label} within ${Duration.format(this.waited)}: ${this.advice}`
  }
}

/**
 * The grant is dead: the IAM will never again renew with it (`invalid_grant`, a revoked or spent refresh token).
 *
 * @category errors
 * @since 0.1.0
 */
export class GrantDead extends Schema.TaggedError<GrantDead>("@effect-authn/core/AuthError/GrantDead")(
  "GrantDead",
  { detail: Schema.String }
) {
  override get message(): string {
    return `the grant was refused: ${this.detail}`
  }
}

/**
 * The IAM knows the question and refuses the credentials that came with it: a wrong password, an invalid token.
 *
 * @category errors
 * @since 0.1.0
 */
export class CredentialsRefused
  extends Schema.TaggedError<CredentialsRefused>("@effect-authn/core/AuthError/CredentialsRefused")(
    "CredentialsRefused",
    { detail: Schema.String }
  )
{
  override get message(): string {
    return this.detail
  }
}

/**
 * The account may not use the organization, project, resource or scope that was asked for, or there is no such thing.
 *
 * @category errors
 * @since 0.1.0
 */
export class SelectionRefused
  extends Schema.TaggedError<SelectionRefused>("@effect-authn/core/AuthError/SelectionRefused")(
    "SelectionRefused",
    { detail: Schema.String }
  )
{
  override get message(): string {
    return `the selection was refused: ${this.detail}`
  }
}

/**
 * The IAM cannot be asked now. `sent` says whether it may have acted on the request: `"no"` (connection refused, no such
 * host, 429, 503) or `"maybe"` (a time-out, a reset, half an answer, 502, 504). `retryAfter` is the IAM's own wish.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>("@effect-authn/core/AuthError/Unavailable")(
  "Unavailable",
  { sent: Schema.Literals(["no", "maybe"]), detail: Schema.String, retryAfter: Schema.optionalKey(Schema.Duration) }
) {
  override get message(): string {
    return `the IAM is not available: ${this.detail}; try again later`
  }
}

/**
 * The set-up is wrong, and trying again changes nothing: `detail` says what to change.
 *
 * @category errors
 * @since 0.1.0
 */
export class Misconfigured extends Schema.TaggedError<Misconfigured>("@effect-authn/core/AuthError/Misconfigured")(
  "Misconfigured",
  { detail: Schema.String }
) {
  override get message(): string {
    return this.detail
  }
}

/**
 * The IAM's answer could not be understood.
 *
 * @category errors
 * @since 0.1.0
 */
export class Malformed extends Schema.TaggedError<Malformed>("@effect-authn/core/AuthError/Malformed")(
  "Malformed",
  { detail: Schema.String }
) {
  override get message(): string {
    return `the answer could not be understood: ${this.detail}; is this the address of an IAM of this dialect?`
  }
}

/**
 * The dialect has no way to do this.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unsupported extends Schema.TaggedError<Unsupported>("@effect-authn/core/AuthError/Unsupported")(
  "Unsupported",
  { detail: Schema.String }
) {
  override get message(): string {
    return this.detail
  }
}

/**
 * Why an `IamClient` could not do what it was asked. The dialect classifies; nobody above it reads a status code.
 *
 * @category errors
 * @since 0.1.0
 */
export const IamErrorReason = Schema.Union([
  GrantDead,
  CredentialsRefused,
  SelectionRefused,
  Unavailable,
  Misconfigured,
  Malformed,
  Unsupported
])

/**
 * @category errors
 * @since 0.1.0
 */
export type IamErrorReason = typeof IamErrorReason.Type

/**
 * A failure of an `IamClient`.
 *
 * @category errors
 * @since 0.1.0
 */
export class IamError extends Schema.TaggedError<IamError>("@effect-authn/core/AuthError/IamError")("IamError", {
  issuer: Schema.String,
  method: Schema.String,
  reason: IamErrorReason
}) {
  override get message(): string {
    return `${this.method} at ${this.issuer}: ${this.reason.message}`
  }
}

/**
 * The storage could not be read or written. `detail` names the place and what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageUnavailable
  extends Schema.TaggedError<StorageUnavailable>("@effect-authn/core/AuthError/StorageUnavailable")(
    "StorageUnavailable",
    { detail: Schema.String }
  )
{
  override get message(): string {
    return this.detail
  }
}

/**
 * The stored session could not be read as one. It was moved to `quarantine`, if the storage could.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageCorrupt extends Schema.TaggedError<StorageCorrupt>("@effect-authn/core/AuthError/StorageCorrupt")(
  "StorageCorrupt",
  { detail: Schema.String, quarantine: Schema.optionalKey(Schema.String) }
) {
  override get message(): string {
    const moved = this.quarantine === undefined ? "" : `; it was moved to ${this.quarantine}`
    return `the stored session is damaged: ${this.detail}${moved}; sign in again`
  }
}

/**
 * The stored session was written by a newer version of this library; it is left as it is.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageNewerVersion
  extends Schema.TaggedError<StorageNewerVersion>("@effect-authn/core/AuthError/StorageNewerVersion")(
    "StorageNewerVersion",
    { found: Schema.Finite, supported: Schema.Finite, place: Schema.String }
  )
{
  override get message(): string {
    return `${this.place} holds a session of version ${this.found}, this program reads version ${this.supported}: ` +
      `update this program, or remove the file`
  }
}

/**
 * Somebody else wrote first: the stored generation is not the expected one.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageConflict
  extends Schema.TaggedError<StorageConflict>("@effect-authn/core/AuthError/StorageConflict")(
    "StorageConflict",
    { expected: Schema.Natural, found: Schema.Natural }
  )
{
  override get message(): string {
    return `another process changed the session first (generation ${this.found}, expected ${this.expected})`
  }
}

/**
 * The key of the stored sessions cannot be had now: a locked keychain, no passphrase. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageLocked extends Schema.TaggedError<StorageLocked>("@effect-authn/core/AuthError/StorageLocked")(
  "StorageLocked",
  { detail: Schema.String }
) {
  override get message(): string {
    return `the key of the stored sessions is not to be had: ${this.detail}`
  }
}

/**
 * The stored session is there, and cannot be read with the key of this program: it is encrypted with another one, or
 * this program has none, or it has one and the session lies there in plain text. It is left as it is.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageKeyMismatch
  extends Schema.TaggedError<StorageKeyMismatch>("@effect-authn/core/AuthError/StorageKeyMismatch")(
    "StorageKeyMismatch",
    { place: Schema.String, detail: Schema.String }
  )
{
  override get message(): string {
    return `${this.place} ${this.detail}`
  }
}

/**
 * Why a `TokenStorage` could not do what it was asked.
 *
 * @category errors
 * @since 0.1.0
 */
export const TokenStorageErrorReason = Schema.Union([
  StorageUnavailable,
  StorageCorrupt,
  StorageNewerVersion,
  StorageConflict,
  StorageLocked,
  StorageKeyMismatch
])

/**
 * A failure of a `TokenStorage`. `storage` is its description.
 *
 * @category errors
 * @since 0.1.0
 */
export class TokenStorageError
  extends Schema.TaggedError<TokenStorageError>("@effect-authn/core/AuthError/TokenStorageError")(
    "TokenStorageError",
    { storage: Schema.String, method: Schema.String, reason: TokenStorageErrorReason }
  )
{
  override get message(): string {
    return `${this.storage}: ${this.reason.message}`
  }
}

/**
 * The lock of a session could not be had: not in time, because `holder` has it, or not at all.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionLockError
  extends Schema.TaggedError<SessionLockError>("@effect-authn/core/AuthError/SessionLockError")(
    "SessionLockError",
    {
      key: SessionKey,
      purpose: Schema.Literals(["renew", "login"]),
      holder: Schema.optionalKey(Schema.String),
      detail: Schema.String
    }
  )
{
  override get message(): string {
    const why = this.holder === undefined ? "cannot be taken" : `is held by ${this.holder}`
    return `the "${this.purpose}" lock of ${this.key.label} ${why}: ${this.detail}`
  }
}

/**
 * Every failure that a caller can meet.
 *
 * @category errors
 * @since 0.1.0
 */
export type AuthError =
  | NotAuthenticated
  | ReauthenticationRequired
  | InvalidCredentials
  | NoCredentials
  | LoginTimedOut
  | IamError
  | TokenStorageError
  | SessionLockError
  | JwtCodec.JwtError
