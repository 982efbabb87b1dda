/** Which server, and how to sign in there. */
import type { PublicHttpClient } from "@effect-authn/core/iam/PublicHttpClient"
import type { SessionLock } from "@effect-authn/core/storage/SessionLock"
import type { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import type { Secret } from "@effect-authn/iam-oidc/ClientAuthentication"
import type * as HttpClient from "effect/http/HttpClient"
import type * as ClientRegistration from "../ClientRegistration.ts"

/**
 * How somebody is asked:
 *
 * - `browser`: a page in the browser of this machine, and nothing where there is none in front of the person.
 * - `interactive`: the browser, else a device code, else a pasted address.
 * - `machine`: nobody; the client signs in for itself (RFC 6749, section 4.4), or by an assertion (RFC 7523, section 2.1).
 * - `never`: nobody, and without a session a request fails with the command to type.
 *
 * @category models
 * @since 0.1.0
 */
export type Login = "browser" | "interactive" | "machine" | "never"

/**
 * Which server, and how to sign in there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The address of the server, https or on this machine. */
  readonly url: string
  /** Which of several sessions at the same server; `default` unless told. */
  readonly account?: string | undefined
  /** As which client. What a person has given once to `login` is remembered, and counts where nothing is told. */
  readonly clients?: ClientRegistration.Clients | undefined
  /** How somebody is asked; `browser` unless told. */
  readonly login?: Login | undefined
  /** With the login `machine`: an assertion for an authorization server and the server behind it, read for each token. */
  readonly assertion?: Assertion | undefined
  /** Whether the tokens of a login are bound to a key that is made for it (RFC 9449); not unless told. */
  readonly dpop?: boolean | undefined
  /** The scopes to ask for besides those that the server names; none unless told. */
  readonly scopes?: ReadonlyArray<string> | undefined
}

/**
 * What a program signs in with, as a JWT that the authorization server `issuer` takes for an access token for `resource`: the
 * token of the platform that runs it, or an identity assertion (ID-JAG) of the person's own provider, by
 * `TokenSource.identityAssertion`.
 *
 * @category models
 * @since 0.1.0
 */
export type Assertion = (server: { readonly issuer: string; readonly resource: string }) => Secret

/**
 * What a sign-in needs of the program: a place for sessions with its lock, and clients for the web. `Browser`,
 * `CallbackServer` and `LoginPrompt` are used where they are in the context; without them nobody can be asked.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = HttpClient.HttpClient | PublicHttpClient | TokenStorage | SessionLock
