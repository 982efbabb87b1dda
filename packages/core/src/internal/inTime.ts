import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

// A time limit that fires this much late tells of a program that was frozen.
const frozenMillis = 1_000

// How long it then reads what has arrived: a head, a body and a chain of fibers are many turns of the event loop.
const readingMillis = 500

/**
 * Gives an answer a time limit. A program that was frozen (by a lid, by `SIGSTOP`) reads what arrived meanwhile before it
 * says that nothing did.
 */
export const inTime =
  <E2>(timeLimit: Duration.Duration, late: () => E2) =>
  <A, E, R>(answer: Effect.Effect<A, E, R>): Effect.Effect<A, E | E2, R> =>
    Effect.clockWith((clock) => {
      const over = clock.currentTimeMillisUnsafe() + Duration.toMillis(timeLimit)
      const isFrozen = () => clock.currentTimeMillisUnsafe() - over >= frozenMillis
      const limit = Effect.andThen(
        Effect.sleep(timeLimit),
        Effect.suspend(() => isFrozen() ? Effect.sleep(Duration.millis(readingMillis)) : Effect.void)
      )
      return Effect.raceFirst(answer, Effect.andThen(limit, Effect.failSync(late)))
    })
