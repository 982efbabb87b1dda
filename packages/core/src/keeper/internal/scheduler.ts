/**
 * Wakes the keeper when a session is due, by the wall clock: naps are short and compare, so that a laptop's sleep, a clock
 * jump and a token of 400 days are all ordinary. The heap is the queue: what is due beyond the renewals that may be under
 * way at once stays in it, in its order.
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RefreshPolicy from "../../session/RefreshPolicy.ts"
import * as DueQueue from "./dueQueue.ts"
import type { Entry } from "./entry.ts"

const longestNap = 60_000

export interface Scheduler {
  /** Says that a session is due at this epoch millisecond; the scheduler wakes in time for it. */
  readonly arm: (entry: Entry, dueAt: number) => void
  /** Forgets a session. */
  readonly disarm: (entry: Entry) => void
  /**
   * Runs for ever, and runs `due` for each session whose time has come. `setBack` is called when the clock was set back,
   * after which every session has to be armed again.
   */
  readonly run: (options: {
    readonly due: (entry: Entry) => Effect.Effect<void>
    readonly setBack: () => void
  }) => Effect.Effect<never>
}

export const make = (options: {
  readonly clock: Clock.Clock
  readonly nap: (duration: Duration.Duration) => Effect.Effect<void>
}): Scheduler => {
  const queue = DueQueue.make<Entry>()
  let previous = Number.NEGATIVE_INFINITY
  let running = 0
  let rearmed = Deferred.makeUnsafe<void>()

  const wake = (): void => {
    Deferred.doneUnsafe(rearmed, Effect.void)
  }

  const arm = (entry: Entry, dueAt: number): void => {
    const isFirst = dueAt < queue.next()
    queue.set(entry, dueAt)
    if (isFirst) wake()
  }

  const run: Scheduler["run"] = ({ due, setBack }) => {
    const done = Effect.sync(() => {
      running -= 1
      if (running === RefreshPolicy.mostInBackground - 1) wake()
    })
    const once = Effect.gen(function*() {
      const now = options.clock.currentTimeMillisUnsafe()
      if (now < previous) setBack()
      previous = now
      while (running < RefreshPolicy.mostInBackground) {
        const entry = queue.take(now)
        if (entry === undefined) break
        running += 1
        yield* Effect.forkChild(Effect.ensuring(due(entry), done), { startImmediately: true })
      }
      const nextAt = running < RefreshPolicy.mostInBackground ? queue.next() : Number.POSITIVE_INFINITY
      rearmed = Deferred.makeUnsafe()
      const idle = Deferred.await(rearmed)
      if (nextAt === Number.POSITIVE_INFINITY) return yield* idle
      // Whole milliseconds: a nap of a part of one would end before its time.
      const millis = Math.max(0, Math.min(Math.ceil(nextAt - options.clock.currentTimeMillisUnsafe()), longestNap))
      return yield* Effect.raceFirst(options.nap(Duration.millis(millis)), idle)
    })
    return Effect.forever(once)
  }

  return { arm, disarm: queue.remove, run }
}
