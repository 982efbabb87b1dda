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
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { AuthError } from "../AuthError.ts"
import { IamClient, Revocation } from "../iam/IamClient.ts"
import * as Selection from "../session/Selection.ts"
import * as Session from "../session/Session.ts"
import type * as SessionKey from "../session/SessionKey.ts"
import type { SessionState } from "../session/SessionState.ts"
import * as TokenSet from "../session/TokenSet.ts"
import type { SessionLockError } from "../storage/SessionLock.ts"
import { Holder, SessionLock } from "../storage/SessionLock.ts"
import { TokenStorage } from "../storage/TokenStorage.ts"
import type { TokenStorageError } from "../storage/TokenStorageError.ts"
import { BackgroundSleep } from "./BackgroundSleep.ts"
import * as Attempt from "./internal/attempt.ts"
import * as Flights from "./internal/flights.ts"
import { Kept } from "./internal/kept.ts"
import * as Memory from "./internal/memory.ts"
import * as Pause from "./internal/pause.ts"
import * as Renewal from "./internal/renewal.ts"
import * as Scheduler from "./internal/scheduler.ts"
import * as Store from "./internal/store.ts"

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
 *   renews when that token is still the one in use, and the current selection stays.
 * - `replace` puts a newly obtained session in the place of the kept one. When the storage cannot be written it fails,
 *   and the session lives on in memory.
 * - `amend` changes what is known of a session (its user), not its tokens.
 * - `remove` drops the session, here and in the storage, and revokes it at the IAM if asked to.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionKeeper extends Context.Service<SessionKeeper, {
  readonly open: (key: SessionKey.SessionKey) => Kept
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
}>()("@effect-authn/core/keeper/SessionKeeper") {}

const isPassing = (error: AuthError): boolean => error._tag === "IamError" && error.reason._tag === "Unavailable"

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
  const nap = yield* BackgroundSleep
  const holder = yield* Holder
  const scope = yield* Effect.scope
  const feed = yield* PubSub.sliding<{ readonly kept: Kept; readonly state: SessionState }>(1024)
  const { policy } = iam
  const sessions = new Map<string, Kept>()

  const memory: Memory.Memory = Memory.make({
    policy,
    clock,
    random,
    changed: (kept) => {
      PubSub.publishUnsafe(feed, { kept, state: memory.stateOf(kept) })
      scheduler.arm(kept, memory.dueAt(kept))
    }
  })
  const store = Store.make(storage, memory)
  const renewal = Attempt.make({ iam, memory, store, holder })

  const flights = Flights.make({
    find: (id) => sessions.get(id),
    memory,
    store,
    attempt: renewal.attempt,
    changes: storage.changes,
    lock,
    scope,
    fork: Effect.runForkWith(yield* Effect.context())
  })
  const { join, load, run } = flights

  const scheduler = Scheduler.make({
    clock,
    nap,
    work: (kept) => {
      startDue(kept)
      scheduler.arm(kept, memory.dueAt(kept))
    },
    setBack: () => {
      for (const kept of sessions.values()) scheduler.arm(kept, memory.dueAt(kept))
    }
  })
  flights.start(scheduler.run)

  const startDue = (kept: Kept): void => {
    const { session } = kept
    if (session === undefined) return
    if (kept.unsaved !== undefined && Pause.remaining(kept.unsavedPause, memory.nowMillis()) === 0) {
      kept.unsavedPause = Pause.start(memory.nowMillis(), Duration.toMillis(policy.backoff.longest))
      flights.start(Effect.ignore(run(kept, session.durable, store.reconcile(kept))))
    } else if (Session.canRenew(session, memory.now())) {
      join(kept, {
        selection: session.current,
        seen: Session.currentToken(session),
        rejected: false,
        makeCurrent: false
      })
    } else memory.settle(kept)
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

  /** A token that is valid now, when memory alone could not tell; after `attempts` that failed. */
  const obtain = Effect.fnUntraced(function*(
    kept: Kept,
    asked: Selection.Input | undefined,
    attempts = 0
  ): Effect.fn.Return<TokenSet.TokenSet, AuthError> {
    let reread = false
    while (true) {
      const session = yield* known(kept, reread)
      const shared = asked === undefined && attempts === 0 ? landing(kept) : undefined
      if (shared !== undefined) return yield* shared
      if (session === undefined) return yield* memory.notAuthenticated(kept)
      const now = memory.now()
      const selection = asked === undefined ? session.current : Selection.refine(session.current, asked)
      const seen = Session.tokenFor(session, selection)
      const tokens = Option.getOrUndefined(seen)
      if (tokens !== undefined && Renewal.isFresh(policy, tokens, now)) return tokens
      const isValid = tokens !== undefined && TokenSet.isValid(tokens, now)
      if (!Session.canRenew(session, now)) {
        if (isValid) return tokens
        // Before saying no: perhaps somebody has signed in again, and no hint of it arrived.
        if (reread) return yield* memory.ended(kept, session)
        reread = true
        continue
      }
      const pause = Pause.remaining(kept.pause, memory.nowMillis())
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
      if (asked === undefined && !isValid && !Deferred.isDoneUnsafe(flight)) land(kept, flight, selection)
      const renewed = yield* Effect.result(Deferred.await(flight))
      if (Result.isSuccess(renewed)) {
        const made = Session.tokenFor(renewed.success, selection)
        if (Option.isSome(made)) return made.value
      } else {
        if (isValid && kept.session !== undefined && TokenSet.isValid(tokens, memory.now())) return tokens
        attempts += 1
        if (!isPassing(renewed.failure) || attempts >= attemptsPerCall) return yield* renewed.failure
      }
    }
  })

  /** Lets those who come later wait for the same renewal without a further look, for as long as nothing changes. */
  const land = (
    kept: Kept,
    flight: Deferred.Deferred<Session.Session, AuthError>,
    selection: Selection.Selection
  ): void => {
    kept.landing = {
      since: memory.nowMillis(),
      tokens: Effect.matchEffect(Deferred.await(flight), {
        onFailure: (error) => isPassing(error) ? obtain(kept, undefined, 1) : Effect.fail(error),
        onSuccess: (session) =>
          Option.match(Session.tokenFor(session, selection), {
            onNone: () => obtain(kept, undefined),
            onSome: Effect.succeed
          })
      })
    }
  }

  // By a clock that was set back, the token may be valid again.
  const landing = ({ landing }: Kept): Effect.Effect<TokenSet.TokenSet, AuthError> | undefined =>
    landing !== undefined && clock.currentTimeMillisUnsafe() >= landing.since ? landing.tokens : undefined

  const token = (kept: Kept): Effect.Effect<TokenSet.TokenSet, AuthError> => {
    const slow = obtain(kept, undefined)
    return Effect.suspend(() => clock.currentTimeMillisUnsafe() <= kept.freshUntil ? kept.hit : landing(kept) ?? slow)
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
        (session) => session !== undefined && Session.isAlive(session, memory.now())
      ),
    renew: Effect.fnUntraced(function*(kept, options) {
      const session = yield* known(kept)
      if (session === undefined) return yield* memory.notAuthenticated(kept)
      const asked = options?.selection
      const rejected = options?.rejected
      const selection = asked === undefined ? session.current : Selection.refine(session.current, asked)
      const held = Session.tokenFor(session, selection)
      if (rejected !== undefined) {
        if (Option.exists(held, (tokens) => !TokenSet.isSame(tokens, rejected))) return session
        if (kept.failure !== undefined && Pause.remaining(kept.pause, memory.nowMillis()) > 0) {
          return yield* kept.failure
        }
      }
      return yield* Deferred.await(join(kept, {
        selection,
        seen: held,
        rejected: rejected !== undefined,
        makeCurrent: asked !== undefined && rejected === undefined
      }))
    }),
    replace: (kept, session) =>
      run(
        kept,
        session.durable,
        Effect.gen(function*() {
          const stored = session.durable ? yield* store.read(kept) : Option.none()
          // What was read from the storage may have been renewed or ended since: the storage knows better.
          if (session.durable && session.generation > 0 && Option.isNone(stored)) {
            return yield* store.conflict("put", session.generation, 0)
          }
          if (session.durable) kept.base = Option.match(stored, { onNone: () => 0, onSome: (held) => held.generation })
          kept.epoch += 1
          kept.detached = false
          kept.detail = undefined
          memory.clearFailure(kept)
          if (session.generation > 0 && Option.isSome(stored)) {
            memory.hold(kept, stored.value)
            return stored.value
          }
          const next = Session.update(session, { generation: Math.max(kept.base, kept.session?.generation ?? 0) })
          return yield* Effect.tapError(store.write(kept, next, kept.epoch), (error) =>
            Effect.sync(() =>
              memory.hold(kept, Session.update(next, { generation: next.generation + 1 }), error.message)
            ))
        })
      ),
    amend: (kept, change) =>
      run(
        kept,
        kept.session?.durable !== false,
        Effect.gen(function*() {
          yield* store.reconcile(kept)
          if (kept.session !== undefined) yield* store.write(kept, change(kept.session), kept.epoch)
        })
      ),
    remove: (kept, options) =>
      Effect.suspend(() => {
        // Signing out of a memory-only session leaves the storage alone; clearing the storage does not.
        const wasDurable = !options.revoke || kept.session?.durable !== false
        kept.leaving += 1
        kept.detail = undefined
        memory.settle(kept)
        return run(
          kept,
          wasDurable,
          Effect.gen(function*() {
            const stored = wasDurable ? yield* store.read(kept) : Option.none()
            const newest = Option.filter(stored, ({ generation }) => generation > (kept.session?.generation ?? 0)).pipe(
              Option.orElse(() => Option.fromUndefinedOr(kept.session))
            )
            const revocation = !options.revoke || Option.isNone(newest)
              ? Revocation.cases.NotRevoked.make({
                reason: Option.isNone(newest) ? "nobody was signed in" : "the IAM was not asked to"
              })
              : yield* renewal.revoke(newest.value)
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
            memory.clearFailure(kept)
            memory.settle(kept)
          }
        )
      }),
    changes: (kept) =>
      Stream.unwrap(
        Effect.map(PubSub.subscribe(feed), (subscription) =>
          Stream.concat(
            Stream.sync(() => memory.stateOf(kept)),
            Stream.fromSubscription(subscription).pipe(
              Stream.filter((change) => change.kept === kept),
              Stream.map((change) => change.state)
            )
          ))
      )
  })
})

/**
 * The keeper of the sessions of one IAM. Wherever it is provided it is another one: shared between two IAMs, it would send
 * the grants of one to the other.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SessionKeeper, never, IamClient | TokenStorage | SessionLock> = Layer.fresh(
  Layer.effect(SessionKeeper, make)
)
