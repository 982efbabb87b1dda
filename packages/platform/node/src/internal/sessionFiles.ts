/** Where session files lie, what they are called, and how one is replaced without a moment in which it is damaged. */
import type * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as UserDirectories from "effect/persistence/UserDirectories"
import type * as PlatformError from "effect/PlatformError"
import * as Schedule from "effect/Schedule"
import * as Crypto from "node:crypto"
import * as Path from "node:path"
import { FileFailure, fromPlatform } from "./fileFailure.ts"

/** Where the sessions lie, or why there is no such place: known when a layer is built, told when it is used. */
export const directory = (options?: {
  readonly directory?: string | undefined
}): Effect.Effect<Exit.Exit<string, FileFailure>> =>
  Effect.exit(
    options?.directory === undefined
      ? UserDirectories.make().data("effect-authn").pipe(
        Effect.map((data) => Path.join(data, "sessions")),
        Effect.mapError(({ reason }) =>
          new FileFailure({
            detail: `there is no directory for sessions: ${reason.description ?? reason.message}; ` +
              "set it, or XDG_DATA_HOME, or the `directory` option"
          })
        )
      )
      : Effect.succeed(Path.resolve(options.directory))
  )

const word = (text: string): string => text.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 40)

/**
 * The name of a session's files, without the ending: host and account for people, the hash to tell keys apart. Of the
 * issuer only the host, since the rest of a URL can hold a secret.
 */
export const nameOf = (key: SessionKey.SessionKey): string => {
  const host = URL.parse(key.issuer)?.host || "session"
  return `${word(host)}-${word(key.account)}-${Crypto.hash("sha256", key.id, "hex").slice(0, 16)}`
}

/** Makes a directory for this user alone. One that exists is left as it is: it may be somebody else's. */
export const makePrivateDirectory = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  yield* fs.makeDirectory(directory, { mode: 0o700 }).pipe(
    Effect.catchReason(
      "PlatformError",
      "NotFound",
      () => fs.makeDirectory(directory, { recursive: true, mode: 0o700 })
    ),
    // the umask of the process has no say here
    Effect.andThen(fs.chmod(directory, 0o700)),
    Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.void)
  )
})

// A virus scanner or an indexer on Windows holds a new file for a moment; elsewhere "permission denied" is a verdict.
const isPassing = ({ reason }: PlatformError.PlatformError): boolean =>
  reason._tag === "Busy" || (reason._tag === "PermissionDenied" && process.platform === "win32")

/** Tries again, for about a second, what fails because another program has the file in its hands. */
export const patiently = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  Effect.retry(effect, { while: isPassing, schedule: Schedule.exponential("5 millis"), times: 8 })

// The step that changes what others see. When it fails, a network drive may have done it and lost the acknowledgement.
const decisively = <A, R>(path: string, step: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  Effect.mapError(
    patiently(step),
    (error) => new FileFailure({ detail: fromPlatform(path)(error).detail, isDoubtful: true })
  )

/** What a writer that died between opening and renaming leaves behind. The next writer or remover takes it away. */
export const temporaryOf = (path: string): string => `${path}.tmp`

/**
 * Replaces a file as a whole, durably, and readable by this user alone. To be called under the lock of that file: only
 * then can the temporary file be nobody's.
 */
export const replace = Effect.fnUntraced(
  function*(path: string, text: string) {
    const fs = yield* FileSystem.FileSystem
    const temporary = temporaryOf(path)
    yield* patiently(fs.remove(temporary, { force: true }))
    const write = Effect.gen(function*() {
      const file = yield* patiently(fs.open(temporary, { flag: "wx", mode: 0o600 }))
      yield* fs.chmod(temporary, 0o600)
      yield* file.writeAll(new TextEncoder().encode(text))
      yield* file.sync
    })
    yield* Effect.scoped(write).pipe(
      Effect.andThen(decisively(path, fs.rename(temporary, path))),
      Effect.onError(() => Effect.ignore(fs.remove(temporary, { force: true })))
    )
    yield* syncDirectory(Path.dirname(path))
  },
  Effect.uninterruptible
)

/** Removes a file, durably, with what a dead writer left beside it. To be called under the lock of that file. */
export const remove = Effect.fnUntraced(
  function*(path: string) {
    const fs = yield* FileSystem.FileSystem
    yield* patiently(fs.remove(temporaryOf(path), { force: true }))
    yield* decisively(path, fs.remove(path, { force: true }))
    yield* syncDirectory(Path.dirname(path))
  },
  Effect.uninterruptible
)

// What it makes durable has already happened, so its failure (Windows and some network drives cannot do it) is no
// failure of the whole: a writer who was told so would meet its own session as somebody else's.
const syncDirectory = Effect.fnUntraced(
  function*(directory: string) {
    const fs = yield* FileSystem.FileSystem
    const handle = yield* fs.open(directory, { flag: "r" })
    yield* handle.sync
  },
  Effect.scoped,
  Effect.ignore()
)
