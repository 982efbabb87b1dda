// Has a lock, a listener and a nap open, and nothing to do.
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeBackgroundSleep from "@effect-authn/platform-node/NodeBackgroundSleep"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import { key, sessionOf } from "./fixture.ts"

const [directory] = process.argv.slice(2)

Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const { withLock } = yield* SessionLock.SessionLock
  yield* Effect.forkChild(NodeBackgroundSleep.nap(Duration.infinity))
  yield* storage.changes.pipe(
    Stream.runForEach(() => Effect.sync(() => Fs.writeSync(1, "heard\n"))),
    Effect.forkChild({ startImmediately: true })
  )
  // until the listener is known to listen
  for (let generation = 0; generation < 10; generation++) {
    yield* storage.put(key, sessionOf(generation + 1), generation)
    yield* Effect.sleep("20 millis")
  }
  return yield* Effect.sync(() => Fs.writeSync(1, "idle\n")).pipe(Effect.andThen(Effect.never), withLock(key, "renew"))
}).pipe(Effect.provide(FileTokenStorage.layer({ directory })), Effect.runFork)
