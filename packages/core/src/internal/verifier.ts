/** Whether a bearer token is a good one: what a verifier is, and the one of JWTs. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as JwtCodec from "../jwt/JwtCodec.ts"
import type * as JwtError from "../jwt/JwtError.ts"
import { KeysUnavailable, Unauthorized } from "./refusals.ts"
import * as Remembered from "./remembered.ts"

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

// A server without keys knows nothing about the token: a 401 would make its holder throw a good one away.
const refuse = (error: JwtError.JwtError): Effect.Effect<never, Unauthorized | KeysUnavailable> =>
  error.reason._tag === "JwksUnavailable" || error.reason._tag === "KeyNotUsable"
    ? Effect.andThen(Effect.logError(error.message), new KeysUnavailable({}))
    : Effect.fail(new Unauthorized({ description: error.message }))
