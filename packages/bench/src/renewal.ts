// Keeping a session: what it costs to ask for a token, and what callers see when the IAM is slow, down, or asked by many.
import { Console, Effect, References } from "effect"
import * as Os from "node:os"
import * as Hot from "./renewalHot.ts"
import * as Idle from "./renewalIdle.ts"
import * as Processes from "./renewalProcesses.ts"
import { progress, text } from "./renewalReport.ts"
import { tokenServer } from "./renewalServer.ts"
import * as Waits from "./renewalWaits.ts"

export const run: Effect.Effect<void> = Effect.gen(function*() {
  const server = yield* tokenServer
  // The first one may still be asked by renewals in the background that nobody can stop.
  const quiet = yield* tokenServer
  const busy = Os.loadavg()[0]!.toFixed(1)
  yield* Console.log(
    `Node ${process.version}; ${Os.availableParallelism()} processors, on which ${busy} processes want to run
google: google-auth-library, msal: @azure/msal-node, cycler: the token cycler of @azure/core-rest-pipeline; all of them at
one token endpoint on loopback\n`
  )
  const sections = [
    Hot.run(server),
    Waits.atExpiry(server),
    Waits.slow(server),
    Waits.failing(server),
    Processes.run(quiet),
    Idle.run()
  ]
  for (const section of sections) {
    const report = yield* section
    progress("")
    yield* Console.log(text(report))
  }
}).pipe(
  Effect.scoped,
  // that the IAM is out of order is the point
  Effect.provideService(References.MinimumLogLevel, "Error")
)
