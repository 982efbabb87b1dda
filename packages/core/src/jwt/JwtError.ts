/**
 * Why a token could not be read, verified or signed.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * Why a token could not be read, verified or signed:
 *
 * - `Malformed`: it is no compact JWS, or its claims are no JSON object.
 * - `AlgorithmRefused`: it is signed with an algorithm that was not allowed (`none` never is), or that the kind of key
 *   rules out.
 * - `BadSignature`: it was changed, or signed with another key.
 * - `Expired`, `NotYetValid`: its `exp` has passed, its `nbf` has not come; `at` is that claim, in epoch seconds.
 * - `WrongType`: its header's `typ` is another than was asked for: it is a token, but not for this.
 * - `WrongIssuer`, `WrongAudience`, `MissingClaim`: a claim is not what was asked for, or is not there.
 * - `InvalidClaims`: a claim does not have the type that its schema, or RFC 7519, gives it.
 * - `UnknownKey`: the key set has no key that fits its header.
 * - `KeyNotUsable`: the key is damaged, or not one for the algorithm.
 * - `JwksUnavailable`: the key set could not be fetched.
 *
 * @category errors
 * @since 0.1.0
 */
export const JwtErrorReason = Schema.TaggedUnion({
  Malformed: { detail: Schema.String },
  AlgorithmRefused: { algorithm: Schema.String, detail: Schema.String },
  BadSignature: {},
  Expired: { at: Schema.Finite },
  NotYetValid: { at: Schema.Finite },
  WrongType: { expected: Schema.Array(Schema.String) },
  WrongIssuer: { expected: Schema.Array(Schema.String) },
  WrongAudience: { expected: Schema.Array(Schema.String) },
  MissingClaim: { claim: Schema.String },
  InvalidClaims: { detail: Schema.String },
  UnknownKey: { kid: Schema.optional(Schema.String) },
  KeyNotUsable: { detail: Schema.String },
  JwksUnavailable: { url: Schema.String, detail: Schema.String }
})

/**
 * The type of the schema `JwtErrorReason`.
 *
 * @category errors
 * @since 0.1.0
 */
export type JwtErrorReason = typeof JwtErrorReason.Type

/**
 * Why a token could not be read, verified or signed. No message shows a token, a key, or what a token claims beyond its
 * times.
 *
 * **Example** (Telling an expired token from a wrong one)
 *
 * ```ts import.meta.vitest
 * import { JwtError } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * const expired = Effect.fail(new JwtError.JwtError({ reason: { _tag: "Expired", at: 0 } }))
 * const answer = Effect.catchReason(expired, "JwtError", "Expired", ({ at }) => Effect.succeed(`ended at ${at}`))
 *
 * await Effect.runPromise(answer) // => "ended at 0"
 * new JwtError.JwtError({ reason: { _tag: "BadSignature" } }).message // => "the signature does not match: the token was changed, or signed with another key"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class JwtError extends Schema.TaggedError<JwtError>("@effect-authn/core/jwt/JwtError")("JwtError", {
  reason: JwtErrorReason
}) {
  override get message(): string {
    return JwtErrorReason.match(this.reason, {
      Malformed: ({ detail }) => `not a JWT: ${detail}`,
      AlgorithmRefused: ({ algorithm, detail }) => `the token is signed with ${algorithm}, ${detail}`,
      BadSignature: () => "the signature does not match: the token was changed, or signed with another key",
      Expired: ({ at }) => `the token expired at ${date(at)}: get a new one`,
      NotYetValid: ({ at }) => `the token is not valid before ${date(at)}: check the clocks, or allow a tolerance`,
      WrongType: ({ expected }) => `the token is of another kind (typ) than ${expected.join(" or ")}`,
      WrongIssuer: ({ expected }) => `the token is from another issuer than ${expected.join(" or ")}`,
      WrongAudience: ({ expected }) => `the token is meant for another audience than ${expected.join(" or ")}`,
      MissingClaim: ({ claim }) => `the token has no "${claim}" claim`,
      InvalidClaims: ({ detail }) => `the claims are not what was expected: ${detail}`,
      UnknownKey: ({ kid }) =>
        `no key of the key set fits the token${kid === undefined ? "" : ` (kid ${kid})`}: is it from this issuer?`,
      KeyNotUsable: ({ detail }) => `the key cannot be used: ${detail}`,
      JwksUnavailable: ({ detail, url }) => `the key set at ${url} is not available: ${detail}`
    })
  }
}

/** @internal */
export const fail = (reason: JwtErrorReason): JwtError => new JwtError({ reason })

/** @internal */
export const date = (epochSeconds: number): string =>
  Option.match(DateTime.make(epochSeconds * 1000), {
    onNone: () => `${epochSeconds} s after 1970`,
    onSome: DateTime.formatIso
  })
