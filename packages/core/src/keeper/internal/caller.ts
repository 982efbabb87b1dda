/**
 * What callers meet: a token that is valid now. The decision is pure (`decision.ts`); here it is carried out, again and
 * again until something can be handed out or nothing is left to try.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { AuthError } from "../../AuthError.ts"
import type { RefreshPolicy } from "../../session/RefreshPolicy.ts"
import * as Selection from "../../session/Selection.ts"
import * as Session from "../../session/Session.ts"
import * as TokenSet from "../../session/TokenSet.ts"
import type { TokenStorageError } from "../../storage/TokenStorageError.ts"
import * as Decision from "./decision.ts"
import type { Entries, Entry } from "./entry.ts"
import * as Pause from "./pause.ts"
import type { Persistence } from "./persistence.ts"
import type { SingleFlight } from "./singleFlight.ts"

export type Callers = ReturnType<typeof make>

const isPassing = (error: AuthError): boolean => error._tag === "IamError" && error.reason._tag === "Unavailable"

// How often one call of a caller that has no valid token asks an IAM that is not available.
const attemptsPerCall = 3

// How often one call looks again because somebody else made a new session.
const looksPerCall = 16

export const make = (options: {
  readonly policy: RefreshPolicy
  readonly entries: Entries
  readonly persistence: Persistence
  readonly flights: SingleFlight
}) => {
  const { entries, flights, persistence, policy } = options

  /** The session, read from the storage if memory has none (or, with `again`, in any case). */
  const known = (entry: Entry, again = false): Effect.Effect<Session.Session | undefined, TokenStorageError> =>
    Effect.map(
      entry.removals === 0 && (again || !entry.loaded || entry.session === undefined)
        ? flights.load(entry)
        : Effect.void,
      () => entry.removals === 0 ? entry.session : undefined
    )

  const join = (entry: Entry, target: Decision.Target) =>
    flights.join(entry, target, () => {
      const { session } = entry
      if (session === undefined || Session.login(session) !== target.login) return true
      const tokens = Option.getOrUndefined(Session.tokenFor(session, target.selection))
      return tokens !== undefined && !Option.exists(target.seen, (seen) => TokenSet.isSame(seen, tokens)) &&
        Decision.isFresh(policy, tokens, entries.now()) && isValid(tokens)
    })

  const targetOf = (
    session: Session.Session,
    selection: Selection.Selection,
    why: Decision.Why,
    makeCurrent = false
  ): Decision.Target => ({
    selection,
    seen: Session.tokenFor(session, selection),
    why,
    makeCurrent,
    login: Session.login(session)
  })

  /** A token that is valid now, when memory alone could not tell; after `attempts` that failed. */
  const obtain = Effect.fnUntraced(function*(
    entry: Entry,
    asked: Selection.Input | undefined,
    attempts = 0
  ): Effect.fn.Return<TokenSet.TokenSet, AuthError> {
    let again = false
    for (let looks = 0;; looks++) {
      const session = yield* known(entry, again)
      const shared = asked === undefined && attempts === 0 ? entries.sharedBy(entry) : undefined
      if (shared !== undefined) return yield* shared
      if (session === undefined) return yield* entries.notAuthenticated(entry)
      const selection = asked === undefined ? session.current : Selection.refine(session.current, asked)
      const decision = Decision.forCaller(policy, session, {
        selection,
        now: entries.now(),
        attempts,
        pause: entries.pauseOf(entry),
        rest: entries.restLeft(entry, session),
        hasFailure: entry.failure !== undefined,
        hasLookedAgain: again || looks >= looksPerCall
      })
      switch (decision._tag) {
        case "HandOut":
          return decision.tokens
        case "HandOutAndRenew":
          join(entry, targetOf(session, selection, "due"))
          return decision.tokens
        case "Ended":
          return yield* entries.ended(entry, session)
        case "Fail":
          return yield* entry.failure!
        case "LookAgain":
          again = true
          continue
        case "Wait":
          yield* Effect.sleep(Duration.millis(decision.millis))
          continue
        case "Join":
      }
      const { spare } = decision
      const flight = join(entry, targetOf(session, selection, spare === undefined ? "expired" : "due"))
      if (asked === undefined && spare === undefined && !Deferred.isDoneUnsafe(flight)) share(entry, flight, selection)
      const landed = yield* Effect.result(Deferred.await(flight))
      if (Result.isSuccess(landed)) {
        const made = handedOut(landed.success, selection)
        if (made !== undefined) return made
        if (looks >= looksPerCall) return yield* entries.ended(entry, session)
        continue
      }
      const { failure } = landed
      // The last check stands at the door: what was valid when the call began may have ended while it waited.
      const left = entry.session === undefined || Session.login(entry.session) !== Session.login(session)
        ? undefined
        : handedOut(entry.session, selection)
      if (left !== undefined) return left
      attempts += 1
      if (!isPassing(failure) || attempts >= attemptsPerCall) return yield* failure
    }
  })

  const isValid = (tokens: TokenSet.TokenSet): boolean => TokenSet.isValid(tokens, entries.now())

  /** What of a session may be handed out now: nothing that has expired. */
  const handedOut = (
    session: Session.Session | undefined,
    selection: Selection.Selection
  ): TokenSet.TokenSet | undefined =>
    session === undefined
      ? undefined
      : Option.getOrUndefined(Option.filter(Session.tokenFor(session, selection), isValid))

  /** Lets those who come later wait for the same renewal without a further look, for as long as nothing changes. */
  const share = (
    entry: Entry,
    flight: Deferred.Deferred<Session.Session | undefined, AuthError>,
    selection: Selection.Selection
  ): void =>
    entries.share(
      entry,
      Effect.matchEffect(Deferred.await(flight), {
        onFailure: (error) => isPassing(error) ? obtain(entry, undefined, 1) : Effect.fail(error),
        onSuccess: (session) => {
          const made = handedOut(session, selection)
          return made === undefined ? obtain(entry, undefined) : Effect.succeed(made)
        }
      })
    )

  const token = (entry: Entry): Effect.Effect<TokenSet.TokenSet, AuthError> =>
    entries.nowMillis() <= entry.readyUntil
      ? entry.ready
      : entries.sharedBy(entry) ?? onceRead(entry) ?? obtain(entry, undefined)

  /** What those wait for who come while the session is read for the first time: one look at it, for all of them. */
  const onceRead = (entry: Entry): Effect.Effect<TokenSet.TokenSet, AuthError> | undefined => {
    const trouble = entry.loaded ? undefined : entry.trouble
    if (trouble?.loading === undefined) return undefined
    const known = trouble.firstLook
    if (known !== undefined) return known
    const looked = flights.begin(obtain(entry, undefined))
    const tokens = Effect.filterOrElse(Deferred.await(looked), isValid, () => obtain(entry, undefined))
    return entries.looksFirst(entry, tokens)
  }

  /** A token and its login as one value: never the token of one login with the number of another. */
  const bearer = Effect.fnUntraced(function*(
    entry: Entry,
    asked: Selection.Input | undefined
  ): Effect.fn.Return<Session.Bearer, AuthError> {
    for (let looks = 0; looks < looksPerCall; looks++) {
      const tokens = yield* asked === undefined ? token(entry) : obtain(entry, asked)
      const { session } = entry
      const isOfIt = session !== undefined &&
        Object.values(session.tokens).some((held) => TokenSet.isSame(held, tokens))
      if (isOfIt) return Session.bearer(session, tokens)
    }
    return yield* entries.notAuthenticated(entry, "others keep signing in and out")
  })

  /** Renews now; with `makesCurrent` a selection becomes the current one. */
  const renew = Effect.fnUntraced(function*(
    entry: Entry,
    asked: Selection.Input | undefined,
    makesCurrent: boolean
  ): Effect.fn.Return<Session.Session, AuthError> {
    const began = yield* known(entry)
    if (began === undefined) return yield* entries.notAuthenticated(entry)
    for (let looks = 0; looks < looksPerCall; looks++) {
      const { session } = entry
      if (session === undefined || entry.removals > 0) return yield* entries.notAuthenticated(entry)
      // Somebody signed in meanwhile: that is newer than what was asked for.
      if (Session.login(session) !== Session.login(began) && (asked === undefined || !makesCurrent)) return session
      const selection = asked === undefined ? session.current : Selection.refine(session.current, asked)
      const renewed = yield* Deferred.await(
        join(entry, targetOf(session, selection, "asked", makesCurrent && asked !== undefined))
      )
      if (renewed !== undefined) return renewed
    }
    return yield* entries.notAuthenticated(entry, "others keep signing in and out")
  })

  /** What a session is to be renewed for now: nothing where its current token is fresh, or the last one that there is. */
  const due = (isDue: (session: Session.Session) => boolean) => (session: Session.Session) => {
    const tokens = Option.getOrUndefined(Session.currentToken(session))
    const isEnough = tokens !== undefined && isValid(tokens) && (!Session.canRenew(session, entries.now()) ||
      (Decision.isFresh(policy, tokens, entries.now()) && !isDue(session)))
    return isEnough ? undefined : targetOf(session, session.current, "freshen")
  }

  /** Renews what is due, and waits for it. What nobody has read yet is read under the lock only. */
  const freshen = Effect.fnUntraced(function*(
    entry: Entry,
    isDue: (session: Session.Session) => boolean
  ): Effect.fn.Return<Session.Session, AuthError> {
    const aim = due(isDue)
    for (let looks = 0; looks < looksPerCall; looks++) {
      if (!entry.loaded && !entry.detached && entry.removals === 0) {
        const isServed = () => entry.session !== undefined && aim(entry.session) === undefined
        const renewed = yield* Deferred.await(flights.join(entry, aim, isServed))
        if (renewed !== undefined && handedOut(renewed, renewed.current) !== undefined) return renewed
        continue
      }
      const session = yield* known(entry)
      if (session === undefined) return yield* entries.notAuthenticated(entry)
      const target = aim(session)
      if (target === undefined) return session
      if (!Session.canRenew(session, entries.now())) return yield* entries.ended(entry, session)
      const renewed = yield* Deferred.await(join(entry, target))
      if (renewed !== undefined && handedOut(renewed, renewed.current) !== undefined) return renewed
    }
    return yield* entries.notAuthenticated(entry, "others keep signing in and out")
  })

  /** Another token in the place of one that an API refused; of the same login, or none. */
  const rejected = Effect.fnUntraced(function*(
    entry: Entry,
    bearer: Session.Bearer,
    asked: Selection.Input | undefined
  ): Effect.fn.Return<Session.Bearer, AuthError> {
    yield* known(entry)
    let failure: AuthError | undefined
    for (let looks = 0; looks < looksPerCall; looks++) {
      const { session } = entry
      if (session === undefined || entry.removals > 0) return yield* entries.notAuthenticated(entry)
      const login = Session.login(session)
      if (login !== bearer.login) {
        return yield* entries.notAuthenticated(entry, "the refused token is of an earlier login")
      }
      const selection = asked === undefined ? session.current : Selection.refine(session.current, asked)
      const held = handedOut(session, selection)
      if (held !== undefined && !TokenSet.isSame(held, bearer.tokens)) return Session.bearer(session, held)
      if (failure !== undefined) return yield* failure
      if (entry.failure !== undefined && entries.pauseOf(entry) > 0) return yield* entry.failure
      if (held !== undefined) entries.refusedByApi(entry, held)
      const landed = yield* Effect.result(Deferred.await(join(entry, targetOf(session, selection, "refused"))))
      if (Result.isFailure(landed)) failure = landed.failure
      const renewed = Result.isSuccess(landed) ? landed.success : undefined
      const made = handedOut(renewed, selection)
      if (renewed !== undefined && made !== undefined) return { ...Session.bearer(renewed, made), login }
    }
    return yield* entries.notAuthenticated(entry, "others keep signing in and out")
  })

  /** What the scheduler does with a session whose time has come. */
  const renewIfDue = (entry: Entry): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { session, unsaved } = entry
      if (session === undefined || entry.forgotten) return Effect.void
      if (unsaved !== undefined && Pause.remaining(unsaved.pause, entries.nowMillis()) === 0) {
        return Effect.catch(
          flights.change(entry, session.durable, persistence.reconcile(entry)),
          (error) => Effect.sync(() => entries.notWritten(entry, error.message))
        )
      }
      const isRenewable = Session.canRenew(session, entries.now()) && entries.restLeft(entry, session) === 0
      const tokens = Session.currentToken(session)
      if (isRenewable && !Option.exists(tokens, (held) => Decision.isFresh(policy, held, entries.now()))) {
        return Effect.ignore(Deferred.await(join(entry, targetOf(session, session.current, "due"))))
      }
      return Effect.sync(() => entries.settle(entry))
    })

  return { known, token, obtain, bearer, renew, freshen, rejected, renewIfDue }
}
