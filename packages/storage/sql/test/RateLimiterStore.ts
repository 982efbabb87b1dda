// What effect's own store in memory answers, every other store answers too.
import { assert, describe, layer } from "@effect/vitest"
import { Clock, Duration, Effect, type Layer } from "effect"
import { RateLimiter } from "effect/persistence"

const { RateLimiterStore } = RateLimiter
const second = Duration.seconds(1)

/** Registers the contract; names are unique to a test, time is real, and its grain is a hundred milliseconds. */
export const suite = <E>(name: string, store: Layer.Layer<RateLimiter.RateLimiterStore, E>): void => {
  describe(`RateLimiterStore contract: ${name}`, { concurrent: false }, () => {
    layer(store, { excludeTestServices: true })((it) => {
      it.effect("a bucket gives what is in it, refuses more, and goes into debt where it may", () =>
        Effect.gen(function*() {
          const { tokenBucket } = yield* RateLimiterStore
          const bucket = { key: "bucket 'of' \"ours\"", limit: 5, refillRate: Duration.minutes(1) }
          const draw = (tokens: number, allowOverflow = false) =>
            Effect.map(tokenBucket({ ...bucket, tokens, allowOverflow }), ([left]) => left)
          assert.deepStrictEqual(
            [yield* draw(2), yield* draw(3), yield* draw(1), yield* draw(0), yield* draw(4, true), yield* draw(1)],
            [3, 0, -1, 0, -4, -5]
          )
          const other = tokenBucket({ ...bucket, key: "another", tokens: 9, allowOverflow: false })
          assert.deepStrictEqual([(yield* other)[0], (yield* other)[0]], [-4, -4])
        }))

      it.effect("a bucket fills step by step, and keeps the part of a step", () =>
        Effect.gen(function*() {
          const { tokenBucket } = yield* RateLimiterStore
          const draw = (tokens: number) =>
            tokenBucket({ key: "filling", limit: 10, refillRate: Duration.millis(200), tokens, allowOverflow: true })
          const began = yield* Clock.currentTimeMillis
          assert.strictEqual((yield* draw(10))[0], 0)
          yield* Effect.sleep("500 millis")
          const [left, elapsed] = yield* draw(0)
          const steps = (yield* Clock.currentTimeMillis) - began
          assert.isAtLeast(left, 2)
          assert.isAtMost(left, Math.floor(steps / 200))
          assert.isAtLeast(left * 200 + elapsed, 495)
          assert.isBelow(elapsed, 200)
        }))

      it.effect("of many who draw at once none gets what another one has", () =>
        Effect.gen(function*() {
          const { tokenBucket } = yield* RateLimiterStore
          const draw = tokenBucket({
            key: "many",
            limit: 16,
            refillRate: Duration.minutes(1),
            tokens: 1,
            allowOverflow: true
          })
          const drawn = yield* Effect.forEach(Array.from({ length: 40 }), () => draw, { concurrency: 8 })
          assert.deepStrictEqual(
            drawn.map(([left]) => left).sort((one, other) => other - one),
            Array.from({ length: 40 }, (_, index) => 15 - index)
          )
        }))

      it.effect("a window counts, tells when it ends, and begins again", () =>
        Effect.gen(function*() {
          const { fixedWindow } = yield* RateLimiterStore
          const draw = (tokens: number, limit?: number) =>
            fixedWindow({ key: "window", refillRate: Duration.millis(100), tokens, limit })
          assert.strictEqual((yield* draw(2, 5))[0], 2)
          const [refused, left] = yield* draw(4, 5)
          assert.strictEqual(refused, 6)
          assert.isAtMost(left, 200)
          const [over, ttl] = yield* draw(4)
          assert.strictEqual(over, 6)
          assert.isAbove(ttl, 300)
          assert.isAtMost(ttl, 600)
          yield* Effect.sleep("700 millis")
          assert.strictEqual((yield* draw(1, 5))[0], 1)
        }))

      it.effect("what a service teaches with 429 is kept: cooldown, learning, learned", () =>
        Effect.gen(function*() {
          const { adaptiveConsume, adaptiveFeedback } = yield* RateLimiterStore
          const consume = adaptiveConsume({ key: "taught", tokens: 1, fallbackLimit: 9, fallbackWindow: second })
          const refused = (epoch: number, millis = 200) =>
            adaptiveFeedback({ key: "taught", epoch, tokens: 1, status: 429, retryAfter: Duration.millis(millis) })
          assert.strictEqual((yield* consume).phase, "inactive")
          yield* refused(7)
          assert.strictEqual((yield* consume).phase, "inactive")
          yield* refused(0)
          const cooling = yield* consume
          assert.strictEqual(cooling.phase, "cooldown")
          assert.isAtMost(Duration.toMillis(cooling.delay), 200)
          yield* Effect.sleep("250 millis")
          assert.deepStrictEqual(yield* consume, { phase: "learning", epoch: 1, delay: Duration.zero })
          yield* consume
          yield* consume
          yield* refused(1, 60_000)
          const learned = yield* consume
          assert.deepStrictEqual([learned.phase, learned.epoch], ["learned", 2])
          assert.isAbove(Duration.toMillis(learned.delay), 50_000)
          yield* refused(2)
          assert.strictEqual((yield* consume).phase, "cooldown")
        }))
    })
  })
}
