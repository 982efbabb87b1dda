/**
 * How often a fleet may renew at one IAM.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"

/**
 * What was drawn: how many renewals may begin, how far apart, and after how long to draw again where it was none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draw {
  readonly count: number
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

// A second holds what lay in the bucket and what was added to it: together the rate. A tenth of it lies there at most. A lot
// is half of that, so that what is added while nobody looks is not lost.
const bucketOf = (rate: number) => {
  const limit = Math.max(1, Math.floor(rate / 10))
  const refill = rate >= 10 ? rate - limit : rate * 0.9
  return { limit, lot: Math.max(1, Math.floor(limit / 2)), window: Duration.millis(limit * 1000 / refill) }
}

/**
 * Gives a vault and its sweeper the rates of its fleet: all processes whose `RateLimiterStore` is one share them. A store
 * is `SqlRateLimiterStore.layer` of `@effect-authn/storage-sql`, or effect's `RateLimiter.layerStoreRedis`.
 *
 * **Details**
 *
 * No second has more renewals than the rate; of a rate under 10, no `10 / rate` seconds have more than 10. So that this holds
 * also after a rest, a tenth of the rate stays unused in a long run. What callers ask for draws one at a time, and what is
 * swept in lots of a twentieth of the rate, so that a caller goes first. A caller waits for its turn for at most 5 seconds,
 * and then fails with `Unavailable`.
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
      const { perSecond } = options
      return {
        draw: (issuer, most) => {
          const rate = typeof perSecond === "number" ? perSecond : perSecond(issuer)
          if (rate === undefined) return undefined
          if (!(rate > 0 && Number.isFinite(rate))) {
            return Effect.die(new Error(`IssuerRate: perSecond is a number above 0 (it is ${rate} for ${issuer})`))
          }
          const { limit, lot, window } = bucketOf(rate)
          const count = Math.min(most, lot)
          const apart = Duration.millis(1000 / rate)
          return limiter.consume({ key: issuer, algorithm: "token-bucket", limit, window, tokens: count }).pipe(
            Effect.as({ count, apart, again: Duration.zero }),
            Effect.catchReason("RateLimiterError", "RateLimitExceeded", ({ retryAfter }) =>
              Effect.succeed({ count: 0, apart, again: Duration.max(retryAfter, Duration.millis(1)) }))
          )
        }
      }
    })
  ).pipe(Layer.provide(RateLimiter.layer))
