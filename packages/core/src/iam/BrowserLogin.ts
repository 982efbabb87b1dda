/**
 * Signing in with a web browser, as a dialect implements it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Selection from "../session/Selection.ts"
import { ProofKey, type TokenResponse } from "../session/Session.ts"
import type { IamError } from "./IamError.ts"

/**
 * A login that was begun and is not complete. It can be encoded, so that it survives a page that is left: what it is encoded
 * to shows its secrets, and is to be kept as safe as a session (`PendingLogins.sealed`).
 *
 * - `state` comes back with the callback and ties it to this login.
 * - `redirectUri` is where the IAM sends the browser, to the letter.
 * - `maxAge` is how many seconds ago the person may have signed in at most, where the login asked for that (`max_age`).
 * - `codeVerifier` (PKCE, RFC 7636) and `nonce` (OpenID Connect) are there where the dialect uses them.
 * - `proofKey` is the key to which the code is bound (RFC 9449, section 10), and to which the tokens will be.
 *
 * @category models
 * @since 0.1.0
 */
export class PendingLogin extends Schema.Class<PendingLogin>("@effect-authn/core/iam/BrowserLogin/PendingLogin")({
  issuer: Schema.NonEmptyString,
  client: Schema.NonEmptyString,
  redirectUri: Schema.NonEmptyString,
  selection: Selection.Selection,
  state: Schema.NonEmptyString,
  maxAge: Schema.optional(Schema.Natural),
  nonce: Schema.OptionFromOptionalKey(Schema.RedactedFromValue(Schema.NonEmptyString)),
  codeVerifier: Schema.OptionFromOptionalKey(Schema.RedactedFromValue(Schema.NonEmptyString)),
  proofKey: Schema.optional(ProofKey)
}) {}

/**
 * What a login is begun with:
 *
 * - `redirectUri`: where the IAM sends the browser when it is done.
 * - `selection`: what the access token is asked for.
 * - `provider`: which of the IAM's own sign-in providers, where it has several.
 * - `prompt`: how insistent the IAM's page is, in its own words (`login`, `consent`, `select_account`).
 * - `parameters`: what else the page is asked with at this login (`login_hint`, `acr_values`). Where the dialect's options
 *   name a parameter too, this one wins; what the protocol itself needs cannot be replaced.
 *
 * @category models
 * @since 0.1.0
 */
export interface BeginOptions {
  readonly redirectUri: string
  readonly selection?: Selection.Selection | undefined
  readonly provider?: string | undefined
  readonly prompt?: string | undefined
  readonly parameters?: { readonly [name: string]: string } | undefined
}

/**
 * Signs in by way of a page of the IAM (RFC 6749, section 4.1, where the IAM speaks OAuth).
 *
 * **When to use**
 *
 * Use it in a program that receives the callback itself, such as a web page. A program with a browser of its own signs in
 * with `InteractiveStrategy.browser`.
 *
 * @category services
 * @since 0.1.0
 */
export class BrowserLogin extends Context.Service<BrowserLogin, {
  /**
   * Begins a login: the address to open, and what `complete` needs. Nothing is open or waiting after it. Fails with
   * `Misconfigured` for a redirect URI that the IAM cannot use, and with `Unsupported` where it has no such page.
   */
  readonly begin: (
    options: BeginOptions
  ) => Effect.Effect<{ readonly url: string; readonly pending: PendingLogin }, IamError>
  /**
   * Completes a login with the address to which the IAM sent the browser. Fails with `CredentialsRefused` for a callback
   * that does not belong to the pending login (another `state` or issuer, a second use, an answer made for somebody
   * else), and for a person who said no.
   */
  readonly complete: (pending: PendingLogin, callbackUrl: string) => Effect.Effect<TokenResponse, IamError>
}>()("@effect-authn/core/iam/BrowserLogin") {}
