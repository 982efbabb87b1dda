/**
 * Files that are for one user alone, replaced without a moment in which one is damaged. What lies where others can write is
 * refused: whoever can put a file there chooses what is read, and where something is written.
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import * as Path from "node:path"
import * as Util from "node:util"

/**
 * Something that could not be done with a file. `detail` names it and says what to do, in words for the person whose file
 * it is; `isDoubtful`: it may have been done all the same.
 *
 * @category errors
 * @since 0.1.0
 */
export class PrivateFileError extends Schema.TaggedError<PrivateFileError>(
  "@effect-authn/platform-node/PrivateFile/PrivateFileError"
)("PrivateFileError", {
  detail: Schema.String,
  isDoubtful: Schema.optionalKey(Schema.Boolean)
}) {
  override get message(): string {
    return this.detail
  }
}

const elsewhere = "choose another place with the `directory` option or XDG_DATA_HOME"

const advice: Record<string, string> = {
  EACCES: `give yourself access to it, or ${elsewhere}`,
  EPERM: `give yourself access to it, or ${elsewhere}`,
  EROFS: elsewhere,
  ENOSPC: `free some space, or ${elsewhere}`,
  EDQUOT: `free some space, or ${elsewhere}`,
  ENOTDIR: `move the file that is in the way of a directory, or ${elsewhere}`,
  EEXIST: `move the file that is in the way of a directory, or ${elsewhere}`,
  EISDIR: "move the directory that is in the way of a file",
  EMFILE: "raise the limit of open files (ulimit -n)",
  ENFILE: "raise the limit of open files",
  EBUSY: "end the program that keeps it open"
}

/**
 * Says what the operating system answered about `place`, and what to do about it.
 *
 * @category errors
 * @since 0.1.0
 */
export const fromPlatform = (place: string) => (error: PlatformError.PlatformError): PrivateFileError => {
  const { cause } = error.reason
  const remedy = isErrno(cause) ? advice[cause.code] ?? elsewhere : elsewhere
  return new PrivateFileError({ detail: `${place}: ${reasonOf(error)}; ${remedy}` })
}

/**
 * Why something could not be done with a file, in the words of the operating system where it has some.
 *
 * @category errors
 * @since 0.1.0
 */
export const reasonOf = ({ reason }: PlatformError.PlatformError): string =>
  isErrno(reason.cause)
    ? `${Util.getSystemErrorMessage(reason.cause.errno)} (${reason.cause.code})`
    : reason.message

const isErrno = Schema.is(Schema.Struct({ errno: Schema.Int, code: Schema.String }))

const refuse = (detail: string): Effect.Effect<never, PrivateFileError> => Effect.fail(new PrivateFileError({ detail }))

/** A path as a shell takes it. */
const quoted = (path: string): string => /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`

/**
 * The user that this process is. There is none on Windows, whose profile directories are private by themselves, and Deno
 * tells it only to a program that may know it.
 */
const user = (): number | undefined => Option.getOrUndefined(Result.getSuccess(Result.try(() => process.geteuid?.())))

/** Root can write everywhere, so that what is root's can be trusted as much as the machine. */
const checkOwner = (path: string, { uid }: FileSystem.File.Info): Effect.Effect<void, PrivateFileError> => {
  const owner = Option.getOrElse(uid, () => 0)
  const self = user()
  return self === undefined || owner === self || owner === 0
    ? Effect.void
    : refuse(
      `${path}: it belongs to another user (uid ${owner}), who chooses what is in it; make it yours (chown), or ${elsewhere}`
    )
}

const checkMode = (path: string, { mode, type }: FileSystem.File.Info): Effect.Effect<void, PrivateFileError> =>
  user() === undefined || (mode & 0o022) === 0
    ? Effect.void
    : refuse(
      `${path}: others can write ${type === "Directory" ? "there" : "it"} (mode ${(mode & 0o7777).toString(8)}); ` +
        `make sure that what is in it is yours, then take their rights away ` +
        `(chmod ${type === "Directory" ? "-R " : ""}go= ${quoted(path)}), or ${elsewhere}`
    )

const found = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  effect.pipe(
    Effect.asSome,
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeedNone)
  )

/** A program's own directory, which is one of several levels: the name that `UserDirectories` is asked for. */
const application = "effect-authn"

/**
 * Refuses a directory in which others can write, or which is somebody else's; one that is not there is fine. A link to it
 * is followed where it is this user's, or root's.
 *
 * @category combinators
 * @since 0.1.0
 */
export const checkDirectory: (
  directory: string
) => Effect.Effect<void, PrivateFileError, FileSystem.FileSystem> = Effect.fnUntraced(function*(directory) {
  const fs = yield* FileSystem.FileSystem
  const parent = Path.dirname(directory)
  if (Path.basename(parent) === application) yield* checkDirectory(parent)
  for (const look of [fs.lstat, fs.stat]) {
    const info = yield* found(look(directory)).pipe(
      // a file above it: whoever opens what is in it is told so
      Effect.catchIf(
        ({ reason }) => isErrno(reason.cause) && reason.cause.code === "ENOTDIR",
        () => Effect.succeedNone
      ),
      Effect.mapError(fromPlatform(directory))
    )
    if (Option.isNone(info)) return
    yield* checkOwner(directory, info.value)
    if (info.value.type === "Directory") return yield* checkMode(directory, info.value)
    if (info.value.type !== "SymbolicLink") return
  }
})

// One after the other, each once: Node's own way tries for ever where a system lets nothing be made, as below `/proc`.
const makeWithParents = (
  fs: FileSystem.FileSystem,
  directory: string
): Effect.Effect<void, PlatformError.PlatformError> => {
  const make = fs.makeDirectory(directory, { mode: 0o700 })
  return Effect.catchReason(make, "PlatformError", "NotFound", () =>
    makeWithParents(fs, Path.dirname(directory)).pipe(
      Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.void),
      Effect.andThen(make)
    ))
}

/**
 * Makes a directory for this user alone, with those above it. One that exists is left as it is, and refused as
 * `checkDirectory` does.
 *
 * @category combinators
 * @since 0.1.0
 */
export const makeDirectory = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  yield* makeWithParents(fs, directory).pipe(
    // the umask of the process has no say here
    Effect.andThen(fs.chmod(directory, 0o700)),
    Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.void),
    Effect.mapError(fromPlatform(directory))
  )
  yield* checkDirectory(directory)
})

const kinds: Record<string, string> = {
  Directory: "a directory",
  FIFO: "a pipe",
  Socket: "a socket",
  BlockDevice: "a device",
  CharacterDevice: "a device"
}

// more than any system follows
const mostLinks = 40

/** Refuses what is there and no link, unless it is a file of this user or of root in which nobody else can write. */
const checkFile = (place: string, info: FileSystem.File.Info): Effect.Effect<void, PrivateFileError> =>
  info.type === "File"
    ? Effect.andThen(checkOwner(place, info), checkMode(place, info))
    : refuse(`${place}: ${kinds[info.type] ?? "something else"} is in the way of a file; move it away`)

/** Where a file really is, and what is there. */
const look = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  let place = path
  for (let links = 0; links < mostLinks; links++) {
    const directory = Path.dirname(place)
    yield* checkDirectory(directory)
    const info = yield* Effect.mapError(found(fs.lstat(place)), fromPlatform(place))
    if (Option.isNone(info)) return { place, info }
    if (info.value.type !== "SymbolicLink") {
      yield* checkFile(place, info.value)
      return { place, info }
    }
    yield* checkOwner(place, info.value)
    const target = yield* Effect.all([fs.realPath(directory), fs.readLink(place)]).pipe(
      Effect.mapError(fromPlatform(place))
    )
    place = Path.resolve(...target)
  }
  return yield* refuse(`${path}: links that lead to each other; remove them`)
})

/**
 * Where a file really is: links of this user are followed, also to where nothing is yet. It refuses what is no file, what
 * belongs to somebody else, and what lies where others can write; each link on the way as well.
 *
 * @category combinators
 * @since 0.1.0
 */
export const locate = (path: string): Effect.Effect<string, PrivateFileError, FileSystem.FileSystem> =>
  Effect.map(look(path), ({ place }) => place)

/**
 * What is known of a file to which no link may lead, `None` where there is none. It refuses a link, and what `locate` refuses.
 *
 * @internal
 */
export const inspect = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  yield* checkDirectory(Path.dirname(path))
  const info = yield* Effect.mapError(found(fs.lstat(path)), fromPlatform(path))
  if (Option.isNone(info)) return info
  if (info.value.type === "SymbolicLink") return yield* refuse(`${path}: a link is in the way of a file; remove it`)
  yield* checkFile(path, info.value)
  return info
})

/**
 * The number of bytes from which on a file is refused unread: 16 MiB, a hundred times what the largest session has.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostBytes = 16 * 1024 * 1024

/**
 * The text of a file, `None` where there is none. What `locate` refuses is not read, nor what is larger than `mostBytes`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const { info, place } = yield* look(path)
  if (Option.isNone(info)) return Option.none<string>()
  if (ByteSize.isGreaterThan(info.value.size, ByteSize.bytes(mostBytes))) {
    return yield* refuse(
      `${place}: larger than ${
        mostBytes / 1024 / 1024
      } MiB (${info.value.size} bytes), which nothing here writes; move it away`
    )
  }
  return yield* Effect.mapError(found(patiently(fs.readFileString(place))), fromPlatform(place))
})

// A virus scanner or an indexer on Windows holds a new file for a moment; elsewhere "permission denied" is a verdict.
const isPassing = ({ reason }: PlatformError.PlatformError): boolean =>
  reason._tag === "Busy" || (reason._tag === "PermissionDenied" && process.platform === "win32")

/** Tries again, for about a second, what fails because another program has the file in its hands. */
const patiently = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  Effect.retry(effect, { while: isPassing, schedule: Schedule.exponential("5 millis"), times: 8 })

// The step that changes what others see. When it fails, a network drive may have done it and lost the acknowledgement.
const decisively = <A, R>(path: string, step: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  Effect.mapError(
    patiently(step),
    (error) => new PrivateFileError({ detail: fromPlatform(path)(error).detail, isDoubtful: true })
  )

/** What a writer that died between opening and renaming leaves behind. The next writer or remover takes it away. */
const temporaryOf = (path: string): string => `${path}.tmp`

/**
 * Whether a file is there, or what a writer that died left of it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const exists = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const place = yield* locate(path)
  const all = yield* Effect.all([fs.exists(place), fs.exists(temporaryOf(place))]).pipe(
    Effect.mapError(fromPlatform(place))
  )
  return all.includes(true)
})

/**
 * Replaces a file as a whole, durably, and readable by this user alone. A link stays: what it leads to is replaced. Under a
 * lock of that file the temporary file beside it is called `.tmp`, so that the next writer takes away what one that died has
 * left; without one (`isLocked: false`) it has a name of its own.
 *
 * @category combinators
 * @since 0.1.0
 */
export const replace = Effect.fnUntraced(
  function*(path: string, text: string, options?: { readonly isLocked: boolean }) {
    const fs = yield* FileSystem.FileSystem
    const place = yield* locate(path)
    const temporary = options?.isLocked === false ? temporaryOf(`${place}.${randomUUID()}`) : temporaryOf(place)
    const write = Effect.gen(function*() {
      yield* patiently(fs.remove(temporary, { force: true }))
      yield* Effect.scoped(Effect.gen(function*() {
        const file = yield* patiently(fs.open(temporary, { flag: "wx", mode: 0o600 }))
        yield* fs.chmod(temporary, 0o600)
        yield* file.writeAll(new TextEncoder().encode(text))
        yield* file.sync
      }))
    }).pipe(Effect.mapError(fromPlatform(place)))
    yield* write.pipe(
      Effect.andThen(decisively(place, fs.rename(temporary, place))),
      Effect.onError(() => Effect.ignore(fs.remove(temporary, { force: true })))
    )
    yield* syncDirectory(Path.dirname(place))
  },
  Effect.uninterruptible
)

/**
 * Removes a file, durably, with what a dead writer left beside it; what is not there is fine. A link stays, and leads to
 * nothing then. To be called under a lock of that file.
 *
 * @category combinators
 * @since 0.1.0
 */
export const remove = Effect.fnUntraced(
  function*(path: string) {
    const fs = yield* FileSystem.FileSystem
    const place = yield* locate(path)
    yield* Effect.mapError(patiently(fs.remove(temporaryOf(place), { force: true })), fromPlatform(place))
    yield* decisively(place, fs.remove(place, { force: true }))
    yield* syncDirectory(Path.dirname(place))
  },
  Effect.uninterruptible
)

/**
 * Puts a damaged file aside, beside the original, under its name with `.corrupt-` and the milliseconds of `now` behind it,
 * and tells where it is. To be called under a lock of that file.
 *
 * @category combinators
 * @since 0.1.0
 */
export const putAside = Effect.fnUntraced(function*(path: string, now: number) {
  const fs = yield* FileSystem.FileSystem
  const place = yield* locate(path)
  const aside = `${place}.corrupt-${now}`
  yield* Effect.mapError(patiently(fs.rename(place, aside)), fromPlatform(place))
  return aside
})

/**
 * The files that `putAside` has put beside a file, in order.
 *
 * @category combinators
 * @since 0.1.0
 */
export const asides = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const place = yield* locate(path)
  const directory = Path.dirname(place)
  const names = yield* Effect.mapError(found(fs.readDirectory(directory)), fromPlatform(directory))
  return Option.getOrElse(names, () => [])
    .filter((name) => name.startsWith(`${Path.basename(place)}.corrupt-`) && /-\d+$/.test(name))
    .sort()
    .map((name) => Path.join(directory, name))
})

/**
 * Removes what `putAside` has put beside a file. To be called under a lock of that file.
 *
 * @category combinators
 * @since 0.1.0
 */
export const removeAsides = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  for (const aside of yield* asides(path)) {
    yield* Effect.mapError(patiently(fs.remove(aside, { force: true })), fromPlatform(aside))
  }
})

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
