/**
 * One session as this process holds it: what `SessionKeeper` knows about it between two calls. Only the keeper writes it.
 */
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { AuthError } from "../../AuthError.ts"
import type { SelectionId } from "../../session/Selection.ts"
import type { Session } from "../../session/Session.ts"
import type { SessionKey } from "../../session/SessionKey.ts"
import type { TokenSet } from "../../session/TokenSet.ts"
import type { TokenStorageError } from "../../storage/TokenStorageError.ts"
import * as Pause from "./pause.ts"

export class Kept {
  readonly key: SessionKey
  /** The session, or nothing: not loaded, or signed out. */
  session: Session | undefined = undefined
  loaded = false
  /** The generation that was last seen in the storage; 0: absent. */
  base = 0
  /** Why the newest answer is in memory only, if it is. */
  unsaved: string | undefined = undefined
  /** While writing it is not tried again. */
  unsavedPause = Pause.over
  /** A memory-only session was dropped here: the stored one, if any, is not taken up before the next login. */
  detached = false
  /** Grows when the session is replaced or dropped: what was begun for an earlier one is not published. */
  epoch = 0
  /** Removals under way: nobody is handed a token meanwhile. */
  leaving = 0
  /** Why nobody is signed in, if anything happened. */
  detail: string | undefined = undefined
  /** The last epoch millisecond at which `hit` may be handed out without a further look. */
  freshUntil = Number.NEGATIVE_INFINITY
  hit: Effect.Effect<TokenSet, AuthError> = Effect.never
  /** What callers wait for while there is no valid token, and the epoch millisecond since when it is so. */
  landing: { readonly since: number; readonly tokens: Effect.Effect<TokenSet, AuthError> } | undefined = undefined
  /** When the scheduler looks at this session again, in epoch milliseconds, and its place among the others. */
  dueAt = Number.POSITIVE_INFINITY
  place = -1
  /** In [0, 1): where in its window the scheduler renews this session. */
  jitter = 0
  /** The selection that was last asked to become the current one, and how often it was another than the one before. */
  heading: SelectionId | undefined = undefined
  turns = 0
  flights: Map<string, Deferred.Deferred<Session, AuthError>> | undefined = undefined
  loading: Deferred.Deferred<void, TokenStorageError> | undefined = undefined
  /** Failed attempts in a row, the reason of the last one, and the pause before the next. */
  failures = 0
  failure: AuthError | undefined = undefined
  pause = Pause.over
  #semaphore: Semaphore.Semaphore | undefined = undefined

  constructor(key: SessionKey) {
    this.key = key
  }

  /** In place of the storage's lock for a session that touches no storage. */
  get semaphore(): Semaphore.Semaphore {
    return this.#semaphore ??= Semaphore.makeUnsafe(1)
  }

  get isRenewing(): boolean {
    return this.flights !== undefined
  }
}
