// Raises the number in a file a number of times, with a nap between reading and writing, under the lock.
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as FileSessionLock from "@effect-authn/platform-node/FileSessionLock"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { key } from "./fixture.ts"

const [directory, times] = process.argv.slice(2)
const counter = `${directory}/counter`

await Effect.gen(function*() {
  const { withLock } = yield* SessionLock.SessionLock
  const raise = Effect.gen(function*() {
    const seen = Number(Fs.readFileSync(counter, "utf8"))
    yield* Effect.sleep("5 millis")
    Fs.writeFileSync(counter, String(seen + 1))
  })
  yield* raise.pipe(withLock(key, "renew"), Effect.repeat({ times: Number(times) - 1 }))
}).pipe(Effect.provide(FileSessionLock.layer({ directory })), Effect.runPromise)
