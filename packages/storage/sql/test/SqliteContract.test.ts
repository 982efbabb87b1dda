import { EncryptedTokenStorage, EncryptionKeys, type SessionLock, type TokenStorage } from "@effect-authn/core"
import { NodeSqlite } from "@effect-authn/platform-node"
import { SqlRateLimiterStore, SqlTokenStorage } from "@effect-authn/storage-sql"
import * as DueSessionsSuite from "@effect-authn/testing/DueSessionsSuite"
import * as PendingLoginsSuite from "@effect-authn/testing/PendingLoginsSuite"
import * as ServiceTokensSuite from "@effect-authn/testing/ServiceTokensSuite"
import * as TokenStorageSuite from "@effect-authn/testing/TokenStorageSuite"
import { afterAll } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as RateLimiterStore from "./RateLimiterStore.ts"

const key = EncryptionKeys.layerEnvironment().pipe(
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "A".repeat(43) } })))
)

const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-sqlite-"))
afterAll(() => Fs.rmSync(directory, { recursive: true, force: true }))

const on = (name: string) =>
  SqlTokenStorage.layer().pipe(
    Layer.provide(NodeSqlite.layer({ filename: Path.join(directory, `${name}.sqlite`) }))
  )

const sealed = <A, E>(storage: Layer.Layer<A | TokenStorage.TokenStorage | SessionLock.SessionLock, E>) =>
  EncryptedTokenStorage.layer(storage).pipe(Layer.provide(key))

TokenStorageSuite.suite("SQLite, plain", on("plain"))
TokenStorageSuite.suite("SQLite, encrypted", sealed(on("sealed")))
DueSessionsSuite.suite("SQLite, plain", on("due"))
DueSessionsSuite.suite("SQLite, encrypted", sealed(on("due-sealed")))
PendingLoginsSuite.suite("SQLite", on("pending"))
ServiceTokensSuite.suite("SQLite", on("service"))
RateLimiterStore.suite("effect, memory", RateLimiter.layerStoreMemory)
RateLimiterStore.suite(
  "SQLite",
  SqlRateLimiterStore.layer().pipe(
    Layer.provide(NodeSqlite.layer({ filename: Path.join(directory, "rates.sqlite") }))
  )
)
