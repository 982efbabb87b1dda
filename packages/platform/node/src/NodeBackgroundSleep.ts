/**
 * How the background scheduler waits on Node.
 *
 * @since 0.1.0
 */
import { BackgroundSleep } from "@effect-authn/core/keeper/BackgroundSleep"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Timers from "node:timers"

const longest = 2 ** 31 - 1

/**
 * Waits on a timer that does not keep the process alive. It is for work that nobody waits for: a program with nothing
 * else to do ends in the middle of it. The wall time of the process, never a test's clock; at most 24.8 days, the longest
 * that a timer can be.
 *
 * @category combinators
 * @since 0.1.0
 */
export const nap = (duration: Duration.Duration): Effect.Effect<void> =>
  Effect.callback((resume) => {
    // Effect.sleep has no timer that could be unref'd
    // @effect-diagnostics-next-line globalTimersInEffect:off
    const timer = Timers.setTimeout(() => resume(Effect.void), Math.min(Duration.toMillis(duration), longest))
    timer.unref()
    return Effect.sync(() => Timers.clearTimeout(timer))
  })

/**
 * Makes the scheduler wait by `nap`. Feed it into the keeper's layer: beside it, it does not reach it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.succeed(BackgroundSleep, nap)
