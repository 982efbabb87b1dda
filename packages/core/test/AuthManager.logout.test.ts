import {
  type AuthError,
  AuthManager,
  IamClient,
  IamError,
  SessionKeeper,
  SessionLock,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Option, Ref } from "effect"
import { TestClock } from "effect/testing"
import {
  count,
  down,
  failNext,
  Faults,
  iam,
  manager,
  passwordLogin,
  program,
  refused,
  setup,
  sibling,
  stored
} from "./fixtures.ts"

/** What a program does first, in order. */
const inOrder = (order: Array<string>) =>
  Layer.effectContext(Effect.gen(function*() {
    const storage = yield* TokenStorage.TokenStorage
    const lock = yield* SessionLock.SessionLock
    return Context.make(TokenStorage.TokenStorage, {
      ...storage,
      get: (key) => Effect.andThen(Effect.sync(() => order.push("read")), storage.get(key))
    }).pipe(Context.add(SessionLock.SessionLock, {
      ...lock,
      withLock: (...asked) => (effect) =>
        Effect.andThen(Effect.sync(() => order.push("lock")), lock.withLock(...asked)(effect))
    }))
  })).pipe(Layer.provideMerge(TokenStorage.layerMemory))

describe("logout", () => {
  it.effect("reads nothing before it has the lock: a storage that is slow lets no renewal go first", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const storage = yield* Layer.build(inOrder(order))
      yield* Effect.gen(function*() {
        const auth = yield* manager
        yield* auth.login(passwordLogin)
        order.length = 0
        yield* auth.logout
        assert.deepStrictEqual(order.slice(0, 2), ["lock", "read"])
      }).pipe(Effect.provide(
        program.pipe(Layer.provide(Layer.merge(ScriptedIam.layer(), Layer.succeedContext(storage))))
      ))
    }))

  it.effect("reaches the IAM even in a fresh process, and leaves nothing here", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin))
      const auth = yield* manager
      const given = Option.getOrThrow(yield* auth.storedToken)
      assert.strictEqual((yield* auth.logout)._tag, "Revoked")
      assert.strictEqual(yield* count("revoke"), 1)
      assert.isTrue(Option.isNone(yield* stored))
      assert.isTrue(Option.isNone(yield* auth.storedToken))
      assert.isTrue(Option.isNone(yield* auth.session))
      assert.isTrue(Option.isNone(yield* auth.whoami))
      assert.isFalse(yield* auth.isAuthenticated)
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
      assert.strictEqual((yield* auth.validate(given))._tag, "Invalid")
    }).pipe(Effect.provide(setup())))

  it.effect("cleans up here even when the IAM cannot be told, and says why it was not", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      for (const reason of [new IamError.Unsupported({ detail: "no such route" }), refused]) {
        yield* auth.login(passwordLogin)
        yield* failNext("revoke", reason)
        const revocation = yield* auth.logout
        assert.strictEqual(revocation._tag, "NotRevoked")
        const said = revocation._tag === "NotRevoked" ? revocation.reason : ""
        assert.include(said, reason.message)
        assert.include(
          said,
          `the refresh token works on at the IAM until it is ended there: do that in your account at`
        )
        assert.isTrue(Option.isNone(yield* stored))
        assert.isFalse(yield* auth.isAuthenticated)
      }
    }).pipe(Effect.provide(setup())))

  it.effect("asks an IAM again that is away, as long as there is time, and as often as it likes", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const ended = Effect.fnUntraced(function*(reason: IamError.IamErrorReason, times: number, after: Duration.Input) {
        yield* auth.login(passwordLogin)
        yield* failNext("revoke", reason, times)
        const before = yield* count("revoke")
        const logout = yield* Effect.forkChild(auth.logout)
        yield* TestClock.adjust(after)
        const revocation = yield* Fiber.join(logout)
        assert.isTrue(Option.isNone(yield* stored))
        return {
          said: revocation._tag === "NotRevoked" ? revocation.reason : "",
          asked: (yield* count("revoke")) - before
        }
      })
      assert.deepStrictEqual(yield* ended(down, 1, "250 millis"), { said: "", asked: 2 })
      assert.deepStrictEqual(yield* ended(down, 5, "7750 millis"), { said: "", asked: 6 })
      const busy = new IamError.Unavailable({ sent: "no", detail: "status 503", retryAfter: Duration.seconds(20) })
      assert.deepStrictEqual(yield* ended(busy, 1, "20 seconds"), { said: "", asked: 2 })
      const away = yield* ended(down, 6, "7750 millis")
      assert.strictEqual(away.asked, 6)
      assert.include(away.said, "the IAM could not be told: connection refused; the refresh token works on")
      assert.notInclude(away.said, "try again later")
      const closed = new IamError.Unavailable({ sent: "no", detail: "status 503", retryAfter: Duration.minutes(5) })
      assert.strictEqual((yield* ended(closed, 1, "0 millis")).asked, 1, "nobody waits for what comes too late")
    }).pipe(Effect.provide(setup())))

  it.effect("does not wait for ever for an IAM that hangs", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* iam.use((scripted) => scripted.set({ latency: Duration.hours(1) }))
      const logout = yield* Effect.forkChild(auth.logout)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual((yield* Fiber.join(logout))._tag, "NotRevoked")
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup())))

  it.effect("of nobody asks nobody", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const revocation = yield* auth.logout
      assert.deepStrictEqual(revocation, IamClient.Revocation.cases.NotRevoked.make({ reason: "nobody was signed in" }))
      assert.strictEqual(yield* count("revoke"), 0)
      // twice is once
      yield* auth.login(passwordLogin)
      yield* Effect.all([auth.logout, auth.logout, auth.logout], { concurrency: "unbounded" })
      assert.strictEqual(yield* count("revoke"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("fails only if the storage cannot be cleaned, and names it", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const { failing } = yield* Faults
      yield* Ref.set(failing, "writes")
      const error = yield* Effect.flip(auth.logout)
      assert.strictEqual(error._tag, "TokenStorageError")
      assert.include(error.message, "no space left on device")
      yield* Ref.set(failing, "nothing")
      yield* auth.logout
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup())))

  it.effect("leaves a session of a newer version where it is, and names it", () =>
    Effect.gen(function*() {
      const newer = new TokenStorageError.TokenStorageError({
        storage: "files in /home/ada",
        method: "get",
        reason: new TokenStorageError.StorageNewerVersion({ found: 9, supported: 1, place: "/home/ada/session.json" })
      })
      const touched = yield* Ref.make(0)
      const storage = Layer.effect(
        TokenStorage.TokenStorage,
        Effect.map(TokenStorage.TokenStorage, (inner) =>
          TokenStorage.TokenStorage.of({
            ...inner,
            get: () => Effect.fail(newer),
            put: () => Ref.update(touched, (n) => n + 1),
            remove: () => Ref.update(touched, (n) => n + 1)
          }))
      )
      yield* Effect.gen(function*() {
        const auth = yield* manager
        const attempts: ReadonlyArray<Effect.Effect<void, AuthError.AuthError>> = [
          Effect.asVoid(auth.logout),
          Effect.asVoid(auth.login(passwordLogin)),
          Effect.asVoid(auth.token),
          auth.clearStoredToken
        ]
        for (const attempt of attempts) {
          const error = yield* Effect.flip(attempt)
          assert.include(error.message, "/home/ada/session.json holds a session of version 9")
          assert.include(error.message, "update this program")
        }
        assert.strictEqual(yield* Ref.get(touched), 0)
      }).pipe(
        Effect.provide(AuthManager.layer().pipe(Layer.provide(SessionKeeper.layer), Layer.provide(storage)))
      )
    }).pipe(Effect.provide(Layer.merge(ScriptedIam.layer(), TokenStorage.layerMemory))))
})
