// No connection of a store is held while a request is at the IAM: counted on the line between the program and its store.
import { SessionKeeper, type SessionLock, type TokenStorage } from "@effect-authn/core"
import * as RedisTokenStorage from "@effect-authn/storage-redis/RedisTokenStorage"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import { PostgresServer, RedisServer, TcpFaultProxy } from "@effect-authn/testing"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import * as Layer from "effect/Layer"
import * as Fleet from "./chaos/fleet.ts"
import { pool } from "./postgres.ts"

const issuer = "http://127.0.0.1:1"
const families = Array.from({ length: 100 }, (_, index) => Fleet.familyOf(index))
const life = 3_600_000

/** Renews a hundred sessions at once, and counts when all requests have gone out and none has its answer. */
const counted = (
  line: TcpFaultProxy.TcpFaultProxy,
  store: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock, unknown>
) =>
  Effect.gen(function*() {
    const all = yield* Deferred.make<void>()
    let sent = 0
    let connections = 0
    const client = HttpClient.make((request) =>
      Effect.gen(function*() {
        sent += 1
        if (sent === families.length) {
          connections = yield* line.connections
          yield* Deferred.succeed(all, undefined)
        }
        yield* Deferred.await(all)
        const body = { access_token: "new", refresh_token: "next", token_type: "Bearer", expires_in: 3600 }
        return HttpClientResponse.fromWeb(request, Response.json(body))
      })
    )
    yield* Effect.gen(function*() {
      const ends = Date.now() + life
      yield* Fleet.seed({ issuer, families, life }, () => ends)
      const { open } = yield* SessionKeeper.SessionKeeper
      yield* Effect.forEach(families, (family) => open(Fleet.keyOf({ issuer }, family)).renew(), {
        concurrency: "unbounded"
      })
    }).pipe(Effect.provide(SessionKeeper.layer.pipe(
      Layer.provideMerge(store),
      Layer.provide(Fleet.iam({ issuer, timeLimit: 60_000, grace: 0 })),
      Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
    )))
    return { connections, sent, opened: yield* line.accepted }
  })

describe("while a hundred renewals wait for the IAM", { concurrent: false }, () => {
  it.live.runIf(PostgresServer.isThere)(
    "PostgreSQL has the storage's own connection",
    () =>
      Effect.gen(function*() {
        const line = yield* TcpFaultProxy.make
        const server = yield* PostgresServer.make()
        yield* line.forwardTo(server)
        const storage = SqlTokenStorage.layer({ changes: "none", lease: "2 minutes" }).pipe(
          Layer.provide(pool(server.url({ port: line.port }), { maxConnections: 4 }))
        )
        const { connections, opened, sent } = yield* counted(line, storage)
        assert.deepStrictEqual([sent, connections], [100, 1])
        assert.isAtMost(opened, 4)
      }).pipe(Effect.scoped)
  )

  const onRedis = (replicas: number) =>
    Effect.gen(function*() {
      const line = yield* TcpFaultProxy.make
      const server = yield* RedisServer.make()
      if (replicas > 0) {
        yield* RedisServer.make({ settings: { replicaof: `127.0.0.1 ${server.port}` } })
        yield* Effect.repeat(server.cli("info", "replication"), {
          until: (said) => said.includes("state=online")
        })
      }
      yield* line.forwardTo(server)
      const storage = RedisTokenStorage.layer({ lease: "2 minutes", replicas }).pipe(
        Layer.provide(NodeRedis.layer({ url: server.url({ port: line.port }), maxConnections: 4 }))
      )
      return yield* counted(line, storage)
    }).pipe(Effect.scoped)

  it.live.runIf(RedisServer.isThere)("Redis has one, and one that hears of changes", () =>
    Effect.gen(function*() {
      const { connections, sent } = yield* onRedis(0)
      assert.deepStrictEqual([sent, connections], [100, 2])
    }))

  it.live.runIf(RedisServer.isThere)(
    "Redis with a replica has those of its pool besides",
    () =>
      Effect.gen(function*() {
        const { connections, sent } = yield* onRedis(1)
        assert.strictEqual(sent, 100)
        assert.isAtMost(connections, 2 + 4)
      })
  )
})
