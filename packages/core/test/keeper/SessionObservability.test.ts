// What can be seen of renewals from outside: metrics, spans, and the states of a session.
import { AuthManager, IamError, RenewalMetrics, type SessionState } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Metric, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as fixtures from "../fixtures.ts"

const { passwordLogin, setup } = fixtures
const auth = AuthManager.AuthManager
const failRenewals = (reason: IamError.IamErrorReason, options: Partial<ScriptedIam.Failure> = {}) =>
  ScriptedIam.ScriptedIam.use((iam) => iam.failNext("renew", { reason, ...options }))
const unavailable = new IamError.Unavailable({ sent: "no", detail: "out of order" })
const dead = new IamError.GrantDead({ detail: "invalid_grant" })
const misconfigured = new IamError.Misconfigured({ detail: "invalid_client" })

describe("metrics", () => {
  const measured = <A, E, R>(test: Effect.Effect<A, E, R>) =>
    Effect.provideService(test, Metric.MetricRegistry, new Map())
  const count = (outcome: string) =>
    Effect.map(Metric.value(Metric.withAttributes(RenewalMetrics.renewals, { outcome })), ({ count }) => count)

  it.effect("renewals are counted by their outcome", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* manager.refresh()
      yield* manager.refresh()
      yield* failRenewals(unavailable)
      yield* Effect.ignore(manager.refresh())
      yield* failRenewals(misconfigured)
      yield* Effect.ignore(manager.refresh())
      yield* failRenewals(dead)
      yield* Effect.ignore(manager.refresh())
      assert.deepStrictEqual(
        yield* Effect.forEach(
          ["renewed", "Unavailable", "Misconfigured", "ReauthenticationRequired", "NotAuthenticated"],
          count
        ),
        [2, 1, 1, 1, 0]
      )
    }).pipe(Effect.provide(setup()), measured))

  it.effect("a renewal counts once, however many wait for it", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* Effect.all(Array.from({ length: 1000 }, () => manager.token), { concurrency: "unbounded", discard: true })
      assert.strictEqual(yield* count("renewed"), 1)
    }).pipe(Effect.provide(setup()), measured))

  it.effect("who waits for the lock, and is served by a sibling meanwhile, has not renewed", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      const other = yield* fixtures.sibling
      yield* manager.login(passwordLogin)
      yield* other.token
      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(2) })
      yield* TestClock.adjust("2 hours")
      const asked = yield* Effect.forkChild(Effect.all([other.token, manager.token], { concurrency: "unbounded" }))
      yield* TestClock.adjust("2 seconds")
      const [theirs, ours] = yield* Fiber.join(asked)
      assert.strictEqual(fixtures.raw(ours), fixtures.raw(theirs))
      const outcomes = (yield* Metric.snapshot).filter(({ id }) => id === "effect_authn_renewals")
      assert.deepStrictEqual(outcomes.map(({ attributes }) => attributes?.["outcome"]), ["renewed"])
      assert.strictEqual(yield* count("renewed"), 1)
    }).pipe(Effect.provide(setup()), measured))

  it.effect("the duration is that of the whole renewal, also of one that failed; the age that of what was replaced", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(2) })
      yield* TestClock.adjust("56 minutes")
      yield* manager.token
      yield* TestClock.adjust("2 seconds")
      const duration = yield* Metric.value(RenewalMetrics.duration)
      assert.deepStrictEqual([duration.count, duration.sum], [1, 2_000])
      const age = yield* Metric.value(RenewalMetrics.tokenAge)
      assert.deepStrictEqual([age.count, age.sum], [1, Duration.toMillis("56 minutes") + 2_000])

      yield* failRenewals(unavailable)
      yield* iam.set({ latency: Duration.seconds(5) })
      yield* TestClock.adjust("56 minutes")
      yield* manager.token
      yield* TestClock.adjust("5 seconds")
      const after = yield* Metric.value(RenewalMetrics.duration)
      assert.deepStrictEqual([after.count, after.sum, after.max], [2, 7_000, 5_000])
      assert.strictEqual((yield* Metric.value(RenewalMetrics.tokenAge)).count, 1)
    }).pipe(Effect.provide(setup()), measured))
})

describe("spans", () => {
  const traced = <A, E, R>(test: (spans: ReadonlyArray<Tracer.Span>) => Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      return Effect.provideService(test(spans), Tracer.Tracer, tracer)
    })

  it.effect("each renewal is a span of its own, whoever asked, with whose it is, for what, and how it ended", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const manager = yield* auth
        yield* manager.login(passwordLogin)
        const renewed = () => spans.filter(({ name }) => name === "SessionKeeper.renew")
        yield* Effect.withSpan(manager.tokenFor({ project: "blue" }), "a caller")
        yield* failRenewals(unavailable)
        yield* Effect.ignore(manager.refresh())
        assert.deepStrictEqual(
          renewed().map(({ attributes }) => Object.fromEntries(attributes)),
          [
            {
              issuer: "https://iam.example",
              account: "default",
              selection: "project=blue",
              why: "expired",
              presented: 1,
              outcome: "renewed"
            },
            {
              issuer: "https://iam.example",
              account: "default",
              selection: "",
              why: "asked",
              presented: 1,
              outcome: "Unavailable"
            }
          ]
        )
        assert.deepStrictEqual(
          renewed().map(({ parent, status }) => [parent._tag, status._tag === "Ended" && Exit.isSuccess(status.exit)]),
          [["None", true], ["None", false]]
        )
      }).pipe(Effect.provide(setup()), Effect.withSpan("a program"))
    ))
})

describe("changes", () => {
  /** The tags of the states, without what is the same as the one before. */
  const steps = (states: ReadonlyArray<SessionState.SessionState>) =>
    states.map(({ _tag }) => _tag).filter((tag, i, all) => tag !== all[i - 1])

  const watched = Effect.gen(function*() {
    const states: Array<SessionState.SessionState> = []
    yield* Effect.forkScoped(
      Stream.runForEach((yield* auth).changes, (state) => Effect.sync(() => states.push(state))),
      { startImmediately: true }
    )
    yield* TestClock.adjust(0)
    return states
  })

  it.effect("tell a life from the login to the end of the grant, in order", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      const states = yield* watched
      const last = () => states.at(-1)
      assert.deepStrictEqual(steps(states), ["SignedOut"])

      yield* manager.login(passwordLogin)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(steps(states), ["SignedOut", "SignedIn"])

      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(2) })
      yield* TestClock.adjust("56 minutes")
      yield* manager.token
      yield* TestClock.adjust("1 second")
      assert.strictEqual(last()?._tag, "Renewing")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps(states), ["SignedOut", "SignedIn", "Renewing", "SignedIn"])

      yield* failRenewals(unavailable)
      yield* TestClock.adjust("56 minutes")
      yield* manager.token
      yield* TestClock.adjust("2 seconds")
      const stale = last()
      assert.strictEqual(stale?._tag, "Stale")
      if (stale?._tag === "Stale") {
        assert.include(stale.cause, "out of order")
        const inTime = stale.nextAttempt.epochMilliseconds - Duration.toMillis("112 minutes")
        assert.isTrue(inTime > 0 && inTime < 10_000, `${inTime}`)
      }

      yield* failRenewals(dead)
      yield* TestClock.adjust("1 second")
      yield* manager.token
      yield* TestClock.adjust("2 seconds")
      const ended = last()
      assert.strictEqual(ended?._tag, "ReauthenticationRequired")
      if (ended?._tag === "ReauthenticationRequired") assert.strictEqual(ended.detail, "invalid_grant")
      assert.deepStrictEqual(steps(states), [
        "SignedOut",
        "SignedIn",
        "Renewing",
        "SignedIn",
        "Renewing",
        "Stale",
        "Renewing",
        "ReauthenticationRequired"
      ])

      yield* iam.set({ latency: Duration.zero })
      yield* manager.logout
      yield* TestClock.adjust(0)
      assert.strictEqual(last()?._tag, "SignedOut")
    }).pipe(Effect.provide(setup())))

  it.effect("tell of a renewal also where nothing is written before it is sent", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      const states = yield* watched
      yield* manager.login(passwordLogin)
      const iam = yield* ScriptedIam.ScriptedIam
      yield* iam.set({ latency: Duration.seconds(2) })
      yield* TestClock.adjust("56 minutes")
      yield* manager.token
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps(states), ["SignedOut", "SignedIn", "Renewing"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps(states), ["SignedOut", "SignedIn", "Renewing", "SignedIn"])
    }).pipe(Effect.provide(setup({ grant: "ExchangeAccessToken" }))))

  it.effect("tell a sibling's login and logout", () =>
    Effect.gen(function*() {
      const manager = yield* auth
      const other = yield* fixtures.sibling
      const states = yield* watched
      yield* Effect.ignore(manager.token)
      yield* other.login(passwordLogin)
      yield* TestClock.adjust("1 milli")
      yield* other.logout
      yield* TestClock.adjust("1 milli")
      assert.deepStrictEqual(steps(states), ["SignedOut", "SignedIn", "SignedOut"])
      const last = states.at(-1)
      assert.include(last?._tag === "SignedOut" ? last.detail : "", "signed out by another program")
    }).pipe(Effect.provide(setup())))
})
