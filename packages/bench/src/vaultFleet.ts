// What the processes of a measured fleet have in common: a storage, a vault over it, and sessions to keep.
import {
  EncryptedTokenStorage,
  EncryptionKeys,
  Selection,
  Session,
  SessionKey,
  SessionLock,
  TokenSet,
  TokenStorage
} from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth } from "@effect-authn/platform-node"
import { SqlRateLimiterStore, SqlTokenStorage } from "@effect-authn/storage-sql"
import { IssuerRate, RestPolicy, Sweeper, Vault, VaultServer } from "@effect-authn/vault"
import { NodeHttpServer } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { ConfigProvider, Context, DateTime, Duration, Effect, Layer, Option, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { SqlClient } from "effect/sql"
import { createHash } from "node:crypto"
import { createServer } from "node:http"
import { accessToken, refreshToken } from "./vaultTokens.ts"

export interface Orders {
  readonly database: string
  readonly issuer: string
  readonly batch: number
  readonly concurrency: number
  readonly isSweeping: boolean
  readonly maxOpen: number
  /** Renewals a second at the IAM, of the whole fleet. */
  readonly rate?: number
}

const clientId = "fleet"
const lease = "13 seconds"
const renewIdle = "7 days"

export const keyOf = (issuer: string, family: number) =>
  SessionKey.SessionKey.make({ issuer, clientId, account: `account-${family}` })

const keys = EncryptionKeys.layerEnvironment().pipe(
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "A".repeat(43) } })))
)

export interface Statements {
  all: number
  claims: number
  draws: number
}

/** The client of a database whose statements are counted. */
const client = (database: string, statements: Statements) =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.map(SqlClient.SqlClient, (sql) => {
      const count = (text: string) => {
        statements.all += 1
        if (text.includes("was_due_at")) statements.claims += 1
        if (text.includes("_rates")) statements.draws += 1
      }
      const reserve = Effect.map(sql.reserve, (connection) => ({
        ...connection,
        execute: (...call: Parameters<typeof connection.execute>) => {
          count(call[0])
          return connection.execute(...call)
        }
      }))
      return new Proxy(sql, {
        get: (target, name) => {
          if (name === "reserve") return reserve
          const value: unknown = Reflect.get(target, name)
          if (name !== "unsafe" || typeof value !== "function") return value
          return (text: string, parameters: ReadonlyArray<unknown>) => {
            count(text)
            return target.unsafe(text, parameters)
          }
        }
      })
    })
  ).pipe(Layer.provide(Layer.orDie(PgClient.layer({ url: Redacted.make(database), maxConnections: 6 }))))

export const stored = (database: string, statements: Statements = { all: 0, claims: 0, draws: 0 }) =>
  EncryptedTokenStorage.layer(SqlTokenStorage.layer({ changes: "none", lease })).pipe(
    Layer.provide(keys),
    Layer.provide(RestPolicy.layer({ renewIdle, spread: 0, lease })),
    Layer.provideMerge(client(database, statements))
  )

/** One process: a vault, its sweeper, and its routes on a free port. */
export const process = (orders: Orders, statements: Statements) => {
  const iam = OidcIam.layer({
    issuer: orders.issuer,
    clientId,
    scopes: ["read"],
    metadata: { token_endpoint: `${orders.issuer}/token` },
    policy: { timeLimit: Duration.seconds(10) }
  }).pipe(Layer.provide(NodeAuth.layerHttpClient), Layer.orDie)
  const rates = orders.rate === undefined
    ? Layer.empty
    : IssuerRate.layer({ perSecond: orders.rate }).pipe(Layer.provide(SqlRateLimiterStore.layer()))
  const sweeper = orders.isSweeping
    ? Sweeper.layer({ batch: orders.batch, concurrency: orders.concurrency })
    : Layer.empty
  return HttpRouter.serve(VaultServer.layer({ audit: () => Effect.void }), {
    disableListenLog: true,
    disableLogger: true
  }).pipe(
    Layer.provideMerge(sweeper),
    Layer.provide(Vault.layer({ providers: [iam], maxOpen: orders.maxOpen })),
    Layer.provide(rates),
    Layer.provide(stored(orders.database, statements)),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
    Layer.orDie
  )
}

/** A session that was renewed last `renewedAgo` ago, whose access token has `left`; both in milliseconds. */
const sessionOf = (issuer: string, family: number, now: number, left: number) => {
  const key = keyOf(issuer, family)
  const renewedAt = now - Duration.toMillis(renewIdle)
  return Session.Session.make({
    key,
    generation: renewedAt,
    obtainedAt: renewedAt,
    durable: true,
    strategy: "vault",
    user: Option.none(),
    grant: Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make(refreshToken(family, 0)) }),
    tokens: {
      [Selection.id(Selection.none)]: TokenSet.TokenSet.make({
        accessToken: Redacted.make(accessToken(family, 0)),
        tokenType: "Bearer",
        issuedAt: DateTime.makeUnsafe(renewedAt),
        expiresAt: Option.some(DateTime.makeUnsafe(now + left)),
        idToken: Option.none(),
        scope: Option.none()
      })
    },
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })
}

/** The codec that an encrypted storage writes with. */
const codecOf = Effect.gen(function*() {
  let codec: TokenStorage.Codec | undefined
  const spy = Layer.effect(
    TokenStorage.TokenStorage,
    Effect.gen(function*() {
      codec = yield* TokenStorage.Codec
      const memory = Context.get(yield* Layer.build(TokenStorage.layerMemory), TokenStorage.TokenStorage)
      return { ...memory, guarantees: { ...memory.guarantees, atRest: codec.atRest } }
    })
  ).pipe(Layer.merge(SessionLock.layerInProcess))
  yield* Layer.build(EncryptedTokenStorage.layer(spy).pipe(Layer.provide(keys)))
  return codec ?? (yield* Effect.die("there is no codec"))
})

/** Writes sessions as the storage would, five hundred in a statement; none of them is due. */
export const seed = Effect.fnUntraced(function*(options: {
  readonly issuer: string
  readonly count: number
  readonly leftOf: (family: number) => number
  readonly progress: (done: number) => void
}) {
  const sql = yield* SqlClient.SqlClient
  const codec = yield* codecOf
  const now = Date.now()
  const lot = 500
  for (let from = 0; from < options.count; from += lot) {
    const families = Array.from({ length: Math.min(lot, options.count - from) }, (_, index) => from + index)
    const rows = yield* Effect.forEach(families, (family) => {
      const session = sessionOf(options.issuer, family, now, options.leftOf(family))
      return Effect.map(codec.encode(session), (document) => [
        createHash("sha256").update(session.key.id).digest("hex"),
        session.key.id,
        `${session.generation}`,
        document,
        `${now + 400 * 86_400_000 + family}`
      ])
    }, { concurrency: 16 })
    const places = rows.map((_, row) =>
      `($${5 * row + 1}, $${5 * row + 2}, $${5 * row + 3}, $${5 * row + 4}, $${5 * row + 5})`
    )
    yield* sql.unsafe(
      `INSERT INTO effect_authn_sessions (id, key, generation, document, due_at) VALUES ${places.join(", ")}`,
      rows.flat()
    )
    options.progress(from + families.length)
  }
  yield* sql.unsafe("VACUUM ANALYZE effect_authn_sessions")
})
