/**
 * An access token and what is known about it.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as JwtCodec from "../jwt/JwtCodec.ts"

/**
 * One access token, as it is held in memory and in a storage. Times are in this machine's clock, whatever the issuer's
 * clock said.
 *
 * `expiresAt` is `None` for a token that names no end (an API key): it is presented until the IAM refuses it.
 *
 * @category models
 * @since 0.1.0
 */
export class TokenSet extends Schema.Class<TokenSet>("@effect-authn/core/session/TokenSet")({
  // Whatever is no header value enters no session, whichever way it comes.
  accessToken: Schema.RedactedFromValue(Schema.String.check(Schema.isPattern(/^[\x21-\x7e]+$/))),
  tokenType: Schema.NonEmptyString,
  issuedAt: Schema.DateTimeUtcFromMillis,
  expiresAt: Schema.OptionFromOptionalKey(Schema.DateTimeUtcFromMillis),
  idToken: Schema.OptionFromOptionalKey(Schema.RedactedFromValue(Schema.NonEmptyString)),
  scope: Schema.OptionFromOptionalKey(Schema.String)
}) {}

/**
 * How far the clocks of this machine and of an issuer may differ, one minute: a time that lies less than this ahead of
 * ours is no reason to refuse a token.
 *
 * @category constants
 * @since 0.1.0
 */
export const clockTolerance: Duration.Duration = Duration.minutes(1)

// What is longer is no life but a way to say "for ever", and may lie beyond every date.
const longestLife = Duration.days(10 * 365)
// `Date` has a grain of one second and travels with the answer: less than this is not an offset, it is noise.
const clockNoise = 5_000

const Lifetime = Schema.Union([Schema.Finite, Schema.FiniteFromString]).check(
  Schema.makeFilter((seconds) => seconds > 0)
)
const decodeLifetime = Schema.decodeUnknownOption(Lifetime)

/**
 * Reads a token answer's `expires_in` (RFC 6749, section 5.1) in seconds: a positive number, also as text, capped at ten
 * years, in whole milliseconds. Everything else is `None`.
 *
 * **Example** (Answers of different servers)
 *
 * ```ts import.meta.vitest
 * import { TokenSet } from "@effect-authn/core"
 * import { Duration, Option } from "effect"
 *
 * const seconds = (expiresIn: unknown) =>
 *   Option.getOrUndefined(Option.map(TokenSet.lifetimeFrom(expiresIn), Duration.toSeconds))
 * seconds(3600) // => 3600
 * seconds("3600") // => 3600
 * seconds(-1) // => undefined
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const lifetimeFrom = (expiresIn: unknown): Option.Option<Duration.Duration> =>
  Option.map(
    decodeLifetime(expiresIn),
    (seconds) => Duration.millis(Math.ceil(Math.min(seconds, Duration.toSeconds(longestLife)) * 1000))
  )

/**
 * How far the issuer's clock is ahead of ours (behind: negative), from its `Date` header. Less than five seconds count
 * as none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const clockOffset = (serverTime: Option.Option<DateTime.Utc>, receivedAt: DateTime.Utc): Duration.Duration => {
  if (Option.isNone(serverTime)) return Duration.zero
  const offset = DateTime.toEpochMillis(serverTime.value) - DateTime.toEpochMillis(receivedAt)
  return Math.abs(offset) < clockNoise ? Duration.zero : Duration.millis(offset)
}

/**
 * Makes a `TokenSet` from an answer of an IAM.
 *
 * The end of the token's life is `expiresIn` from its receipt; else the `exp` claim of a JWT, corrected by the offset of
 * the issuer's clock; else `defaultLifetime`; an infinite `defaultLifetime` means that the token has no known end. No IAM
 * issues a dead token: where `exp` is not after the receipt, the clocks differ, and the life is `exp` − `iat` from the
 * receipt. It is ten years at most.
 *
 * **Example** (An answer with expires_in)
 *
 * ```ts import.meta.vitest
 * import { TokenSet } from "@effect-authn/core"
 * import { DateTime, Duration, Option, Redacted } from "effect"
 *
 * const tokens = TokenSet.fromAnswer({
 *   accessToken: Redacted.make("at-1"),
 *   expiresIn: 60,
 *   receivedAt: DateTime.makeUnsafe(0),
 *   serverTime: Option.none(),
 *   defaultLifetime: Duration.hours(1)
 * })
 * TokenSet.isValid(tokens, DateTime.makeUnsafe(59_999)) // => true
 * TokenSet.isValid(tokens, DateTime.makeUnsafe(60_000)) // => false
 * String(TokenSet.authorization(tokens)) // => "<redacted:authorization>"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAnswer = (answer: {
  readonly accessToken: Redacted.Redacted
  readonly tokenType?: string | undefined
  readonly expiresIn?: unknown
  readonly idToken?: Redacted.Redacted | undefined
  readonly scope?: string | undefined
  readonly receivedAt: DateTime.Utc
  readonly serverTime: Option.Option<DateTime.Utc>
  readonly defaultLifetime: Duration.Duration
}): TokenSet => {
  const exp = timeClaim(answer.accessToken, "exp")
  const offset = clockOffset(answer.serverTime, answer.receivedAt)
  const life = lifetimeFrom(answer.expiresIn).pipe(
    Option.orElse(() =>
      exp.pipe(
        Option.map((exp) => Duration.subtract(DateTime.distance(answer.receivedAt, exp), offset)),
        Option.filter(Duration.isPositive)
      )
    ),
    Option.orElse(() =>
      Option.zipWith(timeClaim(answer.accessToken, "iat"), exp, DateTime.distance).pipe(
        Option.filter(Duration.isPositive)
      )
    ),
    Option.orElse(() => Option.liftPredicate(Duration.isFinite)(answer.defaultLifetime))
  )
  return TokenSet.make({
    accessToken: answer.accessToken,
    tokenType: answer.tokenType ?? "Bearer",
    issuedAt: answer.receivedAt,
    expiresAt: Option.map(life, (life) => DateTime.addDuration(answer.receivedAt, Duration.min(life, longestLife))),
    idToken: Option.fromNullishOr(answer.idToken),
    scope: Option.fromNullishOr(answer.scope)
  })
}

/**
 * Makes a `TokenSet` from a token that was issued some time ago: a person, a variable or a document brings it. It ends at
 * its `exp` claim, which may be past; without one it has no known end. `issuedAt` is when its life began.
 *
 * **Example** (A token that has expired)
 *
 * ```ts import.meta.vitest
 * import { TokenSet } from "@effect-authn/core"
 * import { DateTime, Redacted } from "effect"
 * import { Base64Url } from "effect/encoding"
 *
 * const jwt = `${Base64Url.encode('{"alg":"none"}')}.${Base64Url.encode('{"exp":60}')}.`
 * const tokens = TokenSet.adopted({ accessToken: Redacted.make(jwt), issuedAt: DateTime.makeUnsafe(0) })
 * TokenSet.isValid(tokens, DateTime.makeUnsafe(60_000)) // => false
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const adopted = (token: {
  readonly accessToken: Redacted.Redacted
  readonly tokenType?: string | undefined
  readonly scope?: string | undefined
  readonly issuedAt: DateTime.Utc
}): TokenSet =>
  TokenSet.make({
    accessToken: token.accessToken,
    tokenType: token.tokenType ?? "Bearer",
    issuedAt: token.issuedAt,
    expiresAt: timeClaim(token.accessToken, "exp"),
    idToken: Option.none(),
    scope: Option.fromNullishOr(token.scope)
  })

/**
 * The same token, held for valid no longer than until `end`, where there is one: until the token that it was made from ends.
 *
 * @category combinators
 * @since 0.1.0
 */
export const until = (self: TokenSet, end: Option.Option<DateTime.Utc>): TokenSet =>
  Option.isNone(end)
    ? self
    : TokenSet.make(Struct.assign(self, {
      expiresAt: Option.some(
        Option.match(self.expiresAt, { onNone: () => end.value, onSome: (own) => DateTime.min(own, end.value) })
      )
    }))

/**
 * A time claim of a token that is a JWT and has it (`exp`, `iat`, `nbf`): in seconds (RFC 7519, section 2), or in
 * milliseconds, as some issuers write it. Nothing is verified.
 *
 * @category accessors
 * @since 0.1.0
 */
export const timeClaim = (accessToken: Redacted.Redacted, name: string): Option.Option<DateTime.Utc> => {
  const decoded = JwtCodec.decodeUnverified(Redacted.value(accessToken))
  if (Result.isFailure(decoded)) return Option.none()
  return timeFrom(decoded.success.claims[name])
}

/**
 * Reads the value of a time claim as `timeClaim` does: a number of seconds, or of milliseconds. Everything else is `None`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const timeFrom = (time: unknown): Option.Option<DateTime.Utc> =>
  typeof time === "number" && Number.isFinite(time)
    ? DateTime.make(Math.trunc(JwtCodec.isNumericDate(time) ? time * 1000 : time))
    : Option.none()

/**
 * Reads an access token as people hand it on: a leading `Bearer ` is dropped. `None` for what no header can carry as one
 * token: it is visible ASCII (RFC 6749, A.12) without a space, which no header or line protocol could carry.
 *
 * **Example** (A token that was pasted)
 *
 * ```ts import.meta.vitest
 * import { TokenSet } from "@effect-authn/core"
 * import { Option, Redacted } from "effect"
 *
 * Option.map(TokenSet.accessTokenFrom("Bearer at-1"), Redacted.value) // => Option.some("at-1")
 * Option.isNone(TokenSet.accessTokenFrom("two words")) // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const accessTokenFrom = (text: string): Option.Option<Redacted.Redacted> => {
  const token = text.replace(/^bearer( +|$)/i, "")
  return /^[\x21-\x7e]+$/.test(token) ? Option.some(Redacted.make(token, { label: "access_token" })) : Option.none()
}

/**
 * Reads a refresh token: visible ASCII and spaces (RFC 6749, A.17). It is sent in a form, never in a header. `None` for
 * everything else.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refreshTokenFrom = (text: string): Option.Option<Redacted.Redacted> =>
  /^[\x20-\x7e]+$/.test(text) ? Option.some(Redacted.make(text, { label: "refresh_token" })) : Option.none()

/**
 * Reads an id_token: a JWT in its compact form, signed or encrypted (RFC 7519, section 3). `None` for everything else.
 * Nothing is verified.
 *
 * @category constructors
 * @since 0.1.0
 */
export const idTokenFrom = (text: string): Option.Option<Redacted.Redacted> =>
  /^[\w-]+(\.[\w-]*){2,4}$/.test(text) ? Option.some(Redacted.make(text, { label: "id_token" })) : Option.none()

/**
 * Whether a text can stand before a token in an `Authorization` header (RFC 9110, section 11.1).
 *
 * @category guards
 * @since 0.1.0
 */
export const isTokenType = (text: string): boolean => /^[\w!#$%&'*+.^`|~-]+$/.test(text)

/**
 * Whether the token can still be used at `now`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isValid = (self: TokenSet, now: DateTime.Utc): boolean =>
  Option.isNone(self.expiresAt) || DateTime.isLessThan(now, self.expiresAt.value)

/**
 * Whether the token is bound to a key (RFC 9449), so that it is worth nothing to who has the token alone.
 *
 * @category guards
 * @since 0.1.0
 */
export const isBound = (self: TokenSet): boolean => self.tokenType.toLowerCase() === "dpop"

/**
 * Whether two token sets carry the same access token.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSame = (self: TokenSet, that: TokenSet): boolean =>
  Redacted.value(self.accessToken) === Redacted.value(that.accessToken)

/**
 * The value of an `Authorization` header, for example `Bearer eyJ…`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const authorization = (self: TokenSet): Redacted.Redacted =>
  Redacted.make(`${self.tokenType} ${Redacted.value(self.accessToken)}`, { label: "authorization" })
