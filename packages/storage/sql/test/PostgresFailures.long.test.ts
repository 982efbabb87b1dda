import { SessionLock, TokenStorage, type TokenStorageError } from "@effect-authn/core"
import { SqlRateLimiterStore, SqlTokenStorage } from "@effect-authn/storage-sql"
import * as PostgresServer from "@effect-authn/testing/PostgresServer"
import * as TcpFaultProxy from "@effect-authn/testing/TcpFaultProxy"
import { assert, describe, layer } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { RateLimiter } from "effect/persistence"
import { SqlClient } from "effect/sql"
import * as Fs from "node:fs"
import { pool } from "./postgres.ts"
import { keyOf, plain } from "./samples.ts"

const unavailable = <A, R>(effect: Effect.Effect<A, TokenStorageError.TokenStorageError, R>) =>
  Effect.map(Effect.flip(effect), ({ message, reason, written }) => {
    assert.strictEqual(reason._tag, "StorageUnavailable")
    return { detail: message, written }
  })

const on = (url: string, options?: SqlTokenStorage.Options, maxConnections = 4) =>
  Layer.provideMerge(SqlTokenStorage.layer(options), pool(url, { maxConnections }))

describe.runIf(PostgresServer.isThere)("PostgreSQL that fails", () => {
  layer(PostgresServer.layer({ settings: { max_connections: "150" } }), { excludeTestServices: true })((it) => {
    it.effect("a server that crashes and returns: the uses in between say so, and nothing is lost", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.make()
        yield* Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const key = keyOf("restart")
          yield* storage.put(key, plain(key, 1), 0)
          yield* server.crash
          const away = yield* unavailable(storage.put(key, plain(key, 2), 1))
          assert.include(away.detail, "see whether it is up")
          yield* server.start
          assert.deepStrictEqual(Option.map(yield* storage.get(key), ({ generation }) => generation), Option.some(1))
          yield* storage.put(key, plain(key, 2), 1)
        }).pipe(Effect.provide(on(server.url())))
      }))

    it.effect("a put whose acknowledgement is lost has happened, and is known as ours", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const proxy = yield* TcpFaultProxy.make
        yield* proxy.forwardTo({ port: server.port })
        const url = server.url({ database: "postgres", port: proxy.port })
        yield* Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const key = keyOf("acknowledgement")
          yield* storage.put(key, plain(key, 1), 0)
          yield* proxy.set("stalled-to-client")
          const put = yield* Effect.forkChild(storage.put(key, plain(key, 2), 1), { startImmediately: true })
          yield* Effect.gen(function*() {
            const found = yield* server.psql("SELECT generation FROM lost_sessions")
            return found
          }).pipe(Effect.repeat({ until: (found) => found === "2" }))
          yield* proxy.set("cut")
          yield* proxy.set("open")
          yield* Fiber.join(put)
          assert.deepStrictEqual(Option.map(yield* storage.get(key), ({ generation }) => generation), Option.some(2))
        }).pipe(Effect.provide(on(url, { prefix: "lost", changes: "none" })))
      }))

    it.effect("a standby, a wrong database and tables of another version: each says what to do", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const key = keyOf("refused")
        const readOnly = yield* server.createDatabase("read_only")
        const get = (url: string, options?: SqlTokenStorage.Options) =>
          Effect.provide(
            TokenStorage.TokenStorage.use((storage) => unavailable(storage.get(key))),
            on(url, options)
          )
        const put = TokenStorage.TokenStorage.use((storage) => storage.put(key, plain(key, 1), 0))
        yield* Effect.provide(SqlTokenStorage.migrate(), pool(readOnly))
        yield* server.psql("ALTER DATABASE read_only SET default_transaction_read_only = on")
        const refused = yield* Effect.provide(
          unavailable(put),
          Layer.provide(SqlTokenStorage.layerStorage(), pool(readOnly))
        )
        assert.include(refused.detail, "connect to the primary")
        assert.strictEqual(refused.written, "no")

        const rules = yield* server.psql("SHOW hba_file")
        yield* server.psql("CREATE ROLE guest LOGIN PASSWORD 'right'")
        Fs.writeFileSync(rules, `host all guest 127.0.0.1/32 scram-sha-256\n${Fs.readFileSync(rules, "utf8")}`)
        yield* server.psql("SELECT pg_reload_conf()")
        const wrong = yield* get(server.url().replace("postgres@", "guest:wrong-canary@"))
        assert.include(wrong.detail, "give it the right user and password")
        assert.notInclude(wrong.detail, "canary")

        assert.include((yield* get(server.url({ database: "nowhere" }))).detail, "create it, or name another one")

        const newer = yield* server.createDatabase("newer")
        yield* Effect.provide(SqlTokenStorage.migrate(), pool(newer))
        yield* server.psql("INSERT INTO effect_authn_migrations (migration_id, name) VALUES (7, 'later')", "newer")
        assert.match((yield* get(newer)).detail, /of version 7, this program knows \d+: update this program/)

        const empty = yield* server.createDatabase("empty")
        const missing = yield* Effect.provide(
          unavailable(put),
          Layer.provide(SqlTokenStorage.layerStorage(), pool(empty))
        )
        assert.include(missing.detail, "SqlTokenStorage.migrate")
      }))

    it.effect("a connection that the server ends in words, for an administrator or for idleness, is replaced", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const url = yield* server.createDatabase("ended")
        const end = server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ended'")
        yield* Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          const { tokenBucket } = yield* RateLimiter.RateLimiterStore
          const bucket = { key: "ended", limit: 9, refillRate: Duration.minutes(1), allowOverflow: false, tokens: 1 }
          const key = keyOf("ended")
          // What is sent while the connection ends fails. What comes after it does not.
          const soon = <A, E>(effect: Effect.Effect<A, E>) => Effect.retry(effect, { times: 3 })
          for (let generation = 1; generation <= 3; generation += 1) {
            yield* soon(storage.put(key, plain(key, generation), generation - 1))
            yield* soon(tokenBucket(bucket))
            yield* end
          }
          yield* server.psql("ALTER DATABASE ended SET idle_session_timeout = 50")
          yield* soon(storage.put(key, plain(key, 4), 3))
          yield* end
          yield* soon(storage.put(key, plain(key, 5), 4))
          yield* Effect.sleep("200 millis")
          yield* soon(storage.put(key, plain(key, 6), 5))
        }).pipe(
          Effect.provide(Layer.provideMerge(
            Layer.merge(SqlTokenStorage.layer(), SqlRateLimiterStore.layer()),
            pool(url)
          ))
        )
      }))

    it.effect("a database that is out of order says what to put in order, and that nothing was written", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const key = keyOf("日本")
        const put = TokenStorage.TokenStorage.use((storage) => storage.put(key, plain(key, 1), 0))
        const rows: ReadonlyArray<readonly [name: string, spoiled: string, says: string, isMigrated?: false]> = [
          ["list_gone", "DROP TABLE effect_authn_migrations", "put that back from a backup, or take another prefix"],
          ["column_gone", "ALTER TABLE effect_authn_sessions DROP COLUMN due_at", "put them back from a backup"],
          ["no_schema", "ALTER DATABASE no_schema SET search_path = nowhere", "set search_path", false],
          [
            "slow",
            "ALTER DATABASE slow SET statement_timeout = 1; CREATE FUNCTION wait() RETURNS trigger AS " +
            "'BEGIN PERFORM pg_sleep(1); RETURN NEW; END' LANGUAGE plpgsql; CREATE TRIGGER slow BEFORE INSERT " +
            "ON effect_authn_sessions FOR EACH ROW EXECUTE FUNCTION wait()",
            "raise statement_timeout"
          ],
          [
            "unknown",
            "CREATE FUNCTION no() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''not today''; END' " +
            "LANGUAGE plpgsql; CREATE TRIGGER no BEFORE INSERT ON effect_authn_sessions FOR EACH ROW " +
            "EXECUTE FUNCTION no()",
            "try again"
          ],
          ["closed", "ALTER DATABASE closed WITH ALLOW_CONNECTIONS false", "not currently accepting"]
        ]
        for (const [name, spoiled, says, isMigrated] of rows) {
          const url = yield* server.createDatabase(name)
          if (isMigrated !== false) yield* Effect.provide(SqlTokenStorage.migrate(), pool(url))
          yield* server.psql(spoiled, name === "closed" ? undefined : name)
          const { detail, written } = yield* Effect.provide(unavailable(put), on(url))
          assert.include(detail, says)
          assert.strictEqual(written, "no", detail)
        }

        yield* server.psql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        const latin = yield* Effect.provide(unavailable(put), on(server.url({ database: "latin" })))
        assert.include(latin.detail, "ENCODING 'UTF8'")
        assert.strictEqual(latin.written, "no")

        yield* server.createDatabase("private")
        yield* server.psql("CREATE ROLE outsider LOGIN; REVOKE CONNECT ON DATABASE private FROM PUBLIC")
        const outside = server.url({ database: "private" }).replace("postgres@", "outsider@")
        assert.include((yield* Effect.provide(unavailable(put), on(outside))).detail, "grant its user CONNECT")

        const held = yield* server.createDatabase("held")
        yield* Effect.provide(SqlTokenStorage.migrate(), pool(held))
        yield* server.psql("ALTER DATABASE held SET lock_timeout = 200", "held")
        yield* Effect.forkScoped(Effect.ignore(
          server.psql("BEGIN; LOCK TABLE effect_authn_sessions IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)", "held")
        ))
        yield* server.psql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted", "held").pipe(
          Effect.repeat({ until: (count) => count !== "0" })
        )
        assert.include((yield* Effect.provide(unavailable(put), on(held))).detail, "something else holds the table")
      }))

    it.effect("a program that may not create tables uses those that their owner made, and is told where there are none", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const owner = yield* server.createDatabase("owned")
        yield* server.psql("CREATE ROLE worker LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC", "owned")
        const worker = pool(owner.replace("postgres@", "worker@"))
        const key = keyOf("owned")
        const draw = Effect.gen(function*() {
          const { tokenBucket } = yield* RateLimiter.RateLimiterStore
          const bucket = { key: "rate", limit: 5, refillRate: Duration.minutes(1), allowOverflow: false }
          return (yield* tokenBucket({ ...bucket, tokens: 2 }))[0]
        }).pipe(Effect.provide(Layer.provide(SqlRateLimiterStore.layer(), worker)))
        const put = Effect.provide(
          TokenStorage.TokenStorage.use((storage) => storage.put(key, plain(key, 1), 0)),
          Layer.provide(SqlTokenStorage.layerStorage(), worker)
        )

        const { message } = yield* Effect.flip(draw)
        assert.include(message, "run SqlRateLimiterStore.migrate")
        const refused = yield* Effect.provide(
          TokenStorage.TokenStorage.use(({ get }) => unavailable(get(key))),
          Layer.provide(SqlTokenStorage.layer(), worker)
        )
        assert.include(refused.detail, "SqlTokenStorage.layerStorage")

        yield* Effect.provide(Effect.andThen(SqlTokenStorage.migrate(), SqlRateLimiterStore.migrate()), pool(owner))
        assert.include((yield* Effect.flip(draw)).message, "grant it SELECT, INSERT, UPDATE and DELETE")
        yield* server.psql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker", "owned")
        assert.deepStrictEqual([yield* draw, yield* draw], [3, 1])
        yield* put
      }))

    it.effect("eight programs start at once on an empty database whose program has migrations of its own", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const url = yield* server.createDatabase("eight")
        yield* server.psql(
          "CREATE TABLE effect_sql_migrations (migration_id integer primary key, name text not null, created_at timestamptz default now()); " +
            "INSERT INTO effect_sql_migrations VALUES (99, 'ours')",
          "eight"
        )
        const key = keyOf("eight")
        const found = yield* Effect.forEach(
          Array.from({ length: 8 }),
          () => TokenStorage.TokenStorage.use(({ get }) => get(key)).pipe(Effect.provide(Layer.fresh(on(url)))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(found.filter(Option.isNone).length, 8)
        assert.strictEqual(yield* server.psql("SELECT max(migration_id) FROM effect_sql_migrations", "eight"), "99")
      }))

    it.effect("a transaction of the caller that rolls back takes nothing with it, nor does one that has every connection", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        yield* Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const storage = yield* TokenStorage.TokenStorage
          const key = keyOf("transaction")
          yield* Effect.exit(sql.withTransaction(
            Effect.andThen(storage.put(key, plain(key, 1), 0), Effect.fail("roll back"))
          ))
          assert.isTrue(Option.isSome(yield* storage.get(key)))
          const all = yield* Deferred.make<void>()
          let holding = 0
          const hold = sql.withTransaction(Effect.gen(function*() {
            yield* sql`SELECT 1`
            holding += 1
            if (holding === 4) yield* Deferred.succeed(all, undefined)
            yield* Deferred.await(all)
            return yield* storage.get(key)
          }))
          const found = yield* Effect.all([hold, hold, hold, hold], { concurrency: "unbounded" })
          assert.strictEqual(found.filter(Option.isSome).length, 4)
        }).pipe(Effect.provide(on(server.url(), { prefix: "caller", changes: "none" }, 5)))
      }))

    it.effect("while a hundred programs wait inside of their locks, the server has one connection", () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const url = yield* server.createDatabase("hundred")
        yield* Effect.gen(function*() {
          const { withLock } = yield* SessionLock.SessionLock
          const inside = yield* Deferred.make<void>()
          let entered = 0
          const connections = yield* Effect.forEach(
            Array.from({ length: 100 }, (_, index) => keyOf(`hundred ${index}`)),
            (key) =>
              Effect.gen(function*() {
                entered += 1
                if (entered === 100) yield* Deferred.succeed(inside, undefined)
                yield* Deferred.await(inside)
                return key.account === "hundred 0"
                  ? yield* server.psql(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = 'hundred' AND backend_type = 'client backend'"
                  )
                  : "0"
              }).pipe(withLock(key, "renew")),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(connections[0], "1")
        }).pipe(Effect.provide(on(url, { changes: "none" })))
      }))
  })
})
