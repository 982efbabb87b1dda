/**
 * What a caller sets of a Datalayer-style IAM, checked, and where it comes from in the environment.
 *
 * @since 0.1.0
 */
import type { IamError } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Variable from "@effect-authn/core/Variable"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"

/**
 * - `issuer`: the IAM's address, with or without `/api/iam/v1`; https, or http to this machine.
 * - `policy`: what differs from the dialect's `policy`. `timeLimit` bounds every request.
 *
 * @category models
 * @since 0.1.0
 */
export interface DatalayerOptions {
  readonly issuer: string
  readonly policy?: Partial<RefreshPolicy.RefreshPolicy> | undefined
}

/**
 * The standard policy, except that a token without `exp` has no known end: it is presented until the IAM refuses it.
 *
 * @category constants
 * @since 0.1.0
 */
export const policy: RefreshPolicy.RefreshPolicy = { ...RefreshPolicy.standard, defaultLifetime: Duration.infinity }

/**
 * The variables in which the existing clients look for a token, in their order. `DATALAYER_EXTERNAL_TOKEN` is not among
 * them: it holds a token of another issuer.
 *
 * @category constants
 * @since 0.1.0
 */
export const environment: ReadonlyArray<string> = ["DATALAYER_API_KEY", "DATALAYER_ACCESS_TOKEN"]

/**
 * The options of the environment: `DATALAYER_IAM_URL` has the address.
 *
 * @category configuration
 * @since 0.1.0
 */
export const fromEnvironment: Config.Config<DatalayerOptions> = Config.all({
  issuer: Variable.text("DATALAYER_IAM_URL")
})

/**
 * The one way to write the address of an IAM: its users also write it with a trailing slash, with `/api/iam/v1`, with
 * its default port or with capitals. What is no such address is `Misconfigured`, with what to write.
 *
 * @category constructors
 * @since 0.1.0
 */
export const canonicalIssuer = (issuer: string): Result.Result<string, IamError> =>
  Result.map(
    IamHttp.endpoint(issuer),
    (url) => url.origin + url.pathname.replace(/\/+$/, "").replace(/\/api\/iam\/v1$/, "").replace(/\/+$/, "")
  )

/**
 * The options, complete and checked.
 *
 * @internal
 */
export interface Settings {
  readonly issuer: string
  readonly policy: RefreshPolicy.RefreshPolicy
}

/** @internal */
export const complete = (options: DatalayerOptions): Effect.Effect<Settings, IamError> =>
  Effect.map(
    Effect.fromResult(canonicalIssuer(options.issuer)),
    (issuer) => ({ issuer, policy: { ...policy, ...options.policy } })
  )
