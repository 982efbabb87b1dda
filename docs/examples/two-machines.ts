// Run it on every machine, with DATABASE_URL, AUTHN_KEY, DATALAYER_IAM_URL and IAM_PASSWORD set alike.
import { AuthManager, AuthStrategy, EncryptedTokenStorage, EncryptionKeys } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { NodeAuth } from "@effect-authn/platform-node"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Effect, Layer } from "effect"

const storage = EncryptedTokenStorage.layer(SqlTokenStorage.layer()).pipe(
  Layer.provide(EncryptionKeys.layerEnvironment()),
  Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
)

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const password = AuthStrategy.password({ handle: "ada", password: yield* Config.Redacted("IAM_PASSWORD") })
  const session = yield* auth.login(AuthStrategy.firstOf(AuthStrategy.stored(), password))
  yield* Console.log(session.generation)
})

program.pipe(Effect.provide(NodeAuth.layer(DatalayerIam.layerConfig(), { storage })), NodeRuntime.runMain)
