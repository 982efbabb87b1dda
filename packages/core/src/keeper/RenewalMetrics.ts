/**
 * What can be measured of renewals, with Effect's `Metric`.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

/**
 * How renewals ended, by the attribute `outcome`: `renewed`, or the tag of the failure or of its reason. What a sibling
 * had renewed counts as `renewed` too; the IAM's own count is in its ledger.
 *
 * @category metrics
 * @since 0.1.0
 */
export const renewals = Metric.counter("effect_authn_renewals", {
  description: "Renewals of sessions, by outcome",
  incremental: true
})

/**
 * How long renewals took, in milliseconds, with the wait for the lock and the storage.
 *
 * @category metrics
 * @since 0.1.0
 */
export const duration = Metric.histogram("effect_authn_renewal_duration", {
  description: "Duration of renewals in milliseconds",
  boundaries: Metric.exponentialBoundaries({ start: 1, factor: 2, count: 16 })
})

/**
 * How old access tokens were when they were replaced, in milliseconds: the greatest age at which they were served.
 *
 * @category metrics
 * @since 0.1.0
 */
export const tokenAge = Metric.histogram("effect_authn_token_age", {
  description: "Age of access tokens in milliseconds when they were replaced",
  boundaries: Metric.exponentialBoundaries({ start: 1000, factor: 4, count: 10 })
})
