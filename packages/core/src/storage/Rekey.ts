/**
 * Encrypts stored sessions anew, so that an old key can be taken away.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Session from "../session/Session.ts"
import type { SessionKey } from "../session/SessionKey.ts"
import * as EncryptedTokenStorage from "./EncryptedTokenStorage.ts"
import { EncryptionKeys } from "./EncryptionKeys.ts"
import * as TokenStorage from "./TokenStorage.ts"
import { TokenStorageError } from "./TokenStorageError.ts"

/**
 * How far it came: how many sessions there are, how many were encrypted anew, how many are left that need an old key, and how
 * many cannot be read with any key that the source has. An old key may go when `left` and `unreadable` are 0.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly sessions: number
  readonly rekeyed: number
  readonly left: number
  readonly unreadable: number
}

/**
 * How many sessions were left that need an old key when somebody last counted.
 *
 * @category metrics
 * @since 0.1.0
 */
export const left = Metric.gauge("effect_authn_rekey_left", {
  description: "Stored sessions that are encrypted with a key of before",
  attributes: { unit: "{session}" }
})

type Outcome = "current" | "rekeyed" | "left" | "unreadable"

// Without the storage or the keys nothing can be said of the other sessions either.
const isAway = ({ reason }: TokenStorageError): boolean =>
  reason._tag === "StorageUnavailable" || reason._tag === "StorageKeyUnavailable"

const over = Effect.fnUntraced(function*(
  concurrency: number,
  isRewriting: boolean
): Effect.fn.Return<Progress, TokenStorageError, TokenStorage.TokenStorage | EncryptionKeys> {
  const storage = yield* TokenStorage.TokenStorage
  const keys = yield* EncryptionKeys

  const isRetired = (name: string) =>
    keys.isRetired === undefined ? Effect.map(keys.current, (current) => current.name !== name) : keys.isRetired(name)

  const look = Effect.fnUntraced(function*(key: SessionKey): Effect.fn.Return<Outcome, TokenStorageError> {
    const found = yield* Effect.result(storage.get(key))
    if (Result.isFailure(found)) {
      if (isAway(found.failure)) return yield* found.failure
      return "unreadable"
    }
    const session = Option.getOrUndefined(found.success)
    const name = session === undefined ? Option.none() : EncryptedTokenStorage.sealedWith(session)
    if (session === undefined || Option.isNone(name)) return "current"
    const retired = yield* Effect.mapError(
      isRetired(name.value),
      (reason) => new TokenStorageError({ storage: storage.description, method: "rekey", reason })
    )
    if (!retired) return "current"
    if (!isRewriting) return "left"
    const generation = Session.nextGeneration(session.generation, yield* DateTime.now)
    const written = yield* Effect.result(
      storage.put(key, Session.update(session, { generation }), session.generation)
    )
    if (Result.isSuccess(written)) return "rekeyed"
    if (isAway(written.failure)) return yield* written.failure
    // Somebody wrote meanwhile, with a key of now.
    return written.failure.reason._tag === "StorageConflict" ? yield* Effect.suspend(() => look(key)) : "left"
  })

  const count = { current: 0, rekeyed: 0, left: 0, unreadable: 0 }
  yield* TokenStorage.scan(storage).pipe(
    Stream.mapEffect(look, { concurrency }),
    Stream.runForEach((outcome) =>
      Effect.sync(() => {
        count[outcome] += 1
      })
    )
  )
  yield* Metric.update(left, count.left)
  return {
    sessions: count.current + count.rekeyed + count.left + count.unreadable,
    rekeyed: count.rekeyed,
    left: count.left,
    unreadable: count.unreadable
  }
})

/**
 * Counts what is left to encrypt anew, and changes nothing.
 *
 * @category combinators
 * @since 0.1.0
 */
export const count = (
  options?: { readonly concurrency?: number }
): Effect.Effect<Progress, TokenStorageError, TokenStorage.TokenStorage | EncryptionKeys> =>
  over(options?.concurrency ?? 8, false)

/**
 * Encrypts every session anew whose key is one of before, `concurrency` (8 unless told) at a time, and says how far it came.
 * No IAM is asked. It may run while programs use the sessions, in several of them at once, and again after it was stopped:
 * each session is written with compare and set, and who writes meanwhile uses a key of now.
 *
 * **Details**
 *
 * To change a key: put the new one in front of the old one in the source of every program, run this, and take the old key away
 * when nothing is left. Backups of before still need it.
 *
 * **Example** (Until nothing is left)
 *
 * ```ts
 * import { Rekey } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * export const rekeyed = Effect.gen(function*() {
 *   const { left, rekeyed, unreadable } = yield* Rekey.run()
 *   yield* Effect.logInfo(`${rekeyed} sessions have the new key, ${left + unreadable} still need an old one`)
 *   return left + unreadable === 0
 * })
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const run = (
  options?: { readonly concurrency?: number }
): Effect.Effect<Progress, TokenStorageError, TokenStorage.TokenStorage | EncryptionKeys> =>
  over(options?.concurrency ?? 8, true)
