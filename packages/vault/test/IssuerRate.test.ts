import { IssuerRate } from "@effect-authn/vault"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Layer, Random } from "effect"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"

/** The most that any window of this length has, in milliseconds. */
const most = (times: ReadonlyArray<number>, window: number) => {
  const sorted = times.toSorted((one, other) => one - other)
  let found = 0
  for (let first = 0, last = 0; last < sorted.length; last += 1) {
    while (sorted[last]! - sorted[first]! >= window) first += 1
    found = Math.max(found, last - first + 1)
  }
  return found
}

// How often all machines stop at once, in milliseconds. The network does between it.
const every = 1500

/** What falls into a stop that begins at this place of the period goes on at its end. */
const stop = (length: number, place: number) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const since = (now + every - place) % every
    return since < length ? Effect.sleep(Duration.millis(length - since)) : Effect.void
  })

/** What arrives at an IAM of three machines over one store, all of which have more to send than they may. */
const arrivals = (options: {
  readonly rate: number
  readonly span: Duration.Input
  /** How many each machine wants to send at once. */
  readonly lot: number
  /** How long a machine needs before it can send, at most; how long it and the network come to a stop. */
  readonly work: number
  readonly machines: number
  readonly network: number
}) =>
  Effect.scoped(Effect.gen(function*() {
    const { lot, machines, network, rate, span, work } = options
    const store = yield* Layer.build(RateLimiter.layerStoreMemory)
    const times: Array<number> = []
    const clock = yield* Clock.Clock
    const machine = Effect.gen(function*() {
      const rates = Context.get(
        yield* Layer.build(
          Layer.fresh(IssuerRate.layer({ perSecond: rate })).pipe(Layer.provide(Layer.succeedContext(store)))
        ),
        IssuerRate.IssuerRates
      )
      const use = (permit: IssuerRate.Permit) =>
        Effect.gen(function*() {
          yield* Effect.sleep(Duration.millis(work * (yield* Random.next)))
          const wait = permit.wait()
          if (wait > 0) yield* Effect.sleep(Duration.millis(wait))
          yield* stop(machines, 0)
          if (permit.isOver()) return
          yield* stop(network, 700)
          times.push(clock.currentTimeMillisUnsafe())
        })
      for (;;) {
        const { again, permits } = yield* rates.draw("https://one.example", lot)!
        yield* Effect.forEach(permits, (permit) => Effect.forkChild(use(permit)))
        yield* Effect.sleep(Duration.max(again, Duration.millis(1)))
      }
    })
    for (let index = 0; index < 3; index += 1) yield* Effect.forkScoped(machine)
    yield* TestClock.adjust(span)
    return times
  })).pipe(Random.withSeed("three machines"))

describe("the rate of a fleet", () => {
  for (const rate of [100, 40, 12, 3, 0.5]) {
    const window = Math.max(rate, 10) * 1000 / rate
    const span = Duration.millis(Math.max(10_000, 4 * window))
    const allowed = Math.max(rate, 10)

    it.effect(`no ${window / 1000} s have more than ${allowed}, and nearly all of it is used: ${rate} a second`, () =>
      Effect.gen(function*() {
        const times = yield* arrivals({ rate, span, lot: 5, work: 20, machines: 0, network: 0 })
        assert.isAtMost(most(times, window), allowed)
        assert.isAtLeast(times.length, 0.8 * rate * Duration.toSeconds(span) - 1)
      }))

    it.effect(`nor have they where machines and the network come to a stop: ${rate} a second`, () =>
      Effect.gen(function*() {
        for (const lot of [1, 5]) {
          const times = yield* arrivals({ rate, span, lot, work: 100, machines: 400, network: 50 })
          assert.isAtMost(most(times, window), allowed)
        }
      }))
  }

  it.effect("what was given before a machine came to a stop is sent by nobody after it", () =>
    Effect.gen(function*() {
      const rates = Context.get(
        yield* Layer.build(IssuerRate.layer({ perSecond: 100 }).pipe(Layer.provide(RateLimiter.layerStoreMemory))),
        IssuerRate.IssuerRates
      )
      const { permits } = yield* rates.draw("https://one.example", 5)!
      assert.lengthOf(permits, 5)
      assert.isAtMost(permits[0]!.wait(), 0)
      assert.isTrue(permits.every((permit) => !permit.isOver()))
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(permits.every((permit) => permit.isOver()))
    }))

  it.effect("what is swept leaves room for a caller", () =>
    Effect.gen(function*() {
      const rates = Context.get(
        yield* Layer.build(IssuerRate.layer({ perSecond: 100 }).pipe(Layer.provide(RateLimiter.layerStoreMemory))),
        IssuerRate.IssuerRates
      )
      const draw = (most: number) =>
        Effect.map(rates.draw("https://one.example", most)!, ({ permits }) => permits.length)
      for (let lot = 0; lot < 3; lot += 1) assert.strictEqual(yield* draw(64), 5)
      yield* TestClock.adjust("15 millis")
      assert.strictEqual(yield* draw(64), 0)
      assert.strictEqual(yield* draw(1), 1)
    }))
})
