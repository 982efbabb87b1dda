// Many sessions in one process, and many callers: nothing here is timed, everything is counted.
import {
  AuthManager,
  BackgroundSleep,
  IamClient,
  IamError,
  Selection,
  Session,
  SessionKeeper,
  SessionKey,
  TokenStorage
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Fiber, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import * as fixtures from "../fixtures.ts"

const sessions = Number(process.env["EFFECT_AUTHN_SCALE"])
const window = Duration.toMillis("5 minutes")
const hour = Duration.toMillis("1 hour")

/** Naps as ever, counted: how many there were, how many at once, and how long the longest. */
const makeNaps = () => {
  const counts = { taken: 0, atOnce: 0, mostAtOnce: 0 }
  const nap = (duration: Duration.Duration) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        counts.taken += 1
        counts.atOnce += 1
        counts.mostAtOnce = Math.max(counts.mostAtOnce, counts.atOnce)
      }),
      () => Effect.sleep(duration),
      () =>
        Effect.sync(() => {
          counts.atOnce -= 1
        })
    )
  return { counts, layer: Layer.succeed(BackgroundSleep.BackgroundSleep, nap) }
}

/** Signs so many accounts in, whose tokens live as long as `lifetime` says, and tells when the token of each ends. */
const signIn = Effect.fnUntraced(function*(lifetime: (i: number) => Duration.Duration) {
  const iam = yield* IamClient.IamClient
  const script = yield* ScriptedIam.ScriptedIam
  const keeper = yield* SessionKeeper.SessionKeeper
  const expiries: Array<number> = []
  const kept = yield* Effect.forEach(Array.from({ length: sessions }), (_, i) =>
    Effect.gen(function*() {
      const key = SessionKey.SessionKey.make({ issuer: iam.issuer, clientId: iam.clientId, account: `account-${i}` })
      yield* script.set({ lifetime: lifetime(i) })
      const issued = yield* iam.login(
        { _tag: "Password", handle: "ada", password: ScriptedIam.password },
        Selection.none
      )
      expiries.push(DateTime.toEpochMillis(Option.getOrThrow(issued.tokens.expiresAt)))
      const kept = keeper.open(key)
      yield* kept.replace(
        Session.fromResponse(key, issued, { strategy: "password", selection: Selection.none })
      )
      return kept
    }))
  return { kept, expiries }
})

const program = (naps: ReturnType<typeof makeNaps>) =>
  SessionKeeper.layer.pipe(
    Layer.provide(naps.layer),
    Layer.provideMerge(Layer.mergeAll(ScriptedIam.layer({ rotation: "strict" }), TokenStorage.layerMemory))
  )

const renewals = ScriptedIam.ScriptedIam.use((iam) =>
  Effect.map(iam.calls, (calls) => calls.filter(({ method }) => method === "renew"))
)

describe(`${sessions} sessions in one process`, () => {
  it.effect("whose tokens all end at once are renewed in time, once each, by one scheduler", () => {
    const naps = makeNaps()
    return Effect.gen(function*() {
      const { kept } = yield* signIn(() => Duration.hours(1))
      yield* TestClock.adjust("54 minutes")
      assert.lengthOf(yield* renewals, 0)
      yield* TestClock.adjust("2 minutes")
      const calls = yield* renewals
      assert.lengthOf(calls, sessions)
      assert.strictEqual(new Set(calls.map(({ refreshToken }) => refreshToken)).size, sessions)
      assert.isTrue(calls.every(({ outcome }) => outcome === "answered"))
      // spread over a tenth of the window, and none in front of it
      const times = calls.map(({ at }) => at)
      assert.isAtLeast(Math.min(...times), Duration.toMillis("55 minutes"))
      assert.isAtMost(Math.max(...times), Duration.toMillis("55 minutes") + window / 10 + 1)
      assert.isAbove(new Set(times).size, sessions / 10)
      assert.strictEqual(naps.counts.mostAtOnce, 1)

      // a caller of any of them is served from memory

      yield* Effect.forEach(kept, (one) => one.token, { discard: true })
      assert.lengthOf(yield* renewals, sessions)
    }).pipe(Effect.provide(program(naps)))
  })

  it.effect("whose tokens end at any time are each renewed at its own", () => {
    const naps = makeNaps()
    return Effect.gen(function*() {
      // in no order: 7,919 is prime to their number
      const { expiries } = yield* signIn((i) =>
        Duration.millis(Duration.toMillis("30 minutes") + (hour / sessions) * ((i * 7_919) % sessions))
      )
      yield* ScriptedIam.ScriptedIam.use((iam) => iam.set({ lifetime: Duration.days(1) }))
      yield* TestClock.adjust("2 hours")
      const calls = yield* renewals
      assert.lengthOf(calls, sessions)
      // tokens are numbered as they are issued, two with each login
      for (const { accessToken, at } of calls) {
        const expiry = expiries[(accessToken! - 1) >> 1]!
        assert.isAbove(at, expiry - window)
        assert.isAtMost(at, expiry - window + window / 10 + 1)
      }
      assert.strictEqual(naps.counts.mostAtOnce, 1)
    }).pipe(Effect.provide(program(naps)))
  })

  it.effect("wake it at most once a minute while nothing is due", () => {
    const naps = makeNaps()
    return Effect.gen(function*() {
      yield* signIn((i) => Duration.hours(2 + i % 400))
      const before = naps.counts.taken
      yield* TestClock.adjust("1 hour")
      assert.isAtMost(naps.counts.taken - before, 60)
      assert.lengthOf(yield* renewals, 0)
    }).pipe(Effect.provide(program(naps)))
  })
})

describe("many callers and no valid token", () => {
  const { passwordLogin, setup } = fixtures
  const auth = AuthManager.AuthManager
  const many = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.all(Array.from({ length: 1_000 }, () => effect), { concurrency: "unbounded" })

  /** Signed in, with a token that has expired, at an IAM that takes two seconds. */
  const expired = Effect.gen(function*() {
    const manager = yield* auth
    const iam = yield* ScriptedIam.ScriptedIam
    yield* manager.login(passwordLogin)
    yield* iam.set({ latency: Duration.seconds(2) })
    yield* TestClock.setTime(Duration.toMillis("2 hours"))
    return { manager, iam }
  })

  it.effect("share a failure; who comes after the pause has the IAM asked again", () =>
    Effect.gen(function*() {
      const { iam, manager } = yield* expired
      yield* iam.failNext("renew", { reason: new IamError.Misconfigured({ detail: "invalid_client" }) })
      const waiting = yield* Effect.forkChild(many(Effect.flip(manager.token)), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      const errors = yield* Fiber.join(waiting)
      assert.isTrue(errors.every(({ message }) => message.includes("invalid_client")))
      assert.lengthOf(yield* renewals, 1)
      yield* TestClock.adjust("1 minute")
      const later = yield* Effect.forkChild(many(manager.token), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(later)
      assert.lengthOf(yield* renewals, 2)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("all take part in three attempts at an IAM that is not available", () =>
    Effect.gen(function*() {
      const { iam, manager } = yield* expired
      const reason = new IamError.Unavailable({ sent: "no", detail: "out of order" })
      yield* iam.failNext("renew", { reason, times: 2 })
      const waiting = yield* Effect.forkChild(many(manager.token), { startImmediately: true })
      while (waiting.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
      yield* Fiber.join(waiting)
      assert.lengthOf(yield* renewals, 3)
    }).pipe(Effect.provide(setup({ rotation: "strict" }))))

  it.effect("who comes after a logout does not wait for the renewal that others wait for", () =>
    Effect.gen(function*() {
      const { manager } = yield* expired
      const waiting = yield* Effect.forkChild(many(Effect.exit(manager.token)), { startImmediately: true })
      yield* TestClock.adjust(0)
      const logout = yield* Effect.forkChild(manager.logout, { startImmediately: true })
      assert.strictEqual((yield* Effect.flip(manager.token))._tag, "NotAuthenticated")
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(logout)
      yield* Fiber.join(waiting)
    }).pipe(Effect.provide(setup())))

  it.effect("who comes after the clock was set back gets the token that is valid again", () =>
    Effect.gen(function*() {
      const { manager } = yield* expired
      const waiting = yield* Effect.forkChild(many(manager.token), { startImmediately: true })
      yield* TestClock.adjust(0)
      yield* TestClock.setTime(Duration.toMillis("58 minutes"))
      const tokens = yield* manager.token
      assert.isTrue(DateTime.isLessThan(yield* DateTime.now, Option.getOrThrow(tokens.expiresAt)))
      assert.lengthOf(yield* renewals, 1)
      yield* TestClock.adjust("2 hours")
      yield* Fiber.join(waiting)
    }).pipe(Effect.provide(setup())))
})
