/**
 * A complete OpenID provider for tests: the certified `oidc-provider` on loopback, behind a `FaultProxy`. It takes every
 * name and password, and the name becomes the subject.
 *
 * It needs the package `oidc-provider`, an optional peer dependency.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ServeError } from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Jose from "jose"
import { randomBytes } from "node:crypto"
import { createServer, type RequestListener } from "node:http"
import * as FaultProxy from "./FaultProxy.ts"
import * as ProviderControl from "./internal/providerControl.ts"
import * as ProviderStore from "./internal/providerStore.ts"

/**
 * - `accessTokenLifetime`: of access tokens; five minutes unless told.
 * - `rotation` of refresh tokens: `none` keeps them; `rotate` answers with a new one and refuses the old one; `strict`,
 *   unless told, also revokes the whole grant when it sees an old one again.
 * - `isStrict`: whether proofs of keys (RFC 9449) need a nonce, and the parameters of a login have to be pushed (RFC 9126);
 *   not unless told.
 * - `reuseGrace`: how long after its first use an old refresh token is still taken; not at all unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly accessTokenLifetime?: Duration.Input
  readonly rotation?: ProviderStore.Reuse["rotation"]
  readonly isStrict?: boolean
  readonly reuseGrace?: Duration.Input
}

/**
 * Where a provider stands that people come back to. `port` 0, the default, is one that is free. `state` is a file that
 * keeps keys, secrets, sessions and tokens across restarts: they are in plain view in it, and only the owner may read it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly port?: number
  readonly state?: string
}

/**
 * A running provider. Refresh tokens rotate, and one that is seen again revokes its whole grant, without a grace period,
 * unless its options say otherwise. It is steered under `/__simulator` as the simulator is: `GET ledger`, `POST reset`,
 * and `POST knobs` with `tokenLifetime`, `latency`, `clockSkew`, `fail` (see `FaultProxy`), `rotation` and `reuseGrace`.
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
   * Authenticates with `client_secret_basic`: signs people in at any port of `http://127.0.0.1/callback` or
   * `http://127.0.0.1/connect/idp/callback`, and gets tokens of its own (client credentials).
   */
  readonly secretClient: { readonly id: string; readonly secret: Redacted.Redacted }
  /** Authenticates with `client_secret_post`, and gets tokens of its own only. */
  readonly postClient: { readonly id: string; readonly secret: Redacted.Redacted }
  /** Authenticates with `private_key_jwt` (ES256, RFC 7523), and gets tokens of its own only. */
  readonly keyClient: { readonly id: string; readonly key: Redacted.Redacted<Jose.JWK> }
  /** Authenticates with `client_secret_jwt` (HS256), and gets tokens of its own only. */
  readonly hmacClient: { readonly id: string; readonly secret: Redacted.Redacted }
  /** Authenticates with assertions that `platform` signs (RFC 7523, section 2.2): `iss` and `sub` are its id, `jti` is new. */
  readonly federatedClient: { readonly id: string }
  /**
   * Another issuer, `https://platform.test`, whose assertions the provider takes from `publicClient`: as a grant (RFC 7523),
   * and as the subject of an exchange (RFC 8693). An assertion is for the provider's issuer unless the claims say otherwise.
   */
  readonly platform: {
    readonly issuer: string
    readonly sign: (claims: { readonly [name: string]: Schema.Json }) => Effect.Effect<Redacted.Redacted>
  }
  /**
   * What stands in front of it, with the routes `discovery`, `authorization`, `token`, `device`, `jwks`, `userinfo`,
   * `revocation`, `introspection`, `end-session` and `page`.
   */
  readonly proxy: FaultProxy.FaultProxy
  /** What went wrong inside of the provider; empty in a run without faults of its own. */
  readonly errors: Effect.Effect<ReadonlyArray<Error>>
}>()("@effect-authn/testing/OidcProvider") {}

const resource = "urn:test:api"
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

/**
 * The provider, as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<OidcProvider> => Layer.orDie(layerAt({}, options))

/**
 * The provider at a place that stays the same, as long as the layer lives. It fails if the port is in use, if the file
 * holds something else than its state or cannot be written, and if the package `oidc-provider` is not there.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerAt = (
  place: Place,
  options?: Options
): Layer.Layer<OidcProvider, ServeError | Cause.IllegalArgumentError> =>
  Layer.effect(
    OidcProvider,
    Effect.gen(function*() {
      // The module is there only for those who use it.
      const { default: Provider, errors: errorsOf } = yield* Effect.tryPromise({
        try: () => import("oidc-provider"),
        catch: (cause) =>
          new Cause.IllegalArgumentError(
            `There is no OpenID provider here: npm install oidc-provider (${String(cause)})`
          )
      })
      const initial: ProviderControl.ProviderKnobs = {
        tokenLifetime: Duration.fromInputUnsafe(options?.accessTokenLifetime ?? "5 minutes"),
        rotation: options?.rotation ?? "strict",
        reuseGrace: Duration.fromInputUnsafe(options?.reuseGrace ?? 0)
      }
      let knobs = initial
      const store = yield* ProviderStore.make({ file: place.state, reuse: () => knobs })
      const proxy: FaultProxy.FaultProxy = yield* FaultProxy.makeAt({
        port: place.port ?? 0,
        routes: ProviderControl.routes,
        steer: (request) =>
          ProviderControl.answer(request, {
            proxy,
            knobs: () => knobs,
            setKnobs: (changes) => knobs = { ...knobs, ...changes },
            reset: () => {
              knobs = initial
              store.clear()
            }
          })
      })
      const secret = (name: string) =>
        Effect.map(
          store.remember(`secret of ${name}`, Effect.sync(() => randomBytes(24).toString("hex"))),
          String
        )
      const secrets = { web: yield* secret("web"), post: yield* secret("post"), hmac: yield* secret("hmac") }
      const signing = yield* Effect.flatMap(store.remember("signing key", keyPair("ES256")), decodeKeyPair)
      const ofClient = yield* Effect.flatMap(store.remember("key of a client", keyPair("ES256")), decodeKeyPair)
      const foreign = yield* Effect.promise(() => Jose.generateKeyPair("ES256", { extractable: true }))
      const errors: Array<Error> = []

      const provider = new Provider(proxy.address, {
        clients: [
          {
            client_id: "cli",
            application_type: "native",
            token_endpoint_auth_method: "none",
            grant_types: ["authorization_code", "refresh_token", deviceGrant, jwtBearerGrant, exchangeGrant],
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
            redirect_uris: ["http://127.0.0.1/callback", "http://127.0.0.1/connect/idp/callback"],
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
          },
          {
            client_id: "hmac",
            client_secret: secrets.hmac,
            token_endpoint_auth_method: "client_secret_jwt",
            grant_types: ["client_credentials"],
            response_types: [],
            redirect_uris: [],
            id_token_signed_response_alg: "ES256"
          },
          {
            client_id: "federated",
            token_endpoint_auth_method: "private_key_jwt",
            grant_types: ["client_credentials"],
            response_types: [],
            redirect_uris: [],
            id_token_signed_response_alg: "ES256",
            jwks: { keys: [yield* Effect.promise(() => Jose.exportJWK(foreign.publicKey))] }
          }
        ],
        adapter: store.adapter,
        cookies: { keys: [yield* secret("cookies")] },
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
        rotateRefreshToken: () => knobs.rotation !== "none",
        ttl: {
          AccessToken: () => Duration.toSeconds(knobs.tokenLifetime),
          AuthorizationCode: 60,
          ClientCredentials: () => Duration.toSeconds(knobs.tokenLifetime),
          DeviceCode: 300,
          Grant: 86_400,
          IdToken: 3600,
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
          dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => options?.isStrict === true },
          pushedAuthorizationRequests: {
            enabled: true,
            requirePushedAuthorizationRequests: options?.isStrict === true
          },
          resourceIndicators: {
            enabled: true,
            useGrantedResource: () => true,
            getResourceServerInfo: (_context, indicator) => ({
              audience: indicator,
              scope: "api:read api:write",
              accessTokenTTL: Duration.toSeconds(knobs.tokenLifetime),
              accessTokenFormat: "jwt",
              jwt: { sign: { alg: "ES256" } }
            })
          }
        }
      })
      provider.on("server_error", (_context, error) => errors.push(error))
      const grants = { [jwtBearerGrant]: "assertion", [exchangeGrant]: "subject_token" }
      for (const [name, parameter] of Object.entries(grants)) {
        provider.registerGrantType(
          name,
          (context) => {
            const { oidc } = context
            const assertion = oidc.params?.[parameter]
            const token = new provider.ClientCredentials({ client: oidc.client, scope: undefined })
            return Jose.jwtVerify(typeof assertion === "string" ? assertion : "", foreign.publicKey, {
              issuer: platformIssuer,
              audience: proxy.address
            }).catch(() => Promise.reject(new errorsOf.InvalidGrant("the assertion is not valid"))).then(() =>
              token.save()
            ).then((accessToken) => {
              context.body = {
                access_token: accessToken,
                expires_in: token.expiration,
                token_type: "Bearer",
                ...(parameter === "subject_token" ? { issued_token_type: accessTokenType } : {})
              }
            })
          },
          [parameter, "scope", "subject_token_type", "requested_token_type", "audience"]
        )
      }
      yield* proxy.forwardTo(yield* serve(provider.callback()))

      return OidcProvider.of({
        issuer: proxy.address,
        resource,
        publicClient: { id: "cli" },
        secretClient: { id: "web", secret: Redacted.make(secrets.web) },
        postClient: { id: "post", secret: Redacted.make(secrets.post) },
        keyClient: { id: "key", key: Redacted.make(ofClient.private) },
        hmacClient: { id: "hmac", secret: Redacted.make(secrets.hmac) },
        federatedClient: { id: "federated" },
        platform: {
          issuer: platformIssuer,
          sign: (claims) =>
            Effect.map(
              Effect.promise(() =>
                new Jose.SignJWT({ iss: platformIssuer, aud: proxy.address, sub: "job", ...claims })
                  .setProtectedHeader({ alg: "ES256" }).setIssuedAt().setExpirationTime("5 minutes")
                  .sign(foreign.privateKey)
              ),
              (token) => Redacted.make(token)
            )
        },
        proxy,
        errors: Effect.sync(() => [...errors])
      })
    })
  )

const platformIssuer = "https://platform.test"
const jwtBearerGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

const KeyPair = Schema.Struct({
  private: Schema.Record(Schema.String, Schema.String),
  public: Schema.Record(Schema.String, Schema.String)
})
const decodeKeyPair = (kept: Schema.Json) =>
  Effect.mapError(
    Schema.decodeUnknownEffect(KeyPair)(kept),
    () => new Cause.IllegalArgumentError("The state of the provider holds a key that is none")
  )

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
