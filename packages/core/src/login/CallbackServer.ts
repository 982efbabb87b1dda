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
 * No place for callbacks could be opened; `detail` says why and what to do.
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
 * A browser that has come back from the IAM.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received {
  /** The whole address with which it came, with the code in its query. It belongs in no log. */
  readonly url: string
  /** Shows the browser how the login went, and returns when it has the page. */
  readonly finish: (outcome: "success" | "failure") => Effect.Effect<void>
}

/**
 * What a person reads before they go on to a sign-in that a program began by itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Confirmation {
  /** The heading, in a few words. */
  readonly title: string
  /** What happens when the person goes on, in a sentence. */
  readonly text: string
  /** What the person should look at, by name: the server, the host of the sign-in page, the scopes. */
  readonly facts: ReadonlyArray<readonly [name: string, value: string]>
  /** The words on the button. */
  readonly button: string
  /** Where the button leads: the page of the IAM. */
  readonly url: string
}

/**
 * An open place for callbacks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Callback {
  /** Where the IAM has to send the browser: the redirect URI of the login (RFC 6749, section 3.1.2; RFC 8252, 7.3). */
  readonly redirectUri: string
  /**
   * Waits for the first browser that comes to `redirectUri` with that `state` in its query. Whatever else comes is
   * answered and does not disturb it. It waits for ever: whoever asks sets the time limit.
   */
  readonly receive: (state: string) => Effect.Effect<Received>
  /**
   * Puts a page in front of the IAM's, and answers with its address. The page leads on by its button only. Nobody can
   * guess the address, and no page of another can show it in a frame.
   */
  readonly confirm: (confirmation: Confirmation) => Effect.Effect<string>
}

/**
 * Receives the callbacks of browser logins. `NodeCallbackServer` of `@effect-authn/platform-node` listens on this machine.
 *
 * @category services
 * @since 0.1.0
 */
export class CallbackServer extends Context.Service<CallbackServer, {
  /**
   * Opens a place for one login. It is closed with its scope, with every connection to it. Fails with
   * `CallbackUnavailable` when no place can be opened, for example because every allowed port is taken.
   */
  readonly open: Effect.Effect<Callback, CallbackUnavailable, Scope.Scope>
}>()("@effect-authn/core/login/CallbackServer") {}
