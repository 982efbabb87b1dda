/**
 * Sessions that machines share, in PostgreSQL or SQLite.
 *
 * @since 0.1.0
 */
import { DueSessions } from "@effect-authn/core/storage/DueSessions"
import * as PendingLogins from "@effect-authn/core/storage/PendingLogins"
import { ServiceTokens } from "@effect-authn/core/storage/ServiceTokens"
import { SessionLock } from "@effect-authn/core/storage/SessionLock"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as Context from "effect/Context"
import * as Aead from "effect/crypto/Aead"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import * as Database from "./internal/database.ts"
import * as Lease from "./internal/lease.ts"
import * as Migrations from "./internal/migrations.ts"
import * as Names from "./internal/names.ts"
import * as Pending from "./internal/pendingLogins.ts"
import * as Service from "./internal/serviceTokens.ts"
import * as Sessions from "./internal/sessions.ts"

/**
 * What the tables are called, how long a lock outlives its holder, and how programs hear of each other's writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How the names of the tables begin: letters, digits and underscores. Default: `effect_authn`. */
  readonly prefix?: string
  /**
   * How long a session stays locked by a program that died. Longer than the time limit of a renewal and two writes. Default:
   * 45 seconds.
   */
  readonly lease?: Duration.Input
  /**
   * How programs hear of each other's writes: `notify` (PostgreSQL: at once, each write costs a third more, and a connection
   * listens), `poll` (every second, by reading all generations where something changed: for some thousand sessions), or
   * `none` (a program finds out when its token is due). Default: `notify` on PostgreSQL, `poll` on SQLite.
   */
  readonly changes?: "notify" | "poll" | "none"
}

type Services = TokenStorage | SessionLock | DueSessions | PendingLogins.PendingLogins | ServiceTokens

const prefixOf = (options?: Options): Effect.Effect<string> => {
  const prefix = options?.prefix ?? "effect_authn"
  return /^[a-z_][a-z0-9_]{0,39}$/.test(prefix)
    ? Effect.succeed(prefix)
    : Effect.die(new Error("SqlTokenStorage: prefix is 1 to 40 lower-case letters, digits and underscores"))
}

const make = (options: Options | undefined, isMigrating: boolean): Layer.Layer<Services, never, SqlClient> =>
  Layer.effectContext(Effect.gen(function*() {
    const prefix = yield* prefixOf(options)
    const sql = yield* SqlClient
    const names = Names.make(yield* Digest.Digest)
    const database = yield* Database.make(sql, prefix, isMigrating)
    const isPg = database.dialect === "pg"
    const description = `tables ${prefix}_* in ${isPg ? "PostgreSQL" : "SQLite"}`
    const lease = Duration.fromInputUnsafe(options?.lease ?? "45 seconds")
    const changes = options?.changes ?? (isPg && "listen" in sql ? "notify" : "poll")
    const { dueSessions, storage } = yield* Sessions.make({ database, names, description, changes })
    return Context.make(TokenStorage, storage).pipe(
      Context.add(DueSessions, dueSessions),
      Context.add(SessionLock, yield* Lease.make({ database, names, description, lease })),
      Context.add(
        PendingLogins.PendingLogins,
        yield* PendingLogins.sealed(Pending.make({ database, names, description }))
      ),
      Context.add(ServiceTokens, yield* Service.make({ database, description }))
    )
  })).pipe(
    Layer.provide([
      Digest.layerWebCrypto,
      Kdf.layerWebCrypto,
      Layer.provideMerge(Aead.layerWebCrypto, SecureRandom.layerWebCrypto)
    ])
  )

/**
 * Sessions in the database of the `SqlClient`, with their lock, their index of due sessions, pending
 * logins and service tokens. The first use
 * creates the tables, whichever of many programs it is in. Building it never fails: a database that is away fails the uses of
 * it, with what to do, and serves those after its return.
 *
 * **Details**
 *
 * It keeps one connection of the pool for itself, and runs every statement there: none joins a transaction of the caller, and
 * queries of the program cannot keep it waiting. No statement is open while a request goes to the IAM. The lock is a row that
 * expires by the clock of the database; what a holder writes past its lease, compare and set refuses.
 *
 * **Gotchas**
 *
 * The secrets lie there in plain text unless it is wrapped in `EncryptedTokenStorage.layer`. A pool of one connection is
 * refused. SQLite has one writer: while a transaction of the program on the same file is open and runs nothing, whatever
 * writes a session fails, and says so, after half a second inside of the transaction and after five in other fibers; give
 * the sessions a file of their own. Pending logins are sealed in any case, with
 * keys that only their browsers can bring back (`PendingLogins.sealed`), and end by themselves.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Services, never, SqlClient> => make(options, true)

/**
 * The same without creating tables, for a program whose user may not. `migrate` makes them before.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStorage = (options?: Options): Layer.Layer<Services, never, SqlClient> => make(options, false)

/**
 * Creates the tables or brings them to this version, for a step of the deployment that runs as their owner. It notes what it
 * did in a table of its own, `PREFIX_migrations`. Many may run it at once.
 *
 * @category combinators
 * @since 0.1.0
 */
export const migrate = (options?: Pick<Options, "prefix">): Effect.Effect<void, TokenStorageError, SqlClient> =>
  Effect.gen(function*() {
    const prefix = yield* prefixOf(options)
    const sql = yield* SqlClient
    yield* Migrations.run(sql, prefix).pipe(
      Database.outside(sql),
      Effect.mapError((error) =>
        new TokenStorageError({
          storage: `tables ${prefix}_*`,
          method: "migrate",
          reason: Database.unavailable(error, Database.sessionTables(prefix))
        })
      )
    )
  })
