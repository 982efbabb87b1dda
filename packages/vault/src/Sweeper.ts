/**
 * Renews the sessions of a vault that nobody asks for, before their grants end.
 *
 * @since 0.1.0
 */
import * as Session from "@effect-authn/core/session/Session"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import { DueSessions } from "@effect-authn/core/storage/DueSessions"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Vault from "./Vault.ts"

/**
 * How fast a process sweeps.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many sessions are claimed at once. Default: 64. */
  readonly batch?: number
  /** How many of them are renewed at the same time. Default: 32. */
  readonly concurrency?: number
  /** How long a claim lasts: who dies gives its sessions back after it. Default: 1 minute. */
  readonly lease?: Duration.Input
  /** How long it rests where nothing is due. Default: 1 second. */
  readonly rest?: Duration.Input
}

// How long a session is put off whose IAM is away, or is not in the vault's table.
const later = Duration.minutes(1)

/**
 * Claims a batch of what is due, renews it, and says how many sessions it was. One that ended is due no more; one whose IAM
 * is away is put off for a minute.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sweep = Effect.fnUntraced(function*(
  options?: Options
): Effect.fn.Return<number, TokenStorageError, Vault.Vault | DueSessions> {
  const vault = yield* Vault.Vault
  const due = yield* DueSessions
  const lease = Duration.fromInputUnsafe(options?.lease ?? "1 minute")

  const putOff = (key: SessionKey, until: DateTime.Utc) => Effect.ignore(due.putOff(key, until))
  const renew = (key: SessionKey) =>
    Effect.gen(function*() {
      const began = yield* DateTime.now
      const current = Session.currentToken(yield* vault.freshen(key))
      // An access token that is still fresh was not renewed, and nothing was written: it is looked at again when it ends.
      const isOld = Option.exists(current, ({ issuedAt }) => DateTime.isLessThan(issuedAt, began))
      if (isOld) {
        const end = Option.flatMap(current, ({ expiresAt }) => expiresAt)
        const soonest = DateTime.addDuration(began, later)
        yield* putOff(key, Option.match(end, { onNone: () => soonest, onSome: (at) => DateTime.max(at, soonest) }))
      }
    }).pipe(
      Effect.catchTag(
        ["ReauthenticationRequired", "NotAuthenticated"],
        // the storage has written that it ended, and it falls due no more
        () => Effect.void
      ),
      Effect.catch((error) =>
        Effect.andThen(
          Effect.logWarning(`a session could not be renewed at rest: ${error.message}`),
          Effect.flatMap(DateTime.now, (now) => putOff(key, DateTime.addDuration(now, later)))
        )
      )
    )

  const claimed = yield* due.claim({ limit: options?.batch ?? 64, lease })
  yield* Effect.forEach(claimed, renew, { concurrency: options?.concurrency ?? 32, discard: true })
  return claimed.length
})

/**
 * Sweeps as long as the layer lives, and rests where nothing is due. A storage that is away is asked again.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never, never, Vault.Vault | DueSessions> =>
  Layer.effectDiscard(
    sweep(options).pipe(
      Effect.catch((error) => Effect.as(Effect.logWarning(`the sweep goes on later: ${error.message}`), 0)),
      Effect.flatMap((count) => count > 0 ? Effect.void : Effect.sleep(options?.rest ?? "1 second")),
      Effect.forever,
      Effect.forkScoped
    )
  )
