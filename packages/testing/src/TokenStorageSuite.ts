/**
 * The contract that every `TokenStorage` and its `SessionLock` keep, as a Vitest suite.
 *
 * @since 0.1.0
 */
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import { assert, layer } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Formatter from "effect/Formatter"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { canary, confusions, full, keyOf, lookAlikes, Parts, plain } from "./internal/sampleSessions.ts"

const equal = (actual: Option.Option<Session.Session>, expected: Session.Session): void => {
  assert.strictEqual(
    Option.match(actual, { onNone: () => "absent", onSome: TokenStorage.encode }),
    TokenStorage.encode(expected)
  )
}

const conflict = (error: TokenStorageError): { readonly expected: number; readonly found: number } | undefined =>
  error.reason._tag === "StorageConflict"
    ? { expected: error.reason.expected, found: error.reason.found }
    : undefined

// Writes over whatever an earlier run of a property left under the key.
const overwrite = Effect.fnUntraced(function*(session: Session.Session) {
  const storage = yield* TokenStorage.TokenStorage
  const found = yield* storage.get(session.key)
  const expected = Option.match(found, { onNone: () => 0, onSome: (_) => _.generation })
  const next = Session.update(session, { generation: Math.max(session.generation, expected + 1) })
  yield* storage.put(session.key, next, expected)
  return next
})

/**
 * Registers the contract for a storage and the lock that goes with it. The layer is built once and shared by all tests,
 * which run at the same time under different keys; time is real.
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = <E>(
  name: string,
  storageLayer: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock, E>
): void => {
  layer(storageLayer, { excludeTestServices: true })(`TokenStorage contract: ${name}`, (it) => {
    it.effect("get of an absent session is None", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        assert.isTrue(Option.isNone(yield* storage.get(keyOf("absent"))))
      }))

    it.effect("put then get is the identity, with every field set", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const session = full(keyOf("full"), 1_700_000_000_001)
        yield* storage.put(session.key, session, 0)
        equal(yield* storage.get(session.key), session)
      }))

    it.effect.prop(
      "put then get is the identity, for any session",
      { session: Session.Session },
      ({ session }) =>
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const { key, ...fields } = session
          const written = yield* overwrite(Session.Session.make({ ...fields, key: keyOf("any", key.issuer) }))
          equal(yield* storage.get(written.key), written)
        }),
      { arbitrary: { runs: 20 } }
    )

    it.effect("put replaces the session when the expected generation is the stored one", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("replace")
        yield* storage.put(key, plain(key, 5, "first"), 0)
        yield* storage.put(key, plain(key, 9, "second"), 5)
        equal(yield* storage.get(key), plain(key, 9, "second"))
      }))

    it.effect("put with another expected generation is a conflict that tells what was found, and writes nothing", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("put conflict")
        const onAbsent = yield* Effect.flip(storage.put(key, plain(key, 8), 7))
        assert.deepStrictEqual(conflict(onAbsent), { expected: 7, found: 0 })
        assert.strictEqual(onAbsent.written, "no")
        assert.isTrue(Option.isNone(yield* storage.get(key)))
        yield* storage.put(key, plain(key, 5, "kept"), 0)
        for (const expected of [0, 4, 6]) {
          const error = yield* Effect.flip(storage.put(key, plain(key, 10, "lost"), expected))
          assert.deepStrictEqual(conflict(error), { expected, found: 5 })
        }
        equal(yield* storage.get(key), plain(key, 5, "kept"))
      }))

    it.effect("remove takes the session away when the expected generation is the stored one", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("remove")
        yield* storage.put(key, plain(key, 5), 0)
        yield* storage.remove(key, 5)
        assert.isTrue(Option.isNone(yield* storage.get(key)))
      }))

    it.effect("remove with another expected generation is a conflict, and removes nothing", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("remove conflict")
        yield* storage.put(key, plain(key, 5), 0)
        for (const expected of [0, 4, 6]) {
          const error = yield* Effect.flip(storage.remove(key, expected))
          assert.deepStrictEqual(conflict(error), { expected, found: 5 })
        }
        equal(yield* storage.get(key), plain(key, 5))
      }))

    it.effect("remove of an absent session succeeds, whatever was expected", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        yield* storage.remove(keyOf("remove absent"), 0)
        yield* storage.remove(keyOf("remove absent"), 7)
      }))

    it.effect("a removed session is absent to the next writer", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("again")
        yield* storage.put(key, plain(key, 5), 0)
        yield* storage.remove(key, 5)
        const late = yield* Effect.flip(storage.put(key, plain(key, 6, "late"), 5))
        assert.deepStrictEqual(conflict(late), { expected: 5, found: 0 })
        yield* storage.put(key, plain(key, 7, "new"), 0)
        equal(yield* storage.get(key), plain(key, 7, "new"))
      }))

    it.effect("a mark of who signed out is a document: it is read back, and the next login replaces it", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        for (const [key, before] of [[keyOf("mark over absence"), 0], [keyOf("mark over a session"), 5]] as const) {
          if (before !== 0) yield* storage.put(key, plain(key, before), 0)
          const mark = Session.signedOut(key, 9)
          yield* storage.put(key, mark, before)
          const found = yield* storage.get(key)
          equal(found, mark)
          assert.isTrue(Option.exists(found, Session.isSignedOut))
          for (const expected of [0, 5]) {
            const late = yield* Effect.flip(storage.put(key, plain(key, 8, "late"), expected))
            assert.deepStrictEqual(conflict(late), { expected, found: 9 })
          }
          yield* storage.put(key, plain(key, 10, "next-login"), 9)
          equal(yield* storage.get(key), plain(key, 10, "next-login"))
        }
      }))

    it.effect("a mark is removed as a session is", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("mark removed")
        yield* storage.put(key, Session.signedOut(key, 9), 0)
        yield* storage.remove(key, 9)
        assert.isTrue(Option.isNone(yield* storage.get(key)))
      }))

    it.effect("keys lists each stored document once, a mark too, and no removed one; so does scan", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const [one, two, gone, mark] = [
          keyOf("keys one"),
          keyOf("keys \u00fc/two"),
          keyOf("keys gone"),
          keyOf("keys mark")
        ]
        for (const key of [one, two, gone]) yield* storage.put(key, plain(key, 1), 0)
        yield* storage.put(mark, Session.signedOut(mark, 1), 0)
        yield* storage.remove(gone, 1)
        for (const keys of [yield* storage.keys, yield* Stream.runCollect(TokenStorage.scan(storage))]) {
          const ids = keys.map((key) => key.id)
          assert.deepStrictEqual(
            [one, two, gone, mark].map((key) => ids.filter((id) => id === key.id).length),
            [1, 1, 0, 1]
          )
        }
      }))

    it.effect("keys that look alike never mix", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const sessions = lookAlikes.map(([issuer, client, account], index) =>
          plain(SessionKey.SessionKey.make({ issuer, clientId: client, account }), index + 1, `access-${index}`)
        )
        for (const session of sessions) yield* storage.put(session.key, session, 0)
        for (const session of sessions) equal(yield* storage.get(session.key), session)
        const ids = new Set((yield* storage.keys).map((key) => key.id))
        assert.deepStrictEqual(
          sessions.filter((session) => !ids.has(session.key.id)).map((session) => session.key.id),
          []
        )
        yield* storage.remove(sessions[0]!.key, 1)
        for (const session of sessions.slice(1)) equal(yield* storage.get(session.key), session)
      }))

    it.effect.prop(
      "two different keys never mix, however alike they look",
      { parts: Parts },
      ({ parts }) =>
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const fields = {
            issuer: "https://property.example",
            clientId: parts.client.join(""),
            account: `a${parts.account.join("")}`
          }
          const first = SessionKey.SessionKey.make(fields)
          const second = SessionKey.SessionKey.make({ ...fields, ...confusions[parts.confusion]?.(fields) })
          if (first.id === second.id) return
          const written = yield* overwrite(plain(first, 1, "one"))
          const other = yield* overwrite(plain(second, 1, "two"))
          equal(yield* storage.get(first), written)
          equal(yield* storage.get(second), other)
        }),
      { arbitrary: { runs: 50 } }
    )

    it.effect("of many concurrent puts that expect the same generation exactly one wins", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("concurrent")
        let stored = 0
        for (const round of [1, 2, 3]) {
          const results = yield* Effect.forEach(
            [1, 2, 3, 4, 5, 6, 7, 8],
            (writer) =>
              Effect.result(storage.put(key, plain(key, round * 100 + writer, `${round}-${writer}`), stored)).pipe(
                Effect.map((result) => ({ writer, result }))
              ),
            { concurrency: "unbounded" }
          )
          const winners = results.filter(({ result }) => Result.isSuccess(result))
          assert.strictEqual(winners.length, 1)
          for (const { result } of results) {
            if (Result.isFailure(result)) assert.strictEqual(result.failure.reason._tag, "StorageConflict")
          }
          stored = round * 100 + winners[0]!.writer
          equal(yield* storage.get(key), plain(key, stored, `${round}-${winners[0]!.writer}`))
        }
      }))

    // A hint may be lost, so each is given several chances; and a storage need not promise any.
    const heard = (
      key: SessionKey.SessionKey,
      change: Effect.Effect<void, TokenStorageError, TokenStorage.TokenStorage>
    ) =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        if (!storage.guarantees.changes) return
        const listener = yield* storage.changes.pipe(
          Stream.filter((changed) => changed.id === key.id),
          Stream.runHead,
          Effect.forkScoped({ startImmediately: true })
        )
        yield* Effect.sleep("50 millis")
        yield* change
        const hint = yield* Fiber.join(listener).pipe(Effect.timeout("2 seconds"))
        assert.isTrue(Option.isSome(hint))
      }).pipe(Effect.scoped, Effect.retry({ times: 3 }))

    it.effect("changes tells of a put", () =>
      Effect.gen(function*() {
        const key = keyOf("changes put")
        yield* heard(key, Effect.asVoid(overwrite(plain(key, 1))))
      }))

    it.effect("changes tells of a remove", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("changes remove")
        yield* overwrite(plain(key, 1))
        yield* Effect.sleep("100 millis")
        yield* heard(
          key,
          Effect.gen(function*() {
            const found = yield* storage.get(key)
            if (Option.isNone(found)) yield* overwrite(plain(key, 1))
            yield* storage.remove(key, Option.match(found, { onNone: () => 1, onSome: (_) => _.generation }))
          })
        )
      }))

    it.effect("the description and the errors show no secret", () =>
      Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const key = keyOf("secret")
        yield* storage.put(key, full(key, 1), 0)
        const error = yield* Effect.flip(storage.put(key, full(key, 3), 2))
        const shown = [
          storage.description,
          error.message,
          String(error),
          Formatter.formatJson(error),
          Formatter.format(yield* storage.get(key))
        ].join("\n")
        assert.notInclude(shown, canary)
        assert.isAbove(storage.description.length, 0)
      }))

    lockTests(it)
  })
}

const lockTests = (
  it: Parameters<Parameters<ReturnType<typeof layer<SessionLock.SessionLock, unknown>>>[1]>[0]
): void => {
  it.effect("the lock excludes: of many fibers one at a time is inside", () =>
    Effect.gen(function*() {
      const { withLock } = yield* SessionLock.SessionLock
      const key = keyOf("lock exclusion")
      let inside = 0
      let most = 0
      yield* Effect.forEach(
        [1, 2, 3, 4, 5, 6],
        () =>
          Effect.gen(function*() {
            inside += 1
            most = Math.max(most, inside)
            yield* Effect.sleep("5 millis")
            inside -= 1
          }).pipe(withLock(key, "renew")),
        { concurrency: "unbounded", discard: true }
      )
      assert.strictEqual(most, 1)
    }))

  it.effect("the two purposes do not exclude each other", () =>
    Effect.gen(function*() {
      const { withLock } = yield* SessionLock.SessionLock
      const key = keyOf("lock purposes")
      const answer = yield* Effect.succeed("inside both").pipe(
        withLock(key, "renew"),
        withLock(key, "login"),
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(answer, "inside both")
    }))

  it.effect("different keys do not exclude each other", () =>
    Effect.gen(function*() {
      const { withLock } = yield* SessionLock.SessionLock
      const answer = yield* Effect.succeed("inside both").pipe(
        withLock(keyOf("lock one"), "renew"),
        withLock(keyOf("lock two"), "renew"),
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(answer, "inside both")
    }))

  it.effect("the lock is released when its effect fails, and gives its failure on", () =>
    Effect.gen(function*() {
      const { withLock } = yield* SessionLock.SessionLock
      const key = keyOf("lock failure")
      assert.strictEqual(yield* Effect.fail("boom").pipe(withLock(key, "renew"), Effect.flip), "boom")
      yield* Effect.void.pipe(withLock(key, "renew"), Effect.timeout("10 seconds"))
    }))

  it.effect("the lock is released when its holder is interrupted", () =>
    Effect.gen(function*() {
      const { withLock } = yield* SessionLock.SessionLock
      const key = keyOf("lock interruption")
      const entered = yield* Deferred.make<void>()
      const holder = yield* Deferred.succeed(entered, undefined).pipe(
        Effect.andThen(Effect.never),
        withLock(key, "renew"),
        Effect.forkChild
      )
      yield* Deferred.await(entered)
      yield* Fiber.interrupt(holder)
      yield* Effect.void.pipe(withLock(key, "renew"), Effect.timeout("10 seconds"))
    }))

  it.effect("one who waits for the lock can be interrupted, and the lock goes on to the next", () =>
    Effect.gen(function*() {
      const { withLock } = yield* SessionLock.SessionLock
      const key = keyOf("lock waiting")
      const entered = yield* Deferred.make<void>()
      const leave = yield* Deferred.make<void>()
      const holder = yield* Deferred.succeed(entered, undefined).pipe(
        Effect.andThen(Deferred.await(leave)),
        withLock(key, "renew"),
        Effect.forkChild
      )
      yield* Deferred.await(entered)
      const waiting = yield* Effect.void.pipe(withLock(key, "renew"), Effect.forkChild({ startImmediately: true }))
      yield* Effect.sleep("20 millis")
      yield* Fiber.interrupt(waiting)
      const next = yield* Effect.void.pipe(withLock(key, "renew"), Effect.forkChild({ startImmediately: true }))
      yield* Deferred.succeed(leave, undefined)
      yield* Fiber.join(holder)
      yield* Fiber.join(next).pipe(Effect.timeout("10 seconds"))
    }))
}
