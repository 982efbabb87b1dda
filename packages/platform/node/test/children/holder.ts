// Takes the lock, says so, and keeps it for ever.
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as FileSessionLock from "@effect-authn/platform-node/FileSessionLock"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { key } from "./fixture.ts"

const [directory, name] = process.argv.slice(2)

await Effect.gen(function*() {
  const { withLock } = yield* SessionLock.SessionLock
  yield* Effect.sync(() => Fs.writeSync(1, "held\n")).pipe(
    Effect.andThen(Effect.sleep("1 hour")),
    withLock(key, "renew")
  )
}).pipe(
  Effect.provide(FileSessionLock.layer({ directory })),
  name === undefined ? (_) => _ : Effect.provideService(SessionLock.Holder, name),
  Effect.runPromise
)
