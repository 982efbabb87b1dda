/**
 * Signing in with a code that a person enters on another device (RFC 8628), as a dialect implements it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Selection from "../session/Selection.ts"
import type { TokenResponse } from "../session/Session.ts"
import type { IamError } from "./IamError.ts"

/**
 * A code that waits to be entered.
 *
 * - `userCode` is entered at `verificationUri`; `verificationUriComplete` has it in the address already.
 * - `poll` asks the IAM until the person has decided, no more often than the IAM allows, and through passing failures.
 *   `CredentialsRefused` when the person said no, `GrantDead` when the code expired.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeviceCode {
  readonly userCode: string
  readonly verificationUri: string
  readonly verificationUriComplete: Option.Option<string>
  readonly expiresAt: DateTime.Utc
  readonly poll: Effect.Effect<TokenResponse, IamError>
}

/**
 * Signs in where no browser is at hand. `begin` is `Unsupported` at an IAM that has no such flow.
 *
 * @category services
 * @since 0.1.0
 */
export class DeviceLogin extends Context.Service<DeviceLogin, {
  readonly begin: (selection?: Selection.Selection) => Effect.Effect<DeviceCode, IamError>
}>()("@effect-authn/core/iam/DeviceLogin") {}
