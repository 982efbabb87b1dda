/**
 * Secrets that lie in files of other programs: a platform writes and rotates them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { constants } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Util from "node:util"

/**
 * Why a file gives no secret. `isAbsent` tells a file that is not there from one that is of no use.
 *
 * @category errors
 * @since 0.1.0
 */
export class SecretFileError
  extends Schema.TaggedError<SecretFileError>("@effect-authn/platform-node/SecretFile/SecretFileError")(
    "SecretFileError",
    { path: Schema.String, detail: Schema.String, isAbsent: Schema.Boolean }
  )
{
  override get message(): string {
    return `${this.path} ${this.detail}`
  }
}

// The longest chain of certificates is far shorter.
const mostBytes = 64 * 1024

/**
 * Reads the whole text of a file, white space at its ends apart, as it is now. A link is followed: platforms rotate by
 * replacing one. What is no file, empty, longer than 64 KiB or no text is refused.
 *
 * **Example** (A client's secret that rotates)
 *
 * ```ts
 * import { OidcIam } from "@effect-authn/iam-oidc"
 * import { SecretFile } from "@effect-authn/platform-node"
 *
 * export const iam = OidcIam.layer({
 *   issuer: "https://idp.example.com",
 *   clientId: "my-service",
 *   clientAuthentication: { method: "client_secret", secret: SecretFile.read("/run/secrets/client-secret") }
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function*(path: string): Effect.fn.Return<Redacted.Redacted, SecretFileError> {
  const refuse = (detail: string) => new SecretFileError({ path, detail, isAbsent: false })
  if (path === "" || path.includes("\0")) return yield* refuse("is no name of a file")
  const text = yield* Effect.scoped(Effect.gen(function*() {
    const file = yield* Effect.acquireRelease(
      // A pipe that nobody writes to must not hold the program.
      onDisk(path, () => Fs.open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))),
      (file) => Effect.promise(() => file.close())
    )
    const stat = yield* onDisk(path, () => file.stat())
    if (!stat.isFile()) {
      return yield* refuse(stat.isDirectory() ? "is a directory: name the file in it" : "is not a file")
    }
    const buffer = new Uint8Array(mostBytes + 1)
    let length = 0
    while (length < buffer.length) {
      const { bytesRead } = yield* onDisk(path, () => file.read(buffer, length, buffer.length - length, null))
      if (bytesRead === 0) break
      length += bytesRead
    }
    if (length > mostBytes) return yield* refuse("is longer than 64 KiB: that is no secret")
    // What is written anew in place may have lost its blocks for a moment.
    if (buffer.subarray(0, length).includes(0)) return yield* refuse("is not text: it has NUL bytes")
    return yield* Effect.try({
      try: () => new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, length)).trim(),
      catch: () => refuse("is not text")
    })
  }))
  return text === "" ? yield* refuse("is empty") : Redacted.make(text)
})

const onDisk = <A>(path: string, act: () => Promise<A>): Effect.Effect<A, SecretFileError> =>
  Effect.tryPromise({
    try: act,
    catch: (cause) => {
      const { code, errno } = isErrno(cause) ? cause : { code: "UNKNOWN", errno: 0 }
      const said = errno === 0 ? "it cannot be read" : `${Util.getSystemErrorMessage(errno)} (${code})`
      const advice = code === "EACCES" || code === "EPERM" ? ": let this user read it" : ""
      return new SecretFileError({
        path,
        detail: code === "ENOENT" ? "is not there" : `cannot be read: ${said}${advice}`,
        isAbsent: code === "ENOENT" || code === "ENOTDIR"
      })
    }
  })

const isErrno = Schema.is(Schema.Struct({ errno: Schema.Int, code: Schema.String }))
