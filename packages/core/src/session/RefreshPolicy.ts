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
 * - `defaultLifetime`: the life of a token that does not tell its own; infinite means no known end.
 * - `backoff`: the first and the longest wait between attempts at an IAM that is not available; it doubles, with jitter.
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
}

/**
 * Five minutes, the valid token at once, 30 seconds, a fifth, an hour, 200 milliseconds to a minute.
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
  backoff: { first: Duration.millis(200), longest: Duration.minutes(1) }
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
export const backoffMillis = (self: RefreshPolicy, failures: number, random: number): number =>
  Math.min(
    Duration.toMillis(self.backoff.first) * 2 ** Math.min(failures - 1, 30),
    Duration.toMillis(self.backoff.longest)
  ) * (1 - random / 2)
