import { EncryptedTokenStorage, EncryptionKeys, type SessionLock, type TokenStorage } from "@effect-authn/core"
import { SqlRateLimiterStore, SqlTokenStorage } from "@effect-authn/storage-sql"
import * as DueSessionsSuite from "@effect-authn/testing/DueSessionsSuite"
import * as LeaseSuite from "@effect-authn/testing/LeaseSuite"
import * as PendingLoginsSuite from "@effect-authn/testing/PendingLoginsSuite"
import * as PostgresServer from "@effect-authn/testing/PostgresServer"
import * as ServiceTokensSuite from "@effect-authn/testing/ServiceTokensSuite"
import * as TokenStorageSuite from "@effect-authn/testing/TokenStorageSuite"
import { afterAll, beforeAll, describe } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { pool } from "./postgres.ts"
import * as RateLimiterStore from "./RateLimiterStore.ts"

const key = EncryptionKeys.layerEnvironment().pipe(
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "A".repeat(43) } })))
)

// One server for the file; each suite has tables of its own, and each build of a layer a pool of its own.
let server: PostgresServer.PostgresServer["Service"]
const scope = Scope.makeUnsafe()
beforeAll(async () => {
  if (PostgresServer.isThere) server = await Effect.runPromise(Scope.provide(PostgresServer.make(), scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const on = (options: SqlTokenStorage.Options) =>
  SqlTokenStorage.layer(options).pipe(Layer.provide(Layer.unwrap(Effect.sync(() => pool(server.url())))))

const sealed = <A, E>(storage: Layer.Layer<A | TokenStorage.TokenStorage | SessionLock.SessionLock, E>) =>
  EncryptedTokenStorage.layer(storage).pipe(Layer.provide(key))

describe.runIf(PostgresServer.isThere)("PostgreSQL", () => {
  TokenStorageSuite.suite("PostgreSQL, plain", on({ prefix: "plain" }))
  TokenStorageSuite.suite("PostgreSQL, encrypted", sealed(on({ prefix: "sealed" })))
  TokenStorageSuite.suite("PostgreSQL, polled", on({ prefix: "polled", changes: "poll" }))
  DueSessionsSuite.suite("PostgreSQL, plain", on({ prefix: "due" }))
  DueSessionsSuite.suite("PostgreSQL, encrypted", sealed(on({ prefix: "due_sealed" })))
  PendingLoginsSuite.suite("PostgreSQL", on({ prefix: "pending" }))
  ServiceTokensSuite.suite("PostgreSQL", on({ prefix: "service" }))
  RateLimiterStore.suite(
    "PostgreSQL",
    SqlRateLimiterStore.layer({ prefix: "rated" }).pipe(
      Layer.provide(Layer.unwrap(Effect.sync(() => pool(server.url()))))
    )
  )
  LeaseSuite.suite("PostgreSQL", (lease) => on({ prefix: "lease", lease }))
})
