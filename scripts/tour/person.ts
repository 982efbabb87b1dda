// A person at a browser: a scripted user agent that follows redirects, types a name and a password, and submits pages.
import { ScriptedUserAgent } from "@effect-authn/testing"
import { Effect } from "effect"
import { FetchHttpClient } from "effect/http"

export const password = "correct-horse-battery"

export const visit = (url: string) =>
  ScriptedUserAgent.make().visit(url, { answers: { login: "ada", password } }).pipe(
    Effect.provide(FetchHttpClient.layer),
    Effect.ignore
  )

/** Does what a person does while a command waits for them. */
export const meanwhile =
  <B>(person: Effect.Effect<B>) => <A, E, R>(command: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.raceFirst(command, Effect.andThen(person, Effect.never))
