/**
 * Who runs what: work on a session belongs to the keeper, whoever asked for it and whether or not they stay. It is read
 * once for all who ask at the same time, changed under its lock, and renewed in a flight that callers join.
 */
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AuthError } from "../../AuthError.ts"
import * as Selection from "../../session/Selection.ts"
import type * as Session from "../../session/Session.ts"
import type { SessionLock, SessionLockError } from "../../storage/SessionLock.ts"
import type { TokenStorage } from "../../storage/TokenStorage.ts"
import type { TokenStorageError } from "../../storage/TokenStorageError.ts"
import * as RenewalMetrics from "../RenewalMetrics.ts"
import type { Attempt } from "./attempt.ts"
import type { Kept } from "./kept.ts"
import type { Memory } from "./memory.ts"
import type * as Renewal from "./renewal.ts"
import type { Store } from "./store.ts"

/** `find` is the kept session of a key's `id`, if it is open; `fork` starts a fiber in the keeper's context. */
export const make = (options: {
  readonly find: (id: string) => Kept | undefined
  readonly memory: Memory
  readonly store: Store
  readonly attempt: Attempt["attempt"]
  readonly changes: TokenStorage["Service"]["changes"]
  readonly lock: SessionLock["Service"]
  readonly scope: Scope.Scope
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}) => {
  const { attempt, changes, find, fork, lock, memory, scope, store } = options

  /** Runs in the keeper's scope and context, whoever asked and whether or not they stay. */
  const launch = <A, E>(effect: Effect.Effect<A, E>, deferred: Deferred.Deferred<A, E>, done: () => void): void => {
    const fiber = Fiber.runIn(fork(effect), scope)
    fiber.addObserver((exit) => {
      done()
      Deferred.doneUnsafe(deferred, exit)
    })
  }

  /** Reads the storage, once for all who ask at the same time. */
  const load = (kept: Kept): Effect.Effect<void, TokenStorageError> =>
    Effect.suspend(() => {
      if (kept.detached) return Effect.void
      if (kept.loading !== undefined) return Deferred.await(kept.loading)
      const loading = kept.loading = Deferred.makeUnsafe<void, TokenStorageError>()
      watch()
      launch(
        Effect.map(store.read(kept), (stored) => {
          if (kept.leaving === 0) store.absorb(kept, stored)
        }),
        loading,
        () => {
          kept.loading = undefined
        }
      )
      return Deferred.await(loading)
    })

  const exclusively = (kept: Kept, durable: boolean) => <A, E>(effect: Effect.Effect<A, E>) =>
    durable
      ? lock.withLock(kept.key, "renew")(Effect.uninterruptible(effect))
      : kept.semaphore.withPermit(Effect.uninterruptible(effect))

  const run = <A, E>(kept: Kept, durable: boolean, effect: Effect.Effect<A, E>, done = () => {}) =>
    Effect.suspend(() => {
      const deferred = Deferred.makeUnsafe<A, E | SessionLockError>()
      if (durable) watch()
      launch(exclusively(kept, durable)(effect), deferred, done)
      return Deferred.await(deferred)
    })

  /**
   * Joins the renewal for this selection, or starts it. Who changes the current selection joins nobody who does not
   * change it, and nobody whose change another one is about to undo.
   */
  const join = (kept: Kept, target: Renewal.Target): Deferred.Deferred<Session.Session, AuthError> => {
    const id = Selection.id(target.selection)
    if (target.makeCurrent && kept.heading !== id) {
      kept.heading = id
      kept.turns += 1
    }
    const name = target.makeCurrent ? `${id} ${kept.turns}` : id
    const flights = kept.flights ??= new Map()
    const flying = flights.get(name)
    if (flying !== undefined) return flying
    const flight = Deferred.makeUnsafe<Session.Session, AuthError>()
    flights.set(name, flight)
    memory.settle(kept)
    const began = memory.nowMillis()
    const flown = exclusively(kept, kept.session?.durable !== false)(attempt(kept, target)).pipe(
      Effect.tap(() => Effect.sync(() => memory.clearFailure(kept))),
      Effect.tapError((error) => {
        memory.recordFailure(kept, target, error)
        return Effect.logWarning(`${kept.key.label}: not renewed: ${error.message}`)
      }),
      Effect.onExit((exit) => measure(target, exit, began)),
      Effect.withSpan("SessionKeeper.renew", {
        root: true,
        attributes: { issuer: kept.key.issuer, account: kept.key.account, selection: id }
      }),
      Effect.annotateLogs({ issuer: kept.key.issuer, account: kept.key.account })
    )
    launch(flown, flight, () => {
      flights.delete(name)
      if (flights.size === 0) kept.flights = undefined
      memory.settle(kept)
    })
    return flight
  }

  const measure = (target: Renewal.Target, exit: Exit.Exit<Session.Session, AuthError>, began: number) => {
    const at = memory.nowMillis()
    const outcome = Exit.isSuccess(exit) ? "renewed" : Option.match(Exit.findErrorOption(exit), {
      onNone: () => "interrupted",
      onSome: (error) => "reason" in error && typeof error.reason === "object" ? error.reason._tag : error._tag
    })
    return Effect.andThen(
      Effect.annotateCurrentSpan({ outcome }),
      Effect.all([
        Metric.update(Metric.withAttributes(RenewalMetrics.renewals, { outcome }), 1),
        Metric.update(RenewalMetrics.duration, at - began),
        ...(outcome === "renewed" && Option.isSome(target.seen)
          ? [Metric.update(RenewalMetrics.tokenAge, at - DateTime.toEpochMillis(target.seen.value.issuedAt))]
          : [])
      ])
    )
  }

  let watching = false
  const watch = (): void => {
    if (watching) return
    watching = true
    Fiber.runIn(
      fork(Stream.runForEach(changes, (key) => {
        const kept = find(key.id)
        return kept === undefined || !kept.loaded || kept.isRenewing || kept.leaving > 0
          ? Effect.void
          : Effect.ignore(load(kept))
      })),
      scope
    )
  }

  /** Starts what nobody waits for. */
  const start = (effect: Effect.Effect<void>): void => {
    Fiber.runIn(fork(effect), scope)
  }

  return { load, run, join, start }
}
