// A program that runs a cluster of effect already: every runner has a vault and serves any session, and one of them sweeps.
import { EncryptedTokenStorage, EncryptionKeys } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { RestPolicy, Sweeper, Vault } from "@effect-authn/vault"
import { NodeClusterSocket } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Layer } from "effect"
import { Singleton } from "effect/cluster"
import { FetchHttpClient } from "effect/http"

/**
 * The sweeper, on whichever runner has its shard. When that one dies the cluster starts it elsewhere, after its own time-outs;
 * sessions at rest can wait for that. Claims exclude each other, so that two of them for a moment do no harm.
 */
export const sweeper = Singleton.make("effect-authn/sweeper", Layer.launch(Sweeper.layer()))

const vault = Vault.layer({
  providers: [OidcIam.layer({ issuer: "https://idp.example.com", clientId: "my-service" })]
}).pipe(
  Layer.provideMerge(EncryptedTokenStorage.layer(SqlTokenStorage.layer({ changes: "none" }))),
  Layer.provide([RestPolicy.layer(), EncryptionKeys.layerEnvironment()]),
  Layer.provide(FetchHttpClient.layer)
)

/**
 * One runner; `Layer.launch` runs it. Sessions are no entities: a vault is asked for one where the request arrives, and nobody
 * has to be found.
 */
export const runner = sweeper.pipe(
  Layer.provide(vault),
  Layer.provide(NodeClusterSocket.layer({ storage: "sql" })),
  Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
)
