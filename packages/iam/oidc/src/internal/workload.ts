/** Signing in as the program that a platform says this is. */
import type { IamError } from "@effect-authn/core/iam/IamError"
import { noCredentials, type StrategyContext } from "@effect-authn/core/login/AuthStrategy"
import { toIamError, type WorkloadIdentity } from "@effect-authn/core/login/WorkloadIdentity"
import type * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as Effect from "effect/Effect"
import * as TokenSource from "../TokenSource.ts"

export interface Options {
  readonly audience: string
  readonly grant?: "jwt-bearer" | "token-exchange" | undefined
  readonly name?: string | undefined
}

/** A session by the platform's token. Where there is no platform, there is nothing to try. */
export const obtain = Effect.fnUntraced(function*(
  context: StrategyContext,
  issue: (
    source: TokenSource.TokenSource,
    selection: Selection.Selection
  ) => Effect.Effect<Session.TokenResponse, IamError>,
  platform: WorkloadIdentity["Service"],
  options: Options
) {
  const { name = "workload" } = options
  const first = yield* platform.token(options.audience).pipe(
    Effect.mapError((error) =>
      error.reason._tag === "WorkloadAbsent"
        ? noCredentials(context, name, error.reason.detail)
        : toIamError({ issuer: context.key.issuer, method: "login" }, error)
    )
  )
  const issued = yield* issue(TokenSource.workload({ ...options, platform, first }), context.selection)
  yield* Effect.logInfo(`signed in to ${context.key.issuer} as the program that ${first.source} says this is`)
  return Session.fromResponse(context.key, issued, {
    strategy: `${name}: ${first.source}`,
    selection: context.selection
  })
})
