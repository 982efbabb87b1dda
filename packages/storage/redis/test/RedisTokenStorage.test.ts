// The contracts against a real server, plain and encrypted; without one they are left out, loudly.
import {
  EncryptedTokenStorage,
  EncryptionKeys,
  PendingLogins,
  Selection,
  Session,
  SessionKey,
  TokenStorage
} from "@effect-authn/core"
import { RedisTokenStorage } from "@effect-authn/storage-redis"
import { DueSessionsSuite, PendingLoginsSuite, RedisServer, TokenStorageSuite } from "@effect-authn/testing"
import { NodeRedis } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Option, Redacted, Scope, Stream } from "effect"
import * as Crypto from "node:crypto"
import { afterAll } from "vitest"

// one server for all programs, which a layer of each program would start again
const scope = Scope.makeUnsafe()
const server = RedisServer.isThere
  ? await Effect.runPromise(Scope.provide(RedisServer.make(), scope))
  : undefined
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

let number = 0

/** Sessions under a prefix of their own. */
const storage = (options?: RedisTokenStorage.Options) =>
  RedisTokenStorage.layer({ prefix: `test-${++number}`, ...options }).pipe(
    Layer.provide(NodeRedis.layer({ url: server?.url() ?? "" }))
  )

describe.runIf(RedisServer.isThere)("RedisTokenStorage", () => {
  TokenStorageSuite.suite("Redis", storage())
  TokenStorageSuite.suite(
    "Redis, encrypted",
    EncryptedTokenStorage.layer(storage()).pipe(
      Layer.provide(EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make("correct horse battery staple"))))
    )
  )
  DueSessionsSuite.suite("Redis", storage())
  DueSessionsSuite.suite("Redis, one partition", storage({ partitions: 1 }))
  PendingLoginsSuite.suite("Redis", storage())

  it.live("numbers that are none are told of, and lose no session in silence", () =>
    Effect.gen(function*() {
      for (const options of [{ partitions: 0 }, { partitions: 1.5 }, { replicas: -1 }, { replicas: Number.NaN }]) {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(Layer.fresh(storage(options)))))
        assert.match(String(exit), /RedisTokenStorage: (partitions|replicas) is a number from/)
      }
    }))

  layer(storage({ prefix: "bytes" }))((it) => {
    it.effect("no value shows a pending login, and with it the private key of the session to come", () =>
      Effect.gen(function*() {
        const pending = yield* PendingLogins.PendingLogins
        const id = Redacted.make("state-canary")
        const login = JSON.stringify({ codeVerifier: "verifier-canary", proofKey: { jwk: { d: "key-canary" } } })
        yield* pending.put(id, Redacted.make(login), Duration.minutes(5))
        const names = (yield* server!.cli("--scan", "--pattern", "{bytes:*}:p:*")).split("\n")
        assert.strictEqual(names.length, 1)
        const value = yield* server!.cli("get", names[0] ?? "")
        assert.isAbove(value.length, login.length)
        assert.notInclude(`${names[0]} ${value}`, "canary")
        assert.deepStrictEqual(Option.map(yield* pending.take(id), Redacted.value), Option.some(login))
      }))
  })

  layer(storage({ partitions: 3 }))((it) => {
    it.effect("pages come in the order of the SHA-256 of the keys, and none is missed or doubled", () =>
      Effect.gen(function*() {
        const { page, put, remove, scan } = yield* TokenStorage.TokenStorage
        const keys = Array.from(
          { length: 23 },
          (_, index) =>
            SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "tests", account: `person ${index}` })
        )
        for (const key of keys) yield* put(key, sessionOf(key), 0)
        yield* remove(keys[0]!, 1)
        const place = ({ id }: { readonly id: string }) => Crypto.createHash("sha256").update(id).digest("hex")
        const pages: Array<string> = []
        for (let after = ""; pages.length < 30;) {
          const found = (yield* page!(after, 5)).map(place)
          assert.isAtMost(found.length, 5)
          pages.push(...found)
          if (found.length < 5) break
          after = found.at(-1)!
        }
        const left = keys.slice(1).map(place).sort()
        assert.deepStrictEqual(pages, left)
        assert.deepStrictEqual((yield* Stream.runCollect(scan!)).map(place).sort(), left)
      }))
  })

  layer(storage({ prefix: "evicted", partitions: 2 }))((it) => {
    it.effect("a page is full though sessions of it are gone without their names, which go, too", () =>
      Effect.gen(function*() {
        const { page, put } = yield* TokenStorage.TokenStorage
        const keys = Array.from(
          { length: 12 },
          (_, index) =>
            SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "tests", account: `person ${index}` })
        )
        for (const key of keys) yield* put(key, sessionOf(key), 0)
        const place = ({ id }: { readonly id: string }) => Crypto.createHash("sha256").update(id).digest("hex")
        const places = keys.map(place).sort()
        const gone = new Set([...places.slice(1, 7), ...places.slice(-1)])
        const sessions = (yield* server!.cli("--scan", "--pattern", "{evicted:*}:s:*")).split("\n")
        for (const name of sessions) if (gone.has(name.slice(name.indexOf(":s:") + 3))) yield* server!.cli("del", name)

        const left = places.filter((each) => !gone.has(each))
        assert.deepStrictEqual((yield* page!("", 3)).map(place), left.slice(0, 3))
        assert.deepStrictEqual((yield* page!(left[2]!, 3)).map(place), left.slice(3))
        for (const index of ["dues", "names"]) {
          const counts = yield* Effect.forEach([0, 1], (at) => server!.cli("zcard", `{evicted:${at}}:${index}`))
          assert.strictEqual(Number(counts[0]) + Number(counts[1]), left.length, index)
        }
      }))
  })

  layer(storage({ prefix: "before", partitions: 2 }))((it) => {
    it.effect("sessions that programs write and remove without the index of names are scanned, listed and counted", () =>
      Effect.gen(function*() {
        const { keys, page, put } = yield* TokenStorage.TokenStorage
        const accounts = ["ada", "bea", "cleo", "dora"]
        for (const account of accounts) {
          const key = SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "tests", account })
          yield* put(key, sessionOf(key), 0)
        }
        const names = yield* Effect.filter(
          ["{before:0}:names", "{before:1}:names"],
          (name) => Effect.map(server!.cli("zcard", name), (count) => count !== "0")
        )
        const listed = (found: ReadonlyArray<SessionKey.SessionKey>) => found.map(({ account }) => account).sort()

        for (const name of names) yield* server!.cli("del", name)
        assert.deepStrictEqual(listed(yield* page!("", 10)), accounts)

        for (const name of names) yield* server!.cli("del", name)
        assert.deepStrictEqual(listed(yield* keys), accounts)

        // one was written and one removed: the indexes are of one size
        for (const name of names) {
          yield* server!.cli("zpopmin", name)
          yield* server!.cli("zadd", name, "0", "f".repeat(64))
        }
        assert.deepStrictEqual(listed(yield* keys), accounts)
      }))
  })
})

/** A session without tokens. */
const sessionOf = (key: SessionKey.SessionKey) =>
  Session.Session.make({
    key,
    generation: 1,
    durable: true,
    strategy: "password",
    user: Option.none(),
    grant: { _tag: "ExchangeAccessToken" },
    tokens: {},
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })
