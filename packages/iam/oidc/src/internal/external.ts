/** Secrets and assertions that somebody else gets: what can go wrong there happened before anything was sent. */
import { CredentialsRefused, IamError, Malformed, Misconfigured, Unavailable } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as WorkloadIdentity from "@effect-authn/core/login/WorkloadIdentity"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

const isIamError = Schema.is(IamError)
const isWorkloadError = Schema.is(WorkloadIdentity.WorkloadError)

interface Call {
  readonly issuer: string
  readonly method: string
}

/**
 * Gets it, within half of a request's time limit: whoever hangs must not make an outcome doubtful. `what` begins the
 * message. Whatever it fails with says nothing of the grant of the session that it is for.
 */
export const get = <A>(
  secret: Effect.Effect<A, Error>,
  call: Call,
  options: { readonly what: string; readonly timeLimit: Duration.Duration }
): Effect.Effect<A, IamError> => {
  const limit = Duration.divideUnsafe(options.timeLimit, 2)
  return secret.pipe(
    Effect.mapError((error) => asIamError(error, call, options.what)),
    Effect.timeoutOrElse({
      duration: limit,
      orElse: () =>
        Effect.fail(
          IamHttp.error(
            call,
            new Unavailable({ sent: "no", detail: `${options.what} did not come within ${Duration.format(limit)}` })
          )
        )
    })
  )
}

/** A token without the line break at the end of its file, where nothing else is in it that no token has. */
export const sendable = (
  got: Redacted.Redacted,
  refuse: (why: string) => IamError
): Effect.Effect<Redacted.Redacted, IamError> => {
  const text = Redacted.value(got).trim()
  return /^[\x21-\x7e]+$/.test(text)
    ? Effect.succeed(Redacted.make(text, { label: "token" }))
    : Effect.fail(refuse(text === "" ? "is empty" : "has a character that no token has: it was not sent"))
}

const asIamError = (error: Error, call: Call, what: string): IamError => {
  if (isWorkloadError(error)) return WorkloadIdentity.toIamError(call, error)
  if (!isIamError(error)) {
    return IamHttp.error(call, new Misconfigured({ detail: `${what} cannot be had: ${IamHttp.quote(error.message)}` }))
  }
  const { issuer, reason } = error
  const detail = `${what} comes from ${issuer}, and there: ${reason.message}`
  switch (reason._tag) {
    case "Unavailable":
      return IamHttp.error(call, new Unavailable({ sent: "no", detail, retryAfter: reason.retryAfter }))
    case "CredentialsRefused":
    case "GrantDead":
      return IamHttp.error(call, new CredentialsRefused({ detail }))
    case "Malformed":
      return IamHttp.error(call, new Malformed({ detail }))
    default:
      return IamHttp.error(call, new Misconfigured({ detail }))
  }
}
