// The tour (`npm start`): the authn command, and a program with the library, against real HTTP servers, at machines with an
// empty home, with every claim read from a server's ledger or the file system. `npm start -- genomcore` plays one part of
// it. Flags are handed to the servers: `npm start -- --fail whoami:503:1` and `--fail-provider token` fail.
import { DatalayerOptions } from "@effect-authn/iam-datalayer"
import { NodeAuth } from "@effect-authn/platform-node"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { ConfigProvider, Console, Effect, References } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Datalayer from "./datalayer.ts"
import * as Genomcore from "./genomcore.ts"
import * as Oidc from "./oidc.ts"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"
import * as Terminal from "./terminal.ts"

const storageVariables = ["EFFECT_AUTHN_STORAGE", "EFFECT_AUTHN_KEY", "EFFECT_AUTHN_PASSPHRASE"]

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-tour-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

const next = `
  npm run --silent simulator -- --token-lifetime "1 hour"
                                        ${Stage.dim("# an IAM to try things with; in another terminal:")}
  npm run --silent authn -- login       ${
  Stage.dim("# asks for what it needs: datalayer, the simulator's address, ada,")
}
                                        ${Stage.dim("# correct-horse-battery")}
  npm run --silent authn -- status --watch
  npm run --silent authn -- --help

In a program:

  const program = Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    yield* auth.login()
    const api = yield* AuthHttpClient.make({ baseUrl: auth.key.issuer })
    return yield* api.get("/me")
  })

  program.pipe(Effect.provide(NodeAuth.layer(DatalayerIam.layer({ issuer }))), NodeRuntime.runMain)
`

const parts = ["datalayer", "genomcore", "oidc"]

/** The parts to play, and the flags of the simulator and of the provider. */
const asked = Effect.suspend(() => {
  const words = process.argv.slice(2)
  const end = words.findIndex((word) => word.startsWith("-"))
  const chosen = end < 0 ? words : words.slice(0, end)
  const unknown = chosen.find((word) => !parts.includes(word))
  if (unknown !== undefined) {
    return Effect.fail(new Stage.ClaimFailed({ message: `there is no part "${unknown}", only ${parts.join(", ")}` }))
  }
  const flags: Array<string> = []
  const failing: Array<string> = []
  for (let at = chosen.length; at < words.length; at++) {
    if (words[at] === "--fail-provider") failing.push(words[++at] ?? "")
    else flags.push(words[at] ?? "")
  }
  return Effect.succeed({ has: (part: string) => chosen.length === 0 || chosen.includes(part), flags, failing })
})

const tour = Effect.gen(function*() {
  const began = performance.now()
  const directory = yield* temporary
  const { failing, flags, has } = yield* asked
  yield* Console.log(Stage.bold("authn: sign in once, stay signed in"))
  const [{ issuer, pid }, main] = yield* Effect.all(
    [Simulator.start(flags), Terminal.pack(directory)],
    { concurrency: 2 }
  )
  yield* Stage.say(Stage.dim(`an IAM is running at ${issuer} (process ${pid})`))
  const terminal = Terminal.make(main, path.join(directory, "first"))
  // The program with the library is at the same machine.
  for (const name of [...DatalayerOptions.environment, ...storageVariables]) delete process.env[name]
  Object.assign(process.env, terminal.env)
  yield* Effect.gen(function*() {
    if (has("datalayer")) yield* Datalayer.tour(issuer, terminal)
    if (has("genomcore")) yield* Genomcore.tour(issuer, terminal, Terminal.make(main, path.join(directory, "second")))
    if (has("oidc")) yield* Oidc.tour(terminal, failing)
    // What was read of the environment before is of before: the client of HTTP has looked for proxies there.
  }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv()))
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  yield* Console.log(`\n${Stage.green("Everything held")}, in ${seconds} s. What to type next:\n${next}`)
}).pipe(
  Effect.scoped,
  Effect.provide([NodeServices.layer, NodeAuth.layerHttpClient]),
  // What the library logs about a renewal is not part of the tour.
  Effect.provideService(References.MinimumLogLevel, "Error"),
  Effect.tapError((error) => Console.error(`\n${Stage.red("The tour ended early")}: ${error.message}`)),
  Effect.catch(() => Effect.sync(() => process.exitCode = 1))
)

NodeRuntime.runMain(tour)
