// Reads, saves and locks as a user who may not write in the directory, and says what came of each.
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { key, keyOf, sessionOf } from "./fixture.ts"

const [directory] = process.argv.slice(2)

if (process.getuid?.() === 0) {
  process.setgid?.(65534)
  process.setuid?.(65534)
}

await Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const lock = yield* SessionLock.SessionLock
  const outcome = (attempt: Effect.Effect<unknown, { readonly message: string }>) =>
    Effect.match(attempt, { onFailure: ({ message }) => message, onSuccess: () => "fine" })
  const outcomes = yield* Effect.all({
    get: outcome(Effect.flatMap(storage.get(key), Effect.fromOption)),
    put: outcome(storage.put(key, sessionOf(2), 1)),
    lock: outcome(Effect.void.pipe(lock.withLock(key, "renew"))),
    corrupt: outcome(storage.get(keyOf("corrupt"))),
    removeNothing: outcome(storage.remove(keyOf("absent"), 5))
  })
  Fs.writeSync(1, `${JSON.stringify(outcomes)}\n`)
}).pipe(Effect.provide(FileTokenStorage.layer({ directory })), Effect.runPromise)
