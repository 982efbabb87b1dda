import { AuthHttpClient, AuthManager, AuthStrategy, InteractiveStrategy } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth, NodeLogin, NodeStorage } from "@effect-authn/platform-node"
import { KeychainKeySource } from "@effect-authn/storage-keyring"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer } from "effect"

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login(AuthStrategy.firstOf(AuthStrategy.stored(), InteractiveStrategy.interactive()))
  const api = yield* AuthHttpClient.make({ baseUrl: yield* Config.String("API_URL") })
  const answer = yield* api.get("/me")
  yield* Console.log(answer.status, yield* answer.text)
})

// AUTHN_ISSUER and AUTHN_CLIENT_ID say which provider; the session is the one that `authn login` makes.
const storage = NodeStorage.layer({ keychain: KeychainKeySource.layer, plainFiles: Effect.succeed(true) })
const services = Layer.merge(NodeAuth.layer(OidcIam.layerConfig(), { storage }), NodeLogin.layer())

program.pipe(Effect.provide(services), NodeRuntime.runMain)
