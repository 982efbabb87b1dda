/**
 * Which program this is, in the words of the platform that runs it: a job of continuous integration, a pod, a virtual
 * machine. The platform signs a short-lived JWT for one audience, and an IAM that trusts the platform takes it in the
 * place of a secret (RFC 7523).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { IamError, Misconfigured, Unavailable } from "../iam/IamError.ts"
import { quote } from "../iam/IamHttp.ts"
import * as JwtCodec from "../jwt/JwtCodec.ts"
import * as TokenSet from "../session/TokenSet.ts"

/**
 * This program does not run there, or what is there is not meant for the audience: somebody else may be asked. `detail`
 * says what is missing, and what would bring it.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkloadAbsent
  extends Schema.TaggedError<WorkloadAbsent>("@effect-authn/core/login/WorkloadIdentity/WorkloadAbsent")(
    "WorkloadAbsent",
    { detail: Schema.String }
  )
{
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    return this.detail
  }
}

/**
 * This program runs there, and the platform does not answer now: asking again later may help.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkloadUnavailable
  extends Schema.TaggedError<WorkloadUnavailable>("@effect-authn/core/login/WorkloadIdentity/WorkloadUnavailable")(
    "WorkloadUnavailable",
    { detail: Schema.String }
  )
{
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    return `${this.detail}; try again later`
  }
}

/**
 * This program runs there, and what it finds is of no use: a file that is empty or expired, an answer that is none. Nobody
 * else is asked in its place; `detail` says what to put right.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkloadBroken
  extends Schema.TaggedError<WorkloadBroken>("@effect-authn/core/login/WorkloadIdentity/WorkloadBroken")(
    "WorkloadBroken",
    { detail: Schema.String }
  )
{
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    return this.detail
  }
}

/**
 * Why there is no token of a platform. `source` is the platform, for people.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkloadError
  extends Schema.TaggedError<WorkloadError>("@effect-authn/core/login/WorkloadIdentity/WorkloadError")(
    "WorkloadError",
    { source: Schema.String, reason: Schema.Union([WorkloadAbsent, WorkloadUnavailable, WorkloadBroken]) }
  )
{
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return `${this.source}: ${this.reason.message}`
  }
}

/**
 * A token of a platform, which is valid now and for the audience that was asked for. `source` is the platform, for people.
 *
 * @category models
 * @since 0.1.0
 */
export interface Identity {
  readonly source: string
  readonly token: Redacted.Redacted
}

/**
 * The platform that runs this program. `NodeWorkloadIdentity` of `@effect-authn/platform-node` knows those that there are.
 *
 * **When to use**
 *
 * Use with `OidcStrategy.workload`, with the method `assertion` of a client, or wherever an `assertion` is asked for.
 *
 * **Gotchas**
 *
 * No token is kept: each use asks again, since platforms rotate them.
 *
 * @category services
 * @since 0.1.0
 */
export class WorkloadIdentity extends Context.Service<WorkloadIdentity, {
  /** What is asked, for people: `GitHub Actions`. */
  readonly description: string
  /** A token for an audience, as the IAM wants to be named in its `aud`. It may be asked for at each use. */
  readonly token: (audience: string) => Effect.Effect<Identity, WorkloadError>
}>()("@effect-authn/core/login/WorkloadIdentity") {}

/**
 * Asks platforms in order, and takes the first on which this program runs. One that is there and broken ends it; where
 * none is there, the reasons of all are one `WorkloadAbsent`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const firstOf = (
  ...identities: ReadonlyArray<WorkloadIdentity["Service"]>
): WorkloadIdentity["Service"] => ({
  description: identities.map(({ description }) => description).join(", "),
  token: Effect.fnUntraced(function*(audience) {
    const absent: Array<string> = []
    for (const identity of identities) {
      const asked = yield* Effect.result(identity.token(audience))
      if (Result.isSuccess(asked)) return asked.success
      if (asked.failure.reason._tag !== "WorkloadAbsent") return yield* asked.failure
      absent.push(asked.failure.message)
    }
    return yield* new WorkloadError({
      source: "workload identity",
      reason: new WorkloadAbsent({ detail: absent.length === 0 ? "no platform is known" : absent.join("; ") })
    })
  })
})

/**
 * Takes what a platform handed over: a JWT that has not expired, for `audience`, else `WorkloadBroken`. White space around
 * it is dropped. Its signature is the IAM's to verify.
 *
 * With `isForOthersToo` the platform hands the same token to other programs: one for another audience, expired or not, is
 * then `WorkloadAbsent`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const accept = /* @__PURE__ */ Effect.fnUntraced(
  function*(source: string, text: string, audience: string, options?: {
    readonly isForOthersToo?: boolean
  }): Effect.fn.Return<Identity, WorkloadError> {
    const broken = (detail: string) => new WorkloadError({ source, reason: new WorkloadBroken({ detail }) })
    const token = Redacted.make(text.trim(), { label: "workload_token" })
    if (Redacted.value(token) === "") return yield* broken("there is a token, and it is empty")
    const decoded = JwtCodec.decodeUnverified(Redacted.value(token))
    if (Result.isFailure(decoded)) {
      return yield* broken("what is there is no JWT (three parts with dots between): is it the token itself?")
    }
    // Nobody here looks into the last part: what stands behind it would be sent along.
    if (!/^[\w.-]*$/.test(Redacted.value(token))) {
      return yield* broken("there is a JWT with something behind it: leave nothing but the token there")
    }
    const { aud } = decoded.success.claims
    const named = (Array.isArray(aud) ? aud : [aud]).filter((name) => typeof name === "string")
    const isOurs = named.includes(audience)
    const others = `its token is for ${
      named.length === 0 ? "no audience" : named.map((name) => `"${quote(name.slice(0, 100))}"`).join(", ")
    }, not for "${quote(audience)}": it is not sent there`
    if (!isOurs && options?.isForOthersToo === true) {
      return yield* new WorkloadError({ source, reason: new WorkloadAbsent({ detail: others }) })
    }
    const now = yield* DateTime.now
    const end = TokenSet.timeClaim(token, "exp")
    if (end._tag === "Some" && DateTime.isLessThanOrEqualTo(end.value, now)) {
      return yield* broken(
        `its token expired at ${DateTime.formatIso(end.value)}, and it is ${DateTime.formatIso(now)} here: whatever ` +
          "renews it has stopped, or this clock is wrong"
      )
    }
    return isOurs ? { source, token } : yield* broken(others)
  }
)

/**
 * The same failure in the words of the IAM that the token was for. Nothing was sent there.
 *
 * @category errors
 * @since 0.1.0
 */
export const toIamError = (
  call: { readonly issuer: string; readonly method: string },
  error: WorkloadError
): IamError =>
  new IamError({
    issuer: call.issuer,
    method: call.method,
    reason: error.reason._tag === "WorkloadUnavailable"
      ? new Unavailable({ sent: "no", detail: `${error.source}: ${error.reason.detail}` })
      : new Misconfigured({ detail: error.message })
  })
