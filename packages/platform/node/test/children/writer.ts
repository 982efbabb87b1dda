// Saves in a loop, for ever, and says what it has saved.
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import { key, sessionOf } from "./fixture.ts"

const [directory] = process.argv.slice(2)

await Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  let generation = Option.match(yield* storage.get(key), { onNone: () => 0, onSome: (_) => _.generation })
  while (true) {
    yield* storage.put(key, sessionOf(generation + 1), generation)
    generation += 1
    Fs.writeSync(1, `${generation}\n`)
  }
}).pipe(Effect.provide(FileTokenStorage.layer({ directory })), Effect.runPromise)
