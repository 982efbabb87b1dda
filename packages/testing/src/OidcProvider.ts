/**
 * A complete OpenID provider for tests: the certified `oidc-provider` on loopback, behind a `FaultProxy`. It takes every
 * name and password, and the name becomes the subject.
 *
 * It needs the package `oidc-provider`, an optional peer dependency.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Jose from "jose"
import { randomBytes } from "node:crypto"
import { createServer, type RequestListener } from "node:http"
import * as FaultProxy from "./FaultProxy.ts"

/**
 * - `accessTokenLifetime`: of access tokens; five minutes unless told.
 * - `idTokenLifetime`: of id_tokens; an hour unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly accessTokenLifetime?: Duration.Input
  readonly idTokenLifetime?: Duration.Input
}

/**
 * A running provider. Refresh tokens rotate, and one that is seen again revokes its whole grant, without a grace period.
 *
 * @category services
 * @since 0.1.0
 */
export class OidcProvider extends Context.Service<OidcProvider, {
  /** Its issuer, to the letter: the address of the proxy in front of it, `http://127.0.0.1:PORT`. */
  readonly issuer: string
  /**
   * The indicator of an API (RFC 8707). Access tokens for it are JWTs with the scopes `api:read` and `api:write`; all
   * others are opaque.
   */
  readonly resource: string
  /**
   * Signs people in without a secret: at any port of `http://127.0.0.1/callback` or `http://[::1]/callback`, and with
   * device codes.
   */
  readonly publicClient: { readonly id: string }
  /**
   * Authenticates with `client_secret_basic`: signs people in at any port of `http://127.0.0.1/callback`, and gets tokens
   * of its own (client credentials).
   */
  readonly secretClient: { readonly id: string; readonly secret: Redacted.Redacted }
  /** Authenticates with `client_secret_post`, and gets tokens of its own only. */
  readonly postClient: { readonly id: string; readonly secret: Redacted.Redacted }
  /** Authenticates with `private_key_jwt` (ES256, RFC 7523), and gets tokens of its own only. */
  readonly keyClient: { readonly id: string; readonly key: Redacted.Redacted<Jose.JWK> }
  /**
   * What stands in front of it, with the routes `discovery`, `authorization`, `token`, `device`, `jwks`, `userinfo`,
   * `revocation`, `introspection`, `end-session` and `page`.
   */
  readonly proxy: FaultProxy.FaultProxy
  /** What went wrong inside of the provider; empty in a run without faults of its own. */
  readonly errors: Effect.Effect<ReadonlyArray<Error>>
}>()("@effect-authn/testing/OidcProvider") {}

const routes = {
  "/.well-known/openid-configuration": "discovery",
  "/auth": "authorization",
  "/token": "token",
  "/device/auth": "device",
  "/jwks": "jwks",
  "/me": "userinfo",
  "/token/revocation": "revocation",
  "/token/introspection": "introspection",
  "/session/end": "end-session"
}

const resource = "urn:test:api"
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

/**
 * The provider, as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<OidcProvider> =>
  Layer.effect(
    OidcProvider,
    Effect.gen(function*() {
      // The module is there only for those who use it.
      const { default: Provider } = yield* Effect.promise(() => import("oidc-provider"))
      const proxy = yield* FaultProxy.make({ routes })
      const secrets = { web: randomBytes(24).toString("hex"), post: randomBytes(24).toString("hex") }
      const signing = yield* keyPair("ES256")
      const ofClient = yield* keyPair("ES256")
      const errors: Array<Error> = []

      const provider = new Provider(proxy.address, {
        clients: [
          {
            client_id: "cli",
            application_type: "native",
            token_endpoint_auth_method: "none",
            grant_types: ["authorization_code", "refresh_token", deviceGrant],
            response_types: ["code"],
            redirect_uris: ["http://127.0.0.1/callback", "http://[::1]/callback"],
            post_logout_redirect_uris: ["http://127.0.0.1/bye"],
            id_token_signed_response_alg: "ES256"
          },
          {
            client_id: "web",
            client_secret: secrets.web,
            application_type: "native",
            token_endpoint_auth_method: "client_secret_basic",
            grant_types: ["authorization_code", "refresh_token", "client_credentials"],
            response_types: ["code"],
            redirect_uris: ["http://127.0.0.1/callback"],
            id_token_signed_response_alg: "ES256"
          },
          {
            client_id: "post",
            client_secret: secrets.post,
            token_endpoint_auth_method: "client_secret_post",
            grant_types: ["client_credentials"],
            response_types: [],
            redirect_uris: [],
            id_token_signed_response_alg: "ES256"
          },
          {
            client_id: "key",
            token_endpoint_auth_method: "private_key_jwt",
            grant_types: ["client_credentials"],
            response_types: [],
            redirect_uris: [],
            id_token_signed_response_alg: "ES256",
            jwks: { keys: [ofClient.public] }
          }
        ],
        cookies: { keys: [randomBytes(32).toString("hex")] },
        jwks: { keys: [signing.private] },
        claims: { openid: ["sub"], profile: ["name", "preferred_username"], email: ["email", "email_verified"] },
        scopes: ["openid", "offline_access", "api:read", "api:write"],
        findAccount: (_context, sub) => ({
          accountId: sub,
          claims: () => ({
            sub,
            name: `Name of ${sub}`,
            preferred_username: sub,
            email: `${sub}@example.test`,
            email_verified: true
          })
        }),
        pkce: { required: () => true },
        rotateRefreshToken: true,
        ttl: {
          AccessToken: seconds(options?.accessTokenLifetime ?? "5 minutes"),
          AuthorizationCode: 60,
          ClientCredentials: seconds(options?.accessTokenLifetime ?? "5 minutes"),
          DeviceCode: 300,
          Grant: 86_400,
          IdToken: seconds(options?.idTokenLifetime ?? "1 hour"),
          Interaction: 600,
          RefreshToken: 86_400,
          Session: 86_400
        },
        features: {
          devInteractions: { enabled: true },
          deviceFlow: { enabled: true },
          clientCredentials: { enabled: true },
          introspection: { enabled: true, allowedPolicy: (_context, client) => client.clientAuthMethod !== "none" },
          revocation: { enabled: true, allowedPolicy: (_context, client, token) => client.clientId === token.clientId },
          rpInitiatedLogout: { enabled: true },
          resourceIndicators: {
            enabled: true,
            useGrantedResource: () => true,
            getResourceServerInfo: (_context, indicator) => ({
              audience: indicator,
              scope: "api:read api:write",
              accessTokenTTL: seconds(options?.accessTokenLifetime ?? "5 minutes"),
              accessTokenFormat: "jwt",
              jwt: { sign: { alg: "ES256" } }
            })
          }
        }
      })
      provider.on("server_error", (_context, error) => errors.push(error))
      yield* proxy.forwardTo(yield* serve(provider.callback()))

      return OidcProvider.of({
        issuer: proxy.address,
        resource,
        publicClient: { id: "cli" },
        secretClient: { id: "web", secret: Redacted.make(secrets.web) },
        postClient: { id: "post", secret: Redacted.make(secrets.post) },
        keyClient: { id: "key", key: Redacted.make(ofClient.private) },
        proxy,
        errors: Effect.sync(() => [...errors])
      })
    })
  )

const seconds = (duration: Duration.Input): number => Duration.toSeconds(Duration.fromInputUnsafe(duration))

const keyPair = (alg: string) =>
  Effect.promise(() =>
    Jose.generateKeyPair(alg, { extractable: true }).then((pair) =>
      Promise.all([Jose.exportJWK(pair.privateKey), Jose.exportJWK(pair.publicKey)])
    )
  ).pipe(
    Effect.map(([privateKey, publicKey]) => ({
      private: { ...privateKey, alg, kid: "test" },
      public: { ...publicKey, alg, kid: "test" }
    }))
  )

const serve = (listener: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly address: string; readonly stop: () => void }>((resume) => {
      const server = createServer(listener)
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const stop = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ address: `http://127.0.0.1:${port}`, stop }))
      })
    }),
    ({ stop }) => Effect.sync(stop)
  ).pipe(Effect.map(({ address }) => address))
