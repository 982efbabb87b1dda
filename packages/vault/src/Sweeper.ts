/**
 * Renews the sessions of a vault that nobody asks for, before their grants end.
 *
 * @since 0.1.0
 */
import * as Session from "@effect-authn/core/session/Session"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import { DueSessions } from "@effect-authn/core/storage/DueSessions"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as Issuer from "./internal/issuer.ts"
import { IssuerRates, type Permit } from "./IssuerRate.ts"
import * as Vault from "./Vault.ts"

/**
 * How fast a process sweeps.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * How many sessions of one IAM a process has claimed and not begun, at most, and how many it begins a second, evenly.
   * Default: 64.
   */
  readonly batch?: number
  /** How many of them are renewed at the same time. Default: 32. */
  readonly concurrency?: number
  /** How long a claim lasts: who dies gives its sessions back after it. Default: 1 minute. */
  readonly lease?: Duration.Input
  /** How long it rests where nothing is due. Default: 1 second. */
  readonly rest?: Duration.Input
}

// How long a session is put off whose IAM is away, at least and unless it says; and one whose IAM is not in the table.
const soon = Duration.seconds(1)
const later = Duration.minutes(1)
const muchLater = Duration.minutes(10)

/** What may begin, and how long to wait after that. */
interface Drawn {
  readonly permits: ReadonlyArray<Permit | undefined>
  readonly apart: Duration.Duration
  readonly again: Duration.Duration
}

/** A session that was claimed: until when, in epoch milliseconds, and whether its turn has passed before. */
interface Claimed {
  readonly key: SessionKey
  readonly until: number
  readonly isAgain: boolean
}

/** What a process has claimed of one IAM's sessions and not begun. */
interface Lane {
  /** In the order of their expiry. */
  readonly waiting: Array<Claimed>
  /** How far apart they begin, in milliseconds. */
  apart: number
  fiber: Fiber.Fiber<void> | undefined
}

const make = Effect.fnUntraced(function*(options: Options | undefined, trickle: boolean) {
  const vault = yield* Vault.Vault
  const due = yield* DueSessions
  const rates = yield* IssuerRates
  const scope = yield* Effect.scope
  const batch = options?.batch ?? 64
  const lease = Duration.fromInputUnsafe(options?.lease ?? "1 minute")
  const slots = Semaphore.makeUnsafe(options?.concurrency ?? 32)
  const pace = trickle ? Duration.millis(1000 / batch) : Duration.zero
  const lanes = new Map<string, Lane>()
  const isIdle = Latch.makeUnsafe(true)
  const hasBegun = Latch.makeUnsafe(true)
  let inHand = 0
  let begun = 0

  const putOff = (key: SessionKey, by: Duration.Duration) =>
    Effect.flatMap(DateTime.now, (now) => Effect.ignore(due.putOff(key, DateTime.addDuration(now, by))))

  const renew = (lane: Lane, claimed: Claimed, permit: Permit | undefined): Effect.Effect<void> => {
    const { isAgain, key } = claimed
    return Effect.gen(function*() {
      const began = yield* Clock.currentTimeMillis
      const session = yield* vault.freshen(key, permit)
      const current = Session.currentToken(session)
      // What was renewed was written, and is due by its rule. Nothing was written of one that needed nothing.
      const isOld = Option.exists(current, ({ issuedAt }) => DateTime.toEpochMillis(issuedAt) < began)
      if (isOld) {
        const left = Option.map(due.rule(session), (at) => Duration.millis(at - began))
        yield* putOff(key, Duration.max(later, Option.getOrElse(left, () => muchLater)))
      }
    }).pipe(
      // the storage has written that it ended, and it falls due no more
      Effect.catchTag(["ReauthenticationRequired", "NotAuthenticated"], () => Effect.void),
      Effect.catch((error) => {
        // Whoever is put off is behind all that is due already. It was this vault that was late, so it keeps its place.
        if (error._tag === "IamError" && Issuer.isOutOfTurn(error) && !isAgain) {
          lane.waiting.unshift({ ...claimed, isAgain: true })
          inHand += 1
          return start(lane)
        }
        const wish = error._tag === "IamError" && error.reason._tag === "Unavailable" && error.reason.retryAfter
        const wait = error._tag === "ProviderUnknown" ? muchLater : wish ? Duration.max(wish, soon) : later
        return Effect.andThen(
          Effect.logWarning(`a session could not be renewed at rest: ${error.message}`),
          putOff(key, wait)
        )
      })
    )
  }

  const done = (): void => {
    inHand -= 1
    if (inHand === 0) isIdle.openUnsafe()
  }

  /** Takes a slot for each renewal that may begin now, with its permit where the IAM has a rate. */
  const draw = (lane: Lane, issuer: string): Effect.Effect<Drawn> => {
    let held = 0
    return Effect.gen(function*() {
      yield* slots.take(1)
      held = 1
      while (held < lane.waiting.length && (yield* slots.takeIfAvailable(1))) held += 1
      const drawing = rates.draw(issuer, held)
      const drawn: Drawn = drawing === undefined
        ? { permits: [undefined], apart: pace, again: pace }
        : yield* Effect.catch(drawing, (error) =>
          Effect.as(
            Effect.logWarning(`the sweep waits for the store of its rates: ${error.message}`),
            { permits: [], apart: pace, again: Duration.seconds(1) }
          ))
      yield* slots.release(held - drawn.permits.length)
      return drawn
    }).pipe(Effect.onError(() => slots.release(held)))
  }

  const run = (lane: Lane): Effect.Effect<void> =>
    Effect.gen(function*() {
      for (;;) {
        const now = yield* Clock.currentTimeMillis
        // one whose claim is over belongs to whoever claims it next
        while ((lane.waiting[0]?.until ?? Number.POSITIVE_INFINITY) <= now) {
          lane.waiting.shift()
          done()
        }
        const [first] = lane.waiting
        if (first === undefined) break
        const { again, apart, permits } = yield* draw(lane, first.key.issuer)
        lane.apart = Duration.toMillis(apart)
        for (const [index, claimed] of lane.waiting.splice(0, permits.length).entries()) {
          begun += 1
          hasBegun.openUnsafe()
          yield* Effect.forkIn(
            Effect.ensuring(
              renew(lane, claimed, permits[index]),
              Effect.suspend(() => {
                done()
                return slots.release(1)
              })
            ),
            scope,
            { startImmediately: true }
          )
        }
        if (Duration.toMillis(again) > 0) yield* Effect.sleep(again)
      }
    }).pipe(
      // a defect of the program's own rate holds up no other IAM, and its sessions come back
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("a sweep ended", defect),
          Effect.sync(() => {
            for (let left = lane.waiting.splice(0).length; left > 0; left--) done()
          })
        )
      ),
      Effect.ensuring(Effect.sync(() => {
        lane.fiber = undefined
      }))
    )

  const start = (lane: Lane) =>
    Effect.gen(function*() {
      if (lane.waiting.length > 0) lane.fiber ??= yield* Effect.forkIn(run(lane), scope)
    })

  const nameOf = (of: { readonly issuer: string; readonly clientId: string }) =>
    JSON.stringify([of.issuer, of.clientId])

  /** Claims up to `limit`, leaves out whom it has enough of, or cannot ask, and begins to renew them. */
  const claim = Effect.fnUntraced(function*(limit: number): Effect.fn.Return<number, TokenStorageError> {
    const issuers = yield* vault.issuers
    // of those that begin far apart it takes no more than it begins within half of a claim
    const full = Array.from(lanes.values()).flatMap(({ apart, waiting }) =>
      waiting.length > batch - limit || waiting.length * apart > Duration.toMillis(lease) / 2
        ? waiting.slice(0, 1).map(({ key }) => key)
        : []
    )
    const silent = issuers.filter(({ state }) => state !== "answers")
    // One that comes back is tried with one session.
    const tried = silent.filter((one) =>
      one.state === "is tried" && (lanes.get(nameOf(one))?.waiting.length ?? 0) === 0
    ).slice(0, 1)
    const claimed = [
      ...yield* due.claim({ limit, lease, except: [...silent, ...full] }),
      ...(tried.length === 0
        ? []
        : yield* due.claim({ limit: 1, lease, except: issuers.filter((one) => one !== tried[0]) }))
    ]
    const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(lease)
    for (const key of claimed) {
      const lane = lanes.get(nameOf(key)) ?? { waiting: [], apart: 0, fiber: undefined }
      lanes.set(nameOf(key), lane)
      lane.waiting.push({ key, until, isAgain: false })
    }
    inHand += claimed.length
    if (inHand > 0) isIdle.closeUnsafe()
    yield* Effect.forEach(lanes.values(), start, { discard: true })
    return claimed.length
  })

  /** Until as many more have begun. */
  const more = (count: number) =>
    Effect.suspend(() => {
      const enough = begun + count
      const wait: Effect.Effect<void> = Effect.suspend(() => {
        if (begun >= enough) return Effect.void
        hasBegun.closeUnsafe()
        return Effect.andThen(hasBegun.await, wait)
      })
      return wait
    })

  return { claim, batch, more, idle: isIdle.await }
})

/**
 * Claims a batch of what is due, renews it as fast as `concurrency` and the `IssuerRate` allow, waits for it, and says how
 * many sessions it was. One that ended is due no more; one whose IAM is away is put off, by a minute or as long as the IAM
 * says. For a program with a schedule of its own; others take `layer`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sweep = (
  options?: Options
): Effect.Effect<number, TokenStorageError, Vault.Vault | DueSessions> =>
  Effect.scoped(Effect.gen(function*() {
    const { batch, claim, idle } = yield* make(options, false)
    const count = yield* claim(batch)
    yield* idle
    return count
  }))

// How often the backlog is measured, in milliseconds.
const measuredEvery = 15_000

/**
 * Sweeps as long as the layer lives, and rests where nothing is due. A storage that is away is asked again.
 *
 * **Details**
 *
 * Sessions are claimed in the order in which they fall due. Each IAM has a lane of its own, so that one that is slow, or has
 * a low rate, holds up no other one, and an IAM that `pauses` is left alone while its sessions wait in their order. Renewals
 * begin evenly, `batch` a second and process, or at the `IssuerRate`: a process that dies takes the answers with it that are
 * on their way, and of a burst it would take many.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never, never, Vault.Vault | DueSessions> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const vault = yield* Vault.Vault
    const { batch, claim, more } = yield* make(options, true)
    const half = Math.ceil(batch / 2)
    const rest = Effect.sleep(options?.rest ?? "1 second")
    let measuredAt = Number.NEGATIVE_INFINITY

    // between two claims, with a rest of its own, so that no second has two statements
    const measured = Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      if (now - measuredAt < measuredEvery) return
      measuredAt = now
      yield* vault.health
      yield* rest
    })

    yield* claim(half).pipe(
      Effect.catch((error) => Effect.as(Effect.logWarning(`the sweep goes on later: ${error.message}`), 0)),
      Effect.flatMap((count) => count > 0 ? Effect.raceFirst(more(half), rest) : rest),
      // that the storage is away says the claim
      Effect.andThen(Effect.ignore(measured)),
      Effect.forever,
      Effect.forkScoped
    )
  }))
