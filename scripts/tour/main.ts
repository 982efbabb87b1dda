// The tour (`npm start`): the authn command, and a program with the library, at machines with an empty home. `npm start --
// genomcore` plays one part of it. Flags are handed to the servers: `npm start -- --fail whoami:503:1` and
// `--fail-provider token` fail.
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import * as Stage from "./stage.ts"
import * as Terminal from "./terminal.ts"
import { play, temporary } from "./tour.ts"

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

// What the provider says about not being meant for production is not part of the tour.
console.info = console.warn = () => {}

const tour = Effect.gen(function*() {
  const began = performance.now()
  const directory = yield* temporary
  yield* play(process.argv.slice(2), Terminal.pack(directory))
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  yield* Console.log(`\n${Stage.green("Everything held")}, in ${seconds} s. What to type next:\n${next}`)
}).pipe(
  Effect.scoped,
  Effect.catch(() => Effect.sync(() => process.exitCode = 1))
)

NodeRuntime.runMain(tour)
