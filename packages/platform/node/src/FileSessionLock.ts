/**
 * The lock of sessions for all programs of one user on one machine.
 *
 * @since 0.1.0
 */
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import { SessionLockError } from "@effect-authn/core/storage/SessionLock"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Os from "node:os"
import * as KernelLock from "./internal/kernelLock.ts"
import * as SessionFiles from "./internal/sessionFiles.ts"
import * as PrivateFile from "./PrivateFile.ts"

/**
 * Where the locks are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The directory of the sessions; the locks are in `locks` below it. Default: `effect-authn/sessions` in the user's data
   * directory (`XDG_DATA_HOME` first, on every system).
   */
  readonly directory?: string | undefined
}

const Holder = Schema.fromJsonString(Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  pid: Schema.Int,
  host: Schema.String,
  since: Schema.DateTimeUtcFromString
}))
const encodeHolder = Schema.encodeEffect(Holder)
const decodeHolder = Schema.decodeEffect(Holder)

// its holder has it for a request at least, and whom its answer serves does not need the lock
const tries = Schedule.spaced("40 millis")

/**
 * Makes the lock, with no file touched before its first use.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options?: Options) {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* SessionFiles.directory(options)
  const locks = yield* KernelLock.make(directory)
  const fileOf = (lock: string) => `${lock}.holder`

  // The locked file itself cannot be read without losing the lock, so the holder signs beside it; for people only, so
  // that nothing of it can fail the lock.
  const sign = Effect.fnUntraced(function*(lock: string) {
    const name = yield* SessionLock.Holder
    const text = yield* encodeHolder({
      ...(name === SessionLock.Holder.defaultValue() ? {} : { name }),
      pid: process.pid,
      host: Os.hostname(),
      since: yield* DateTime.now
    })
    yield* Effect.acquireRelease(
      // whatever was there: what a link leads to is not written
      Effect.andThen(
        fs.remove(fileOf(lock), { force: true }),
        fs.writeFileString(fileOf(lock), text, { flag: "wx", mode: 0o600 })
      ),
      () => Effect.ignore(fs.remove(fileOf(lock), { force: true }))
    )
  }, Effect.ignore())

  const holderOf = (lock: string) =>
    PrivateFile.read(fileOf(lock)).pipe(
      Effect.provideService(FileSystem.FileSystem, fs),
      Effect.flatMap(Effect.fromOption),
      Effect.flatMap(decodeHolder),
      Effect.map(({ host, name, pid, since }) =>
        `${
          name === undefined || name === `process ${pid} on ${host}` ? "" : `${name}, `
        }process ${pid} on ${host}, since ${DateTime.formatIso(since)}`
      ),
      Effect.orElseSucceed(() => "another process")
    )

  /** Takes the lock, and says meanwhile who has it. */
  const acquire = Effect.fnUntraced(function*(key: SessionKey, purpose: SessionLock.Purpose) {
    const name = `${SessionFiles.nameOf(key)}.${purpose}`
    const patience = SessionLock.patience[purpose]
    const onWait = yield* SessionLock.OnWait
    const telling = yield* locks.pathOf(name).pipe(
      Effect.flatMap(holderOf),
      Effect.flatMap((holder) => onWait(SessionLock.Wait.make({ key, purpose, holder, patience }))),
      Effect.delay(SessionLock.silence),
      Effect.ignore,
      Effect.forkChild
    )
    return yield* Effect.ensuring(locks.acquire(name, patience, tries), Fiber.interrupt(telling))
  })

  const enter = (key: SessionKey, purpose: SessionLock.Purpose) =>
    acquire(key, purpose).pipe(
      Effect.tap(sign),
      Effect.catchTags({
        PrivateFileError: ({ detail }) => Effect.fail(new SessionLockError({ key, purpose, detail })),
        LockBusy: ({ path }) =>
          Effect.flatMap(holderOf(path), (holder) =>
            Effect.fail(
              new SessionLockError({
                key,
                purpose,
                holder,
                detail: `gave up after ${
                  Duration.format(SessionLock.patience[purpose])
                }; end that process, or try again`
              })
            ))
      })
    )

  return SessionLock.SessionLock.of({
    withLock: (key, purpose) => (effect) =>
      Effect.scopedWith((scope) => Effect.andThen(Scope.provide(enter(key, purpose), scope), effect))
  })
})

/**
 * The lock over whatever `FileSystem` is given.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps = (options?: Options): Layer.Layer<SessionLock.SessionLock, never, FileSystem.FileSystem> =>
  Layer.effect(SessionLock.SessionLock, make(options))

/**
 * The lock of sessions for all programs of one user on one machine. The operating system releases it with its holder,
 * however that one ends. Each call makes a new layer: call it once. Waits 60 seconds at most to renew, 31 minutes to log
 * in; the error names the holder.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<SessionLock.SessionLock> =>
  Layer.provide(layerNoDeps(options), NodeFileSystem.layer)
