/**
 * How the background scheduler waits.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * Waits for a while on behalf of the scheduler, and of nobody else. The default is `Effect.sleep`; a platform may give
 * one that does not keep the process alive (`NodeAuth` does), which must never be used where a caller waits.
 *
 * @category references
 * @since 0.1.0
 */
export const BackgroundSleep = Context.Reference<(duration: Duration.Duration) => Effect.Effect<void>>(
  "@effect-authn/core/keeper/BackgroundSleep",
  {
    defaultValue: () => Effect.sleep
  }
)
