/**
 * When a session that nobody has open needs to be seen to.
 *
 * @since 0.1.0
 */
import * as Session from "@effect-authn/core/session/Session"
import { DueAt } from "@effect-authn/core/storage/DueSessions"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Hash from "effect/Hash"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

/**
 * What a vault does with sessions at rest.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * How long a refresh token may lie unused: a little less than the IAM ends it after. A refresh token that tells of a
   * shorter limit is used in half of that. Default: 7 days.
   */
  readonly renewIdle?: Duration.Input
  /**
   * How long before its own end a refresh token is used for the last time; one that lives shorter than twice that is used
   * when half of its life is over. Default: 1 day.
   */
  readonly margin?: Duration.Input
  /** How long the lock of the storage outlives its holder. Default: 45 seconds. */
  readonly lease?: Duration.Input
  /**
   * How long an IAM answers a refresh token again (`RefreshPolicy.reuseGrace`), for all issuers or by issuer. Where it is
   * longer than `lease`, a renewal that was begun and not finished falls due as soon as the lease is over. Default: none.
   */
  readonly reuseGrace?: Duration.Input | ((issuer: string) => Duration.Input)
  /**
   * Over which share of `renewIdle` sessions that were written together are spread, each by its name, so that writing one
   * again moves no other. Default: 0.2.
   */
  readonly spread?: number
}

// How soon after a renewal the next one may fall due, in milliseconds.
const soonest = 60_000

/**
 * When a session falls due at rest, in epoch milliseconds. What has ended, what cannot be renewed, and what renews itself
 * from credentials at hand falls due never. A renewal that was begun and not finished falls due when its lease and the
 * current access token are over, or in the grace of its IAM. A refresh token falls due as it needs to be used, however short its access tokens live.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dueAt = (options?: Options): (session: Session.Session) => Option.Option<number> => {
  const idle = Duration.toMillis(options?.renewIdle ?? "7 days")
  const margin = Duration.toMillis(options?.margin ?? "1 day")
  const lease = Duration.toMillis(options?.lease ?? "45 seconds")
  const share = options?.spread ?? 0.2
  const graceOf = (issuer: string): number => {
    const grace = options?.reuseGrace ?? 0
    return Duration.toMillis(typeof grace === "function" ? grace(issuer) : grace)
  }

  return (session) => {
    if (Option.isSome(session.dead) || Session.isSignedOut(session)) return Option.none()
    const { grant } = session
    const current = Session.currentToken(session)
    const end = Option.match(Option.flatMap(current, ({ expiresAt }) => expiresAt), {
      onNone: () => 0,
      onSome: DateTime.toEpochMillis
    })
    if (Option.isSome(session.intent)) {
      const free = DateTime.toEpochMillis(session.intent.value.at) + lease
      return Option.some(graceOf(session.key.issuer) > lease ? free : Math.max(end, free))
    }
    // between 0 and 1, the same for a session each time; the factor (2^32 over the golden ratio) parts names that are alike
    const place = (Math.imul(Hash.string(session.key.id), 0x9e37_79b1) >>> 0) / 2 ** 32
    switch (grant._tag) {
      case "RefreshToken": {
        const used = Option.match(current, { onNone: () => 0, onSome: (_) => DateTime.toEpochMillis(_.issuedAt) })
        const byUse = used + idle * (1 - share * place)
        if (grant.expiresAt === undefined) return Option.some(byUse)
        const last = DateTime.toEpochMillis(grant.expiresAt)
        // an end that a renewal does not move would otherwise be due again at once
        const half = used + Math.max((last - used) / 2, soonest)
        return Option.some(Math.min(byUse, Math.max(last - margin, half)))
      }
      case "ExchangeAccessToken": {
        // the access token is the grant: it has to be used before it ends
        if (Option.isNone(current) || end === 0) return Option.none()
        const life = end - DateTime.toEpochMillis(current.value.issuedAt)
        return Option.some(end - life * (0.2 + share * place))
      }
      default:
        return Option.none()
    }
  }
}

/**
 * Gives the rule to the storage that is built under it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never> => Layer.succeed(DueAt, dueAt(options))
