/**
 * Reads, verifies and signs JSON Web Tokens (RFC 7519) in their compact form.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import { algorithmOf } from "./internal/jwtAlgorithm.ts"
import * as parts from "./internal/jwtParts.ts"

/**
 * Why a token could not be read, verified or signed:
 *
 * - `Malformed`: it is no compact JWS, or its claims are no JSON object.
 * - `AlgorithmRefused`: it is signed with an algorithm that was not allowed (`none` never is), or that the kind of key
 *   rules out.
 * - `BadSignature`: it was changed, or signed with another key.
 * - `Expired`, `NotYetValid`: its `exp` has passed, its `nbf` has not come; `at` is that claim, in epoch seconds.
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
  WrongIssuer: { expected: Schema.Array(Schema.String) },
  WrongAudience: { expected: Schema.Array(Schema.String) },
  MissingClaim: { claim: Schema.String },
  InvalidClaims: { detail: Schema.String },
  UnknownKey: { kid: Schema.optionalKey(Schema.String) },
  KeyNotUsable: { detail: Schema.String },
  JwksUnavailable: { url: Schema.String, detail: Schema.String }
})

/**
 * @category errors
 * @since 0.1.0
 */
export type JwtErrorReason = typeof JwtErrorReason.Type

/**
 * Why a token could not be read, verified or signed. No message shows a token, a key, or what a token claims beyond its
 * times.
 *
 * @category errors
 * @since 0.1.0
 */
export class JwtError extends Schema.TaggedError<JwtError>("@effect-authn/core/JwtCodec/JwtError")("JwtError", {
  reason: JwtErrorReason
}) {
  override get message(): string {
    return JwtErrorReason.match(this.reason, {
      Malformed: ({ detail }) => `not a JWT: ${detail}`,
      AlgorithmRefused: ({ algorithm, detail }) => `the token is signed with ${algorithm}, ${detail}`,
      BadSignature: () => "the signature does not match: the token was changed, or signed with another key",
      Expired: ({ at }) => `the token expired at ${date(at)}: get a new one`,
      NotYetValid: ({ at }) => `the token is not valid before ${date(at)}: check the clocks, or allow a tolerance`,
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

const fail = (reason: JwtErrorReason): JwtError => new JwtError({ reason })

const date = (epochSeconds: number): string =>
  Option.match(DateTime.make(epochSeconds * 1000), {
    onNone: () => `${epochSeconds} s after 1970`,
    onSome: DateTime.formatIso
  })

/**
 * A JSON object of a token, as it stands.
 *
 * @category models
 * @since 0.1.0
 */
export interface JsonObject {
  readonly [name: string]: unknown
}

/**
 * Header and claims of a token, as they stand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoded {
  readonly header: JsonObject
  readonly claims: JsonObject
}

/**
 * A token that was read: its header, its claims as their schema decodes them, and all of its claims as they stand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Jwt<out Claims> {
  readonly header: JsonObject
  readonly claims: Claims
  readonly payload: JsonObject
}

/**
 * The registered claims (RFC 7519, section 4.1). Each may be absent, and `sub` may be anything: some issuers put an
 * object there. Times are epoch seconds. Extend it with
 * `Schema.Struct({ ...JwtCodec.Claims.fields, projectId: Schema.Int })`.
 *
 * @category models
 * @since 0.1.0
 */
export const Claims = Schema.Struct({
  iss: Schema.optionalKey(Schema.String),
  sub: Schema.optionalKey(Schema.Unknown),
  aud: Schema.optionalKey(Schema.Union([Schema.String, Schema.Array(Schema.String)])),
  exp: Schema.optionalKey(Schema.Finite),
  nbf: Schema.optionalKey(Schema.Finite),
  iat: Schema.optionalKey(Schema.Finite),
  jti: Schema.optionalKey(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Claims = typeof Claims.Type

/**
 * The signature algorithms (RFC 7518, section 3.1; RFC 8037) that a caller can allow.
 *
 * @category models
 * @since 0.1.0
 */
export const Algorithm = Schema.Literals([
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
  "HS256",
  "HS384",
  "HS512"
])

/**
 * @category models
 * @since 0.1.0
 */
export type Algorithm = typeof Algorithm.Type

/**
 * A JSON Web Key (RFC 7517). Private and secret ones are handed around as `Redacted`.
 *
 * @category models
 * @since 0.1.0
 */
export type Jwk = jose.JWK

/**
 * Keys to verify with, found by a token's header. `Jwks` makes them.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeySet {
  readonly find: (header: JsonObject) => Effect.Effect<Arr.NonEmptyReadonlyArray<CryptoKey>, JwtError>
}

/**
 * What a token must be to pass:
 *
 * - `key`: a public key as PEM (SPKI), JWK or `CryptoKey`; a secret one (HS256 …) as `CryptoKey` or redacted JWK. A text
 *   is never taken for a secret. Or `jwks`: a key set.
 * - `algorithms`: those allowed. The token's header chooses among them, it cannot add one.
 * - `issuer`, `audience`: one of these must be the token's.
 * - `requiredClaims`: names of claims that must be there. `exp` and `nbf` are checked where they are present.
 * - `clockTolerance`: how far the clocks of issuer and verifier may differ; none unless told.
 * - `claims`: the schema of the claims; the registered ones unless told.
 *
 * @category models
 * @since 0.1.0
 */
export type VerifyOptions<S extends Schema.ConstraintDecoder<unknown> = typeof Claims> =
  & (
    | { readonly key: string | Jwk | CryptoKey | Redacted.Redacted<Jwk> }
    | { readonly jwks: KeySet }
  )
  & {
    readonly algorithms: ReadonlyArray<Algorithm>
    readonly issuer?: string | ReadonlyArray<string> | undefined
    readonly audience?: string | ReadonlyArray<string> | undefined
    readonly requiredClaims?: ReadonlyArray<string> | undefined
    readonly clockTolerance?: Duration.Input | undefined
    readonly claims?: S | undefined
  }

/**
 * Reads a token **without verifying it**: anybody could have written what it says, and it may have expired.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeUnverified = (token: string): Result.Result<Decoded, JwtError> => {
  const decoded = parts.both(token)
  return typeof decoded === "string" ? malformed(decoded) : Result.succeed(decoded)
}

const malformed = (detail: string) => Result.fail(fail({ _tag: "Malformed", detail }))

/**
 * Reads, verifies and signs tokens.
 *
 * - `decode` reads a token **without verifying it**: anybody could have written what it says, and it may have expired.
 *   It is for display and routing, never to decide what somebody may do.
 * - `verify` answers with a token's claims only if its signature, its times and everything asked for hold.
 * - `sign` makes a token with the algorithm of the key (a JWK's `alg`, or what its kind implies). The header has the
 *   JWK's `kid`, or the one that is given.
 *
 * @category services
 * @since 0.1.0
 */
export class JwtCodec extends Context.Service<JwtCodec, {
  readonly decode: <S extends Schema.ConstraintDecoder<unknown> = typeof Claims>(
    token: Redacted.Redacted,
    claims?: S
  ) => Effect.Effect<Jwt<S["Type"]>, JwtError>
  readonly verify: <S extends Schema.ConstraintDecoder<unknown> = typeof Claims>(
    token: Redacted.Redacted,
    options: VerifyOptions<S>
  ) => Effect.Effect<Jwt<S["Type"]>, JwtError>
  readonly sign: (
    claims: Schema.JsonObject,
    key: CryptoKey | Redacted.Redacted<Jwk>,
    options?: { readonly kid?: string | undefined }
  ) => Effect.Effect<Redacted.Redacted, JwtError>
}>()("@effect-authn/core/JwtCodec") {}

/**
 * Makes the codec.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<JwtCodec["Service"]> = Effect.gen(function*() {
  const pems = yield* Cache.make({
    capacity: 64,
    lookup: (name: string) => {
      const [algorithm = "", pem = ""] = name.split(/ (.*)/s)
      return Effect.tryPromise({
        try: () => jose.importSPKI(pem.trim(), algorithm),
        catch: (cause) => fail(notUsable(algorithm, cause))
      })
    }
  })

  return JwtCodec.of({
    decode: (token, claims) =>
      Effect.fromResult(Result.flatMap(
        decodeUnverified(Redacted.value(token)),
        (decoded) => typed(decoded.header, decoded.claims, claims)
      )),

    verify: Effect.fnUntraced(function*(token, options) {
      const text = Redacted.value(token)
      const header = parts.header(text)
      if (typeof header === "string") return yield* fail({ _tag: "Malformed", detail: header })
      const algorithm = yield* Effect.fromResult(accept(header, options))
      const [key, ...others] = "jwks" in options
        ? yield* options.jwks.find(header)
        : [typeof options.key === "string" ? yield* Cache.get(pems, `${algorithm} ${options.key}`) : options.key]
      const checks = claimChecks(options, yield* DateTime.nowAsDate)
      const attempt = (key: CryptoKey | Jwk | Redacted.Redacted<Jwk>) =>
        Effect.tryPromise({
          try: () => jose.jwtVerify(text, Redacted.isRedacted(key) ? Redacted.value(key) : key, checks),
          catch: (cause) => fail(reasonOf(cause, algorithm, checks))
        })
      const { payload } = yield* others.reduce(
        (tried, key) => Effect.catchReason(tried, "JwtError", "BadSignature", () => attempt(key)),
        attempt(key)
      )
      return yield* Effect.fromResult(typed(header, payload, options.claims))
    }),

    sign: (claims, key, options) => {
      const material = Redacted.isRedacted(key) ? Redacted.value(key) : key
      const algorithm = algorithmOf(material)
      const kid = options?.kid ?? ("kid" in material ? material.kid : undefined)
      return Effect.tryPromise({
        try: () =>
          new jose.SignJWT(claims)
            .setProtectedHeader({ alg: algorithm, typ: "JWT", ...(kid === undefined ? {} : { kid }) })
            .sign(material),
        catch: (cause) => fail(notUsable(algorithm, cause))
      }).pipe(Effect.map((token) => Redacted.make(token, { label: "jwt" })))
    }
  })
})

/**
 * The codec. It needs nothing: a key set that must be fetched brings its own `HttpClient`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<JwtCodec> = Layer.effect(JwtCodec, make)

const typed = <S extends Schema.ConstraintDecoder<unknown>>(
  header: JsonObject,
  payload: JsonObject,
  schema: S | undefined
): Result.Result<Jwt<S["Type"]>, JwtError> =>
  Schema.decodeResult(schema ?? Claims)(payload).pipe(
    Result.map((claims) => ({ header, claims, payload })),
    Result.mapError(({ message }) => fail({ _tag: "InvalidClaims", detail: message.replaceAll(/\s+/g, " ") }))
  )

const isAlgorithm = Schema.is(Algorithm)

const accept = (
  { alg, crit }: JsonObject,
  options: VerifyOptions<Schema.ConstraintDecoder<unknown>>
): Result.Result<Algorithm, JwtError> => {
  const refuse = (detail: string) =>
    Result.fail(
      fail({
        _tag: "AlgorithmRefused",
        algorithm: alg === "none" || isAlgorithm(alg) ? alg : "an unknown algorithm",
        detail
      })
    )
  if (!isAlgorithm(alg) || !options.algorithms.includes(alg)) return refuse(`allowed: ${options.algorithms.join(", ")}`)
  // The text of a public key is no secret: who MACs with it must not pass.
  if (alg.startsWith("HS") && ("jwks" in options || typeof options.key === "string")) {
    return refuse("which no public key can verify")
  }
  if (crit !== undefined) {
    return Result.fail(
      fail({ _tag: "Malformed", detail: "its header demands an extension (crit) that is not known here" })
    )
  }
  return Result.succeed(alg)
}

const list = (value: string | ReadonlyArray<string>): Array<string> => typeof value === "string" ? [value] : [...value]

const claimChecks = (
  options: VerifyOptions<Schema.ConstraintDecoder<unknown>>,
  currentDate: Date
): jose.JWTVerifyOptions => ({
  algorithms: [...options.algorithms],
  currentDate,
  ...(options.issuer === undefined ? {} : { issuer: list(options.issuer) }),
  ...(options.audience === undefined ? {} : { audience: list(options.audience) }),
  ...(options.requiredClaims === undefined ? {} : { requiredClaims: [...options.requiredClaims] }),
  ...(options.clockTolerance === undefined
    ? {}
    : { clockTolerance: Duration.toSeconds(Duration.fromInputUnsafe(options.clockTolerance)) })
})

// The errors of jose carry the claims: only what is written here gets out.
const reasonOf = (cause: unknown, algorithm: string, checks: jose.JWTVerifyOptions): JwtErrorReason => {
  const { errors } = jose
  if (cause instanceof errors.JWSSignatureVerificationFailed) return { _tag: "BadSignature" }
  if (cause instanceof errors.JWTExpired) return { _tag: "Expired", at: Number(cause.payload.exp) }
  if (cause instanceof errors.JWTClaimValidationFailed) {
    const { claim, payload, reason } = cause
    if (reason === "missing") return { _tag: "MissingClaim", claim }
    if (reason === "invalid") return { _tag: "InvalidClaims", detail: `"${claim}" must be a number` }
    if (claim === "nbf") return { _tag: "NotYetValid", at: Number(payload.nbf) }
    return claim === "iss"
      ? { _tag: "WrongIssuer", expected: list(checks.issuer ?? []) }
      : { _tag: "WrongAudience", expected: list(checks.audience ?? []) }
  }
  if (cause instanceof errors.JWTInvalid) {
    return { _tag: "Malformed", detail: "its claims are not a JSON object in base64url" }
  }
  if (cause instanceof errors.JWSInvalid) return { _tag: "Malformed", detail: cause.message }
  return notUsable(algorithm, cause)
}

const notUsable = (algorithm: string, cause: unknown): JwtErrorReason => ({
  _tag: "KeyNotUsable",
  detail: `${cause instanceof Error ? cause.message : "it was refused"} (asked for ${algorithm})`
})
