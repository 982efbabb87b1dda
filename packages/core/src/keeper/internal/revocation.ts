/**
 * The end of a session at the IAM: it never fails and never waits longer than one request may take.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type IamClient, Revocation } from "../../iam/IamClient.ts"
import type { IamError } from "../../iam/IamError.ts"
import * as IamHttp from "../../iam/IamHttp.ts"
import * as Session from "../../session/Session.ts"
import * as TokenSet from "../../session/TokenSet.ts"

/** Tells the IAM that a session ended, and says what became of it. */
export type Revoke = (session: Session.Session) => Effect.Effect<Revocation>

export const notRevoked = (reason: string): Revocation => Revocation.cases.NotRevoked.make({ reason })

// Somebody waits for it: a little longer each time, and not until the last second of the time limit.
const pauses = [250, 500, 1000, 2000, 4000].map(Duration.millis)

/** Asks, and asks again where the IAM is away, as long as there is time. Telling an IAM twice does no harm (RFC 7009). */
const again = Effect.fnUntraced(function*(
  ask: Effect.Effect<Revocation, IamError>,
  timeLimit: Duration.Duration
): Effect.fn.Return<Revocation, IamError> {
  const over = DateTime.addDuration(yield* DateTime.now, timeLimit)
  for (const pause of pauses) {
    const asked = yield* Effect.result(ask)
    if (asked._tag === "Success") return asked.success
    const { reason } = asked.failure
    if (reason._tag !== "Unavailable") return yield* asked.failure
    const wait = Duration.max(pause, reason.retryAfter ?? Duration.zero)
    if (DateTime.isGreaterThanOrEqualTo(DateTime.addDuration(yield* DateTime.now, wait), over)) {
      return yield* asked.failure
    }
    yield* Effect.sleep(wait)
  }
  return yield* ask
})

/** What works on at an IAM that has not ended a session, until when, and where a person ends it. */
const left = (session: Session.Session, issuer: string, now: DateTime.Utc): string => {
  const { grant } = session
  const tokens = Option.getOrUndefined(Session.currentToken(session))
  const [what, end] = grant._tag === "RefreshToken"
    ? ["the refresh token works", grant.expiresAt]
    : ["the access token works", Option.getOrUndefined(tokens?.expiresAt ?? Option.none())]
  if (grant._tag !== "RefreshToken" && (tokens === undefined || !TokenSet.isValid(tokens, now))) return ""
  if (end !== undefined && DateTime.isLessThanOrEqualTo(end, now)) return ""
  const until = end === undefined
    ? "until it is ended there"
    : `until ${DateTime.formatIso(end)}, if it is not ended there`
  return `; ${what} on at the IAM ${until}: do that in your account at ${issuer}`
}

/** `once` is for a session that was replaced; `patiently` for a person who signs out. */
export const make = (iam: IamClient["Service"]): { readonly once: Revoke; readonly patiently: Revoke } => {
  const { issuer, policy: { timeLimit } } = iam

  const told = (how: (ask: Effect.Effect<Revocation, IamError>) => Effect.Effect<Revocation, IamError>): Revoke =>
    Effect.fnUntraced(function*(session) {
      if (session.strategy === "environment") return notRevoked("a token of the environment is not ours to revoke")
      const revocation = yield* how(iam.revoke(session)).pipe(
        IamHttp.inTime(timeLimit, () => ({ message: "the IAM did not answer in time" })),
        Effect.catch((error) =>
          Effect.succeed(notRevoked(
            // Nobody tries it again later: the session is gone here.
            "reason" in error && error.reason._tag === "Unavailable"
              ? `the IAM could not be told: ${error.reason.detail}`
              : error.message
          ))
        )
      )
      return revocation._tag === "Revoked"
        ? revocation
        : notRevoked(revocation.reason + left(session, issuer, yield* DateTime.now))
    })

  return { once: told((ask) => ask), patiently: told((ask) => again(ask, timeLimit)) }
}
