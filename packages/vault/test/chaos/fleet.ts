/** A fleet of vaults over one PostgreSQL, whose IAM has strict rotation. */
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as RestPolicy from "@effect-authn/vault/RestPolicy"
import * as Sweeper from "@effect-authn/vault/Sweeper"
import * as Vault from "@effect-authn/vault/Vault"
import { PgClient } from "@effect/sql-pg"
import * as ConfigProvider from "effect/ConfigProvider"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

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

export const keyOf = ({ issuer }: Orders, family: string) =>
  SessionKey.SessionKey.make({ issuer, clientId: "chaos", account: family })

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
  const iam = OidcIam.layer({
    issuer: orders.issuer,
    clientId: "chaos",
    scopes: ["read"],
    metadata: { token_endpoint: `${orders.issuer}/token` },
    policy: { timeLimit: Duration.millis(orders.timeLimit), reuseGrace: Duration.millis(orders.grace) }
  }).pipe(Layer.provide(NodeAuth.layerHttpClient), Layer.orDie)
  return Sweeper.layer({ batch: 32, concurrency: 8, lease: Duration.millis(orders.lease) }).pipe(
    Layer.provideMerge(Vault.layer({ providers: [iam] })),
    Layer.provide(Layer.fresh(storage(orders)))
  )
}

/** Stores the session that a family starts with. */
export const start = (
  orders: Orders,
  families: ReadonlyArray<string>,
  endsAt: (family: string) => number,
  life: number
) =>
  Effect.gen(function*() {
    const stored = yield* TokenStorage.TokenStorage
    yield* Effect.forEach(families, (family) => {
      const key = keyOf(orders, family)
      const end = endsAt(family)
      const session = Session.Session.make({
        key,
        generation: end,
        obtainedAt: end - life,
        durable: true,
        strategy: "vault",
        user: Option.none(),
        grant: Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make(`${family}.0`) }),
        tokens: {
          [Selection.id(Selection.none)]: TokenSet.TokenSet.make({
            accessToken: Redacted.make(`at-${family}.0`),
            tokenType: "Bearer",
            issuedAt: DateTime.makeUnsafe(end - life),
            expiresAt: Option.some(DateTime.makeUnsafe(end)),
            idToken: Option.none(),
            scope: Option.none()
          })
        },
        current: Selection.none,
        dead: Option.none(),
        intent: Option.none()
      })
      return stored.put(key, session, 0)
    }, { concurrency: 8, discard: true })
  }).pipe(Effect.provide(storage(orders)), Effect.scoped)
