// The tour (`npm start`): the library against a real HTTP server, in a temporary home, with every claim read from the
// server's ledger or the file system. Flags are handed to the simulator: `npm start -- --fail whoami:503:1` fails.
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { NodeAuth, NodeStorage } from "@effect-authn/platform-node"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Layer, References } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Datalayer from "./datalayer.ts"
import * as Genomcore from "./genomcore.ts"
import * as Oidc from "./oidc.ts"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"

const temporaryHome = Effect.acquireRelease(
  Effect.sync(() => {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-tour-"))
    process.env["XDG_DATA_HOME"] = path.join(home, "data")
    const named = ["EFFECT_AUTHN_STORAGE", "EFFECT_AUTHN_KEY", "EFFECT_AUTHN_PASSPHRASE"]
    for (const name of [...DatalayerIam.environment, ...named]) delete process.env[name]
    return home
  }),
  (home) => Effect.sync(() => fs.rmSync(home, { recursive: true, force: true }))
)

const example = `
const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login(AuthStrategy.password({ handle: "ada", password }))
  const api = yield* AuthHttpClient.make({ baseUrl: "https://api.example.com" })
  return yield* api.get("/me")
})

program.pipe(Effect.provide(NodeAuth.layer(DatalayerIam.layer({ issuer }))), NodeRuntime.runMain)`

const tour = Effect.gen(function*() {
  const began = performance.now()
  const home = yield* temporaryHome
  yield* Console.log(Stage.bold("effect-authn: sign in once, stay signed in"))
  const { issuer, pid } = yield* Simulator.start(["--token-lifetime", "3 seconds", ...process.argv.slice(2)])
  yield* Stage.say(`an IAM is running at ${issuer} (process ${pid}); its tokens live for three seconds`)
  // The person's own keychain is none of the tour's business.
  const storage = NodeStorage.layer({ plainFiles: Effect.succeed(true) })
  yield* Datalayer.tour(issuer, home).pipe(
    Effect.provide(Layer.merge(NodeAuth.layer(DatalayerIam.layer({ issuer }), { storage }), storage))
  )
  yield* Genomcore.tour(issuer)
  yield* Oidc.tour
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  yield* Console.log(`\n${Stage.green("Everything held")}, in ${seconds} s. To do the same:\n${example}\n`)
}).pipe(
  Effect.scoped,
  Effect.provide([NodeServices.layer, NodeAuth.layerHttpClient]),
  // What the library logs about a renewal is not part of the tour.
  Effect.provideService(References.MinimumLogLevel, "Error"),
  Effect.tapError((error) => Console.error(`\n${Stage.red("The tour ended early")}: ${error.message}`)),
  Effect.catch(() => Effect.sync(() => process.exitCode = 1))
)

NodeRuntime.runMain(tour)
