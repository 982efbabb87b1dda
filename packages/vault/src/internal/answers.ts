/** What a caller is told where something went wrong. */
import type { AuthError } from "@effect-authn/core/AuthError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ProviderUnknown } from "../Vault.ts"
import * as Api from "../VaultApi.ts"

// A storage that is away, and a lock that another process holds, are back in a moment.
const soon = 1

export const unavailable = (description: string, retryAfter = soon) =>
  new Api.Unavailable({ error: "unavailable", error_description: description, retry_after: retryAfter })

const secondsOf = (duration: Duration.Duration | undefined): number =>
  duration === undefined ? soon : Math.max(soon, Math.ceil(Duration.toSeconds(duration)))

/** What a caller is told of a failure; whose cause is on this side is in the log, too. */
const answerTo = (error: AuthError | ProviderUnknown) => {
  const error_description = error.message
  switch (error._tag) {
    case "NotAuthenticated":
      return new Api.NotFound({ error: "no_session", error_description })
    case "ProviderUnknown":
      return new Api.NotFound({ error: "provider_unknown", error_description })
    case "ReauthenticationRequired":
      return new Api.Ended({ error: "reauthentication_required", error_description })
    case "IamError":
      switch (error.reason._tag) {
        case "Unavailable":
          return unavailable(error_description, secondsOf(error.reason.retryAfter))
        case "SelectionRefused":
        case "Unsupported":
          return new Api.SelectionRefused({ error: "selection_refused", error_description })
        default:
          return new Api.IamFailed({ error: "iam_failed", error_description })
      }
    case "TokenStorageError":
    case "SessionLockError":
      return unavailable(error_description)
    default:
      return new Api.IamFailed({ error: "iam_failed", error_description })
  }
}

/** The answer in the place of the failure. */
export const answered = <A, R>(effect: Effect.Effect<A, AuthError | ProviderUnknown, R>) =>
  Effect.catch(effect, (error) => {
    const answer = answerTo(error)
    return Effect.andThen(
      answer.error === "iam_failed" ? Effect.logWarning(error.message) : Effect.void,
      Effect.fail(answer)
    )
  })
