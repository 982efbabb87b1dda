import {
  Selection,
  Session,
  SessionKey,
  SessionLock,
  StoragePolicy,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { TokenStorageSuite } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Option, Ref, Stream } from "effect"
import { TestClock } from "effect/testing"

const works = (place: StoragePolicy.Place): StoragePolicy.Candidate => ({
  place,
  offer: Effect.sync(() => Layer.fresh(TokenStorage.layerMemory))
})
const fails = (place: StoragePolicy.Place, message: string): StoragePolicy.Candidate => ({
  place,
  offer: Effect.fail({ message })
})

TokenStorageSuite.suite("a policy", StoragePolicy.layer("auto", [fails("keyring", "no"), works("encrypted-file")]))

const key = SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "web", account: "default" })
const sessionOf = (generation: number, of = key) =>
  Session.Session.make({
    key: of,
    generation,
    durable: true,
    strategy: "password",
    user: Option.none(),
    grant: { _tag: "Reissue" },
    tokens: {},
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })

const policy = Effect.flatMap(StoragePolicy.StoragePolicy, Effect.succeed)
const get = Effect.flatMap(TokenStorage.TokenStorage, (storage) => storage.get(key))

describe("StoragePolicy", () => {
  describe("a session that lies in a place already", () => {
    const having = (candidate: StoragePolicy.Candidate, ...keys: ReadonlyArray<SessionKey.SessionKey>) => ({
      ...candidate,
      has: (key: SessionKey.SessionKey) => Effect.succeed(keys.some(({ id }) => id === key.id))
    })
    const other = SessionKey.SessionKey.make({ ...key, account: "other" })
    const placeOf = (key: SessionKey.SessionKey) =>
      Effect.flatMap(policy, (policy) => Effect.map(policy.choiceFor(key), ({ place }) => place))

    it.effect("stays there, and others go to the first place that works", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        assert.strictEqual(yield* placeOf(key), "encrypted-file")
        assert.strictEqual(yield* placeOf(other), "keyring")
        yield* storage.put(key, sessionOf(1), 0)
        yield* storage.put(other, sessionOf(2, other), 0)
        assert.isTrue(Option.isSome(yield* storage.get(key)))
        assert.deepStrictEqual((yield* storage.keys).map(({ id }) => id), [other.id])
        assert.strictEqual((yield* Effect.flatMap(policy, (policy) => policy.choice)).place, "keyring")
      }).pipe(
        Effect.provide(StoragePolicy.layer("auto", [works("keyring"), having(works("encrypted-file"), key)]))
      ))

    it.effect("is heard of there, too", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const heard = yield* Effect.forkChild(Stream.runHead(storage.changes), { startImmediately: true })
        yield* storage.put(key, sessionOf(1), 0)
        // the place is opened by now, and listened to
        yield* TestClock.adjust("1 second")
        yield* storage.put(key, sessionOf(2), 1)
        assert.strictEqual(Option.getOrThrow(yield* Fiber.join(heard)).id, key.id)
      }).pipe(
        Effect.provide(StoragePolicy.layer("auto", [works("keyring"), having(works("encrypted-file"), key)]))
      ))

    it.effect("is never begun anew elsewhere, and the reason is told", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const lock = yield* SessionLock.SessionLock
        for (const attempt of [Effect.asVoid(storage.get(key)), storage.put(key, sessionOf(1), 0)]) {
          const { message } = yield* Effect.flip(attempt)
          assert.match(message, /lies where it cannot be read now, and no other place is taken.*keyring: it is locked/)
        }
        assert.include((yield* Effect.flip(Effect.void.pipe(lock.withLock(key, "login")))).message, "it is locked")
        assert.strictEqual(yield* placeOf(other), "encrypted-file")
      }).pipe(Effect.provide(StoragePolicy.layer("auto", [
        having(fails("keyring", "it is locked"), key),
        works("encrypted-file")
      ]))))

    it.effect("in two places is taken where it can be read", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* placeOf(key), "encrypted-file")
      }).pipe(Effect.provide(StoragePolicy.layer("auto", [
        having(fails("keyring", "it is locked"), key),
        having(works("encrypted-file"), key)
      ]))))

    it.effect("says nothing to a policy that names a place", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* placeOf(key), "keyring")
      }).pipe(Effect.provide(StoragePolicy.layer("keyring", [
        works("keyring"),
        having(works("encrypted-file"), key)
      ]))))
  })

  for (const isThere of [true, false]) {
    it.effect(
      `a place that is ${isThere ? "there, and does not answer," : "absent"} is passed over ${
        isThere ? "with" : "without"
      } a warning`,
      () =>
        Effect.gen(function*() {
          const warnings: Array<string> = []
          yield* Effect.flatMap(policy, (policy) => policy.choice).pipe(
            Effect.provide([
              StoragePolicy.layer("auto", [
                { place: "keyring", offer: Effect.fail({ message: "did not answer", isThere }) },
                works("encrypted-file")
              ]),
              Logger.layer([Logger.make(({ message }) => warnings.push(String(message)))])
            ])
          )
          assert.deepStrictEqual(
            warnings.map((warning) => /keyring was passed over: did not answer/.test(warning)),
            isThere ? [true] : []
          )
        })
    )
  }

  it.effect("auto takes the first place that is to be had, and tells why not those before it", () =>
    Effect.gen(function*() {
      const choice = yield* Effect.flatMap(policy, (policy) => policy.choice)
      assert.strictEqual(choice.place, "encrypted-file")
      assert.deepStrictEqual(choice.passedOver, [{ place: "keyring", reason: "locked" }])
      assert.strictEqual(
        choice.message,
        "sessions are kept in memory (encrypted-file; keyring was passed over: locked)"
      )
    }).pipe(Effect.provide(StoragePolicy.layer("auto", [
      fails("keyring", "locked"),
      works("encrypted-file"),
      works("plain-file")
    ]))))

  it.effect("auto never takes memory, and says what it tried", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(get)
      assert.strictEqual(error.reason._tag, "StorageUnavailable")
      assert.deepStrictEqual(error.reason._tag === "StorageUnavailable" && error.reason.tried, [
        { place: "keyring", reason: "locked" },
        { place: "plain-file", reason: "not allowed" }
      ])
      assert.include(error.message, "keyring: locked; plain-file: not allowed")
      const lock = yield* SessionLock.SessionLock
      const refused = yield* Effect.flip(Effect.void.pipe(lock.withLock(key, "renew")))
      assert.include(refused.message, "keyring: locked")
    }).pipe(Effect.provide(StoragePolicy.layer("auto", [
      fails("keyring", "locked"),
      fails("plain-file", "not allowed"),
      works("memory")
    ]))))

  it.effect("a place that is named is used or fails; nothing takes its place", () =>
    Effect.gen(function*() {
      const candidates = [fails("keyring", "locked"), works("encrypted-file"), works("memory")]
      const pinned = (place: StoragePolicy.Place) =>
        Effect.provide(Effect.flatMap(policy, (policy) => policy.choice), StoragePolicy.layer(place, candidates))
      assert.include((yield* Effect.flip(pinned("keyring"))).message, "keyring: locked")
      assert.include((yield* Effect.flip(pinned("plain-file"))).message, "knows none of that name")
      assert.strictEqual((yield* pinned("memory")).message, "sessions are kept in memory (memory; it was asked for)")
    }))

  it.effect("tries nothing before it is used, also for who listens, and then tells once and keeps to it", () =>
    Effect.gen(function*() {
      const tries = yield* Ref.make(0)
      const counted: StoragePolicy.Candidate = {
        place: "plain-file",
        offer: Effect.as(Ref.update(tries, (n) => n + 1), TokenStorage.layerMemory)
      }
      yield* Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const announced = yield* Effect.forkChild(
          Stream.runCollect(Stream.flatMap(Stream.fromEffect(policy), (policy) => policy.announced)),
          { startImmediately: true }
        )
        const heard = yield* Effect.forkChild(Stream.runHead(storage.changes), { startImmediately: true })
        const before = { ...storage }
        yield* Effect.yieldNow
        assert.strictEqual(yield* Ref.get(tries), 0)
        yield* Effect.all([get, get, get], { concurrency: "unbounded" })
        assert.strictEqual(yield* Ref.get(tries), 1)
        assert.deepStrictEqual((yield* Fiber.join(announced)).map(({ place }) => place), ["plain-file"])
        assert.strictEqual(storage.description, "storage by the policy \"auto\"")
        assert.deepStrictEqual({ ...storage }, before, "what was read of it before still holds")
        yield* Effect.yieldNow
        yield* storage.put(key, sessionOf(1), 0)
        assert.isTrue(Option.isSome(yield* Fiber.join(heard)))
      }).pipe(Effect.provide(StoragePolicy.layer("auto", [counted])))
    }))

  it.effect("a place that could not be had is tried again", () =>
    Effect.gen(function*() {
      const tries = yield* Ref.make(0)
      const late: StoragePolicy.Candidate = {
        place: "keyring",
        offer: Effect.flatMap(Ref.updateAndGet(tries, (n) => n + 1), (n) =>
          n === 1 ? Effect.fail({ message: "locked" }) : Effect.succeed(TokenStorage.layerMemory))
      }
      yield* Effect.gen(function*() {
        yield* Effect.flip(get)
        assert.isTrue(Option.isNone(yield* get))
      }).pipe(Effect.provide(StoragePolicy.layer("keyring", [late])))
    }))
})

describe("migrate", () => {
  const other = SessionKey.SessionKey.make({ issuer: key.issuer, clientId: key.clientId, account: "other" })
  const memory = Effect.map(Layer.build(Layer.fresh(TokenStorage.layerMemory)), Layer.succeedContext)
  type Storage = Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock>
  const inside = <A, E>(storage: Storage, effect: Effect.Effect<A, E, TokenStorage.TokenStorage>) =>
    Effect.provide(effect, storage)
  const put = (storage: Storage, generation: number, of = key) =>
    inside(storage, Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(of, sessionOf(generation, of), 0)))
  const generation = (storage: Storage, of = key) =>
    inside(storage, Effect.flatMap(TokenStorage.TokenStorage, (_) => _.get(of))).pipe(
      Effect.map(Option.match({ onNone: () => 0, onSome: (session) => session.generation }))
    )

  it.effect("moves every session, and again is nothing", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* memory, yield* memory]
      yield* put(from, 5)
      yield* put(from, 6, other)
      assert.deepStrictEqual((yield* StoragePolicy.migrate({ from, to })).map(String), [key, other].map(String))
      assert.deepStrictEqual([yield* generation(from), yield* generation(to)], [0, 5])
      assert.deepStrictEqual([yield* generation(from, other), yield* generation(to, other)], [0, 6])
      assert.deepStrictEqual(yield* StoragePolicy.migrate({ from, to }), [])
    }))

  it.effect("where both have the session, the later one stays", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* memory, yield* memory]
      yield* put(from, 5)
      yield* put(to, 7)
      yield* put(from, 9, other)
      yield* put(to, 8, other)
      yield* StoragePolicy.migrate({ from, to })
      assert.deepStrictEqual([yield* generation(from), yield* generation(to)], [0, 7])
      assert.deepStrictEqual([yield* generation(from, other), yield* generation(to, other)], [0, 9])
    }))

  const mark = (storage: Storage, generation: number, of = key) =>
    inside(
      storage,
      Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(of, Session.signedOut(of, generation), 0))
    )

  it.effect("a mark of who signed out is nobody: it stays where it is, and gives way to a session", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* memory, yield* memory]
      yield* mark(from, 9)
      yield* put(to, 7)
      yield* put(from, 5, other)
      yield* mark(to, 8, other)
      assert.deepStrictEqual((yield* StoragePolicy.migrate({ from, to })).map(String), [String(other)])
      assert.deepStrictEqual([yield* generation(from), yield* generation(to)], [9, 7])
      assert.deepStrictEqual([yield* generation(from, other), yield* generation(to, other)], [0, 9])
      const moved = yield* inside(to, Effect.flatMap(TokenStorage.TokenStorage, (_) => _.get(other)))
      assert.isFalse(Option.exists(moved, Session.isSignedOut))
    }))

  it.effect("what the new place does not keep stays in the old one", () =>
    Effect.gen(function*() {
      const from = yield* memory
      const forgetful = (yield* memory).pipe((inner) =>
        Layer.effect(
          TokenStorage.TokenStorage,
          Effect.map(TokenStorage.TokenStorage, (storage) => ({
            ...storage,
            put: () => Effect.void
          }))
        ).pipe(Layer.provideMerge(inner))
      )
      yield* put(from, 5)
      const error = yield* Effect.flip(StoragePolicy.migrate({ from, to: forgetful }))
      assert.instanceOf(error, TokenStorageError.TokenStorageError)
      assert.strictEqual(yield* generation(from), 5)
    }))

  it.effect("waits for who renews in either place", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* memory, yield* memory]
      yield* put(from, 5)
      for (const place of [from, to]) {
        const moving = yield* Effect.flatMap(SessionLock.SessionLock, (lock) =>
          Effect.forkDetach(StoragePolicy.migrate({ from, to }), { startImmediately: true }).pipe(
            Effect.tap(() =>
              Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8, 9], () => Effect.yieldNow)
            ),
            Effect.tap(() => Effect.map(generation(from), (held) => assert.strictEqual(held, 5))),
            lock.withLock(key, "renew")
          )).pipe(Effect.provide(place))
        if (place === from) yield* Fiber.interrupt(moving)
        else yield* Fiber.join(moving)
      }
      assert.deepStrictEqual([yield* generation(from), yield* generation(to)], [0, 5])
    }))
})
