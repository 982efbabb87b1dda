/**
 * The handle of an entry: one private field, everything else on the prototype, so that a hundred thousand open sessions
 * cost no more than their entries.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { AuthError } from "../../AuthError.ts"
import * as Session from "../../session/Session.ts"
import type { SessionKey } from "../../session/SessionKey.ts"
import type { SessionState } from "../../session/SessionState.ts"
import type { TokenSet } from "../../session/TokenSet.ts"
import type { KeptSession } from "../KeptSession.ts"
import type { Callers } from "./caller.ts"
import type { Changes } from "./change.ts"
import type { Entries, Entry } from "./entry.ts"

/** A function from an entry to its handle. `changes` is the feed of all entries. */
export const make = (options: {
  readonly entries: Entries
  readonly callers: Callers
  readonly changes: Changes
  readonly feed: Stream.Stream<{ readonly id: string; readonly state: SessionState }>
}): (key: SessionKey) => KeptSession => {
  const { callers, changes, entries, feed } = options

  /** The hot path: a field read and a clock comparison. */
  class Token extends Effectable.Class<TokenSet, AuthError> {
    readonly kept: Kept

    constructor(kept: Kept) {
      super()
      this.kept = kept
    }

    asEffect() {
      const { entry } = this.kept
      return entries.nowMillis() <= entry.readyUntil ? entry.ready : callers.token(entry)
    }
  }

  class Kept implements KeptSession {
    #entry: Entry

    constructor(entry: Entry) {
      this.#entry = entry
    }

    /** An entry that was forgotten is found again by its key: there is never a second one. */
    get entry(): Entry {
      return this.#entry.forgotten ? this.#entry = entries.of(this.#entry.key) : this.#entry
    }

    get key() {
      return this.#entry.key
    }

    get token(): Effect.Effect<TokenSet, AuthError> {
      return new Token(this)
    }

    get bearer() {
      return Effect.suspend(() => callers.bearer(this.entry, undefined))
    }

    get session() {
      return Effect.map(Effect.suspend(() => callers.known(this.entry)), Option.fromUndefinedOr)
    }

    get isAlive() {
      return Effect.map(
        Effect.suspend(() => callers.known(this.entry)),
        (session) => session !== undefined && Session.isAlive(session, entries.now())
      )
    }

    get freshen() {
      return this.freshenWhen(() => false)
    }

    get forget() {
      return Effect.sync(() => entries.forget(this.entry))
    }

    get changes() {
      const { id } = this.#entry.key
      const state = Stream.sync(() => entries.stateOf(this.entry))
      return Stream.concat(
        state,
        feed.pipe(Stream.filter((change) => change.id === id), Stream.map((change) => change.state))
      )
    }

    freshenWhen(isDue: Parameters<KeptSession["freshenWhen"]>[0]) {
      return Effect.suspend(() => callers.freshen(this.entry, isDue))
    }

    tokenFor(asked: Parameters<KeptSession["tokenFor"]>[0]) {
      return Effect.suspend(() => callers.obtain(this.entry, asked))
    }

    bearerFor(asked: Parameters<KeptSession["bearerFor"]>[0]) {
      return Effect.suspend(() => callers.bearer(this.entry, asked))
    }

    renew(asked?: Parameters<KeptSession["renew"]>[0], options?: Parameters<KeptSession["renew"]>[1]) {
      return Effect.suspend(() => callers.renew(this.entry, asked, options?.makesCurrent !== false))
    }

    rejected(bearer: Session.Bearer, asked?: Parameters<KeptSession["rejected"]>[1]) {
      return Effect.suspend(() => callers.rejected(this.entry, bearer, asked))
    }

    replace(session: Session.Session, options?: Parameters<KeptSession["replace"]>[1]) {
      return Effect.suspend(() =>
        changes.replace(this.entry, session, {
          revokePrevious: options?.revokePrevious === true,
          isImport: options?.isImport === true
        })
      )
    }

    learned(session: Session.Session, user: Parameters<KeptSession["learned"]>[1]) {
      return Effect.suspend(() => changes.learned(this.entry, session, user))
    }

    remove(options: Parameters<KeptSession["remove"]>[0]) {
      return Effect.suspend(() => changes.remove(this.entry, options))
    }
  }

  return (key) => new Kept(entries.of(key))
}
