/** The tables, and how they come to be. */
import { StorageUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, SqlError, UnknownError } from "effect/sql/SqlError"

export type Dialect = "pg" | "sqlite"

/** The version of the tables that this program reads and writes. */
export const latest = 2

const statements = (prefix: string): ReadonlyArray<string> => [
  `CREATE TABLE ${prefix}_sessions (id TEXT PRIMARY KEY, key TEXT NOT NULL, generation BIGINT NOT NULL, ` +
  `document TEXT NOT NULL, due_at BIGINT, was_due_at BIGINT)`,
  `CREATE INDEX ${prefix}_sessions_due ON ${prefix}_sessions (due_at) WHERE due_at IS NOT NULL`,
  `CREATE TABLE ${prefix}_leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, nonce TEXT NOT NULL, ` +
  `expires_at BIGINT NOT NULL)`,
  `CREATE TABLE ${prefix}_pending_logins (id TEXT PRIMARY KEY, login TEXT NOT NULL, ends_at BIGINT NOT NULL)`,
  `CREATE INDEX ${prefix}_pending_logins_end ON ${prefix}_pending_logins (ends_at)`
]

const serviceTokens = (prefix: string): ReadonlyArray<string> => [
  `CREATE TABLE ${prefix}_service_tokens (name TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, token TEXT NOT NULL, ` +
  `ends_at BIGINT NOT NULL)`
]

// a claim looks exactly where dead entries of the index would lie
const tuning = (prefix: string): ReadonlyArray<string> => [
  `ALTER TABLE ${prefix}_sessions SET (autovacuum_vacuum_scale_factor = 0.01)`
]

const tableOf = (prefix: string) => `${prefix}_migrations`

/** Creates what is missing. It may run in many programs at once. */
export const run = (sql: SqlClient, prefix: string): Effect.Effect<void, SqlError> => {
  const each = Effect.forEach((statement: string) => sql.unsafe(statement), { discard: true })
  return Migrator.make({})({
    loader: Migrator.fromRecord({
      "1_sessions": each([
        ...statements(prefix),
        ...sql.onDialectOrElse({ pg: () => tuning(prefix), orElse: () => [] })
      ]),
      "2_service_tokens": each(serviceTokens(prefix))
    }),
    // the default is the program's own, and ids below its latest are skipped in silence
    table: tableOf(prefix)
  }).pipe(
    Effect.provideService(SqlClient, sql),
    Effect.catchTag("MigrationError", (error) =>
      Effect.fail(
        isSqlError(error.cause)
          ? error.cause
          : new SqlError({ reason: new UnknownError({ cause: error, message: error.message }) })
      )),
    Effect.asVoid
  )
}

// PostgreSQL 12 is the oldest with everything that the statements need; SQLite 3.42 has unixepoch('subsec').
const oldest: Record<Dialect, number> = { pg: 120_000, sqlite: 3_042_000 }

const versionOf: Record<Dialect, string> = {
  pg: "SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS name",
  sqlite: "SELECT sqlite_version() AS name, '' AS number"
}

const numberOf = (name: string): number => {
  const [major = 0, minor = 0, patch = 0] = name.split(".").map(Number)
  return major * 1_000_000 + minor * 1000 + patch
}

/** Fails where the server is too old, or the tables are of another version than this program's. */
export const check = Effect.fnUntraced(function*(sql: SqlClient, dialect: Dialect, prefix: string) {
  const [server] = yield* sql.unsafe<{ readonly number: string; readonly name: string }>(versionOf[dialect])
    .withoutTransform
  const name = server?.name ?? "of unknown version"
  if (server !== undefined && (Number(server.number) || numberOf(name)) < oldest[dialect]) {
    return yield* new StorageUnavailable({
      detail: dialect === "pg"
        ? `PostgreSQL ${name} is too old: take version 12 or newer`
        : `SQLite ${name} is too old: take version 3.42 or newer, which Node 22 has`,
      written: "no"
    })
  }
  const rows = yield* sql.unsafe<{ readonly version: number | string | null }>(
    `SELECT max(migration_id) AS version FROM ${tableOf(prefix)}`
  ).withoutTransform
  const version = Number(rows[0]?.version ?? 0)
  if (version === latest) return
  return yield* new StorageUnavailable({
    detail: version > latest
      ? `the tables ${prefix}_* are of version ${version}, this program knows ${latest}: update this program`
      : `the tables ${prefix}_* are of version ${version}, this program needs ${latest}: run SqlTokenStorage.migrate`,
    written: "no"
  })
})
