import { LeaseLock, SessionKey, SessionLock, TokenStorageError } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"

const key = SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "web", account: "default" })
const lease = Duration.seconds(15)

/** A store of one lease, whose clock is that of the test. */
const makeStore = () => {
  const log: Array<string> = []
  let held: { readonly nonce: string; readonly holder: string; endsAt: number } | undefined
  let isAway = false
  const away = new TokenStorageError.TokenStorageError({
    storage: "a store",
    method: "withLock",
    reason: new TokenStorageError.StorageUnavailable({ detail: "the store is away" })
  })
  const step = <A>(name: string, run: (now: number) => A) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      log.push(name)
      return isAway ? Effect.fail(away) : Effect.sync(() => run(now))
    })
  const leases: LeaseLock.Leases = {
    take: ({ duration, holder, nonce }) =>
      step("take", (now) => {
        if (held !== undefined && held.endsAt > now) return Option.some(held.holder)
        held = { nonce, holder, endsAt: now + Duration.toMillis(duration) }
        return Option.none()
      }),
    prolong: ({ duration, nonce }) =>
      step("prolong", (now) => {
        if (held?.nonce !== nonce) return false
        held.endsAt = now + Duration.toMillis(duration)
        return true
      }),
    release: ({ nonce }) =>
      step("release", () => {
        if (held?.nonce === nonce) held = undefined
      })
  }
  return {
    leases,
    log,
    setAway: (to: boolean) => {
      isAway = to
    },
    isHeld: () => held !== undefined
  }
}

const makeLock = (leases: LeaseLock.Leases) =>
  LeaseLock.make({ lease, leases }).pipe(Effect.provide(SecureRandom.layerWebCrypto))

const left = Effect.map(SessionLock.Deadline, (deadline) => deadline())

describe("a lock made of leases", () => {
  it.effect("a renewal has what is left of its lease, and gives it back", () =>
    Effect.gen(function*() {
      const { isHeld, leases, log } = makeStore()
      const lock = yield* makeLock(leases)
      assert.strictEqual(lock.lease, lease)
      const seen = yield* Effect.gen(function*() {
        const first = yield* left
        yield* TestClock.adjust("12 seconds")
        return [first, yield* left]
      }).pipe(lock.withLock(key, "renew"))
      assert.deepStrictEqual(seen, [15_000, 3000])
      assert.deepStrictEqual(log, ["take", "release"])
      assert.isFalse(isHeld())
    }))

  it.effect("a lease of which nobody knows whether it was taken is given back, and keeps nobody out", () =>
    Effect.gen(function*() {
      const { isHeld, leases, log } = makeStore()
      const failing = (written: "no" | "maybe"): LeaseLock.Leases => ({
        ...leases,
        take: (wanted) =>
          Effect.andThen(
            written === "maybe" ? leases.take(wanted) : Effect.void,
            new TokenStorageError.TokenStorageError({
              storage: "a store",
              method: "withLock",
              reason: new TokenStorageError.StorageUnavailable({ detail: "no replica has it", written })
            })
          )
      })
      const unsure = yield* makeLock(failing("maybe"))
      const error = yield* Effect.flip(Effect.void.pipe(unsure.withLock(key, "renew")))
      assert.include(error.message, "no replica has it")
      yield* Effect.yieldNow
      assert.isFalse(isHeld())
      assert.deepStrictEqual(log, ["take", "release"])
      yield* Effect.void.pipe((yield* makeLock(leases)).withLock(key, "renew"))
      const sure = yield* makeLock(failing("no"))
      log.length = 0
      yield* Effect.flip(Effect.void.pipe(sure.withLock(key, "renew")))
      yield* Effect.yieldNow
      assert.deepStrictEqual(log, [])
    }))

  for (const purpose of ["login", "renew"] as const) {
    it.effect(`who waits to ${purpose} is told once, within a second, who has the lease`, () =>
      Effect.gen(function*() {
        const { leases } = makeStore()
        const lock = yield* makeLock(leases)
        const told: Array<string> = []
        const onWait = ({ message }: SessionLock.Wait) => Effect.sync(() => told.push(message))
        const first = yield* Effect.sleep("10 seconds").pipe(
          lock.withLock(key, purpose),
          Effect.provideService(SessionLock.Holder, "process 7 on alpha"),
          Effect.forkChild
        )
        yield* TestClock.adjust(0)
        const second = yield* Effect.void.pipe(
          lock.withLock(key, purpose),
          Effect.provideService(SessionLock.OnWait, onWait),
          Effect.forkChild
        )
        yield* TestClock.adjust("400 millis")
        assert.deepStrictEqual(told, [])
        yield* TestClock.adjust("600 millis")
        assert.lengthOf(told, 1)
        assert.include(told[0], "process 7 on alpha")
        assert.match(told[0]!, purpose === "login" ? /finish that login, or end that program/ : /end that program if/)
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(first)
        yield* Fiber.join(second)
        assert.lengthOf(told, 1)
        // a lock that is free is no wait
        yield* Effect.void.pipe(lock.withLock(key, purpose), Effect.provideService(SessionLock.OnWait, onWait))
        assert.lengthOf(told, 1)
      }))
  }

  it.effect("a login is prolonged for as long as it takes, and no longer", () =>
    Effect.gen(function*() {
      const { isHeld, leases, log } = makeStore()
      const lock = yield* makeLock(leases)
      const login = yield* Effect.forkChild(
        Effect.andThen(Effect.sleep("4 minutes"), left).pipe(lock.withLock(key, "login"))
      )
      yield* TestClock.adjust("2 minutes")
      assert.isTrue(isHeld())
      yield* TestClock.adjust("2 minutes")
      assert.isAbove(yield* Fiber.join(login), 9000)
      assert.strictEqual(log.at(-1), "release")
      const steps = log.length
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(log, steps)
    }))

  it.effect("a store that is away while a login is prolonged is asked again, and the deadline runs on", () =>
    Effect.gen(function*() {
      const { leases, setAway } = makeStore()
      const lock = yield* makeLock(leases)
      const seen = yield* Effect.gen(function*() {
        setAway(true)
        yield* TestClock.adjust("14 seconds")
        const away = yield* left
        setAway(false)
        yield* TestClock.adjust("1 second")
        return [away, yield* left]
      }).pipe(lock.withLock(key, "login"))
      assert.deepStrictEqual(seen, [1000, 15_000])
    }))

  it.effect("who waits gets the lease when it is over, or says who has it", () =>
    Effect.gen(function*() {
      const { leases, log } = makeStore()
      const one = yield* makeLock(leases)
      const holder = yield* Effect.forkChild(
        Effect.never.pipe(one.withLock(key, "login"), Effect.provideService(SessionLock.Holder, "the first"))
      )
      yield* TestClock.adjust("1 second")
      const waiting = yield* Effect.forkChild(Effect.exit(Effect.void.pipe(one.withLock(key, "login"))))
      yield* TestClock.adjust("32 minutes")
      const error = yield* Effect.flip(yield* Fiber.join(waiting))
      assert.strictEqual(error.holder, "the first")
      // about four times a second
      assert.isBelow(log.filter((step) => step === "take").length, 32 * 60 * 8)

      const next = yield* Effect.forkChild(Effect.exit(Effect.void.pipe(one.withLock(key, "login"))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(holder)
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(next)))
    }))

  it.effect("a store that is away is no lock, with its words", () =>
    Effect.gen(function*() {
      const { leases, setAway } = makeStore()
      setAway(true)
      const lock = yield* makeLock(leases)
      const error = yield* Effect.flip(Effect.void.pipe(lock.withLock(key, "renew")))
      assert.include(error.message, "the store is away")
    }))

  it.effect("who gives up waiting is interrupted at once, and holds nothing", () =>
    Effect.gen(function*() {
      const { isHeld, leases } = makeStore()
      const lock = yield* makeLock(leases)
      const holder = yield* Effect.forkChild(Effect.never.pipe(lock.withLock(key, "renew")))
      yield* TestClock.adjust("1 second")
      const waiting = yield* Effect.forkChild(Effect.void.pipe(lock.withLock(key, "renew")))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(holder)
      assert.isFalse(isHeld())
    }))
})
