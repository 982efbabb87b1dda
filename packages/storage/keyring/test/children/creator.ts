// Saves a session of its own, and raises the generation of one that all share, in a storage whose key may not exist yet.
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as KeychainKeySource from "@effect-authn/storage-keyring/KeychainKeySource"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import { key, keyOf, sessionOf } from "./fixture.ts"

const [directory, name, gate] = process.argv.slice(2)

const files = FileTokenStorage.layer({ directory })
const keys = KeychainKeySource.layer({ name: "sixteen" }).pipe(Layer.provide(files))

await Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const source = yield* EncryptionKeys.EncryptionKeys
  // so that only the making of the key is left to do
  yield* source.named("none")
  Fs.writeSync(1, "ready\n")
  while (!Fs.existsSync(gate!)) yield* Effect.sleep("5 millis")
  const made = yield* source.current
  const mine = keyOf(name!)
  yield* storage.put(mine, sessionOf(1, mine), 0)
  yield* Effect.gen(function*() {
    const generation = Option.match(yield* storage.get(key), { onNone: () => 0, onSome: (_) => _.generation })
    yield* storage.put(key, sessionOf(generation + 1), generation)
  }).pipe(Effect.retry({ while: (error) => error.reason._tag === "StorageConflict" }))
  Fs.writeSync(1, `${made.name}\n`)
}).pipe(Effect.provide(EncryptedTokenStorage.layer(files).pipe(Layer.provideMerge(keys))), Effect.runPromise)
