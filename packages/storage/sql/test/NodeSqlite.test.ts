import { ServiceTokens, SessionLock, TokenStorage } from "@effect-authn/core"
import { NodeSqlite } from "@effect-authn/platform-node"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { SqlClient } from "effect/sql"
import * as ChildProcess from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { keyOf, plain } from "./samples.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-sqlite-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

const on = (filename: string) => Layer.provideMerge(SqlTokenStorage.layer(), NodeSqlite.layer({ filename }))

const key = keyOf("file")

const bytesBelow = (directory: string) =>
  Fs.readdirSync(directory).map((name) => Fs.readFileSync(Path.join(directory, name)).toString("latin1")).join("")

it.effect("a name that SQLite takes for something else than a file is refused, and no file of that name is made", () =>
  Effect.gen(function*() {
    for (const filename of [":memory:", "", "file::memory:?cache=shared"]) {
      const refused = yield* Effect.flip(Layer.build(NodeSqlite.layer({ filename })))
      assert.include(refused.message, "is the name of no file", filename)
      assert.isFalse(filename !== "" && Fs.existsSync(filename), filename)
    }
  }).pipe(Effect.scoped))

it.live("the file and what lies beside it are for this user alone, whatever the umask", () =>
  Effect.gen(function*() {
    const directory = Path.join(yield* temporary, "private")
    yield* Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      yield* storage.put(key, plain(key, 1), 0)
      const names = Fs.readdirSync(directory)
      assert.deepStrictEqual(names.sort(), ["s.sqlite", "s.sqlite-shm", "s.sqlite-wal"])
      for (const name of names) assert.strictEqual(Fs.statSync(Path.join(directory, name)).mode & 0o777, 0o600, name)
      assert.strictEqual(Fs.statSync(directory).mode & 0o777, 0o700)
    }).pipe(Effect.provide(on(Path.join(directory, "s.sqlite"))))
  }))

it.live("no byte of a session is left after it was removed, nor after a logout", () =>
  Effect.gen(function*() {
    const directory = Path.join(yield* temporary, "private")
    yield* Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      yield* storage.put(key, plain(key, 1, "canary-7d1f"), 0)
      assert.include(bytesBelow(directory), "canary-7d1f")
      yield* storage.put(key, plain(key, 2, "canary-8e2a"), 1)
      yield* storage.remove(key, 2)
      const left = bytesBelow(directory)
      assert.notInclude(left, "canary-7d1f")
      assert.notInclude(left, "canary-8e2a")
    }).pipe(Effect.provide(on(Path.join(directory, "s.sqlite"))))
  }))

// Takes the file, says so, and lets it go when it is told to.
const holder = `
  const { DatabaseSync } = require("node:sqlite")
  const other = new DatabaseSync(process.argv[1])
  other.exec("BEGIN IMMEDIATE")
  console.log("held")
  process.stdin.once("data", () => other.exec("COMMIT"))
`

it.live("while another program holds the file, timers go on, and the write waits for its turn", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      yield* storage.put(key, plain(key, 1), 0)
      const other = yield* Effect.acquireRelease(
        Effect.sync(() =>
          ChildProcess.spawn(process.execPath, ["--no-warnings", "-e", holder, filename], {
            stdio: ["pipe", "pipe", "inherit"]
          })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      yield* Effect.callback((resume) => {
        other.stdout.once("data", () => resume(Effect.void))
      })
      const writing = yield* Effect.forkChild(storage.put(key, plain(key, 2), 1), { startImmediately: true })
      // The file is let go by timers of this program: a wait of SQLite's own would let none of them through.
      for (let ticks = 0; ticks < 20; ticks++) {
        yield* Effect.sleep("2 millis")
        assert.isUndefined(writing.pollUnsafe())
      }
      other.stdin.end("go")
      yield* Fiber.join(writing)
      const found = yield* storage.get(key)
      assert.deepStrictEqual(Option.map(found, ({ generation }) => generation), Option.some(2))
    }).pipe(Effect.provide(on(filename)))
  }))

it.live("a transaction of the program that rolls back takes nothing of the storage with it", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const storage = yield* TokenStorage.TokenStorage
      yield* storage.keys
      yield* sql`CREATE TABLE ours (n INTEGER)`
      const found = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO ours VALUES (1)`
        return yield* storage.get(key)
      }))
      assert.isTrue(Option.isNone(found))
      yield* Effect.exit(sql.withTransaction(Effect.andThen(sql`INSERT INTO ours VALUES (2)`, Effect.fail("no"))))
      assert.deepStrictEqual(yield* sql`SELECT n FROM ours`, [{ n: 1 }])
      yield* storage.put(key, plain(key, 1), 0)
    }).pipe(Effect.provide(on(filename)))
  }))

it.live("a write inside the program's own transaction on the file fails with words, and one beside a transaction waits", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const storage = yield* TokenStorage.TokenStorage
      const { withLock } = yield* SessionLock.SessionLock
      yield* sql`CREATE TABLE ours (n INTEGER)`
      yield* storage.put(key, plain(key, 1), 0)
      const refused = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO ours VALUES (1)`
        const locked = yield* Effect.flip(withLock(key, "renew")(Effect.void))
        assert.include(locked.message, "a transaction of this program has the SQLite file")
        return yield* Effect.flip(storage.put(key, plain(key, 2), 1))
      }))
      assert.include(refused.message, "use sessions before or after it, or give them a file of their own")
      assert.strictEqual(refused.written, "no")

      const begun = yield* Deferred.make<void>()
      const written = yield* Deferred.make<void>()
      const busy = yield* Effect.forkChild(
        sql.withTransaction(Effect.gen(function*() {
          yield* Deferred.succeed(begun, undefined)
          // longer than an idle one is waited for
          for (let count = 0; count < 60; count++) {
            yield* sql`INSERT INTO ours VALUES (2)`
            yield* Effect.sleep("20 millis")
          }
          assert.isFalse(yield* Deferred.isDone(written))
        })),
        { startImmediately: true }
      )
      yield* Deferred.await(begun)
      yield* storage.put(key, plain(key, 3), 1)
      yield* Deferred.succeed(written, undefined)
      yield* Fiber.join(busy)
    }).pipe(Effect.provide(on(filename)))
  }))

it.live("a write waits for a transaction of another fiber that waits itself", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const storage = yield* TokenStorage.TokenStorage
      yield* sql`CREATE TABLE ours (n INTEGER)`
      yield* storage.put(key, plain(key, 1), 0)
      const begun = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const waiting = yield* Effect.forkChild(
        sql.withTransaction(Effect.gen(function*() {
          yield* sql`INSERT INTO ours VALUES (1)`
          yield* Deferred.succeed(begun, undefined)
          // its own write fails first, while the other fiber's goes on waiting
          const refused = yield* Effect.flip(storage.put(keyOf("inside"), plain(keyOf("inside"), 1), 0))
          assert.include(refused.message, "a transaction of this program has the SQLite file")
          yield* Effect.sleep("200 millis")
          yield* Deferred.succeed(ended, undefined)
        }))
      )
      yield* Deferred.await(begun)
      yield* storage.put(key, plain(key, 2), 1)
      assert.isTrue(yield* Deferred.isDone(ended))
      yield* Fiber.join(waiting)
    }).pipe(Effect.provide(on(filename)))
  }))

it.live("a file that is no database, and a directory in its place, are named with what to do", () =>
  Effect.gen(function*() {
    const directory = yield* temporary
    const filename = Path.join(directory, "text.sqlite")
    Fs.writeFileSync(filename, "this is a text, and no database".repeat(100))
    const use = (file: string) =>
      TokenStorage.TokenStorage.use(({ get }) => get(key)).pipe(Effect.provide(on(file)), Effect.flip)
    assert.include((yield* use(filename)).message, "file is not a database")
    assert.include((yield* use(directory)).message, "unable to open database file")
  }))

it.live("a file that is removed or replaced under a program is told of, and nothing is written into what has no name", () =>
  Effect.gen(function*() {
    const directory = Path.join(yield* temporary, "private")
    const filename = Path.join(directory, "s.sqlite")
    for (
      const [what, away] of [["removed", () => Fs.rmSync(filename)], ["replaced", () => {
        Fs.renameSync(filename, `${filename}.old`)
        Fs.writeFileSync(filename, "", { mode: 0o600 })
      }]] as const
    ) {
      yield* Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        yield* storage.put(key, plain(key, 1), 0)
        away()
        const writing = yield* Effect.flip(storage.put(key, plain(key, 2), 1))
        assert.include(writing.message, `${what} while this program has it: start the program again`)
        assert.strictEqual(writing.reason._tag === "StorageUnavailable" && writing.reason.written, "no")
        assert.include((yield* Effect.flip(storage.get(key))).message, what)
        const sql = yield* SqlClient.SqlClient
        const inside = yield* Effect.flip(sql.withTransaction(sql`SELECT 1`))
        assert.include(inside.message, what)
      }).pipe(Effect.provide(Layer.fresh(on(filename))))
      Fs.rmSync(directory, { recursive: true })
    }
  }))

it.live("a damaged document is moved aside, the next read finds nothing, and it goes with its session", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const storage = yield* TokenStorage.TokenStorage
      yield* storage.put(key, plain(key, 1), 0)
      yield* sql`UPDATE effect_authn_sessions SET document = 'no document'`
      const { reason } = yield* Effect.flip(storage.get(key))
      assert.strictEqual(reason._tag, "StorageCorrupt")
      assert.match(reason.message, /moved to row [0-9a-f]{64}\.damaged-\d+ of table effect_authn_sessions/)
      assert.isTrue(Option.isNone(yield* storage.get(key)))
      assert.deepStrictEqual(yield* storage.keys, [])
      yield* storage.put(key, plain(key, 3), 0)
      const other = keyOf("other")
      yield* storage.put(other, plain(other, 1), 0)
      yield* sql`UPDATE effect_authn_sessions SET document = 'no document' WHERE generation = 1`
      yield* Effect.flip(storage.get(other))
      const asides = Effect.map(
        sql<{ readonly id: string }>`SELECT id FROM effect_authn_sessions WHERE id LIKE '%damaged%'`,
        (rows) => rows.length
      )
      assert.strictEqual(yield* asides, 2)
      yield* storage.remove(key, 3)
      assert.strictEqual(yield* asides, 1)
      yield* storage.remove(other, 0)
      assert.strictEqual(yield* asides, 0)
    }).pipe(Effect.provide(on(filename)))
  }))

it.live("tables of the version before are brought to this one, with what is in them", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* (yield* TokenStorage.TokenStorage).put(key, plain(key, 1), 0)
      yield* sql`DROP TABLE effect_authn_service_tokens`
      yield* sql`DELETE FROM effect_authn_migrations WHERE migration_id > 1`
    }).pipe(Effect.provide(on(filename)))
    yield* Effect.gen(function*() {
      const tokens = yield* ServiceTokens.ServiceTokens
      yield* tokens.create({ name: "app", rights: ["token"] })
      assert.isTrue(Option.isSome(yield* (yield* TokenStorage.TokenStorage).get(key)))
    }).pipe(Effect.provide(Layer.fresh(on(filename))))
  }))

it.live("a service token that cannot be read hides no other one, and can be revoked", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const tokens = yield* ServiceTokens.ServiceTokens
      const sql = yield* SqlClient.SqlClient
      const damaged = yield* tokens.create({ name: "damaged", rights: ["token"] })
      yield* tokens.create({ name: "good", rights: ["token"] })
      yield* sql`UPDATE effect_authn_service_tokens SET token = replace(token, '"token"', '"of-later"') WHERE name = 'damaged'`
      assert.deepStrictEqual((yield* tokens.list).map(({ name }) => name), ["good"])
      const { message } = yield* Effect.flip(tokens.find(damaged))
      assert.include(message, "the service token \"damaged\" in table effect_authn_service_tokens cannot be read")
      assert.notInclude(message, "sign in")
      assert.isTrue(yield* tokens.revoke("damaged"))
      assert.isTrue(Option.isNone(yield* tokens.find(damaged)))
    }).pipe(Effect.provide([on(filename), Logger.layer([])]))
  }))

it.live("pages come in the order of the SHA-256 of the keys, and none is missed or doubled", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporary, "s.sqlite")
    yield* Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      const keys = Array.from({ length: 7 }, (_, index) => keyOf(`person ${index}`))
      for (const each of keys) yield* storage.put(each, plain(each, 1), 0)
      const place = ({ id }: { readonly id: string }) => Crypto.createHash("sha256").update(id).digest("hex")
      const pages = []
      for (let after = ""; pages.length < 9;) {
        const page = yield* storage.page!(after, 3)
        pages.push(...page.map(place))
        if (page.length < 3) break
        after = place(page.at(-1)!)
      }
      assert.deepStrictEqual(pages, keys.map(place).sort())
    }).pipe(Effect.provide(on(filename)))
  }))

it.live("a document under the generation of another write is damaged", () =>
  Effect.gen(function*() {
    const directory = yield* temporary
    yield* Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      const sql = yield* SqlClient.SqlClient
      yield* storage.put(key, plain(key, 1), 0)
      yield* sql`UPDATE effect_authn_sessions SET generation = 7`
      const { reason } = yield* Effect.flip(storage.get(key))
      assert.strictEqual(reason._tag, "StorageCorrupt")
      assert.include(reason.message, "of another generation than its document")
      assert.isTrue(Option.isNone(yield* storage.get(key)))
    }).pipe(Effect.provide(on(Path.join(directory, "s.sqlite"))))
  }))
