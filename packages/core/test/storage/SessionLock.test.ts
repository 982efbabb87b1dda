import { SessionKey, SessionLock } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Ref } from "effect"
import { TestClock } from "effect/testing"

const keyOf = (account: string) =>
  SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "web", account })
const key = keyOf("default")

/** Counts how many are inside at once. */
const crowd = Effect.gen(function*() {
  const inside = yield* Ref.make({ now: 0, most: 0 })
  return {
    most: Effect.map(Ref.get(inside), ({ most }) => most),
    enter: Effect.acquireUseRelease(
      Ref.update(inside, ({ most, now }) => ({ now: now + 1, most: Math.max(most, now + 1) })),
      () => Effect.sleep("1 second"),
      () => Ref.update(inside, ({ most, now }) => ({ now: now - 1, most }))
    )
  }
})

describe("the lock among the fibers of a process", () => {
  it.effect("lets one at a time in, in turn", () =>
    Effect.gen(function*() {
      const lock = yield* SessionLock.SessionLock
      const { enter, most } = yield* crowd
      const all = yield* Effect.forkChild(
        Effect.all(Array.from({ length: 10 }, () => lock.withLock(key, "renew")(enter)), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(all.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(all)
      assert.strictEqual(yield* most, 1)
    }).pipe(Effect.provide(SessionLock.layerInProcess)))

  it.effect("does not make a renewal wait for a login, nor one session for another", () =>
    Effect.gen(function*() {
      const lock = yield* SessionLock.SessionLock
      const { enter, most } = yield* crowd
      const all = yield* Effect.forkChild(
        Effect.all(
          [
            lock.withLock(key, "login")(enter),
            lock.withLock(key, "renew")(enter),
            lock.withLock(keyOf("work"), "renew")(enter),
            lock.withLock(keyOf("work"), "login")(enter)
          ],
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(all)
      assert.strictEqual(yield* most, 4)
    }).pipe(Effect.provide(SessionLock.layerInProcess)))

  it.effect("is free again after success, failure, defect and interruption, and gives the result on", () =>
    Effect.gen(function*() {
      const lock = yield* SessionLock.SessionLock
      const within = lock.withLock(key, "renew")
      assert.strictEqual(yield* within(Effect.succeed(1)), 1)
      assert.strictEqual(yield* Effect.flip(within(Effect.fail("failed"))), "failed")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(within(Effect.die("dead")))))
      const held = yield* Effect.forkChild(within(Effect.never), { startImmediately: true })
      yield* Fiber.interrupt(held)
      assert.strictEqual(yield* within(Effect.succeed(2)), 2)
    }).pipe(Effect.provide(SessionLock.layerInProcess)))

  it.effect("forgets a waiter that goes away", () =>
    Effect.gen(function*() {
      const lock = yield* SessionLock.SessionLock
      const gate = yield* Deferred.make<void>()
      const holder = yield* Effect.forkChild(lock.withLock(key, "renew")(Deferred.await(gate)), {
        startImmediately: true
      })
      const leaver = yield* Effect.forkChild(lock.withLock(key, "renew")(Effect.never), { startImmediately: true })
      const stayer = yield* Effect.forkChild(lock.withLock(key, "renew")(Effect.succeed("in")), {
        startImmediately: true
      })
      yield* Fiber.interrupt(leaver)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(holder)
      assert.strictEqual(yield* Fiber.join(stayer), "in")
    }).pipe(Effect.provide(SessionLock.layerInProcess)))

  it.effect("names its holder for others", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* SessionLock.Holder, "this program")
    }))
})
