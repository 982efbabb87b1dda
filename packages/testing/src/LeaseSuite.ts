/**
 * The contract of a `SessionLock` that is a lease, as a Vitest suite: what holds when a holder dies, freezes or has another
 * clock.
 *
 * @since 0.1.0
 */
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { keyOf } from "./internal/sampleSessions.ts"

const lease = Duration.seconds(2)

// a clock that is ahead (negative: behind) of the machine's
const skewed = (clock: Clock.Clock, by: number): Clock.Clock => ({
  sleep: (duration) => clock.sleep(duration),
  currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + by,
  currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + by),
  currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
  currentTimeNanos: clock.currentTimeNanos,
  monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  monotonicTimeNanos: clock.monotonicTimeNanos
})

/**
 * Registers the contract for a lock with a lease. `lockLayer` makes the lock with the lease that it is given; each build of
 * it stands for a program of its own, and all of them share one store. Time is real: the suite takes about 8 seconds.
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = <E>(
  name: string,
  lockLayer: (lease: Duration.Duration) => Layer.Layer<SessionLock.SessionLock, E>
): void => {
  const program = Effect.map(
    Layer.build(Layer.fresh(lockLayer(lease))),
    (built) => Context.get(built, SessionLock.SessionLock)
  )

  describe(`Lease contract: ${name}`, () => {
    it.live("the lock says how long it outlives its holder, and its holder knows its deadline", () =>
      Effect.gen(function*() {
        const lock = yield* program
        assert.deepStrictEqual(lock.lease, lease)
        const left = yield* Effect.gen(function*() {
          const deadline = yield* SessionLock.Deadline
          const first = deadline()
          yield* Effect.sleep(Duration.sum(lease, Duration.millis(50)))
          return [first, deadline()] as const
        }).pipe(lock.withLock(keyOf("lease deadline"), "renew"))
        assert.isAbove(left[0], 0)
        assert.isAtMost(left[0], Duration.toMillis(lease))
        assert.isAtMost(left[1], 0)
      }))

    it.live("a holder that is frozen past its lease loses the lock, and does not release the next one's", () =>
      Effect.gen(function*() {
        const [frozen, second, third] = [yield* program, yield* program, yield* program]
        const key = keyOf("lease frozen")
        const order: Array<string> = []
        const thaw = yield* Deferred.make<void>()
        const leave = yield* Deferred.make<void>()
        const taken = yield* Deferred.make<void>()
        const entered = yield* Deferred.make<void>()
        const first = yield* Deferred.succeed(entered, undefined).pipe(
          Effect.andThen(Deferred.await(thaw)),
          frozen.withLock(key, "renew"),
          Effect.forkScoped
        )
        yield* Deferred.await(entered)
        const next = yield* Effect.sync(() => order.push("second enters")).pipe(
          Effect.andThen(Deferred.succeed(taken, undefined)),
          Effect.andThen(Deferred.await(leave)),
          Effect.andThen(Effect.sync(() => order.push("second leaves"))),
          second.withLock(key, "renew"),
          Effect.forkScoped
        )
        yield* Deferred.await(taken)
        yield* Deferred.succeed(thaw, undefined)
        yield* Fiber.join(first)
        const last = yield* Effect.sync(() => order.push("third enters")).pipe(
          third.withLock(key, "renew"),
          Effect.forkScoped
        )
        yield* Effect.sleep("300 millis")
        yield* Deferred.succeed(leave, undefined)
        yield* Fiber.join(next)
        yield* Fiber.join(last)
        assert.deepStrictEqual(order, ["second enters", "second leaves", "third enters"])
      }))

    it.live("a lock that was released is free at once, for every program", () =>
      Effect.gen(function*() {
        const [one, other] = [yield* program, yield* program]
        const key = keyOf("lease released")
        yield* Effect.void.pipe(one.withLock(key, "renew"))
        // it would have to wait for the lease otherwise
        const left = yield* Effect.flatMap(Clock.currentTimeMillis, (before) =>
          Effect.map(
            Effect.void.pipe(other.withLock(key, "renew"), Effect.andThen(Clock.currentTimeMillis)),
            (after) => Duration.toMillis(lease) - (after - before)
          ))
        assert.isAbove(left, 0)
      }))

    it.live("the lease ends by the clock of the store, not by that of a program", () =>
      Effect.gen(function*() {
        const [holder, early] = [yield* program, yield* program]
        const clock = yield* Clock.Clock
        const key = keyOf("lease clocks")
        const order: Array<string> = []
        const entered = yield* Deferred.make<void>()
        const first = yield* Deferred.succeed(entered, undefined).pipe(
          Effect.andThen(Effect.sleep("500 millis")),
          Effect.andThen(Effect.sync(() => order.push("holder leaves"))),
          holder.withLock(key, "renew"),
          Effect.provideService(Clock.Clock, skewed(clock, -3_600_000)),
          Effect.forkScoped
        )
        yield* Deferred.await(entered)
        yield* Effect.sync(() => order.push("early enters")).pipe(
          early.withLock(key, "renew"),
          Effect.provideService(Clock.Clock, skewed(clock, 3_600_000))
        )
        yield* Fiber.join(first)
        assert.deepStrictEqual(order, ["holder leaves", "early enters"])
      }))

    it.live("a login keeps its lock for as long as it takes", () =>
      Effect.gen(function*() {
        const [one, other] = [yield* program, yield* program]
        const key = keyOf("lease login")
        const order: Array<string> = []
        const entered = yield* Deferred.make<void>()
        const first = yield* Deferred.succeed(entered, undefined).pipe(
          Effect.andThen(Effect.sleep(Duration.times(lease, 1.75))),
          Effect.andThen(Effect.sync(() => order.push("first leaves"))),
          one.withLock(key, "login"),
          Effect.forkScoped
        )
        yield* Deferred.await(entered)
        yield* Effect.sync(() => order.push("second enters")).pipe(other.withLock(key, "login"))
        yield* Fiber.join(first)
        assert.deepStrictEqual(order, ["first leaves", "second enters"])
      }))

    it.live("of eight programs one at a time is inside", () =>
      Effect.gen(function*() {
        const programs = yield* Effect.replicateEffect(program, 8)
        const key = keyOf("lease eight")
        let inside = 0
        let most = 0
        let passed = 0
        yield* Effect.forEach(
          programs,
          (lock) =>
            Effect.gen(function*() {
              inside += 1
              most = Math.max(most, inside)
              yield* Effect.sleep("10 millis")
              inside -= 1
              passed += 1
            }).pipe(lock.withLock(key, "renew")),
          { concurrency: "unbounded", discard: true }
        )
        assert.deepStrictEqual([most, passed], [1, 8])
      }))
  })
}
