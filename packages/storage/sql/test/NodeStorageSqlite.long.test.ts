import { AuthManager, AuthStrategy, EncryptionKeys, StoragePolicy, TokenStorage } from "@effect-authn/core"
import { NodeAuth, NodeStorage } from "@effect-authn/platform-node"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { ScriptedIam, TestProcess, TokenStorageSuite } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { keyOf, plain } from "./samples.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-sqlite-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

const secret = Buffer.alloc(32, 7).toString("base64")

const storage = (directory: string, env: Record<string, string> = { AUTHN_KEY: secret }) =>
  NodeStorage.layer({ policy: "sqlite", directory, sql: SqlTokenStorage.layer() }).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
  )

const bytesBelow = (directory: string): string =>
  Fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => Fs.readFileSync(Path.join(entry.parentPath, entry.name), "latin1")).join("")

TokenStorageSuite.suite(
  "the policy sqlite",
  Layer.unwrap(Effect.map(temporary, (directory) => storage(directory)))
)

describe("NodeStorage on SQLite", () => {
  it.live("processes that share the file exclude each other, and nothing in it is plain", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const child = Path.join(import.meta.dirname, "children/counter.ts")
      const env = { PATH: process.env["PATH"], AUTHN_KEY: secret }
      yield* Effect.forEach(Array.from({ length: 6 }), () =>
        Effect.gen(function*() {
          const { ended } = yield* TestProcess.start(child, [directory, "10"], env)
          const { code, stderr } = yield* ended
          assert.deepStrictEqual([code, stderr], [0, ""])
        }), { concurrency: "unbounded" })
      const found = yield* Effect.flatMap(TokenStorage.TokenStorage, ({ get }) => get(keyOf("counter"))).pipe(
        Effect.provide(storage(directory))
      )
      assert.strictEqual(Option.getOrThrow(found).generation, 60)
      assert.notInclude(bytesBelow(directory), "canary-of-the-session")
      const place = Path.join(directory, "sqlite")
      assert.strictEqual(Fs.statSync(place).mode & 0o777, 0o700)
      assert.strictEqual(Fs.statSync(Path.join(place, "sessions.sqlite")).mode & 0o777, 0o600)
    }).pipe(Effect.scoped))

  it.live("without a key, without SQL, or with a file that cannot be opened it says what is missing", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const message = (layer: Layer.Layer<StoragePolicy.StoragePolicy>) =>
        Effect.flatMap(StoragePolicy.StoragePolicy, ({ choice }) => choice).pipe(
          Effect.provide(layer),
          Effect.flip,
          Effect.map(({ message }) => message)
        )
      assert.match(yield* message(storage(directory, {})), /sqlite: there is no key: set/)
      assert.isFalse(Fs.existsSync(Path.join(directory, "sqlite")))
      assert.match(
        yield* message(NodeStorage.layer({ policy: "sqlite", directory, key: EncryptionKeys.layerEnvironment() })),
        /this program does not use SQLite/
      )
      Fs.mkdirSync(Path.join(directory, "sqlite", "sessions.sqlite"), { recursive: true })
      assert.match(yield* message(storage(directory)), /sqlite: .*a directory is in the way of a file/)
    }).pipe(Effect.scoped))

  it.live("auto never takes it", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const { choice } = yield* Effect.provide(
        StoragePolicy.StoragePolicy,
        NodeStorage.layer({
          policy: "auto",
          directory,
          sql: SqlTokenStorage.layer(),
          key: EncryptionKeys.layerPassphrase(Effect.fail({ message: "nobody typed one" }))
        })
      )
      assert.notInclude((yield* Effect.flip(choice)).message, "sqlite")
    }).pipe(Effect.scoped))

  it.live("is a storage of NodeAuth, and a place to move sessions to", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const options = {
        directory,
        sql: SqlTokenStorage.layer(),
        key: EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make("a passphrase that is long")))
      }
      const token = Effect.flatMap(AuthManager.AuthManager, (auth) => auth.token)
      const over = (policy: StoragePolicy.Policy) =>
        NodeAuth.layer(ScriptedIam.layer(), { storage: NodeStorage.layer({ ...options, policy }) })
      yield* Effect.flatMap(
        AuthManager.AuthManager,
        (auth) => auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
      ).pipe(Effect.provide(over("encrypted-file")))
      assert.lengthOf(yield* NodeStorage.migrate({ ...options, from: "encrypted-file", to: "sqlite" }), 1)
      const { accessToken } = yield* Effect.provide(token, over("sqlite"))
      assert.isDefined(accessToken)
      assert.strictEqual((yield* Effect.flip(Effect.provide(token, over("encrypted-file"))))._tag, "NotAuthenticated")
    }).pipe(Effect.scoped))

  it.live("a session that was removed is in no byte of it", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const key = keyOf("gone")
      yield* Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        yield* storage.put(key, plain(key, 1), 0)
        yield* storage.remove(key, 1)
        assert.isTrue(Option.isNone(yield* storage.get(key)))
      }).pipe(Effect.provide(storage(directory)))
      assert.notInclude(bytesBelow(directory), "\"sealed\"")
    }).pipe(Effect.scoped))
})
