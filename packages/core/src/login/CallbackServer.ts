/**
 * Where the IAM sends the browser when it is done.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * No place for callbacks could be had; `detail` says why and what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class CallbackUnavailable
  extends Schema.TaggedError<CallbackUnavailable>("@effect-authn/core/login/CallbackServer/CallbackUnavailable")(
    "CallbackUnavailable",
    { detail: Schema.String }
  )
{
  override get message(): string {
    return this.detail
  }
}

/**
 * A browser that has come back. `url` is the address with which it came; `finish` shows it how the login went, and
 * returns when it has the page.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received {
  readonly url: string
  readonly finish: (outcome: "success" | "failure") => Effect.Effect<void>
}

/**
 * An open place for callbacks. `receive` waits for the first browser that comes to `redirectUri` with that `state` in its
 * query; whatever else comes is answered and does not disturb it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Callback {
  readonly redirectUri: string
  readonly receive: (state: string) => Effect.Effect<Received>
}

/**
 * Receives the callbacks of browser logins. What `open` opens is closed with its scope, with every connection to it.
 *
 * @category services
 * @since 0.1.0
 */
export class CallbackServer extends Context.Service<CallbackServer, {
  readonly open: Effect.Effect<Callback, CallbackUnavailable, Scope.Scope>
}>()("@effect-authn/core/login/CallbackServer") {}
