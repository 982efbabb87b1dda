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
import type { IamError } from "./iam/IamError.ts"
import type * as JwtError from "./jwt/JwtError.ts"
import { SessionKey } from "./session/SessionKey.ts"
import type { SessionLockError } from "./storage/SessionLock.ts"
import type { TokenStorageError } from "./storage/TokenStorageError.ts"

/**
 * Nobody is signed in.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotAuthenticated
  extends Schema.TaggedError<NotAuthenticated>("@effect-authn/core/AuthError/NotAuthenticated")(
    "NotAuthenticated",
    { key: SessionKey, detail: Schema.optional(Schema.String) }
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

/** Where somebody signs in, and to which account where that is not the usual one. */
const whereTo = ({ account, issuer }: SessionKey): string =>
  account === "default" ? issuer : `${issuer} (account "${account}")`

/**
 * The IAM refused what was offered as proof of who is asking. `handle` is the name that was given with it, if one was.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidCredentials
  extends Schema.TaggedError<InvalidCredentials>("@effect-authn/core/AuthError/InvalidCredentials")(
    "InvalidCredentials",
    { key: SessionKey, detail: Schema.String, handle: Schema.optional(Schema.String) }
  )
{
  override get message(): string {
    const who = this.handle === undefined ? "" : ` as ${this.handle}`
    return `could not sign in${who} at ${whereTo(this.key)}: ${this.detail}`
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
    return `nothing to sign in with for the account ${this.key.label}; tried:${tried}\nSign in with a password or a token, or set one of the named variables.`
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
    return `nobody finished signing in at ${whereTo(this.key)} within ${Duration.format(this.waited)}: ${this.advice}`
  }
}

/**
 * An API wants the person to sign in in a stronger way (one of `acrValues`, the preferred one first), or more recently (at
 * most `maxAge` ago), than they did (RFC 9470). The session is as it was.
 *
 * `parameters` are those of the login that would satisfy it, for `InteractiveStrategy.browser`.
 *
 * **Example** (Signing in as the API asks for it)
 *
 * ```ts
 * import { AuthHttpClient, AuthManager, InteractiveStrategy } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * export const opened = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   const api = yield* AuthHttpClient.make({ baseUrl: "https://api.example.com" })
 *   return yield* api.get("/safe").pipe(
 *     Effect.catchTag("StepUpRequired", ({ parameters }) =>
 *       Effect.andThen(auth.login(InteractiveStrategy.browser({ parameters })), api.get("/safe")))
 *   )
 * })
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class StepUpRequired extends Schema.TaggedError<StepUpRequired>("@effect-authn/core/AuthError/StepUpRequired")(
  "StepUpRequired",
  { key: SessionKey, acrValues: Schema.Array(Schema.String), maxAge: Schema.optional(Schema.Duration) }
) {
  /** Of the login that would satisfy the API, as OpenID Connect spells them: `acr_values`, and `max_age` in seconds. */
  get parameters(): { readonly [name: string]: string } {
    return {
      ...(this.acrValues.length === 0 ? {} : { acr_values: this.acrValues.join(" ") }),
      ...(this.maxAge === undefined ? {} : { max_age: String(Math.floor(Duration.toSeconds(this.maxAge))) })
    }
  }

  override get message(): string {
    const asked = Object.entries(this.parameters).map(([name, value]) => `${name}=${value}`).join(", ")
    return `the API wants another login of ${this.key.label}${
      asked === "" ? "" : ` (${asked})`
    }: sign in again as it asks for`
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
  | StepUpRequired
  | IamError
  | TokenStorageError
  | SessionLockError
  | JwtError.JwtError
