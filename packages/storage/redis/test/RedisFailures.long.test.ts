// What can happen to a Redis server, and what a storage over it says.
import { Selection, Session, SessionKey, TokenSet, TokenStorage, type TokenStorageError } from "@effect-authn/core"
import { RedisTokenStorage } from "@effect-authn/storage-redis"
import { RedisServer, TcpFaultProxy } from "@effect-authn/testing"
import { NodeRedis } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Effect, Fiber, Layer, Option, Redacted, Schedule, Stream } from "effect"

const key = SessionKey.SessionKey.make({ issuer: "https://idp.example.com", clientId: "web", account: "ada" })

const sessionOf = (generation: number) =>
  Session.Session.make({
    key,
    generation,
    durable: true,
    strategy: "password",
    user: Option.none(),
    grant: { _tag: "ExchangeAccessToken" },
    tokens: {
      [Selection.id(Selection.none)]: TokenSet.TokenSet.make({
        accessToken: Redacted.make("canary-access-token"),
        tokenType: "Bearer",
        issuedAt: DateTime.makeUnsafe(1),
        expiresAt: Option.none(),
        idToken: Option.none(),
        scope: Option.none()
      })
    },
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })

/** A program with a storage of its own over the server at `url`. */
const program = (url: string, options?: RedisTokenStorage.Options) =>
  Effect.map(
    Layer.build(Layer.fresh(RedisTokenStorage.layer(options).pipe(Layer.provide(NodeRedis.layer({ url }))))),
    (built) => Context.get(built, TokenStorage.TokenStorage)
  )

const reasonOf = (error: TokenStorageError.TokenStorageError) => {
  assert.notInclude(error.message, "canary")
  if (error.reason._tag !== "StorageUnavailable") return assert.fail(error.reason._tag)
  return { written: error.reason.written, words: error.message }
}

const generationOf = (storage: TokenStorage.TokenStorage["Service"]) =>
  Effect.map(storage.get(key), Option.map(({ generation }) => generation))

describe.runIf(RedisServer.isThere)("a Redis server", { timeout: 120_000 }, () => {
  it.live("that is away and comes back: nothing is lost, and the storage goes on by itself", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const storage = yield* program(server.url())
      assert.isTrue(storage.guarantees.durable)
      yield* storage.put(key, sessionOf(1), 0)
      yield* server.crash
      const { words, written } = reasonOf(yield* Effect.flip(storage.put(key, sessionOf(2), 1)))
      assert.strictEqual(written, "maybe")
      assert.match(words, /Redis cannot be used .*: is it running, and reachable\?/)
      reasonOf(yield* Effect.flip(storage.get(key)))
      yield* server.start
      // what was kept back while the connection was away may have arrived meanwhile
      const found = yield* Effect.retry(generationOf(storage), Schedule.spaced("100 millis"))
      assert.include([1, 2], Option.getOrThrow(found))
      yield* storage.put(key, sessionOf(3), Option.getOrThrow(found))
      assert.deepStrictEqual(yield* generationOf(storage), Option.some(3))
    }))

  it.live("whose answer to a write is lost: the write is known again, and counts", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const proxy = yield* TcpFaultProxy.make
      yield* proxy.forwardTo({ port: server.port })
      const storage = yield* program(server.url({ port: proxy.port }))
      const witness = yield* program(server.url())
      yield* storage.put(key, sessionOf(1), 0)
      yield* proxy.set("stalled-to-client")
      const writing = yield* Effect.forkChild(storage.put(key, sessionOf(2), 1))
      yield* Effect.repeat(generationOf(witness), {
        schedule: Schedule.spaced("20 millis"),
        until: Option.contains(2)
      })
      yield* proxy.reset
      yield* proxy.set("open")
      yield* Fiber.join(writing)
      assert.deepStrictEqual(yield* generationOf(storage), Option.some(2))
    }))

  it.live("that is a replica, that is full, or that forbids it: said so, and nothing was written", () =>
    Effect.gen(function*() {
      const primary = yield* RedisServer.make()
      const replica = yield* RedisServer.make({ settings: { replicaof: `127.0.0.1 ${primary.port}` } })
      const onReplica = yield* program(replica.url())
      const readOnly = reasonOf(yield* Effect.flip(onReplica.put(key, sessionOf(1), 0)))
      assert.strictEqual(readOnly.written, "no")
      assert.include(readOnly.words, "connect to the primary")

      const full = yield* RedisServer.make({ settings: { maxmemory: "100kb" } })
      const onFull = yield* program(full.url())
      const noMemory = reasonOf(yield* Effect.flip(onFull.put(key, sessionOf(1), 0)))
      assert.strictEqual(noMemory.written, "no")
      assert.include(noMemory.words, "maxmemory")

      const onPrimary = yield* program(primary.url())
      yield* primary.cli("acl", "setuser", "default", "-evalsha")
      const forbidden = reasonOf(yield* Effect.flip(onPrimary.put(key, sessionOf(1), 0)))
      assert.strictEqual(forbidden.written, "no")
      assert.include(forbidden.words, "does not allow this user")
    }))

  it.live("that refuses a part of a write: nothing of it was written, and said so with what to do", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const storage = yield* program(server.url())
      const refused = (says: string) =>
        Effect.gen(function*() {
          const { words, written } = reasonOf(yield* Effect.flip(storage.put(key, sessionOf(1), 0)))
          assert.strictEqual(written, "no", words)
          assert.include(words, says)
          assert.isTrue(Option.isNone(yield* storage.get(key)))
        })
      // as new users of Redis 7 are made
      yield* server.cli("acl", "setuser", "default", "resetchannels")
      yield* refused("and the channel &")
      yield* server.cli("acl", "setuser", "default", "allchannels")
      yield* storage.put(key, sessionOf(1), 0)
      yield* server.cli("acl", "setuser", "default", "resetchannels")
      assert.include(reasonOf(yield* Effect.flip(storage.remove(key, 1))).words, "and the channel &")
      assert.strictEqual((yield* storage.keys).length, 1)
      yield* server.cli("acl", "setuser", "default", "allchannels")
      const dues = yield* server.cli("--scan", "--pattern", "*:dues")
      yield* storage.remove(key, 1)
      yield* server.cli("set", dues.trim(), "of another program")
      yield* refused("remove it, or take another prefix")

      // what it says is enough
      const [, rules = ""] = /need: (.*), the keys/.exec(
        yield* Effect.gen(function*() {
          yield* server.cli("acl", "setuser", "app", "on", ">pw", "+info", "+evalsha", "+script")
          const app = yield* program(server.url().replace("redis://", "redis://app:pw@"))
          return reasonOf(yield* Effect.flip(app.put(key, sessionOf(1), 0))).words
        })
      ) ?? []
      yield* server.cli("del", dues.trim())
      yield* server.cli("acl", "setuser", "app", ...rules.split(" "), "~{effect-authn*", "&effect-authn*")
      const app = yield* program(server.url().replace("redis://", "redis://app:pw@"))
      yield* app.put(key, sessionOf(1), 0)
      assert.lengthOf(yield* app.keys, 1)
      yield* app.remove(key, 1)

      const narrow = yield* RedisServer.make({ settings: { "rename-command": "EVALSHA \"\"" } })
      const onNarrow = yield* program(narrow.url())
      const unknown = reasonOf(yield* Effect.flip(onNarrow.put(key, sessionOf(1), 0)))
      assert.strictEqual(unknown.written, "no")
      assert.match(unknown.words, /does not know a command .*'EVALSHA'/)
    }))

  it.live("without a log of its writes, or that drops keys when it is full, keeps nothing for sure", () =>
    Effect.gen(function*() {
      for (const settings of [{ appendonly: "no" }, { "maxmemory-policy": "allkeys-lru" }]) {
        const server = yield* RedisServer.make({ settings })
        const storage = yield* program(server.url())
        assert.isFalse(storage.guarantees.durable)
      }
    }))

  it.live("with too few replicas: the outcome is unknown; with enough it is known", () =>
    Effect.gen(function*() {
      const primary = yield* RedisServer.make()
      const storage = yield* program(primary.url(), { replicas: 1 })
      const { words, written } = reasonOf(yield* Effect.flip(storage.put(key, sessionOf(1), 0)))
      assert.strictEqual(written, "maybe")
      assert.include(words, "0 of 1 replicas")
      assert.deepStrictEqual(yield* generationOf(storage), Option.some(1))

      const replica = yield* RedisServer.make({ settings: { replicaof: `127.0.0.1 ${primary.port}` } })
      // the primary counts it a moment later than it calls itself linked
      yield* Effect.repeat(primary.cli("info", "replication"), {
        schedule: Schedule.spaced("50 millis"),
        until: (said) => said.includes("state=online")
      })
      // one that has just begun to follow, on a busy disk, can take longer than a write waits
      yield* Effect.retry(storage.put(key, sessionOf(2), 1), { while: (error) => reasonOf(error).written === "maybe" })
      assert.deepStrictEqual(yield* generationOf(yield* program(replica.url())), Option.some(2))
    }))

  it.live("that holds what is no session: it is moved aside, said so, and signing in goes on", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const storage = yield* program(server.url())
      yield* storage.put(key, sessionOf(1), 0)
      const names = (yield* server.cli("--scan", "--pattern", "*:s:*")).split("\n")
      yield* server.cli("hset", names[0]!, "d", "{")
      const error = yield* Effect.flip(storage.get(key))
      assert.strictEqual(error.reason._tag, "StorageCorrupt")
      assert.include(error.message, `${names[0]}:damaged`)
      assert.isTrue(Option.isNone(yield* storage.get(key)))
      yield* storage.put(key, sessionOf(1), 0)
      assert.isAbove(Number(yield* server.cli("pttl", `${names[0]}:damaged`)), 0)
    }))

  it.live("that restarts: what others write is heard again", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const storage = yield* program(server.url())
      const other = yield* program(server.url())
      const heard: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(storage.changes, (changed) => Effect.sync(() => heard.push(changed.account)))
      )
      const hears = (generation: number) =>
        Effect.gen(function*() {
          heard.length = 0
          yield* Effect.retry(
            Effect.gen(function*() {
              const found = yield* other.get(key)
              const before = Option.match(found, { onNone: () => 0, onSome: (session) => session.generation })
              yield* other.put(key, sessionOf(Math.max(before + 1, generation)), before)
              yield* Effect.sleep("100 millis")
              if (heard.length === 0) return yield* Effect.fail("nothing was heard")
            }),
            Schedule.spaced("100 millis")
          )
          assert.include(heard, "ada")
        })
      yield* hears(1)
      yield* server.crash
      yield* server.start
      yield* hears(50)
    }))
})
