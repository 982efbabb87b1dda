// The storages that a session can be in, by what a program was told of their place.
import { EncryptedTokenStorage, EncryptionKeys, type SessionLock, TokenStorage } from "@effect-authn/core"
import { FileTokenStorage, NodeSqlite } from "@effect-authn/platform-node"
import { RedisTokenStorage } from "@effect-authn/storage-redis"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { NodeRedis } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { ConfigProvider, Layer, Redacted } from "effect"

export type Storage = Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock>

/** `place` is a directory, a file or an address. */
export interface Place {
  readonly kind: "memory" | "files" | "encrypted files" | "SQLite" | "PostgreSQL" | "Redis"
  readonly place: string
}

const key = ConfigProvider.layer(
  ConfigProvider.fromEnv({ env: { AUTHN_KEY: Buffer.alloc(32, 7).toString("base64") } })
)

export const storage = ({ kind, place }: Place): Storage => {
  switch (kind) {
    case "memory":
      return TokenStorage.layerMemory
    case "files":
      return FileTokenStorage.layer({ directory: place })
    case "encrypted files":
      return EncryptedTokenStorage.layer(FileTokenStorage.layer({ directory: place })).pipe(
        Layer.provide(EncryptionKeys.layerEnvironment()),
        Layer.provide(key)
      )
    case "SQLite":
      return SqlTokenStorage.layer().pipe(Layer.provide(NodeSqlite.layer({ filename: place })), Layer.orDie)
    case "PostgreSQL":
      return SqlTokenStorage.layer().pipe(
        Layer.provide(PgClient.layer({ url: Redacted.make(place), maxConnections: 2 })),
        Layer.orDie
      )
    case "Redis":
      return RedisTokenStorage.layer().pipe(Layer.provide(NodeRedis.layer({ url: place })), Layer.orDie)
  }
}
