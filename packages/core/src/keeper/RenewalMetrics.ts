/**
 * What can be measured of renewals, with Effect's `Metric`.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as TokenSet from "../session/TokenSet.ts"

/**
 * How renewals ended, by the attribute `outcome`: `renewed`, `superseded` by another login, the tag of the failure or of
 * its reason, or `defect`. What a sibling had renewed counts as `renewed` too where that was found under the lock; one that waited
 * for the lock and was served by a sibling meanwhile is not counted. In a vault every metric of renewals has the attribute
 * `issuer` besides.
 *
 * @category metrics
 * @since 0.1.0
 */
export const renewals = Metric.counter("effect_authn_renewals", {
  description: "Renewals of sessions, by outcome",
  attributes: { unit: "{renewal}" },
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
  attributes: { unit: "ms" },
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
  attributes: { unit: "ms" },
  boundaries: Metric.exponentialBoundaries({ start: 1000, factor: 4, count: 10 })
})

/**
 * How many answers of an IAM to a renewal may have been lost: the request was sent, and what became of it is not known.
 *
 * @category metrics
 * @since 0.1.0
 */
export const answersLost = Metric.counter("effect_authn_answers_lost", {
  description: "Renewals whose answer may have been lost",
  attributes: { unit: "{answer}" },
  incremental: true
})

/**
 * How many refresh tokens were presented again, after a lost answer.
 *
 * @category metrics
 * @since 0.1.0
 */
export const presentedAgain = Metric.counter("effect_authn_presented_again", {
  description: "Refresh tokens that were presented again",
  attributes: { unit: "{presentation}" },
  incremental: true
})

/**
 * How many answers could not be stored, and lived on in memory only.
 *
 * @category metrics
 * @since 0.1.0
 */
export const unsaved = Metric.counter("effect_authn_unsaved", {
  description: "Answers that could not be stored",
  attributes: { unit: "{answer}" },
  incremental: true
})

/**
 * How many writes were refused because somebody else had written first.
 *
 * @category metrics
 * @since 0.1.0
 */
export const fenced = Metric.counter("effect_authn_fenced", {
  description: "Writes that compare and set refused",
  attributes: { unit: "{write}" },
  incremental: true
})

/** @internal */
export const measured =
  (seen: () => Option.Option<TokenSet.TokenSet>, nowMillis: () => number) =>
  <A, E extends { readonly _tag: string }>(renewal: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const began = nowMillis()
      return Effect.onExit(renewal, (exit) => {
        if (Exit.hasInterrupts(exit)) return Effect.void
        const at = nowMillis()
        const outcome = Exit.isSuccess(exit)
          ? exit.value === undefined ? "superseded" : "renewed"
          : Option.match(Exit.findErrorOption(exit), { onNone: () => "defect", onSome: outcomeOf })
        return Effect.andThen(
          Effect.annotateCurrentSpan({ outcome }),
          Effect.all([
            Metric.update(Metric.withAttributes(renewals, { outcome }), 1),
            Metric.update(duration, at - began),
            ...(outcome === "renewed"
              ? Option.toArray(seen()).map(({ issuedAt }) =>
                Metric.update(tokenAge, at - DateTime.toEpochMillis(issuedAt))
              )
              : [])
          ])
        )
      })
    })

const outcomeOf = (error: { readonly _tag: string; readonly reason?: unknown }): string => {
  const { _tag, reason } = error
  return typeof reason === "object" && reason !== null && "_tag" in reason ? String(reason._tag) : _tag
}
