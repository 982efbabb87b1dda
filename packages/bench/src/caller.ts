// A process that shares a session with others: it opens it, asks for a token when it is told to, and says what came of it.
import { Clock, Effect, References, type Scope } from "effect"
import { writeSync } from "node:fs"
import type { Outcome } from "./renewalProcesses.ts"

const say = (line: string) => Effect.sync(() => writeSync(1, `${line}\n`))

const told = Effect.callback<void>((resume) => {
  process.stdin.once("data", () => {
    process.stdin.destroy()
    resume(Effect.void)
  })
})

/** Runs it; `open` gives what asks for the token. */
export const run = (open: Effect.Effect<Effect.Effect<unknown, unknown>, unknown, Scope.Scope>): Promise<void> =>
  Effect.gen(function*() {
    const ask = yield* open
    yield* say("ready")
    yield* told
    const began = yield* Clock.monotonicTimeNanos
    const { _tag } = yield* Effect.result(ask)
    const millis = Number((yield* Clock.monotonicTimeNanos) - began) / 1e6
    yield* say(JSON.stringify({ isToken: _tag === "Success", millis } satisfies Outcome))
  }).pipe(Effect.scoped, Effect.provideService(References.LogToStderr, true), Effect.runPromise)
