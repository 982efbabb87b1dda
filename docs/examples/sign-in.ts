import { AuthHttpClient, AuthManager, AuthStrategy } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { NodeAuth } from "@effect-authn/platform-node"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect } from "effect"

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login(AuthStrategy.password({ handle: "ada", password: yield* Config.Redacted("IAM_PASSWORD") }))
  const api = yield* AuthHttpClient.make({ baseUrl: auth.key.issuer })
  const answer = yield* api.get("/api/iam/v1/me")
  yield* Console.log(answer.status, yield* answer.text)
})

program.pipe(Effect.provide(NodeAuth.layer(DatalayerIam.layerConfig())), NodeRuntime.runMain)
