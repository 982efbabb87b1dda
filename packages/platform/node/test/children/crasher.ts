// Saves the second generation and dies before the nth call of the file system, or in the middle of it if it writes.
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { key, sessionOf } from "./fixture.ts"
import { mortal } from "./mortal.ts"

const [directory, point] = process.argv.slice(2)

await Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  yield* storage.put(key, sessionOf(2), 1)
}).pipe(
  Effect.provide(FileTokenStorage.layerNoDeps({ directory }).pipe(Layer.provide(mortal(Number(point))))),
  Effect.runPromise
)
