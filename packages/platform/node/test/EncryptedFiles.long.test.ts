import {
  EncryptedTokenStorage,
  EncryptionKeys,
  type Session,
  TokenStorage,
  type TokenStorageError
} from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { TokenStorageSuite } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer, Option, Redacted } from "effect"
import { Base64 } from "effect/encoding"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { start, temporary } from "./children.ts"
import { canary, key, keyOf, sessionOf } from "./children/secret.ts"
import { filesIn, generationOf, modeOf, reason, sessionFile } from "./files.ts"
import { isQuiet, rounds } from "./renewal/measures.ts"

const textOf = (fill: number) => Base64.encode(new Uint8Array(32).fill(fill))
const first = textOf(1)
const second = textOf(2)

// for the children
process.env["AUTHN_KEY"] = first

const keys = (text: string) =>
  EncryptionKeys.layerEnvironment().pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: text } })))
  )
const storage = (directory: string, text: string) =>
  EncryptedTokenStorage.layer(FileTokenStorage.layer({ directory })).pipe(Layer.provide(keys(text)))

const use = <A, E, R>(directory: string, text: string, effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, storage(directory, text))
const get = (of = key) => Effect.flatMap(TokenStorage.TokenStorage, (_) => _.get(of))
const put = (session: Session.Session, expected: number) =>
  Effect.flatMap(TokenStorage.TokenStorage, (_) => _.put(session.key, session, expected))
const remove = (expected: number, of = key) => Effect.flatMap(TokenStorage.TokenStorage, (_) => _.remove(of, expected))
// why each operation fails; one that succeeds fails the test
const reasonsOf = (
  operations: ReadonlyArray<Effect.Effect<unknown, TokenStorageError.TokenStorageError, TokenStorage.TokenStorage>>
) => Effect.forEach(operations, (operation) => Effect.map(Effect.flip(operation), reason))
const list = Effect.flatMap(TokenStorage.TokenStorage, (_) => _.keys)

const inDirectory = (
  make: (directory: string) => Layer.Layer<EncryptionKeys.EncryptionKeys, never, FileSystem.FileSystem>
) =>
  Layer.unwrap(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.makeTempDirectoryScoped()
    return EncryptedTokenStorage.layer(FileTokenStorage.layer({ directory: Path.join(directory, "encrypted") })).pipe(
      Layer.provide(make(directory))
    )
  })).pipe(Layer.provide(NodeFileSystem.layer))

TokenStorageSuite.suite("files, encrypted with a key from the environment", inDirectory(() => keys(first)))
TokenStorageSuite.suite(
  "files, encrypted with a key from a file",
  inDirectory((directory) =>
    Layer.unwrap(Effect.sync(() => {
      Fs.writeFileSync(Path.join(directory, "key"), `${first}\n`)
      return EncryptionKeys.layerFile(Path.join(directory, "key"))
    }))
  )
)
TokenStorageSuite.suite(
  "files, encrypted with a passphrase",
  inDirectory(() => EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make("correct horse"))))
)

/** Everything that lies below a directory, names and bytes. */
const everythingIn = (directory: string): string =>
  Fs.readdirSync(directory, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = Path.join(entry.parentPath, entry.name)
    return `${path}\n${entry.isFile() ? Fs.readFileSync(path, "latin1") : ""}`
  }).join("\n")

layer(NodeFileSystem.layer, { excludeTestServices: true })("encrypted files", (it) => {
  it.effect("hold sessions of any size", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const session = sessionOf(1, key, 65_536)
      yield* use(directory, first, put(session, 0))
      const found = yield* use(directory, first, get())
      assert.strictEqual(Option.map(found, TokenStorage.encode).pipe(Option.getOrThrow), TokenStorage.encode(session))
    }))

  const isDetected = ["StorageCorrupt", "StorageKeyMismatch", "StorageNewerVersion"]

  it.effect("any flipped bit is detected, and nothing is lost", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* Effect.gen(function*() {
        yield* put(sessionOf(1, key, 10), 0)
        const file = sessionFile(directory)
        const whole = Fs.readFileSync(file)
        for (let at = 0; at < whole.length; at += isQuiet ? 1 : 3) {
          const flipped = Buffer.from(whole)
          flipped[at]! ^= 1 << (at % 8)
          Fs.writeFileSync(file, flipped)
          const error = yield* Effect.flip(get())
          assert.include(isDetected, reason(error), `byte ${at}`)
          const kept = error.reason._tag === "StorageCorrupt" ? error.reason.quarantine! : file
          assert.isTrue(flipped.equals(Fs.readFileSync(kept)), `byte ${at}`)
        }
        Fs.writeFileSync(file, whole)
        assert.isTrue(Option.isSome(yield* get()))
      }).pipe(Effect.provide(storage(directory, first)))
    }))

  it.effect("a file that is cut anywhere is damaged, and moved aside", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* Effect.gen(function*() {
        yield* put(sessionOf(1, key, 10), 0)
        const file = sessionFile(directory)
        const whole = Fs.readFileSync(file)
        for (let length = 0; length < whole.length; length += 7) {
          Fs.writeFileSync(file, whole.subarray(0, length))
          assert.strictEqual(reason(yield* Effect.flip(get())), "StorageCorrupt", `${length} bytes`)
          assert.isTrue(Option.isNone(yield* get()))
        }
      }).pipe(Effect.provide(storage(directory, first)))
    }))

  it.effect("files that were exchanged are detected", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const [ada, bob] = [keyOf("ada"), keyOf("bob")]
      yield* Effect.gen(function*() {
        yield* put(sessionOf(1, ada), 0)
        yield* put(sessionOf(1, bob), 0)
        const [one, two] = filesIn(directory).map((name) => Path.join(directory, name))
        Fs.renameSync(one!, `${one}.aside`)
        Fs.renameSync(two!, one!)
        Fs.renameSync(`${one}.aside`, two!)
        for (const account of [ada, bob]) assert.strictEqual(reason(yield* Effect.flip(get(account))), "StorageCorrupt")
      }).pipe(Effect.provide(storage(directory, first)))
    }))

  it.effect("parts of two files that were put together are detected", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* Effect.gen(function*() {
        yield* put(sessionOf(1, keyOf("ada")), 0)
        yield* put(sessionOf(1, keyOf("bob")), 0)
        const [one, two] = filesIn(directory).map((name) => Path.join(directory, name))
        const [mine, theirs] = [one!, two!].map((path) => JSON.parse(Fs.readFileSync(path, "utf8")))
        Fs.writeFileSync(one!, JSON.stringify({ ...theirs, sealed: { ...theirs.sealed, of: mine.sealed.of } }))
        const account = one!.includes("ada") ? "ada" : "bob"
        assert.strictEqual(reason(yield* Effect.flip(get(keyOf(account)))), "StorageCorrupt")
      }).pipe(Effect.provide(storage(directory, first)))
    }))

  it.effect("another key is neither nothing nor damage, and changes nothing", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, first, put(sessionOf(1), 0))
      const before = Fs.readFileSync(sessionFile(directory))
      const reasons = yield* use(
        directory,
        second,
        reasonsOf([get(), put(sessionOf(2), 1), put(sessionOf(2), 0), remove(1), list])
      )
      assert.deepStrictEqual(reasons, reasons.map(() => "StorageKeyMismatch"))
      assert.deepStrictEqual(filesIn(directory).length, 1)
      assert.isTrue(before.equals(Fs.readFileSync(sessionFile(directory))))
      assert.strictEqual(generationOf(yield* use(directory, first, get())), 1)
    }))

  it.effect("another passphrase likewise, and the right one reads", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const locked = (passphrase: string) =>
        EncryptedTokenStorage.layer(FileTokenStorage.layer({ directory })).pipe(
          Layer.provide(EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make(passphrase))))
        )
      yield* Effect.provide(put(sessionOf(1), 0), locked("right"))
      const error = yield* Effect.flip(Effect.provide(get(), locked("wrong")))
      assert.strictEqual(reason(error), "StorageKeyMismatch")
      assert.include(error.message, "another key than a key from a passphrase: give the right one")
      assert.strictEqual(generationOf(yield* Effect.provide(get(), locked("right"))), 1)
      assert.notInclude(everythingIn(directory), "right")
    }))

  it.effect("without a key everything is locked, and nothing changes", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, first, put(sessionOf(1), 0))
      const reasons = yield* use(
        directory,
        "",
        reasonsOf([get(), put(sessionOf(2), 1), remove(1), list])
      )
      assert.deepStrictEqual(reasons, reasons.map(() => "StorageKeyUnavailable"))
      assert.strictEqual(generationOf(yield* use(directory, first, get())), 1)
    }))

  it.effect("a storage that expects plain text leaves them, and one that expects encryption leaves plain text", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const plain = FileTokenStorage.layer({ directory })
      for (
        const [writer, reader] of [[storage(directory, first), plain], [plain, storage(directory, first)]] as const
      ) {
        yield* Effect.provide(put(sessionOf(1), 0), writer)
        const before = Fs.readFileSync(sessionFile(directory))
        const reasons = yield* Effect.provide(
          reasonsOf([get(), put(sessionOf(2), 1), put(sessionOf(2), 0), remove(1), list]),
          reader
        )
        assert.deepStrictEqual(reasons, reasons.map(() => "StorageKeyMismatch"))
        assert.isTrue(before.equals(Fs.readFileSync(sessionFile(directory))))
        yield* Effect.provide(remove(1), writer)
      }
    }))

  it.effect("one of a newer version is left, by get, put and remove", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* Effect.gen(function*() {
        yield* put(sessionOf(1), 0)
        const file = sessionFile(directory)
        const newer = Fs.readFileSync(file, "utf8").replace("{\"version\":1", "{\"version\":2")
        Fs.writeFileSync(file, newer)
        const reasons = yield* reasonsOf([get(), put(sessionOf(2), 1), remove(1)])
        assert.deepStrictEqual(reasons, reasons.map(() => "StorageNewerVersion"))
        assert.strictEqual(Fs.readFileSync(file, "utf8"), newer)
      }).pipe(Effect.provide(storage(directory, first)))
    }))

  it.effect("a new key reads what the old one wrote, and takes over at the next write", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, first, put(sessionOf(1), 0))
      yield* use(
        directory,
        `${second} ${first}`,
        Effect.gen(function*() {
          assert.strictEqual(generationOf(yield* get()), 1)
          yield* put(sessionOf(2), 1)
        })
      )
      assert.strictEqual(generationOf(yield* use(directory, second, get())), 2)
      assert.strictEqual(reason(yield* Effect.flip(use(directory, first, get()))), "StorageKeyMismatch")
    }))

  const kills = rounds(100)
  describe.each(["000", "077"])("under umask %s", (mask) => {
    it.effect(
      `show no secret and belong to their user alone, also after kill -9 at any moment (${kills} times)`,
      () =>
        Effect.gen(function*() {
          const directory = Path.join(yield* temporary, "encrypted")
          let last = 0
          for (let round = 0; round < kills; round += 2) {
            yield* Effect.scoped(Effect.gen(function*() {
              const child = yield* start("sealer", directory, mask)
              last = Number(yield* child.line)
              yield* Effect.sleep((round * 7) % 30)
              yield* child.kill
            }))
            assert.notInclude(everythingIn(directory), canary)
            assert.strictEqual(modeOf(directory), "700")
            for (const name of filesIn(directory)) assert.strictEqual(modeOf(Path.join(directory, name)), "600")
            assert.isAtLeast(generationOf(yield* use(directory, first, get())), last)
          }
        }).pipe(Effect.provide(NodeFileSystem.layer)),
      300_000 + kills * 2_000
    )
  })
})
