/**
 * What can be measured of a vault, besides its renewals (`RenewalMetrics`) and the waits for its locks (`LeaseLock.waits`).
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"

/**
 * How many stored sessions were due when somebody last looked: the same for all processes of a fleet.
 *
 * @category metrics
 * @since 0.1.0
 */
export const due = Metric.gauge("effect_authn_vault_due", {
  description: "Stored sessions that are due",
  attributes: { unit: "{session}" }
})

/**
 * For how long the one was due that was due longest, in seconds; 0 where none is.
 *
 * @category metrics
 * @since 0.1.0
 */
export const oldest = Metric.gauge("effect_authn_vault_oldest_due", {
  description: "Seconds since the session fell due that waits longest",
  attributes: { unit: "s" }
})

/**
 * How many sessions a process has open.
 *
 * @category metrics
 * @since 0.1.0
 */
export const open = Metric.gauge("effect_authn_vault_open", {
  description: "Sessions that this process has in memory",
  attributes: { unit: "{session}" }
})

/**
 * What happened to sessions, by the attribute `kind`: `dead`, `recovered` or `unsaved`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const events = Metric.counter("effect_authn_vault_events", {
  description: "Sessions that died, recovered, or could not be stored",
  attributes: { unit: "{event}" },
  incremental: true
})

/** @internal */
export const measure = Effect.fnUntraced(function*(found: {
  readonly due: number
  readonly oldest: Option.Option<DateTime.Utc>
  readonly open: number
}) {
  const now = yield* DateTime.now
  const age = Option.map(found.oldest, (at) => Duration.toSeconds(DateTime.distance(at, now)))
  yield* Metric.update(due, found.due)
  yield* Metric.update(oldest, Math.max(0, Option.getOrElse(age, () => 0)))
  yield* Metric.update(open, found.open)
})
