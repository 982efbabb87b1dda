// Under a umask, saves sessions in a loop, encrypted, for ever, and says what it has saved.
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import { key, sessionOf } from "./secret.ts"

const [directory, mask] = process.argv.slice(2)

process.umask(Number.parseInt(mask!, 8))
await Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  let generation = Option.match(yield* storage.get(key), { onNone: () => 0, onSome: (_) => _.generation })
  while (true) {
    yield* storage.put(key, sessionOf(generation + 1), generation)
    generation += 1
    Fs.writeSync(1, `${generation}\n`)
  }
}).pipe(
  Effect.provide(
    EncryptedTokenStorage.layer(FileTokenStorage.layer({ directory })).pipe(
      Layer.provide(EncryptionKeys.layerEnvironment())
    )
  ),
  Effect.runPromise
)
