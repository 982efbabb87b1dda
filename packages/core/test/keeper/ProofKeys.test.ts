// A key that is kept apart from its session lives as long as that, and no longer.
import { type AuthStrategy, ProofKeys, Session, SessionLock } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Redacted } from "effect"
import { as, makeHouse, type Person, type Setting } from "./programs.ts"

/** A house whose programs keep the keys of their sessions apart, under the names `k1`, `k2` and so on. */
const makeKeyHouse = Effect.fnUntraced(function*() {
  const house = yield* makeHouse()
  const kept = new Set<string>()
  let made = 0
  const keys = ProofKeys.ProofKeys.of({
    keep: () =>
      Effect.sync(() => {
        made += 1
        kept.add(`k${made}`)
        return Session.ProofKey.cases.Held.make({ keeper: "test", name: `k${made}`, thumbprint: "t" })
      }),
    open: () => Effect.die("no key is needed"),
    drop: ({ name }) => Effect.sync(() => kept.delete(name))
  })
  const start = (setting?: Setting) => Effect.provideService(house.start(setting), ProofKeys.ProofKeys, keys)
  return { ...house, start, kept: Effect.sync(() => [...kept]) }
})

/** Signs in with a session that is bound to a key. */
const boundAs = (person: Person): AuthStrategy.AuthStrategy => {
  const strategy = as(person)
  return {
    ...strategy,
    obtain: (context) =>
      Effect.map(
        strategy.obtain(context),
        (session) =>
          Session.update(session, {
            proofKey: Session.ProofKey.cases.Enclosed.make({ jwk: Redacted.make({ kty: "EC" }) })
          })
      )
  }
}

const keyOf = (session: Option.Option<Session.Session>) => {
  const key = Option.getOrUndefined(session)?.proofKey
  return key?._tag === "Held" ? key.name : undefined
}

describe("a login that nobody waits for any more", () => {
  it.effect("keeps the key of the session that it stores", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      const one = yield* house.start()
      yield* one.auth.login(boundAs("ada"))
      one.disk.writes = "hang"
      const login = yield* Effect.forkChild(one.auth.login(boundAs("bob")), { startImmediately: true })
      while ((yield* house.kept).length < 2) yield* Effect.yieldNow
      yield* Fiber.interrupt(login)
      one.disk.writes = "work"
      yield* Deferred.succeed(one.disk.repaired, undefined)
      // Waits for its turn behind the login.
      yield* one.auth.refreshUser
      yield* one.auth.refresh()
      assert.strictEqual(keyOf(yield* house.stored), "k2")
      assert.strictEqual(keyOf(yield* one.auth.session), "k2")
      assert.deepStrictEqual(yield* house.kept, ["k2"])
    }))
})

describe("a login that fails", () => {
  it.effect("forgets its key where the earlier session stands", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      let isBusy = false
      const lock = SessionLock.SessionLock.of({
        withLock: (key, purpose) => (effect) =>
          Effect.andThen(
            Effect.suspend(() =>
              isBusy
                ? Effect.fail(new SessionLock.SessionLockError({ key, purpose, detail: "it is busy" }))
                : Effect.void
            ),
            effect
          )
      })
      const one = yield* house.start({ lock })
      yield* one.auth.login(boundAs("ada"))
      isBusy = true
      yield* Effect.flip(one.auth.login(boundAs("bob")))
      assert.strictEqual(keyOf(yield* one.auth.session), "k1")
      assert.deepStrictEqual(yield* house.kept, ["k1"])
    }))

  it.effect("keeps its key where its session lives on in memory", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      const one = yield* house.start()
      yield* one.auth.login(boundAs("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(boundAs("bob")))
      assert.strictEqual(keyOf(yield* one.auth.session), "k2")
      assert.include(yield* house.kept, "k2")
    }))
})

describe("a login that is stored later", () => {
  for (const reads of ["work", "fail"] as const) {
    it.effect(`forgets the key of the session that it replaces then, where reads ${reads}`, () =>
      Effect.gen(function*() {
        const house = yield* makeKeyHouse()
        const one = yield* house.start()
        yield* one.auth.login(boundAs("ada"))
        one.disk.writes = "full"
        one.disk.reads = reads
        yield* Effect.flip(one.auth.login(boundAs("bob")))
        assert.deepStrictEqual(yield* house.kept, ["k1", "k2"])
        one.disk.writes = "work"
        one.disk.reads = "work"
        yield* one.auth.refresh()
        assert.strictEqual(keyOf(yield* house.stored), "k2")
        assert.deepStrictEqual(yield* house.kept, ["k2"])
      }))
  }

  it.effect("forgets the keys of all that came before it, of which only the first was stored", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      const one = yield* house.start()
      yield* one.auth.login(boundAs("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(boundAs("bob")))
      yield* Effect.flip(one.auth.login(boundAs("ada")))
      one.disk.writes = "work"
      yield* one.auth.refresh()
      assert.strictEqual(keyOf(yield* house.stored), "k3")
      assert.deepStrictEqual(yield* house.kept, ["k3"])
    }))

  it.effect("and gives way to that of another program takes its key along", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      const one = yield* house.start()
      const other = yield* house.start()
      yield* one.auth.login(boundAs("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(boundAs("bob")))
      yield* other.auth.login(boundAs("ada"))
      one.disk.writes = "work"
      yield* one.auth.refresh()
      assert.strictEqual(keyOf(yield* one.auth.session), "k3")
      assert.deepStrictEqual(yield* house.kept, ["k3"])
    }))

  it.effect("and is signed out before takes its key along, also where that fails", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      const one = yield* house.start()
      yield* one.auth.login(boundAs("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(boundAs("bob")))
      yield* Effect.flip(one.auth.logout)
      assert.deepStrictEqual(yield* house.kept, ["k1"])
      one.disk.writes = "work"
      yield* one.auth.logout
      assert.deepStrictEqual(yield* house.kept, [])
    }))

  it.effect("and dies with its program takes its key along, and leaves that of the stored session", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      const before = yield* house.start()
      yield* before.auth.login(boundAs("ada"))
      yield* Effect.scoped(Effect.gen(function*() {
        const one = yield* house.start()
        one.disk.writes = "full"
        yield* Effect.flip(one.auth.login(boundAs("bob")))
        assert.deepStrictEqual(yield* house.kept, ["k1", "k2"])
      }))
      assert.strictEqual(keyOf(yield* house.stored), "k1")
      assert.deepStrictEqual(yield* house.kept, ["k1"])
    }))

  it.effect("keeps its key while its program only renews it in memory", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      const one = yield* house.start()
      yield* one.auth.login(boundAs("ada"))
      one.disk.writes = "full"
      yield* Effect.flip(one.auth.login(boundAs("bob")))
      yield* Effect.exit(one.auth.refresh())
      assert.deepStrictEqual(yield* house.kept, ["k1", "k2"])
      one.disk.writes = "work"
      yield* one.auth.refresh()
      assert.strictEqual(keyOf(yield* house.stored), "k2")
      assert.deepStrictEqual(yield* house.kept, ["k2"])
    }))
})

describe("an answer that is stored later", () => {
  it.effect("keeps the key of its session, also where its program ends before", () =>
    Effect.gen(function*() {
      const house = yield* makeKeyHouse()
      yield* Effect.scoped(Effect.gen(function*() {
        const one = yield* house.start()
        yield* one.auth.login(boundAs("ada"))
        one.disk.writes = "full"
        yield* Effect.exit(one.auth.refresh())
      }))
      assert.strictEqual(keyOf(yield* house.stored), "k1")
      assert.deepStrictEqual(yield* house.kept, ["k1"])
    }))
})

describe("a logout that fails", () => {
  for (const next of ["logout", "login"] as const) {
    it.effect(`leaves a key that the next ${next} forgets`, () =>
      Effect.gen(function*() {
        const house = yield* makeKeyHouse()
        const one = yield* house.start()
        yield* one.auth.login(boundAs("ada"))
        one.disk.writes = "full"
        yield* Effect.flip(one.auth.logout)
        one.disk.writes = "work"
        yield* (next === "login" ? one.auth.login(boundAs("bob")) : Effect.asVoid(one.auth.logout))
        assert.deepStrictEqual(yield* house.kept, next === "login" ? ["k2"] : [])
      }))
  }
})
