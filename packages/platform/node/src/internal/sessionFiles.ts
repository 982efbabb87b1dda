/** Where session files lie, and what they are called. */
import type * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as UserDirectories from "effect/persistence/UserDirectories"
import * as Crypto from "node:crypto"
import * as Path from "node:path"
import { PrivateFileError } from "../PrivateFile.ts"

/** Where the sessions lie, or why there is no such place: known when a layer is built, told when it is used. */
export const directory = (options?: {
  readonly directory?: string | undefined
}): Effect.Effect<Exit.Exit<string, PrivateFileError>> =>
  Effect.exit(
    options?.directory === undefined
      ? UserDirectories.make().data("effect-authn").pipe(
        Effect.mapError(({ reason }) => reason.description ?? reason.message),
        // One that is relative is wherever the program happens to start.
        Effect.filterOrFail((place) => Path.isAbsolute(place), () => "the home of this user is no absolute path"),
        Effect.map((data) => Path.join(data, "sessions")),
        Effect.mapError((why) =>
          new PrivateFileError({
            detail: `there is no directory for sessions: ${why}; ` +
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
