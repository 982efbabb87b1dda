/**
 * The end of a session at the IAM: it never fails and never waits longer than one request may take.
 */
import * as Effect from "effect/Effect"
import { type IamClient, Revocation } from "../../iam/IamClient.ts"
import * as IamHttp from "../../iam/IamHttp.ts"
import type * as Session from "../../session/Session.ts"

/** Tells the IAM that a session ended, and says what became of it. */
export type Revoke = (session: Session.Session) => Effect.Effect<Revocation>

export const notRevoked = (reason: string): Revocation => Revocation.cases.NotRevoked.make({ reason })

export const make = (iam: IamClient["Service"]): Revoke => (session) =>
  session.strategy === "environment"
    ? Effect.succeed(notRevoked("a token of the environment is not ours to revoke"))
    : iam.revoke(session).pipe(
      IamHttp.inTime(iam.policy.timeLimit, () => ({ message: "the IAM did not answer in time" })),
      Effect.catch(({ message }) => Effect.succeed(notRevoked(message)))
    )
