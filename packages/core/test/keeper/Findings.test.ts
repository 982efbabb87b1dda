// How sessions were once lost or mixed up, each as it was seen. `mutants.ts` puts each fault back.
import { IamError, Selection, Session, SessionKey, SessionLock, TokenSet } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Duration, Effect, Exit, Fiber, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as v8 from "node:v8"
import * as vm from "node:vm"
import { makeEventLoop } from "../eventLoop.ts"
import { as, type House, identityLock, makeHouse, nameOf, type Program, refreshTokenOf } from "./programs.ts"

const raw = (tokens: TokenSet.TokenSet) => Redacted.value(tokens.accessToken)
const tokenOf = ({ auth }: Program) => Effect.map(auth.token, raw)
const userOf = (session: Option.Option<Session.Session>) => nameOf(Option.flatMap(session, ({ user }) => user))
const grantOf = (session: Option.Option<Session.Session>) => Option.getOrUndefined(Option.map(session, refreshTokenOf))
const soon = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkChild(effect, { startImmediately: true })
const lost = new IamError.Unavailable({ sent: "maybe", detail: "the connection was reset" })

/** Renews while the disk takes the intent and not the answer, so that the answer is in memory only. */
const renewUnsaved = Effect.fnUntraced(function*(house: House, one: Program) {
  yield* house.iam.set({ latency: Duration.seconds(1) })
  const renewal = yield* soon(one.auth.refresh())
  yield* TestClock.adjust("500 millis")
  one.disk.writes = "full"
  yield* TestClock.adjust("500 millis")
  yield* house.iam.set({ latency: Duration.zero })
  return yield* Fiber.join(renewal)
})

const isPresentedOnce = (presented: ReadonlyArray<string>) =>
  assert.strictEqual(new Set(presented).size, presented.length)

describe("a sibling notes who is signed in beside an answer that could not be stored", () => {
  it.effect("and the answer is not given up for the document that it supersedes", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      const two = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* tokenOf(two)
      yield* TestClock.adjust("10 minutes")
      const renewed = yield* renewUnsaved(house, one)
      yield* TestClock.adjust("100 millis")
      yield* two.auth.refreshUser
      yield* TestClock.adjust("1 second")
      assert.strictEqual(grantOf(yield* one.auth.session), refreshTokenOf(renewed))
      one.disk.writes = "work"
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(grantOf(yield* house.stored), refreshTokenOf(renewed))
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(yield* tokenOf(two), yield* tokenOf(one))
      isPresentedOnce(house.ledger.presented)
    }))
})

describe("somebody signs in while the IAM says who the one before was", () => {
  for (const where of ["in the same program", "in another one"]) {
    it.effect(`${where}: no identity is written into the session of another`, () =>
      Effect.gen(function*() {
        const house = yield* makeHouse()
        const one = yield* house.start()
        const two = where === "in another one" ? yield* house.start() : one
        yield* one.auth.login(as("ada"))
        yield* tokenOf(two)
        yield* house.iam.set({ latency: Duration.seconds(6) })
        const asking = yield* soon(one.auth.refreshUser)
        yield* house.iam.set({ latency: Duration.zero })
        yield* two.auth.login(as("bob"))
        yield* TestClock.adjust("6 seconds")
        assert.strictEqual(nameOf(Option.some(yield* Fiber.join(asking))), "ada")
        assert.strictEqual(userOf(yield* house.stored), "bob")
        for (const program of [one, two]) {
          assert.strictEqual(userOf(yield* program.auth.session), "bob")
          assert.strictEqual(house.ledger.ownerOf((yield* program.auth.token).accessToken), "bob")
        }
      }))
  }
})

describe("somebody signs in, for this program only, during a renewal", () => {
  it.effect("and gets tokens of their own; the renewed session is kept where it is stored", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      const two = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* house.iam.set({ latency: Duration.seconds(2) })
      const renewal = yield* soon(Effect.exit(one.auth.refresh()))
      yield* TestClock.adjust("100 millis")
      yield* house.iam.set({ latency: Duration.zero })
      const bob = yield* soon(Effect.gen(function*() {
        yield* one.auth.login(as("bob"), { store: false })
        const bearer = yield* one.auth.bearerToken
        return [
          bearer.tokens,
          (yield* one.auth.rejected(bearer)).tokens,
          yield* Effect.flatMap(
            one.auth.refresh(),
            (session) => Effect.fromOption(Session.currentToken(session))
          )
        ]
      }))
      yield* TestClock.adjust("2 seconds")
      for (const tokens of yield* Fiber.join(bob)) {
        assert.strictEqual(house.ledger.ownerOf(tokens.accessToken), "bob")
      }
      yield* Fiber.await(renewal)
      assert.strictEqual(userOf(yield* house.stored), "ada")
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(house.ledger.ownerOf((yield* two.auth.token).accessToken), "ada")
      isPresentedOnce(house.ledger.presented)
    }))
})

describe("four programs renew an expired session under a lock that excludes nobody", () => {
  it.effect("and none of them is handed an expired token", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const programs = yield* Effect.all(Array.from({ length: 4 }, () =>
        house.start({
          lock: identityLock,
          // The refusal of the spent token comes home before the answer that it was spent on.
          iam: ({ renew }) => ({
            renew: (session, selection) => Effect.tap(renew(session, selection), () => Effect.sleep("5 seconds"))
          })
        })))
      yield* programs[0]!.auth.login(as("ada"))
      yield* Effect.forEach(programs, tokenOf)
      yield* TestClock.adjust("2 hours")
      yield* house.iam.set({ latency: Duration.seconds(1) })
      const handed = yield* soon(
        Effect.forEach(programs, ({ auth }) => Effect.exit(Effect.all([auth.token, DateTime.now])), {
          concurrency: "unbounded"
        })
      )
      yield* TestClock.adjust("10 minutes")
      const exits = yield* Fiber.join(handed)
      const tokens = exits.flatMap((exit) => Exit.isSuccess(exit) ? [exit.value] : [])
      assert.isTrue(tokens.every(([tokens, at]) => TokenSet.isValid(tokens, at)))
    }))
})

describe("a program that was stopped while an answer came", () => {
  it.effect("looks at the answer before it says that none came in time", () =>
    Effect.gen(function*() {
      const loop = makeEventLoop()
      const arrived = yield* Deferred.make<void>()
      const house = yield* makeHouse()
      const one = yield* house.start({
        clock: loop.clock,
        iam: ({ renew }) => ({
          renew: (session, selection) => Effect.andThen(Deferred.await(arrived), renew(session, selection))
        })
      })
      const signedIn = yield* one.auth.login(as("ada"))
      const renewal = yield* soon(one.auth.refresh())
      yield* loop.turn
      loop.stopFor(Duration.seconds(40))
      // Timers come before what arrived from the network.
      yield* loop.turn
      yield* Deferred.succeed(arrived, undefined)
      yield* loop.turn
      loop.stopFor(Duration.seconds(1))
      yield* loop.turn
      assert.notStrictEqual(refreshTokenOf(yield* Fiber.join(renewal)), refreshTokenOf(signedIn))
    }))

  it.effect("looks at the answer to its logout before it says that the IAM was not told", () =>
    Effect.gen(function*() {
      const loop = makeEventLoop()
      const arrived = yield* Deferred.make<void>()
      const house = yield* makeHouse()
      const one = yield* house.start({
        clock: loop.clock,
        iam: ({ revoke }) => ({ revoke: (session) => Effect.andThen(Deferred.await(arrived), revoke(session)) })
      })
      yield* one.auth.login(as("ada"))
      const logout = yield* soon(one.auth.logout)
      yield* loop.turn
      loop.stopFor(Duration.seconds(40))
      yield* loop.turn
      yield* Deferred.succeed(arrived, undefined)
      yield* loop.turn
      loop.stopFor(Duration.seconds(1))
      yield* loop.turn
      assert.strictEqual((yield* Fiber.join(logout))._tag, "Revoked")
    }))
})

describe("an API refuses a token and the disk is full", () => {
  it.effect("nothing is sent without a stored intent, and the error says what to free", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      const bearer = yield* one.auth.bearerToken
      one.disk.writes = "full"
      const error = yield* Effect.flip(one.auth.rejected(bearer))
      assert.include(error.message, "no space left on device")
      assert.deepStrictEqual(house.ledger.presented, [])
      one.disk.writes = "work"
      yield* TestClock.adjust("10 seconds")
      assert.notStrictEqual(raw((yield* one.auth.rejected(bearer)).tokens), raw(bearer.tokens))
    }))
})

describe("the IAM renews with tokens that are due when they come", () => {
  for (const programs of [1, 2]) {
    it.effect(`and is not asked in a loop by ${programs} of those who share the session`, () =>
      Effect.gen(function*() {
        const house = yield* makeHouse()
        const started = yield* Effect.all(Array.from({ length: programs }, () => house.start({ scheduled: true })))
        yield* started[0]!.auth.login(as("ada"))
        yield* Effect.forEach(started, tokenOf)
        yield* TestClock.adjust("54 minutes")
        yield* house.iam.set({ lifetime: Duration.zero, latency: Duration.millis(50) })
        yield* TestClock.adjust("90 seconds")
        const asked = yield* house.iam.count("renew")
        // So that nothing is under way when the programs end.
        yield* house.iam.set({ lifetime: Duration.hours(1), latency: Duration.zero })
        yield* TestClock.adjust("1 minute")
        assert.isAtLeast(asked, 2)
        assert.isAtMost(asked, 12 * programs)
      }))
  }
})

describe("an IAM that wishes to be left alone for ten years", () => {
  it.effect("is asked again after an hour", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      yield* house.iam.failNext("renew", {
        reason: new IamError.Unavailable({ sent: "no", detail: "503", retryAfter: Duration.days(3650) })
      })
      yield* Effect.flip(one.auth.refresh())
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* house.iam.count("renew"), 1)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* house.iam.count("renew"), 2)
      yield* one.auth.token
    }))
})

describe("the answer for one selection was lost while the token of another lives on", () => {
  it.effect("and the selection in use is asked for again when its own token has ended", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      const before = yield* tokenOf(one)
      yield* house.iam.set({ lifetime: Duration.hours(24) })
      yield* one.auth.tokenFor({ project: "apollo" })
      yield* TestClock.adjust("61 minutes")
      yield* house.iam.failNext("renew", { reason: lost })
      const asking = yield* soon(tokenOf(one))
      yield* TestClock.adjust("1 minute")
      assert.notStrictEqual(yield* Fiber.join(asking), before)
    }))
})

describe("the clock is set back, and one signs out and another in, unheard by a sibling", () => {
  it.effect("and the sibling does not write the earlier session over the new one", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const one = yield* house.start()
      const two = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* tokenOf(two)
      two.disk.hints = false
      yield* TestClock.setTime(Duration.toMillis("1 hour"))
      yield* (yield* house.start()).auth.logout
      yield* (yield* house.start()).auth.login(as("bob"))
      yield* Effect.exit(two.auth.refresh())
      yield* Effect.exit(two.auth.refreshUser)
      const stored = yield* house.stored
      assert.strictEqual(userOf(stored), "bob")
      assert.isTrue(Option.exists(stored, ({ dead }) => Option.isNone(dead)))
      assert.strictEqual(house.ledger.ownerOf((yield* two.auth.token).accessToken), "bob")
    }))
})

describe("somebody signs out where the storage cannot be changed", () => {
  const refusing = (key: SessionKey.SessionKey) =>
    Effect.fail(new SessionLock.SessionLockError({ key, purpose: "renew", detail: "read-only file system" }))
  const locks: Record<string, typeof refusing> = {
    "its lock cannot be taken": refusing,
    "its lock is held by another program": () => Effect.never
  }
  for (const [why, instead] of Object.entries(locks)) {
    it.effect(`since ${why}: the IAM is told all the same`, () =>
      Effect.gen(function*() {
        const house = yield* makeHouse()
        let isFree = true
        const one = yield* house.start({
          lock: SessionLock.SessionLock.of({
            withLock: (key) => (effect) =>
              Effect.andThen(Effect.suspend(() => isFree ? Effect.void : instead(key)), effect)
          })
        })
        const session = yield* one.auth.login(as("ada"))
        isFree = false
        const leaving = yield* soon(Effect.flip(one.auth.logout))
        yield* TestClock.adjust("31 seconds")
        assert.strictEqual((yield* Fiber.join(leaving))._tag, "SessionLockError")
        assert.deepStrictEqual(house.ledger.revoked, [refreshTokenOf(session)!])
        assert.strictEqual((yield* Effect.flip(one.auth.token))._tag, "NotAuthenticated")
      }))
  }
})

describe("a storage that was away for a moment", () => {
  it.effect("gets the answer that it could not take within seconds", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      const renewed = yield* renewUnsaved(house, one)
      yield* TestClock.adjust("3 seconds")
      assert.notStrictEqual(grantOf(yield* house.stored), refreshTokenOf(renewed))
      one.disk.writes = "work"
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(grantOf(yield* house.stored), refreshTokenOf(renewed))
    }))

  it.effect("and could not even be read gets the answer within seconds", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      const renewed = yield* renewUnsaved(house, one)
      one.disk.reads = "fail"
      yield* TestClock.adjust("14 seconds")
      one.disk.reads = "work"
      one.disk.writes = "work"
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(grantOf(yield* house.stored), refreshTokenOf(renewed))
    }))
})

describe("many sessions", () => {
  const signIn = Effect.fnUntraced(function*(
    house: House,
    { keeper }: Program,
    account: string
  ) {
    const { clientId, issuer } = house.client
    const issued = yield* house.client.login(
      { _tag: "Password", handle: "ada", password: ScriptedIam.password },
      Selection.none
    )
    const kept = keeper.open(SessionKey.SessionKey.make({ issuer, clientId, account }))
    yield* kept.replace(Session.fromResponse(kept.key, issued, { strategy: "password", selection: Selection.none }))
    return kept
  })

  it.effect("that are due together are renewed 64 at once", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse({ policy: { spread: 0 } })
      const atOnce = { now: 0, most: 0 }
      const one = yield* house.start({
        scheduled: true,
        iam: ({ renew }) => ({
          renew: (session, selection) =>
            Effect.acquireUseRelease(
              Effect.sync(() => {
                atOnce.now += 1
                atOnce.most = Math.max(atOnce.most, atOnce.now)
              }),
              () => renew(session, selection),
              () =>
                Effect.sync(() => {
                  atOnce.now -= 1
                })
            )
        })
      })
      yield* Effect.forEach(Array.from({ length: 200 }), (_, i) => signIn(house, one, `${i}`), { discard: true })
      yield* house.iam.set({ latency: Duration.seconds(1) })
      yield* TestClock.adjust("56 minutes")
      assert.strictEqual(atOnce.most, 64)
      assert.strictEqual(yield* house.iam.count("renew"), 200)
    }))

  it.effect("that are forgotten are not renewed, and are found again", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      const kept = yield* signIn(house, one, "work")
      assert.isTrue(yield* kept.forget)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* house.iam.count("renew"), 0)
      yield* kept.token
      yield* TestClock.adjust("1 second")
      assert.strictEqual(raw(yield* kept.token), raw(yield* one.keeper.open(kept.key).token))
      assert.strictEqual(yield* house.iam.count("renew"), 1)
    }))

  for (const end of ["forget", "logout"] as const) {
    it.effect(`leave nothing in memory after a ${end}`, () =>
      Effect.gen(function*() {
        const house = yield* makeHouse()
        const one = yield* house.start({ scheduled: true })
        const left = yield* Effect.forEach(Array.from({ length: 100 }), (_, i) =>
          Effect.gen(function*() {
            const kept = yield* signIn(house, one, `${i}`)
            const key = new WeakRef(kept.key)
            if (end === "logout") yield* kept.remove({ revoke: false })
            else {
              assert.isTrue(yield* kept.forget)
              const { generation } = Option.getOrThrow(yield* house.storage.get(kept.key))
              yield* house.storage.remove(kept.key, generation)
            }
            return key
          }))
        yield* TestClock.adjust("1 second")
        yield* collectGarbage
        assert.isAtMost(left.filter((key) => key.deref() !== undefined).length, 5)
      }))
  }
})

describe("the IAM spends the refresh token and then refuses the resource", () => {
  it.effect("and the spent token is not presented while a valid token is left", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* house.iam.failNext("renew", {
        reason: new IamError.SelectionRefused({ detail: "invalid_target", spent: "maybe" }),
        answerLost: true
      })
      yield* Effect.flip(one.auth.tokenFor({ project: "apollo" }))
      yield* tokenOf(one)
      assert.include((yield* Effect.flip(one.auth.refresh())).message, "a valid token is left")
      isPresentedOnce(house.ledger.presented)
      yield* TestClock.adjust("61 minutes")
      const error = yield* Effect.flip(one.auth.token)
      assert.strictEqual(error._tag, "ReauthenticationRequired")
      assert.isTrue(error._tag === "ReauthenticationRequired" && error.answerLost)
    }))

  it.effect("but a refusal that spends nothing blocks nothing", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* house.iam.failNext("renew", { reason: new IamError.SelectionRefused({ detail: "no such project" }) })
      yield* Effect.flip(one.auth.tokenFor({ project: "apollo" }))
      yield* one.auth.refresh()
      assert.strictEqual(yield* house.iam.count("renew"), 2)
    }))
})

describe("a read of the storage that began before a logout", () => {
  it.effect("does not bring the session back when it ends after it", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      yield* (yield* house.start()).auth.login(as("ada"))
      const one = yield* house.start()
      one.disk.hints = false
      one.disk.readsTake = Duration.seconds(2)
      const asking = yield* soon(Effect.exit(one.auth.token))
      one.disk.readsTake = Duration.zero
      yield* one.auth.logout
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(asking)))
      assert.isTrue(Option.isNone(yield* one.auth.session))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(one.auth.token)))
    }))
})

describe("a slow read that ends after an older one was taken up", () => {
  it.effect("is not given up: a sibling's logout is seen, where no lock excludes it", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ lock: identityLock })
      const two = yield* house.start({ lock: identityLock })
      yield* one.auth.login(as("ada"))
      const document = yield* one.auth.export
      yield* two.auth.import(document)
      yield* tokenOf(one)
      two.disk.hints = false
      yield* one.auth.refresh()
      yield* TestClock.adjust("1 second")
      two.disk.hints = true
      two.disk.readsTake = Duration.seconds(2)
      const importing = yield* soon(two.auth.import(document))
      yield* TestClock.adjust("1 second")
      yield* one.auth.logout
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(importing)
      two.disk.readsTake = Duration.zero
      assert.isTrue(Option.isNone(yield* house.stored))
      assert.isTrue(Option.isNone(yield* two.auth.session))
    }))
})

describe("somebody signs in while a logout that had no lock tells the IAM", () => {
  it.effect("and stays signed in", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* soon(house.lock.withLock(one.auth.key, "renew")(Effect.sleep("35 seconds")))
      const leaving = yield* soon(Effect.flip(one.auth.logout))
      yield* house.iam.set({ latency: Duration.seconds(20) })
      yield* TestClock.adjust("31 seconds")
      yield* house.iam.set({ latency: Duration.zero })
      const signingIn = yield* soon(one.auth.login(as("bob")))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(leaving))._tag, "SessionLockError")
      yield* Fiber.join(signingIn)
      assert.strictEqual(userOf(yield* one.auth.session), "bob")
      assert.strictEqual(house.ledger.ownerOf((yield* one.auth.token).accessToken), "bob")
    }))
})

describe("an API refuses the token of somebody who is no longer signed in", () => {
  it.effect("and the request is not repeated as somebody else", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      const bearer = yield* one.auth.bearerToken
      yield* one.auth.login(as("bob"))
      const error = yield* Effect.flip(one.auth.rejected(bearer))
      assert.strictEqual(error._tag, "NotAuthenticated")
      assert.include(error.message, "of an earlier login")
    }))
})

describe("a login that could not be stored", () => {
  it.effect("does not give way when a sibling renews what it replaced", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      const two = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* tokenOf(two)
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(as("bob")))
      yield* two.auth.refresh()
      yield* two.auth.refresh()
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(house.ledger.ownerOf((yield* one.auth.token).accessToken), "bob")
      assert.deepStrictEqual(house.ledger.revoked, [])
      one.disk.writes = "work"
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(userOf(yield* house.stored), "bob")
      assert.strictEqual(house.ledger.ownerOf((yield* two.auth.token).accessToken), "bob")
    }))

  it.effect("does not give way when its own grant is refused for good", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(as("bob")))
      yield* house.iam.failNext("renew", { reason: new IamError.GrantDead({ detail: "invalid_grant" }) })
      assert.strictEqual((yield* Effect.flip(one.auth.refresh()))._tag, "ReauthenticationRequired")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(house.ledger.ownerOf((yield* one.auth.token).accessToken), "bob")
      one.disk.writes = "work"
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(userOf(yield* house.stored), "bob")
    }))
})

describe("a program that imports the same document at each start", () => {
  it.effect("goes on with what was renewed since", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const source = yield* house.start()
      yield* source.auth.login(as("ada"))
      const document = yield* source.auth.export
      yield* source.auth.clearStoredToken
      const renewed = yield* Effect.scoped(Effect.gen(function*() {
        const one = yield* house.start()
        yield* one.auth.import(document)
        return yield* one.auth.refresh()
      }))
      const two = yield* house.start()
      yield* two.auth.import(document)
      assert.strictEqual(grantOf(yield* house.stored), refreshTokenOf(renewed))
      yield* TestClock.adjust("2 hours")
      yield* two.auth.token
      isPresentedOnce(house.ledger.presented)
    }))
})

describe("the last that the IAM is told to revoke is the newest that it issued", () => {
  it.effect("when somebody signs in over an answer that could not be stored", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      const renewed = yield* renewUnsaved(house, one)
      one.disk.writes = "work"
      yield* one.auth.login(as("bob"), { revokePrevious: true })
      assert.strictEqual(house.ledger.revoked.at(-1), refreshTokenOf(renewed))
    }))

  it.effect("when a sibling signs out beside an answer that could not be stored", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      const two = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* tokenOf(two)
      const renewed = yield* renewUnsaved(house, one)
      yield* two.auth.logout
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(house.ledger.revoked.at(-1), refreshTokenOf(renewed))
      assert.isTrue(Option.isNone(yield* one.auth.session))
    }))
})

describe("a storage that never answers", () => {
  it.effect("holds neither callers nor a logout", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      yield* TestClock.adjust("2 hours")
      yield* Effect.gen(function*() {
        one.disk.writes = "hang"
        const asking = yield* soon(Effect.exit(one.auth.token))
        yield* TestClock.adjust("2 minutes")
        assert.isTrue(Exit.isFailure(yield* ended(asking)))
        const leaving = yield* soon(Effect.exit(one.auth.logout))
        yield* TestClock.adjust("2 minutes")
        assert.isTrue(Exit.isFailure(yield* ended(leaving)))
        assert.strictEqual(house.ledger.revoked.length, 1)
      }).pipe(Effect.ensuring(Deferred.succeed(one.disk.repaired, undefined)))
    }))
})

describe("a logout whose document cannot be removed", () => {
  it.effect("has told the IAM, and the revoked token is handed out no more", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      one.disk.writes = "full"
      assert.include((yield* Effect.flip(one.auth.logout)).message, "no space left on device")
      assert.strictEqual(house.ledger.revoked.length, 1)
      assert.strictEqual((yield* Effect.flip(one.auth.token))._tag, "NotAuthenticated")
      yield* TestClock.adjust("2 hours")
      assert.strictEqual((yield* Effect.flip(one.auth.token))._tag, "NotAuthenticated")
      assert.deepStrictEqual(house.ledger.presented, [])
    }))

  it.effect("nor is the session handed out that a login was to replace which could not be stored", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start()
      yield* one.auth.login(as("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(as("bob")))
      yield* Effect.flip(one.auth.logout)
      assert.strictEqual(house.ledger.revoked.length, 2)
      assert.strictEqual((yield* Effect.flip(one.auth.token))._tag, "NotAuthenticated")
    }))
})

describe("a login while the storage is away", () => {
  const away = (one: Program) => Object.assign(one.disk, { reads: "fail", writes: "full" })
  const back = (one: Program) => Object.assign(one.disk, { reads: "work", writes: "work" })
  const signedOut = Effect.fnUntraced(function*(house: House, one: Program) {
    back(one)
    assert.strictEqual(userOf(yield* one.auth.session), undefined)
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual((yield* Effect.flip(one.auth.token))._tag, "NotAuthenticated")
    yield* one.auth.logout
    assert.isTrue(Option.isNone(yield* house.stored))
  })
  const signedInAs = Effect.fnUntraced(function*(house: House, one: Program, person: string) {
    back(one)
    assert.strictEqual(userOf(yield* one.auth.session), person)
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(userOf(yield* one.auth.session), person)
    assert.strictEqual(userOf(yield* house.stored), person)
  })
  for (const before of ["is signed in", "could not sign out"]) {
    const started = Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      away(one)
      if (before === "could not sign out") yield* Effect.flip(one.auth.logout)
      yield* Effect.flip(one.auth.login(as("bob")))
      return { house, one }
    })

    it.effect(`where somebody ${before} is stored when that is back`, () =>
      Effect.gen(function*() {
        const { house, one } = yield* started
        yield* signedInAs(house, one, "bob")
      }))

    it.effect(`where somebody ${before} and then a logout ends with nobody`, () =>
      Effect.gen(function*() {
        const { house, one } = yield* started
        yield* Effect.flip(one.auth.logout)
        yield* signedOut(house, one)
      }))

    it.effect(`where somebody ${before} and one more is that of the last`, () =>
      Effect.gen(function*() {
        const { house, one } = yield* started
        yield* Effect.flip(one.auth.login(as("ada")))
        const { accessToken } = yield* one.auth.token
        yield* signedInAs(house, one, "ada")
        assert.deepStrictEqual((yield* one.auth.token).accessToken, accessToken)
      }))
  }

  it.effect("for this program only leaves behind what was left behind before", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      away(one)
      yield* Effect.flip(one.auth.logout)
      yield* one.auth.login(as("ada"), { store: false })
      yield* one.auth.logout
      yield* Effect.flip(one.auth.login(as("bob")))
      yield* signedInAs(house, one, "bob")
    }))

  it.effect("whose logout was answered late stands where nothing is stored any more", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ scheduled: true })
      yield* one.auth.login(as("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.logout)
      const stored = Option.getOrThrow(yield* house.stored)
      yield* house.storage.remove(stored.key, stored.generation)
      yield* Effect.flip(one.auth.login(as("bob")))
      yield* signedInAs(house, one, "bob")
    }))
})

describe("a sibling amends the document between the intent and the answer", () => {
  it.effect("and the answer is written over it, with what the sibling noted", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ lock: identityLock })
      const two = yield* house.start({ lock: identityLock })
      yield* one.auth.login(as("ada"))
      one.disk.hints = false
      yield* tokenOf(two)
      yield* house.iam.set({ latency: Duration.seconds(1) })
      const renewal = yield* soon(one.auth.refresh())
      yield* house.iam.set({ latency: Duration.zero })
      yield* two.auth.refreshUser
      yield* TestClock.adjust("1 second")
      const renewed = yield* Fiber.join(renewal)
      assert.strictEqual(grantOf(yield* house.stored), refreshTokenOf(renewed))
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(yield* tokenOf(one), yield* tokenOf(two))
      isPresentedOnce(house.ledger.presented)
    }))
})

describe("a sibling amends the document between the intent and a refusal", () => {
  it.effect("and the intent of what was not spent goes all the same, with what the sibling noted", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const one = yield* house.start({ lock: identityLock })
      const two = yield* house.start({ lock: identityLock })
      yield* one.auth.login(as("ada"))
      one.disk.hints = false
      yield* tokenOf(two)
      yield* house.iam.set({ latency: Duration.seconds(1) })
      yield* house.iam.failNext("renew", { reason: new IamError.Unavailable({ sent: "no", detail: "busy" }) })
      const renewal = yield* soon(Effect.flip(one.auth.refresh()))
      yield* house.iam.set({ latency: Duration.zero })
      const before = Option.getOrThrow(yield* house.stored)
      assert.isTrue(Option.isSome(before.intent))
      yield* two.auth.refreshUser
      assert.isAbove(Option.getOrThrow(yield* house.stored).generation, before.generation)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(renewal)
      assert.isTrue(Option.isNone(Option.getOrThrow(yield* house.stored).intent))
      assert.strictEqual(userOf(yield* house.stored), "ada")
    }))
})

describe("one signs out and another in within a millisecond", () => {
  it.effect("and a write that was meant for the first is refused", () =>
    Effect.gen(function*() {
      const house = yield* makeHouse()
      const two = yield* house.start({ lock: identityLock })
      yield* (yield* house.start({ seed: 2 })).auth.login(as("ada"))
      yield* tokenOf(two)
      const other = yield* house.start({ seed: 3 })
      two.disk.beforeNextWrite = Effect.andThen(
        (yield* house.start()).auth.logout,
        other.auth.login(as("bob"))
      )
      yield* two.auth.refreshUser
      assert.strictEqual(userOf(yield* house.stored), "bob")
    }))
})

/** What has ended, for one who does not wait. */
const ended = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.flatMap(Effect.sync(() => fiber.pollUnsafe()), Effect.fromNullishOr).pipe(
    Effect.flatMap((exit) => exit)
  )

/** A garbage collection, whose finds show in the next turn of the event loop. */
const collectGarbage = Effect.promise(async () => {
  v8.setFlagsFromString("--expose-gc")
  const collect = vm.runInNewContext("gc")
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve))
    collect()
  }
})
