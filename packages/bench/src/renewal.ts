// Keeping a session: what it costs to ask for a token, and what callers see when the IAM is slow, down, or asked by many.
// The parts may be named: npm run bench -- renewal expiry processes16
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
  const parts = new Map([
    ["hot", Hot.run(server)],
    ["expiry", Waits.atExpiry(server)],
    ["slow", Waits.slow(server)],
    ["failing", Waits.failing(server)],
    ["processes16", Processes.run(quiet, 16)],
    ["processes64", Processes.run(quiet, 64)],
    ["idle", Idle.run()]
  ])
  const named = process.argv.slice(3)
  const unknown = named.filter((name) => !parts.has(name))
  if (unknown.length > 0) {
    return yield* Console.error(`no part is called ${unknown.join(", ")}; there are: ${[...parts.keys()].join(", ")}`)
  }
  for (const [name, part] of parts) {
    if (named.length > 0 && !named.includes(name)) continue
    const report = yield* part
    progress("")
    yield* Console.log(text(report))
  }
}).pipe(
  Effect.scoped,
  // that the IAM is out of order is the point
  Effect.provideService(References.MinimumLogLevel, "Error")
)
