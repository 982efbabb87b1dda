/**
 * How the command fails: what is said, and with which exit code.
 */
import * as IamError from "@effect-authn/core/iam/IamError"
import { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/**
 * The exit codes, which do not change: 0 is success, 1 failure, 2 a mistake in what was typed or configured, 3 not signed
 * in, 4 the session ended and only a new login helps, 5 the IAM cannot be reached.
 */
export const ExitCode = Schema.Literals([1, 2, 3, 4, 5])

/**
 * A failure of the command itself. `detail` says what to do; `unknownAccount` is the account that is not there, if that is why.
 */
export class Failure extends Schema.TaggedError<Failure>("@effect-authn/cli/Failure")("Failure", {
  exitCode: ExitCode,
  detail: Schema.String,
  unknownAccount: Schema.optional(Schema.String)
}) {
  override get message(): string {
    return this.detail
  }
}

/**
 * The end of a program that `authn exec` ran; its exit code is passed on, and nothing is said.
 */
export class ChildEnded extends Schema.TaggedError<ChildEnded>("@effect-authn/cli/Failure/ChildEnded")("ChildEnded", {
  exitCode: Schema.Int
}) {}

export const usage = (detail: string): Failure => new Failure({ exitCode: 2, detail })

export const failed = (detail: string): Failure => new Failure({ exitCode: 1, detail })

/**
 * What to say of the reason why a command ended, and its exit code, which is `interrupted` where nothing else ended it;
 * no `text` says nothing. `signInTo` is the account that a login would help, `isUnknown` says that there never was one.
 */
export const describe = (
  cause: Cause.Cause<unknown>,
  interrupted = 130
): {
  readonly exitCode: number
  readonly text?: string
  readonly signInTo?: string
  readonly isUnknown?: boolean
} => {
  if (Cause.hasInterruptsOnly(cause)) return { exitCode: interrupted }
  const error = Cause.squash(cause)
  if (isChildEnded(error)) return { exitCode: error.exitCode }
  if (isFailure(error)) {
    return { exitCode: error.exitCode, text: error.detail, isUnknown: error.unknownAccount !== undefined }
  }
  if (!Predicate.isError(error)) return { exitCode: 1, text: "something went wrong that nobody expected" }
  if (isIamError(error)) return { exitCode: codeOf(error), text: error.message }
  const tag = Predicate.hasProperty(error, "_tag") ? error._tag : undefined
  switch (tag) {
    case "ShowHelp":
      return {
        exitCode: Predicate.hasProperty(error, "errors") && Array.isArray(error.errors) && error.errors.length > 0
          ? 2
          : 0
      }
    case "QuitError":
      return { exitCode: 130 }
    case "NotAuthenticated":
    case "NoCredentials":
      return { exitCode: 3, text: error.message, ...accountOf(error) }
    case "ReauthenticationRequired":
    case "StepUpRequired":
      return { exitCode: 4, text: error.message, ...accountOf(error) }
    default:
      return { exitCode: 1, text: error.message }
  }
}

const isChildEnded = Schema.is(ChildEnded)
const isIamError = Schema.is(IamError.IamError)
const isFailure = Schema.is(Failure)
const hasKey = Schema.is(Schema.Struct({ key: SessionKey }))

const accountOf = (error: Error): { readonly signInTo?: string } => hasKey(error) ? { signInTo: error.key.account } : {}

const codeOf = ({ method, reason }: IamError.IamError): number => {
  if (reason._tag === "Unavailable") return 5
  return reason._tag === "Misconfigured" && method === "configure" ? 2 : 1
}
