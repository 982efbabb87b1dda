/** Where several write at once, although they should not: a lock that was a lease, a storage without one. */
import {
  AuthManager,
  BackgroundSleep,
  IamClient,
  IamError,
  Selection,
  Session,
  type TokenSet,
  TokenStorage,
  type TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Duration, Effect, Fiber, Layer, Option, Redacted, Ref, Stream } from "effect"
import * as Base64Url from "effect/encoding/Base64Url"
import { TestClock } from "effect/testing"
import { altered, passwordLogin, program, scheduled, setup, sibling, stored } from "../fixtures.ts"

const manager = AuthManager.AuthManager
const iam = ScriptedIam.ScriptedIam
const renewals = iam.use((scripted) => scripted.count("renew"))
const raw = (tokens: TokenSet.TokenSet) => Redacted.value(tokens.accessToken)
const token = Effect.map(Effect.flatMap(manager, (auth) => auth.token), raw)
const failRenewal = (reason: IamError.IamErrorReason) => iam.use((scripted) => scripted.failNext("renew", { reason }))
const dead = new IamError.GrantDead({ detail: "invalid_grant" })
const sha256 = async (text: string) =>
  Base64Url.encode(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))))
const down = new IamError.Unavailable({ sent: "no", detail: "connection refused" })

/** What happens in the storage right before the next writes of this program, behind its back; and how often it read. */
class Behind extends Context.Service<Behind, {
  readonly writes: Ref.Ref<ReadonlyArray<Effect.Effect<unknown, TokenStorageError.TokenStorageError>>>
  readonly reads: Ref.Ref<number>
  readonly storage: TokenStorage.TokenStorage["Service"]
}>()("@effect-authn/core/test/keeper/SessionKeeper.edges.test/Behind") {}

const behind = Layer.effectContext(Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const writes = yield* Ref.make<ReadonlyArray<Effect.Effect<unknown, TokenStorageError.TokenStorageError>>>([])
  const reads = yield* Ref.make(0)
  return Context.make(Behind, Behind.of({ writes, reads, storage })).pipe(
    Context.add(
      TokenStorage.TokenStorage,
      TokenStorage.TokenStorage.of({
        ...storage,
        // No hints: what others did shows only to one who reads.
        changes: Stream.never,
        get: (key) =>
          Effect.andThen(Ref.update(reads, (n) => n + 1), Effect.andThen(Effect.yieldNow, storage.get(key))),
        put: (key, next, expected) =>
          Effect.gen(function*() {
            const [first, ...rest] = yield* Ref.get(writes)
            yield* Ref.set(writes, rest)
            if (first !== undefined) yield* first
            yield* storage.put(key, next, expected)
          })
      })
    )
  )
})).pipe(Layer.provideMerge(TokenStorage.layerMemory))

const shared = (options: ScriptedIam.Options = { rotation: "strict" }) =>
  program.pipe(
    Layer.provideMerge(Layer.merge(ScriptedIam.layer(options), behind)),
    Layer.provide(Layer.succeed(BackgroundSleep.BackgroundSleep, () => Effect.never))
  )

const behindNextWrites = (...effects: ReadonlyArray<Effect.Effect<unknown, TokenStorageError.TokenStorageError>>) =>
  Effect.flatMap(Behind, ({ writes }) => Ref.set(writes, effects))

/** Another program's renewal, made without asking anybody for leave. */
const renewedElsewhere = Effect.map(
  Effect.all([Behind, manager, IamClient.IamClient]),
  ([{ storage }, { key }, scripted]) =>
    Effect.gen(function*() {
      const held = Option.getOrThrow(yield* storage.get(key))
      const issued = yield* Effect.orDie(scripted.renew(held, held.current))
      const next = Session.update(held, {
        grant: issued.grant,
        tokens: { [Selection.id(held.current)]: issued.tokens },
        intent: Option.none(),
        generation: held.generation + 1
      })
      yield* storage.put(key, next, held.generation)
    })
)

const signedOutElsewhere = Effect.map(
  Effect.all([Behind, manager]),
  ([{ storage }, { key }]) =>
    Effect.gen(function*() {
      const held = Option.getOrThrow(yield* storage.get(key))
      yield* storage.remove(key, held.generation)
    })
)

describe("somebody else writes first", () => {
  it.effect("before the renewal is sent: theirs is used, and nothing is sent", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* behindNextWrites(yield* renewedElsewhere)
      const handed = yield* token
      assert.strictEqual(yield* renewals, 1)
      const held = Option.getOrThrow(yield* stored)
      assert.strictEqual(handed, raw(Option.getOrThrow(Session.currentToken(held))))
      yield* auth.refresh()
    }).pipe(Effect.provide(shared())))

  it.effect("while the answer was on its way: theirs stands", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* behindNextWrites(Effect.void, yield* renewedElsewhere)
      const handed = yield* token
      assert.strictEqual(handed, raw(Option.getOrThrow(Session.currentToken(Option.getOrThrow(yield* stored)))))
      assert.isTrue(Option.isNone(Option.getOrThrow(yield* stored).intent))
    }).pipe(Effect.provide(shared({ rotation: "none" }))))

  it.effect("and was refused for the same refresh token meanwhile: the answer stands, and its end says that one was lost", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const { storage } = yield* Behind
      yield* behindNextWrites(
        Effect.void,
        Effect.gen(function*() {
          const asked = Option.getOrThrow(yield* storage.get(auth.key))
          const { grant } = asked
          const spent = grant._tag === "RefreshToken" ? Redacted.value(grant.refreshToken) : ""
          const buries = yield* Effect.promise(() => sha256(spent))
          const dead = Session.Tombstone.make({
            at: DateTime.makeUnsafe(0),
            cause: "used before",
            answerLost: true,
            buries
          })
          yield* storage.put(
            auth.key,
            Session.update(asked, {
              grant: { _tag: "None" },
              dead: Option.some(dead),
              intent: Option.none(),
              generation: asked.generation + 1
            }),
            asked.generation
          )
        })
      )
      yield* auth.refresh()
      assert.isTrue(Option.isNone(Option.getOrThrow(yield* stored).dead))
      yield* failRenewal(dead)
      const ended = yield* Effect.flip(auth.refresh())
      assert.include(ended.message, "the answer to an earlier renewal was lost")
    }).pipe(Effect.provide(shared())))

  it.effect("and signed out while the answer was on its way: it is revoked, not resurrected", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      yield* behindNextWrites(Effect.void, yield* signedOutElsewhere)
      const error = yield* Effect.flip(auth.refresh())
      assert.strictEqual(error._tag, "NotAuthenticated")
      assert.include(error.message, "signed out by another program")
      assert.isTrue(Option.isNone(yield* stored))
      assert.isFalse(yield* auth.isAuthenticated)
      const calls = yield* iam.use((scripted) => scripted.calls)
      assert.deepStrictEqual(calls.map((call) => call.method), ["login", "renew", "revoke"])
      // what was revoked is what the lost renewal brought
      assert.isAbove(calls[2]?.refreshToken ?? 0, calls[1]?.refreshToken ?? 0)
    }).pipe(Effect.provide(shared())))

  it.effect("and the grant that was sent is dead because of it: theirs is adopted, no tombstone is written", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const scripted = yield* iam
      yield* auth.login(passwordLogin)
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* failRenewal(dead)
      yield* scripted.set({ latency: Duration.seconds(1) })
      const caller = yield* Effect.forkChild(auth.token, { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      yield* scripted.set({ latency: Duration.zero })
      yield* yield* renewedElsewhere
      yield* TestClock.adjust("500 millis")
      const held = Option.getOrThrow(yield* stored)
      assert.strictEqual(raw(yield* Fiber.join(caller)), raw(Option.getOrThrow(Session.currentToken(held))))
      assert.isTrue(Option.isNone(held.dead))
      assert.strictEqual(yield* renewals, 2)
    }).pipe(Effect.provide(shared())))

  it.effect("and signed out, which is why the grant is dead: then nobody is signed in", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const scripted = yield* iam
      yield* auth.login(passwordLogin)
      yield* failRenewal(dead)
      yield* scripted.set({ latency: Duration.seconds(1) })
      const caller = yield* Effect.forkChild(Effect.flip(auth.refresh()), { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      yield* yield* signedOutElsewhere
      yield* TestClock.adjust("500 millis")
      assert.strictEqual((yield* Fiber.join(caller))._tag, "NotAuthenticated")
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(shared())))

  it.effect("and what it made for another selection is taken, also to make that the current one", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const other = yield* sibling
      const made = yield* other.tokenFor({ project: "apollo" })
      const session = yield* auth.refresh({ project: "apollo" })
      assert.strictEqual(raw(Option.getOrThrow(Session.currentToken(session))), raw(made))
      assert.strictEqual(yield* renewals, 1)
      assert.strictEqual(Selection.id(Option.getOrThrow(yield* stored).current), "project=apollo")
    }).pipe(Effect.provide(shared())))

  it.effect("and ends the session while a renewal waits for its turn: it is not sent", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const other = yield* sibling
      yield* other.token
      yield* iam.use((scripted) => scripted.set({ latency: Duration.seconds(1) }))
      const logout = yield* Effect.forkChild(other.logout, { startImmediately: true })
      const waiting = yield* Effect.forkChild(Effect.flip(auth.refresh()), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(logout)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "NotAuthenticated")
      assert.strictEqual(yield* renewals, 0)
    }).pipe(Effect.provide(shared())))
})

describe("reading", () => {
  it.effect("the stored session happens once for all who ask at the same time", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin))
      const { reads } = yield* Behind
      yield* Ref.set(reads, 0)
      const auth = yield* manager
      const handed = yield* Effect.all(Array.from({ length: 100 }, () => auth.token), { concurrency: "unbounded" })
      assert.strictEqual(new Set(handed.map(raw)).size, 1)
      assert.strictEqual(yield* Ref.get(reads), 1)
    }).pipe(Effect.provide(shared())))

  it.effect("is done once more before a caller is told that the session ended: somebody may have signed in again", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      const other = yield* sibling
      const session = yield* other.login(passwordLogin)
      assert.strictEqual(yield* token, raw(Option.getOrThrow(Session.currentToken(session))))
    }).pipe(Effect.provide(shared())))
})

describe("a renewal that fails", () => {
  it.effect("is not asked for again by those whose token an API refused, until its pause is over", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const first = yield* auth.bearerToken
      yield* failRenewal(down)
      for (let call = 0; call < 20; call++) {
        assert.include((yield* Effect.flip(auth.rejected(first))).message, "connection refused")
      }
      assert.strictEqual(yield* renewals, 1)
      yield* TestClock.adjust("1 second")
      assert.notStrictEqual(raw((yield* auth.rejected(first)).tokens), raw(first.tokens))
    }).pipe(Effect.provide(setup())))

  it.effect("is asked for again when the clock is set back to before its pause", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* TestClock.setTime(Duration.toMillis("10 hours"))
      yield* auth.login(passwordLogin)
      const first = yield* auth.bearerToken
      yield* failRenewal(new IamError.Unavailable({ sent: "no", detail: "later", retryAfter: Duration.hours(9) }))
      yield* Effect.flip(auth.rejected(first))
      yield* Effect.flip(auth.rejected(first))
      assert.strictEqual(yield* renewals, 1)
      yield* TestClock.setTime(Duration.toMillis("9 hours"))
      assert.notStrictEqual(raw((yield* auth.rejected(first)).tokens), raw(first.tokens))
    }).pipe(Effect.provide(setup())))

  it.effect("because the dialect breaks is an error for the caller, and the session stays", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const first = yield* token
      const error = yield* Effect.flip(auth.refresh())
      assert.strictEqual(error._tag, "IamError")
      assert.include(error.message, "the dialect failed on it")
      assert.strictEqual(yield* token, first)
      assert.isTrue(Option.isSome(yield* stored))
    }).pipe(Effect.provide(altered(() => ({ renew: () => Effect.die(new TypeError("not a function")) })))))
})

describe("a session that nothing renews", () => {
  it.effect("is told to have ended when its token does, though nobody asks", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      const states: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(auth.changes, (state) => Effect.sync(() => states.push(state._tag))),
        { startImmediately: true }
      )
      yield* TestClock.adjust("61 minutes")
      assert.deepStrictEqual(states, ["SignedIn", "ReauthenticationRequired"])
      assert.strictEqual(yield* renewals, 0)
    }).pipe(Effect.provide(scheduled())))

  it.effect("and names no end says so when it is asked to", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      const error = yield* Effect.flip(auth.refresh())
      assert.strictEqual(error._tag, "ReauthenticationRequired")
      assert.include(error.message, "(nothing can renew it)")
      yield* TestClock.adjust("4000 days")
      assert.isTrue(yield* auth.isAuthenticated)
    }).pipe(
      Effect.provide(
        scheduled({ tokens: "opaque", lifetime: Duration.infinity, policy: { defaultLifetime: Duration.infinity } })
      )
    ))
})

describe("a lost answer", () => {
  it.effect("is asked for again when a token without a known end has lived as long as one of default life", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const first = yield* token
      yield* failRenewal(new IamError.Unavailable({ sent: "maybe", detail: "time-out" }))
      yield* Effect.flip(auth.refresh())
      yield* TestClock.adjust("59 minutes")
      assert.include((yield* Effect.flip(auth.refresh())).message, "a valid token is left")
      assert.strictEqual(yield* token, first)
      assert.strictEqual(yield* renewals, 1)
      yield* TestClock.adjust("1 minute")
      yield* auth.refresh()
      assert.notStrictEqual(yield* token, first)
      assert.strictEqual(yield* renewals, 2)
    }).pipe(Effect.provide(scheduled({ lifetime: Duration.infinity }))))
})

describe("what is learned of a user", () => {
  it.effect("does not bring back a session that was signed out meanwhile", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.storeToken(yield* iam.use((scripted) => scripted.issue))
      yield* iam.use((scripted) => scripted.set({ latency: Duration.seconds(1) }))
      const asking = yield* Effect.forkChild(auth.whoami, { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      yield* auth.clearStoredToken
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(asking)
      assert.isTrue(Option.isNone(yield* stored))
      assert.isFalse(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))
})
