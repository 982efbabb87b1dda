import { type Clock, Duration, Effect } from "effect"

/** The clock and the timers of a program that can be stopped. A turn of its event loop fires the timers that are due. */
export const makeEventLoop = () => {
  let now = 0
  let timers: Array<{ readonly at: number; readonly fire: () => void }> = []
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    sleep: (duration) =>
      Duration.isZero(duration) ? Effect.void : Effect.callback((resume) => {
        timers.push({ at: now + Duration.toMillis(duration), fire: () => resume(Effect.void) })
      })
  }
  return {
    clock,
    stopFor: (duration: Duration.Duration) => {
      now += Duration.toMillis(duration)
    },
    turn: Effect.promise(() => {
      const due = timers.filter(({ at }) => at <= now)
      timers = timers.filter(({ at }) => at > now)
      for (const { fire } of due) fire()
      return new Promise((resolve) => setImmediate(resolve))
    })
  }
}
