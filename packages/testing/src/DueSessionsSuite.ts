/**
 * The contract that every `DueSessions` keeps, as a Vitest suite.
 *
 * @since 0.1.0
 */
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as DueSessions from "@effect-authn/core/storage/DueSessions"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import { assert, describe, layer } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { keyOf, plain } from "./internal/sampleSessions.ts"

// The generation of a sample is its time, and the generation 1 is never due.
const layerDueAt = Layer.succeed(
  DueSessions.DueAt,
  (session) => session.generation === 1 ? Option.none() : Option.some(session.generation)
)

const long = Duration.minutes(5)

const accounts = (keys: ReadonlyArray<SessionKey.SessionKey>) => keys.map(({ account }) => account)

const put = Effect.fnUntraced(function*(account: string, generation: number) {
  const storage = yield* TokenStorage.TokenStorage
  const key = keyOf(account)
  const found = yield* storage.get(key)
  yield* storage.put(key, plain(key, generation), Option.match(found, { onNone: () => 0, onSome: (_) => _.generation }))
  return key
})

const removeAll = Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  for (const key of yield* storage.keys) {
    const found = yield* storage.get(key)
    if (Option.isSome(found)) yield* storage.remove(key, found.value.generation)
  }
})

/** The program's clock, an hour before or behind that of the store. */
const shifted = (hours: number) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Clock.Clock, (clock) => {
    const millis = hours * Duration.toMillis("1 hour")
    const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + millis
    const other: Clock.Clock = Object.assign(Object.create(clock), {
      currentTimeMillisUnsafe,
      currentTimeMillis: Effect.sync(currentTimeMillisUnsafe)
    })
    return Effect.provideService(effect, Clock.Clock, other)
  })

/**
 * Registers the contract for a storage and its index of due sessions. The layer is built once, with a `DueAt` of the suite,
 * and is used by one test after the other, each of which begins by removing every session; time is real.
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = <E>(
  name: string,
  storageLayer: Layer.Layer<TokenStorage.TokenStorage | DueSessions.DueSessions, E>
): void => {
  describe(`DueSessions contract: ${name}`, { concurrent: false }, () => {
    layer(Layer.provide(storageLayer, layerDueAt), { excludeTestServices: true })((it) => {
      it.effect("claim gives the due sessions, the earliest first, up to the limit", () =>
        Effect.gen(function*() {
          const due = yield* DueSessions.DueSessions
          yield* removeAll
          const now = yield* Clock.currentTimeMillis
          yield* put("later", now + Duration.toMillis(long))
          yield* put("never", 1)
          yield* put("second", now - 2000)
          yield* put("third", now - 1000)
          yield* put("first", now - 3000)
          assert.deepStrictEqual(due.rule(plain(keyOf("any"), now)), Option.some(now))
          assert.deepStrictEqual(accounts(yield* due.claim({ limit: 2, lease: long })), ["first", "second"])
          assert.deepStrictEqual(accounts(yield* due.claim({ limit: 2, lease: long })), ["third"])
          assert.deepStrictEqual(accounts(yield* due.claim({ limit: 2, lease: long })), [])
        }))

      it.effect("what was claimed is given back after its lease", () =>
        Effect.gen(function*() {
          const due = yield* DueSessions.DueSessions
          yield* removeAll
          yield* put("back", (yield* Clock.currentTimeMillis) - 1000)
          const claim = due.claim({ limit: 1, lease: Duration.seconds(1) })
          assert.deepStrictEqual(accounts(yield* claim), ["back"])
          assert.deepStrictEqual(accounts(yield* claim), [])
          yield* Effect.sleep("1100 millis")
          assert.deepStrictEqual(accounts(yield* claim), ["back"])
        }))

      it.effect("of many claimers each gets sessions of its own, and together all", () =>
        Effect.gen(function*() {
          const due = yield* DueSessions.DueSessions
          yield* removeAll
          const before = (yield* Clock.currentTimeMillis) - 1000
          const names = Array.from({ length: 24 }, (_, index) => `of many ${index}`)
          yield* Effect.forEach(names, (account) => put(account, before), { concurrency: 8, discard: true })
          const claimed = yield* Effect.forEach(
            Array.from({ length: 8 }),
            () => due.claim({ limit: 5, lease: long }),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(claimed.flatMap(accounts).sort(), names.sort())
        }))

      it.effect("sessions of an excepted client stay due, and in their order", () =>
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const due = yield* DueSessions.DueSessions
          yield* removeAll
          const now = yield* Clock.currentTimeMillis
          const names = Array.from({ length: 20 }, (_, index) => `excepted ${index}`)
          for (const [index, account] of names.entries()) yield* put(account, now - 5000 + index)
          const other = SessionKey.SessionKey.make({
            issuer: keyOf("other").issuer,
            clientId: `${keyOf("other").clientId} too`,
            account: "other"
          })
          yield* storage.put(other, plain(other, now - 1000), 0)
          const excepted = {
            limit: 9,
            lease: long,
            except: [keyOf("any"), { issuer: "https://none", clientId: "\"%" }]
          }
          assert.deepStrictEqual(accounts(yield* due.claim(excepted)), ["other"])
          assert.deepStrictEqual(accounts(yield* due.claim(excepted)), [])
          assert.strictEqual((yield* due.backlog).due, 20)
          assert.deepStrictEqual(accounts(yield* due.claim({ limit: 20, lease: long })), names)
        }))

      it.effect("writing a session sets its time again, and removing it takes it out", () =>
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const due = yield* DueSessions.DueSessions
          const claim = due.claim({ limit: 9, lease: long })
          yield* removeAll
          const now = yield* Clock.currentTimeMillis
          const key = yield* put("again", now - 1000)
          assert.deepStrictEqual(accounts(yield* claim), ["again"])
          yield* put("again", now - 900)
          assert.deepStrictEqual(accounts(yield* claim), ["again"])
          yield* put("again", now - 800)
          yield* put("again", now + Duration.toMillis(long))
          assert.deepStrictEqual(accounts(yield* claim), [])
          yield* put("again", now - 700)
          yield* put("again", 1)
          assert.deepStrictEqual(accounts(yield* claim), [])
          yield* put("again", now - 600)
          yield* storage.remove(key, now - 600)
          assert.deepStrictEqual(accounts(yield* claim), [])
        }))

      it.effect("a put that is refused changes no time", () =>
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const due = yield* DueSessions.DueSessions
          yield* removeAll
          const now = yield* Clock.currentTimeMillis
          const later = now + Duration.toMillis(long)
          const key = yield* put("refused", later)
          yield* Effect.flip(storage.put(key, plain(key, now - 1000), later - 1))
          assert.deepStrictEqual(accounts(yield* due.claim({ limit: 9, lease: long })), [])
        }))

      it.effect("putOff makes a session due at that time, and none of one that is absent", () =>
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const due = yield* DueSessions.DueSessions
          const claim = due.claim({ limit: 9, lease: long })
          yield* removeAll
          const now = yield* Clock.currentTimeMillis
          const later = DateTime.makeUnsafe(now + Duration.toMillis(long))
          const key = yield* put("put off", now - 1000)
          yield* due.putOff(key, later)
          yield* due.putOff(keyOf("put off absent"), DateTime.makeUnsafe(now - 1000))
          assert.deepStrictEqual(accounts(yield* claim), [])
          yield* due.putOff(key, DateTime.makeUnsafe(now - 500))
          assert.deepStrictEqual(accounts(yield* claim), ["put off"])
          assert.deepStrictEqual(accounts(yield* storage.keys), ["put off"])
          const found = yield* storage.get(key)
          assert.deepStrictEqual(Option.map(found, ({ generation }) => generation), Option.some(now - 1000))
        }))

      it.effect("backlog counts what is due, and tells since when", () =>
        Effect.gen(function*() {
          const due = yield* DueSessions.DueSessions
          yield* removeAll
          assert.deepStrictEqual(yield* due.backlog, { due: 0, oldest: Option.none() })
          const now = yield* Clock.currentTimeMillis
          yield* put("one", now - 1000)
          yield* put("two", now - 2000)
          yield* put("later", now + Duration.toMillis(long))
          const { due: count, oldest } = yield* due.backlog
          assert.strictEqual(count, 2)
          assert.deepStrictEqual(Option.map(oldest, DateTime.toEpochMillis), Option.some(now - 2000))
          yield* due.claim({ limit: 1, lease: long })
          assert.strictEqual((yield* due.backlog).due, 1)
        }))

      for (const hours of [-1, 1]) {
        it.effect(`times are those of the program's clock, also where that of the store is ${-hours} h ahead of it`, () =>
          Effect.gen(function*() {
            const due = yield* DueSessions.DueSessions
            const claim = due.claim({ limit: 9, lease: Duration.seconds(1) })
            yield* removeAll
            const now = yield* Clock.currentTimeMillis
            const soon = now + Duration.toMillis(long)
            yield* put("due", now - 60_000)
            const key = yield* put("later", soon)
            const { due: count, oldest } = yield* due.backlog
            const since = Option.getOrThrow(Option.map(oldest, DateTime.toEpochMillis))
            assert.strictEqual(count, 1)
            assert.isAtMost(Math.abs(since - (now - 60_000)), 30_000)
            assert.deepStrictEqual(accounts(yield* claim), ["due"])
            assert.deepStrictEqual(accounts(yield* claim), [])
            yield* Effect.sleep("1100 millis")
            assert.deepStrictEqual(accounts(yield* claim), ["due"])
            yield* due.putOff(key, DateTime.makeUnsafe(now - 1000))
            yield* due.putOff(keyOf("due"), DateTime.makeUnsafe(soon))
            assert.deepStrictEqual(accounts(yield* claim), ["later"])
            yield* Effect.sleep("1100 millis")
            yield* put("later", soon + 1)
            assert.deepStrictEqual(accounts(yield* claim), [])
          }).pipe(shifted(hours)))
      }
    })
  })
}
