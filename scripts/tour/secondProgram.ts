// Another program of the same user: it finds the session that the tour stored, and says whose it is.
import { AuthManager } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { NodeAuth } from "@effect-authn/platform-node"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Option } from "effect"

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login()
  const user = yield* auth.whoami
  yield* Console.log(Option.flatMap(user, (user) => user.handle).pipe(Option.getOrElse(() => "nobody")))
})

program.pipe(
  Effect.provide(NodeAuth.layer(DatalayerIam.layer({ issuer: process.argv[2] ?? "" }))),
  NodeRuntime.runMain
)
