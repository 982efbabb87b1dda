/** How long callers wait: for the whole of a request, however long what was begun for it goes on. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** When the request came in that is being answered, in milliseconds of the steady clock. */
const CameIn = Context.Reference<number | undefined>("@effect-authn/vault/internal/patience/CameIn", {
  defaultValue: () => undefined
})

const steady = Effect.map(Clock.Clock, (clock) => Number(clock.monotonicTimeNanosUnsafe()) / 1e6)

/** Counts the time of a request from here. */
export const counted = <A, E, R>(answer: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(steady, (now) => Effect.provideService(answer, CameIn, now))

/**
 * Waits for what is left of `patience`, and then answers `late`. What was begun goes on: a statement on a line that is mute
 * could not even be interrupted in time.
 */
export const within =
  (patience: Duration.Duration) =>
  <E2>(late: () => E2) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | E2, R> =>
    Effect.gen(function*() {
      const now = yield* steady
      const left = Duration.toMillis(patience) - (now - ((yield* CameIn) ?? now))
      const fiber = yield* Effect.forkDetach(effect, { startImmediately: true })
      return yield* Effect.timeoutOrElse(Fiber.join(fiber), {
        duration: Duration.millis(Math.max(0, left)),
        orElse: () => Effect.failSync(late)
      })
    })
