import {
  type AuthError,
  AuthManager,
  IamError,
  SessionKeeper,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Ref, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { altered, failNext, Faults, iam, manager, nextState, passwordLogin, setup, sibling } from "./fixtures.ts"

describe("changes", () => {
  it.effect("tell the state now, and whenever it changes", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* iam.use((scripted) => scripted.set({ latency: Duration.seconds(1) }))
      const watcher = yield* Effect.forkChild(
        auth.changes.pipe(
          Stream.map((state) => state._tag),
          Stream.changes,
          Stream.take(6),
          Stream.runCollect
        ),
        { startImmediately: true }
      )
      const run = <A>(effect: Effect.Effect<A, AuthError.AuthError>) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(Effect.ignore(effect))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
        })
      yield* run(auth.login(passwordLogin))
      yield* run(auth.refresh())
      yield* failNext("renew", new IamError.GrantDead({ detail: "revoked" }))
      yield* run(auth.refresh())
      assert.deepStrictEqual(yield* Fiber.join(watcher), [
        "SignedOut",
        "SignedIn",
        "Renewing",
        "SignedIn",
        "Renewing",
        "ReauthenticationRequired"
      ])
      yield* run(auth.logout)
      assert.strictEqual((yield* nextState)._tag, "SignedOut")
    }).pipe(Effect.provide(setup())))
})

describe("sessions", () => {
  it.effect("of different issuers, clients and accounts never mix", () =>
    Effect.gen(function*() {
      const identities = ["https://one.example", "https://two.example"].flatMap((issuer) =>
        ["web", "cli"].flatMap((client) => ["default", "work"].map((account) => ({ account, client, issuer })))
      )
      const programs = yield* Effect.forEach(identities, ({ account, client, issuer }) =>
        Effect.map(
          Layer.build(
            AuthManager.layer({ account }).pipe(
              Layer.provide(Layer.fresh(SessionKeeper.layer)),
              Layer.provide(ScriptedIam.layer({ issuer, clientId: client, tokens: "jwt" }))
            )
          ),
          (context) => ({ account, auth: Context.get(context, AuthManager.AuthManager), issuer })
        ))
      for (const { auth, issuer } of programs) {
        assert.isFalse(yield* auth.isAuthenticated)
        yield* auth.login(passwordLogin)
        assert.strictEqual((yield* auth.claims).iss, issuer)
      }
      const storage = yield* TokenStorage.TokenStorage
      assert.strictEqual((yield* storage.keys).length, 8)
      const [first, ...others] = programs
      yield* first!.auth.logout
      assert.isFalse(yield* first!.auth.isAuthenticated)
      for (const { auth, issuer } of others) assert.strictEqual((yield* auth.claims).iss, issuer)
      assert.strictEqual((yield* storage.keys).length, 7)
    }).pipe(Effect.provide(TokenStorage.layerMemory)))

  it.effect("are neither read nor written by building a layer", () =>
    Effect.gen(function*() {
      yield* manager
      assert.strictEqual(yield* Ref.get((yield* Faults).writes), 0)
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
    }).pipe(Effect.provide(altered(() => ({})))))

  it.effect("that cannot be read are a typed error of the storage, not a logout", () =>
    Effect.gen(function*() {
      const other = yield* sibling
      yield* other.login(passwordLogin)
      const auth = yield* manager
      const { failing } = yield* Faults
      yield* Ref.set(failing, "reads")
      const attempts: ReadonlyArray<Effect.Effect<object | boolean, AuthError.AuthError>> = [
        auth.token,
        auth.whoami,
        auth.session,
        auth.isAuthenticated,
        auth.storedToken,
        auth.login()
      ]
      for (const attempt of attempts) {
        assert.strictEqual((yield* Effect.flip(attempt))._tag, "TokenStorageError")
      }
      yield* Ref.set(failing, "nothing")
      assert.isTrue(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("that are damaged count as signed out, with the reason in the error", () =>
    Effect.gen(function*() {
      const corrupt = new TokenStorageError.TokenStorageError({
        storage: "files",
        method: "get",
        reason: new TokenStorageError.StorageCorrupt({
          detail: "a.json is not a session document",
          quarantine: "a.json.corrupt"
        })
      })
      const storage = Layer.effect(
        TokenStorage.TokenStorage,
        Effect.gen(function*() {
          const inner = yield* TokenStorage.TokenStorage
          const isMoved = yield* Ref.make(false)
          return TokenStorage.TokenStorage.of({
            ...inner,
            get: (key) =>
              Effect.flatMap(Ref.getAndSet(isMoved, true), (moved) => moved ? inner.get(key) : Effect.fail(corrupt))
          })
        })
      )
      yield* Effect.gen(function*() {
        const auth = yield* manager
        const error = yield* Effect.flip(auth.token)
        assert.strictEqual(error._tag, "NotAuthenticated")
        assert.include(error.message, "a.json.corrupt")
        yield* auth.login(passwordLogin)
        assert.isTrue(Result.isSuccess(yield* Effect.result(auth.token)))
      }).pipe(
        Effect.provide(AuthManager.layer().pipe(Layer.provide(SessionKeeper.layer), Layer.provide(storage)))
      )
    }).pipe(Effect.provide(Layer.merge(ScriptedIam.layer(), TokenStorage.layerMemory))))
})
