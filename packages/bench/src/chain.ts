// How long `login()` takes to say that nothing signs this program in: no variable, no session, no platform. Each answer is
// of services that were just built, and the first one is of a process that has just begun.
import { AuthManager } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth, NodeStorage } from "@effect-authn/platform-node"
import { Clock, Console, Context, Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { median } from "./measure.ts"

const boundMillis = 50
const answers = 31

const directory = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "authn-chain-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
)

const iam = OidcIam.layer({
  issuer: "https://idp.example.com",
  clientId: "deploy",
  workload: { audience: "https://idp.example.com" }
})

/** What an effect took, in milliseconds of the clock and of the processor, which a busy machine does not change. */
const took = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const begun = yield* Clock.monotonicTimeNanos
  const before = process.cpuUsage()
  const value = yield* effect
  const { system, user } = process.cpuUsage(before)
  return { value, clock: Number((yield* Clock.monotonicTimeNanos) - begun) / 1e6, processor: (user + system) / 1e3 }
})

const answer = Effect.fnUntraced(function*(directory: string) {
  const storage = NodeStorage.layer({ directory, plainFiles: Effect.succeed(true) })
  const services = yield* Layer.build(Layer.fresh(NodeAuth.layer(iam, { storage })))
  const auth = Context.get(services, AuthManager.AuthManager)
  const answered = yield* took(Effect.flip(auth.login(undefined, { store: false })))
  return answered.value._tag === "NoCredentials" ? answered : yield* answered.value
}, Effect.scoped)

export const run = Effect.gen(function*() {
  const all = yield* Effect.flatMap(
    directory,
    (place) => Effect.forEach(Array.from({ length: answers }), () => answer(place))
  )
  const [first] = all
  if (first === undefined) return
  const isKept = first.processor <= boundMillis
  if (!isKept) process.exitCode = 1
  const medianOf = (of: "clock" | "processor") => median(all.map((one) => one[of])).toFixed(1)
  yield* Console.log(
    `login() where nothing signs in: first answer ${first.clock.toFixed(1)} ms, of which the processor worked ` +
      `${first.processor.toFixed(1)} (bound ${boundMillis}${isKept ? "" : ": MISSED"}); median ${
        medianOf("clock")
      } ms and ` +
      `${medianOf("processor")} ms`
  )
}).pipe(Effect.scoped, Effect.orDie)
