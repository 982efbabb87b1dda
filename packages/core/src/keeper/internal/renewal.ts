/**
 * One renewal, from the decision until the answer is durable. It runs while nobody else changes the entry, under the lock
 * of the session, and nothing interrupts it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import { isError } from "effect/Predicate"
import type * as Random from "effect/Random"
import * as Result from "effect/Result"
import type { AuthError } from "../../AuthError.ts"
import type { IamClient } from "../../iam/IamClient.ts"
import { IamError, Malformed, Unavailable } from "../../iam/IamError.ts"
import * as IamHttp from "../../iam/IamHttp.ts"
import type * as RefreshPolicy from "../../session/RefreshPolicy.ts"
import type * as Selection from "../../session/Selection.ts"
import * as Session from "../../session/Session.ts"
import { Deadline } from "../../storage/SessionLock.ts"
import * as RenewalMetrics from "../RenewalMetrics.ts"
import * as Decision from "./decision.ts"
import type { Entries, Entry } from "./entry.ts"
import type { Persistence } from "./persistence.ts"
import type { Revoke } from "./revocation.ts"

export type Renewal = ReturnType<typeof make>

// How often one renewal looks again because somebody wrote between its look and its intent.
const mostLooks = 16

// How long one renewal waits under the lock, in milliseconds. Who takes the lock over from one that died has it when that
// one's lease ends, and its intent, which was written a little later, is a little too young then.
const shortly = 1000

/** `lease` is how long the lock outlives a holder that died, in milliseconds. */
export const make = (options: {
  readonly iam: IamClient["Service"]
  readonly policy: RefreshPolicy.RefreshPolicy
  readonly random: typeof Random.Random.Service
  readonly entries: Entries
  readonly persistence: Persistence
  readonly revoke: Revoke
  readonly holder: string
  readonly lease: number
}) => {
  const { entries, holder, iam, lease, persistence, policy, random, revoke } = options
  const timeLimit = Duration.toMillis(policy.timeLimit)

  const unavailable = (sent: "no" | "maybe", detail: string, retryAfter?: Duration.Duration) =>
    new IamError({
      issuer: iam.issuer,
      method: "renew",
      reason: new Unavailable({ sent, detail, ...(retryAfter === undefined ? {} : { retryAfter }) })
    })

  /** Tells the client that connects of the time limit, and of the lock's end if that is nearer. */
  const toldTheTime = <A, E>(sent: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const until = entries.nowMillis() + timeLimit
      return Effect.updateService(sent, Deadline, (left) => () => Math.min(left(), until - entries.nowMillis()))
    })

  const send = (
    session: Session.Session,
    selection: Selection.Selection
  ): Effect.Effect<Session.TokenResponse, IamError> =>
    iam.renew(session, selection).pipe(
      toldTheTime,
      IamHttp.inTime(
        policy.timeLimit,
        () => unavailable("maybe", `no answer within ${Duration.format(policy.timeLimit)}`)
      ),
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

  /** Whether the session that a renewal was begun for still stands. */
  const stands = (entry: Entry, login: number): boolean =>
    entry.session !== undefined && entry.login === login && entry.removals === 0

  /**
   * From the decision until the answer is durable; nothing where another login stands than the target's. `aim` says what a
   * session is renewed for as it is under the lock, or that it needs no renewal.
   */
  const renew = Effect.fnUntraced(function*(
    entry: Entry,
    aim: (session: Session.Session) => Decision.Target | undefined
  ): Effect.fn.Return<Session.Session | undefined, AuthError> {
    for (let looks = 0; looks < mostLooks; looks++) {
      yield* Effect.catchIf(
        persistence.reconcile(entry),
        (error) => error.reason._tag !== "StorageNewerVersion" && entry.session !== undefined,
        (error) =>
          Effect.logWarning(`${entry.key.label}: the storage could not be brought up to date: ${error.message}`)
      )
      const { session } = entry
      if (session === undefined || entry.removals > 0) return yield* entries.notAuthenticated(entry)
      const target = aim(session)
      if (target === undefined) return session
      if (Session.login(session) !== target.login) return undefined
      const verdict = Decision.forRenewal(policy, session, target, {
        now: entries.now(),
        lease,
        seenFor: entries.intentSeenFor(entry),
        isRefused: entries.isRefused(entry)
      })
      switch (verdict._tag) {
        case "Made":
          if (target.makeCurrent && !Decision.isCurrent(session, target)) {
            yield* Effect.ignore(
              persistence.amend(entry, target.login, (held) => Session.update(held, { current: target.selection })),
              { log: "Warn" }
            )
          }
          return entry.session
        case "Ended":
          return yield* entries.ended(entry, session)
        case "Wait": {
          const left = Duration.millis(verdict.until - entries.nowMillis())
          if (verdict.isForLease && Duration.toMillis(left) <= shortly) {
            yield* Effect.sleep(left)
            continue
          }
          return yield* unavailable(
            "no",
            "the answer to an earlier renewal may still come or was lost, and a valid token is left",
            left
          )
        }
        case "Send":
      }
      const asked = yield* Effect.result(license(entry, session, target))
      if (Result.isSuccess(asked)) return yield* present(entry, target, session, asked.success, verdict.licence)
      if (!persistence.isConflict(asked.failure)) return yield* asked.failure
      yield* Metric.update(RenewalMetrics.fenced, 1)
    }
    return yield* unavailable("no", "other programs kept changing the stored session")
  })

  /** The licence to present a refresh token: an intent, stored where anybody else could have the token. */
  const license = Effect.fnUntraced(function*(entry: Entry, session: Session.Session, target: Decision.Target) {
    if (!Decision.isConsumable(session)) return session
    const now = entries.now()
    const previous = Option.getOrUndefined(session.intent)
    const intended = Session.update(session, {
      intent: Option.some(Session.Intent.make({
        at: now,
        selection: target.selection,
        holder,
        nonce: `${random.nextIntUnsafe()}`,
        ...(previous === undefined ? {} : {
          presentations: (previous.presentations ?? 1) + 1,
          firstAt: previous.firstAt ?? previous.at
        })
      }))
    })
    const { unsaved } = entry
    const isPrivate = !session.durable ||
      (unsaved !== undefined && !unsaved.isUnknown && Duration.toMillis(policy.reuseGrace) === 0)
    if (!isPrivate) return yield* persistence.write(entry, intended)
    if (unsaved === undefined) entries.hold(entry, intended, entry.storedGeneration)
    else entries.holdUnsaved(entry, intended, unsaved)
    return intended
  })

  /** The last look, then the request, then what its outcome means. */
  const present = Effect.fnUntraced(function*(
    entry: Entry,
    target: Decision.Target,
    before: Session.Session,
    asked: Session.Session,
    licence: Decision.Licence
  ): Effect.fn.Return<Session.Session | undefined, AuthError> {
    const left = (yield* Deadline)()
    if (left < timeLimit) {
      yield* withdraw(entry, before, asked)
      return yield* unavailable("no", "the lock of the session would end before an answer could come")
    }
    if (!stands(entry, target.login)) {
      yield* withdraw(entry, before, asked)
      return yield* entries.notAuthenticated(entry)
    }
    if (licence === "grace" && !Decision.isInGrace(policy, Option.getOrThrow(before.intent), entries.now())) {
      yield* withdraw(entry, before, asked)
      return yield* unavailable("no", "the IAM's grace for a lost answer has passed")
    }
    const presentation = Option.match(asked.intent, {
      onNone: () => 1,
      onSome: ({ presentations = 1 }) => presentations
    })
    yield* Effect.annotateCurrentSpan({ presented: presentation })
    if (presentation > 1) yield* Metric.update(RenewalMetrics.presentedAgain, 1)

    const answer = yield* Effect.result(send(asked, target.selection))
    if (Result.isFailure(answer)) return yield* refused(entry, target, before, asked, answer.failure)

    const merged = Decision.merge(asked, target, answer.success, entries.now())
    const next = yield* bought(merged, asked, presentation)
    if (entry.session === undefined || entry.login !== target.login) {
      // Somebody signed out, or in, without waiting for this answer: nobody else has it, and nobody wants it.
      yield* revoke(next)
      return yield* entries.notAuthenticated(entry)
    }
    yield* persistence.writeAnswer(entry, asked, next)
    if (entry.session !== undefined && entry.login === target.login) return entry.session
    return entry.session === undefined ? yield* entries.notAuthenticated(entry) : undefined
  })

  /** Notes the presentation where one refresh token can be answered twice. */
  const bought = Effect.fnUntraced(function*(next: Session.Session, asked: Session.Session, presentation: number) {
    const price = Decision.priceOf(asked)
    const isOnce = asked.rotates === false || (presentation === 1 && Duration.toMillis(policy.reuseGrace) === 0)
    if (price === undefined || isOnce) {
      return next.boughtWith === undefined ? next : Session.update(next, { boughtWith: undefined })
    }
    const token = yield* persistence.nameOf(price)
    return Session.update(next, { boughtWith: Session.Purchase.make({ token, presentation }) })
  })

  /** What others made of the session meanwhile. */
  const lookAgain = (entry: Entry) =>
    Effect.ignore(Effect.map(persistence.look(entry), (found) => persistence.absorb(entry, found)))

  /** Nothing was spent: the intent is as it was before, also in a document that a sibling amended meanwhile. */
  const withdraw = Effect.fnUntraced(function*(entry: Entry, before: Session.Session, asked: Session.Session) {
    for (let looks = 0; looks < mostLooks; looks++) {
      const held = entry.session
      if (held === undefined || asked === before || !isSameIntent(held, asked)) return
      const next = Session.update(held, { intent: before.intent })
      const { unsaved } = entry
      if (unsaved !== undefined) return entries.holdUnsaved(entry, next, unsaved)
      const written = yield* Effect.result(persistence.write(entry, next))
      if (Result.isSuccess(written) || !persistence.isConflict(written.failure)) return
      yield* lookAgain(entry)
    }
  })

  const isSameIntent = (one: Session.Session, other: Session.Session): boolean =>
    Option.getOrUndefined(one.intent)?.nonce === Option.getOrUndefined(other.intent)?.nonce

  const refused = Effect.fnUntraced(function*(
    entry: Entry,
    target: Decision.Target,
    before: Session.Session,
    asked: Session.Session,
    error: IamError
  ): Effect.fn.Return<Session.Session | undefined, AuthError> {
    if (error.reason._tag === "GrantDead") return yield* bury(entry, target, before, asked, error.reason.detail)
    // The intent stays where the IAM may have acted.
    if (!Decision.isConsumable(asked) || !Decision.mayHaveActed(error)) yield* withdraw(entry, before, asked)
    else if (error.reason._tag !== "SelectionRefused") yield* Metric.update(RenewalMetrics.answersLost, 1)
    return yield* error
  })

  /** The grant was refused for good. What another login or another refresh token made of the session stands. */
  const bury = Effect.fnUntraced(function*(
    entry: Entry,
    target: Decision.Target,
    before: Session.Session,
    asked: Session.Session,
    detail: string
  ): Effect.fn.Return<Session.Session | undefined, AuthError> {
    const price = Decision.priceOf(asked)
    const name = price === undefined ? undefined : yield* persistence.nameOf(price)
    for (let looks = 0; looks < mostLooks; looks++) {
      if (entry.session?.durable === true) yield* lookAgain(entry)
      const held = entry.session
      if (held === undefined || entry.removals > 0) return yield* entries.notAuthenticated(entry)
      if (Session.login(held) !== target.login) return undefined
      if (Option.isSome(held.dead)) return yield* entries.ended(entry, held)
      if (!Session.isSameRefreshToken(held.grant, asked.grant) && asked.grant._tag === "RefreshToken") {
        // A sibling renewed: its token serves if it is good, and the next attempt sends its grant.
        return undefined
      }
      const answerLost = Option.isSome(before.intent) || (before.boughtWith?.presentation ?? 1) > 1
      const buried = Decision.bury(held, { detail, answerLost, name }, entries.now())
      const written = yield* Effect.result(persistence.write(entry, buried))
      if (Result.isSuccess(written)) return yield* entries.ended(entry, buried)
      if (persistence.isConflict(written.failure)) continue
      const { unsaved } = entry
      entries.holdUnsaved(entry, buried, {
        kind: unsaved?.kind ?? "answer",
        bought: [...unsaved?.bought ?? [], ...(price === undefined ? [] : [price])],
        replaced: unsaved?.replaced ?? [],
        found: unsaved?.found ?? 0,
        isUnknown: written.failure.written === "maybe",
        cause: written.failure.message
      })
      return yield* entries.ended(entry, buried)
    }
    return yield* unavailable("no", "other programs kept changing the stored session")
  })

  return { renew }
}
