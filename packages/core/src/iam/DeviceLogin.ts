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
 * A code that waits to be entered (RFC 8628, section 3.2).
 *
 * @category models
 * @since 0.1.0
 */
export interface DeviceCode {
  /** What the person enters, for example `WDJB-MJHT`. */
  readonly userCode: string
  /** Where the person enters it, on any device. */
  readonly verificationUri: string
  /** The same address with the code in it, for a link or a QR code. */
  readonly verificationUriComplete: Option.Option<string>
  /** When the code can no longer be entered, in this machine's clock. */
  readonly expiresAt: DateTime.Utc
  /**
   * Asks the IAM until the person has decided, no more often than the IAM allows, and through passing failures. Fails with
   * `CredentialsRefused` when the person said no, and with `GrantDead` when the code expired.
   */
  readonly poll: Effect.Effect<TokenResponse, IamError>
}

/**
 * Signs in where no browser is at hand. `InteractiveStrategy.device` is the login that uses it.
 *
 * @category services
 * @since 0.1.0
 */
export class DeviceLogin extends Context.Service<DeviceLogin, {
  /**
   * Asks the IAM for a code (RFC 8628, section 3.1) for a token of the selection. Fails with `Unsupported` at an IAM that
   * has no such flow.
   */
  readonly begin: (selection?: Selection.Selection) => Effect.Effect<DeviceCode, IamError>
}>()("@effect-authn/core/iam/DeviceLogin") {}
