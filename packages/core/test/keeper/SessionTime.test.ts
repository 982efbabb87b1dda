// Renewal and the clock: tokens of a second and of 400 days, and a machine that sleeps or whose clock is set.
import { AuthManager, BackgroundSleep, IamError, SessionLock } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, Duration, Effect, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import * as fixtures from "../fixtures.ts"
import { as, makeHouse } from "./programs.ts"

const { passwordLogin } = fixtures
const auth = AuthManager.AuthManager
const renewals = ScriptedIam.ScriptedIam.use((iam) => iam.count("renew"))

/** Naps by a time of their own, which neither stops nor jumps when the wall clock is set, and stands while it sleeps. */
const makeNaps = () => {
  let elapsed = 0
  const taken: Array<number> = []
  const asleep = new Set<{ readonly until: number; readonly wake: () => void }>()
  const nap = (duration: Duration.Duration) =>
    Effect.callback<void>((resume) => {
      taken.push(Duration.toMillis(duration))
      const sleeper = { until: elapsed + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      asleep.add(sleeper)
      return Effect.sync(() => {
        asleep.delete(sleeper)
      })
    })
  const step = Effect.fnUntraced(function*(millis: number) {
    yield* TestClock.adjust(millis)
    elapsed += millis
    for (const sleeper of Array.from(asleep)) {
      if (sleeper.until > elapsed) continue
      asleep.delete(sleeper)
      sleeper.wake()
    }
    yield* TestClock.adjust(0)
  })
  return {
    layer: Layer.succeed(BackgroundSleep.BackgroundSleep, nap),
    /** How long every nap so far was to be. */
    taken: () => taken,
    /** An ordinary span, in which both clocks go on alike. */
    pass: Effect.fnUntraced(function*(span: Duration.Input, each: Duration.Input = "1 second") {
      const millis = Duration.toMillis(each)
      for (let left = Duration.toMillis(span); left > 0; left -= millis) yield* step(Math.min(left, millis))
    })
  }
}

const setClock = (to: (now: number) => number) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => TestClock.setTime(to(now)))
const hours = (count: number) => Duration.toMillis(Duration.hours(count))

describe("a machine whose clock is set, or that sleeps", () => {
  it.effect("three hours forward: renewed within one nap, though nobody asks", () => {
    const naps = makeNaps()
    return Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* naps.pass("30 seconds")
      yield* setClock((now) => now + hours(3))
      assert.strictEqual(yield* renewals, 0)
      yield* naps.pass("1 minute")
      assert.strictEqual(yield* renewals, 1)
      // and then goes on as ever
      yield* naps.pass("50 minutes")
      assert.strictEqual(yield* renewals, 1)
      yield* naps.pass("10 minutes")
      assert.strictEqual(yield* renewals, 2)
    }).pipe(Effect.provide(fixtures.scheduled({ rotation: "strict" }).pipe(Layer.provide(naps.layer))))
  })

  it.effect("three hours forward: the next caller gets a new token, without waiting for the nap", () => {
    const naps = makeNaps()
    return Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* naps.pass("30 seconds")
      yield* setClock((now) => now + hours(3))
      const tokens = yield* manager.token
      assert.isTrue(DateTime.isGreaterThan(Option.getOrThrow(tokens.expiresAt), yield* DateTime.now))
      yield* naps.pass("2 minutes")
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(fixtures.scheduled({ rotation: "strict" }).pipe(Layer.provide(naps.layer))))
  })

  it.effect("three hours back: not renewed, not looping, and renewed when the clock has come to it again", () => {
    const naps = makeNaps()
    return Effect.gen(function*() {
      const manager = yield* auth
      yield* TestClock.setTime(hours(10))
      yield* manager.login(passwordLogin)
      yield* naps.pass("30 seconds")
      yield* setClock((now) => now - hours(3))
      const before = naps.taken().length
      for (let minutes = 0; minutes < 180; minutes++) {
        yield* naps.pass("1 minute")
        yield* manager.token
      }
      assert.strictEqual(yield* renewals, 0)
      assert.isAtMost(naps.taken().length - before, 182)
      yield* naps.pass("57 minutes")
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(fixtures.scheduled().pipe(Layer.provide(naps.layer))))
  })

  it.effect("back, during a pause between attempts: the next one does not wait for the end of that pause", () => {
    const naps = makeNaps()
    return Effect.gen(function*() {
      const manager = yield* auth
      yield* TestClock.setTime(hours(10))
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      const reason = new IamError.Unavailable({ sent: "no", detail: "busy", retryAfter: Duration.minutes(10) })
      yield* iam.failNext("renew", { reason })
      yield* naps.pass("47 minutes")
      assert.strictEqual(yield* renewals, 1)
      yield* setClock((now) => now - Duration.toMillis("3 minutes"))
      yield* naps.pass("3 minutes")
      assert.strictEqual(yield* renewals, 2)
    }).pipe(
      Effect.provide(
        fixtures.scheduled({ policy: { window: Duration.minutes(15) } }).pipe(Layer.provide(naps.layer))
      )
    )
  })
})

describe("long and short lives", () => {
  for (const days of [30, 400]) {
    it.effect(`a token of ${days} days: at most one wake-up a minute, none of them longer, no renewal in its first day`, () => {
      const naps = makeNaps()
      return Effect.gen(function*() {
        const manager = yield* auth
        yield* manager.login(passwordLogin)
        yield* TestClock.adjust(0)
        const before = naps.taken().length
        yield* naps.pass("1 day", "1 minute")
        assert.strictEqual(yield* renewals, 0)
        assert.isAtMost(naps.taken().length - before, 24 * 60)
        assert.isAtMost(Math.max(...naps.taken()), 60_000)
      }).pipe(
        Effect.provide(fixtures.scheduled({ lifetime: Duration.days(days) }).pipe(Layer.provide(naps.layer)))
      )
    })
  }

  it.effect("tokens of one second: always a valid one at hand, and one renewal for each", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      for (let tenths = 0; tenths < 200; tenths++) {
        const tokens = yield* manager.token
        assert.isTrue(DateTime.isLessThan(yield* DateTime.now, Option.getOrThrow(tokens.expiresAt)))
        yield* TestClock.adjust("100 millis")
      }
      // each lives for 0.8 to 0.82 seconds before the next one is made
      const count = yield* renewals
      assert.isAtLeast(count, 24)
      assert.isAtMost(count, 25)
    }).pipe(Effect.provide(fixtures.scheduled({ lifetime: "1 second", rotation: "strict" }))))

  it.effect("tokens of one second and nobody who keeps them fresh: a caller a second, a renewal a second", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      for (let seconds = 0; seconds < 20; seconds++) {
        yield* TestClock.adjust("1 second")
        const tokens = yield* Effect.all(Array.from({ length: 20 }, () => manager.token), { concurrency: "unbounded" })
        const now = yield* DateTime.now
        assert.isTrue(tokens.every(({ expiresAt }) => DateTime.isLessThan(now, Option.getOrThrow(expiresAt))))
      }
      assert.strictEqual(yield* renewals, 20)
    }).pipe(Effect.provide(fixtures.setup({ lifetime: "1 second", rotation: "strict" }))))
})

describe("a clock that is set back while an answer is lost, under a lease", () => {
  it.effect("makes nobody wait longer than a lease for the next renewal", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(hours(10))
      const clock = yield* Clock.Clock
      let offset = 0
      const millis = () => clock.currentTimeMillisUnsafe() + offset
      const nanos = () => BigInt(millis()) * 1_000_000n
      const own: Clock.Clock = {
        currentTimeMillisUnsafe: millis,
        currentTimeMillis: Effect.sync(millis),
        currentTimeNanosUnsafe: nanos,
        currentTimeNanos: Effect.sync(nanos),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: clock.monotonicTimeNanos,
        sleep: (duration) => clock.sleep(duration)
      }
      const house = yield* makeHouse()
      const lock = SessionLock.SessionLock.of({ ...house.lock, lease: Duration.seconds(45) })
      const one = yield* house.start({ lock, clock: own, scheduled: true })
      yield* one.auth.login(as("ada"))
      const bearer = yield* one.auth.bearerToken
      yield* house.iam.failNext("renew", { reason: new IamError.Unavailable({ sent: "maybe", detail: "cut" }) })
      yield* Effect.flip(one.auth.refresh())
      offset = -hours(3)
      // The background notices within a nap of a minute; from then on it is a lease.
      yield* TestClock.adjust("61 seconds")
      yield* TestClock.adjust("46 seconds")
      const next = yield* one.auth.rejected(bearer)
      assert.notStrictEqual(next.tokens.accessToken, bearer.tokens.accessToken)
    }).pipe(Effect.scoped))
})
