import { AuthError, AuthStrategy } from "@effect-authn/core"
import { Effect, FileSystem, Redacted } from "effect"

/** Signs in with the token that a platform puts into a file for its workloads. */
export const tokenFile = (path: string): AuthStrategy.AuthStrategy<FileSystem.FileSystem> => ({
  name: "token file",
  obtain: Effect.fnUntraced(function*(context) {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(path).pipe(
      // nothing to try: a combination moves on to its next strategy
      Effect.catchReason(
        "PlatformError",
        "NotFound",
        () => Effect.fail(AuthStrategy.noCredentials(context, "token file", `there is no ${path}`))
      ),
      // something is wrong with what there is: the login ends here
      Effect.catchTag("PlatformError", (error) =>
        Effect.fail(
          new AuthError.InvalidCredentials({ key: context.key, detail: `${path} cannot be read: ${error.reason._tag}` })
        ))
    )
    return yield* AuthStrategy.token(Redacted.make(text.trim())).obtain(context)
  })
})

/** The token in the file where there is one, else the session of an earlier login. */
export const tokenFileOrStored = (path: string) => AuthStrategy.firstOf(tokenFile(path), AuthStrategy.stored())
