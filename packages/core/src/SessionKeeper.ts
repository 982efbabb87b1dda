/**
 * The one place that renews, writes and drops sessions.
 *
 * A caller is handed a token from memory as long as it is fresh. Otherwise it joins the one renewal of its grant, which
 * belongs to the keeper, not to the caller: it takes the lock of the session, reads the storage again, uses what a
 * sibling made in the meantime, and only else asks the IAM. What the IAM answers is written before it is handed out.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import {
  type AuthError,
  IamError,
  Malformed,
  NotAuthenticated,
  ReauthenticationRequired,
  type SessionLockError,
  type TokenStorageError,
  Unavailable
} from "./AuthError.ts"
import { IamClient, type Issued, Revocation } from "./IamClient.ts"
import { Kept } from "./internal/kept.ts"
import * as Renewal from "./internal/renewal.ts"
import * as Scheduler from "./internal/scheduler.ts"
import { Nap } from "./Nap.ts"
import * as RefreshPolicy from "./RefreshPolicy.ts"
import * as Selection from "./Selection.ts"
import * as Session from "./Session.ts"
import { Holder, SessionLock } from "./SessionLock.ts"
import { SessionState } from "./SessionState.ts"
import * as TokenSet from "./TokenSet.ts"
import { TokenStorage } from "./TokenStorage.ts"

/**
 * A session in the hands of the keeper, as `SessionKeeper.open` gives it.
 *
 * @category models
 * @since 0.1.0
 */
export type { Kept } from "./internal/kept.ts"

/**
 * Keeps any number of sessions of one IAM, with one scheduler fiber and one watcher of the storage.
 *
 * - `open` names the session to work on; it reads nothing.
 * - `token` is valid now, for the current selection; `tokenFor` for another one, which does not become current.
 * - `session` is what is known of the session, read from the storage at first use; `isAlive` whether it can produce a
 *   token, without a request.
 * - `renew` renews now; a `selection` becomes the current one. With `rejected`, the token that an API refused, it only
 *   renews when that token is still the one in use.
 * - `replace` puts a newly obtained session in the place of the kept one. When the storage cannot be written it fails,
 *   and the session lives on in memory.
 * - `amend` changes what is known of a session (its user), not its tokens.
 * - `remove` drops the session, here and in the storage, and revokes it at the IAM if asked to.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionKeeper extends Context.Service<SessionKeeper, {
  readonly open: (key: Session.SessionKey) => Kept
  readonly token: (kept: Kept) => Effect.Effect<TokenSet.TokenSet, AuthError>
  readonly tokenFor: (kept: Kept, asked: Selection.Input) => Effect.Effect<TokenSet.TokenSet, AuthError>
  readonly session: (kept: Kept) => Effect.Effect<Option.Option<Session.Session>, TokenStorageError>
  readonly isAlive: (kept: Kept) => Effect.Effect<boolean, TokenStorageError>
  readonly renew: (
    kept: Kept,
    options?: { readonly selection?: Selection.Input; readonly rejected?: TokenSet.TokenSet }
  ) => Effect.Effect<Session.Session, AuthError>
  readonly replace: (
    kept: Kept,
    session: Session.Session
  ) => Effect.Effect<Session.Session, TokenStorageError | SessionLockError>
  readonly amend: (
    kept: Kept,
    change: (session: Session.Session) => Session.Session
  ) => Effect.Effect<void, TokenStorageError | SessionLockError>
  readonly remove: (
    kept: Kept,
    options: { readonly revoke: boolean }
  ) => Effect.Effect<Revocation, TokenStorageError | SessionLockError>
  readonly changes: (kept: Kept) => Stream.Stream<SessionState>
}>()("@effect-authn/core/SessionKeeper") {}

// How often one call of a caller that has no valid token asks an IAM that is not available.
const attemptsPerCall = 3

/**
 * Builds the keeper. It reads and sends nothing before the first call, and waits for a renewal under way when its scope
 * closes, at most the policy's `timeLimit`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const iam = yield* IamClient
  const storage = yield* TokenStorage
  const lock = yield* SessionLock
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const nap = yield* Nap
  const holder = yield* Holder
  const scope = yield* Effect.scope
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const feed = yield* PubSub.sliding<{ readonly kept: Kept; readonly state: SessionState }>(1024)
  const { policy } = iam
  const sessions = new Map<string, Kept>()

  const nowMillis = () => clock.currentTimeMillisUnsafe()
  const now = () => DateTime.makeUnsafe(nowMillis())

  // ---------------------------------------------------------------------------------------------------------------
  // what memory holds, and who is told
  // ---------------------------------------------------------------------------------------------------------------

  const stateOf = (kept: Kept): SessionState => {
    const { session } = kept
    if (session === undefined || kept.leaving > 0) return SessionState.SignedOut({ detail: kept.detail })
    if (!Session.isAlive(session, now()) || Option.isSome(session.dead)) {
      return SessionState.ReauthenticationRequired({ session, ...Renewal.ending(session) })
    }
    if (kept.isRenewing) return SessionState.Renewing({ session })
    if (kept.failure !== undefined) {
      const nextAttempt = DateTime.makeUnsafe(Math.min(kept.retryAt, maxTime))
      return SessionState.Stale({ session, cause: kept.failure.message, nextAttempt })
    }
    return SessionState.SignedIn({ session, unsaved: kept.unsaved })
  }

  /** When the scheduler has to look at a session again. */
  const dueAt = (kept: Kept): number => {
    const { session } = kept
    if (session === undefined || kept.leaving > 0 || kept.isRenewing) return Number.POSITIVE_INFINITY
    return Math.min(kept.flushAt, renewalDueAt(kept, session))
  }

  const renewalDueAt = (kept: Kept, session: Session.Session): number => {
    const tokens = Option.getOrUndefined(Session.currentToken(session))
    if (tokens === undefined || Option.isNone(tokens.expiresAt)) return Number.POSITIVE_INFINITY
    const expiresAt = DateTime.toEpochMillis(tokens.expiresAt.value)
    if (!Session.canRenew(session, now())) return expiresAt > nowMillis() ? expiresAt : Number.POSITIVE_INFINITY
    // Jitter moves the scheduler into the window, never in front of it: a policy may promise the bound to the millisecond.
    const fresh = RefreshPolicy.freshUntil(policy, tokens)
    return Math.max(fresh + 1 + (kept.jitter * (expiresAt - fresh)) / 10, kept.retryAt)
  }

  const settle = (kept: Kept): void => {
    const tokens = kept.session === undefined || kept.leaving > 0
      ? Option.none()
      : Session.currentToken(kept.session)
    kept.freshUntil = Option.isNone(tokens) ? Number.NEGATIVE_INFINITY : RefreshPolicy.freshUntil(policy, tokens.value)
    kept.hit = Option.isNone(tokens) ? kept.hit : Exit.succeed(tokens.value)
    PubSub.publishUnsafe(feed, { kept, state: stateOf(kept) })
    scheduler.arm(dueAt(kept))
  }

  const hold = (kept: Kept, session: Session.Session | undefined, unsaved?: string): void => {
    kept.session = session
    kept.unsaved = unsaved
    kept.flushAt = unsaved === undefined
      ? Number.POSITIVE_INFINITY
      : nowMillis() + Duration.toMillis(policy.backoff.longest)
    kept.jitter = random.nextDoubleUnsafe()
    kept.loaded = true
    settle(kept)
  }

  const notAuthenticated = (kept: Kept) =>
    new NotAuthenticated({ key: kept.key, ...(kept.detail === undefined ? {} : { detail: kept.detail }) })

  const ended = (kept: Kept, session: Session.Session) =>
    new ReauthenticationRequired({ key: kept.key, ...Renewal.ending(session) })

  // ---------------------------------------------------------------------------------------------------------------
  // the storage
  // ---------------------------------------------------------------------------------------------------------------

  const read = (kept: Kept): Effect.Effect<Option.Option<Session.Session>, TokenStorageError> =>
    Effect.catchReason(storage.get(kept.key), "TokenStorageError", "StorageCorrupt", (reason) => {
      kept.detail = reason.message
      return Effect.as(Effect.logWarning(`${kept.key}: ${reason.message}`), Option.none())
    })

  /** Takes up what the storage holds, unless memory knows better. */
  const absorb = (kept: Kept, stored: Option.Option<Session.Session>): void => {
    const { session } = kept
    kept.loaded = true
    if (session !== undefined && !session.durable) return
    if (Option.isSome(stored)) {
      kept.base = stored.value.generation
      if (session === undefined || stored.value.generation > session.generation) {
        clearFailure(kept)
        kept.detail = undefined
        hold(kept, stored.value)
      }
      return
    }
    // Absent means signed out, unless memory holds the first answer of all, which was never written.
    if (session === undefined || (kept.unsaved !== undefined && kept.base === 0)) return
    kept.base = 0
    kept.epoch += 1
    kept.detail = "signed out by another program"
    hold(kept, undefined)
  }

  /** Reads the storage, once for all who ask at the same time. */
  const load = (kept: Kept): Effect.Effect<void, TokenStorageError> =>
    Effect.suspend(() => {
      if (kept.detached) return Effect.void
      if (kept.loading !== undefined) return Deferred.await(kept.loading)
      const loading = kept.loading = Deferred.makeUnsafe<void, TokenStorageError>()
      watch()
      launch(
        Effect.map(read(kept), (stored) => {
          if (kept.leaving === 0) absorb(kept, stored)
        }),
        loading,
        () => {
          kept.loading = undefined
        }
      )
      return Deferred.await(loading)
    })

  /** Under the lock: memory as the storage has it, and the storage as memory has it where memory is ahead. */
  const reconcile = Effect.fnUntraced(function*(kept: Kept): Effect.fn.Return<void, TokenStorageError> {
    if (kept.session?.durable === false) return
    absorb(kept, yield* read(kept))
    if (kept.unsaved !== undefined && kept.session !== undefined) yield* write(kept, kept.session, kept.epoch)
  })

  /** Under the lock: writes, then publishes. A session that may not be stored is only published. */
  const write = Effect.fnUntraced(function*(
    kept: Kept,
    next: Session.Session,
    epoch: number
  ): Effect.fn.Return<Session.Session, TokenStorageError> {
    const generation = Session.nextGeneration(Math.max(kept.base, next.generation), now())
    const stamped = Session.update(next, { generation })
    if (stamped.durable) {
      yield* storage.put(kept.key, stamped, kept.base)
      kept.base = generation
    }
    if (kept.epoch === epoch) hold(kept, stamped)
    return stamped
  })

  /** `write` for an answer of the IAM: what cannot be written is kept in memory, where it is the only copy. */
  const writeAnswer = (kept: Kept, next: Session.Session, epoch: number) =>
    Effect.catch(write(kept, next, epoch), (error) => {
      if (error.reason._tag === "StorageConflict" || kept.epoch !== epoch) return Effect.fail(error)
      const generation = Session.nextGeneration(Math.max(kept.base, next.generation), now())
      const stamped = Session.update(next, { generation })
      hold(kept, stamped, error.message)
      return Effect.as(
        Effect.logError(
          `${kept.key}: renewed, but the new tokens could not be stored and live in memory only: ${error}`
        ),
        stamped
      )
    })

  // ---------------------------------------------------------------------------------------------------------------
  // one renewal
  // ---------------------------------------------------------------------------------------------------------------

  const clearFailure = (kept: Kept): void => {
    kept.failures = 0
    kept.failure = undefined
    kept.retryAt = Number.NEGATIVE_INFINITY
  }

  const recordFailure = (kept: Kept, target: Renewal.Target, error: AuthError): void => {
    if (error._tag === "NotAuthenticated" || error._tag === "ReauthenticationRequired") return clearFailure(kept)
    const isRefused = error._tag === "IamError" && error.reason._tag === "SelectionRefused"
    // That another selection is refused says nothing about the one in use.
    if (isRefused && kept.session !== undefined && !Renewal.isCurrent(kept.session, target)) return
    kept.failures += 1
    kept.failure = error
    const wish = error._tag === "IamError" && error.reason._tag === "Unavailable" && error.reason.retryAfter
    const backoff = RefreshPolicy.backoffMillis(policy, kept.failures, random.nextDoubleUnsafe())
    kept.retryAt = nowMillis() + Math.ceil(Math.max(backoff, wish ? Duration.toMillis(wish) : 0))
  }

  const unavailable = (sent: "no" | "maybe", detail: string, retryAfter?: Duration.Duration) =>
    new IamError({
      issuer: iam.issuer,
      method: "renew",
      reason: new Unavailable({ sent, detail, ...(retryAfter === undefined ? {} : { retryAfter }) })
    })

  const send = (session: Session.Session, selection: Selection.Selection): Effect.Effect<Issued, IamError> =>
    iam.renew(session, selection).pipe(
      Effect.timeoutOrElse({
        duration: policy.timeLimit,
        orElse: () => Effect.fail(unavailable("maybe", `no answer within ${Duration.format(policy.timeLimit)}`))
      }),
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("the dialect failed while renewing", defect),
          Effect.fail(
            new IamError({
              issuer: iam.issuer,
              method: "renew",
              reason: new Malformed({ detail: "the dialect failed on it" })
            })
          )
        )
      )
    )

  /** Under the lock and uninterruptible: from the decision until the answer is durable. */
  const attempt = Effect.fnUntraced(function*(
    kept: Kept,
    target: Renewal.Target,
    isRetry = false
  ): Effect.fn.Return<Session.Session, AuthError> {
    yield* Effect.catch(
      reconcile(kept),
      (error) =>
        error.reason._tag === "StorageNewerVersion" || kept.session === undefined
          ? Effect.fail(error)
          : Effect.logWarning(`${kept.key}: the storage could not be brought up to date: ${error}`)
    )
    const { epoch, session } = kept
    if (session === undefined || kept.leaving > 0) return yield* notAuthenticated(kept)
    const verdict = Renewal.decide(policy, session, target, now())
    switch (verdict._tag) {
      case "Made":
        return target.makeCurrent && !Renewal.isCurrent(session, target)
          ? yield* writeAnswer(kept, Session.update(session, { current: target.selection }), epoch)
          : session
      case "Ended":
        return yield* ended(kept, session)
      case "Wait":
        return yield* unavailable("no", verdict.detail, Duration.millis(verdict.until - nowMillis()))
      case "Send":
    }

    const again = attempt(kept, target, true)
    const marked = yield* Effect.result(mark(kept, session, target, epoch))
    if (Result.isFailure(marked)) {
      if (marked.failure.reason._tag === "StorageConflict" && !isRetry) return yield* again
      const held = Session.tokenFor(session, target.selection)
      if (Option.exists(held, (tokens) => TokenSet.isValid(tokens, now())) && !target.rejected) {
        return yield* marked.failure
      }
    }
    const asked = Result.isSuccess(marked) ? marked.success : session

    const answer = yield* Effect.result(send(asked, target.selection))
    if (Result.isSuccess(answer)) {
      const next = Renewal.merge(asked, target, answer.success, now())
      const written = yield* Effect.result(writeAnswer(kept, next, epoch))
      if (Result.isSuccess(written)) return written.success
      return yield* displaced(kept, next)
    }

    const error = answer.failure
    if (error.reason._tag === "GrantDead") {
      yield* Effect.ignore(reconcile(kept))
      if (kept.session === undefined) return yield* notAuthenticated(kept)
      if (kept.epoch === epoch && kept.session.generation > asked.generation && !isRetry) return yield* again
      const buried = Renewal.bury(
        Session.update(asked, { intent: session.intent }),
        error.reason.detail,
        now()
      )
      yield* Effect.ignore(writeAnswer(kept, buried, epoch))
      return yield* ended(kept, buried)
    }
    // The mark stays where the IAM may have acted; elsewhere it is as it was before.
    if (Renewal.isConsumable(asked) && !Renewal.mayHaveActed(error)) {
      yield* Effect.ignore(write(kept, Session.update(asked, { intent: session.intent }), epoch))
    }
    return yield* error
  })

  /** Writes down that a renewal is about to be sent, if sending can use up the grant. */
  const mark = (kept: Kept, session: Session.Session, target: Renewal.Target, epoch: number) =>
    Renewal.isConsumable(session)
      ? write(
        kept,
        Session.update(session, {
          intent: Option.some(Session.Intent.make({ at: now(), selection: target.selection, holder }))
        }),
        epoch
      )
      : Effect.succeed(session)

  /** An answer came home and somebody had written meanwhile: theirs stands. If they signed out, so is the answer. */
  const displaced = Effect.fnUntraced(function*(kept: Kept, answer: Session.Session): Effect.fn.Return<
    Session.Session,
    AuthError
  > {
    if (kept.session?.durable !== false) absorb(kept, yield* read(kept))
    if (kept.session !== undefined) return kept.session
    yield* Effect.ignore(revoke(answer))
    return yield* notAuthenticated(kept)
  })

  // ---------------------------------------------------------------------------------------------------------------
  // who runs what
  // ---------------------------------------------------------------------------------------------------------------

  /** Runs in the keeper's scope and context, whoever asked and whether or not they stay. */
  const launch = <A, E>(effect: Effect.Effect<A, E>, deferred: Deferred.Deferred<A, E>, done: () => void): void => {
    const fiber = Fiber.runIn(runFork(effect), scope)
    fiber.addObserver((exit) => {
      done()
      Deferred.doneUnsafe(deferred, exit)
    })
  }

  const exclusively = (kept: Kept, durable: boolean) => <A, E>(effect: Effect.Effect<A, E>) =>
    durable
      ? lock.withLock(kept.key, "renew")(Effect.uninterruptible(effect))
      : kept.semaphore.withPermit(Effect.uninterruptible(effect))

  const run = <A, E>(kept: Kept, durable: boolean, effect: Effect.Effect<A, E>, done = () => {}) =>
    Effect.suspend(() => {
      const deferred = Deferred.makeUnsafe<A, E | SessionLockError>()
      launch(exclusively(kept, durable)(effect), deferred, done)
      return Deferred.await(deferred)
    })

  /** Joins the renewal for this selection, or starts it. */
  const join = (kept: Kept, target: Renewal.Target): Deferred.Deferred<Session.Session, AuthError> => {
    const id = Selection.id(target.selection)
    const flights = kept.flights ??= new Map()
    const flying = flights.get(id)
    if (flying !== undefined) return flying
    const flight = Deferred.makeUnsafe<Session.Session, AuthError>()
    flights.set(id, flight)
    settle(kept)
    const renewal = exclusively(kept, kept.session?.durable !== false)(attempt(kept, target)).pipe(
      Effect.tap(() => Effect.sync(() => clearFailure(kept))),
      Effect.tapError((error) => {
        recordFailure(kept, target, error)
        return Effect.logWarning(`${kept.key}: not renewed: ${error.message}`)
      }),
      Effect.withSpan("SessionKeeper.renew", {
        root: true,
        attributes: { issuer: kept.key.issuer, account: kept.key.account, selection: id }
      })
    )
    launch(renewal, flight, () => {
      flights.delete(id)
      settle(kept)
    })
    return flight
  }

  const revoke = (session: Session.Session): Effect.Effect<Revocation> =>
    iam.revoke(session).pipe(
      Effect.timeoutOrElse({
        duration: policy.timeLimit,
        orElse: () => Effect.succeed(Revocation.cases.NotRevoked.make({ reason: "the IAM did not answer in time" }))
      }),
      Effect.catch((error) => Effect.succeed(Revocation.cases.NotRevoked.make({ reason: error.message })))
    )

  let watching = false
  const watch = (): void => {
    if (watching) return
    watching = true
    Fiber.runIn(
      runFork(Stream.runForEach(storage.changes, (key) => {
        const kept = sessions.get(key.id)
        return kept === undefined || !kept.loaded || kept.isRenewing || kept.leaving > 0
          ? Effect.void
          : Effect.ignore(load(kept))
      })),
      scope
    )
  }

  const scheduler = Scheduler.make({
    clock,
    nap,
    work: (at) => {
      let next = Number.POSITIVE_INFINITY
      for (const kept of sessions.values()) {
        if (dueAt(kept) <= at) startDue(kept)
        next = Math.min(next, dueAt(kept))
      }
      return next
    }
  })
  Fiber.runIn(runFork(scheduler.run), scope)

  const startDue = (kept: Kept): void => {
    const { session } = kept
    if (session === undefined) return
    if (kept.flushAt <= nowMillis()) {
      kept.flushAt = nowMillis() + Duration.toMillis(policy.backoff.longest)
      Fiber.runIn(runFork(Effect.ignore(exclusively(kept, session.durable)(reconcile(kept)))), scope)
    } else if (Session.canRenew(session, now())) {
      join(kept, {
        selection: session.current,
        seen: Session.currentToken(session),
        rejected: false,
        makeCurrent: false
      })
    } else settle(kept)
  }

  // ---------------------------------------------------------------------------------------------------------------
  // callers
  // ---------------------------------------------------------------------------------------------------------------

  /** The session, read from the storage if memory has none (or, with `reread`, in any case). */
  const known = (kept: Kept, reread = false): Effect.Effect<Session.Session | undefined, TokenStorageError> =>
    Effect.map(
      kept.leaving === 0 && (reread || !kept.loaded || kept.session === undefined) ? load(kept) : Effect.void,
      () => kept.leaving === 0 ? kept.session : undefined
    )

  /** A token that is valid now, when memory alone could not tell. */
  const obtain = Effect.fnUntraced(function*(
    kept: Kept,
    asked: Selection.Input | undefined
  ): Effect.fn.Return<TokenSet.TokenSet, AuthError> {
    let attempts = 0
    let reread = false
    while (true) {
      const session = yield* Effect.suspend(() => known(kept, reread))
      if (session === undefined) return yield* notAuthenticated(kept)
      const selection = asked === undefined ? session.current : Selection.refine(session.current, asked)
      const seen = Session.tokenFor(session, selection)
      const tokens = Option.getOrUndefined(seen)
      if (tokens !== undefined && Renewal.isFresh(policy, tokens, now())) return tokens
      const isValid = tokens !== undefined && TokenSet.isValid(tokens, now())
      if (!Session.canRenew(session, now())) {
        if (isValid) return tokens
        // Before saying no: perhaps somebody has signed in again, and no hint of it arrived.
        if (reread) return yield* ended(kept, session)
        reread = true
        continue
      }
      const pause = kept.retryAt - nowMillis()
      if (pause > 0) {
        if (isValid) return tokens
        const { failure } = kept
        if (failure !== undefined && (attempts === 0 || pause > Duration.toMillis(policy.timeLimit))) {
          return yield* failure
        }
        yield* Effect.sleep(Duration.millis(pause))
        continue
      }
      const flight = join(kept, { selection, seen, rejected: false, makeCurrent: false })
      if (isValid && !policy.renewFirst) return tokens
      const renewed = yield* Effect.result(Deferred.await(flight))
      if (Result.isSuccess(renewed)) {
        const made = Session.tokenFor(renewed.success, selection)
        if (Option.isSome(made)) return made.value
      } else {
        if (isValid && kept.session !== undefined && TokenSet.isValid(tokens, now())) return tokens
        const isPassing = renewed.failure._tag === "IamError" && renewed.failure.reason._tag === "Unavailable"
        attempts += 1
        if (!isPassing || attempts >= attemptsPerCall) return yield* renewed.failure
      }
    }
  })

  const token = (kept: Kept): Effect.Effect<TokenSet.TokenSet, AuthError> => {
    const slow = obtain(kept, undefined)
    return Effect.suspend(() => clock.currentTimeMillisUnsafe() <= kept.freshUntil ? kept.hit : slow)
  }

  return SessionKeeper.of({
    open: (key) => {
      const kept = sessions.get(key.id) ?? new Kept(key)
      sessions.set(key.id, kept)
      return kept
    },
    token,
    tokenFor: obtain,
    session: (kept) => Effect.map(Effect.suspend(() => known(kept)), Option.fromUndefinedOr),
    isAlive: (kept) =>
      Effect.map(
        Effect.suspend(() => known(kept)),
        (session) => session !== undefined && Session.isAlive(session, now())
      ),
    renew: Effect.fnUntraced(function*(kept, options) {
      const session = yield* known(kept)
      if (session === undefined) return yield* notAuthenticated(kept)
      const asked = options?.selection
      const rejected = options?.rejected
      const selection = asked === undefined ? session.current : Selection.refine(session.current, asked)
      const held = Session.tokenFor(session, selection)
      if (rejected !== undefined) {
        if (Option.exists(held, (tokens) => !TokenSet.isSame(tokens, rejected))) return session
        if (kept.failure !== undefined && kept.retryAt > nowMillis()) return yield* kept.failure
      }
      return yield* Deferred.await(join(kept, {
        selection,
        seen: held,
        rejected: rejected !== undefined,
        makeCurrent: asked !== undefined
      }))
    }),
    replace: (kept, session) =>
      run(
        kept,
        session.durable,
        Effect.gen(function*() {
          const stored = session.durable ? yield* read(kept) : Option.none()
          if (session.durable) kept.base = Option.match(stored, { onNone: () => 0, onSome: (held) => held.generation })
          kept.epoch += 1
          kept.detached = false
          kept.detail = undefined
          clearFailure(kept)
          if (session.generation > 0 && session.generation === kept.base) {
            hold(kept, session)
            return session
          }
          const next = Session.update(session, { generation: Math.max(kept.base, kept.session?.generation ?? 0) })
          return yield* Effect.tapError(write(kept, next, kept.epoch), (error) =>
            Effect.sync(() =>
              hold(kept, Session.update(next, { generation: next.generation + 1 }), error.message)
            ))
        })
      ),
    amend: (kept, change) =>
      run(
        kept,
        kept.session?.durable !== false,
        Effect.gen(function*() {
          yield* reconcile(kept)
          if (kept.session !== undefined) yield* write(kept, change(kept.session), kept.epoch)
        })
      ),
    remove: (kept, options) =>
      Effect.suspend(() => {
        // Signing out of a memory-only session leaves the storage alone; clearing the storage does not.
        const wasDurable = !options.revoke || kept.session?.durable !== false
        kept.leaving += 1
        kept.detail = undefined
        settle(kept)
        return run(
          kept,
          wasDurable,
          Effect.gen(function*() {
            const stored = wasDurable ? yield* read(kept) : Option.none()
            const newest = Option.filter(stored, ({ generation }) => generation > (kept.session?.generation ?? 0)).pipe(
              Option.orElse(() => Option.fromUndefinedOr(kept.session))
            )
            const revocation = !options.revoke || Option.isNone(newest)
              ? Revocation.cases.NotRevoked.make({
                reason: Option.isNone(newest) ? "nobody was signed in" : "the IAM was not asked to"
              })
              : yield* revoke(newest.value)
            if (Option.isSome(stored)) yield* storage.remove(kept.key, stored.value.generation)
            kept.session = undefined
            kept.unsaved = undefined
            kept.detached = !wasDurable
            if (wasDurable) kept.base = 0
            return revocation
          }),
          () => {
            kept.epoch += 1
            kept.leaving -= 1
            clearFailure(kept)
            settle(kept)
          }
        )
      }),
    changes: (kept) =>
      Stream.unwrap(
        Effect.map(PubSub.subscribe(feed), (subscription) =>
          Stream.concat(
            Stream.sync(() => stateOf(kept)),
            Stream.fromSubscription(subscription).pipe(
              Stream.filter((change) => change.kept === kept),
              Stream.map((change) => change.state)
            )
          ))
      )
  })
})

const maxTime = 8.64e15

/**
 * The keeper of the sessions of one IAM.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SessionKeeper, never, IamClient | TokenStorage | SessionLock> = Layer.effect(
  SessionKeeper,
  make
)
