/**
 * What only a session has that is in trouble, or that somebody works on: most sessions of a process have none of it. Its
 * fields are written where those of an `Entry` are.
 */
import type * as DateTime from "effect/DateTime"
import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import type { AuthError } from "../../AuthError.ts"
import type * as Selection from "../../session/Selection.ts"
import type * as Session from "../../session/Session.ts"
import type * as TokenSet from "../../session/TokenSet.ts"
import type { TokenStorageError } from "../../storage/TokenStorageError.ts"
import type * as Decision from "./decision.ts"
import * as Pause from "./pause.ts"

/** What is in memory and not in the storage: why, since when, and when it is written again. */
export interface Unsaved extends Decision.Unsaved {
  readonly cause: string
  readonly since: DateTime.Utc
  /** A put that carried it has an unknown outcome: others may have it. */
  readonly isUnknown: boolean
  readonly tries: number
  readonly pause: Pause.Pause
}

/** A renewal under way. It has begun once it has its turn and the lock: before that it gives way. */
export interface Flight {
  /** The session afterwards, or nothing where whoever waits is to look again. */
  readonly landed: Deferred.Deferred<Session.Session | undefined, AuthError>
  /** Whether what is in memory serves by now, since a sibling renewed. */
  readonly isServed: () => boolean
  hasBegun: boolean
  hasGivenWay: boolean
  fiber: Fiber.Fiber<unknown, unknown> | undefined
}

export class Trouble {
  /** Why nobody is signed in, if anything happened. */
  detail: string | undefined = undefined
  unsaved: Unsaved | undefined = undefined
  flights: Map<string, Flight> | undefined = undefined
  loading: Deferred.Deferred<void, TokenStorageError> | undefined = undefined
  /** What those wait for who come while the session is read for the first time. */
  firstLook: Effect.Effect<TokenSet.TokenSet, AuthError> | undefined = undefined
  /** A sibling wrote while the storage was read: what is read may be of before. */
  hasHeard = false
  /** What callers wait for while there is no valid token, and the epoch millisecond since when it is so. */
  shared: { readonly since: number; readonly tokens: Effect.Effect<TokenSet.TokenSet, AuthError> } | undefined =
    undefined
  /** Failed attempts in a row, the reason of the last one, and the pause before the next. */
  failures = 0
  failure: AuthError | undefined = undefined
  pause = Pause.over
  /** Renewals in a row whose token was due as soon as it came. */
  hasty = 0
  /** The selection that was last asked to become the current one, and how often it was another than the one before. */
  lastSelection: Selection.SelectionId | undefined = undefined
  selectionChanges = 0
  /** The intent that was seen last, and since when. */
  intent: { readonly name: string; readonly since: number } | undefined = undefined
  /** The token that an API refused last. */
  refused: TokenSet.TokenSet | undefined = undefined
  /** The logins that were signed out here while no document could be removed: none of them is taken up again. */
  leftLogins: ReadonlyArray<number> = []
  /** The sessions, by their logins, that one in memory takes the place of once it is written: then their keys are forgotten. */
  outlived: Map<number, Session.Session> | undefined = undefined
  /** A put has an unknown outcome, and could still land. */
  hasUnknownPut = false
  /** Who changes the entry, or the storage under its key, excludes all others here; and how many want to. */
  readonly turn = Semaphore.makeUnsafe(1)
  users = 0

  get isOver(): boolean {
    return this.unsaved === undefined && this.flights === undefined && this.loading === undefined &&
      this.shared === undefined && this.failure === undefined && this.detail === undefined && this.users === 0 &&
      this.hasty === 0 && this.refused === undefined && this.intent === undefined && this.leftLogins.length === 0 &&
      this.outlived === undefined && !this.hasUnknownPut
  }
}
