/**
 * An `SqlClient` over the SQLite that Node ships, for programs of one machine that share a file.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { ConnectionError, LockTimeoutError, SqlError, SqlSyntaxError, UnknownError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { statSync } from "node:fs"
import * as Path from "node:path"
import type { DatabaseSync } from "node:sqlite"
import { loadSqlite } from "./internal/kernelLock.ts"
import * as PrivateFile from "./PrivateFile.ts"

/**
 * Where the database is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The file. It is made if it is missing, for this user alone (0600), and so is its directory (0700). What others can write,
   * or what is no file, is refused (`PrivateFile.locate`).
   */
  readonly filename: string
}

/** How long a statement waits for other programs of the file before it fails. */
const patience = Duration.seconds(30)

// Waiting is Effect's: SQLite's own would hold the whole program.
const naps = Schedule.min([Schedule.exponential("1 millis", 1.5), Schedule.spaced("25 millis")]).pipe(
  Schedule.jittered
)

const pragmas = [
  "PRAGMA busy_timeout = 2",
  "PRAGMA journal_mode = WAL",
  // an acknowledged write survives a power cut
  "PRAGMA synchronous = FULL",
  // what was deleted or overwritten is no longer in the file
  "PRAGMA secure_delete = ON",
  "PRAGMA foreign_keys = ON"
]

const codeOf = (cause: unknown): number =>
  Predicate.hasProperty(cause, "errcode") && Predicate.isNumber(cause.errcode) ? cause.errcode & 0xff : 0

// what to do about a file that cannot be opened, by SQLite's primary result code
const remedies: { readonly [code: number]: string | undefined } = {
  8: "it is read-only: give this user access to it, or choose another file",
  10: "the disk failed: see the messages of the system",
  11: "put a backup in its place, or move it away and sign in again",
  13: "free some space on its disk",
  14: "see whether its directory is read-only or another user's, or choose another file",
  26: "choose another file, or move this one away and sign in again"
}

/** Names the file, and what to do. */
const openingError = (filename: string) => (cause: unknown): SqlError => {
  const remedy = remedies[codeOf(cause)]
  return remedy === undefined
    ? errorOf(cause, "connect")
    : errorOf(cause, "connect", (said) => `${said}: "${filename}": ${remedy}`)
}

const errorOf = (cause: unknown, operation: string, telling = (said: string) => said): SqlError => {
  const message = telling(Predicate.isError(cause) ? cause.message : "unknown error")
  const code = codeOf(cause)
  const props = { cause, message, operation }
  return new SqlError({
    reason: code === 5 || code === 6 || message === "database is locked"
      ? new LockTimeoutError(props)
      : code === 14
      ? new ConnectionError(props)
      // a table or a column that is not there is one, too
      : code === 1
      ? new SqlSyntaxError(props)
      : new UnknownError(props)
  })
}

const isBusy = ({ reason }: SqlError): boolean => reason._tag === "LockTimeoutError"

type Patiently = <A>(effect: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>

const patiently: Patiently = (effect) =>
  Effect.retry(effect, {
    while: isBusy,
    schedule: Schedule.upTo(naps, { duration: patience })
  })

/** The transaction of this program that may have the file, its connection, and how many statements it has run. */
interface Open {
  connection: Connection | undefined
  statements: number
}

// How often a reserved connection finds the file held by a transaction that has run nothing since the look before: about
// half a second for a statement inside of it, which cannot succeed, and five for one beside it, which may, unless the
// transaction waits for its fiber.
const mostIdleLooks = { inside: 20, beside: 180 }

/**
 * Who waits for the file while a transaction of the same program has it, and does nothing, waits for ever if that one waits
 * for it: it is told so instead.
 */
const besideTransactions =
  (current: () => Open | undefined, own: Effect.Effect<Connection | undefined>): Patiently => (effect) =>
    Effect.flatMap(own, (connection) => {
      let idleLooks = 0
      let seen: Open | undefined
      let statements = 0
      return patiently(
        Effect.result(effect).pipe(
          Effect.flatMap((result) => {
            if (Result.isSuccess(result) || !isBusy(result.failure)) return Effect.succeed(result)
            const open = current()
            const isIdle = open !== undefined && open === seen && open.statements === statements
            idleLooks = isIdle ? idleLooks + 1 : 0
            seen = open
            statements = open?.statements ?? 0
            const isInside = connection !== undefined && open?.connection === connection
            return idleLooks < mostIdleLooks[isInside ? "inside" : "beside"]
              ? Effect.fail(result.failure)
              : Effect.succeed(Result.fail(held))
          })
        )
      ).pipe(Effect.flatMap(Effect.fromResult))
    })

const held = new SqlError({
  reason: new LockTimeoutError({
    cause: undefined,
    message: "a transaction of this program has the SQLite file and runs nothing: " +
      "use sessions before or after it, or give them a file of their own",
    operation: "query"
  })
})

type Value = null | number | bigint | string | Uint8Array

const isValue = (value: unknown): value is Value =>
  value === null || ["number", "bigint", "string"].includes(typeof value) || value instanceof Uint8Array

const valueOf = (value: unknown): Value => {
  if (isValue(value)) return value
  if (value === undefined) return null
  if (Predicate.isBoolean(value)) return Number(value)
  return value instanceof Date ? value.toISOString() : Formatter.formatJson(value)
}

const connectionOf = (database: DatabaseSync, waiting: Patiently): Connection => {
  const prepared = new Map<string, ReturnType<DatabaseSync["prepare"]>>()
  const statementOf = (text: string) => {
    const known = prepared.get(text)
    if (known !== undefined) return known
    if (prepared.size > 200) prepared.clear()
    const statement = database.prepare(text)
    prepared.set(text, statement)
    return statement
  }
  const rows = (text: string, parameters: ReadonlyArray<unknown>) =>
    waiting(Effect.try({
      try: (): ReadonlyArray<Record<string, unknown>> => statementOf(text).all(...parameters.map(valueOf)),
      catch: (cause) => errorOf(cause, "query")
    }))
  const values = (text: string, parameters: ReadonlyArray<unknown>) =>
    Effect.map(rows(text, parameters), (found) => found.map((row) => Object.values(row)))
  const execute: Connection["execute"] = (text, parameters, transformRows) =>
    Effect.map(rows(text, parameters), (found) => transformRows === undefined ? found : transformRows(found))
  return {
    execute,
    executeRaw: rows,
    executeStream: (text, parameters, transformRows) =>
      Stream.fromIterableEffect(execute(text, parameters, transformRows)),
    executeValues: values,
    executeValuesUnprepared: values,
    executeUnprepared: execute
  }
}

/**
 * Opens the file. Statements outside of a transaction share one connection; each transaction, and what is reserved, has one
 * of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<
  SqlClient.SqlClient,
  SqlError,
  Scope.Scope | Reactivity.Reactivity | FileSystem.FileSystem
> {
  const fs = yield* FileSystem.FileSystem
  const failed = (detail: string) =>
    new SqlError({ reason: new ConnectionError({ cause: undefined, message: detail, operation: "connect" }) })
  const { DatabaseSync } = yield* Effect.mapError(loadSqlite, ({ detail }) => failed(detail))

  if (/^(:memory:|file:.*|)$/s.test(options.filename)) {
    return yield* failed(
      `unable to open database file: "${options.filename}" is the name of no file: give a path, or take TokenStorage.layerMemory`
    )
  }
  // SQLite gives the log and the index beside the file its mode.
  const filename = yield* Effect.gen(function*() {
    const path = Path.resolve(options.filename)
    yield* PrivateFile.makeDirectory(Path.dirname(path))
    const place = yield* PrivateFile.locate(path)
    yield* Effect.scoped(Effect.andThen(fs.open(place, { flag: "wx", mode: 0o600 }), fs.chmod(place, 0o600))).pipe(
      Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.void),
      Effect.mapError(PrivateFile.fromPlatform(place))
    )
    return place
  }).pipe(Effect.mapError(({ detail }) => failed(`unable to open database file: ${detail}`)))

  const open = Effect.acquireRelease(
    Effect.try({ try: () => new DatabaseSync(filename), catch: openingError(filename) }),
    (database) =>
      Effect.sync(() => {
        database.close()
      })
  ).pipe(
    Effect.tap((database) =>
      Effect.forEach(
        pragmas,
        (pragma) => patiently(Effect.try({ try: () => database.exec(pragma), catch: openingError(filename) })),
        { discard: true }
      )
    )
  )
  const first = yield* open
  const opened = statSync(filename)
  // What is written into a file that has no name any more is gone with the program.
  const sameFile = Effect.flatMap(
    Effect.try({
      try: () => statSync(filename, { throwIfNoEntry: false }),
      catch: openingError(filename)
    }),
    (found) =>
      found?.ino === opened.ino && found.dev === opened.dev
        ? Effect.void
        : Effect.fail(failed(
          `"${filename}" was ${found === undefined ? "removed" : "replaced"} while this program has it: ` +
            "start the program again"
        ))
  )
  const shared = connectionOf(first, (effect) => Effect.andThen(sameFile, patiently(effect)))
  // of one program one transaction at a time writes; the others wait here and not at the file
  const turn = yield* Semaphore.make(1)
  let transaction: Open | undefined
  const begin = Effect.gen(function*() {
    yield* turn.takeScoped(1)
    yield* sameFile
    const database = yield* open
    const begun: Open = { connection: undefined, statements: 0 }
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        transaction = begun
      }),
      () =>
        Effect.sync(() => {
          transaction = undefined
        })
    )
    begun.connection = connectionOf(database, (effect) =>
      patiently(Effect.suspend(() => {
        begun.statements += 1
        return effect
      })))
    return begun.connection
  })

  const client = yield* SqlClient.make({
    acquirer: Effect.succeed(shared),
    transactionAcquirer: begin,
    compiler: Statement.makeCompilerSqlite(),
    driver: "node-sqlite",
    spanAttributes: [["db.system.name", "sqlite"]],
    beginTransaction: "BEGIN IMMEDIATE",
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`
  })
  const own = Effect.map(Effect.serviceOption(client.transactionService), (found) => Option.getOrUndefined(found)?.[0])
  const beside = besideTransactions(() => transaction, own)
  const reserve = Effect.andThen(
    sameFile,
    Effect.map(open, (database) => connectionOf(database, (effect) => Effect.andThen(sameFile, beside(effect))))
  )
  return Object.assign(client, { reserve })
})

/**
 * A SQLite file as the program's `SqlClient`, until effect's own driver follows 4.1. Many programs of a machine share it: a
 * statement that meets another program's write waits, for 30 seconds at most, and the timers of the program go on meanwhile.
 * While a transaction of this program is open and runs nothing, a write on a reserved connection waits half a second for it
 * inside of the transaction, and five seconds beside it, since the transaction may wait for the write.
 *
 * **Gotchas**
 *
 * The file is for a disk of this machine: SQLite's locks do not hold over a network. `:memory:` and `file:` addresses name
 * no file and are refused: for memory take `TokenStorage.layerMemory`.
 *
 * **Example** (Sessions in one encrypted file)
 *
 * ```ts
 * import { EncryptedTokenStorage, EncryptionKeys } from "@effect-authn/core"
 * import { NodeSqlite } from "@effect-authn/platform-node"
 * import { SqlTokenStorage } from "@effect-authn/storage-sql"
 * import { Layer } from "effect"
 *
 * export const storage = EncryptedTokenStorage.layer(SqlTokenStorage.layer()).pipe(
 *   Layer.provide(EncryptionKeys.layerEnvironment()),
 *   Layer.provide(NodeSqlite.layer({ filename: "/var/lib/my-app/sessions.sqlite" }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError> =>
  Layer.provide(Layer.effect(SqlClient.SqlClient, make(options)), [Reactivity.layer, NodeFileSystem.layer])
