/**
 * Sessions in files of the user.
 *
 * @since 0.1.0
 */
import type { Session } from "@effect-authn/core/session/Session"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import type * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import {
  StorageConflict,
  StorageCorrupt,
  StorageKeyMismatch,
  StorageKeyUnavailable,
  StorageUnavailable,
  TokenStorageError
} from "@effect-authn/core/storage/TokenStorageError"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import * as FileSessionLock from "./FileSessionLock.ts"
import * as KernelLock from "./internal/kernelLock.ts"
import * as SessionFiles from "./internal/sessionFiles.ts"
import { watchDirectory } from "./internal/watchDirectory.ts"
import * as PrivateFile from "./PrivateFile.ts"

const ending = ".json"

// a writer has it for milliseconds, unless its disk is very slow or it was stopped
const patience = Duration.seconds(30)
// soon again, then often enough that a slow one is not waited for long
const tries = Schedule.min([Schedule.exponential("2 millis", 1.5), Schedule.spaced("25 millis")])

type Failure = PrivateFile.PrivateFileError | KernelLock.LockBusy | TokenStorageError["reason"]

/**
 * Makes the storage, with no file touched before its first use.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options?: FileSessionLock.Options) {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* SessionFiles.directory(options)
  const codec = yield* TokenStorage.Codec
  const locks = yield* KernelLock.make(directory)
  const description = Exit.isSuccess(directory) ? `files in ${directory.value}` : "files"

  // the keys of the files that this program has met, since a removed file cannot tell its own
  const known = new Map<string, SessionKey>()

  const read = Effect.fnUntraced(function*(path: string) {
    const text = yield* PrivateFile.read(path)
    if (Option.isNone(text)) return Option.none<Session>()
    const session = yield* codec.decode(text.value, path)
    const name = fileOf(session.key)
    if (name !== Path.basename(path)) {
      return yield* new StorageCorrupt({ detail: `${path} holds the session of another key` })
    }
    known.set(name, session.key)
    return Option.some(session)
  }, Effect.provideService(FileSystem.FileSystem, fs))

  // Only under the lock: without it, a good session that somebody has just written could be moved.
  const readOrMoveAside = (path: string) =>
    read(path).pipe(
      Effect.catchTag("StorageCorrupt", ({ detail }) =>
        Effect.gen(function*() {
          const quarantine = yield* PrivateFile.putAside(path, yield* Clock.currentTimeMillis)
          return yield* new StorageCorrupt({ detail, quarantine })
        }))
    )

  const exclusively = (key: SessionKey) => <A, E>(effect: Effect.Effect<A, E, FileSystem.FileSystem>) =>
    Effect.scopedWith((scope) =>
      locks.acquire(`${SessionFiles.nameOf(key)}.storage`, patience, tries).pipe(
        Scope.provide(scope),
        Effect.andThen(Effect.uninterruptible(effect)),
        Effect.provideService(FileSystem.FileSystem, fs)
      )
    )

  // The generation of what is stored, 0 for nothing.
  const current = (path: string) =>
    readOrMoveAside(path).pipe(
      Effect.catchTag("StorageCorrupt", (corrupt) => Effect.as(Effect.logWarning(corrupt.message), Option.none())),
      Effect.map((found) => Option.isSome(found) ? found.value.generation : 0)
    )

  const failed = (method: string) => (failure: Failure) =>
    new TokenStorageError({ storage: description, method, reason: reasonOf(failure) })

  const operate = <A>(
    method: string,
    key: SessionKey,
    use: (path: string) => Effect.Effect<A, Failure, FileSystem.FileSystem>
  ) =>
    Effect.gen(function*() {
      const name = fileOf(key)
      known.set(name, key)
      return yield* use(Path.join(yield* directory, name))
    }).pipe(
      Effect.provideService(FileSystem.FileSystem, fs),
      Effect.mapError(failed(method)),
      Effect.withSpan(`FileTokenStorage.${method}`)
    )

  const changes = Effect.gen(function*() {
    const sessions = yield* directory
    yield* Effect.ignore(PrivateFile.makeDirectory(sessions))
    return watchDirectory(sessions, () => known.keys()).pipe(
      Stream.filter((name) => name.endsWith(ending)),
      Stream.mapEffect((name) => {
        const key = known.get(name)
        return key === undefined
          ? Effect.map(
            Effect.option(read(Path.join(sessions, name))),
            (found) => Option.map(Option.flatten(found), (session) => session.key)
          )
          : Effect.succeedSome(key)
      }),
      Stream.map(Option.toArray),
      Stream.flattenIterable
    )
  }).pipe(
    Effect.provideService(FileSystem.FileSystem, fs),
    // without a directory there is nothing to hear
    Effect.orElseSucceed(() => Stream.never),
    Stream.unwrap
  )

  return TokenStorage.TokenStorage.of({
    description,
    guarantees: { durable: true, exclusive: true, changes: true, atRest: codec.atRest },

    // Takes no lock, so that a session can be read where nothing can be written.
    get: (key) =>
      operate("get", key, (path) =>
        read(path).pipe(
          Effect.catchTag("StorageCorrupt", (corrupt) =>
            readOrMoveAside(path).pipe(
              exclusively(key),
              Effect.catchTag(["PrivateFileError", "LockBusy"], () => Effect.fail(corrupt))
            ))
        )),

    put: (key, next, expected) =>
      operate("put", key, (path) =>
        exclusively(key)(Effect.gen(function*() {
          yield* compare(yield* current(path), expected)
          yield* PrivateFile.replace(path, yield* codec.encode(next))
        }))),

    // Nothing to remove is a success, also where nothing can be locked. What was put aside can hold tokens, too.
    remove: (key, expected) =>
      operate("remove", key, (path) =>
        Effect.gen(function*() {
          if (!(yield* PrivateFile.exists(path)) && (yield* PrivateFile.asides(path)).length === 0) return
          yield* exclusively(key)(Effect.gen(function*() {
            const found = yield* current(path)
            yield* PrivateFile.removeAsides(path)
            if (found !== 0) yield* compare(found, expected)
            yield* PrivateFile.remove(path)
          }))
        })),

    keys: Effect.gen(function*() {
      const sessions = yield* directory
      yield* Effect.provideService(PrivateFile.checkDirectory(sessions), FileSystem.FileSystem, fs)
      const names = yield* fs.readDirectory(sessions).pipe(
        Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed([])),
        Effect.mapError(PrivateFile.fromPlatform(sessions))
      )
      const found = yield* Effect.forEach(
        names.filter((name) => name.endsWith(ending)),
        (name) => Effect.result(read(Path.join(sessions, name))),
        { concurrency: 16 }
      )
      const keys = found.flatMap((read) =>
        Result.isSuccess(read) && Option.isSome(read.success) ? [read.success.value.key] : []
      )
      // Nothing to be read without the right key is not the same as nothing.
      const refused = found.flatMap((read) =>
        Result.isFailure(read) && isAboutTheKey(read.failure) ? [read.failure] : []
      )
      if (keys.length === 0 && refused[0] !== undefined) return yield* refused[0]
      return keys
    }).pipe(Effect.mapError(failed("keys")), Effect.withSpan("FileTokenStorage.keys")),

    // One watcher, however many listen.
    changes: yield* Stream.share(changes, { capacity: 1024, strategy: "sliding" })
  })
})

/**
 * The name of a session's file: the host of the IAM and the account, for people, and sixteen hex digits that tell keys
 * apart, with `.json`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fileOf = (key: SessionKey): string => SessionFiles.nameOf(key) + ending

const compare = (found: number, expected: number) =>
  found === expected ? Effect.void : Effect.fail(new StorageConflict({ expected, found }))

const isAboutTheKey = Schema.is(Schema.Union([StorageKeyUnavailable, StorageKeyMismatch]))

const reasonOf = (failure: Failure): TokenStorageError["reason"] => {
  switch (failure._tag) {
    case "PrivateFileError":
      return new StorageUnavailable({ detail: failure.detail, written: failure.isDoubtful === true ? "maybe" : "no" })
    case "LockBusy":
      return new StorageUnavailable({
        detail: `${failure.path} was held by another process for ${Duration.format(patience)}; end it, or try again`,
        written: "no"
      })
    default:
      return failure
  }
}

/**
 * The storage and its lock over whatever `FileSystem` is given.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps = (
  options?: FileSessionLock.Options
): Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock, never, FileSystem.FileSystem> =>
  Layer.merge(Layer.effect(TokenStorage.TokenStorage, make(options)), FileSessionLock.layerNoDeps(options))

/**
 * One `.json` file per session, for this user alone (0600 in a directory of 0700), with the lock that goes with them. A
 * file is replaced as a whole or not at all, whenever the process dies. One that is no session is moved aside, to
 * `….json.corrupt-<milliseconds>`; one of a newer version stays as it is. The secrets lie there in plain text,
 * unless it is wrapped in `EncryptedTokenStorage.layer`. Errors name the path, what the operating system said, and what to
 * do. Each call makes a new layer: call it once.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: FileSessionLock.Options
): Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock> =>
  Layer.provide(layerNoDeps(options), NodeFileSystem.layer)
