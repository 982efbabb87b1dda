/**
 * How often a fleet may renew at one IAM.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"

/**
 * Leave for one renewal at one moment. Whoever has it sends as soon as `wait` is 0 milliseconds or less, and not at all once it
 * `isOver`: what is sent later would meet what others were given leave for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Permit {
  readonly wait: () => number
  readonly isOver: () => boolean
}

/**
 * What was drawn: leave for renewals, how far apart those of the fleet are, and after how long to draw again where it was none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draw {
  readonly permits: ReadonlyArray<Permit>
  readonly apart: Duration.Duration
  readonly again: Duration.Duration
}

/**
 * The rates by issuer. `draw` gives leave for up to `most` renewals at an issuer, together for all machines that share the
 * store; `undefined` where the issuer has no rate.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rates {
  readonly draw: (issuer: string, most: number) => Effect.Effect<Draw, RateLimiter.RateLimiterError> | undefined
}

/**
 * The rates that a vault and its sweeper keep, taken when they are built. None unless a program gives some.
 *
 * @category references
 * @since 0.1.0
 */
export const IssuerRates = Context.Reference<Rates>("@effect-authn/vault/IssuerRate/IssuerRates", {
  defaultValue: () => ({ draw: () => undefined })
})

/**
 * How many renewals a second.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Renewals a second at one issuer, for all issuers or by issuer; `undefined` for no limit. Above 0; 0.1 is six a minute. */
  readonly perSecond: number | ((issuer: string) => number | undefined)
}

// How late a permit may be used, and how much longer one request may be on its way to the IAM than another, in milliseconds.
const late = 30
const way = 50

/**
 * How far apart permits are, in milliseconds, so that no window has more requests than it may. `ahead` is how many permits may
 * have been given for moments to come: what is written before a request is sent is written meanwhile. A lot is a third of
 * that, so that what is drawn for a sweep leaves room for a caller.
 */
const spacing = (rate: number) => {
  const most = Math.max(rate, 10)
  const window = most * 1000 / rate
  const ahead = Math.max(1, Math.floor(rate * 0.15))
  return { apart: (window + late + way) / (most - 1), ahead, lot: Math.max(1, Math.floor(ahead / 3)) }
}

/**
 * Gives a vault and its sweeper the rates of its fleet: all processes whose `RateLimiterStore` is one share them. A store
 * is `SqlRateLimiterStore.layer` of `@effect-authn/storage-sql`, or effect's `RateLimiter.layerStoreRedis`.
 *
 * **Details**
 *
 * No second has more renewals than the rate; of a rate under 10, no `10 / rate` seconds have more than 10. Each permit is for a
 * moment, the moments of a fleet are evenly apart, and a permit that could not be used within 30 ms is thrown away. So that the
 * rate holds at the IAM, too, where some requests are up to 50 ms longer on their way than others, a twelfth to a sixth of
 * it stays unused in a long run. What callers ask for draws one at a time, and what is swept in lots of a twentieth of the rate,
 * so that a caller goes first. A caller waits for its turn for at most 5 seconds, and then fails with `Unavailable`.
 *
 * **Example** (Eighty a second at one IAM, and no limit elsewhere)
 *
 * ```ts
 * import { SqlRateLimiterStore } from "@effect-authn/storage-sql"
 * import { IssuerRate } from "@effect-authn/vault"
 * import { Layer } from "effect"
 *
 * export const rates = IssuerRate.layer({
 *   perSecond: (issuer) => issuer === "https://idp.example.com" ? 80 : undefined
 * }).pipe(Layer.provide(SqlRateLimiterStore.layer()))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never, never, RateLimiter.RateLimiterStore> =>
  Layer.effect(
    IssuerRates,
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.RateLimiter
      const clock = yield* Clock.Clock
      const { perSecond } = options
      const steady = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      // How long the store takes at least: its clock began to count within it.
      let nearest = Number.POSITIVE_INFINITY
      return {
        draw: (issuer, most) => {
          const rate = typeof perSecond === "number" ? perSecond : perSecond(issuer)
          if (rate === undefined) return undefined
          if (!(rate > 0 && Number.isFinite(rate))) {
            return Effect.die(new Error(`IssuerRate: perSecond is a number above 0 (it is ${rate} for ${issuer})`))
          }
          const { ahead, apart, lot } = spacing(rate)
          const count = Math.min(most, lot)
          return Effect.suspend(() => {
            const askedAt = steady()
            const askedOn = clock.currentTimeMillisUnsafe()
            // a machine that slept sees it by the clock on the wall only, which in turn may be set back
            const elapsed = () => Math.max(steady() - askedAt, clock.currentTimeMillisUnsafe() - askedOn)
            return limiter.consume({
              key: issuer,
              algorithm: "token-bucket",
              limit: ahead,
              window: Duration.millis(apart * ahead),
              tokens: count
            }).pipe(
              Effect.map(({ resetAfter }) => {
                const answeredAt = steady()
                nearest = Math.min(nearest, answeredAt - askedAt)
                // The bucket is full again one step after the last of the moments that were given.
                const first = Duration.toMillis(resetAfter) - count * apart
                const permits = Array.from({ length: count }, (_, index): Permit => {
                  const place = first + index * apart
                  const last = place + nearest + late
                  return { wait: () => answeredAt + place - steady(), isOver: () => elapsed() > last }
                })
                return { permits, apart: Duration.millis(apart), again: Duration.zero }
              }),
              Effect.catchReason("RateLimiterError", "RateLimitExceeded", ({ retryAfter }) =>
                Effect.succeed({
                  permits: [],
                  apart: Duration.millis(apart),
                  again: Duration.max(retryAfter, Duration.millis(1))
                }))
            )
          })
        }
      }
    })
  ).pipe(Layer.provide(RateLimiter.layer))
