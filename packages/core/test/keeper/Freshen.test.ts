/** What a service does for sessions that nobody asks for: it looks whether they are due, and leaves the others alone. */
import { AuthManager, IamError, SessionKeeper, SessionLock } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import { count, failNext, manager, passwordLogin, setup, token } from "../fixtures.ts"
import { as, makeHouse } from "./programs.ts"

/** The session of this program in a keeper of its own, which has read nothing yet. */
const kept = Effect.gen(function*() {
  const { key } = yield* AuthManager.AuthManager
  const keeper = Context.get(yield* Layer.build(SessionKeeper.layer), SessionKeeper.SessionKeeper)
  return keeper.open(key)
})

const services = () => Layer.fresh(setup({ rotation: "strict", lifetime: "1 hour" }))

describe("freshenWhen", () => {
  it.effect("leaves a session alone that is fresh, whether it was read before or not", () =>
    Effect.gen(function*() {
      yield* (yield* manager).login(passwordLogin)
      const session = yield* kept
      for (let times = 0; times < 2; times++) {
        yield* session.freshenWhen(() => false)
        assert.strictEqual(yield* count("renew"), 0)
      }
    }).pipe(Effect.provide(services())))

  it.effect("renews one that is fresh where somebody says that it is due, and asks of the session as it stands", () =>
    Effect.gen(function*() {
      yield* (yield* manager).login(passwordLogin)
      const before = yield* token
      const session = yield* kept
      const seen: Array<number> = []
      const renewed = yield* session.freshenWhen(({ generation }) => {
        seen.push(generation)
        return seen.every((one) => one === generation)
      })
      assert.strictEqual(yield* count("renew"), 1)
      assert.isAbove(renewed.generation, seen[0]!)
      assert.notStrictEqual(yield* token, before)
      // now that it is read, and of another generation
      yield* session.freshenWhen(({ generation }) => generation === seen[0])
      assert.strictEqual(yield* count("renew"), 1)
      yield* session.freshenWhen(() => true)
      assert.strictEqual(yield* count("renew"), 2)
    }).pipe(Effect.provide(services())))

  it.effect("renews one whose token is due, once for all who ask", () =>
    Effect.gen(function*() {
      yield* (yield* manager).login(passwordLogin)
      const session = yield* kept
      yield* TestClock.adjust("61 minutes")
      yield* Effect.all([session.freshen, session.freshen, session.freshenWhen(() => false)], { concurrency: 3 })
      assert.strictEqual(yield* count("renew"), 1)
    }).pipe(Effect.provide(services())))

  it.effect("says why there is none: nobody signed in, or the session ended", () =>
    Effect.gen(function*() {
      const session = yield* kept
      assert.strictEqual((yield* Effect.flip(session.freshenWhen(() => true)))._tag, "NotAuthenticated")
      yield* (yield* manager).login(passwordLogin)
      yield* failNext("renew", new IamError.GrantDead({ detail: "invalid_grant" }))
      const again = yield* kept
      assert.strictEqual((yield* Effect.flip(again.freshenWhen(() => true)))._tag, "ReauthenticationRequired")
      // from then on the last token that there is, as long as it is valid
      assert.isTrue(Option.isSome((yield* again.freshenWhen(() => true)).dead))
      yield* TestClock.adjust("61 minutes")
      assert.strictEqual((yield* Effect.flip(again.freshenWhen(() => true)))._tag, "ReauthenticationRequired")
      assert.strictEqual((yield* Effect.flip(again.freshen))._tag, "ReauthenticationRequired")
      assert.strictEqual(yield* count("renew"), 1)
      assert.isTrue(Option.isSome(yield* Effect.flatMap(manager, (auth) => auth.session)))
    }).pipe(Effect.provide(services())))
})

describe("a machine that died between its intent and the answer", () => {
  it.effect("costs whoever takes its lock over no more than the little by which the intent is younger", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse({ lifetime: "1 hour" })
      const lock = SessionLock.SessionLock.of({ ...house.lock, lease: Duration.seconds(45) })
      const one = yield* house.start({ lock })
      const two = yield* house.start({ lock })
      yield* one.auth.login(as("ada"))
      yield* TestClock.adjust("61 minutes")
      const lost = new IamError.Unavailable({ sent: "maybe", detail: "cut" })
      yield* house.iam.failNext("renew", { reason: lost, times: 1 })
      yield* Effect.flip(one.auth.refresh())
      const session = two.keeper.open(two.auth.key)
      yield* TestClock.adjust("43 seconds")
      assert.include((yield* Effect.flip(session.freshen)).message, "the answer to an earlier renewal may still come")

      yield* TestClock.adjust("1800 millis")
      const taking = yield* Effect.forkChild(session.freshen)
      yield* TestClock.adjust("100 millis")
      assert.isUndefined(taking.pollUnsafe(), "the answer may still come")
      yield* TestClock.adjust("200 millis")
      assert.isTrue(Option.isNone((yield* Fiber.join(taking)).intent))
      assert.lengthOf(house.ledger.presented, 2)
    }).pipe(Effect.scoped))
})
