/**
 * A lock that a store of several machines keeps: it ends by itself if its holder does not come back.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { SessionKey } from "../session/SessionKey.ts"
import {
  Deadline,
  Holder,
  OnWait,
  patience,
  type Purpose,
  SessionLock,
  SessionLockError,
  silence,
  Wait
} from "./SessionLock.ts"
import type { TokenStorageError } from "./TokenStorageError.ts"

/**
 * One lease, as it is written into the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  /** Which session is locked. */
  readonly key: SessionKey
  /** What for. */
  readonly purpose: Purpose
  /** Who has it, for people. */
  readonly holder: string
  /** Proves that a lease is the one that was taken: a random UUID (RFC 9562, version 4). */
  readonly nonce: string
  /** How long it lasts from now, by the clock of the store. */
  readonly duration: Duration.Duration
}

/**
 * What a store does with leases, each in one atomic step and by its own clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leases {
  /** Writes a lease where there is none, or where the one that is there is over. `Some`: the holder who has it instead. */
  readonly take: (lease: Lease) => Effect.Effect<Option.Option<string>, TokenStorageError>
  /** Makes a lease of this nonce last for its duration again. False where another has taken its place. */
  readonly prolong: (lease: Lease) => Effect.Effect<boolean, TokenStorageError>
  /** Ends a lease of this nonce, and no other one. */
  readonly release: (lease: Lease) => Effect.Effect<void, TokenStorageError>
}

/**
 * How long a lock that somebody else had was waited for, in milliseconds, whether or not it was had in the end: only of
 * storages that machines share. A lock that was free is not counted.
 *
 * @category metrics
 * @since 0.1.0
 */
export const waits = Metric.histogram("effect_authn_lock_wait", {
  description: "Waits in milliseconds for the lock of a session that another program had",
  attributes: { unit: "ms" },
  boundaries: Metric.exponentialBoundaries({ start: 1, factor: 4, count: 10 })
})

/**
 * Makes the lock from the leases of a store.
 *
 * A lease for a renewal is never prolonged: `Deadline` tells the holder what is left of it, counted from before it was
 * asked for. One for a login is prolonged until the login ends. Who waits looks again after 5 ms, then ever later, up to
 * four times a second.
 *
 * **Gotchas**
 *
 * `lease` has to be longer than a renewal may take (`RefreshPolicy.timeLimit`), with time to write before and after it;
 * otherwise nothing is ever sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly lease: Duration.Duration
  readonly leases: Leases
}) {
  const { lease: duration, leases } = options
  const secureRandom = yield* SecureRandom.SecureRandom
  const length = Duration.toMillis(duration)
  // a holder that died has it until its lease is over
  const longest = (purpose: Purpose) => Duration.max(patience[purpose], Duration.sum(duration, Duration.seconds(15)))

  const withLock: SessionLock["Service"]["withLock"] = (key, purpose) => (effect) =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const lease: Lease = { key, purpose, holder: yield* Holder, nonce: yield* secureRandom.uuidV4(), duration }
      const cannot = (error: TokenStorageError) => new SessionLockError({ key, purpose, detail: error.message })
      const waited = stopwatch(clock)
      // counted from before the request, since the store may have begun to count at any time after it
      let left = () => length

      const take = Effect.suspend(() => {
        const elapsed = stopwatch(clock)
        return Effect.map(leases.take(lease), (holder) => {
          left = () => length - elapsed()
          return holder
        })
      }).pipe(
        // One that may have been taken would keep everybody out until it is over. Nobody waits for its end.
        Effect.tapError(({ written }) =>
          written === "no" ? Effect.void : Effect.forkDetach(Effect.ignore(leases.release(lease)))
        ),
        Effect.mapError(cannot)
      )

      const prolong = Effect.suspend(() => {
        const elapsed = stopwatch(clock)
        return Effect.map(leases.prolong(lease), (isOurs) => {
          left = isOurs ? () => length - elapsed() : () => 0
          return isOurs
        })
      }).pipe(
        // a store that is away for a moment may be back before the lease ends
        Effect.orElseSucceed(() => true),
        Effect.delay(Duration.times(duration, 1 / 3)),
        Effect.repeat({ while: (isOurs) => isOurs })
      )

      const onWait = yield* OnWait
      let isTold = false

      return yield* Effect.uninterruptibleMask((restore) =>
        Effect.gen(function*() {
          for (let pause = 5;; pause = Math.min(pause * 1.6, 250)) {
            const holder = yield* take
            if (Option.isNone(holder)) {
              if (pause > 5) yield* Metric.update(waits, waited())
              break
            }
            if (waited() > Duration.toMillis(longest(purpose))) {
              yield* Metric.update(waits, waited())
              return yield* new SessionLockError({
                key,
                purpose,
                holder: holder.value,
                detail: `gave up after ${Duration.format(longest(purpose))}; end that program, or try again`
              })
            }
            if (!isTold && waited() >= Duration.toMillis(silence)) {
              isTold = true
              yield* onWait(Wait.make({ key, purpose, holder: holder.value, patience: longest(purpose) }))
            }
            yield* restore(Effect.sleep(pause * (0.5 + (yield* Random.next))))
          }
          const keeping = purpose === "login" ? yield* Effect.forkChild(restore(prolong)) : undefined
          return yield* restore(Effect.provideService(effect, Deadline, () => left())).pipe(
            Effect.ensuring(Effect.andThen(
              keeping === undefined ? Effect.void : Fiber.interrupt(keeping),
              // what cannot be released ends by itself
              Effect.ignore(leases.release(lease))
            ))
          )
        })
      )
    })

  return SessionLock.of({ lease: duration, withLock })
})

/**
 * The milliseconds since it was made: the wall clock misses nothing while a machine sleeps, the other one cannot be set
 * back.
 */
const stopwatch = (clock: Clock.Clock): () => number => {
  const wall = clock.currentTimeMillisUnsafe()
  const steady = clock.monotonicTimeNanosUnsafe()
  return () =>
    Math.max(
      clock.currentTimeMillisUnsafe() - wall,
      Number((clock.monotonicTimeNanosUnsafe() - steady) / 1_000_000n)
    )
}
