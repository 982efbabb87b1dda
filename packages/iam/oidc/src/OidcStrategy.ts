/**
 * Ways to obtain a session that only OAuth 2 has. The browser, device and manual logins are core's
 * `InteractiveStrategy`.
 *
 * @since 0.1.0
 */
import type { AuthStrategy } from "@effect-authn/core/login/AuthStrategy"
import * as Session from "@effect-authn/core/session/Session"
import * as Effect from "effect/Effect"
import { OidcIam } from "./OidcIam.ts"

/**
 * Signs the program itself in, with the client's own credentials (RFC 6749, section 4.4). Its session renews by asking
 * again, also when its token has expired.
 *
 * **Example** (A service that signs itself in)
 *
 * ```ts
 * import { AuthManager } from "@effect-authn/core"
 * import { OidcIam, OidcStrategy } from "@effect-authn/iam-oidc"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { Config, Effect, Layer } from "effect"
 *
 * const iam = Layer.unwrap(Config.map(Config.Redacted("CLIENT_SECRET"), (secret) =>
 *   OidcIam.layer({
 *     issuer: "https://idp.example.com",
 *     clientId: "my-service",
 *     clientAuthentication: { method: "client_secret_basic", secret }
 *   })))
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(OidcStrategy.clientCredentials(), { store: false })
 * }).pipe(Effect.provide(NodeAuth.layer(iam)))
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const clientCredentials = (): AuthStrategy<OidcIam> => ({
  name: "client credentials",
  obtain: (context) =>
    Effect.map(
      OidcIam.use((oidc) => oidc.clientCredentials(context.selection)),
      (issued) =>
        Session.fromResponse(context.key, issued, { strategy: "client credentials", selection: context.selection })
    )
})
