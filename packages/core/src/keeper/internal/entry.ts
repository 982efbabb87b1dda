/**
 * What memory holds of the sessions. An `Entry` is one session as this process holds it; every change of an entry is one
 * of the functions below, by name, and nobody else writes its fields. Nothing here waits or reads.
 */
import type * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import type * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Random from "effect/Random"
import { type AuthError, NotAuthenticated, ReauthenticationRequired } from "../../AuthError.ts"
import * as RefreshPolicy from "../../session/RefreshPolicy.ts"
import * as Selection from "../../session/Selection.ts"
import * as Session from "../../session/Session.ts"
import type { SessionKey } from "../../session/SessionKey.ts"
import { SessionState } from "../../session/SessionState.ts"
import * as TokenSet from "../../session/TokenSet.ts"
import type { TokenStorageError } from "../../storage/TokenStorageError.ts"
import * as Decision from "./decision.ts"
import * as Pause from "./pause.ts"
import { type Flight, Trouble, type Unsaved } from "./trouble.ts"

export class Entry {
  readonly key: SessionKey
  /** The session, or nothing: not loaded, or signed out. */
  session: Session.Session | undefined = undefined
  loaded = false
  /** The generation that was last seen in the storage; 0: absent. */
  storedGeneration = 0
  /** The greatest generation that was ever seen: a login's first is beyond it. */
  highestGeneration = 0
  /** Grows with every change of the session: what was read before one is not taken up after it. */
  writes = 0
  /** A memory-only session was dropped here: the stored one, if any, is not taken up before the next login. */
  detached = false
  /** Removals under way: nobody is handed a token meanwhile. */
  removals = 0
  forgotten = false
  /** The last epoch millisecond at which `ready` may be handed out without a further look. */
  readyUntil = Number.NEGATIVE_INFINITY
  ready: Effect.Effect<TokenSet.TokenSet, AuthError> = Effect.never
  /** When the scheduler looks at this session again, in epoch milliseconds, and its place among the others. */
  dueAt = Number.POSITIVE_INFINITY
  heapIndex = -1
  /** In [0, 1): where in its window the scheduler renews this session. */
  jitter = 0
  trouble: Trouble | undefined = undefined

  constructor(key: SessionKey) {
    this.key = key
  }

  get isRenewing(): boolean {
    return this.trouble?.flights !== undefined
  }

  /** The number of the login that stands; 0: none, or one of before logins had numbers. */
  get login(): number {
    return this.session === undefined ? 0 : Session.login(this.session)
  }

  get unsaved(): Unsaved | undefined {
    return this.trouble?.unsaved
  }

  get failure(): AuthError | undefined {
    return this.trouble?.failure
  }

  /** Whether a put could still land, so that absence would not be enough. */
  get hasUnknownPut(): boolean {
    return this.trouble?.hasUnknownPut === true
  }
}

const maxTime = 8.64e15

const isPassing = (failure: AuthError | undefined): boolean => failure?._tag !== "IamError" || failure.isRetryable

export type Entries = ReturnType<typeof make>

/** `changed` is told of every entry that changed, after the change. */
export const make = (options: {
  readonly policy: RefreshPolicy.RefreshPolicy
  readonly clock: Clock.Clock
  readonly random: typeof Random.Random.Service
  readonly changed: (entry: Entry, state: SessionState, dueAt: number) => void
  readonly forgot: (entry: Entry) => void
}) => {
  const { clock, policy, random } = options
  const entries = new Map<string, Entry>()
  const nowMillis = () => clock.currentTimeMillisUnsafe()
  const now = () => DateTime.makeUnsafe(nowMillis())

  // -------------------------------------------------------------------------------------------------------------------
  // what an entry says
  // -------------------------------------------------------------------------------------------------------------------

  const of = (key: SessionKey): Entry => {
    const known = entries.get(key.id)
    if (known !== undefined) return known
    const entry = new Entry(key)
    entries.set(key.id, entry)
    return entry
  }

  const stateOf = (entry: Entry): SessionState => {
    const { session, trouble } = entry
    if (session === undefined || entry.removals > 0) return SessionState.SignedOut({ detail: trouble?.detail })
    if (!Session.isAlive(session, now()) || Option.isSome(session.dead)) {
      return SessionState.ReauthenticationRequired({ session, ...Session.ending(session, now()) })
    }
    if (trouble?.flights !== undefined) return SessionState.Renewing({ session })
    if (trouble?.failure !== undefined) {
      const nextAttempt = DateTime.makeUnsafe(Math.min(restOf(entry, session).until, maxTime))
      return SessionState.Stale({ session, cause: trouble.failure.message, nextAttempt })
    }
    const { unsaved } = entry
    return SessionState.SignedIn({
      session,
      unsaved: unsaved === undefined ? undefined : { cause: unsaved.cause, since: unsaved.since }
    })
  }

  /** When the scheduler has to look at an entry again. */
  const dueAt = (entry: Entry): number => {
    const { session, trouble } = entry
    if (session === undefined || entry.removals > 0 || trouble?.flights !== undefined) return Number.POSITIVE_INFINITY
    const writeAgainAt = trouble?.unsaved === undefined
      ? Number.POSITIVE_INFINITY
      : nowMillis() + Pause.remaining(trouble.unsaved.pause, nowMillis())
    return Math.min(writeAgainAt, renewalDueAt(entry, session))
  }

  const pauseOf = (entry: Entry): number =>
    entry.trouble === undefined ? 0 : Pause.remaining(entry.trouble.pause, nowMillis())

  /**
   * The span in which nobody asks the IAM who can do without: longer than the pause after a refusal that does not pass by
   * itself, but where a session ends with its token, or its grant before that.
   */
  const restOf = (entry: Entry, session: Session.Session): Pause.Pause => {
    const pause = entry.trouble?.pause ?? Pause.over
    if (isPassing(entry.failure) || session.grant._tag === "ExchangeAccessToken") return pause
    const { background } = RefreshPolicy.refused
    const rest = RefreshPolicy.backoffMillis({ first: background, longest: background }, 1, entry.jitter)
    const until = Math.max(pause.until, pause.from + rest)
    const { grant } = session
    const end = grant._tag === "RefreshToken" ? grant.expiresAt : undefined
    return end !== undefined && DateTime.toEpochMillis(end) <= until ? pause : { from: pause.from, until }
  }

  const restLeft = (entry: Entry, session: Session.Session): number =>
    Pause.remaining(restOf(entry, session), nowMillis())

  const renewalDueAt = (entry: Entry, session: Session.Session): number => {
    const tokens = Option.getOrUndefined(Session.currentToken(session))
    if (tokens === undefined || Option.isNone(tokens.expiresAt)) return Number.POSITIVE_INFINITY
    const expiresAt = DateTime.toEpochMillis(tokens.expiresAt.value)
    if (!Session.canRenew(session, now())) return expiresAt > nowMillis() ? expiresAt : Number.POSITIVE_INFINITY
    // Jitter moves the scheduler into the window, never in front of it: a policy may promise the bound to the millisecond.
    const fresh = RefreshPolicy.freshUntil(policy, tokens)
    return Math.max(
      fresh + 1 + entry.jitter * (expiresAt - fresh) * policy.spread,
      nowMillis() + restLeft(entry, session)
    )
  }

  const notAuthenticated = (entry: Entry, detail = entry.trouble?.detail) =>
    new NotAuthenticated({ key: entry.key, ...(detail === undefined ? {} : { detail }) })

  const ended = (entry: Entry, session: Session.Session) =>
    new ReauthenticationRequired({ key: entry.key, ...Session.ending(session, now()) })

  const isRefused = (entry: Entry) => (tokens: TokenSet.TokenSet): boolean =>
    entry.trouble?.refused !== undefined && TokenSet.isSame(entry.trouble.refused, tokens)

  /** How long this process has seen the intent of a session, in milliseconds. */
  const intentSeenFor = (entry: Entry): number => {
    const seen = entry.trouble?.intent
    return seen === undefined ? 0 : Math.max(0, nowMillis() - seen.since)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // the changes of an entry
  // -------------------------------------------------------------------------------------------------------------------

  const inTrouble = (entry: Entry): Trouble => entry.trouble ??= new Trouble()

  /** After every change: what is ready to hand out, and who is told. */
  const settle = (entry: Entry): void => {
    const tokens = entry.session === undefined || entry.removals > 0
      ? undefined
      : Option.getOrUndefined(Session.currentToken(entry.session))
    entry.readyUntil = tokens === undefined
      ? Number.NEGATIVE_INFINITY
      : RefreshPolicy.freshUntil(policy, tokens)
    if (tokens !== undefined) entry.ready = Exit.succeed(tokens)
    const { trouble } = entry
    if (trouble !== undefined) {
      trouble.shared = undefined
      if (trouble.isOver) entry.trouble = undefined
    }
    options.changed(entry, stateOf(entry), dueAt(entry))
  }

  const clearFailure = (entry: Entry): void => {
    const { trouble } = entry
    if (trouble === undefined) return
    trouble.failures = 0
    trouble.failure = undefined
    trouble.hasty = 0
    trouble.pause = Pause.over
  }

  const noteIntent = (entry: Entry): void => {
    const intent = entry.session === undefined ? undefined : Option.getOrUndefined(entry.session.intent)
    if (intent === undefined) {
      if (entry.trouble !== undefined) entry.trouble.intent = undefined
      return
    }
    const name = `${intent.holder} ${DateTime.toEpochMillis(intent.at)} ${intent.nonce ?? ""}`
    const trouble = inTrouble(entry)
    if (trouble.intent?.name !== name) trouble.intent = { name, since: nowMillis() }
  }

  const set = (entry: Entry, session: Session.Session | undefined, unsaved?: Unsaved): void => {
    const isOther = (session === undefined ? 0 : Session.login(session)) !== entry.login
    entry.session = session
    entry.writes += 1
    entry.loaded = true
    if (session !== undefined) entry.highestGeneration = Math.max(entry.highestGeneration, session.generation)
    if (unsaved !== undefined || entry.trouble !== undefined) inTrouble(entry).unsaved = unsaved
    const refused = entry.trouble?.refused
    const isHeld = session !== undefined && refused !== undefined &&
      Object.values(session.tokens).some((tokens) => TokenSet.isSame(tokens, refused))
    if (entry.trouble !== undefined && (isOther || !isHeld)) entry.trouble.refused = undefined
    noteIntent(entry)
    entry.jitter = random.nextDoubleUnsafe()
    settle(entry)
  }

  const sawStored = (entry: Entry, generation: number): void => {
    entry.storedGeneration = generation
    entry.highestGeneration = Math.max(entry.highestGeneration, generation)
  }

  const isDue = (session: Session.Session | undefined): boolean =>
    session !== undefined && Session.canRenew(session, now()) &&
    Option.exists(Session.currentToken(session), (tokens) => nowMillis() >= RefreshPolicy.freshUntil(policy, tokens))

  /** What the storage holds stands: `undefined` for nobody. */
  const takeUp = (entry: Entry, session: Session.Session | undefined, generation: number): void => {
    sawStored(entry, generation)
    const had = entry.session
    const isNews = session?.generation !== had?.generation || (session === undefined) !== (had === undefined) ||
      entry.unsaved !== undefined || (session !== undefined && Session.login(session) !== entry.login)
    if (!isNews) {
      entry.loaded = true
      return
    }
    // The echo of an intent, also of this process, is no reason to ask an IAM again that is not available.
    // Nor is a token that is due as soon as it comes.
    const isHasty = (entry.trouble?.hasty ?? 0) > 0 && isDue(session)
    if (!isHasty && !Decision.isSameState(session, had)) clearFailure(entry)
    if (session !== undefined && entry.trouble !== undefined) entry.trouble.detail = undefined
    if (session === undefined && had !== undefined) inTrouble(entry).detail = "signed out by another program"
    set(entry, session)
  }

  /** The storage was looked at, and what memory holds stands. */
  const keep = (entry: Entry, generation: number): void => {
    sawStored(entry, generation)
    entry.loaded = true
  }

  /** A session was written, or one that may not be stored has changed. */
  const hold = (entry: Entry, session: Session.Session, generation: number): void => {
    if (session.durable) {
      sawStored(entry, generation)
      if (entry.trouble !== undefined) entry.trouble.leftLogins = []
    }
    set(entry, session)
  }

  /** A session is in memory only, against its nature, and is written again. */
  const holdUnsaved = (
    entry: Entry,
    session: Session.Session,
    unsaved: Decision.Unsaved & { readonly cause: string; readonly isUnknown: boolean }
  ): void => {
    const before = entry.unsaved
    const tries = before === undefined ? 1 : before.tries + 1
    const millis = RefreshPolicy.backoffMillis(RefreshPolicy.unsaved, tries, 0)
    set(entry, session, {
      ...unsaved,
      isUnknown: unsaved.isUnknown || before?.isUnknown === true,
      since: before?.since ?? now(),
      tries,
      pause: Pause.start(nowMillis(), millis)
    })
  }

  /** An unsaved session is being written: it is not due again meanwhile. */
  const writingAgain = (entry: Entry): void => {
    const { trouble } = entry
    if (trouble?.unsaved === undefined) return
    const millis = Duration.toMillis(RefreshPolicy.unsaved.longest)
    trouble.unsaved = { ...trouble.unsaved, pause: Pause.start(nowMillis(), millis) }
  }

  /** An unsaved session could not even be locked or read, to be written: it is written again later all the same. */
  const notWritten = (entry: Entry, cause: string): void => {
    const { session, unsaved } = entry
    if (session === undefined || unsaved === undefined || Pause.remaining(unsaved.pause, nowMillis()) > 0) return
    holdUnsaved(entry, session, { ...unsaved, cause })
  }

  /** Another login stands from now on: nothing of the one before counts any more. */
  const replaced = (entry: Entry): void => {
    entry.detached = false
    clearFailure(entry)
    if (entry.trouble !== undefined) {
      entry.trouble.detail = undefined
      entry.trouble.refused = undefined
    }
  }

  /**
   * The logins that one which cannot be stored takes the place of: the `stored` one where it was read, that in memory, and
   * those that were signed out here and left behind, which the new one stands for from now on.
   */
  const superseded = (entry: Entry, stored: Session.Session | undefined): ReadonlyArray<number> => {
    const { session, trouble, unsaved } = entry
    const logins = [stored, session?.durable === true ? session : undefined].flatMap((one) =>
      one === undefined ? [] : [Session.login(one)]
    )
    const left = trouble?.leftLogins ?? []
    if (trouble !== undefined) trouble.leftLogins = []
    return [...new Set([...logins, ...(unsaved?.replaced ?? []), ...left])]
  }

  /**
   * The clock was set back: every due time is judged again. A pause that begins in the future is over, and an intent that
   * was first seen then counts as seen now.
   */
  const settleAll = (): void => {
    for (const entry of entries.values()) {
      const { trouble } = entry
      if (trouble !== undefined && trouble.pause.from > nowMillis()) trouble.pause = Pause.over
      if (trouble?.intent !== undefined && trouble.intent.since > nowMillis()) {
        trouble.intent = { name: trouble.intent.name, since: nowMillis() }
      }
      settle(entry)
    }
  }

  /** A removal has begun: nobody is handed a token any more. */
  const leaving = (entry: Entry): void => {
    entry.removals += 1
    entry.writes += 1
    if (entry.trouble !== undefined) entry.trouble.detail = undefined
    settle(entry)
  }

  /** The session is gone, here and in the storage; `generation` is that of the mark that it left there (0: absent). */
  const left = (entry: Entry, generation: number): void => {
    clearFailure(entry)
    sawStored(entry, generation)
    if (entry.trouble !== undefined) entry.trouble.hasUnknownPut = false
    set(entry, undefined)
  }

  /** A memory-only session is gone. The stored one, if any, is not taken up. */
  const leftMemory = (entry: Entry): void => {
    clearFailure(entry)
    entry.detached = true
    set(entry, undefined)
  }

  /**
   * Who was signed in is gone here, and no document could be removed: neither that of the session in memory, nor the one
   * that `stored` was read from or that a login which could not be stored was to replace.
   */
  const leftBehind = (entry: Entry, stored: Session.Session | undefined): void => {
    const { session, unsaved } = entry
    const ended = [session, stored].flatMap((one) => one === undefined ? [] : [Session.login(one)])
    clearFailure(entry)
    const trouble = inTrouble(entry)
    trouble.leftLogins = [
      ...new Set([
        ...trouble.leftLogins,
        ...ended,
        ...(unsaved?.replaced ?? [])
      ])
    ]
    set(entry, undefined)
  }

  /** What a program that signed out is not to see again. */
  const isLeftBehind = (entry: Entry, session: Session.Session): boolean =>
    entry.trouble?.leftLogins.includes(Session.login(session)) === true

  /** Remembers sessions whose keys are of no use any more once the one in memory is written, or has given way. */
  const outlives = (entry: Entry, sessions: ReadonlyArray<Session.Session | undefined>): void => {
    for (const one of sessions) {
      if (one?.proofKey !== undefined) (inTrouble(entry).outlived ??= new Map()).set(Session.login(one), one)
    }
  }

  /** Those sessions, once. */
  const takeOutlived = ({ trouble }: Entry): ReadonlyArray<Session.Session> => {
    const outlived = trouble?.outlived
    if (trouble === undefined || outlived === undefined) return []
    trouble.outlived = undefined
    return [...outlived.values()]
  }

  /** A put has an unknown outcome. */
  const putUnknown = (entry: Entry): void => {
    inTrouble(entry).hasUnknownPut = true
  }

  /** Drops an entry, unless something of it is in memory only or somebody works on it; whether it did. */
  const forget = (entry: Entry): boolean => {
    if (entry.forgotten) return true
    const { session, trouble } = entry
    const isOnlyCopy = (session !== undefined && !session.durable) || entry.detached ||
      (trouble !== undefined &&
        (trouble.unsaved !== undefined || trouble.leftLogins.length > 0 || trouble.hasUnknownPut))
    const isBusy = entry.removals > 0 ||
      (trouble !== undefined && (trouble.users > 0 || trouble.flights !== undefined ||
        trouble.loading !== undefined || Pause.remaining(trouble.pause, nowMillis()) > 0))
    if (isOnlyCopy || isBusy) return false
    entry.forgotten = true
    entries.delete(entry.key.id)
    options.forgot(entry)
    return true
  }

  /** A removal has ended. An entry that it left empty goes by itself. */
  const removed = (entry: Entry): void => {
    entry.removals -= 1
    settle(entry)
    if (entry.session === undefined) forget(entry)
  }

  const damaged = (entry: Entry, detail: string): void => {
    inTrouble(entry).detail = detail
  }

  const beganLoading = (entry: Entry, loading: Deferred.Deferred<void, TokenStorageError>): void => {
    inTrouble(entry).loading = loading
  }

  /** Lets those who come during the first read wait for one look at what it finds. */
  const looksFirst = (
    entry: Entry,
    tokens: Effect.Effect<TokenSet.TokenSet, AuthError>
  ): Effect.Effect<TokenSet.TokenSet, AuthError> => inTrouble(entry).firstLook = tokens

  /** A sibling wrote; whether the storage is being read, so that it has to be read again. */
  const heard = (entry: Entry): boolean => {
    if (entry.trouble?.loading === undefined) return false
    entry.trouble.hasHeard = true
    return true
  }

  /** Whether a sibling wrote since the last look. */
  const hasHeard = (entry: Entry): boolean => {
    const { trouble } = entry
    if (trouble?.hasHeard !== true) return false
    trouble.hasHeard = false
    return true
  }

  const loaded = (entry: Entry): void => {
    const { trouble } = entry
    if (trouble === undefined) return
    trouble.loading = undefined
    trouble.firstLook = undefined
    if (trouble.isOver) entry.trouble = undefined
  }

  const tookOff = (entry: Entry, name: string, flight: Flight): void => {
    const trouble = inTrouble(entry)
    trouble.flights ??= new Map()
    trouble.flights.set(name, flight)
    settle(entry)
  }

  const landed = (entry: Entry, name: string, flight: Flight): void => {
    const { trouble } = entry
    if (trouble?.flights?.get(name) === flight) {
      trouble.flights.delete(name)
      if (trouble.flights.size === 0) trouble.flights = undefined
    }
    settle(entry)
  }

  /** The name of a flight: who changes the current selection joins nobody whose change another one is about to undo. */
  const flightName = (entry: Entry, target: Decision.Target): string => {
    const id = Selection.id(target.selection)
    if (!target.makeCurrent) return `${target.login} ${id}`
    const trouble = inTrouble(entry)
    if (trouble.lastSelection !== id) {
      trouble.lastSelection = id
      trouble.selectionChanges += 1
    }
    return `${target.login} ${id} ${trouble.selectionChanges}`
  }

  /** Lets those who come later wait for the same renewal without a further look, for as long as nothing changes. */
  const share = (entry: Entry, tokens: Effect.Effect<TokenSet.TokenSet, AuthError>): void => {
    inTrouble(entry).shared = { since: nowMillis(), tokens }
  }

  // By a clock that was set back, the token may be valid again.
  const sharedBy = (entry: Entry): Effect.Effect<TokenSet.TokenSet, AuthError> | undefined => {
    const shared = entry.trouble?.shared
    return shared !== undefined && nowMillis() >= shared.since ? shared.tokens : undefined
  }

  /** An API refused a token: it counts as no token any more. */
  const refusedByApi = (entry: Entry, tokens: TokenSet.TokenSet): void => {
    inTrouble(entry).refused = tokens
    settle(entry)
  }

  /** A renewal succeeded. One whose token is due at once is followed by a growing pause, or it would loop. */
  const renewed = (entry: Entry): void => {
    const hasty = isDue(entry.session) ? (entry.trouble?.hasty ?? 0) + 1 : 0
    clearFailure(entry)
    if (hasty === 0) return
    const trouble = inTrouble(entry)
    trouble.hasty = hasty
    trouble.pause = Pause.start(nowMillis(), RefreshPolicy.backoffMillis(policy.backoff, hasty, 0))
  }

  const failed = (entry: Entry, target: Decision.Target | undefined, error: AuthError): void => {
    if (error._tag === "NotAuthenticated" || error._tag === "ReauthenticationRequired") return clearFailure(entry)
    const isSelection = error._tag === "IamError" && error.reason._tag === "SelectionRefused"
    // That another selection is refused says nothing about the one in use.
    if (
      isSelection && target !== undefined && entry.session !== undefined && !Decision.isCurrent(entry.session, target)
    ) return
    const trouble = inTrouble(entry)
    trouble.failures += 1
    trouble.failure = error
    const wish = error._tag === "IamError" && error.reason._tag === "Unavailable" && error.reason.retryAfter
    const { first, longest } = policy.backoff
    const most = isPassing(error) ? longest : Duration.max(longest, RefreshPolicy.refused.longest)
    const backoff = RefreshPolicy.backoffMillis({ first, longest: most }, trouble.failures, random.nextDoubleUnsafe())
    const asked = wish ? Duration.toMillis(Duration.min(wish, RefreshPolicy.longestRetryAfter)) : 0
    trouble.pause = Pause.start(nowMillis(), Math.max(backoff, asked))
  }

  /** Excludes all others who change the entry, or the storage under its key, in this process. */
  const exclusively = (entry: Entry) => <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const trouble = inTrouble(entry)
      trouble.users += 1
      return Effect.ensuring(
        trouble.turn.withPermit(effect),
        Effect.sync(() => {
          trouble.users -= 1
          if (trouble.isOver && entry.trouble === trouble) entry.trouble = undefined
        })
      )
    })

  return {
    now,
    nowMillis,
    of,
    find: (id: string): Entry | undefined => entries.get(id),
    all: (): Iterable<Entry> => entries.values(),
    stateOf,
    dueAt,
    pauseOf,
    restLeft,
    notAuthenticated,
    ended,
    isRefused,
    intentSeenFor,
    settle,
    settleAll,
    takeUp,
    keep,
    hold,
    holdUnsaved,
    writingAgain,
    notWritten,
    replaced,
    superseded,
    leaving,
    left,
    leftMemory,
    leftBehind,
    isLeftBehind,
    outlives,
    takeOutlived,
    putUnknown,
    removed,
    damaged,
    beganLoading,
    looksFirst,
    heard,
    hasHeard,
    loaded,
    tookOff,
    landed,
    flightName,
    share,
    sharedBy,
    refusedByApi,
    renewed,
    failed,
    exclusively,
    forget
  }
}
