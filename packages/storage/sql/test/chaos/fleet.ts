/** Sessions of a strict IAM in a store that several processes share. */
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeSqlite from "@effect-authn/platform-node/NodeSqlite"
import * as RedisTokenStorage from "@effect-authn/storage-redis/RedisTokenStorage"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { pool } from "../postgres.ts"

/** What a worker is told. Times are in milliseconds. */
export interface Orders {
  readonly issuer: string
  readonly store: "sqlite" | "postgres" | "redis"
  /** The address of the server, or the name of the file. */
  readonly address: string
  readonly families: ReadonlyArray<string>
  readonly lease: number
  readonly timeLimit: number
  readonly grace: number
  readonly replicas: number
  /** How long each of the worker's eight fibers rests between two sessions. */
  readonly pace: number
  /** What is taken out, to see that the ledger would show it. */
  readonly without?: "lock" | "compare and set"
}

const clientId = "chaos"

export const keyOf = ({ issuer }: Orders, family: string) =>
  SessionKey.SessionKey.make({ issuer, clientId, account: family })

type Shared =
  | TokenStorage.TokenStorage
  | SessionLock.SessionLock

const shared = ({ address, lease, replicas, store }: Orders): Layer.Layer<Shared> => {
  const duration = Duration.millis(lease)
  if (store === "redis") {
    return RedisTokenStorage.layer({ lease: duration, replicas }).pipe(
      Layer.provide(NodeRedis.layer({ url: address })),
      Layer.orDie
    )
  }
  const client = store === "sqlite" ? Layer.orDie(NodeSqlite.layer({ filename: address })) : Layer.orDie(pool(address))
  return Layer.provide(SqlTokenStorage.layer({ changes: "none", lease: duration }), client)
}

/** No lock, with the lease that the keeper counts on all the same. */
const noLock = ({ lease }: Orders) =>
  Layer.succeed(
    SessionLock.SessionLock,
    SessionLock.SessionLock.of({ lease: Duration.millis(lease), withLock: () => (effect) => effect })
  )

/** A storage whose answers come late, so that several programs decide by the same one. */
const late = Layer.effect(
  TokenStorage.TokenStorage,
  Effect.map(TokenStorage.TokenStorage, (storage) =>
    TokenStorage.TokenStorage.of({
      ...storage,
      get: (key) => Effect.tap(storage.get(key), Effect.sleep("100 millis"))
    }))
)

/** A storage in which whoever writes is right. */
const always = Layer.effect(
  TokenStorage.TokenStorage,
  Effect.map(TokenStorage.TokenStorage, (storage) =>
    TokenStorage.TokenStorage.of({
      ...storage,
      put: (key, next) =>
        Effect.flatMap(storage.get(key), (found) =>
          storage.put(
            key,
            next,
            Option.match(found, { onNone: () => 0, onSome: ({ generation }) => generation })
          ))
    }))
)

/** The storage of a worker, with the fault that it is told to have. */
export const storage = (orders: Orders): Layer.Layer<Shared> => {
  const built = Layer.fresh(shared(orders))
  if (orders.without === undefined) return built
  const unlocked = Layer.provideMerge(late, Layer.merge(built, noLock(orders)))
  return orders.without === "lock" ? unlocked : Layer.provideMerge(always, unlocked)
}

export const keeper = (orders: Orders) =>
  SessionKeeper.layer.pipe(
    Layer.provideMerge(storage(orders)),
    Layer.provide(
      OidcIam.layer({
        issuer: orders.issuer,
        clientId,
        scopes: ["read"],
        metadata: { token_endpoint: `${orders.issuer}/token` },
        policy: { timeLimit: Duration.millis(orders.timeLimit), reuseGrace: Duration.millis(orders.grace) }
      })
    ),
    Layer.provide(NodeAuth.layerHttpClient)
  )

/** Stores the session that a family starts with. */
export const start = (orders: Orders, endsAt: (family: string) => number, life: number) =>
  Effect.gen(function*() {
    const stored = yield* TokenStorage.TokenStorage
    yield* Effect.forEach(
      orders.families,
      (family) => {
        const key = keyOf(orders, family)
        const end = endsAt(family)
        return stored.put(
          key,
          Session.Session.make({
            key,
            generation: end,
            obtainedAt: end - life,
            durable: true,
            strategy: "browser",
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
          }),
          0
        )
      },
      { concurrency: 8, discard: true }
    )
  }).pipe(Effect.provide(storage(orders)), Effect.scoped)
