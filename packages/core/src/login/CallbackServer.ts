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
 * Somebody else has opened the page with which a sign-in begins, so nobody knows who would come back from the IAM.
 *
 * @category errors
 * @since 0.1.0
 */
export class SignInShared
  extends Schema.TaggedError<SignInShared>("@effect-authn/core/login/CallbackServer/SignInShared")("SignInShared", {})
{
  override get message(): string {
    return "the sign-in's page was opened a second time, by a browser that had not opened it first. Either the page was " +
      "copied into another browser, or the browser keeps no cookies, or somebody else on this machine meddles. Nobody " +
      "was signed in: start again, and use the browser that opens"
  }
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
  /** The words on the button, which leads to the page of the IAM. */
  readonly button: string
}

/**
 * The page of this machine with which a sign-in begins, in front of the IAM's.
 *
 * Every user of a machine can read the arguments of its programs, so the address that a browser is started with is no
 * secret. This one has nothing of the sign-in in it, and leads one browser only to the IAM.
 *
 * @category models
 * @since 0.1.0
 */
export interface SignInPage {
  /** What a browser opens. Nobody can guess it, and no page of another can show it in a frame. */
  readonly url: string
  /** Fails as soon as a second browser opens the page, also while a callback is being finished; else waits for ever. */
  readonly shared: Effect.Effect<never, SignInShared>
  /**
   * For when no browser could be started: an address to show to the person instead, which was in no program's arguments.
   * No cookie is asked for any more, and `url` leads nowhere. If a browser has come to `url` all the same, it stays.
   */
  readonly printed: Effect.Effect<string>
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
   * Puts a page in front of the IAM's page at `url`. The first browser that opens it gets a cookie, and from then on no
   * callback is taken without it. With a `confirmation` the page leads on by its button only; else at once.
   */
  readonly page: (options: {
    readonly url: string
    readonly confirmation?: Confirmation | undefined
  }) => Effect.Effect<SignInPage>
  /**
   * Waits for the first browser that comes to `redirectUri` with that `state` in its query, and with the cookie of the
   * `page` where there is one. Whatever else comes is answered and does not disturb it. It waits for ever: whoever asks
   * sets the time limit.
   */
  readonly receive: (state: string) => Effect.Effect<Received>
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
