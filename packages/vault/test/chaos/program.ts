/** What a vault of a fleet is made of. */
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import * as ServiceTokens from "@effect-authn/core/storage/ServiceTokens"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as RestPolicy from "@effect-authn/vault/RestPolicy"
import * as Sweeper from "@effect-authn/vault/Sweeper"
import * as Vault from "@effect-authn/vault/Vault"
import * as VaultServer from "@effect-authn/vault/VaultServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { PgClient } from "@effect/sql-pg"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { createServer } from "node:http"
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
  /** Where it listens; 0 for any port that is free. */
  readonly port: number
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

/** One machine: a vault, its sweeper, and its routes. */
export const process = (orders: Orders) => {
  const iam = Fleet.iam(orders).pipe(
    Layer.provide(NodeAuth.layerHttpClient),
    Layer.orDie
  )
  return HttpRouter.serve(VaultServer.layer({ audit: () => Effect.void }), {
    disableListenLog: true,
    disableLogger: true
  }).pipe(
    Layer.provideMerge(Sweeper.layer({ batch: 32, concurrency: 8, lease: Duration.millis(orders.lease) })),
    Layer.provide(Vault.layer({ providers: [iam] })),
    Layer.provide(Layer.fresh(storage(orders))),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: orders.port }))
  )
}

/** The storage as the one who plays it sees it, with a service token for callers. */
export const observed = Effect.fnUntraced(function*(orders: Orders) {
  const built = yield* Layer.build(storage(orders))
  const token = yield* Context.get(built, ServiceTokens.ServiceTokens).create({ name: "caller", rights: ["token"] })
  return { stored: Context.get(built, TokenStorage.TokenStorage), token }
})
