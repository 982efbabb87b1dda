/** The storage's own connection, and statements in the words of both dialects. */
import { StorageUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as RcRef from "effect/RcRef"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Migrations from "./migrations.ts"

/** A row as both dialects give it: every column is selected as text. */
export type Row = Readonly<Record<string, string>>

export interface Database {
  readonly sql: SqlClient
  readonly dialect: Migrations.Dialect
  readonly prefix: string
  /** The time of the store in epoch milliseconds, as an expression that an index can be compared with. */
  readonly now: string
  /**
   * Runs one statement on the storage's own connection, never in a transaction of the caller. Each is such that running it
   * twice does no harm, because a connection that died is replaced and the statement repeated, once.
   */
  readonly run: (
    statement: string,
    parameters?: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<Row>, StorageUnavailable>
}

const patience = Duration.seconds(8)

export const make = Effect.fnUntraced(function*(
  sql: SqlClient,
  prefix: string,
  isMigrating: boolean
): Effect.fn.Return<Database, never, Scope.Scope> {
  const dialect = sql.onDialectOrElse({
    pg: (): Migrations.Dialect | undefined => "pg",
    sqlite: (): Migrations.Dialect | undefined => "sqlite",
    orElse: () => undefined
  })
  if (dialect === undefined) {
    return yield* Effect.die(new Error("SqlTokenStorage is for PostgreSQL and SQLite"))
  }
  const starved = starvedBy(sql)
  if (starved !== undefined) return yield* Effect.die(new Error(starved))

  let isOpen = false
  const open = Effect.suspend(() => {
    if (isOpen) return Effect.void
    return (isMigrating ? Migrations.run(sql, prefix) : Effect.void).pipe(
      Effect.andThen(Migrations.check(sql, dialect, prefix)),
      Effect.andThen(Effect.sync(() => {
        isOpen = true
      })),
      outside(sql)
    )
  })

  // A connection of its own is what a program cannot exhaust with its queries. Only where the whole database is one
  // connection, it is borrowed for each statement.
  const isShared = dialect === "sqlite" && sql.driver !== "node-sqlite"
  const own = yield* RcRef.make({
    acquire: Effect.andThen(open, sql.reserve),
    idleTimeToLive: isShared ? Duration.zero : Duration.infinity
  })

  // taken before the program's own queries can take it
  if (!isShared) yield* Effect.forkScoped(Effect.ignore(Effect.scoped(RcRef.get(own))))

  const once = (statement: string, parameters: ReadonlyArray<string>) =>
    Effect.scoped(Effect.flatMap(
      RcRef.get(own),
      (connection) =>
        Effect.tapError(connection.execute(statement, parameters, undefined), (error) =>
          isConnection(error) ? RcRef.invalidate(own) : Effect.void)
    ))

  const run: Database["run"] = (statement, parameters = []) => {
    const text = dialect === "pg" ? statement : statement.replace(/\$(\d+)/g, "?$1")
    return Effect.uninterruptible(
      once(text, parameters).pipe(
        Effect.catchIf(
          (error) => isConnection(error) && error.reason.operation !== "connect",
          () => once(text, parameters)
        ),
        Effect.interruptible,
        Effect.timeoutOrElse({
          duration: patience,
          orElse: () =>
            Effect.andThen(
              RcRef.invalidate(own),
              Effect.fail(
                new StorageUnavailable({
                  detail: `the database did not answer within ${Duration.format(patience)}: ` +
                    "see whether it is up and can be reached, and whether the pool has a free connection",
                  written: "maybe"
                })
              )
            )
        }),
        Effect.catchTag("SqlError", (error) => Effect.fail(unavailable(error, sessionTables(prefix))))
      )
    )
  }

  return {
    sql,
    dialect,
    prefix,
    now: nowOf(dialect),
    run
  }
})

export const nowOf = (dialect: Migrations.Dialect): string =>
  dialect === "pg"
    // never now(), which is the start of the transaction
    ? "(SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT))"
    : "(SELECT CAST(unixepoch('subsec') * 1000 AS BIGINT))"

/**
 * By how much the clock of the store is ahead of the machine's own, as an expression, where it is more than a statement takes
 * on its way: times that a machine names are meant by its clock, and compared with that of the store.
 */
export const aheadOf = (now: string, parameter: number): string => {
  const ahead = `(${now} - CAST($${parameter} AS BIGINT))`
  return `(CASE WHEN abs(${ahead}) < 2000 THEN 0 ELSE ${ahead} END)`
}

/** Outside of the caller's transaction, so that its end takes nothing of the storage with it. */
export const outside = (sql: SqlClient) => <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.updateContext(effect, (context: Context.Context<never>) => Context.omit(sql.transactionService)(context))

// A server that ends a connection, for an administrator, for its own end or for idleness, says so before (57P01, 57P05).
const isConnection = (error: SqlError | StorageUnavailable): error is SqlError =>
  error._tag === "SqlError" &&
  (error.reason._tag === "ConnectionError" || codeOf(error)?.startsWith("57P") === true)

const starvedBy = (sql: SqlClient): string | undefined =>
  Predicate.hasProperty(sql, "config") && Predicate.hasProperty(sql.config, "maxConnections") &&
    sql.config.maxConnections === 1
    ? "SqlTokenStorage keeps one connection of the pool for itself: set maxConnections to 2 or more"
    : undefined

/** What PostgreSQL (SQLSTATE) or SQLite (primary result code) said, and what to do. */
const advice: Record<string, readonly [written: "no" | "maybe", advice: string]> = {
  "25006": ["no", "it is read-only, as a standby is: connect to the primary"],
  "53100": ["no", "its disk is full: free some space there"],
  "53300": ["no", "it has no connection left: raise max_connections, or lower maxConnections of the programs"],
  "57P03": ["no", "it is starting or stopping: try again"],
  "57P01": ["maybe", "it is being stopped: try again when it is back"],
  "57P02": ["maybe", "it crashed: try again when it is back"],
  "3D000": ["no", "there is no such database: create it, or name another one"],
  "3F000": ["no", "create the schema, or set search_path of this user to one that is there"],
  "22P05": ["no", "it cannot keep every name: take a database with ENCODING 'UTF8'"],
  "57014": ["no", "try again, and raise statement_timeout of this user where it is too short"],
  "55P03": ["no", "something else holds the table: end it, or try again"],
  "5": ["no", "another program holds the file: end it, or try again"],
  "6": ["no", "another program holds the file: end it, or try again"],
  "8": ["no", "the file is read-only: give yourself access to it, or choose another one"],
  "10": ["maybe", "the disk failed: see the messages of the system"],
  "11": ["no", "the file is damaged: put a backup in its place, or move it away and sign in again"],
  "13": ["no", "the disk is full: free some space"],
  "14": ["no", "the file cannot be opened: give yourself access to its directory, or choose another one"],
  "26": ["no", "the file is no SQLite database: choose another one"]
}

const isSqlState = (code: string): boolean => /^[\dFHPX][\dA-Z]{4}$/.test(code)

const codeOf = (error: unknown): string | undefined => {
  for (let at = error, depth = 0; Predicate.isObject(at) && depth < 6; depth += 1) {
    if (Predicate.hasProperty(at, "errcode") && Predicate.isNumber(at.errcode)) return `${at.errcode & 0xff}`
    if (Predicate.hasProperty(at, "code") && Predicate.isString(at.code) && isSqlState(at.code)) return at.code
    at = Predicate.hasProperty(at, "cause") ? at.cause : undefined
  }
  return undefined
}

const messageOf = (error: unknown): string => {
  let text = "unknown error"
  for (let at = error, depth = 0; Predicate.isObject(at) && depth < 6; depth += 1) {
    if (Predicate.hasProperty(at, "message") && Predicate.isString(at.message) && at.message !== "") text = at.message
    at = Predicate.hasProperty(at, "cause") ? at.cause : undefined
  }
  return text.split("\n")[0] ?? text
}

// What PostgreSQL refuses, it has not done: a lost connection (08), a server that stops (57P) and 40003 leave that open.
const isRefusal = (code: string | undefined): boolean =>
  code !== undefined && isSqlState(code) && !/^(08|57P|40003)/.test(code)

/** Which tables, and what makes them: as their owner, where the program may not. */
export interface Tables {
  readonly named: string
  readonly migrate: string
  /** What the program takes then, where that is another layer. */
  readonly layer?: string
}

export const sessionTables = (prefix: string): Tables => ({
  named: `tables ${prefix}_*`,
  migrate: "SqlTokenStorage.migrate",
  layer: "SqlTokenStorage.layerStorage"
})

/** Says what the database answered, and what to do about it. */
export const unavailable = (error: SqlError, { layer, migrate, named }: Tables): StorageUnavailable => {
  const said = messageOf(error)
  const code = codeOf(error)
  const known = code === undefined ? undefined : advice[code]
  if (known !== undefined) {
    return new StorageUnavailable({ detail: `the database said "${said}": ${known[1]}`, written: known[0] })
  }
  const { reason } = error
  switch (reason._tag) {
    case "ConnectionError":
      return new StorageUnavailable({
        detail: `no connection to the database (${said}): see whether it is up, and its address`,
        written: reason.operation === "connect" ? "no" : "maybe"
      })
    case "AuthenticationError":
      return new StorageUnavailable({
        detail: `the database refused this program ("${said}"): give it the right user and password`,
        written: "no"
      })
    case "AuthorizationError":
      return new StorageUnavailable({
        detail: reason.operation === "connect"
          ? `the database refused this program ("${said}"): grant its user CONNECT on the database`
          : `the database refused this program ("${said}"): grant it SELECT, INSERT, UPDATE and DELETE on the ${named} ` +
            `and USAGE on their schema, and run ${migrate} as their owner` +
            (layer === undefined ? "" : ` (a program that may not create tables takes ${layer})`),
        written: "no"
      })
    case "SqlSyntaxError":
      return new StorageUnavailable({
        detail: /already exists/.test(said)
          ? `there are ${named} already, without the list of their versions ("${said}"): ` +
            "put that back from a backup, or take another prefix"
          : `the ${named} are not as this program needs them ("${said}"): run ${migrate}, ` +
            "and put them back from a backup where that changes nothing",
        written: "no"
      })
    case "LockTimeoutError":
      return new StorageUnavailable({ detail: said, written: "no" })
    default:
      return new StorageUnavailable({
        detail: `the database said "${said}": try again`,
        written: reason.operation === "connect" || isRefusal(code) ? "no" : "maybe"
      })
  }
}
