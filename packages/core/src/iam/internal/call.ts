/** One request of a dialect, and its error. */
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import { IamError, type IamErrorReason } from "../IamError.ts"

/**
 * One request of a dialect, as its errors name it. `secrets` are the credentials that travel with it: they are taken
 * out of whatever the server echoes. `timeLimit` covers the whole answer; 30 seconds unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly issuer: string
  readonly method: string
  readonly secrets: ReadonlyArray<Redacted.Redacted>
  readonly timeLimit?: Duration.Duration | undefined
}

/**
 * Makes the `IamError` of a call.
 *
 * @category errors
 * @since 0.1.0
 */
export const error = (call: Pick<Call, "issuer" | "method">, reason: IamErrorReason): IamError =>
  new IamError({ issuer: call.issuer, method: call.method, reason })

// For an answer that no IAM of the dialect would give: an answer about a key or a person comes from the right place.
export const isOtherServer = "is this the address of an IAM of this dialect?"
