import { EncryptedTokenStorage, EncryptionKeys, SessionLock, TokenStorage, TokenStorageError } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { Keychain, KeychainKeySource } from "@effect-authn/storage-keyring"
import { TokenStorageSuite } from "@effect-authn/testing"
import { afterAll, assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { start, temporary } from "./children.ts"
import { canary, key, keyOf, sessionOf } from "./children/fixture.ts"
import { isThere, startSecretService } from "./secretService.ts"

if (isThere) {
  const service = await startSecretService()
  afterAll(service.stop)
  // the helper takes it from here
  process.env["DBUS_SESSION_BUS_ADDRESS"] = service.address

  const storage = (directory: string, name = `sessions in ${directory}`) => {
    const files = FileTokenStorage.layer({ directory })
    return EncryptedTokenStorage.layer(files).pipe(
      Layer.provide(KeychainKeySource.layer({ name })),
      Layer.provide(files)
    )
  }

  TokenStorageSuite.suite(
    "files, encrypted with a key in a real Secret Service",
    Layer.unwrap(Effect.map(temporary, (directory) => storage(directory)))
  )

  layer(Layer.merge(Keychain.layer(), SessionLock.layerInProcess), { excludeTestServices: true })(
    "the keychain",
    (it) => {
      it.effect("keeps a secret under a service and an account", () =>
        Effect.gen(function*() {
          const keychain = yield* Keychain.Keychain
          const get = Effect.map(keychain.get("test", "round trip"), Option.map(Redacted.value))
          assert.isTrue(Option.isNone(yield* get))
          for (const secret of ["first", "x".repeat(2500), "\u{1F680} \n\"", ""]) {
            yield* keychain.set("test", "round trip", Redacted.make(secret))
            assert.deepStrictEqual(yield* get, Option.some(secret))
          }
          yield* keychain.remove("test", "round trip")
          yield* keychain.remove("test", "round trip")
          assert.isTrue(Option.isNone(yield* get))
        }))

      it.effect("is found to be available, also by many at once, and nothing of that stays behind", () =>
        Effect.gen(function*() {
          const keychain = yield* Keychain.Keychain
          yield* Effect.all([keychain.available, keychain.available, keychain.available], { concurrency: 3 })
          const labels = yield* Effect.promise(service.labels)
          assert.isEmpty(labels.filter((label) => label.includes("is there a keychain")))
        }))

      it.effect("shows in its own window what an entry is for", () =>
        Effect.gen(function*() {
          const directory = yield* temporary
          yield* Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(key, sessionOf(1), 0)).pipe(
            Effect.provide(storage(directory))
          )
          const labels = yield* Effect.promise(service.labels)
          assert.include(labels, `keyring:sessions in ${directory}@effect-authn`)
        }))

      it.effect("serves sessions of any size, none of which is in it or readable in the file", () =>
        Effect.gen(function*() {
          const directory = yield* temporary
          const session = sessionOf(1, key, 65_536)
          const put = Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(key, session, 0))
          const get = Effect.flatMap(TokenStorage.TokenStorage, (_) => _.get(key))
          yield* Effect.provide(put, storage(directory))
          const found = yield* Effect.provide(get, storage(directory))
          assert.deepStrictEqual(Option.map(found, TokenStorage.encode), Option.some(TokenStorage.encode(session)))
          for (const name of Fs.readdirSync(directory).filter((name) => name.endsWith(".json"))) {
            assert.notInclude(Fs.readFileSync(Path.join(directory, name), "latin1"), canary)
          }
          const keychain = yield* Keychain.Keychain
          const entry = yield* keychain.get("effect-authn", `sessions in ${directory}`)
          assert.match(entry.pipe(Option.map(Redacted.value), Option.getOrThrow), /^[\w-]{43}$/)
        }))

      it.effect("a new key reads what the old one wrote, and takes over at the next write", () =>
        Effect.gen(function*() {
          const directory = yield* temporary
          const name = `sessions in ${directory}`
          const put = (expected: number) =>
            Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(key, sessionOf(expected + 1), expected))
          const current = Effect.flatMap(EncryptionKeys.EncryptionKeys, (keys) => keys.current).pipe(
            Effect.provide(KeychainKeySource.layer({ name }).pipe(Layer.provide(SessionLock.layerInProcess)))
          )
          const sealedWith = () => {
            const file = Fs.readdirSync(directory).find((name) => name.endsWith(".json"))!
            return JSON.parse(Fs.readFileSync(Path.join(directory, file), "utf8")).sealed.key
          }
          yield* Effect.provide(put(0), storage(directory))
          const before = yield* current
          assert.strictEqual(sealedWith(), before.name)
          yield* KeychainKeySource.rotate({ name })
          const after = yield* current
          assert.notStrictEqual(after.name, before.name)
          yield* Effect.provide(put(1), storage(directory))
          assert.strictEqual(sealedWith(), after.name)
        }))

      it.effect("with an entry that is no key, everything is locked and the entry stays", () =>
        Effect.gen(function*() {
          const directory = yield* temporary
          const keychain = yield* Keychain.Keychain
          const name = `sessions in ${directory}`
          yield* keychain.set("effect-authn", name, Redacted.make(canary))
          const error = yield* Effect.flip(
            Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(key, sessionOf(1), 0)).pipe(
              Effect.provide(storage(directory))
            )
          )
          assert.instanceOf(error.reason, TokenStorageError.StorageKeyUnavailable)
          assert.notInclude(error.message, canary)
          assert.deepStrictEqual(
            Option.map(yield* keychain.get("effect-authn", name), Redacted.value),
            Option.some(canary)
          )
        }))

      it.effect("16 programs that start at once make one key, and lose no write", () =>
        Effect.gen(function*() {
          const directory = yield* temporary
          const gate = Path.join(directory, "gate")
          const names = Array.from({ length: 16 }, (_, index) => `program-${index}`)
          const children = yield* Effect.forEach(
            names,
            (name) =>
              Effect.tap(start("creator", {}, Path.join(directory, "sealed"), name, gate), (child) => child.line),
            { concurrency: 4 }
          )
          Fs.writeFileSync(gate, "")
          const used = yield* Effect.forEach(children, (child) => child.line, { concurrency: "unbounded" })
          assert.strictEqual(new Set(used).size, 1, used.join("\n"))
          const labels = yield* Effect.promise(service.labels)
          assert.strictEqual(labels.filter((label) => label.includes("sixteen")).length, 1)
          yield* Effect.gen(function*() {
            const storage = yield* TokenStorage.TokenStorage
            for (const name of names) assert.isTrue(Option.isSome(yield* storage.get(keyOf(name))), name)
            const shared = yield* storage.get(key)
            assert.strictEqual(Option.map(shared, (session) => session.generation).pipe(Option.getOrThrow), 16)
          }).pipe(Effect.provide(storage(Path.join(directory, "sealed"), "sixteen")))
        }))
    }
  )
}
