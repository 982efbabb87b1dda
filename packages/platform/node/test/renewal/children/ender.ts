// Uses a session and comes to the end of its main, with the session open.
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Fs from "node:fs"
import { program, type Setup } from "../program.ts"

/**
 * - `disposes`: whether it closes what it opened.
 * - `waits` for a renewal (so that a connection is left open), until one is `sent`, or not at all.
 */
interface Orders extends Setup {
  readonly disposes: boolean
  readonly waits: "renewed" | "sent" | "not"
}

const orders: Orders = JSON.parse(process.argv[2]!)
const sent = Deferred.makeUnsafe<void>()

const main = Effect.flatMap(
  AuthManager.AuthManager,
  (auth) =>
    orders.waits === "renewed"
      ? Effect.andThen(auth.refresh(), auth.token)
      : orders.waits === "sent"
      ? Effect.andThen(auth.token, Deferred.await(sent))
      : auth.token
).pipe(Effect.provideService(References.LogToStderr, true))

const runtime = ManagedRuntime.make(program(orders, {
  iam: (iam) => ({
    renew: (session, target) => Effect.andThen(Deferred.succeed(sent, undefined), iam.renew(session, target))
  })
}))
await runtime.runPromise(main)
if (orders.disposes) await runtime.dispose()
Fs.writeSync(1, `${await Effect.runPromise(Clock.currentTimeMillis)}\n`)
