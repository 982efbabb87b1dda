/**
 * Wakes the keeper when something is due, by the wall clock: naps are short and compare, so that a laptop's sleep, a
 * clock jump and a token of 400 days are all ordinary.
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

const longestNap = 60_000

export interface Scheduler {
  /** Says that something is due at this epoch millisecond; the scheduler wakes in time for it. */
  readonly arm: (dueAt: number) => void
  /** Runs for ever: calls `work`, which answers when the next thing is due, whenever that time has come. */
  readonly run: Effect.Effect<never>
}

export const make = (options: {
  readonly clock: Clock.Clock
  readonly nap: (duration: Duration.Duration) => Effect.Effect<void>
  readonly work: (now: number) => number
}): Scheduler => {
  let nextAt = Number.POSITIVE_INFINITY
  let previous = Number.NEGATIVE_INFINITY
  let rearmed = Deferred.makeUnsafe<void>()

  const arm = (dueAt: number): void => {
    if (dueAt >= nextAt) return
    nextAt = dueAt
    Deferred.doneUnsafe(rearmed, Effect.void)
  }

  const once = Effect.suspend(() => {
    const now = options.clock.currentTimeMillisUnsafe()
    // What was due by a clock that has been set back is due by the new one.
    if (now >= nextAt || now < previous) {
      nextAt = Number.POSITIVE_INFINITY
      arm(options.work(now))
    }
    previous = now
    rearmed = Deferred.makeUnsafe()
    const idle = Deferred.await(rearmed)
    if (nextAt === Number.POSITIVE_INFINITY) return idle
    // Whole milliseconds: a nap of a part of one would end before its time.
    return Effect.raceFirst(options.nap(Duration.millis(Math.min(Math.ceil(nextAt - now), longestNap))), idle)
  })

  return { arm, run: Effect.forever(once) }
}
