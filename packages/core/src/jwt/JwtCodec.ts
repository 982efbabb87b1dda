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
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import { algorithmOf } from "./internal/algorithm.ts"
import * as parts from "./internal/parts.ts"
import { notUsable, reasonOf } from "./internal/reason.ts"
import { fail, type JwtError, type JwtErrorReason } from "./JwtError.ts"

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
 * **Example** (Claims of your own)
 *
 * ```ts import.meta.vitest
 * import { JwtCodec } from "@effect-authn/core"
 * import { Schema } from "effect"
 *
 * const Claims = Schema.Struct({ ...JwtCodec.Claims.fields, projectId: Schema.Int })
 * Schema.decodeSync(Claims)({ sub: "ada", projectId: 7 }) // => { sub: "ada", projectId: 7 }
 * ```
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
 * The type of the schema `Claims`.
 *
 * @category models
 * @since 0.1.0
 */
export type Claims = typeof Claims.Type

/**
 * Whether a claim is a time as RFC 7519, section 2, has it: a number of seconds. What would be the year 33658 or later is
 * none: whoever wrote it meant milliseconds.
 *
 * @category guards
 * @since 0.1.0
 */
export const isNumericDate = (claim: unknown): claim is number =>
  typeof claim === "number" && Number.isFinite(claim) && Math.abs(claim) < 1e12

/**
 * The signature algorithms (RFC 7518, section 3.1; RFC 8037) that a caller can allow.
 *
 * @category models
 * @since 0.1.0
 */
export const Algorithm = Schema.Literals([
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] as const,
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"] as const,
  ...["HS256", "HS384", "HS512"] as const
])

/**
 * The type of the schema `Algorithm`.
 *
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
 * `version` is another number when the keys may be others than before, and fetches them where that is due; a set without it
 * never says so, and nothing that it verified is remembered. `again` fetches them for a token that none of them has signed,
 * where that is allowed now: a new key may have come under the name of an old one. After it `find` answers with the same keys
 * as before only where they are no others.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeySet {
  readonly find: (header: JsonObject) => Effect.Effect<Arr.NonEmptyReadonlyArray<CryptoKey>, JwtError>
  readonly version?: Effect.Effect<number, JwtError>
  readonly again?: Effect.Effect<void>
}

/**
 * What a token must be to pass:
 *
 * - `key`: a public key as PEM (SPKI), JWK or `CryptoKey`; a secret one (HS256 …) as `CryptoKey` or redacted JWK. A text
 *   is never taken for a secret. Or `jwks`: a key set.
 * - `algorithms`: those allowed. The token's header chooses among them, it cannot add one.
 * - `issuer`, `audience`: one of these must be the token's.
 * - `typ`: one of these must be the `typ` of its header, `application/` before it or not (RFC 7515, section 4.1.9); a header
 *   without it counts as `JWT`. Nothing is asked unless told.
 * - `requiredClaims`: names of claims that must be there. `exp` and `nbf` are checked where they are present: an `exp` in
 *   milliseconds, which would be thousands of years from now, is refused.
 * - `clockTolerance`: how far the clocks of issuer and verifier may differ; none unless told.
 * - `claims`: the schema of the claims; the registered ones unless told.
 *
 * @category models
 * @since 0.1.0
 */
export type VerifyOptions<S extends Schema.ConstraintDecoder<unknown> = typeof Claims> = KeySource & {
  readonly algorithms: ReadonlyArray<Algorithm>
  readonly issuer?: string | ReadonlyArray<string> | undefined
  readonly audience?: string | ReadonlyArray<string> | undefined
  readonly typ?: string | ReadonlyArray<string> | undefined
  readonly requiredClaims?: ReadonlyArray<string> | undefined
  readonly clockTolerance?: Duration.Input | undefined
  readonly claims?: S | undefined
}

type KeySource =
  | { readonly key: string | Jwk | CryptoKey | Redacted.Redacted<Jwk> }
  | { readonly jwks: KeySet }

/**
 * Reads a token **without verifying it**: anybody could have written what it says, and it may have expired.
 *
 * **When to use**
 *
 * Use for display and routing, never to decide what somebody may do. `JwtCodec.verify` is for that.
 *
 * **Example** (What a token says of itself)
 *
 * ```ts import.meta.vitest
 * import { JwtCodec } from "@effect-authn/core"
 * import { Result } from "effect"
 * import { Base64Url } from "effect/encoding"
 *
 * const part = (json: object) => Base64Url.encode(JSON.stringify(json))
 * const token = `${part({ alg: "none" })}.${part({ sub: "ada", projectId: 7 })}.`
 * Result.getOrThrow(JwtCodec.decodeUnverified(token)).claims // => { sub: "ada", projectId: 7 }
 * Result.isFailure(JwtCodec.decodeUnverified("no token")) // => true
 * ```
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
 * Reads, verifies and signs tokens in their compact form (RFC 7515, section 3.1).
 *
 * **Example** (Signing a token and verifying it)
 *
 * ```ts import.meta.vitest
 * import { Jwks, JwtCodec } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * const { privateKey, publicKey } = await crypto.subtle.generateKey(
 *   { name: "ECDSA", namedCurve: "P-256" },
 *   true,
 *   ["sign", "verify"]
 * )
 * const jwk = { ...(await crypto.subtle.exportKey("jwk", publicKey)), kty: "EC", alg: "ES256", kid: "2026" }
 *
 * const program = Effect.gen(function*() {
 *   const codec = yield* JwtCodec.JwtCodec
 *   const token = yield* codec.sign({ iss: "https://idp.example.com", sub: "ada" }, privateKey, { kid: "2026" })
 *   const jwks = yield* Jwks.local({ keys: [jwk] })
 *   const { claims } = yield* codec.verify(token, { jwks, algorithms: ["ES256"], issuer: "https://idp.example.com" })
 *   return claims.sub
 * })
 *
 * await Effect.runPromise(Effect.provide(program, JwtCodec.layer)) // => "ada"
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class JwtCodec extends Context.Service<JwtCodec, {
  /**
   * Reads a token **without verifying it**: anybody could have written what it says, and it may have expired. It is for
   * display and routing, never to decide what somebody may do. Fails with `Malformed`, or with `InvalidClaims` where the
   * claims do not fit their schema.
   */
  readonly decode: <S extends Schema.ConstraintDecoder<unknown> = typeof Claims>(
    token: Redacted.Redacted,
    claims?: S
  ) => Effect.Effect<Jwt<S["Type"]>, JwtError>
  /**
   * Answers with a token's claims only if its signature (RFC 7515), its times and everything asked for hold. Fails with
   * the first thing that does not, in the reasons of `JwtError`.
   */
  readonly verify: <S extends Schema.ConstraintDecoder<unknown> = typeof Claims>(
    token: Redacted.Redacted,
    options: VerifyOptions<S>
  ) => Effect.Effect<Jwt<S["Type"]>, JwtError>
  /**
   * Makes a token with the algorithm of the key: a JWK's `alg`, or what its kind implies. The header has the JWK's `kid`,
   * or the one that is given. Fails with `KeyNotUsable`.
   */
  readonly sign: (
    claims: Schema.JsonObject,
    key: CryptoKey | Redacted.Redacted<Jwk>,
    options?: { readonly kid?: string | undefined }
  ) => Effect.Effect<Redacted.Redacted, JwtError>
}>()("@effect-authn/core/jwt/JwtCodec") {}

/**
 * Whether a signature (base64url, as the token has it) is that of the signed part of a token (`header.payload`).
 *
 * @category models
 * @since 0.1.0
 */
export type SignatureCheck = (signed: string, signature: string) => boolean

/**
 * Makes the codec.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<JwtCodec["Service"]> = /* @__PURE__ */ Effect.suspend(() => makeWith(() => undefined))

/**
 * Makes the codec of a platform that checks signatures faster than WebCrypto does. `checkWith` makes the check with a key;
 * it is asked only about a key that has verified a token of this algorithm already, by all rules for keys.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeWith = /* @__PURE__ */ Effect.fnUntraced(function*(
  checkWith: (algorithm: Algorithm, key: CryptoKey | Jwk) => SignatureCheck | undefined
): Effect.fn.Return<JwtCodec["Service"]> {
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

  const checks = new WeakMap<CryptoKey | Jwk, Map<Algorithm, SignatureCheck>>()

  // jose knows what makes a key fit for an algorithm, and says what is wrong with a token: the first one of a key is verified
  // by it, and each that the check does not let pass.
  const claimsOf = (
    token: string,
    key: CryptoKey | Jwk,
    algorithm: Algorithm,
    options: jose.JWTVerifyOptions
  ): Promise<jose.JWTPayload> | jose.JWTPayload => {
    const check = checks.get(key)?.get(algorithm)
    if (check !== undefined) {
      const at = token.lastIndexOf(".")
      const signature = token.slice(at + 1)
      if (isBase64Url(signature) && check(token.slice(0, at), signature)) {
        return claimsIn(token.slice(token.indexOf(".") + 1, at), options)
      }
    }
    return jose.jwtVerify(token, key, options).then(({ payload }) => {
      const made = check ?? checkWith(algorithm, key)
      if (made !== undefined) checks.set(key, (checks.get(key) ?? new Map()).set(algorithm, made))
      return payload
    })
  }

  const withKey = <A>(
    options: KeySource,
    algorithm: Algorithm,
    header: JsonObject,
    tryKey: (key: CryptoKey | Jwk) => Effect.Effect<A, JwtError>
  ): Effect.Effect<A, JwtError> => {
    if ("jwks" in options) return withKeysOf(options.jwks, header, tryKey)
    const { key } = options
    if (typeof key === "string") return Effect.flatMap(Cache.get(pems, `${algorithm} ${key}`), tryKey)
    return tryKey(Redacted.isRedacted(key) ? Redacted.value(key) : key)
  }

  return JwtCodec.of({
    decode: (token, claims) => {
      const decoded = decodeUnverified(Redacted.value(token))
      return Result.isFailure(decoded) ? Effect.fail(decoded.failure) : typed(decoded.success, claims)
    },

    verify: (token, options) =>
      Effect.flatMap(DateTime.nowAsDate, (now) => {
        const text = Redacted.value(token)
        const accepted = accept(text, options)
        if (Result.isFailure(accepted)) return Effect.fail(accepted.failure)
        const { algorithm, header } = accepted.success
        const asked = claimChecks(options, algorithm, now)
        const explain = (cause: unknown) => fail(reasonOf(cause, algorithm, options))
        const tryKey = (key: CryptoKey | Jwk) =>
          Effect.suspend(() => {
            try {
              const claims = claimsOf(text, key, algorithm, asked)
              return claims instanceof Promise
                ? Effect.tryPromise({ try: () => claims, catch: explain })
                : Effect.succeed(claims)
            } catch (cause) {
              return Effect.fail(explain(cause))
            }
          })
        return Effect.flatMap(
          withKey(options, algorithm, header, tryKey),
          (claims) => isEndless(claims, asked) ? Effect.fail(fail(endless)) : typed({ header, claims }, options.claims)
        )
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
 * Verifies a token's signature (RFC 7515), and nothing of what it says: neither times nor issuer. Fails as
 * `JwtCodec.verify` does.
 *
 * **When to use**
 *
 * Use where the claims are judged elsewhere, by rules of their own. `JwtCodec.verify` judges both.
 *
 * @category verifying
 * @since 0.1.0
 */
export const verifySignature = (
  token: Redacted.Redacted,
  options:
    & ({ readonly key: Jwk | CryptoKey | Redacted.Redacted<Jwk> } | { readonly jwks: KeySet })
    & Pick<VerifyOptions, "algorithms">
): Effect.Effect<void, JwtError> => {
  const text = Redacted.value(token)
  const accepted = accept(text, options)
  if (Result.isFailure(accepted)) return Effect.fail(accepted.failure)
  const { algorithm, header } = accepted.success
  const tryKey = (key: CryptoKey | Jwk) =>
    Effect.tryPromise({
      try: () => jose.compactVerify(text, key, { algorithms: [algorithm] }),
      catch: (cause) => fail(reasonOf(cause, algorithm))
    })
  return Effect.asVoid(
    "jwks" in options
      ? withKeysOf(options.jwks, header, tryKey)
      : tryKey(Redacted.isRedacted(options.key) ? Redacted.value(options.key) : options.key)
  )
}

const withKeysOf = <A>(
  jwks: KeySet,
  header: JsonObject,
  tryKey: (key: CryptoKey) => Effect.Effect<A, JwtError>
): Effect.Effect<A, JwtError> => {
  const by = (keys: Arr.NonEmptyReadonlyArray<CryptoKey>) => keys.length === 1 ? tryKey(keys[0]) : each(keys, tryKey)
  return Effect.flatMap(
    jwks.find(header),
    (keys) =>
      Effect.catchReason(
        by(keys),
        "JwtError",
        "BadSignature",
        (_reason, error) =>
          jwks.again === undefined ? Effect.fail(error) : Effect.flatMap(
            Effect.andThen(jwks.again, jwks.find(header)),
            (now) =>
              now.every((key) => keys.includes(key))
                ? Effect.fail(error)
                : by(now)
          )
      )
  )
}

// What jose says of the claims of a token whose signature was checked: without one the same.
const claimsIn = (payload: string, options: jose.JWTVerifyOptions): jose.JWTPayload =>
  jose.UnsecuredJWT.decode(`${unsigned}.${payload}.`, options).payload

// Decoders of a platform may pass over what is none.
const isBase64Url = (text: string): boolean => text.length % 4 !== 1 && /^[\w-]+$/.test(text)

// {"alg":"none"}
const unsigned = "eyJhbGciOiJub25lIn0"

/**
 * The codec. It needs nothing: a key set that must be fetched brings its own `HttpClient`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<JwtCodec> = /* @__PURE__ */ Layer.effect(JwtCodec, make)

// A key of the set that nobody can use says nothing about the others, wherever it stands.
const each = Effect.fnUntraced(function*<A>(
  keys: Arr.NonEmptyReadonlyArray<CryptoKey>,
  tryKey: (key: CryptoKey) => Effect.Effect<A, JwtError>
): Effect.fn.Return<A, JwtError> {
  let failure: JwtError | undefined
  for (const key of keys) {
    const tried = yield* Effect.result(tryKey(key))
    if (Result.isSuccess(tried)) return tried.success
    const { _tag } = tried.failure.reason
    if (_tag !== "BadSignature" && _tag !== "KeyNotUsable") return yield* tried.failure
    if (failure === undefined || _tag === "BadSignature") failure = tried.failure
  }
  return yield* failure ?? fail({ _tag: "BadSignature" })
})

const decodeRegistered = /* @__PURE__ */ Schema.decodeResult(Claims)

const typed = <S extends Schema.ConstraintDecoder<unknown>>(
  { claims: payload, header }: Decoded,
  schema: S | undefined
): Effect.Effect<Jwt<S["Type"]>, JwtError> => {
  const decoded: Result.Result<S["Type"], Schema.SchemaError> = schema === undefined
    ? decodeRegistered(payload)
    : Schema.decodeResult(schema)(payload)
  if (Result.isSuccess(decoded)) return Effect.succeed({ header, claims: decoded.success, payload })
  return Effect.fail(fail({ _tag: "InvalidClaims", detail: decoded.failure.message.replaceAll(/\s+/g, " ") }))
}

// A token that never ends in effect is nothing that an issuer means.
const isEndless = ({ exp }: jose.JWTPayload, { clockTolerance = 0 }: jose.JWTVerifyOptions): boolean =>
  exp !== undefined && !isNumericDate(Math.max(0, exp - Number(clockTolerance)))

const endless: JwtErrorReason = {
  _tag: "InvalidClaims",
  detail: "\"exp\" is in milliseconds, and a time of a JWT is in seconds (RFC 7519, section 2): tell the issuer"
}

const isAlgorithm = Schema.is(Algorithm)

// The header chooses among the algorithms that were allowed, and that is all it may do.
const accept = (
  token: string,
  options: KeySource & Pick<VerifyOptions, "algorithms" | "typ">
): Result.Result<{ readonly algorithm: Algorithm; readonly header: JsonObject }, JwtError> => {
  const header = parts.header(token)
  if (typeof header === "string") return malformed(header)
  const { alg, crit } = header
  if (crit !== undefined) return malformed("its header demands an extension (crit) that is not known here")
  const refuse = (detail: string) => {
    const algorithm = alg === "none" || isAlgorithm(alg) ? alg : "an unknown algorithm"
    return Result.fail(fail({ _tag: "AlgorithmRefused", algorithm, detail }))
  }
  const algorithm = options.algorithms.find((allowed) => allowed === alg)
  if (algorithm === undefined) return refuse(`allowed: ${options.algorithms.join(", ")}`)
  const { typ = "JWT" } = header
  if (options.typ !== undefined && !(typeof typ === "string" && isOneOf(typ, list(options.typ)))) {
    return Result.fail(fail({ _tag: "WrongType", expected: list(options.typ) }))
  }
  // The text of a public key is no secret: who MACs with it must not pass.
  if (algorithm.startsWith("HS") && ("jwks" in options || typeof options.key === "string")) {
    return refuse("which no public key can verify")
  }
  // One that fits is the server's choice; where none does, its key is wrong, and that is told when it is used.
  const fits = "key" in options ? isFor(options.key) : () => true
  if (!fits(algorithm) && options.algorithms.some(fits)) return refuse("which the key cannot verify")
  // Decoders overlook blanks: one token would have many texts.
  const signature = token.slice(token.lastIndexOf(".") + 1)
  return signature === "" || isBase64Url(signature)
    ? Result.succeed({ algorithm, header })
    : malformed("its signature is not base64url")
}

// By the `kty` of a JWK, and by the name that Web Crypto has for the same.
const families: ReadonlyArray<readonly [kinds: RegExp, algorithms: RegExp]> = [
  [/^RSA/, /^[RP]S/],
  [/^EC/, /^ES/],
  [/^(OKP|Ed25519)$/, /^Ed(DSA|25519)$/],
  [/^(oct|HMAC)$/, /^HS/]
]

/** Whether a key is of the kind that an algorithm takes; of a text in PEM it may be. */
const isFor = (given: string | Jwk | CryptoKey | Redacted.Redacted<Jwk>) => {
  const key = Redacted.isRedacted(given) ? Redacted.value(given) : given
  const kind = typeof key === "string" ? "" : "algorithm" in key ? key.algorithm.name : key.kty ?? ""
  const family = families.find(([kinds]) => kinds.test(kind))
  return (algorithm: Algorithm): boolean => family === undefined || family[1].test(algorithm)
}

const list = (value: string | ReadonlyArray<string>): Array<string> => typeof value === "string" ? [value] : [...value]

// A media type (RFC 2045): its case does not matter, and "application/" may be left out.
const isOneOf = (typ: string, allowed: ReadonlyArray<string>): boolean =>
  allowed.map(shortType).includes(shortType(typ))

const shortType = (typ: string): string => typ.toLowerCase().replace(/^application\//, "")

const claimChecks = (
  options: VerifyOptions<Schema.ConstraintDecoder<unknown>>,
  algorithm: Algorithm,
  currentDate: Date
): jose.JWTVerifyOptions => {
  const { audience, clockTolerance, issuer, requiredClaims } = options
  const checks: jose.JWTVerifyOptions = { algorithms: [algorithm], currentDate }
  if (issuer !== undefined) checks.issuer = list(issuer)
  if (audience !== undefined) checks.audience = list(audience)
  if (requiredClaims !== undefined) checks.requiredClaims = [...requiredClaims]
  if (clockTolerance !== undefined) {
    checks.clockTolerance = Duration.toSeconds(Duration.fromInputUnsafe(clockTolerance))
  }
  return checks
}
