// Raises the generation of one session a number of times, as compare and set allows it.
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { key, sessionOf } from "./fixture.ts"

const [directory, times] = process.argv.slice(2)

const raise = Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const generation = Option.match(yield* storage.get(key), { onNone: () => 0, onSome: (_) => _.generation })
  yield* storage.put(key, sessionOf(generation + 1), generation)
}).pipe(Effect.retry({ while: (error) => error.reason._tag === "StorageConflict" }))

await raise.pipe(
  Effect.repeat({ times: Number(times) - 1 }),
  Effect.provide(FileTokenStorage.layer({ directory })),
  Effect.runPromise
)
