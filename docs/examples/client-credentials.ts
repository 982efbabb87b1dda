import { AuthHttpClient, AuthManager } from "@effect-authn/core"
import { OidcIam, OidcStrategy } from "@effect-authn/iam-oidc"
import { NodeAuth } from "@effect-authn/platform-node"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login(OidcStrategy.clientCredentials(), { store: false })
  const api = yield* AuthHttpClient.make({ baseUrl: "https://api.example.com" })
  const answer = yield* api.get("/jobs")
  yield* Console.log(answer.status, yield* answer.text)
})

// AUTHN_ISSUER, AUTHN_CLIENT_ID, AUTHN_CLIENT_SECRET
program.pipe(Effect.provide(NodeAuth.layer(OidcIam.layerConfig())), NodeRuntime.runMain)
