/**
 * The changes of a session that callers ask for, each one transition under the exclusion of its entry: a login puts a
 * session in the place of another one, a logout ends it, and what the IAM said of a user is learned.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Random from "effect/Random"
import * as Result from "effect/Result"
import type { Revocation } from "../../iam/IamClient.ts"
import * as Session from "../../session/Session.ts"
import type * as User from "../../session/User.ts"
import { SessionLockError } from "../../storage/SessionLock.ts"
import { StorageUnavailable, TokenStorageError } from "../../storage/TokenStorageError.ts"
import * as Decision from "./decision.ts"
import type { Entries, Entry } from "./entry.ts"
import { type Found, nothing, type Persistence } from "./persistence.ts"
import { notRevoked, type Revoke } from "./revocation.ts"
import type { SingleFlight } from "./singleFlight.ts"

export type Changes = ReturnType<typeof make>

const mostConflicts = 16

/** What became of a session that could not be removed, for the error that says why not. */
const leftBehind = (revocation: Revocation): string =>
  `${revocation._tag === "Revoked" ? "the IAM was told" : `the IAM was not told (${revocation.reason})`}, ` +
  "and the stored session is left where it is: sign out again"

export const make = (options: {
  readonly entries: Entries
  readonly persistence: Persistence
  readonly flights: SingleFlight
  readonly random: typeof Random.Random.Service
  readonly revocations: { readonly once: Revoke; readonly patiently: Revoke }
}) => {
  const { entries, flights, persistence, random, revocations } = options
  const revoke = revocations.once

  /** The first generation of a login is beyond all that this process has seen; drawn, so that two never meet. */
  const firstGeneration = (entry: Entry): number =>
    Session.nextGeneration(Math.max(entry.highestGeneration, entry.storedGeneration), entries.now()) +
    Math.floor(random.nextDoubleUnsafe() * 1024)

  /** Numbers the login of a session. Of an import it is made from what was brought: the same copy is the same login. */
  const numbered = (session: Session.Session, isImport: boolean): Effect.Effect<Session.Session> => {
    if (session.obtainedAt !== undefined) return Effect.succeed(session)
    const price = isImport ? Decision.priceOf(session) : undefined
    return Effect.map(
      price === undefined
        ? Effect.sync(() => Session.loginNumber(entries.now(), random.nextDoubleUnsafe()))
        : persistence.numberOf(price),
      (obtainedAt) => Session.update(session, { obtainedAt })
    )
  }

  /** Logins of one second may have drawn one number: a new login has another one than those that it can see. */
  const distinct = (
    session: Session.Session,
    others: ReadonlyArray<Session.Session | undefined>
  ): Session.Session => {
    const taken = new Set(others.map((other) => other === undefined ? undefined : Session.login(other)))
    let login = Session.login(session)
    while (taken.has(login)) login += 1
    return login === Session.login(session) ? session : Session.update(session, { obtainedAt: login })
  }

  /** What a login replaces, the newest first; `onlyCopies` are those that nobody else has. */
  const replacedBy = (entry: Entry, found: Found, login: number) => {
    const { session: held, unsaved } = entry
    const standing = Decision.standing(held, unsaved, found)
    const isStored = standing._tag === "Stored"
    const sessions = (isStored ? [found.session, standing.revoke ? held : undefined] : [held, found.session]).filter((
      one,
      index,
      all
    ): one is Session.Session =>
      one !== undefined && Session.login(one) !== login && Option.isNone(one.dead) &&
      all.findIndex((other) => other !== undefined && Session.login(other) === Session.login(one)) === index
    )
    const isOnlyCopy = unsaved !== undefined && (!isStored || standing.revoke)
    return { sessions, onlyCopies: sessions.filter((one) => isOnlyCopy && one === held) }
  }

  /** A login that could not be stored lives on in memory, and is written again. */
  const liveOn = Effect.fnUntraced(function*(
    entry: Entry,
    session: Session.Session,
    found: Found,
    error: TokenStorageError
  ): Effect.fn.Return<never, TokenStorageError> {
    const { onlyCopies } = replacedBy(entry, found, Session.login(session))
    const held = entry.session?.durable === true ? entry.session : undefined
    entries.outlives(entry, [found.session, found.left, held])
    const replaced = entries.superseded(entry, found.session)
    entries.replaced(entry)
    const generation = Math.max(session.generation, firstGeneration(entry))
    entries.holdUnsaved(entry, Session.update(session, { generation }), {
      kind: "login",
      bought: [],
      replaced,
      found: found.generation,
      isUnknown: error.written === "maybe" && error.method === "put",
      cause: error.message
    })
    yield* Effect.forEach(onlyCopies, revoke, { discard: true })
    return yield* error
  })

  const replaceDurable = Effect.fnUntraced(function*(
    entry: Entry,
    session: Session.Session,
    options: { readonly revokePrevious: boolean; readonly isImport: boolean }
  ): Effect.fn.Return<Session.Session, TokenStorageError> {
    const { session: held } = entry
    let login = yield* numbered(session, options.isImport)
    for (let conflicts = 0;; conflicts++) {
      const looked = yield* Effect.result(persistence.look(entry))
      if (Result.isFailure(looked)) {
        // Who cannot read what lies there must not sign in over it; one that is only away is written later.
        const isAway = looked.failure.reason._tag === "StorageUnavailable"
        if (session.generation > 0 || !isAway) return yield* looked.failure
        return yield* liveOn(entry, login, nothing(entry.storedGeneration), looked.failure)
      }
      const found = looked.success
      if (session.obtainedAt === undefined && !options.isImport) login = distinct(login, [held, found.session])
      // What was read from the storage may have been renewed or ended since: the storage knows better.
      if (
        session.generation > 0 || (found.session !== undefined && Session.login(found.session) === Session.login(login))
      ) {
        if (found.session === undefined) return yield* persistence.conflict("put", session.generation, found.generation)
        entries.replaced(entry)
        if (held?.durable === false) entries.takeUp(entry, found.session, found.generation)
        else persistence.absorb(entry, found)
        if (entry.session !== undefined) return entry.session
      }
      const next = Session.update(login, {
        generation: Math.max(firstGeneration(entry), found.generation + 1)
      })
      // Before the write: its echo may be taken up before it is known to have succeeded.
      const replaced = replacedBy(entry, found, Session.login(next))
      const written = yield* Effect.result(persistence.put(entry, next, found.generation))
      if (Result.isFailure(written) && persistence.isConflict(written.failure) && conflicts < mostConflicts) continue
      if (Result.isFailure(written)) return yield* liveOn(entry, next, found, written.failure)
      entries.replaced(entry)
      entries.hold(entry, next, next.generation)
      yield* Effect.forEach(options.revokePrevious ? replaced.sessions : replaced.onlyCopies, revoke, { discard: true })
      const over = [found.session, found.left, ...replaced.onlyCopies, ...entries.takeOutlived(entry)]
      yield* persistence.dropKeys(over, next)
      return next
    }
  })

  /** Forgets the key of a new login that came to nothing. */
  const unlessTaken = (
    entry: Entry,
    made: Session.Session,
    exit: Exit.Exit<Session.Session, unknown>
  ): Effect.Effect<void> =>
    made.generation > 0
      ? Effect.void
      : persistence.dropKeys([made], Exit.isSuccess(exit) ? exit.value : entry.session)

  /**
   * Puts a newly obtained session in the place of the kept one. One that was read from the storage is taken up as the
   * storage has it by now. When the storage cannot be written it fails, and the session lives on in memory.
   */
  const replace = (
    entry: Entry,
    session: Session.Session,
    options: { readonly revokePrevious: boolean; readonly isImport: boolean }
  ): Effect.Effect<Session.Session, TokenStorageError | SessionLockError> =>
    Effect.suspend(() => {
      flights.giveWayAll(entry)
      if (session.durable) {
        // Owned, as the change is: who goes away meanwhile does not say what becomes of the session and its key.
        return flights.own(
          Effect.onExit(
            flights.change(entry, true, Effect.suspend(() => replaceDurable(entry, session, options))),
            (exit) => unlessTaken(entry, session, exit)
          )
        )
      }
      return flights.change(
        entry,
        false,
        Effect.gen(function*() {
          const drawn = yield* numbered(session, options.isImport)
          const next = session.obtainedAt === undefined && !options.isImport
            ? distinct(drawn, [entry.session])
            : drawn
          const { session: held } = entry
          const isOnlyCopy = entry.unsaved !== undefined
          if (held?.durable === false && Session.login(held) === Session.login(next)) return held
          entries.replaced(entry)
          entries.hold(entry, next, entry.storedGeneration)
          if (held !== undefined && (isOnlyCopy || options.revokePrevious)) yield* revoke(held)
          return next
        })
      )
    })

  /** What the IAM says of a user belongs to the login that was asked about, and to no other. */
  const learned = (
    entry: Entry,
    session: Session.Session,
    user: User.User
  ): Effect.Effect<void, TokenStorageError | SessionLockError> =>
    Effect.suspend(() => {
      const login = Session.login(session)
      const change = (held: Session.Session) => Session.update(held, { user: Option.some(user) })
      if (!session.durable) {
        return flights.change(
          entry,
          false,
          Effect.sync(() => {
            const held = entry.session
            if (held !== undefined && Session.login(held) === login && !held.durable) {
              entries.hold(entry, change(held), entry.storedGeneration)
            }
          })
        )
      }
      return flights.change(entry, true, Effect.suspend(() => persistence.amend(entry, login, change)))
    })

  /** Revokes each of the sessions that the logout ends; the answer is that of the newest, the first. */
  const revokeAll = Effect.fnUntraced(function*(sessions: ReadonlyArray<Session.Session>, isAsked: boolean) {
    if (sessions.length === 0) return notRevoked("nobody was signed in")
    if (!isAsked) return notRevoked("the IAM was not asked to")
    const [newest] = yield* Effect.forEach(sessions, revocations.patiently)
    return newest!
  })

  /** The sessions that end with a logout: that in memory or, where the storage knows better, its; and what it replaced. */
  const ending = (entry: Entry, found: Found | undefined): ReadonlyArray<Session.Session> => {
    const { session: before } = entry
    if (found !== undefined && before?.durable !== false) persistence.absorb(entry, found)
    const { session } = entry
    const also = found?.session
    return [session, also].filter((one, index): one is Session.Session =>
      one !== undefined && Option.isNone(one.dead) &&
      (index === 0 || session === undefined || Session.login(session) !== Session.login(one))
    )
  }

  const removeDurable = Effect.fnUntraced(function*(
    entry: Entry,
    isAsked: boolean
  ): Effect.fn.Return<Revocation, TokenStorageError> {
    let revocation: Revocation | undefined
    let told = new Set<number>()
    for (let conflicts = 0;; conflicts++) {
      const looked = yield* Effect.result(persistence.look(entry))
      const found = Result.isSuccess(looked) ? looked.success : undefined
      const { session: held } = entry
      const sessions = ending(entry, found).filter((one) => !told.has(one.generation))
      told = new Set([...told, ...sessions.map(({ generation }) => generation)])
      if (revocation === undefined || sessions.length > 0) revocation = yield* revokeAll(sessions, isAsked)
      const removed = yield* Effect.result(
        Result.isFailure(looked) ? Effect.fail(looked.failure) : persistence.remove(entry, looked.success)
      )
      if (Result.isSuccess(removed)) {
        entries.left(entry, removed.success)
        yield* persistence.dropKeys([found?.session, found?.left, held, ...entries.takeOutlived(entry)])
        return revocation
      }
      if (persistence.isConflict(removed.failure) && conflicts < mostConflicts) continue
      yield* persistence.abandon(entry)
      entries.leftBehind(entry, found?.session)
      const { method, reason, storage } = removed.failure
      if (reason._tag !== "StorageUnavailable") return yield* removed.failure
      return yield* new TokenStorageError({
        storage,
        method,
        reason: new StorageUnavailable({
          detail: `${reason.detail}; ${leftBehind(revocation)}`,
          written: reason.written,
          ...(reason.tried === undefined ? {} : { tried: reason.tried })
        })
      })
    }
  })

  /**
   * Ends the session: the IAM is told of the newest one if asked to, then the document goes. In this process the session
   * ends in any case; the error names what is left, and where.
   */
  const remove = (
    entry: Entry,
    options: { readonly revoke: boolean }
  ): Effect.Effect<Revocation, TokenStorageError | SessionLockError> =>
    Effect.suspend(() => {
      // Signing out of a memory-only session leaves the storage alone; clearing the storage does not.
      const isDurable = !options.revoke || entry.session?.durable !== false
      entries.leaving(entry)
      flights.giveWayAll(entry)
      const removal = isDurable
        ? Effect.suspend(() => removeDurable(entry, options.revoke))
        : Effect.gen(function*() {
          const revocation = yield* revokeAll(ending(entry, undefined), options.revoke)
          entries.leftMemory(entry)
          return revocation
        })
      return flights.own(
        flights.changeInTime(entry, isDurable, removal).pipe(
          Effect.catchTag("SessionLockError", (error) => removeWithout(entry, options.revoke, error)),
          Effect.ensuring(Effect.sync(() => entries.removed(entry)))
        )
      )
    })

  /** The lock is not free in time: the IAM is told of the newest session that can be read without it. */
  const removeWithout = Effect.fnUntraced(function*(entry: Entry, isAsked: boolean, error: SessionLockError) {
    const looked = yield* Effect.result(persistence.look(entry))
    const found = Result.isSuccess(looked) ? looked.success : undefined
    const sessions = ending(entry, found)
    const abandoned = persistence.abandon(entry)
    // Before the IAM is told: who signs in meanwhile, and is written when the lock is free, stays signed in.
    entries.leftBehind(entry, found?.session)
    const revocation = yield* revokeAll(sessions, isAsked)
    yield* abandoned
    return yield* new SessionLockError({
      key: error.key,
      purpose: error.purpose,
      ...(error.holder === undefined ? {} : { holder: error.holder }),
      detail: `${error.detail}; ${leftBehind(revocation)}`
    })
  })

  return { replace, learned, remove }
}
