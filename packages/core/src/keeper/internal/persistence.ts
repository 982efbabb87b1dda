/**
 * Between memory and the storage: reading, taking up what others wrote, and writing with compare and set. All of it but
 * `look` runs while nobody else in this process changes the entry, and under the lock where something durable is touched.
 */
import type * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as RefreshPolicy from "../../session/RefreshPolicy.ts"
import * as Session from "../../session/Session.ts"
import type { TokenStorage } from "../../storage/TokenStorage.ts"
import { StorageConflict, StorageUnavailable, TokenStorageError } from "../../storage/TokenStorageError.ts"
import * as RenewalMetrics from "../RenewalMetrics.ts"
import * as Decision from "./decision.ts"
import type { Entries, Entry } from "./entry.ts"
import type { Revoke } from "./revocation.ts"

export type Persistence = ReturnType<typeof make>

/** What the storage holds under a key: nobody is signed in where there is no session, also where a mark says so. */
export interface Found {
  readonly session: Session.Session | undefined
  /** What lies there and was signed out here before: nobody's session, whose key is forgotten when it goes. */
  readonly left: Session.Session | undefined
  readonly generation: number
  /** Whether a mark lies there, which stands for "signed out" and has a generation. */
  readonly isMark: boolean
  /** Whether its tombstone buries something that the session in memory was bought with. */
  readonly buriesBought: boolean
}

/** Forgets the key of a session that is over here, unless it is that of the one in its place. */
export type DropKey = (session: Session.Session | undefined, next?: Session.Session) => Effect.Effect<void>

/** What is found where nobody is signed in. */
export const nothing = (generation: number): Found => ({
  session: undefined,
  left: undefined,
  generation,
  isMark: false,
  buriesBought: false
})

const mostConflicts = 16

/** `fork` starts a fiber in the keeper's context. */
export const make = (options: {
  readonly storage: TokenStorage["Service"]
  readonly digest: Digest.Digest["Service"]
  readonly entries: Entries
  readonly revoke: Revoke
  readonly dropKey: DropKey
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}) => {
  const { digest, dropKey, entries, fork, revoke, storage } = options

  const failed = (method: string, reason: TokenStorageError["reason"]) =>
    new TokenStorageError({ storage: storage.description, method, reason })

  /** One operation of the storage. One that never answers holds nobody: after its time its outcome is unknown. */
  const bounded = <A>(method: string, operation: Effect.Effect<A, TokenStorageError>) =>
    Effect.contextWith((context: Context.Context<never>): Effect.Effect<A, TokenStorageError> => {
      const fiber = Effect.runForkWith(context)(operation)
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      const outcome = Deferred.makeUnsafe<A, TokenStorageError>()
      fiber.addObserver((exit) => Deferred.doneUnsafe(outcome, exit))
      return Effect.timeoutOrElse(Deferred.await(outcome), {
        duration: RefreshPolicy.storageTimeLimit,
        orElse: () => {
          fiber.interruptUnsafe()
          const detail = `no answer to "${method}" within ${Duration.format(RefreshPolicy.storageTimeLimit)}: ` +
            "whether it happened is unknown"
          return Effect.fail(failed(method, new StorageUnavailable({ detail, written: "maybe" })))
        }
      })
    })

  const digestOf = (price: Redacted.Redacted): Effect.Effect<Uint8Array> =>
    Effect.orDie(digest.digest(Digest.sha256, new TextEncoder().encode(Redacted.value(price))))

  /** What a renewal is bought with, without showing it: SHA-256, in base64url. */
  const nameOf = (price: Redacted.Redacted): Effect.Effect<string> => Effect.map(digestOf(price), Base64Url.encode)

  /** A number made from what a copied session brings: its first six bytes, below every number that is drawn. */
  const numberOf = (price: Redacted.Redacted): Effect.Effect<number> =>
    Effect.map(digestOf(price), (bytes) => bytes.slice(0, 6).reduce((number, byte) => number * 256 + byte, 0))

  const get = (entry: Entry): Effect.Effect<Option.Option<Session.Session>, TokenStorageError> =>
    Effect.catchReason(bounded("get", storage.get(entry.key)), "TokenStorageError", "StorageCorrupt", (reason) => {
      entries.damaged(entry, reason.message)
      return Effect.as(Effect.logWarning(`${entry.key.label}: ${reason.message}`), Option.none())
    })

  /** Reads the storage. `bought` is what the session in memory was bought with, where it is unsaved. */
  const lookOnce = Effect.fnUntraced(function*(
    entry: Entry,
    bought: ReadonlyArray<Redacted.Redacted> = entry.unsaved?.bought ?? []
  ): Effect.fn.Return<Found, TokenStorageError> {
    const stored = Option.getOrUndefined(yield* get(entry))
    if (stored === undefined) return nothing(0)
    const isMark = Session.isSignedOut(stored)
    if (isMark) return { ...nothing(stored.generation), isMark }
    if (entries.isLeftBehind(entry, stored)) return { ...nothing(stored.generation), left: stored }
    const buries = Option.getOrUndefined(stored.dead)?.buries
    const names = buries === undefined ? [] : yield* Effect.forEach(bought, nameOf)
    return {
      session: stored,
      left: undefined,
      generation: stored.generation,
      isMark,
      buriesBought: buries !== undefined && names.includes(buries)
    }
  })

  /** Forgets the keys of sessions, unless one of them is that of the session which stands. */
  const dropKeys = (
    sessions: ReadonlyArray<Session.Session | undefined>,
    next?: Session.Session
  ): Effect.Effect<void> => Effect.forEach(sessions, (one) => dropKey(one, next), { discard: true })

  /** What was in memory only gives way to what is stored: nobody has it any more where it is to be revoked. */
  const gaveWay = (
    entry: Entry,
    held: Session.Session | undefined,
    stored: Session.Session | undefined,
    isRevoked: boolean
  ): void => {
    const over = [...entries.takeOutlived(entry), ...(isRevoked ? [held] : [])]
    if (over.length > 0) fork(dropKeys(over, stored))
    if (isRevoked && held !== undefined) fork(revoke(held))
  }

  /** Takes up what the storage holds, unless memory knows better. What nobody wants any more is ended at the IAM. */
  const absorb = (entry: Entry, found: Found): void => {
    const { session, unsaved } = entry
    const standing = Decision.standing(session, unsaved, found)
    if (standing._tag === "Memory") {
      if (session?.durable !== true) return
      if (found.session !== undefined && Session.login(found.session) !== Session.login(session)) {
        entries.outlives(entry, [found.session])
      }
      const taken = known(session, found.session)
      if (taken === session || unsaved === undefined) entries.keep(entry, found.generation)
      else entries.holdUnsaved(entry, taken, unsaved)
      return
    }
    entries.takeUp(entry, found.session, found.generation)
    gaveWay(entry, session, found.session, standing.revoke)
  }

  /**
   * A session with what the document that it supersedes knows besides: who is signed in, and that the IAM has refused the
   * grant that it was bought with when that came again, because this answer was late.
   */
  const known = (session: Session.Session, superseded: Session.Session | undefined): Session.Session => {
    if (superseded === undefined || Session.login(superseded) !== Session.login(session)) return session
    const token = Option.getOrUndefined(superseded.dead)?.buries
    const presentation = session.boughtWith?.presentation ?? 1
    const isRefusal = token !== undefined && presentation < 2
    if (!isRefusal && (Option.isSome(session.user) || Option.isNone(superseded.user))) return session
    return Session.update(session, {
      user: Option.orElse(session.user, () => superseded.user),
      ...(isRefusal ? { boughtWith: Session.Purchase.make({ token, presentation: 2 }) } : {})
    })
  }

  /**
   * Reads the storage, and once more where something was taken up meanwhile: callers read beside whoever changes the entry,
   * and a slow read can end with what is older than that. Where that never ends, what was found last counts.
   */
  const look = Effect.fnUntraced(function*(
    entry: Entry,
    bought?: ReadonlyArray<Redacted.Redacted>
  ): Effect.fn.Return<Found, TokenStorageError> {
    for (let looks = 1;; looks++) {
      const { writes } = entry
      const found = yield* lookOnce(entry, bought)
      if (entry.writes === writes || looks === mostConflicts) return found
    }
  })

  /** Memory as the storage has it, and the storage as memory has it where memory is ahead. */
  const reconcile = Effect.fnUntraced(function*(entry: Entry): Effect.fn.Return<void, TokenStorageError> {
    if (entry.session?.durable === false) return
    absorb(entry, yield* look(entry))
    if (entry.unsaved !== undefined) yield* save(entry)
  })

  const stamped = (entry: Entry, next: Session.Session): Session.Session =>
    Session.update(next, {
      generation: Session.nextGeneration(Math.max(entry.storedGeneration, next.generation), entries.now())
    })

  const put = (entry: Entry, next: Session.Session, expected: number) =>
    Effect.tapError(bounded("put", storage.put(entry.key, next, expected)), (error) =>
      Effect.sync(() => {
        if (error.written === "maybe") entries.putUnknown(entry)
      }))

  /** Writes, then publishes. A session that may not be stored is only published. */
  const write = Effect.fnUntraced(function*(
    entry: Entry,
    next: Session.Session
  ): Effect.fn.Return<Session.Session, TokenStorageError> {
    const session = stamped(entry, next)
    if (session.durable) yield* put(entry, session, entry.storedGeneration)
    entries.hold(entry, session, session.generation)
    return session
  })

  const isConflict = (error: TokenStorageError): boolean => error.reason._tag === "StorageConflict"

  /**
   * Writes what only memory has, and again by rule 17 where somebody wrote meanwhile. What cannot be written lives on in
   * memory, which is the only copy; the answer is the error then.
   */
  const persist = Effect.fnUntraced(function*(
    entry: Entry,
    session: Session.Session,
    unsaved: Decision.Unsaved & { readonly isUnknown: boolean }
  ): Effect.fn.Return<TokenStorageError | undefined> {
    let next = session
    let isUnknown = unsaved.isUnknown
    for (let conflicts = 0;; conflicts++) {
      const written = yield* Effect.result(write(entry, next))
      if (Result.isSuccess(written)) {
        yield* dropKeys(entries.takeOutlived(entry), next)
        return undefined
      }
      let error = written.failure
      isUnknown ||= error.written === "maybe"
      if (isConflict(error) && conflicts < mostConflicts) {
        yield* Metric.update(RenewalMetrics.fenced, 1)
        const found = yield* Effect.result(look(entry, unsaved.bought))
        if (Result.isSuccess(found)) {
          const standing = Decision.standing(next, unsaved, found.success)
          if (standing._tag === "Stored") {
            entries.takeUp(entry, found.success.session, found.success.generation)
            gaveWay(entry, next, found.success.session, standing.revoke)
            return undefined
          }
          if (Session.login(found.success.session ?? next) !== Session.login(next)) {
            entries.outlives(entry, [found.success.session])
          }
          entries.keep(entry, found.success.generation)
          next = known(next, found.success.session)
          continue
        }
        error = found.failure
      }
      entries.holdUnsaved(entry, stamped(entry, next), { ...unsaved, isUnknown, cause: error.message })
      return error
    }
  })

  /** Writes the answer of the IAM that was bought with the refresh token of `asked`. */
  const writeAnswer = Effect.fnUntraced(function*(entry: Entry, asked: Session.Session, next: Session.Session) {
    const before = entry.unsaved
    const price = Decision.priceOf(asked)
    const error = yield* persist(entry, next, {
      kind: before?.kind ?? "answer",
      bought: [...before?.bought ?? [], ...(price === undefined ? [] : [price])],
      replaced: before?.replaced ?? [],
      found: before?.found ?? 0,
      isUnknown: false
    })
    if (error === undefined) return
    yield* Metric.update(RenewalMetrics.unsaved, 1)
    yield* Effect.logError(
      `${entry.key.label}: renewed, but the new tokens could not be stored and live in memory only: ${error.message}`
    )
  })

  /** Writes what memory has and the storage has not. */
  const save = Effect.fnUntraced(function*(entry: Entry): Effect.fn.Return<void, TokenStorageError> {
    const { session, unsaved } = entry
    if (session === undefined || unsaved === undefined) return
    entries.writingAgain(entry)
    const error = yield* persist(entry, session, unsaved)
    if (error !== undefined) return yield* error
  })

  /**
   * Changes what is known of a session besides its grant: on the document as it is stored, so that no refresh token and
   * no intent is taken back. Nothing changes where another login stands.
   */
  const amend = Effect.fnUntraced(function*(
    entry: Entry,
    login: number,
    change: (session: Session.Session) => Session.Session
  ): Effect.fn.Return<void, TokenStorageError> {
    for (let conflicts = 0;; conflicts++) {
      const reconciled = yield* Effect.result(reconcile(entry))
      const { session, unsaved } = entry
      if (session === undefined || Session.login(session) !== login) return
      if (unsaved !== undefined) return entries.holdUnsaved(entry, change(session), unsaved)
      if (Result.isFailure(reconciled)) return yield* reconciled.failure
      const written = yield* Effect.result(write(entry, change(session)))
      if (Result.isSuccess(written)) return
      if (!isConflict(written.failure) || conflicts >= mostConflicts) return yield* written.failure
    }
  })

  /** Forgets the key of a login that was certainly never stored, and that nobody is to have any more. */
  const abandon = ({ session, unsaved }: Entry): Effect.Effect<void> =>
    unsaved?.kind === "login" && !unsaved.isUnknown ? dropKey(session) : Effect.void

  const conflict = (method: string, expected: number, found: number) =>
    failed(method, new StorageConflict({ expected, found }))

  /** Removes the document that was found; where a put could still land, a mark takes its place. */
  const remove = (entry: Entry, found: Found): Effect.Effect<number, TokenStorageError> => {
    if (entry.hasUnknownPut) {
      const generation = Session.nextGeneration(
        Math.max(found.generation, entry.highestGeneration),
        entries.now()
      )
      const mark = Session.signedOut(entry.key, generation)
      return Effect.as(bounded("put", storage.put(entry.key, mark, found.generation)), generation)
    }
    if (found.generation === 0 || found.isMark) return Effect.succeed(found.generation)
    return Effect.as(bounded("remove", storage.remove(entry.key, found.generation)), 0)
  }

  return {
    nameOf,
    numberOf,
    look,
    absorb,
    reconcile,
    put,
    write,
    writeAnswer,
    save,
    amend,
    remove,
    dropKeys,
    abandon,
    conflict,
    isConflict
  }
}
