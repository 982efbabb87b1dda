import { AuthHttpClient, AuthManager, AuthStrategy, InteractiveStrategy } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth, NodeLogin } from "@effect-authn/platform-node"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"

const iam = OidcIam.layer({
  issuer: "https://idp.example.com",
  clientId: "my-tool"
})

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login(AuthStrategy.firstOf(AuthStrategy.stored(), InteractiveStrategy.interactive()))
  const api = yield* AuthHttpClient.make({ baseUrl: "https://api.example.com" })
  const answer = yield* api.get("/me")
  yield* Console.log(answer.status, yield* answer.text)
})

program.pipe(Effect.provide([NodeAuth.layer(iam), NodeLogin.layer()]), NodeRuntime.runMain)
