/**
 * The counterparts of the upstream test cases about files, by their names. A case that asserts what we hold to be a bug
 * is turned around, and says so. The cases about the manager are in core.
 */
import { AuthManager, AuthStrategy, SessionKeeper, TokenStorage } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { ScriptedIam } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Redacted } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as children from "./children.ts"

const temporary = Effect.provide(children.temporary, NodeFileSystem.layer)

const login = AuthManager.AuthManager.use((auth) =>
  auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
)

/** One program over a storage, as a process would be: another call is another process. */
const program = (storage: ReturnType<typeof FileTokenStorage.layer>, issuer = "https://iam.example") =>
  Layer.fresh(AuthManager.layer()).pipe(
    Layer.provide(Layer.fresh(SessionKeeper.layer)),
    Layer.provideMerge(storage),
    Layer.provide(ScriptedIam.layer({ issuer })),
    Layer.fresh
  )
const inDirectory = (directory: string, issuer?: string) => program(FileTokenStorage.layer({ directory }), issuer)

const sessionFiles = (directory: string) =>
  Fs.existsSync(directory) ? Fs.readdirSync(directory).filter((name) => name.endsWith(".json")) : []

const storedToken = AuthManager.AuthManager.use((auth) =>
  Effect.map(auth.storedToken, Option.map((given) => Redacted.value(given)))
)

describe("test_authn_storage.py, File", () => {
  it.live("upstream: test_is_available (File): it is there without a file being touched", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporary, "not", "there")
      const storage = yield* Effect.provide(TokenStorage.TokenStorage, inDirectory(directory))
      assert.include(storage.description, directory)
      assert.isFalse(Fs.existsSync(directory))
    }))

  it.live("upstream: test_set_and_get (File): what one process stores the next one finds", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const session = yield* Effect.provide(login, inDirectory(directory))
      const found = yield* Effect.provide(AuthManager.AuthManager.use((auth) => auth.session), inDirectory(directory))
      assert.deepStrictEqual(Option.map(found, TokenStorage.encode), Option.some(TokenStorage.encode(session)))
    }))

  it.live("upstream: test_delete (File): nothing is found after; deleting what is not there creates nothing (inverted)", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* Effect.provide(login, inDirectory(directory))
      const clear = AuthManager.AuthManager.use((auth) => auth.clearStoredToken)
      yield* Effect.provide(clear, inDirectory(directory))
      assert.isTrue(Option.isNone(yield* Effect.provide(storedToken, inDirectory(directory))))
      yield* Effect.provide(clear, inDirectory(directory))
      assert.deepStrictEqual(sessionFiles(directory), [])
    }))

  it.live("upstream: test_clear (File): the file is gone, those of other servers stay (inverted)", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* Effect.provide(login, inDirectory(directory))
      const [own] = sessionFiles(directory)
      yield* Effect.provide(login, inDirectory(directory, "https://other.example"))
      yield* Effect.provide(AuthManager.AuthManager.use((auth) => auth.logout), inDirectory(directory))
      const left = sessionFiles(directory)
      assert.strictEqual(left.length, 1)
      assert.notInclude(left, own)
    }))

  it.live("upstream: test_token_methods (File): store, get and clear the token, each server its own (inverted)", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const store = (text: string, issuer: string) =>
        AuthManager.AuthManager.use((auth) => auth.storeToken(Redacted.make(text))).pipe(
          Effect.provide(inDirectory(directory, issuer))
        )
      yield* store("one", "https://one.example")
      yield* store("two", "https://two.example")
      const one = inDirectory(directory, "https://one.example")
      assert.deepStrictEqual(yield* Effect.provide(storedToken, one), Option.some("one"))
      yield* Effect.provide(AuthManager.AuthManager.use((auth) => auth.clearStoredToken), one)
      assert.isTrue(Option.isNone(yield* Effect.provide(storedToken, one)))
      const two = inDirectory(directory, "https://two.example")
      assert.deepStrictEqual(yield* Effect.provide(storedToken, two), Option.some("two"))
    }))

  it.live("upstream: test_file_permissions (File): 0600, in a directory of 0700 (inverted)", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporary, "sessions")
      yield* Effect.provide(login, inDirectory(directory))
      const mode = (path: string) => (Fs.statSync(path).mode & 0o777).toString(8)
      const files = sessionFiles(directory)
      assert.strictEqual(files.length, 1)
      if (process.platform === "win32") return
      assert.strictEqual(mode(Path.join(directory, files[0]!)), "600")
      assert.strictEqual(mode(directory), "700")
    }))
})

describe("test_authn_storage.py and storage.test.ts, the default", () => {
  /** The storage of a program that names no directory, in a home of its own: upstream's test clears the user's. */
  const atHome = Effect.map(temporary, (home) => ({
    home,
    storage: FileTokenStorage.layer().pipe(
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { XDG_DATA_HOME: home, HOME: home } })))
    )
  }))

  it.live("upstream: test_returns_storage (Default): files in the user's data directory", () =>
    Effect.gen(function*() {
      const { home, storage } = yield* atHome
      const { description } = yield* Effect.provide(TokenStorage.TokenStorage, storage)
      assert.strictEqual(description, `files in ${Path.join(home, "effect-authn", "sessions")}`)
    }))

  it.live("upstream: test_storage_works (Default): set, get and clear, in a home of the test's own (inverted)", () =>
    Effect.gen(function*() {
      const { home, storage } = yield* atHome
      yield* Effect.provide(login, program(storage))
      assert.strictEqual(sessionFiles(Path.join(home, "effect-authn", "sessions")).length, 1)
      assert.isTrue(Option.isSome(yield* Effect.provide(storedToken, program(storage))))
      yield* Effect.provide(AuthManager.AuthManager.use((auth) => auth.logout), program(storage))
      assert.deepStrictEqual(sessionFiles(Path.join(home, "effect-authn", "sessions")), [])
    }))

  it.live("upstream (TS): getDefaultStorage is defined and available, and durable (inverted)", () =>
    Effect.gen(function*() {
      const { storage } = yield* atHome
      const { guarantees, keys } = yield* Effect.provide(TokenStorage.TokenStorage, storage)
      assert.isTrue(guarantees.durable)
      assert.deepStrictEqual(yield* keys, [])
    }))
})
