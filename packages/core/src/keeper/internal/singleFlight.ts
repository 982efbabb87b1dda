/**
 * Who runs what: work on a session belongs to the keeper, whoever asked for it and whether or not they stay. It is read
 * once for all who ask at the same time, changed by one at a time, and renewed in a flight that callers join.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AuthError } from "../../AuthError.ts"
import type { RefreshPolicy } from "../../session/RefreshPolicy.ts"
import * as Selection from "../../session/Selection.ts"
import type * as Session from "../../session/Session.ts"
import { type SessionLock, SessionLockError } from "../../storage/SessionLock.ts"
import type { TokenStorage } from "../../storage/TokenStorage.ts"
import type { TokenStorageError } from "../../storage/TokenStorageError.ts"
import * as RenewalMetrics from "../RenewalMetrics.ts"
import type { Target } from "./decision.ts"
import type { Entries, Entry } from "./entry.ts"
import type { Persistence } from "./persistence.ts"
import type { Renewal } from "./renewal.ts"
import type { Flight } from "./trouble.ts"

export type SingleFlight = ReturnType<typeof make>

/** `fork` starts a fiber in the keeper's context. */
export const make = (options: {
  readonly entries: Entries
  readonly persistence: Persistence
  readonly renew: Renewal["renew"]
  readonly changes: TokenStorage["Service"]["changes"]
  readonly lock: SessionLock["Service"]
  readonly policy: RefreshPolicy
  readonly scope: Scope.Scope
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}) => {
  const { changes, entries, fork, lock, persistence, policy, renew, scope } = options

  /** Runs in the keeper's scope and context, whoever asked and whether or not they stay. */
  const launch = <A, E>(effect: Effect.Effect<A, E>, done: (exit: Exit.Exit<A, E>) => void): Fiber.Fiber<A, E> => {
    const fiber = Fiber.runIn(fork(effect), scope)
    fiber.addObserver(done)
    return fiber
  }

  /** Starts what nobody waits for. */
  const start = (effect: Effect.Effect<void>): void => {
    launch(effect, () => {})
  }

  // -------------------------------------------------------------------------------------------------------------------
  // reading
  // -------------------------------------------------------------------------------------------------------------------

  /** A renewal that has not begun ends, and whoever waits for it looks again. */
  const giveWay = (flight: Flight): void => {
    if (flight.hasBegun) return
    flight.hasGivenWay = true
    flight.fiber?.interruptUnsafe()
  }

  /** A sibling wrote while a renewal waits for the lock: who waits for it looks whether that serves. */
  const look = (entry: Entry): void => {
    for (const flight of entry.trouble?.flights?.values() ?? []) {
      if (flight.isServed()) giveWay(flight)
    }
  }

  /** Reads the storage, and takes up what is there unless somebody signs out here, or did. */
  const read = Effect.fnUntraced(function*(entry: Entry): Effect.fn.Return<void, TokenStorageError> {
    do {
      const found = yield* persistence.look(entry)
      if (entry.removals === 0 && !entry.forgotten && !entry.detached) persistence.absorb(entry, found)
      look(entry)
    } while (entries.hasHeard(entry))
  })

  /** Reads the storage, once for all who ask at the same time. */
  const load = (entry: Entry): Effect.Effect<void, TokenStorageError> =>
    Effect.suspend(() => {
      if (entry.detached || entry.session?.durable === false) return Effect.void
      const known = entry.trouble?.loading
      if (known !== undefined) return Deferred.await(known)
      const loading = Deferred.makeUnsafe<void, TokenStorageError>()
      entries.beganLoading(entry, loading)
      watch()
      launch(read(entry), (exit) => {
        entries.loaded(entry)
        Deferred.doneUnsafe(loading, exit)
      })
      return Deferred.await(loading)
    })

  let isWatching = false
  const watch = (): void => {
    if (isWatching) return
    isWatching = true
    start(Stream.runForEach(changes, (key) => {
      const entry = entries.find(key.id)
      // Who reads already reads again: that read may have begun before the write.
      return entry === undefined || entry.removals > 0 || entries.heard(entry) || !entry.loaded
        ? Effect.void
        : Effect.ignore(load(entry))
    }))
  }

  // -------------------------------------------------------------------------------------------------------------------
  // changing
  // -------------------------------------------------------------------------------------------------------------------

  const exclusively = (entry: Entry, isDurable: boolean) => <A, E>(effect: Effect.Effect<A, E>) =>
    entries.exclusively(entry)(
      isDurable
        ? lock.withLock(entry.key, "renew")(Effect.uninterruptible(effect))
        : Effect.uninterruptible(effect)
    )

  /** Begins work that belongs to the keeper: it goes on when who asked for it goes away. */
  const begin = <A, E>(effect: Effect.Effect<A, E>): Deferred.Deferred<A, E> => {
    const done = Deferred.makeUnsafe<A, E>()
    launch(effect, (exit) => {
      Deferred.doneUnsafe(done, exit)
    })
    return done
  }

  /** The same, and waits for it. */
  const own = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => Deferred.await(begin(effect)))

  /** Changes an entry, and the storage under its key where something durable is touched. */
  const change = <A, E>(
    entry: Entry,
    isDurable: boolean,
    effect: Effect.Effect<A, E>
  ): Effect.Effect<A, E | SessionLockError> =>
    Effect.suspend(() => {
      if (isDurable) watch()
      return own(exclusively(entry, isDurable)(effect))
    })

  /** The same for who does not wait longer for its turn and the lock than one request may take. */
  const changeInTime = <A, E>(
    entry: Entry,
    isDurable: boolean,
    effect: Effect.Effect<A, E>
  ): Effect.Effect<A, E | SessionLockError> =>
    Effect.suspend(() => {
      const began = Deferred.makeUnsafe<void>()
      const changed = Deferred.makeUnsafe<A, E | SessionLockError>()
      if (isDurable) watch()
      const fiber = launch(
        exclusively(entry, isDurable)(Effect.andThen(Deferred.succeed(began, undefined), effect)),
        (exit) => {
          Deferred.doneUnsafe(changed, exit)
        }
      )
      const inTime = Effect.timeoutOrElse(Deferred.await(began), {
        duration: policy.timeLimit,
        orElse: () =>
          Effect.sync(() => {
            const detail = `not free within ${Duration.format(policy.timeLimit)}`
            Deferred.doneUnsafe(
              changed,
              Effect.fail(new SessionLockError({ key: entry.key, purpose: "renew", detail }))
            )
            fiber.interruptUnsafe()
          })
      })
      return Effect.raceFirst(Effect.andThen(inTime, Effect.never), Deferred.await(changed))
    })

  // -------------------------------------------------------------------------------------------------------------------
  // renewing
  // -------------------------------------------------------------------------------------------------------------------

  /** A login or a logout does not wait for renewals that wait themselves. */
  const giveWayAll = (entry: Entry): void => {
    for (const flight of entry.trouble?.flights?.values() ?? []) giveWay(flight)
  }

  /**
   * Joins the renewal for this selection, or starts it. Nobody joins one of another login. The answer is the session, or
   * nothing where somebody else made a new one, and the caller is to look again. Where nobody has read the session yet,
   * `aim` is asked about it under the lock.
   */
  const join = (
    entry: Entry,
    aim: Target | ((session: Session.Session) => Target | undefined),
    isServed: () => boolean
  ): Deferred.Deferred<Session.Session | undefined, AuthError> => {
    let target = typeof aim === "function" ? undefined : aim
    const name = target === undefined ? "as it is stored" : entries.flightName(entry, target)
    const flying = entry.trouble?.flights?.get(name)
    if (flying !== undefined && !flying.hasGivenWay) return flying.landed
    const flight: Flight = {
      landed: Deferred.makeUnsafe(),
      isServed,
      hasBegun: false,
      hasGivenWay: false,
      fiber: undefined
    }
    entries.tookOff(entry, name, flight)
    const isDurable = entry.session?.durable !== false
    if (isDurable) watch()
    const flown = exclusively(entry, isDurable)(Effect.suspend(() => {
      flight.hasBegun = true
      return renew(entry, typeof aim === "function" ? (session) => target = aim(session) : () => aim)
    })).pipe(
      Effect.tap((session) => Effect.sync(() => session === undefined ? undefined : entries.renewed(entry))),
      Effect.tapError((error) => {
        entries.failed(entry, target, error)
        return Effect.logWarning(`${entry.key.label}: not renewed: ${error.message}`)
      }),
      RenewalMetrics.measured(() => target?.seen ?? Option.none(), entries.nowMillis),
      Effect.withSpan("SessionKeeper.renew", {
        root: true,
        attributes: {
          issuer: entry.key.issuer,
          account: entry.key.account,
          selection: target === undefined ? "" : Selection.id(target.selection),
          why: target?.why ?? "freshen"
        }
      }),
      Effect.annotateLogs({ issuer: entry.key.issuer, account: entry.key.account })
    )
    flight.fiber = launch(flown, (exit) => {
      entries.landed(entry, name, flight)
      Deferred.doneUnsafe(flight.landed, flight.hasGivenWay ? Exit.succeed(undefined) : exit)
    })
    return flight.landed
  }

  /** Writes what is in memory only while the program ends, within the time limit. */
  const saveAll = Effect.suspend(() =>
    Effect.forEach(
      Array.from(entries.all()).filter(({ unsaved }) => unsaved !== undefined),
      (entry) =>
        Effect.andThen(
          Effect.ignore(exclusively(entry, true)(persistence.reconcile(entry)), { log: "Warn" }),
          Effect.suspend(() => persistence.abandon(entry))
        ),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.timeoutOption(policy.timeLimit), Effect.asVoid)
  )

  return { start, load, begin, own, change, changeInTime, giveWayAll, join, saveAll }
}
