/** What the operating system says about a file, in words for the person whose file it is. */
import * as Data from "effect/Data"
import type * as PlatformError from "effect/PlatformError"
import * as Schema from "effect/Schema"
import * as Util from "node:util"

/**
 * Something that could not be done with a file, in words for the person whose file it is. `isDoubtful`: it may have been
 * done all the same.
 */
export class FileFailure extends Data.TaggedError("FileFailure")<{
  readonly detail: string
  readonly isDoubtful?: boolean
}> {}

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

/** Says what the operating system answered about `place`, and what to do about it. */
export const fromPlatform = (place: string) => ({ reason }: PlatformError.PlatformError): FileFailure => {
  const { cause } = reason
  if (!isErrno(cause)) return new FileFailure({ detail: `${place}: ${reason.message}; ${elsewhere}` })
  const what = `${Util.getSystemErrorMessage(cause.errno)} (${cause.code})`
  return new FileFailure({ detail: `${place}: ${what}; ${advice[cause.code] ?? elsewhere}` })
}

const isErrno = Schema.is(Schema.Struct({ errno: Schema.Int, code: Schema.String }))
