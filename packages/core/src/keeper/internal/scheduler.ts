/**
 * Wakes the keeper when a session is due, by the wall clock: naps are short and compare, so that a laptop's sleep, a clock
 * jump and a token of 400 days are all ordinary.
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Dues from "./dues.ts"
import type { Kept } from "./kept.ts"

const longestNap = 60_000

export interface Scheduler {
  /** Says that a session is due at this epoch millisecond; the scheduler wakes in time for it. */
  readonly arm: (kept: Kept, dueAt: number) => void
  /** Runs for ever, and calls `work` with each session whose time has come. */
  readonly run: Effect.Effect<never>
}

/** `setBack` is called when the clock was set back, after which every session has to be armed again. */
export const make = (options: {
  readonly clock: Clock.Clock
  readonly nap: (duration: Duration.Duration) => Effect.Effect<void>
  readonly work: (kept: Kept) => void
  readonly setBack: () => void
}): Scheduler => {
  const dues = Dues.make()
  let previous = Number.NEGATIVE_INFINITY
  let rearmed = Deferred.makeUnsafe<void>()

  const arm = (kept: Kept, dueAt: number): void => {
    const isFirst = dueAt < dues.next()
    dues.set(kept, dueAt)
    if (isFirst) Deferred.doneUnsafe(rearmed, Effect.void)
  }

  const once = Effect.suspend(() => {
    const now = options.clock.currentTimeMillisUnsafe()
    if (now < previous) options.setBack()
    previous = now
    for (const kept of dues.take(now)) options.work(kept)
    const nextAt = dues.next()
    rearmed = Deferred.makeUnsafe()
    const idle = Deferred.await(rearmed)
    if (nextAt === Number.POSITIVE_INFINITY) return idle
    // Whole milliseconds: a nap of a part of one would end before its time.
    return Effect.raceFirst(options.nap(Duration.millis(Math.min(Math.ceil(nextAt - now), longestNap))), idle)
  })

  return { arm, run: Effect.forever(once) }
}
