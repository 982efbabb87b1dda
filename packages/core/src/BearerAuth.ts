/**
 * The other side of the wire: an `HttpApi` that takes bearer tokens (RFC 6750).
 *
 * Put `BearerAuth` on an API, a group or an endpoint, read the `Identity` in the handlers, and provide `layer`. For an
 * identity of your own, declare a middleware with `security` and `errors`, and provide `layerFor` it.
 *
 * Tokens are JWTs unless you bring a `TokenVerifier` for others.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type { unhandled } from "effect/Types"
import * as Proofs from "./internal/proofs.ts"
import { errors, InsufficientScope, type KeysUnavailable, Unauthorized } from "./internal/refusals.ts"
import * as scope from "./internal/requiredScope.ts"
import { jwt, type JwtOptions, type TokenVerifier, type Verified } from "./internal/verifier.ts"
import * as Jwks from "./jwt/Jwks.ts"
import * as JwtCodec from "./jwt/JwtCodec.ts"
import type * as JwtError from "./jwt/JwtError.ts"
export { type Proofs, type Prover, prover, type Shown } from "./internal/proofs.ts"
export { challenge, errors, InsufficientScope, KeysUnavailable, Unauthorized } from "./internal/refusals.ts"
export { jwt, type JwtOptions, rfc9068, type TokenVerifier, type Verified } from "./internal/verifier.ts"

/**
 * The security scheme of a middleware that takes bearer tokens.
 *
 * @category models
 * @since 0.1.0
 */
export const security = { bearer: HttpApiSecurity.bearer }

/**
 * Who calls, by a token that was verified. `scopes` are the words of its `scope` (RFC 8693, section 4.2) or `scp`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Caller<out Claims> extends Verified<Claims> {
  readonly token: Redacted.Redacted
  readonly scopes: ReadonlyArray<string>
}

/**
 * Who calls, by what a verifier knows of the token that was sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const caller = <Claims>(token: Redacted.Redacted, verified: Verified<Claims>): Caller<Claims> => ({
  ...verified,
  token,
  scopes: scope.words(verified.payload["scope"] ?? verified.payload["scp"])
})

/**
 * Passes where the person behind a token signed in as it is asked for (RFC 9470): in one of the ways `acrValues`, by the
 * claim `acr`, and at most `maxAge` ago, by the claim `auth_time`. Else, and where the token does not say, it fails with
 * an `Unauthorized` from which a client learns how to sign in. It is for `validate`, `identify` and handlers.
 *
 * **Example** (A route for people who signed in with a second factor in the last hour)
 *
 * ```ts
 * import { BearerAuth } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * export const handler = Effect.gen(function*() {
 *   const caller = yield* BearerAuth.Identity
 *   yield* BearerAuth.requireLogin(caller, { acrValues: ["mfa"], maxAge: "1 hour" })
 *   return "the safe is open"
 * })
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const requireLogin = (
  { payload }: Pick<Verified<unknown>, "payload">,
  options: { readonly acrValues?: ReadonlyArray<string>; readonly maxAge?: Duration.Input }
): Effect.Effect<void, Unauthorized> =>
  Effect.clockWith((clock) => {
    const { acr, auth_time: signedInAt } = payload
    const { acrValues } = options
    const maxAge = options.maxAge === undefined ? undefined : Duration.toSeconds(options.maxAge)
    const isStrong = acrValues === undefined || (typeof acr === "string" && acrValues.includes(acr))
    const isRecent = maxAge === undefined ||
      (JwtCodec.isNumericDate(signedInAt) && signedInAt + maxAge >= clock.currentTimeMillisUnsafe() / 1000)
    return isStrong && isRecent ? Effect.void : Effect.fail(
      new Unauthorized({
        description: isStrong ? "the login is too long ago: sign in again" : "sign in in a stronger way",
        acrValues: acrValues?.join(" "),
        maxAge: maxAge === undefined ? undefined : Math.floor(maxAge)
      })
    )
  })

/**
 * Who calls the handler.
 *
 * @category services
 * @since 0.1.0
 */
export class Identity
  extends Context.Service<Identity, Caller<JwtCodec.Claims>>()("@effect-authn/core/BearerAuth/Identity")
{}

/**
 * The middleware that lets only valid tokens pass, and gives the handlers an `Identity`.
 *
 * **Example** (Protecting a group of endpoints)
 *
 * ```ts
 * import { BearerAuth } from "@effect-authn/core"
 * import { Effect, Schema } from "effect"
 * import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
 *
 * const Api = HttpApi.make("notes").add(
 *   HttpApiGroup.make("notes").add(
 *     HttpApiEndpoint.get("mine", "/notes", { success: Schema.String })
 *   ).middleware(BearerAuth.BearerAuth)
 * )
 *
 * export const handlers = HttpApiBuilder.group(
 *   Api,
 *   "notes",
 *   (handlers) => handlers.handle("mine", () => Effect.map(BearerAuth.Identity, ({ claims }) => `notes of ${claims.sub}`))
 * )
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class BearerAuth extends HttpApiMiddleware.Service<BearerAuth, { provides: Identity }>()(
  "@effect-authn/core/BearerAuth",
  { security, error: errors }
) {}

/**
 * The scope that a token must have: an annotation of an `HttpApi`, a group or an endpoint, in words that spaces part.
 *
 * All words are required that ever stood on the endpoint, its group and the APIs that these were added to, whatever came
 * first: scopes add up, and no annotation takes one away.
 *
 * **Gotchas**
 *
 * The annotations that count are those of the API that the handlers were built for (`HttpApiBuilder.group`), as is so with
 * middleware: what is annotated on a copy of it that is only served does nothing.
 *
 * **Example** (An API for members, and an endpoint for a few of them)
 *
 * ```ts
 * import { BearerAuth } from "@effect-authn/core"
 * import { HttpApi, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
 *
 * const remove = HttpApiEndpoint.delete("remove", "/notes").annotate(BearerAuth.RequiredScope, "notes:write admin")
 *
 * export const Api = HttpApi.make("notes").add(HttpApiGroup.make("notes").add(remove))
 *   .annotate(BearerAuth.RequiredScope, "member")
 *   .middleware(BearerAuth.BearerAuth)
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const RequiredScope: Context.Reference<string> = scope.RequiredScope

/**
 * What is called.
 *
 * @category models
 * @since 0.1.0
 */
export interface Route {
  readonly endpoint: HttpApiEndpoint.Top
  readonly group: HttpApiGroup.Top
}

/**
 * What a middleware with these `errors` and this `security` is implemented by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Implementation<Provides> {
  readonly bearer: (
    handler: Effect.Effect<HttpServerResponse, unhandled, Provides>,
    options: Route & { readonly credential: Redacted.Redacted }
  ) => Effect.Effect<
    HttpServerResponse,
    unhandled | Unauthorized | InsufficientScope | KeysUnavailable,
    HttpRouter.Provided
  >
}

/**
 * What a middleware makes of a token that was verified. `realm` names what is protected, in challenges.
 *
 * @category models
 * @since 0.1.0
 */
export interface Identify<in Claims, out A, out R> extends Proofs.Proofs {
  readonly realm: string
  readonly identify: (
    caller: Caller<Claims>,
    route: Route
  ) => Effect.Effect<A, Unauthorized | InsufficientScope, R>
}

/**
 * What more a token must be for `BearerAuth`. `realm` names what is protected, in challenges; `validate` may refuse a token
 * that was verified.
 *
 * @category models
 * @since 0.1.0
 */
export interface Validate<out R> extends Proofs.Proofs {
  readonly realm: string
  readonly validate?: (
    caller: Caller<JwtCodec.Claims>,
    route: Route
  ) => Effect.Effect<void, Unauthorized | InsufficientScope, R>
}

/**
 * Implements a middleware of your own: `identify` makes its identity of a token that was verified. It is the place to
 * refuse a token that was revoked (`Unauthorized` with a `description`) or is for another project (`InsufficientScope`).
 *
 * **Example** (An identity of your own)
 *
 * ```ts
 * import { BearerAuth, Jwks } from "@effect-authn/core"
 * import { Context, Effect, Layer } from "effect"
 * import { HttpApiMiddleware } from "effect/http-api"
 *
 * class Tenant extends Context.Service<Tenant, { readonly name: string }>()("my-api/Tenant") {}
 *
 * class TenantAuth extends HttpApiMiddleware.Service<TenantAuth, { provides: Tenant }>()("my-api/TenantAuth", {
 *   security: BearerAuth.security,
 *   error: BearerAuth.errors
 * }) {}
 *
 * export const layer = Layer.unwrap(
 *   Effect.map(Jwks.remote("https://idp.example.com/jwks"), (jwks) =>
 *     BearerAuth.layerFor(TenantAuth, Tenant, {
 *       realm: "notes",
 *       jwks,
 *       algorithms: ["RS256"],
 *       issuer: "https://idp.example.com",
 *       audience: "https://api.example.com",
 *       identify: ({ payload }) =>
 *         typeof payload["tenant"] === "string"
 *           ? Effect.succeed({ name: payload["tenant"] })
 *           : Effect.fail(new BearerAuth.InsufficientScope({ description: "the token names no tenant" }))
 *     }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFor: {
  <Id, IdentityId, A, R, Claims>(
    middleware: Context.Service<Id, Implementation<IdentityId>>,
    identity: Context.Key<IdentityId, A>,
    options: { readonly verifier: TokenVerifier<Claims> } & Identify<Claims, A, R>
  ): Layer.Layer<Id, never, R>
  <Id, IdentityId, A, R, S extends Schema.ConstraintDecoder<unknown> = typeof JwtCodec.Claims>(
    middleware: Context.Service<Id, Implementation<IdentityId>>,
    identity: Context.Key<IdentityId, A>,
    options: JwtOptions<S> & Identify<S["Type"], A, R>
  ): Layer.Layer<Id, never, JwtCodec.JwtCodec | R>
} = <Id, IdentityId, A, R, S extends Schema.ConstraintDecoder<unknown> = typeof JwtCodec.Claims>(
  middleware: Context.Service<Id, Implementation<IdentityId>>,
  identity: Context.Key<IdentityId, A>,
  options: (JwtOptions<S> | { readonly verifier: TokenVerifier<S["Type"]> }) & Identify<S["Type"], A, R>
): Layer.Layer<Id, never, JwtCodec.JwtCodec | R> =>
  Layer.effect(
    middleware,
    Effect.gen(function*() {
      const verifier = "verifier" in options ? options.verifier : yield* jwt(options)
      const services = yield* Effect.context<R>()
      const { realm } = options
      const scheme = schemeOf(middleware)
      const proofs = yield* Proofs.prover(options, realm)
      const inRealm = {
        Unauthorized: ({ acrValues, description, dpop = proofs.required, maxAge }: Unauthorized) =>
          Effect.fail(new Unauthorized({ realm, description, acrValues, dpop, maxAge })),
        InsufficientScope: ({ description, scope }: InsufficientScope) =>
          Effect.fail(new InsufficientScope({ realm, description, scope }))
      }

      const identify = Effect.fnUntraced(function*(
        credential: Redacted.Redacted,
        { endpoint, group }: Route,
        request: HttpServerRequest
      ) {
        const presented = proofs.shown(credential, request)
        const { token } = presented
        if (!scope.keepsScopes(group) || !scope.keepsScopes(endpoint)) return yield* Effect.die(new Error(otherEffect))
        if (Redacted.value(token) === "") return yield* new Unauthorized({ realm, dpop: proofs.required })
        const verified = yield* Effect.catchTag(verifier.verify(token), "Unauthorized", inRealm.Unauthorized)
        yield* proofs.prove(presented, verified, request)
        const who = caller(token, verified)
        const required = scope.required(scheme, group.annotations, endpoint.annotations)
        if (!required.every((word) => who.scopes.includes(word))) {
          return yield* new InsufficientScope({
            realm,
            scope: required.join(" "),
            description: "the token's scope is too small"
          })
        }
        return yield* options.identify(who, { endpoint, group }).pipe(
          Effect.provideContext(services),
          Effect.catchTags(inRealm)
        )
      })

      return middleware.of({
        bearer: (handler, { credential, ...route }) =>
          Effect.flatMap(HttpServerRequest, (request) => identify(credential, route, request)).pipe(
            Effect.flatMap((who) => Effect.provideService(handler, identity, who))
          )
      })
    })
  )

/**
 * Implements `BearerAuth`. `validate` may refuse a token that was verified, for example one that was revoked.
 *
 * **Example** (Tokens of one issuer for one audience)
 *
 * ```ts
 * import { BearerAuth, Jwks, JwtCodec } from "@effect-authn/core"
 * import { Effect, Layer } from "effect"
 * import { FetchHttpClient } from "effect/http"
 *
 * export const layer = Layer.unwrap(
 *   Effect.map(Jwks.remote("https://idp.example.com/jwks"), (jwks) =>
 *     BearerAuth.layer({
 *       realm: "notes",
 *       jwks,
 *       algorithms: ["RS256", "ES256"],
 *       issuer: "https://idp.example.com",
 *       audience: "https://api.example.com",
 *       requiredClaims: ["sub"]
 *     }))
 * ).pipe(Layer.provide([JwtCodec.layer, FetchHttpClient.layer]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: {
  <R = never>(options: { readonly verifier: TokenVerifier } & Validate<R>): Layer.Layer<BearerAuth, never, R>
  <R = never>(options: JwtOptions & Validate<R>): Layer.Layer<BearerAuth, never, JwtCodec.JwtCodec | R>
} = <R = never>(
  options: (JwtOptions | { readonly verifier: TokenVerifier }) & Validate<R>
): Layer.Layer<BearerAuth, never, JwtCodec.JwtCodec | R> => {
  const identify = (caller: Caller<JwtCodec.Claims>, route: Route) =>
    Effect.as(options.validate?.(caller, route) ?? Effect.void, caller)
  return "verifier" in options
    ? layerFor(BearerAuth, Identity, { ...options, identify })
    : layerFor(BearerAuth, Identity, { ...options, identify })
}

/**
 * What `layerConfig` reads: `realm`, `issuer` and `audience` as `layer` has them; `algorithms`, RS256, PS256, ES256 and EdDSA unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConfigOptions {
  readonly realm: string
  readonly issuer: string
  readonly audience: string
  readonly algorithms?: ReadonlyArray<JwtCodec.Algorithm> | undefined
}

/**
 * Implements `BearerAuth` for the JWTs of one issuer that the configuration names. The keys are found by the issuer's own
 * metadata, at the first token. An address that is no https fails when the layer is built.
 *
 * **Example** (An issuer that the environment names)
 *
 * ```ts
 * import { BearerAuth, JwtCodec } from "@effect-authn/core"
 * import { Config, Layer } from "effect"
 * import { FetchHttpClient } from "effect/http"
 *
 * export const layer = BearerAuth.layerConfig({
 *   realm: Config.succeed("notes"),
 *   issuer: Config.NonEmptyString("AUTH_ISSUER"),
 *   audience: Config.NonEmptyString("AUTH_AUDIENCE")
 * }).pipe(Layer.provide([JwtCodec.layer, FetchHttpClient.layer]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<ConfigOptions>
): Layer.Layer<BearerAuth, Config.ConfigError | JwtError.JwtError, JwtCodec.JwtCodec | HttpClient.HttpClient> =>
  Layer.unwrap(Effect.gen(function*() {
    const { algorithms = ["RS256", "PS256", "ES256", "EdDSA"], ...given } = yield* Config.unwrap(options)
    const jwks = yield* Jwks.discover(given.issuer)
    return layer({ ...given, algorithms, jwks })
  }))

const schemeOf = (middleware: object): Context.Context<never> =>
  Predicate.hasProperty(middleware, "security") && Predicate.hasProperty(middleware.security, "bearer") &&
    Predicate.hasProperty(middleware.security.bearer, "annotations") &&
    Context.isContext(middleware.security.bearer.annotations)
    ? middleware.security.bearer.annotations
    : Context.empty()

const otherEffect =
  "This HttpApi was made by another copy of effect than BearerAuth's, so scopes that it requires may be missing: let your package manager install one copy"
