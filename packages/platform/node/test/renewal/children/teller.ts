// Tries something with a session, says all that can be said of what came of it, and ends with that failure.
import type { AuthError } from "@effect-authn/core/AuthError"
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import { StorageUnavailable, TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Fs from "node:fs"
import { inspect } from "node:util"
import { type Changes, program, type Setup } from "../program.ts"
import { shown } from "../shown.ts"

/**
 * - `tries`: what it does. `export` says the secrets, to show that they would be seen.
 * - `unsaved`: which writes fail: `"answers"`, or `"all"`, and with them the intent to send.
 * - `ends`: the failure goes to Effect's main, or is a promise that nobody catches.
 */
interface Orders extends Setup {
  readonly tries: "token" | "refresh" | "login" | "export"
  readonly unsaved?: "answers" | "all"
  readonly ends: "main" | "promise"
}

const orders: Orders = JSON.parse(process.argv[2]!)
const say = (text: string) => Effect.sync(() => Fs.writeSync(1, `${text}\n`))

const changes: Changes = orders.unsaved === undefined
  ? {}
  : {
    storage: (storage) => ({
      put: (key, next, expected) =>
        orders.unsaved === "answers" && Option.isSome(next.intent)
          ? storage.put(key, next, expected)
          : Effect.fail(
            new TokenStorageError({
              storage: storage.description,
              method: "put",
              reason: new StorageUnavailable({
                detail: "no space left on device (ENOSPC); free some space",
                written: "no"
              })
            })
          )
    })
  }

const tracer = Tracer.make({
  span: (options) => {
    const span = new Tracer.NativeSpan(options)
    const end = span.end.bind(span)
    span.end = (at, exit) => {
      end(at, exit)
      // what a tracer sends on: of a success, the value is not among it
      const seen = [span.name, span.attributes, Exit.isFailure(exit) ? exit : "fine"]
      Fs.writeSync(1, `${inspect(seen, { depth: null, showHidden: true })}\n`)
    }
    return span
  }
})

const main = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const keeper = yield* SessionKeeper.SessionKeeper
  const attempts: Record<Orders["tries"], Effect.Effect<unknown, AuthError>> = {
    token: auth.token,
    refresh: auth.refresh(),
    login: auth.login(AuthStrategy.password({
      handle: "ada",
      password: Redacted.make("canary-password"),
      organization: "acme"
    })),
    export: auth.export
  }
  yield* Effect.forkChild(Stream.runForEach(auth.changes, (state) => say(shown(state))), { startImmediately: true })
  const outcome = yield* Effect.result(attempts[orders.tries])
  yield* Effect.sleep("20 millis")
  yield* say(shown(outcome))
  yield* say(shown(yield* Effect.result(auth.session)))
  yield* say(shown(keeper.open(auth.key)))
  yield* say(shown(auth))
  yield* Effect.logError("it came to this", outcome, auth)
  yield* say("told")
  return yield* Effect.fromResult(outcome)
}).pipe(
  Effect.provide(program(orders, changes)),
  Effect.provideService(Tracer.Tracer, tracer),
  Effect.provideService(References.MinimumLogLevel, "Trace"),
  Effect.provideService(References.LogToStderr, true)
)

if (orders.ends === "main") NodeRuntime.runMain(main)
else await Effect.runPromise(main)
