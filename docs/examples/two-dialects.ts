// One program text, two IAMs: `node docs/examples/two-dialects.ts datalayer http://127.0.0.1:4000`, or `genomcore`.
import { AuthHttpClient, AuthManager, AuthStrategy, TokenSet } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { NodeAuth } from "@effect-authn/platform-node"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Context, Effect, Layer, Option } from "effect"

/** How to sign in where this program runs: a strategy is a value, so it is provided like any other service. */
class SignIn extends Context.Service<SignIn, AuthStrategy.AuthStrategy>()(
  "effect-authn/docs/examples/two-dialects/SignIn"
) {}

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login(yield* SignIn, { store: false })
  const user = yield* auth.whoami
  yield* Console.log(`signed in as ${Option.getOrElse(Option.flatMap(user, (user) => user.handle), () => "nobody")}`)

  const api = yield* AuthHttpClient.make({ baseUrl: auth.key.issuer })
  const before = yield* auth.token
  yield* Console.log(`the API answers ${(yield* api.get("/whoami")).status}`)
  yield* auth.refresh()
  const after = yield* auth.token
  yield* Console.log(`${TokenSet.isSame(before, after) ? "the same" : "a new"} token`)
  yield* Console.log(`the API answers ${(yield* api.get("/whoami")).status}`)

  yield* auth.logout
  yield* Console.log((yield* auth.isAuthenticated) ? "still signed in" : "signed out")
})

const [, , dialect = "datalayer", issuer = ""] = process.argv
const handle = "ada"

const datalayer = Layer.merge(
  DatalayerIam.layer({ issuer }),
  Layer.effect(
    SignIn,
    Effect.map(Config.Redacted("IAM_PASSWORD"), (password) => AuthStrategy.password({ handle, password }))
  )
)

const genomcore = Layer.merge(
  GenomcoreIam.layer({ host: issuer }),
  Layer.effect(
    SignIn,
    Effect.map(
      Config.Redacted("IAM_PASSWORD"),
      (password) => AuthStrategy.password({ handle, password, organization: "acme" })
    )
  )
)

const running = dialect === "genomcore"
  ? Effect.provide(program, NodeAuth.layer(genomcore))
  : Effect.provide(program, NodeAuth.layer(datalayer))

NodeRuntime.runMain(running)
