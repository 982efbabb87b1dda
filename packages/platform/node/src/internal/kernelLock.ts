/** Locks between processes that the operating system releases with their holder. */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as RcMap from "effect/RcMap"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Path from "node:path"
import * as PrivateFile from "../PrivateFile.ts"
import { withoutWarning } from "./withoutWarning.ts"

/** Somebody else had the lock for as long as one was willing to wait. */
export class LockBusy extends Data.TaggedError("LockBusy")<{ readonly path: string }> {}

/** Locks that the operating system releases with the process that holds them. */
export interface KernelLocks {
  /** The path of the file of a lock. */
  readonly pathOf: (name: string) => Effect.Effect<string, PrivateFile.PrivateFileError>
  /** Takes the lock of that name until the scope closes, and gives the path of its file. A held one is tried by `tries`. */
  readonly acquire: (
    name: string,
    patience: Duration.Duration,
    tries: Schedule.Schedule<unknown>
  ) => Effect.Effect<string, LockBusy | PrivateFile.PrivateFileError, Scope.Scope>
}

/**
 * Locks by SQLite's locking layer, the one portable kernel lock that Node ships: an exclusive transaction on an empty
 * file in the directory `locks` below `directory`.
 *
 * POSIX drops such a lock when *any* descriptor of the file is closed in the process, and a deleted file is no longer the
 * file that others lock. So nothing here ever opens, reads, copies or deletes a lock file; its mode is set by its path.
 */
export const make = Effect.fnUntraced(function*(directory: Exit.Exit<string, PrivateFile.PrivateFileError>) {
  const fs = yield* FileSystem.FileSystem
  const sqlite = yield* Effect.cached(loadSqlite)
  // in front of the kernel's lock, so that each process has one poller per lock
  const turns = yield* RcMap.make({ lookup: (_path: string) => Semaphore.make(1) })

  /** Looks at the file of a lock, which SQLite would open whatever it is; where there is none, makes its directory. */
  const inspect = Effect.fnUntraced(function*(path: string) {
    const locks = Path.dirname(path)
    yield* PrivateFile.checkDirectory(Path.dirname(locks))
    const info = yield* PrivateFile.inspect(path)
    if (Option.isSome(info)) return info
    for (const made of [Path.dirname(locks), locks]) yield* PrivateFile.makeDirectory(made)
    yield* Effect.mapError(fs.access(locks, { writable: true }), PrivateFile.fromPlatform(locks))
    return info
  }, Effect.provideService(FileSystem.FileSystem, fs))

  const take = Effect.fnUntraced(function*(path: string, tries: Schedule.Schedule<unknown>) {
    const turn = yield* RcMap.get(turns, path)
    yield* turn.takeScoped(1)
    // On a file that it may only read, SQLite would "begin exclusive" without excluding anybody.
    const writable = Effect.mapError(fs.access(path, { writable: true }), PrivateFile.fromPlatform(path))
    const old = yield* inspect(path)
    if (Option.isSome(old)) yield* writable
    const { DatabaseSync } = yield* sqlite
    const connection = yield* Effect.acquireRelease(
      attempt(path, () => new DatabaseSync(path)),
      (connection) => Effect.sync(() => connection.close())
    )
    if (Option.isNone(old)) yield* writable
    // also that of one that died here: whoever may read a lock can hold it
    if (!Option.exists(old, ({ mode }) => (mode & 0o077) === 0)) yield* Effect.ignore(fs.chmod(path, 0o600))
    // without a journal in memory, SQLite puts one beside the file
    yield* attempt(path, () => connection.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")).pipe(
      Effect.retry({ while: (error) => error._tag === "LockBusy", schedule: tries })
    )
    return path
  })

  const pathOf = (name: string) => Effect.map(directory, (sessions) => Path.join(sessions, "locks", `${name}.lock`))

  const locks: KernelLocks = {
    pathOf,
    acquire: (name, patience, tries) =>
      Effect.flatMap(pathOf(name), (path) =>
        Effect.timeoutOrElse(take(path, tries), {
          duration: patience,
          orElse: () => Effect.fail(new LockBusy({ path }))
        }))
  }
  return locks
})

// SQLITE_BUSY, or SQLite's own words for it: the errors of Deno have no number.
const isBusy = (cause: unknown): boolean =>
  Predicate.hasProperty(cause, "errcode")
    ? cause.errcode === 5
    : Predicate.isError(cause) && cause.message === "database is locked"

const attempt = <A>(path: string, evaluate: () => A): Effect.Effect<A, LockBusy | PrivateFile.PrivateFileError> =>
  Effect.try({
    try: evaluate,
    catch: (cause) =>
      isBusy(cause)
        ? new LockBusy({ path })
        : new PrivateFile.PrivateFileError({
          detail: `${path}: no lock on this file (${Predicate.isError(cause) ? cause.message : "unknown error"}); ` +
            "remove it if it is not empty, or put the directory on a disk of this machine"
        })
  })

/** The module, whose first use prints on Node 22 that it is experimental. */
export const loadSqlite = Effect.suspend(() =>
  Effect.mapError(
    Effect.fromNullishOr(
      withoutWarning("SQLite is an experimental feature", () => process.getBuiltinModule("node:sqlite"))
    ),
    () =>
      new PrivateFile.PrivateFileError({
        detail: `this Node (${process.version}) has no node:sqlite: take Node 22.19 or newer, ` +
          "and start it without --no-experimental-sqlite"
      })
  )
)
