import {
  EncryptedTokenStorage,
  EncryptionKeys,
  EnvelopeKeys,
  Rekey,
  Selection,
  Session,
  SessionKey,
  TokenSet,
  TokenStorage
} from "@effect-authn/core"
import { TokenStorageSuite } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import {
  ConfigProvider,
  Context,
  DateTime,
  Effect,
  Fiber,
  Layer,
  Logger,
  Metric,
  Option,
  Redacted,
  Result
} from "effect"
import { TestClock } from "effect/testing"

const keyOf = (account: string) =>
  SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "service", account })

const sessionOf = (account: string) =>
  Session.update(
    Session.fromResponse(keyOf(account), {
      tokens: TokenSet.TokenSet.make({
        accessToken: Redacted.make(`token-of-${account}`),
        tokenType: "Bearer",
        issuedAt: DateTime.makeUnsafe(0),
        expiresAt: Option.none(),
        idToken: Option.none(),
        scope: Option.none()
      }),
      grant: Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make(`refresh-of-${account}`) }),
      user: Option.none()
    }, { strategy: "password", selection: Selection.none }),
    { generation: 1 }
  )

/** Keys as `EncryptionKeys.parse` reads them, one from each letter. */
const keysFrom = (...letters: ReadonlyArray<string>) =>
  EncryptionKeys.layerEnvironment().pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
      env: { AUTHN_KEY: letters.map((letter) => letter.repeat(43)).join(",") }
    })))
  )

/** A key management service that wraps by adding its key's name, notes who asks, and can be away. */
const service = () => {
  const asked: Array<string> = []
  let isAway = false
  const when = <A>(call: string, answer: () => A) =>
    Effect.suspend(() => {
      asked.push(call)
      return isAway ? Effect.fail({ message: "the key service does not answer" }) : Effect.sync(answer)
    })
  const kms = (keyId: string): EnvelopeKeys.Kms => ({
    description: "a key in a service",
    keyId,
    wrap: (data) =>
      when("wrap", () => new TextEncoder().encode(`${keyId}:${Buffer.from(Redacted.value(data)).toString("hex")}`)),
    unwrap: (wrapped, by) =>
      when("unwrap", () => {
        const [id, hex = ""] = new TextDecoder().decode(wrapped).split(":")
        return id === by ? Option.some(Redacted.make(new Uint8Array(Buffer.from(hex, "hex")))) : Option.none()
      })
  })
  const leave = (away: boolean) => {
    isAway = away
  }
  return { kms, asked, leave }
}

/** One storage, and programs that come to it with keys of their own, one after the other. */
const world = Effect.gen(function*() {
  let active: EncryptionKeys.EncryptionKeys["Service"] | undefined
  const keys: EncryptionKeys.EncryptionKeys["Service"] = {
    description: "the keys of now",
    atRest: "encrypted",
    available: Effect.suspend(() => active!.available),
    current: Effect.suspend(() => active!.current),
    named: (name) => Effect.suspend(() => active!.named(name)),
    isRetired: (name) =>
      Effect.suspend(() => active!.isRetired?.(name) ?? Effect.map(active!.current, (current) => current.name !== name))
  }
  const built = yield* Layer.build(
    EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(
      Layer.provideMerge(Layer.succeed(EncryptionKeys.EncryptionKeys, keys))
    )
  )
  const storage = Context.get(built, TokenStorage.TokenStorage)
  return {
    storage,
    run: <A, E>(effect: Effect.Effect<A, E, TokenStorage.TokenStorage | EncryptionKeys.EncryptionKeys>) =>
      Effect.provideContext(effect, built),
    use: (layer: Layer.Layer<EncryptionKeys.EncryptionKeys>) =>
      Effect.map(Layer.build(Layer.fresh(layer)), (context) => {
        active = Context.get(context, EncryptionKeys.EncryptionKeys)
      }),
    put: (account: string) => storage.put(keyOf(account), sessionOf(account), 0),
    name: (account: string) =>
      Effect.map(
        storage.get(keyOf(account)),
        (found) => Option.getOrThrow(EncryptedTokenStorage.sealedWith(Option.getOrThrow(found)))
      )
  }
})

TokenStorageSuite.suite(
  "memory, encrypted with data keys under another key",
  EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(Layer.provide(EnvelopeKeys.layerKeys(keysFrom("A"))))
)

describe("EnvelopeKeys", () => {
  it.effect("asks the service once a day to wrap, once for each data key of others to unwrap, and never for a session", () =>
    Effect.gen(function*() {
      const { asked, kms } = service()
      const { name, put, storage, use } = yield* world
      yield* use(EnvelopeKeys.layer(kms("one")))
      assert.deepStrictEqual(asked, [])
      for (const account of ["a", "b", "c"]) yield* put(account)
      assert.deepStrictEqual(asked, ["wrap"])
      yield* TestClock.adjust("23 hours")
      yield* put("d")
      yield* TestClock.adjust("2 hours")
      yield* put("e")
      assert.deepStrictEqual(asked, ["wrap", "wrap"])
      const names = yield* Effect.forEach(["a", "b", "c", "d", "e"], name)
      assert.strictEqual(new Set(names).size, 2)
      assert.match(names[0]!, /^envelope\.[\w-]+\.[\w-]+$/)
      // another process
      yield* use(EnvelopeKeys.layer(kms("one")))
      asked.length = 0
      for (let times = 0; times < 3; times++) {
        for (const account of ["a", "b", "c", "d", "e"]) {
          const found = Option.getOrThrow(yield* storage.get(keyOf(account)))
          assert.strictEqual(found.key.account, account)
        }
      }
      assert.deepStrictEqual(asked, ["unwrap", "unwrap"])
    }))

  it.effect("while the service is away a process goes on with what it has, and another one changes nothing", () =>
    Effect.gen(function*() {
      const { kms, leave } = service()
      const { put, storage, use } = yield* world
      yield* use(EnvelopeKeys.layer(kms("one")))
      yield* put("a")
      leave(true)
      yield* put("b")
      yield* storage.get(keyOf("a"))
      yield* use(EnvelopeKeys.layer(kms("one")))
      for (const failed of [Effect.asVoid(storage.get(keyOf("a"))), put("c")]) {
        const { reason } = yield* Effect.flip(failed)
        assert.strictEqual(reason._tag, "StorageKeyUnavailable")
        assert.include(reason.message, "the key service does not answer")
      }
      leave(false)
      assert.isTrue(Option.isSome(yield* storage.get(keyOf("a"))))
      // a key of another service is another key
      yield* use(EnvelopeKeys.layer(service().kms("two")))
      yield* put("d")
      yield* use(keysFrom("A"))
      assert.strictEqual((yield* Effect.flip(storage.get(keyOf("d")))).reason._tag, "StorageKeyMismatch")
    }))

  it.effect("a service that is away, or silent, when the day of a key ends stops no write, and wraps the next one as it is back", () =>
    Effect.gen(function*() {
      const { asked, kms, leave } = service()
      const { name, put, use } = yield* world
      let isSilent = false
      const one = kms("one")
      yield* use(EnvelopeKeys.layer({
        ...one,
        wrap: (plain) => Effect.suspend(() => isSilent ? Effect.never : one.wrap(plain))
      }))
      yield* put("a")
      leave(true)
      yield* TestClock.adjust("25 hours")
      yield* put("b")
      yield* put("c")
      assert.strictEqual(yield* name("c"), yield* name("a"))
      assert.deepStrictEqual(asked, ["wrap", "wrap"])
      isSilent = true
      yield* TestClock.adjust("1 minute")
      const waiting = yield* Effect.forkChild(put("d"), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(waiting)
      assert.strictEqual(yield* name("d"), yield* name("a"))
      leave(false)
      isSilent = false
      yield* TestClock.adjust("1 minute")
      yield* put("e")
      assert.notStrictEqual(yield* name("e"), yield* name("a"))
      // without any key yet there is none to go on with
      isSilent = true
      yield* use(EnvelopeKeys.layer({ ...one, wrap: () => Effect.never }))
      const first = yield* Effect.forkChild(Effect.flip(put("f")), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.include((yield* Fiber.join(first)).message, "a key in a service: no answer within 5s")
    }).pipe(Effect.provide(Logger.layer([]))))

  it.effect("names that were tampered with are other keys, not defects", () =>
    Effect.gen(function*() {
      const { use } = yield* world
      yield* use(EnvelopeKeys.layerKeys(keysFrom("A")))
      const keys = Context.get(
        yield* Layer.build(EnvelopeKeys.layerKeys(keysFrom("A"))),
        EncryptionKeys.EncryptionKeys
      )
      const { name } = yield* keys.current
      const other = Context.get(
        yield* Layer.build(EnvelopeKeys.layerKeys(keysFrom("A"))),
        EncryptionKeys.EncryptionKeys
      )
      assert.isTrue(Option.isSome(yield* other.named(name)))
      const [scheme, id, wrapped = ""] = name.split(".")
      for (
        const odd of [
          "",
          "envelope",
          `${scheme}.${id}`,
          `${scheme}.${id}.${wrapped.slice(0, 8)}`,
          `${scheme}.${id}.${wrapped.slice(0, -2)}AA`,
          `${scheme}.${id}.`,
          `${scheme}..${wrapped}`,
          `${scheme}.${id}.${wrapped}.x`,
          `${scheme}.%.${wrapped}`
        ]
      ) {
        assert.isTrue(Option.isNone(yield* other.named(odd)), odd)
      }
    }))
})

describe("Rekey", () => {
  it.effect("encrypts anew what has a key of before, and says what is left", () =>
    Effect.gen(function*() {
      const { name, put, run, storage, use } = yield* world
      yield* use(keysFrom("A"))
      for (const account of ["a", "b", "c"]) yield* put(account)
      yield* use(keysFrom("B", "A"))
      yield* put("d")
      assert.deepStrictEqual(yield* run(Rekey.count()), { sessions: 4, rekeyed: 0, left: 3, unreadable: 0 })
      assert.strictEqual((yield* Metric.value(Rekey.left)).value, 3)
      const before = Option.getOrThrow(yield* storage.get(keyOf("a")))
      assert.deepStrictEqual(yield* run(Rekey.run()), { sessions: 4, rekeyed: 3, left: 0, unreadable: 0 })
      assert.deepStrictEqual(yield* run(Rekey.run()), { sessions: 4, rekeyed: 0, left: 0, unreadable: 0 })
      assert.strictEqual((yield* Metric.value(Rekey.left)).value, 0)
      // the old key may go, and the sessions are what they were
      yield* use(keysFrom("B"))
      const after = Option.getOrThrow(yield* storage.get(keyOf("a")))
      assert.deepStrictEqual(
        TokenStorage.encode(Session.update(after, { generation: before.generation })),
        TokenStorage.encode(before)
      )
      assert.strictEqual(new Set(yield* Effect.forEach(["a", "b", "c", "d"], name)).size, 1)
      yield* use(keysFrom("C"))
      assert.deepStrictEqual(yield* run(Rekey.run()), { sessions: 4, rekeyed: 0, left: 0, unreadable: 4 })
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("moves from a file to a service, from one key of the service to the next, and to data keys of any process", () =>
    Effect.gen(function*() {
      const { kms } = service()
      const { put, run, use } = yield* world
      yield* use(keysFrom("A"))
      yield* put("a")
      yield* use(EnvelopeKeys.layer(kms("one"), { previous: keysFrom("A") }))
      yield* put("b")
      assert.strictEqual((yield* run(Rekey.run())).rekeyed, 1)
      // what another process has encrypted is fine
      yield* use(EnvelopeKeys.layer(kms("one")))
      assert.deepStrictEqual(yield* run(Rekey.run()), { sessions: 2, rekeyed: 0, left: 0, unreadable: 0 })
      yield* use(EnvelopeKeys.layer(kms("two")))
      assert.deepStrictEqual(yield* run(Rekey.run()), { sessions: 2, rekeyed: 2, left: 0, unreadable: 0 })
      yield* use(EnvelopeKeys.layerKeys(keysFrom("B", "A"), { previous: EnvelopeKeys.layer(kms("two")) }))
      assert.strictEqual((yield* run(Rekey.run())).rekeyed, 2)
      yield* use(EnvelopeKeys.layerKeys(keysFrom("C", "B")))
      assert.strictEqual((yield* run(Rekey.count())).left, 2)
      assert.strictEqual((yield* run(Rekey.run())).rekeyed, 2)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("gives way to who writes meanwhile, and stops where the keys are away", () =>
    Effect.gen(function*() {
      const { kms, leave } = service()
      const { put, run, storage, use } = yield* world
      yield* use(keysFrom("A"))
      yield* put("a")
      yield* use(keysFrom("B", "A"))
      let isFirst = true
      const racing: TokenStorage.TokenStorage["Service"] = {
        ...storage,
        put: (key, next, expected) =>
          Effect.andThen(
            isFirst
              ? Effect.suspend(() => {
                isFirst = false
                const theirs = Session.update(sessionOf("a"), { generation: 5, strategy: "token" })
                return storage.put(key, theirs, expected)
              })
              : Effect.void,
            storage.put(key, next, expected)
          )
      }
      const progress = yield* run(Effect.provideService(Rekey.run(), TokenStorage.TokenStorage, racing))
      assert.deepStrictEqual(progress, { sessions: 1, rekeyed: 0, left: 0, unreadable: 0 })
      assert.strictEqual(Option.getOrThrow(yield* storage.get(keyOf("a"))).strategy, "token")
      yield* use(EnvelopeKeys.layer(kms("one"), { previous: keysFrom("B") }))
      leave(true)
      const stopped = yield* Effect.result(run(Rekey.run()))
      assert.isTrue(Result.isFailure(stopped) && stopped.failure.reason._tag === "StorageKeyUnavailable")
      leave(false)
      assert.strictEqual((yield* run(Rekey.run())).rekeyed, 1)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
