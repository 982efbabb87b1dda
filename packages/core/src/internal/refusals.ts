/** What a server refuses a request with, and how each refusal is written into an answer. */
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"

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
    ? { realm, algs: dpop?.algorithms }
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
