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
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { unhandled } from "effect/Types"
import * as Remembered from "./internal/remembered.ts"
import * as scope from "./internal/requiredScope.ts"
import * as DpopProof from "./jwt/DpopProof.ts"
import * as Jwks from "./jwt/Jwks.ts"
import * as JwtCodec from "./jwt/JwtCodec.ts"
import type * as JwtError from "./jwt/JwtError.ts"

/**
 * There was no bearer token, or (with a `description`) it is not valid: 401, `invalid_token`. With `acrValues` or `maxAge` it
 * is valid, but the person behind it has to sign in in a stronger way or more recently (RFC 9470): 401,
 * `insufficient_user_authentication`. `acrValues` are the ways that would do, in words that spaces part, the preferred one
 * first; `maxAge` is for how many seconds a login counts. `dpop` is there where the
 * token needs a proof of its key (RFC 9449): the algorithms that are taken, and whether it is the proof that is refused.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>("@effect-authn/core/BearerAuth/Unauthorized")(
  "Unauthorized",
  {
    realm: Schema.optional(Schema.String),
    description: Schema.optional(Schema.String),
    acrValues: Schema.optional(Schema.String),
    maxAge: Schema.optional(Schema.Finite),
    dpop: Schema.optional(Schema.Struct({ algorithms: Schema.String, isProof: Schema.Boolean }))
  }
) {
  override get message(): string {
    return this.description ??
      (isStepUp(this) ? "sign in again, in the way that is asked for" : "no bearer token was sent")
  }
}

const isStepUp = ({ acrValues, maxAge }: { readonly acrValues?: unknown; readonly maxAge?: unknown }): boolean =>
  acrValues !== undefined || maxAge !== undefined

/**
 * The token is valid, and does not allow this: 403, `insufficient_scope`. `scope` has what would.
 *
 * @category errors
 * @since 0.1.0
 */
export class InsufficientScope
  extends Schema.TaggedError<InsufficientScope>("@effect-authn/core/BearerAuth/InsufficientScope")(
    "InsufficientScope",
    {
      realm: Schema.optional(Schema.String),
      scope: Schema.optional(Schema.String),
      description: Schema.String
    }
  )
{
  override get message(): string {
    return this.description
  }
}

/**
 * This server cannot check tokens at the moment, since its keys, or whom it asks, are away: 503. The token may be a good one.
 * `retryAfter` says in how many seconds to try again, where that is known, and travels as `Retry-After`.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeysUnavailable
  extends Schema.TaggedError<KeysUnavailable>("@effect-authn/core/BearerAuth/KeysUnavailable")(
    "KeysUnavailable",
    { retryAfter: Schema.optional(Schema.Finite) }
  )
{
  override get message(): string {
    return "tokens cannot be checked at the moment: try again later"
  }
}

/**
 * The value of `WWW-Authenticate` (RFC 6750, section 3; RFC 9449, section 7.1) for a refusal.
 *
 * **Example** (A refusal for want of a scope)
 *
 * ```ts import.meta.vitest
 * import { BearerAuth } from "@effect-authn/core"
 *
 * const refusal = new BearerAuth.InsufficientScope({ scope: "notes:write", description: "may only read" })
 * const written = BearerAuth.challenge(refusal)
 * written // => 'Bearer error="insufficient_scope", error_description="may only read", scope="notes:write"'
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export const challenge = (error: Unauthorized | InsufficientScope): string => {
  const dpop = error._tag === "Unauthorized" ? error.dpop : undefined
  const written = Object.entries(challengeOf(error)).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}="${value.replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")}"`]
  )
  return `${dpop === undefined ? "Bearer" : "DPoP"} ${written.join(", ")}`
}

const challengeOf = (error: Unauthorized | InsufficientScope): { readonly [name: string]: string | undefined } => {
  const { description, realm } = error
  if (error._tag === "InsufficientScope") {
    return { realm, error: "insufficient_scope", error_description: description, scope: error.scope }
  }
  const { acrValues, dpop, maxAge } = error
  if (isStepUp(error)) {
    return {
      realm,
      error: "insufficient_user_authentication",
      error_description: error.message,
      acr_values: acrValues,
      max_age: maxAge === undefined ? undefined : String(maxAge)
    }
  }
  return description === undefined && realm !== undefined
    ? { realm }
    : {
      realm,
      error: dpop?.isProof === true ? "invalid_dpop_proof" : "invalid_token",
      error_description: description,
      algs: dpop?.algorithms
    }
}

const headers = { "www-authenticate": Schema.optionalKey(Schema.String) }

/**
 * The errors of a middleware that takes bearer tokens, with their `WWW-Authenticate`. A handler may fail with them as
 * well. An API with bodies of its own encodes the same errors in its own way.
 *
 * @category errors
 * @since 0.1.0
 */
export const errors = [
  Unauthorized.pipe(HttpApiSchema.encodeToWithHeaders({
    body: Schema.TaggedStruct("Unauthorized", Unauthorized.fields).pipe(HttpApiSchema.status(401)),
    headers
  }, {
    decode: ({ body }) => new Unauthorized(body),
    encode: (error) => ({ body: error, headers: { "www-authenticate": challenge(error) } })
  })),
  InsufficientScope.pipe(HttpApiSchema.encodeToWithHeaders({
    body: Schema.TaggedStruct("InsufficientScope", InsufficientScope.fields).pipe(HttpApiSchema.status(403)),
    headers
  }, {
    decode: ({ body }) => new InsufficientScope(body),
    encode: (error) => ({ body: error, headers: { "www-authenticate": challenge(error) } })
  })),
  KeysUnavailable.pipe(HttpApiSchema.encodeToWithHeaders({
    body: Schema.TaggedStruct("KeysUnavailable", {}).pipe(HttpApiSchema.status(503)),
    headers: { "retry-after": Schema.optionalKey(Schema.FiniteFromString) }
  }, {
    decode: ({ headers }) => new KeysUnavailable({ retryAfter: headers["retry-after"] }),
    encode: ({ retryAfter }) => ({
      body: { _tag: "KeysUnavailable" as const },
      headers: retryAfter === undefined ? {} : { "retry-after": retryAfter }
    })
  }))
] as const

/**
 * The security scheme of a middleware that takes bearer tokens.
 *
 * @category models
 * @since 0.1.0
 */
export const security = { bearer: HttpApiSecurity.bearer }

/**
 * What is known of a token that was verified: its `claims` as their schema decodes them, and all that was said about it as
 * it stands, `payload`. `header` is that of a JWT, and empty for any other token.
 *
 * @category models
 * @since 0.1.0
 */
export interface Verified<out Claims = JwtCodec.Claims> extends JwtCodec.Jwt<Claims> {}

/**
 * Says whether a bearer token is a good one, and what is known of it. It fails with `Unauthorized` and a `description` where
 * the token is not, which reaches its holder and so must not tell what only the server may know; and with
 * `KeysUnavailable` where it cannot tell.
 *
 * The scopes of the token are the words of `scope` or `scp` in the `payload`. What the token may do is not its business:
 * scopes are compared, and `validate` and `identify` are called, by the middleware.
 *
 * `jwt` makes the one that is used unless you bring another.
 *
 * **Example** (Tokens that stand in a table)
 *
 * ```ts
 * import { BearerAuth } from "@effect-authn/core"
 * import { Effect, Redacted } from "effect"
 *
 * const holders = new Map([["robot-1", { sub: "robot", scope: "notes:read" }]])
 *
 * const verifier: BearerAuth.TokenVerifier = {
 *   verify: (token) => {
 *     const payload = holders.get(Redacted.value(token))
 *     return payload === undefined
 *       ? Effect.fail(new BearerAuth.Unauthorized({ description: "the token is unknown" }))
 *       : Effect.succeed({ header: {}, claims: payload, payload })
 *   }
 * }
 *
 * export const layer = BearerAuth.layer({ realm: "notes", verifier })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TokenVerifier<out Claims = JwtCodec.Claims> {
  /** Answers with what is known of a good token; it is never asked about an empty one. */
  readonly verify: (token: Redacted.Redacted) => Effect.Effect<Verified<Claims>, Unauthorized | KeysUnavailable>
}

/**
 * What a JWT must be to pass: the options of `JwtCodec.verify`, stricter where they say nothing.
 *
 * - `audience`: the name of this server, which must be among the token's. It has to be given. `anyAudience: true` in its place
 *   takes tokens that were made for somebody else, who then can use them here.
 * - `typ`: the kinds of token that are taken; `JWT` and `at+jwt` unless told, and a header without `typ` counts as `JWT`.
 *   `anyTyp: true` in its place takes all kinds.
 * - `endless: true` takes tokens without `exp`. Else each has to end.
 * - `remember`: of how many good tokens what was verified is remembered, 10,000 unless told, by a digest of the token, until
 *   the token ends or the keys of its issuer change. 0 verifies each time.
 *
 * @category models
 * @since 0.1.0
 */
export type JwtOptions<S extends Schema.ConstraintDecoder<unknown> = typeof JwtCodec.Claims> =
  & JwtCodec.VerifyOptions<S>
  & ({ readonly audience: string | ReadonlyArray<string> } | { readonly anyAudience: true })
  & {
    readonly anyTyp?: true | undefined
    readonly endless?: true | undefined
    readonly remember?: number | undefined
  }

/**
 * What RFC 9068 asks of an access token, besides `issuer` and `audience`: `typ` is `at+jwt`, and its claims are all there.
 *
 * **Example** (Tokens by RFC 9068 and no others)
 *
 * ```ts
 * import { BearerAuth, Jwks } from "@effect-authn/core"
 * import { Effect, Layer } from "effect"
 *
 * export const layer = Layer.unwrap(
 *   Effect.map(Jwks.remote("https://idp.example.com/jwks"), (jwks) =>
 *     BearerAuth.layer({
 *       ...BearerAuth.rfc9068,
 *       realm: "notes",
 *       jwks,
 *       algorithms: ["RS256"],
 *       issuer: "https://idp.example.com",
 *       audience: "https://api.example.com"
 *     }))
 * )
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export const rfc9068 = {
  typ: "at+jwt",
  requiredClaims: ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]
} as const

/**
 * The verifier of JWTs. It is what `layer` and `layerFor` make of `JwtOptions`, for use elsewhere or in a verifier of your own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const jwt = <S extends Schema.ConstraintDecoder<unknown> = typeof JwtCodec.Claims>(
  options: JwtOptions<S>
): Effect.Effect<TokenVerifier<S["Type"]>, never, JwtCodec.JwtCodec> =>
  Effect.gen(function*() {
    const codec = yield* JwtCodec.JwtCodec
    const { anyTyp = false, audience, endless = false, requiredClaims = [], typ = ["JWT", "at+jwt"] } = options
    const strict = {
      ...options,
      typ: anyTyp ? undefined : typ,
      requiredClaims: endless ? requiredClaims : [...new Set(["exp", ...requiredClaims])]
    }
    // A server without a name is meant by no token that names somebody.
    const isNameless = audience === undefined && !("anyAudience" in options)
    const verify = (token: Redacted.Redacted) =>
      codec.verify(token, strict).pipe(
        Effect.catch(refuse),
        Effect.filterOrFail(
          ({ payload }) => !isNameless || payload["aud"] === undefined,
          () => new Unauthorized({ description: "the token is meant for an audience, and this server has no name" })
        )
      )
    const { clockTolerance = 0, remember = 10_000 } = options
    const tolerance = Duration.toMillis(clockTolerance)
    if (!("jwks" in options)) {
      return remember === 0
        ? { verify }
        : yield* remembering(verify, undefined, remember, tolerance)
    }
    const { version } = options.jwks
    return version === undefined || remember === 0
      ? { verify }
      : yield* remembering(verify, Effect.catch(version, refuse), remember, tolerance)
  })

// A token that was verified with keys that are no more must not pass because it is remembered. A single key is always there.
const remembering = Effect.fnUntraced(function*<Claims>(
  verify: TokenVerifier<Claims>["verify"],
  version: Effect.Effect<number, Unauthorized | KeysUnavailable> | undefined,
  capacity: number,
  toleranceMillis: number
): Effect.fn.Return<TokenVerifier<Claims>> {
  const memory = yield* Remembered.make<Verified<Claims>>(capacity)
  const end = ({ payload: { exp } }: Verified<Claims>) =>
    typeof exp === "number" ? exp * 1000 + toleranceMillis : Infinity

  let current = 0
  const known = (token: Redacted.Redacted) =>
    memory.withKnown(token, (known, digest) => {
      if (known !== undefined) return Effect.succeed(known)
      const seen = current
      return Effect.tap(verify(token), (verified) =>
        Effect.map(version ?? Effect.succeed(seen), (now) => {
          if (now === seen && current === seen) memory.remember(digest, verified, end(verified))
        }))
    })
  return {
    verify: version === undefined ? known : (token) =>
      Effect.flatMap(version, (now) => {
        if (now !== current) {
          memory.forget()
          current = now
        }
        return known(token)
      })
  }
})

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
      (typeof signedInAt === "number" && signedInAt + maxAge >= clock.currentTimeMillisUnsafe() / 1000)
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
 * Whether tokens may, or must, be bound to a key (RFC 9449). With `dpop` a token whose claims name a key (`cnf` with `jkt`)
 * is taken only in the scheme `DPoP` and with a proof, as `DpopProof` verifies it; `required: true` refuses all others.
 *
 * A token that is bound to a key (`cnf`, RFC 7800) of which nobody asks for a proof here is refused, since a thief has the
 * token and not the key: without `dpop` each such token, and with it one that is bound to a certificate. `unproven: true`
 * takes it, where a proxy before this server has asked.
 *
 * **Example** (An API whose tokens are bound)
 *
 * ```ts
 * import { BearerAuth, Jwks } from "@effect-authn/core"
 * import { Effect, Layer } from "effect"
 *
 * export const layer = Layer.unwrap(
 *   Effect.map(Jwks.remote("https://idp.example.com/jwks"), (jwks) =>
 *     BearerAuth.layer({
 *       realm: "notes",
 *       jwks,
 *       algorithms: ["RS256"],
 *       issuer: "https://idp.example.com",
 *       audience: "https://api.example.com",
 *       dpop: { origin: "https://api.example.com", required: true }
 *     }))
 * )
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Proofs {
  readonly dpop?: (DpopProof.Options & { readonly required?: boolean | undefined }) | undefined
  readonly unproven?: true | undefined
}

/**
 * What a middleware makes of a token that was verified. `realm` names what is protected, in challenges.
 *
 * @category models
 * @since 0.1.0
 */
export interface Identify<in Claims, out A, out R> extends Proofs {
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
export interface Validate<out R> extends Proofs {
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
      const proofs = options.dpop === undefined ? undefined : yield* DpopProof.make(options.dpop)
      const inRealm = {
        Unauthorized: ({ acrValues, description, dpop, maxAge }: Unauthorized) =>
          Effect.fail(new Unauthorized({ realm, description, acrValues, dpop, maxAge })),
        InsufficientScope: ({ description, scope }: InsufficientScope) =>
          Effect.fail(new InsufficientScope({ realm, description, scope }))
      }

      /** The token of a request, and whether it came in the scheme for tokens that are bound. */
      const shown = (credential: Redacted.Redacted, request: HttpServerRequest) => {
        const bound = proofs === undefined
          ? undefined
          : /^dpop +(\S.*)$/i.exec(request.headers["authorization"] ?? "")?.[1]
        return bound === undefined
          ? { token: credential, isBound: false }
          : { token: Redacted.make(bound.trim()), isBound: true }
      }

      /** A token that is bound to a key is nobody's without the proof, and no other token is bound by showing one. */
      const prove = Effect.fnUntraced(function*(
        { isBound, token }: { readonly isBound: boolean; readonly token: Redacted.Redacted },
        { payload }: Verified<unknown>,
        request: HttpServerRequest
      ): Effect.fn.Return<void, Unauthorized> {
        const { cnf } = payload
        const jkt = Predicate.hasProperty(cnf, "jkt") && typeof cnf.jkt === "string" ? cnf.jkt : undefined
        if (cnf !== undefined && (proofs === undefined || jkt === undefined) && options.unproven !== true) {
          return yield* new Unauthorized({ realm, description: unproven })
        }
        if (proofs === undefined) return
        const refuse = (description: string, isProof: boolean) =>
          new Unauthorized({ realm, description, dpop: { algorithms: proofs.algorithms.join(" "), isProof } })
        if (jkt === undefined) {
          if (isBound || options.dpop?.required === true) return yield* refuse("the token is not bound to a key", false)
          return
        }
        if (!isBound) {
          return yield* refuse("the token is bound to a key: show it in the scheme DPoP, with a proof", false)
        }
        const path = request.originalUrl.startsWith("/")
          ? request.originalUrl
          : URL.parse(request.originalUrl)?.pathname
        yield* proofs.verify({
          proof: request.headers["dpop"],
          method: request.method,
          path: path ?? "",
          accessToken: token
        }, jkt).pipe(Effect.mapError(({ detail }) => refuse(detail, true)))
      })

      const identify = Effect.fnUntraced(function*(
        credential: Redacted.Redacted,
        { endpoint, group }: Route,
        request: HttpServerRequest
      ) {
        const presented = shown(credential, request)
        const { token } = presented
        if (!scope.keepsScopes(group) || !scope.keepsScopes(endpoint)) return yield* Effect.die(new Error(otherEffect))
        if (Redacted.value(token) === "") return yield* new Unauthorized({ realm })
        const verified = yield* Effect.catchTag(verifier.verify(token), "Unauthorized", inRealm.Unauthorized)
        yield* prove(presented, verified, request)
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
 * What `layerConfig` reads: `realm`, `issuer` and `audience` as `layer` has them; `jwksUri`, where the issuer does not say
 * itself where its keys are; `algorithms`, RS256, PS256, ES256 and EdDSA unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConfigOptions {
  readonly realm: string
  readonly issuer: string
  readonly audience: string
  readonly jwksUri?: string | undefined
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
    const { algorithms = ["RS256", "PS256", "ES256", "EdDSA"], jwksUri, ...given } = yield* Config.unwrap(options)
    const jwks = yield* jwksUri === undefined ? Jwks.discover(given.issuer) : Jwks.remote(jwksUri)
    return layer({ ...given, algorithms, jwks })
  }))

const schemeOf = (middleware: object): Context.Context<never> =>
  Predicate.hasProperty(middleware, "security") && Predicate.hasProperty(middleware.security, "bearer") &&
    Predicate.hasProperty(middleware.security.bearer, "annotations") &&
    Context.isContext(middleware.security.bearer.annotations)
    ? middleware.security.bearer.annotations
    : Context.empty()

const unproven = "the token is bound to a key, and came without a proof of it"

const otherEffect =
  "This HttpApi was made by another copy of effect than BearerAuth's, so scopes that it requires may be missing: let your package manager install one copy"

// A server without keys knows nothing about the token: a 401 would make its holder throw a good one away.
const refuse = (error: JwtError.JwtError): Effect.Effect<never, Unauthorized | KeysUnavailable> =>
  error.reason._tag === "JwksUnavailable" || error.reason._tag === "KeyNotUsable"
    ? Effect.andThen(Effect.logError(error.message), new KeysUnavailable({}))
    : Effect.fail(new Unauthorized({ description: error.message }))
