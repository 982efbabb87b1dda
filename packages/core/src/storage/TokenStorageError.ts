/**
 * Why a `TokenStorage` could not do what it was asked.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The storage could not be read or written. `detail` names the place and what to do. Of a write, `written` says whether it
 * may have happened: `"no"`, or `"maybe"` (its outcome is unknown; so is one that does not say). Where a `StoragePolicy`
 * could use no place, `tried` names each one with its reason.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageUnavailable
  extends Schema.TaggedError<StorageUnavailable>("@effect-authn/core/storage/TokenStorageError/StorageUnavailable")(
    "StorageUnavailable",
    {
      detail: Schema.String,
      written: Schema.optional(Schema.Literals(["no", "maybe"])),
      tried: Schema.optionalKey(Schema.Array(Schema.Struct({ place: Schema.String, reason: Schema.String })))
    }
  )
{
  get isRetryable(): boolean {
    return true
  }

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
export class StorageCorrupt
  extends Schema.TaggedError<StorageCorrupt>("@effect-authn/core/storage/TokenStorageError/StorageCorrupt")(
    "StorageCorrupt",
    { detail: Schema.String, quarantine: Schema.optional(Schema.String) }
  )
{
  get isRetryable(): boolean {
    return false
  }

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
  extends Schema.TaggedError<StorageNewerVersion>("@effect-authn/core/storage/TokenStorageError/StorageNewerVersion")(
    "StorageNewerVersion",
    { found: Schema.Finite, supported: Schema.Finite, place: Schema.String }
  )
{
  get isRetryable(): boolean {
    return false
  }

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
  extends Schema.TaggedError<StorageConflict>("@effect-authn/core/storage/TokenStorageError/StorageConflict")(
    "StorageConflict",
    { expected: Schema.Natural, found: Schema.Natural }
  )
{
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    return `another process changed the session first (generation ${this.found}, expected ${this.expected})`
  }
}

/**
 * The key that encrypts stored sessions is unavailable: the keychain is locked, or no passphrase was given. Nothing was
 * changed. `isThere` says of a keychain that it runs here, and only did not give the key now: it is slow, or locked.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageKeyUnavailable extends Schema.TaggedError<StorageKeyUnavailable>(
  "@effect-authn/core/storage/TokenStorageError/StorageKeyUnavailable"
)(
  "StorageKeyUnavailable",
  { detail: Schema.String, isThere: Schema.optionalKey(Schema.Boolean) }
) {
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    return `the key of the stored sessions is unavailable: ${this.detail}`
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
  extends Schema.TaggedError<StorageKeyMismatch>("@effect-authn/core/storage/TokenStorageError/StorageKeyMismatch")(
    "StorageKeyMismatch",
    { place: Schema.String, detail: Schema.String }
  )
{
  get isRetryable(): boolean {
    return false
  }

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
  StorageKeyUnavailable,
  StorageKeyMismatch
])

/**
 * A failure of a `TokenStorage`. `storage` is its description. `isRetryable` says whether the same call may succeed later,
 * with nothing changed in what is stored.
 *
 * @category errors
 * @since 0.1.0
 */
export class TokenStorageError
  extends Schema.TaggedError<TokenStorageError>("@effect-authn/core/storage/TokenStorageError/TokenStorageError")(
    "TokenStorageError",
    { storage: Schema.String, method: Schema.String, reason: TokenStorageErrorReason }
  )
{
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  /** Whether a write that failed may have happened all the same. */
  get written(): "no" | "maybe" {
    return this.reason._tag === "StorageUnavailable" ? this.reason.written ?? "maybe" : "no"
  }

  override get message(): string {
    return `${this.storage}: ${this.reason.message}`
  }
}
