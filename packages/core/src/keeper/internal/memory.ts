/**
 * What memory holds of the sessions: which token may be handed out without a further look, in which state a session is,
 * and when it has to be looked at again. Nothing here waits or reads.
 */
import type * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Random from "effect/Random"
import { type AuthError, NotAuthenticated, ReauthenticationRequired } from "../../AuthError.ts"
import * as RefreshPolicy from "../../session/RefreshPolicy.ts"
import * as Session from "../../session/Session.ts"
import { SessionState } from "../../session/SessionState.ts"
import type { Kept } from "./kept.ts"
import * as Pause from "./pause.ts"
import * as Renewal from "./renewal.ts"

export type Memory = ReturnType<typeof make>

const maxTime = 8.64e15

/** `changed` is told of every session that changed, after the change. */
export const make = (options: {
  readonly policy: RefreshPolicy.RefreshPolicy
  readonly clock: Clock.Clock
  readonly random: typeof Random.Random.Service
  readonly changed: (kept: Kept) => void
}) => {
  const { clock, policy, random } = options
  const nowMillis = () => clock.currentTimeMillisUnsafe()
  const now = () => DateTime.makeUnsafe(nowMillis())

  const stateOf = (kept: Kept): SessionState => {
    const { session } = kept
    if (session === undefined || kept.leaving > 0) return SessionState.SignedOut({ detail: kept.detail })
    if (!Session.isAlive(session, now()) || Option.isSome(session.dead)) {
      return SessionState.ReauthenticationRequired({ session, ...Session.ending(session, now()) })
    }
    if (kept.isRenewing) return SessionState.Renewing({ session })
    if (kept.failure !== undefined) {
      const nextAttempt = DateTime.makeUnsafe(Math.min(kept.pause.until, maxTime))
      return SessionState.Stale({ session, cause: kept.failure.message, nextAttempt })
    }
    return SessionState.SignedIn({ session, unsaved: kept.unsaved })
  }

  /** When the scheduler has to look at a session again. */
  const dueAt = (kept: Kept): number => {
    const { session } = kept
    if (session === undefined || kept.leaving > 0 || kept.isRenewing) return Number.POSITIVE_INFINITY
    const writeAgainAt = kept.unsaved === undefined
      ? Number.POSITIVE_INFINITY
      : nowMillis() + Pause.remaining(kept.unsavedPause, nowMillis())
    return Math.min(writeAgainAt, renewalDueAt(kept, session))
  }

  const renewalDueAt = (kept: Kept, session: Session.Session): number => {
    const tokens = Option.getOrUndefined(Session.currentToken(session))
    if (tokens === undefined || Option.isNone(tokens.expiresAt)) return Number.POSITIVE_INFINITY
    const expiresAt = DateTime.toEpochMillis(tokens.expiresAt.value)
    if (!Session.canRenew(session, now())) return expiresAt > nowMillis() ? expiresAt : Number.POSITIVE_INFINITY
    // Jitter moves the scheduler into the window, never in front of it: a policy may promise the bound to the millisecond.
    const fresh = RefreshPolicy.freshUntil(policy, tokens)
    return Math.max(
      fresh + 1 + (kept.jitter * (expiresAt - fresh)) / 10,
      nowMillis() + Pause.remaining(kept.pause, nowMillis())
    )
  }

  const settle = (kept: Kept): void => {
    const tokens = kept.session === undefined || kept.leaving > 0
      ? Option.none()
      : Session.currentToken(kept.session)
    kept.freshUntil = Option.isNone(tokens) ? Number.NEGATIVE_INFINITY : RefreshPolicy.freshUntil(policy, tokens.value)
    kept.landing = undefined
    kept.hit = Option.isNone(tokens) ? kept.hit : Exit.succeed(tokens.value)
    options.changed(kept)
  }

  const hold = (kept: Kept, session: Session.Session | undefined, unsaved?: string): void => {
    kept.session = session
    kept.unsaved = unsaved
    if (unsaved !== undefined) kept.unsavedPause = Pause.start(nowMillis(), Duration.toMillis(policy.backoff.longest))
    kept.jitter = random.nextDoubleUnsafe()
    kept.loaded = true
    settle(kept)
  }

  const notAuthenticated = (kept: Kept) =>
    new NotAuthenticated({ key: kept.key, ...(kept.detail === undefined ? {} : { detail: kept.detail }) })

  const ended = (kept: Kept, session: Session.Session) =>
    new ReauthenticationRequired({ key: kept.key, ...Session.ending(session, now()) })

  const clearFailure = (kept: Kept): void => {
    kept.failures = 0
    kept.failure = undefined
    kept.pause = Pause.over
  }

  const recordFailure = (kept: Kept, target: Renewal.Target, error: AuthError): void => {
    if (error._tag === "NotAuthenticated" || error._tag === "ReauthenticationRequired") return clearFailure(kept)
    const isRefused = error._tag === "IamError" && error.reason._tag === "SelectionRefused"
    // That another selection is refused says nothing about the one in use.
    if (isRefused && kept.session !== undefined && !Renewal.isCurrent(kept.session, target)) return
    kept.failures += 1
    kept.failure = error
    const wish = error._tag === "IamError" && error.reason._tag === "Unavailable" && error.reason.retryAfter
    const backoff = RefreshPolicy.backoffMillis(policy, kept.failures, random.nextDoubleUnsafe())
    kept.pause = Pause.start(nowMillis(), Math.max(backoff, wish ? Duration.toMillis(wish) : 0))
  }

  return { now, nowMillis, stateOf, dueAt, settle, hold, notAuthenticated, ended, clearFailure, recordFailure }
}
