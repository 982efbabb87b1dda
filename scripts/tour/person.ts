// A person at a browser: a scripted user agent that follows redirects, types a name and a password, and submits pages.
import { ScriptedUserAgent } from "@effect-authn/testing"
import { Effect } from "effect"
import { FetchHttpClient } from "effect/http"
import * as Stage from "./stage.ts"

export const password = "correct-horse-battery"

export const visit = Effect.fn(function*(url: string) {
  const { status } = yield* ScriptedUserAgent.make().visit(url, { answers: { login: "ada", password } }).pipe(
    Effect.provide(FetchHttpClient.layer),
    // A command that has ended does not show its page any more.
    Effect.orElseSucceed(() => ({ status: 0 }))
  )
  // The command's own page says by 400 that the login failed; the command says why.
  if (status >= 500) {
    return yield* new Stage.ClaimFailed({ message: `the person's browser was answered with ${status}` })
  }
})

/** Does what a person does while a command waits for them. */
export const meanwhile =
  <B, E2>(person: Effect.Effect<B, E2>) => <A, E, R>(command: Effect.Effect<A, E, R>): Effect.Effect<A, E | E2, R> =>
    Effect.raceFirst(command, Effect.andThen(person, Effect.never))
