import { BackgroundSleep } from "@effect-authn/core"
import { NodeBackgroundSleep } from "@effect-authn/platform-node"
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"

it.live("the layer puts the nap in place, and it ends", () =>
  Effect.gen(function*() {
    const nap = yield* BackgroundSleep.BackgroundSleep
    const start = performance.now()
    yield* nap(Duration.millis(30))
    assert.isAtLeast(performance.now() - start, 29)
  }).pipe(Effect.provide(NodeBackgroundSleep.layer)))

it.live("a nap longer than a timer can be is no short one", () =>
  Effect.gen(function*() {
    const napping = yield* Effect.forkChild(NodeBackgroundSleep.nap(Duration.days(400)), { startImmediately: true })
    yield* Effect.sleep("30 millis")
    assert.isUndefined(napping.pollUnsafe())
    yield* Fiber.interrupt(napping)
  }))
