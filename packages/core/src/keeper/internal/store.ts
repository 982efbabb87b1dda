/**
 * Between memory and the storage: reading, taking up what others wrote, and writing with compare and set.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Session from "../../session/Session.ts"
import type { TokenStorage } from "../../storage/TokenStorage.ts"
import { StorageConflict, TokenStorageError } from "../../storage/TokenStorageError.ts"
import type { Kept } from "./kept.ts"
import type { Memory } from "./memory.ts"

export type Store = ReturnType<typeof make>

export const make = (storage: TokenStorage["Service"], memory: Memory) => {
  const read = (kept: Kept): Effect.Effect<Option.Option<Session.Session>, TokenStorageError> =>
    Effect.catchReason(storage.get(kept.key), "TokenStorageError", "StorageCorrupt", (reason) => {
      kept.detail = reason.message
      return Effect.as(Effect.logWarning(`${kept.key.label}: ${reason.message}`), Option.none())
    })

  /** Takes up what the storage holds, unless memory knows better. */
  const absorb = (kept: Kept, stored: Option.Option<Session.Session>): void => {
    const { session } = kept
    kept.loaded = true
    if (session !== undefined && !session.durable) return
    if (Option.isSome(stored)) {
      kept.base = stored.value.generation
      if (session === undefined || stored.value.generation > session.generation) {
        memory.clearFailure(kept)
        kept.detail = undefined
        memory.hold(kept, stored.value)
      }
      return
    }
    // Absent means signed out, unless memory holds the first answer of all, which was never written.
    if (session === undefined || (kept.unsaved !== undefined && kept.base === 0)) return
    kept.base = 0
    kept.epoch += 1
    kept.detail = "signed out by another program"
    memory.hold(kept, undefined)
  }

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
    const generation = Session.nextGeneration(Math.max(kept.base, next.generation), memory.now())
    const stamped = Session.update(next, { generation })
    if (stamped.durable) {
      yield* storage.put(kept.key, stamped, kept.base)
      kept.base = generation
    }
    if (kept.epoch === epoch) memory.hold(kept, stamped)
    return stamped
  })

  /** `write` for an answer of the IAM: what cannot be written is kept in memory, where it is the only copy. */
  const writeAnswer = (kept: Kept, next: Session.Session, epoch: number) =>
    Effect.catch(write(kept, next, epoch), (error) => {
      if (error.reason._tag === "StorageConflict" || kept.epoch !== epoch) return Effect.fail(error)
      const generation = Session.nextGeneration(Math.max(kept.base, next.generation), memory.now())
      const stamped = Session.update(next, { generation })
      memory.hold(kept, stamped, error.message)
      return Effect.as(
        Effect.logError(
          `${kept.key.label}: renewed, but the new tokens could not be stored and live in memory only: ${error.message}`
        ),
        stamped
      )
    })

  const conflict = (method: string, expected: number, found: number) =>
    new TokenStorageError({ storage: storage.description, method, reason: new StorageConflict({ expected, found }) })

  return { read, conflict, absorb, reconcile, write, writeAnswer }
}
