// The promises that a history broke, in a world of its own.
import { TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { Duration, Effect, Layer, Logger, Random } from "effect"
import { TestClock } from "effect/testing"
import type { History } from "./moves.ts"
import { play } from "./play.ts"
import type { Faults } from "./world.ts"

export const promises = (history: History, faults?: Faults) => {
  const { grace, rotates = true } = history.setting
  const iam = ScriptedIam.layer({
    rotation: rotates ? "strict" : "none",
    tokens: "opaque",
    grace,
    policy: { reuseGrace: Duration.millis(grace) }
  })
  // The same history goes the same way each time.
  return play(history, faults).pipe(
    Random.withSeed("history"),
    Effect.provide(
      Layer.mergeAll(iam, TokenStorage.layerMemory, Logger.layer([])).pipe(Layer.provideMerge(TestClock.layer())),
      { local: true }
    )
  )
}

/** A history as a test to paste. */
export const pasteable = (history: History, broken: ReadonlyArray<string>) =>
  `found(${JSON.stringify(broken.join("; "))}, ${JSON.stringify(history)})`
