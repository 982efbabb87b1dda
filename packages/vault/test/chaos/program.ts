/** What a vault of a fleet is made of. */
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as RestPolicy from "@effect-authn/vault/RestPolicy"
import * as Sweeper from "@effect-authn/vault/Sweeper"
import * as Vault from "@effect-authn/vault/Vault"
import { PgClient } from "@effect/sql-pg"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Fleet from "../../../storage/sql/test/chaos/fleet.ts"

/** What a process is told. Times are in milliseconds. */
export interface Orders {
  readonly issuer: string
  readonly database: string
  readonly lease: number
  readonly timeLimit: number
  readonly grace: number
  /** How long after a renewal a session falls due again. */
  readonly renewIdle: number
}

const keys = EncryptionKeys.layerEnvironment().pipe(
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "A".repeat(43) } })))
)

export const storage = ({ database, grace, lease, renewIdle }: Orders) =>
  EncryptedTokenStorage.layer(SqlTokenStorage.layer({ changes: "none", lease: Duration.millis(lease) })).pipe(
    Layer.provide([
      keys,
      RestPolicy.layer({
        renewIdle: Duration.millis(renewIdle),
        spread: 0,
        lease: Duration.millis(lease),
        reuseGrace: Duration.millis(grace)
      }),
      Layer.orDie(PgClient.layer({ url: Redacted.make(database), maxConnections: 4 }))
    ])
  )

export const process = (orders: Orders) => {
  const iam = Fleet.iam(orders).pipe(
    Layer.provide(NodeAuth.layerHttpClient),
    Layer.orDie
  )
  return Sweeper.layer({ batch: 32, concurrency: 8, lease: Duration.millis(orders.lease) }).pipe(
    Layer.provideMerge(Vault.layer({ providers: [iam] })),
    Layer.provide(Layer.fresh(storage(orders)))
  )
}
