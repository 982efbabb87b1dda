/**
 * When to renew, and how patiently.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type * as TokenSet from "./TokenSet.ts"

/**
 * - `window`: the span before expiry in which a token should be renewed.
 * - `renewFirst`: whether a caller inside the window waits for the renewal (and gets the still-valid token when that
 *   fails) instead of getting the still-valid token at once.
 * - `timeLimit`: how long one renewal may take, and how long a caller without a valid token waits for one.
 * - `shortLivedFraction`: the part of a token's life that is its window, where `window` is over half of its life.
 * - `defaultLifetime`: the life of a token that does not tell its own, where something can renew it; infinite means no
 *   known end.
 * - `backoff`: the first and the longest wait between attempts at an IAM that is not available; it doubles, with jitter.
 * - `reuseGrace`: how long the IAM answers a refresh token again after its first presentation, for a lost answer; zero
 *   for an IAM that revokes the session when it sees a refresh token twice.
 * - `spread`: the part of the window, from its beginning, over which the scheduler's jitter spreads renewals.
 *
 * @category models
 * @since 0.1.0
 */
export interface RefreshPolicy {
  readonly window: Duration.Duration
  readonly renewFirst: boolean
  readonly timeLimit: Duration.Duration
  readonly shortLivedFraction: number
  readonly defaultLifetime: Duration.Duration
  readonly backoff: { readonly first: Duration.Duration; readonly longest: Duration.Duration }
  readonly reuseGrace: Duration.Duration
  readonly spread: number
}

/**
 * The longest time for which a `Retry-After` of an IAM is honoured.
 *
 * @category constants
 * @since 0.1.0
 */
export const longestRetryAfter: Duration.Duration = Duration.hours(1)

/**
 * How long an IAM is left alone after a refusal that does not pass by itself (`IamError.isRetryable` is false): the
 * background asks again after `background`. For callers without a valid token the pause doubles, up to `longest`.
 *
 * @category constants
 * @since 0.1.0
 */
export const refused = { background: Duration.hours(1), longest: Duration.minutes(15) }

/**
 * How often an answer that could not be stored is written again: after the first span, doubling up to the longest.
 *
 * @category constants
 * @since 0.1.0
 */
export const unsaved = { first: Duration.millis(200), longest: Duration.seconds(5) }

/**
 * How long one operation of a storage may take. After it the outcome is unknown.
 *
 * @category constants
 * @since 0.1.0
 */
export const storageTimeLimit: Duration.Duration = Duration.seconds(10)

/**
 * How many sessions one keeper renews in the background at the same time. A caller without a valid token never waits
 * for a turn.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostInBackground = 64

/**
 * Five minutes, the valid token at once, 30 seconds, a fifth, an hour, 200 milliseconds to a minute, no grace, a tenth.
 *
 * @category constructors
 * @since 0.1.0
 */
export const standard: RefreshPolicy = {
  window: Duration.minutes(5),
  renewFirst: false,
  timeLimit: Duration.seconds(30),
  shortLivedFraction: 0.2,
  defaultLifetime: Duration.hours(1),
  backoff: { first: Duration.millis(200), longest: Duration.minutes(1) },
  reuseGrace: Duration.zero,
  spread: 0.1
}

/**
 * The last epoch millisecond at which a token is outside its window: at this instant it is fresh, one later it is due.
 * `Infinity` for a token with no known end.
 *
 * @category accessors
 * @since 0.1.0
 */
export const freshUntil = (self: RefreshPolicy, tokens: TokenSet.TokenSet): number => {
  if (Option.isNone(tokens.expiresAt)) return Number.POSITIVE_INFINITY
  const expiresAt = DateTime.toEpochMillis(tokens.expiresAt.value)
  const life = expiresAt - DateTime.toEpochMillis(tokens.issuedAt)
  const window = Duration.toMillis(self.window)
  return expiresAt - (window <= life / 2 ? window : Math.max(0, life) * self.shortLivedFraction)
}

/**
 * The wait in milliseconds after `failures` failed attempts in a row. `random` is in [0, 1) and takes up to half off.
 *
 * @category accessors
 * @since 0.1.0
 */
export const backoffMillis = (
  self: { readonly first: Duration.Duration; readonly longest: Duration.Duration },
  failures: number,
  random: number
): number =>
  Math.min(Duration.toMillis(self.first) * 2 ** Math.min(failures - 1, 30), Duration.toMillis(self.longest)) *
  (1 - random / 2)
