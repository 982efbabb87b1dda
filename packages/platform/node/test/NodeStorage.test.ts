import {
  type AuthError,
  AuthManager,
  AuthStrategy,
  EncryptionKeys,
  type Session,
  StoragePolicy,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { NodeAuth, NodeStorage } from "@effect-authn/platform-node"
import { ScriptedIam, TokenStorageSuite } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer, Logger, Option, Redacted } from "effect"
import { Digest } from "effect/crypto"
import { Base64 } from "effect/encoding"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { start, temporary } from "./children.ts"
import { canary, key, keyOf, sessionOf } from "./children/secret.ts"
import { generationOf } from "./files.ts"
import { isQuiet } from "./renewal/measures.ts"

const secret = Base64.encode(new Uint8Array(32).fill(3))
// for the children
process.env["AUTHN_KEY"] = secret

// A keychain that has a key, or is locked.
const keychain = (locked?: string): NonNullable<NodeStorage.Options["keychain"]> => ({ name }) =>
  Layer.effect(
    EncryptionKeys.EncryptionKeys,
    EncryptionKeys.make({
      description: `a key in a fake keychain, "${Path.basename(name)}"`,
      atRest: "keychain",
      load: Effect.succeed([Redacted.make(new Uint8Array(32).fill(4))]),
      ...(locked === undefined
        ? {}
        : { available: Effect.fail(new TokenStorageError.StorageKeyUnavailable({ detail: locked })) })
    })
  ).pipe(Layer.provide(Digest.layerWebCrypto))

type Environment = Record<string, string>

/** What a program of these options and this environment has. */
const program = (options: NodeStorage.Options, env: Environment = {}) =>
  NodeStorage.layer(options).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))

const choice = Effect.flatMap(StoragePolicy.StoragePolicy, (policy) => policy.choice)
const get = (of = key) => Effect.flatMap(TokenStorage.TokenStorage, (_) => _.get(of))
const put = (session: Session.Session, expected: number) =>
  Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(session.key, session, expected))

const everythingIn = (directory: string): string =>
  Fs.readdirSync(directory, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = Path.join(entry.parentPath, entry.name)
    return `${path}\n${entry.isFile() ? Fs.readFileSync(path, "latin1") : ""}`
  }).join("\n")

const suite = (policy: StoragePolicy.Policy, options: NodeStorage.Options = {}) =>
  TokenStorageSuite.suite(
    `the policy ${policy}`,
    Layer.unwrap(Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* fs.makeTempDirectoryScoped()
      return program({ ...options, policy, directory }, { AUTHN_KEY: secret })
    })).pipe(Layer.provide(NodeFileSystem.layer))
  )

suite("auto")
suite("keyring", { keychain: keychain() })
suite("encrypted-file")
suite("plain-file")
suite("memory")

layer(NodeFileSystem.layer, { excludeTestServices: true })("NodeStorage", (it) => {
  const chosen = (options: NodeStorage.Options, env?: Environment) =>
    Effect.flatMap(temporary, (directory) => Effect.provide(choice, program({ ...options, directory }, env)))

  it.effect("prefers the keychain", () =>
    Effect.gen(function*() {
      const { description, message, place } = yield* chosen({ keychain: keychain() }, { AUTHN_KEY: secret })
      assert.strictEqual(place, "keyring")
      assert.match(description, /^files in .*keychain, encrypted with a key in a fake keychain, "keychain"$/)
      assert.strictEqual(message, `sessions are kept in ${description} (keyring)`)
    }))

  it.effect("else takes encrypted files, with the key that the environment has", () =>
    Effect.gen(function*() {
      const byKey = yield* chosen(
        { keychain: keychain("the keychain is locked") },
        { AUTHN_KEY: secret, AUTHN_PASSPHRASE: "x" }
      )
      assert.deepStrictEqual([byKey.place, byKey.passedOver], ["encrypted-file", [
        { place: "keyring", reason: "the keychain is locked" }
      ]])
      assert.include(byKey.message, "AUTHN_KEY")
      const byPassphrase = yield* chosen({}, { AUTHN_PASSPHRASE: "x" })
      assert.include(byPassphrase.message, "a key from a passphrase")
      assert.include(byPassphrase.message, "keyring was passed over: this program does not use the keychain")
    }))

  it.effect("else stores nothing, unless the program allows plain text, which it is asked then only", () =>
    Effect.gen(function*() {
      let asked = 0
      const plainFiles = Effect.sync(() => {
        asked += 1
        return true
      })
      yield* chosen({ plainFiles }, { AUTHN_KEY: secret })
      assert.strictEqual(asked, 0)
      const warnings: Array<string> = []
      const listening = Logger.layer([Logger.make(({ message }) => warnings.push(String(message)))])
      const directory = yield* temporary
      yield* Effect.gen(function*() {
        const { message, place } = yield* choice
        assert.deepStrictEqual([place, asked], ["plain-file", 1])
        assert.deepStrictEqual(warnings, [])
        // told where a session is stored, not where one is read or renewed
        yield* put(sessionOf(1), 0)
        yield* put(sessionOf(2), 1)
        assert.deepStrictEqual(warnings, [message])
      }).pipe(Effect.provide(Layer.merge(program({ plainFiles, directory }), listening)))
      const refused = yield* Effect.flip(chosen({}))
      assert.include(refused.message, "set AUTHN_KEY or AUTHN_PASSPHRASE")
      assert.include(refused.message, "does not store sessions in plain text")
    }))

  it.effect("does what AUTHN_STORAGE says, unless the program has its own mind, and refuses what is no policy", () =>
    Effect.gen(function*() {
      const env = { AUTHN_STORAGE: "memory\r" }
      assert.strictEqual((yield* chosen({ keychain: keychain() }, env)).place, "memory")
      assert.strictEqual((yield* chosen({ policy: "plain-file" }, env)).place, "plain-file")
      const refused = yield* Effect.flip(chosen({}, { AUTHN_STORAGE: "keychain" }))
      assert.strictEqual(
        refused.message,
        "storage by AUTHN_STORAGE: AUTHN_STORAGE is none of auto, keyring, " +
          "encrypted-file, sqlite, plain-file, memory: set it to one of them, or unset it"
      )
      const pinned = yield* Effect.flip(chosen({ policy: "keyring" }, { AUTHN_KEY: secret }))
      assert.include(pinned.message, "keyring: this program does not use the keychain")
    }))

  it.effect("touches no file and asks for no passphrase before it is used", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporary, "none")
      yield* Effect.provide(
        TokenStorage.TokenStorage,
        program({ directory, key: EncryptionKeys.layerPassphrase(Effect.die("asked")), keychain: keychain() })
      )
      assert.isFalse(Fs.existsSync(directory))
    }))

  it.effect("a program with another key is told so by every operation, signs nobody in or out, and harms nothing", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const locked = (passphrase: string) =>
        NodeStorage.layer({
          directory,
          policy: "encrypted-file",
          key: EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make(passphrase)))
        })
      const withManager = <A, E>(
        passphrase: string,
        use: (auth: AuthManager.AuthManager["Service"]) => Effect.Effect<A, E>
      ) =>
        Effect.provide(
          Effect.flatMap(AuthManager.AuthManager, use),
          NodeAuth.layer(ScriptedIam.layer(), { storage: locked(passphrase) })
        )
      const password = AuthStrategy.password({ handle: "ada", password: ScriptedIam.password })
      yield* withManager("right", (auth) => auth.login(password))
      const before = everythingIn(Path.join(directory, "encrypted"))

      const errors = yield* withManager("wrong", (auth) =>
        Effect.forEach(
          [
            auth.token,
            auth.storedToken,
            auth.session,
            auth.isAuthenticated,
            auth.login(password),
            auth.logout,
            auth.clearStoredToken
          ],
          (operation) => Effect.flip(Effect.asVoid<unknown, AuthError.AuthError, never>(operation))
        ))
      for (const error of errors) {
        assert.isTrue(error._tag === "TokenStorageError" && error.reason._tag === "StorageKeyMismatch", String(error))
      }
      assert.strictEqual(everythingIn(Path.join(directory, "encrypted")), before)
      assert.isTrue(yield* withManager("right", (auth) => auth.isAuthenticated))
    }))

  it.effect("keeps the places apart, and moves sessions between them when told", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const options = {
        directory,
        key: EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make("x"))),
        keychain: keychain()
      }
      const at = <A, E, R>(policy: StoragePolicy.Policy, effect: Effect.Effect<A, E, R>) =>
        Effect.provide(effect, program({ ...options, policy }))
      yield* at("plain-file", put(sessionOf(5), 0))
      yield* at("plain-file", put(sessionOf(6, keyOf("other")), 0))
      assert.isTrue(Option.isNone(yield* at("keyring", get())))

      const moved = yield* NodeStorage.migrate({ ...options, from: "plain-file", to: "encrypted-file" })
      assert.deepStrictEqual(moved.map(({ account }) => account).sort(), ["default", "other"])
      assert.notInclude(everythingIn(directory), canary)
      yield* NodeStorage.migrate({ ...options, from: "encrypted-file", to: "keyring" })
      assert.notInclude(everythingIn(directory), canary)
      assert.strictEqual(generationOf(yield* at("keyring", get())), 5)
      assert.isTrue(Option.isNone(yield* at("encrypted-file", get())))
      assert.isTrue(Option.isNone(yield* at("plain-file", get())))
    }))

  it.effect(
    "a move that is killed at any call of the file system loses nothing, and can be done again",
    () =>
      Effect.gen(function*() {
        const encrypted = (directory: string) => program({ directory, policy: "encrypted-file" }, { AUTHN_KEY: secret })
        const plain = (directory: string) => program({ directory, policy: "plain-file" })
        for (let point = 0;; point += isQuiet ? 1 : 3) {
          const directory = yield* temporary
          yield* Effect.provide(put(sessionOf(5), 0), plain(directory))
          const { code, stderr } = yield* Effect.scoped(
            Effect.flatMap(start("mover", directory, String(point)), (child) => child.ended)
          )
          const places = [
            generationOf(yield* Effect.provide(get(), plain(directory))),
            generationOf(yield* Effect.provide(get(), encrypted(directory)))
          ]
          assert.include(places, 5, `killed at call ${point}: ${stderr}`)
          yield* Effect.provide(
            NodeStorage.migrate({
              directory,
              key: EncryptionKeys.layerEnvironment(),
              from: "plain-file",
              to: "encrypted-file"
            }),
            ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: secret } }))
          )
          assert.isTrue(Option.isNone(yield* Effect.provide(get(), plain(directory))))
          assert.strictEqual(generationOf(yield* Effect.provide(get(), encrypted(directory))), 5)
          assert.notInclude(everythingIn(directory), canary, `killed at call ${point}`)
          if (code === 0) {
            assert.isAbove(point, 10)
            return
          }
        }
      })
  )
})
