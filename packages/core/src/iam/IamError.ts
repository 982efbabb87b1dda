/**
 * Why an `IamClient` could not do what it was asked.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The grant is dead: the IAM will never again renew with it (`invalid_grant`, a revoked or spent refresh token).
 *
 * @category errors
 * @since 0.1.0
 */
export class GrantDead extends Schema.TaggedError<GrantDead>("@effect-authn/core/iam/IamError/GrantDead")(
  "GrantDead",
  { detail: Schema.String }
) {
  get isRetryable(): boolean {
    return false
  }

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
  extends Schema.TaggedError<CredentialsRefused>("@effect-authn/core/iam/IamError/CredentialsRefused")(
    "CredentialsRefused",
    { detail: Schema.String }
  )
{
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    return this.detail
  }
}

/**
 * The account may not use the organization, project, resource or scope that was asked for, or there is no such thing.
 * `spent` says whether the IAM may have used up the grant before it refused: `"no"` unless told.
 *
 * @category errors
 * @since 0.1.0
 */
export class SelectionRefused
  extends Schema.TaggedError<SelectionRefused>("@effect-authn/core/iam/IamError/SelectionRefused")(
    "SelectionRefused",
    { detail: Schema.String, spent: Schema.optional(Schema.Literals(["no", "maybe"])) }
  )
{
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    const cost = this.spent === "maybe"
      ? "; the IAM may have used up the session's grant, and may ask to sign in again"
      : ""
    return `the selection was refused: ${this.detail}${cost}`
  }
}

/**
 * The IAM cannot be asked now. `sent` says whether it may have acted on the request: `"no"` (connection refused, no such
 * host, 429, 503) or `"maybe"` (a time-out, a reset, half an answer, 502, 504). `retryAfter` is the IAM's own wish.
 * `wasIdle` is there where a connection that was kept open closed before a byte of the answer: the IAM had most likely
 * given it up before it saw the request.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>("@effect-authn/core/iam/IamError/Unavailable")(
  "Unavailable",
  {
    sent: Schema.Literals(["no", "maybe"]),
    detail: Schema.String,
    retryAfter: Schema.optional(Schema.Duration),
    wasIdle: Schema.optional(Schema.Literal(true))
  }
) {
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    return `the IAM is not available: ${this.detail}; try again later`
  }
}

/**
 * The set-up is wrong, and trying again changes nothing: `detail` says what to change. `refused` is there where the IAM
 * does not accept the client (RFC 6749, section 5.2), which may have to be registered anew.
 *
 * @category errors
 * @since 0.1.0
 */
export class Misconfigured extends Schema.TaggedError<Misconfigured>("@effect-authn/core/iam/IamError/Misconfigured")(
  "Misconfigured",
  { detail: Schema.String, refused: Schema.optional(Schema.Literal("client")) }
) {
  get isRetryable(): boolean {
    return false
  }

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
export class Malformed extends Schema.TaggedError<Malformed>("@effect-authn/core/iam/IamError/Malformed")(
  "Malformed",
  { detail: Schema.String }
) {
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    return `the answer could not be understood: ${this.detail}`
  }
}

/**
 * The dialect has no way to do this.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unsupported extends Schema.TaggedError<Unsupported>("@effect-authn/core/iam/IamError/Unsupported")(
  "Unsupported",
  { detail: Schema.String }
) {
  get isRetryable(): boolean {
    return false
  }

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
 * The type of the schema `IamErrorReason`.
 *
 * @category errors
 * @since 0.1.0
 */
export type IamErrorReason = typeof IamErrorReason.Type

/**
 * A failure of an `IamClient`. `isRetryable` says whether the same call may succeed later, with nothing changed: only where
 * the IAM is `Unavailable`.
 *
 * @category errors
 * @since 0.1.0
 */
export class IamError extends Schema.TaggedError<IamError>("@effect-authn/core/iam/IamError/IamError")("IamError", {
  issuer: Schema.String,
  method: Schema.String,
  reason: IamErrorReason
}) {
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return `${this.method} at ${this.issuer}: ${this.reason.message}`
  }
}
