/**
 * Ways to obtain a session that only OAuth 2 has. The browser, device and manual logins are core's
 * `InteractiveStrategy`.
 *
 * @since 0.1.0
 */
import type { AuthStrategy } from "@effect-authn/core/login/AuthStrategy"
import { WorkloadIdentity } from "@effect-authn/core/login/WorkloadIdentity"
import * as Session from "@effect-authn/core/session/Session"
import * as Effect from "effect/Effect"
import * as Workload from "./internal/workload.ts"
import { OidcIam } from "./OidcIam.ts"
import * as TokenSource from "./TokenSource.ts"

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

/**
 * Signs in with tokens from a source, and renews by asking it again, also when the token has expired.
 *
 * **When to use**
 *
 * Use with a source of the option `sources`, so that other programs find it by its name. `jwtBearer` and `tokenExchange`
 * make their own.
 *
 * @category strategies
 * @since 0.1.0
 */
export const from = (source: TokenSource.TokenSource): AuthStrategy<OidcIam> => ({
  name: source.name,
  obtain: (context) =>
    Effect.map(
      OidcIam.use((oidc) => oidc.issue(source, context.selection)),
      (issued) => Session.fromResponse(context.key, issued, { strategy: source.name, selection: context.selection })
    )
})

/**
 * Signs in with an assertion as the grant (RFC 7523, section 2.1), as `TokenSource.jwtBearer` has it.
 *
 * **Example** (An API behind the authorization server of somebody else, by the person's own provider)
 *
 * ```ts
 * import { AuthManager, IamClient } from "@effect-authn/core"
 * import { OidcIam, OidcStrategy, TokenSource } from "@effect-authn/iam-oidc"
 * import { Effect } from "effect"
 *
 * // `session` and `provider` are those of the person's provider; the manager in the context is that of the other server.
 * export const login = (
 *   session: AuthManager.AuthManager["Service"],
 *   provider: OidcIam.OidcIam["Service"]
 * ) =>
 *   Effect.gen(function*() {
 *     const auth = yield* AuthManager.AuthManager
 *     const { issuer } = yield* IamClient.IamClient
 *     const assertion = TokenSource.identityAssertion({ session, provider, audience: issuer })
 *     return yield* auth.login(OidcStrategy.jwtBearer({ name: "id-jag", assertion }))
 *   })
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const jwtBearer = (options: Parameters<typeof TokenSource.jwtBearer>[0]): AuthStrategy<OidcIam> =>
  from(TokenSource.jwtBearer(options))

/**
 * Signs in with a token that is exchanged for one of this provider (RFC 8693), as `TokenSource.tokenExchange` has it.
 *
 * @category strategies
 * @since 0.1.0
 */
export const tokenExchange = (options: Parameters<typeof TokenSource.tokenExchange>[0]): AuthStrategy<OidcIam> =>
  from(TokenSource.tokenExchange(options))

/**
 * Signs in as the program that the platform says it is, by the `WorkloadIdentity` of the context.
 *
 * - `audience` is how the provider wants to be named in the platform's token.
 * - `grant` is how the token is presented: as an assertion (`jwt-bearer`, RFC 7523) unless told, or in an exchange
 *   (`token-exchange`, RFC 8693, where it is a `jwt`).
 * - `name` is that of the source, `workload` unless told.
 *
 * It has nothing to try where the program runs on no platform. One that is there and gives nothing of use ends the login.
 *
 * **Example** (A job that signs in without a secret)
 *
 * ```ts
 * import { AuthManager } from "@effect-authn/core"
 * import { OidcIam, OidcStrategy } from "@effect-authn/iam-oidc"
 * import { NodeAuth, NodeWorkloadIdentity } from "@effect-authn/platform-node"
 * import { Effect, Layer } from "effect"
 *
 * const iam = OidcIam.layer({ issuer: "https://idp.example.com", clientId: "deploy" })
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(OidcStrategy.workload({ audience: "https://idp.example.com" }), { store: false })
 * }).pipe(Effect.provide(Layer.provideMerge(NodeWorkloadIdentity.layer(), NodeAuth.layer(iam))))
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const workload = (options: {
  readonly audience: string
  readonly grant?: "jwt-bearer" | "token-exchange" | undefined
  readonly name?: string | undefined
}): AuthStrategy<OidcIam | WorkloadIdentity> => ({
  name: options.name ?? "workload",
  obtain: Effect.fnUntraced(function*(context) {
    const { issue } = yield* OidcIam
    return yield* Workload.obtain(context, issue, yield* WorkloadIdentity, options)
  })
})
