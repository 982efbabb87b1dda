// Saves one session and takes one lock under a umask.
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as Effect from "effect/Effect"
import { key, sessionOf } from "./fixture.ts"

const [directory, mask] = process.argv.slice(2)

process.umask(Number.parseInt(mask!, 8))
await Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const lock = yield* SessionLock.SessionLock
  yield* storage.put(key, sessionOf(1), 0).pipe(lock.withLock(key, "renew"))
}).pipe(Effect.provide(FileTokenStorage.layer({ directory })), Effect.runPromise)
