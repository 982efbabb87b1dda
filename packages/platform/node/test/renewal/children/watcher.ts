// Has a session open and says every state that it is told of; it asks for nothing.
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import { program, type Setup } from "../program.ts"

const setup: Setup = JSON.parse(process.argv[2]!)

await Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.session
  yield* Stream.runForEach(
    auth.changes,
    (state) =>
      Effect.sync(() => Fs.writeSync(1, `${state._tag} ${"session" in state ? state.session.generation : 0}\n`))
  )
}).pipe(
  // a listener holds no process alive
  Effect.timeout("1 hour"),
  Effect.provide(program(setup)),
  Effect.provideService(References.LogToStderr, true),
  Effect.runPromise
)
