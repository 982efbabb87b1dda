/**
 * One renewal, from the decision until the answer is durable, and the end of a session at the IAM. It runs under the lock
 * of the session, and nothing interrupts it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { isError } from "effect/Predicate"
import * as Result from "effect/Result"
import type { AuthError } from "../../AuthError.ts"
import { type IamClient, Revocation } from "../../iam/IamClient.ts"
import { IamError, Malformed, Unavailable } from "../../iam/IamError.ts"
import type * as Selection from "../../session/Selection.ts"
import type { TokenResponse } from "../../session/Session.ts"
import * as Session from "../../session/Session.ts"
import * as TokenSet from "../../session/TokenSet.ts"
import type { Kept } from "./kept.ts"
import type { Memory } from "./memory.ts"
import * as Renewal from "./renewal.ts"
import type { Store } from "./store.ts"

export type Attempt = ReturnType<typeof make>

export const make = (options: {
  readonly iam: IamClient["Service"]
  readonly memory: Memory
  readonly store: Store
  readonly holder: string
}) => {
  const { holder, iam, memory, store } = options
  const { policy } = iam

  const unavailable = (sent: "no" | "maybe", detail: string, retryAfter?: Duration.Duration) =>
    new IamError({
      issuer: iam.issuer,
      method: "renew",
      reason: new Unavailable({ sent, detail, ...(retryAfter === undefined ? {} : { retryAfter }) })
    })

  const send = (session: Session.Session, selection: Selection.Selection): Effect.Effect<TokenResponse, IamError> =>
    iam.renew(session, selection).pipe(
      Effect.timeoutOrElse({
        duration: policy.timeLimit,
        orElse: () => Effect.fail(unavailable("maybe", `no answer within ${Duration.format(policy.timeLimit)}`))
      }),
      // A defect may quote a request, so no more of it is shown than its name.
      Effect.catchDefect((defect) =>
        Effect.fail(
          new IamError({
            issuer: iam.issuer,
            method: "renew",
            reason: new Malformed({ detail: `the dialect failed on it (${isError(defect) ? defect.name : "defect"})` })
          })
        )
      )
    )

  /** Under the lock and uninterruptible: from the decision until the answer is durable. */
  const attempt = Effect.fnUntraced(function*(
    kept: Kept,
    target: Renewal.Target,
    isRetry = false
  ): Effect.fn.Return<Session.Session, AuthError> {
    yield* Effect.catchIf(
      store.reconcile(kept),
      (error) => error.reason._tag !== "StorageNewerVersion" && kept.session !== undefined,
      (error) => Effect.logWarning(`${kept.key.label}: the storage could not be brought up to date: ${error.message}`)
    )
    const { epoch, session } = kept
    if (session === undefined || kept.leaving > 0) return yield* memory.notAuthenticated(kept)
    const verdict = Renewal.decide(policy, session, target, memory.now())
    switch (verdict._tag) {
      case "Made":
        return target.makeCurrent && !Renewal.isCurrent(session, target)
          ? yield* store.writeAnswer(kept, Session.update(session, { current: target.selection }), epoch)
          : session
      case "Ended":
        return yield* memory.ended(kept, session)
      case "Wait":
        return yield* unavailable("no", verdict.detail, Duration.millis(verdict.until - memory.nowMillis()))
      case "Send":
    }

    const again = attempt(kept, target, true)
    const marked = yield* Effect.result(mark(kept, session, target, epoch))
    if (Result.isFailure(marked)) {
      if (marked.failure.reason._tag === "StorageConflict" && !isRetry) return yield* again
      const held = Session.tokenFor(session, target.selection)
      if (Option.exists(held, (tokens) => TokenSet.isValid(tokens, memory.now())) && !target.rejected) {
        return yield* marked.failure
      }
    }
    const asked = Result.isSuccess(marked) ? marked.success : session

    const answer = yield* Effect.result(send(asked, target.selection))
    if (Result.isSuccess(answer)) {
      const next = Renewal.merge(asked, target, answer.success, memory.now())
      const written = yield* Effect.result(store.writeAnswer(kept, next, epoch))
      if (Result.isSuccess(written)) return written.success
      return yield* displaced(kept, next)
    }

    const error = answer.failure
    if (error.reason._tag === "GrantDead") {
      yield* Effect.ignore(store.reconcile(kept))
      if (kept.session === undefined) return yield* memory.notAuthenticated(kept)
      if (kept.epoch === epoch && kept.session.generation > asked.generation && !isRetry) return yield* again
      const buried = Renewal.bury(
        Session.update(asked, { intent: session.intent }),
        error.reason.detail,
        memory.now()
      )
      yield* Effect.ignore(store.writeAnswer(kept, buried, epoch))
      return yield* memory.ended(kept, buried)
    }
    // The mark stays where the IAM may have acted; elsewhere it is as it was before.
    if (Renewal.isConsumable(asked) && !Renewal.mayHaveActed(error)) {
      yield* Effect.ignore(store.write(kept, Session.update(asked, { intent: session.intent }), epoch))
    }
    return yield* error
  })

  /** Writes down that a renewal is about to be sent, if sending can use up the grant. */
  const mark = (kept: Kept, session: Session.Session, target: Renewal.Target, epoch: number) =>
    Renewal.isConsumable(session)
      ? store.write(
        kept,
        Session.update(session, {
          intent: Option.some(Session.Intent.make({ at: memory.now(), selection: target.selection, holder }))
        }),
        epoch
      )
      : Effect.succeed(session)

  /** An answer came home and somebody had written meanwhile: theirs stands. If they signed out, so is the answer. */
  const displaced = Effect.fnUntraced(function*(kept: Kept, answer: Session.Session): Effect.fn.Return<
    Session.Session,
    AuthError
  > {
    if (kept.session?.durable !== false) store.absorb(kept, yield* store.read(kept))
    if (kept.session !== undefined) return kept.session
    yield* Effect.ignore(revoke(answer))
    return yield* memory.notAuthenticated(kept)
  })

  const notRevoked = (reason: string) => Effect.succeed(Revocation.cases.NotRevoked.make({ reason }))

  const revoke = (session: Session.Session): Effect.Effect<Revocation> =>
    session.strategy === "environment"
      ? notRevoked("a token of the environment is not ours to revoke")
      : iam.revoke(session).pipe(
        Effect.timeoutOrElse({
          duration: policy.timeLimit,
          orElse: () => notRevoked("the IAM did not answer in time")
        }),
        Effect.catch((error) => notRevoked(error.message))
      )

  return { attempt, revoke }
}
