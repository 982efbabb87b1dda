import {
  EncryptedTokenStorage,
  EncryptionKeys,
  PendingLogins,
  type SessionLock,
  type TokenStorage
} from "@effect-authn/core"
import { NodeSqlite } from "@effect-authn/platform-node"
import { SqlRateLimiterStore, SqlTokenStorage } from "@effect-authn/storage-sql"
import * as DueSessionsSuite from "@effect-authn/testing/DueSessionsSuite"
import * as PendingLoginsSuite from "@effect-authn/testing/PendingLoginsSuite"
import * as ServiceTokensSuite from "@effect-authn/testing/ServiceTokensSuite"
import * as TokenStorageSuite from "@effect-authn/testing/TokenStorageSuite"
import { afterAll, assert, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Redacted from "effect/Redacted"
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

it.live("no byte of the files shows a pending login, and with it the private key of the session to come", () =>
  Effect.gen(function*() {
    const pending = yield* PendingLogins.PendingLogins
    const id = Redacted.make("state-canary")
    const login = JSON.stringify({ codeVerifier: "verifier-canary", proofKey: { jwk: { d: "key-canary" } } })
    yield* pending.put(id, Redacted.make(login), Duration.minutes(5))
    const files = Fs.readdirSync(directory).filter((name) => name.startsWith("bytes."))
    const bytes = files.map((name) => Fs.readFileSync(Path.join(directory, name), "latin1")).join("")
    assert.include(bytes, "effect_authn_pending_logins")
    assert.notInclude(bytes, "canary")
    assert.deepStrictEqual(Option.map(yield* pending.take(id), Redacted.value), Option.some(login))
  }).pipe(Effect.provide(on("bytes"))))
