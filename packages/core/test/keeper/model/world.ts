// The world of the model: one IAM, one storage and its lock, and two programs, each with its own clock, its own way to the
// three, and its own troubles. What happens is noted as the world sees it, never as the keeper does.
import {
  AuthManager,
  IamClient,
  IamError,
  Selection,
  Session,
  SessionLock,
  TokenSet,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { Clock, Context, DateTime, Duration, Effect, Exit, Latch, Layer, Option, Redacted, Scope, Stream } from "effect"
import * as fixtures from "../../fixtures.ts"
import type { Named, Setting, Who } from "./moves.ts"

export const lease = Duration.seconds(45)

/** How many milliseconds after the disk takes everything again what is only in memory has been written. */
export const soon = 20_000

/** A refresh token that a program presented, and what the model may judge it by. */
export interface Presentation {
  readonly who: Who
  readonly seq: number
  readonly program: Away
  readonly at: number
  readonly refresh: number
  /** Whether, by the presenter's clock, no token of the selection or the current one is valid and not refused. */
  readonly isNothingLeft: boolean
  /** Whether the IAM may have acted: what nobody acted on may be presented again. */
  mayHaveActed: boolean
  /** Whether its answer did not come home. */
  isLost: boolean
  /** The answer that came home: when, and with which refresh token. */
  answer: { readonly seq: number; readonly at: number; readonly refresh: number } | undefined
  /** Whether the IAM said that it never renews with it: nothing is left to revoke. */
  isDead: boolean
}

/** A change of the document: of which login, with which refresh token; nothing of both where it was removed. */
export interface Write {
  readonly seq: number
  readonly at: number
  readonly login: number | undefined
  readonly refresh: number | undefined
}

export const tokenNumber = (token: Redacted.Redacted): number => Number(Redacted.value(token).replace(/^\w+-/, ""))

export const refreshOf = (session: { readonly grant: Session.Grant }): number | undefined =>
  session.grant._tag === "RefreshToken" ? tokenNumber(session.grant.refreshToken) : undefined

/** One program, from its start to its end: another one takes its place after a restart. */
export interface Program {
  readonly who: Who
  readonly auth: AuthManager.AuthManager["Service"]
  readonly clock: Clock.Clock
  readonly scope: Scope.Closeable
  readonly away: Away
}

/** Whether a program runs. One that crashed stays away. */
export interface Away {
  isFrozen: boolean
  isDead: boolean
  /** When it ended. */
  endedAt: number
  /** Access tokens that were refused as it showed them: to an API, or to the IAM when it asked who is signed in. */
  readonly refused: Set<number>
  readonly back: Latch.Latch
}

const lifeOf: Record<string, number | undefined> = { a: 24 * 3_600_000, b: 300_000 }

const unavailable = (sent: "no" | "maybe") => new IamError.Unavailable({ sent, detail: "cut" })

const failures: Record<Named<"Answer">["how"], ScriptedIam.Failure> = {
  no: { reason: unavailable("no") },
  maybe: { reason: unavailable("maybe") },
  lost: { reason: unavailable("maybe"), answerLost: true },
  busy: { reason: new IamError.Unavailable({ sent: "no", detail: "busy", retryAfter: Duration.minutes(2) }) },
  dead: { reason: new IamError.GrantDead({ detail: "invalid_grant" }) },
  misconfigured: { reason: new IamError.Misconfigured({ detail: "invalid_client" }) },
  spent: { reason: new IamError.SelectionRefused({ detail: "invalid_target", spent: "maybe" }), answerLost: true },
  refused: { reason: new IamError.SelectionRefused({ detail: "no such project" }) },
  decade: { reason: new IamError.Unavailable({ sent: "no", detail: "busy", retryAfter: Duration.days(3650) }) }
}

const diskError = (method: string, written: "no" | "maybe") =>
  new TokenStorageError.TokenStorageError({
    storage: "memory",
    method,
    reason: new TokenStorageError.StorageUnavailable({ detail: "input/output error", written })
  })

/** What of the environment is broken, to show what is needed: a storage that takes each write, whatever was expected. */
export interface Faults {
  readonly compareAndSet: "intact" | "always"
}

export const none: Faults = { compareAndSet: "intact" }

/** More than any history has room for. */
export const mostPresentations = 10_000

export type World = Effect.Success<ReturnType<typeof make>>

export const make = Effect.fnUntraced(function*(setting: Setting, faults: Faults) {
  const iam = yield* IamClient.IamClient
  const scripted = yield* ScriptedIam.ScriptedIam
  const storage = yield* TokenStorage.TokenStorage
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const pass = (millis: number) => millis === 0 ? Effect.void : clock.sleep(Duration.millis(millis))

  let sequence = 0
  const presentations: Array<Presentation> = []
  const revoked: Array<{ readonly who: Who; readonly seq: number; readonly refresh: number }> = []
  const writes: Array<Write> = []
  /** When a program heard of the others' writes, and when it did not. */
  const ears: Array<{ readonly who: Who; readonly at: number; readonly isDeaf: boolean }> = []
  /** When the disk took everything, and when it did not. */
  const disks: Array<{ readonly at: number; readonly isFine: boolean }> = []
  /** Of each login, by the number that the IAM gives it, the program that it was made for. */
  const madeBy = new Map<number, Who>()
  /** Logins with a put of unknown outcome; a sibling may have seen what their own program does not know of. */
  const unknown = new Set<number>()

  /** What the moves set. */
  const knobs = {
    life: 3_600_000,
    isDueOnArrival: false,
    whoamiDelay: 0,
    answers: new Array<Named<"Answer">["how"]>(),
    disk: "fine" as Named<"Disk">["how"],
    offsets: [0, 0],
    puts: [new Array<Named<"Put">["how"]>(), new Array<Named<"Put">["how"]>()] as const,
    reads: [0, 0],
    deaf: [false, false]
  }

  const setDisk = (how: Named<"Disk">["how"]): void => {
    knobs.disk = how
    disks.push({ at: now(), isFine: how === "fine" })
  }

  const setHints = (who: Who, isLost: boolean): void => {
    knobs.deaf[who] = isLost
    ears.push({ who, at: now(), isDeaf: isLost })
  }

  // -------------------------------------------------------------------------------------------------------------------
  // what a program sees
  // -------------------------------------------------------------------------------------------------------------------

  const gate = (away: Away) => Effect.suspend(() => away.isFrozen ? away.back.await : Effect.void)

  const clockOf = (who: Who, away: Away): Clock.Clock => {
    const offset = () => knobs.offsets[who] ?? 0
    const millis = () => Math.max(0, now() + offset())
    const nanos = () => BigInt(Math.trunc(millis())) * 1_000_000n
    return {
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) => Effect.andThen(clock.sleep(duration), gate(away))
    }
  }

  /** A token counts from its receipt, by the clock of who got it. */
  const received = (response: Session.TokenResponse, own: Clock.Clock): Session.TokenResponse => {
    const life = Option.map(
      response.tokens.expiresAt,
      (end) => DateTime.toEpochMillis(end) - DateTime.toEpochMillis(response.tokens.issuedAt)
    )
    // One that is due has most of its life behind it when it comes.
    const age = knobs.isDueOnArrival && life._tag === "Some" ? life.value - 60_000 : 0
    const issuedAt = DateTime.makeUnsafe(own.currentTimeMillisUnsafe() - Math.max(0, age))
    return {
      ...response,
      tokens: TokenSet.TokenSet.make({
        ...response.tokens,
        issuedAt,
        expiresAt: Option.map(life, (millis) => DateTime.addDuration(issuedAt, millis))
      })
    }
  }

  const isNothingLeft = (away: Away, session: Session.Session, selection: Selection.Selection, at: number) =>
    [session.tokens[Selection.id(selection)], session.tokens[Selection.id(session.current)]].every((tokens) => {
      if (tokens === undefined || away.refused.has(tokenNumber(tokens.accessToken))) return true
      const end = Option.getOrElse(tokens.expiresAt, () => DateTime.addDuration(tokens.issuedAt, Duration.hours(1)))
      return DateTime.toEpochMillis(end) <= at
    })

  const iamOf = (who: Who, away: Away, own: Clock.Clock) => {
    const atIam = <A>(effect: Effect.Effect<A, IamError.IamError>) =>
      Effect.ensuring(Effect.provideService(effect, Clock.Clock, clock), gate(away))
    const withLife = (selection: Selection.Selection) => {
      const millis = lifeOf[selection.project ?? ""] ?? knobs.life
      return scripted.set({ lifetime: millis === 0 ? Duration.infinity : Duration.millis(millis) })
    }
    return IamClient.IamClient.of({
      ...iam,
      login: (credentials, selection) =>
        withLife(selection).pipe(
          Effect.andThen(atIam(iam.login(credentials, selection))),
          Effect.map((response) => {
            madeBy.set(refreshOf(response) ?? 0, who)
            return received(response, own)
          })
        ),
      renew: (session, selection) =>
        Effect.gen(function*() {
          const presentation: Presentation = {
            who,
            seq: ++sequence,
            program: away,
            at: now(),
            refresh: refreshOf(session) ?? 0,
            isNothingLeft: isNothingLeft(away, session, selection, own.currentTimeMillisUnsafe()),
            mayHaveActed: true,
            isLost: true,
            answer: undefined,
            isDead: false
          }
          presentations.push(presentation)
          // A loop would never end.
          if (presentations.length > mostPresentations) return yield* Effect.never
          yield* withLife(selection)
          const answer = knobs.answers.shift()
          if (answer !== undefined) yield* scripted.failNext("renew", failures[answer])
          const exit = yield* Effect.exit(atIam(iam.renew(session, selection)))
          presentation.isLost = answer === "lost" || answer === "maybe" || answer === "spent" || answer === "dead"
          const error = Option.getOrUndefined(Exit.findErrorOption(exit))
          presentation.isDead = error?.reason._tag === "GrantDead"
          presentation.mayHaveActed = answer === undefined || presentation.isLost
          const response = yield* exit
          presentation.answer = { seq: ++sequence, at: now(), refresh: refreshOf(response) ?? 0 }
          return received(response, own)
        }),
      whoami: (session) =>
        Effect.suspend(() => {
          const delay = knobs.whoamiDelay
          knobs.whoamiDelay = 0
          return atIam(iam.whoami(session)).pipe(
            Effect.tap(() => Effect.andThen(pass(delay), gate(away))),
            Effect.tapError(({ reason }) =>
              Effect.sync(() => {
                const shown = Option.getOrUndefined(Session.currentToken(session))
                if (reason._tag === "CredentialsRefused" && shown !== undefined) {
                  away.refused.add(tokenNumber(shown.accessToken))
                }
              })
            )
          )
        }),
      revoke: (session) =>
        Effect.suspend(() => {
          revoked.push({ who, seq: ++sequence, refresh: refreshOf(session) ?? 0 })
          return atIam(iam.revoke(session))
        })
    })
  }

  /** Notes what is being written before anybody hears of it: who hears goes on at once. */
  const noted = <A, E>(next: Session.Session | undefined, operation: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const isMark = next === undefined || Session.isSignedOut(next)
      const write: Write = {
        seq: ++sequence,
        at: now(),
        login: isMark ? undefined : Session.login(next),
        refresh: isMark ? undefined : refreshOf(next)
      }
      writes.push(write)
      return Effect.onError(operation, () => Effect.sync(() => writes.splice(writes.indexOf(write), 1)))
    })

  const generationOf = (key: Parameters<typeof storage.get>[0]) =>
    Effect.map(storage.get(key), Option.match({ onNone: () => 0, onSome: ({ generation }) => generation }))

  const put: typeof storage.put = (key, next, expected) =>
    (faults.compareAndSet === "always" ? generationOf(key) : Effect.succeed(expected)).pipe(
      Effect.flatMap((generation) => noted(next, storage.put(key, next, generation)))
    )

  const storageOf = (who: Who, away: Away) => {
    const written = <A>(method: string, effect: Effect.Effect<A, TokenStorageError.TokenStorageError>) =>
      Effect.suspend(() => {
        const { disk } = knobs
        if (disk === "brim" && method === "put") setDisk("full")
        return disk === "full"
          ? Effect.fail(diskError(method, "no"))
          : disk === "unknown"
          ? Effect.fail(diskError(method, "maybe"))
          : effect
      })
    return TokenStorage.TokenStorage.of({
      ...storage,
      get: (key) => Effect.tap(storage.get(key), () => Effect.andThen(pass(knobs.reads[who] ?? 0), gate(away))),
      put: (key, next, expected) =>
        Effect.suspend(() => {
          const how = knobs.puts[who].shift()
          const operation = written("put", put(key, next, expected))
          const lost = Effect.fail(diskError("put", "maybe"))
          if (how !== undefined && how !== "slow" && how !== "full") unknown.add(Session.login(next))
          if (knobs.disk === "unknown") unknown.add(Session.login(next))
          switch (how) {
            case undefined:
              return operation
            case "full":
              return Effect.fail(diskError("put", "no"))
            case "slow":
              return Effect.andThen(pass(5_000), operation)
            case "lost":
              return Effect.andThen(operation, lost)
            case "unknown":
              return lost
            case "hangs":
              return Effect.never
            case "late":
              return Effect.andThen(
                Effect.forkDetach(Effect.andThen(pass(15_000), Effect.ignore(operation))),
                Effect.never
              )
          }
        }).pipe(Effect.ensuring(gate(away))),
      remove: (key, expected) =>
        written("remove", noted(undefined, storage.remove(key, expected))).pipe(Effect.ensuring(gate(away))),
      changes: Stream.filter(storage.changes, () => !knobs.deaf[who])
    })
  }

  // -------------------------------------------------------------------------------------------------------------------
  // the lock
  // -------------------------------------------------------------------------------------------------------------------

  interface Holder {
    readonly away: Away
    readonly until: number
  }
  const locks = new Map<string, Holder>()
  let freed = Latch.makeUnsafe(false)
  const wakeWaiting = () => {
    freed.openUnsafe()
    freed = Latch.makeUnsafe(false)
  }

  const free = (id: string, mine: Holder) => {
    if (locks.get(id) !== mine) return
    locks.delete(id)
    wakeWaiting()
  }

  const take = (id: string, holder: Holder): boolean => {
    const held = locks.get(id)
    if (held !== undefined && !held.away.isDead && held.until > now()) return false
    locks.set(id, holder)
    return true
  }

  const lockOf = (away: Away) =>
    SessionLock.SessionLock.of({
      ...(setting.lock === "kernel" ? {} : { lease }),
      withLock: (key, purpose) => (effect) => {
        if (setting.lock === "none") return effect
        const id = `${purpose} ${key.id}`
        const length = setting.lock === "kernel" ? Number.POSITIVE_INFINITY : Duration.toMillis(lease)
        return Effect.suspend(() => {
          const giveUpAt = now() + 60_000
          let mine: Holder | undefined
          const acquire: Effect.Effect<void, SessionLock.SessionLockError> = Effect.suspend(() => {
            const holder = { away, until: now() + length }
            if (take(id, holder)) {
              mine = holder
              return gate(away)
            }
            if (now() >= giveUpAt) {
              return Effect.fail(new SessionLock.SessionLockError({ key, purpose, detail: "held" }))
            }
            const wake = Math.min(giveUpAt, locks.get(id)?.until ?? giveUpAt) - now()
            return Effect.andThen(Effect.raceFirst(freed.await, pass(Math.max(1, wake))), acquire)
          })
          const locked = Effect.suspend(() =>
            Effect.provideService(effect, SessionLock.Deadline, () => (mine?.until ?? now()) - now())
          )
          return Effect.ensuring(
            Effect.andThen(acquire, locked),
            Effect.sync(() => mine === undefined ? undefined : free(id, mine))
          )
        })
      }
    })

  /** Somebody else holds the lock for a while. */
  const holdLock = (keyId: string, millis: number) =>
    Effect.suspend(() => {
      const id = `renew ${keyId}`
      const holder = { away: awayOf(), until: now() + millis }
      return take(id, holder)
        ? Effect.asVoid(Effect.forkDetach(Effect.andThen(pass(millis), Effect.sync(() => free(id, holder)))))
        : Effect.void
    })

  // -------------------------------------------------------------------------------------------------------------------
  // programs
  // -------------------------------------------------------------------------------------------------------------------

  const awayOf = (): Away => ({
    isFrozen: false,
    isDead: false,
    endedAt: Number.POSITIVE_INFINITY,
    refused: new Set(),
    back: Latch.makeUnsafe(false)
  })

  const start = Effect.fnUntraced(function*(who: Who): Effect.fn.Return<Program> {
    const away = awayOf()
    const own = clockOf(who, away)
    const scope = yield* Scope.make()
    const services = Context.make(IamClient.IamClient, iamOf(who, away, own)).pipe(
      Context.add(TokenStorage.TokenStorage, storageOf(who, away)),
      Context.add(SessionLock.SessionLock, lockOf(away)),
      Context.add(Clock.Clock, own)
    )
    const context = yield* Layer.buildWithScope(
      Layer.fresh(fixtures.program).pipe(Layer.provide(Layer.succeedContext(services))),
      scope
    ).pipe(Effect.provideService(Clock.Clock, own))
    return { who, away, clock: own, scope, auth: Context.get(context, AuthManager.AuthManager) }
  })

  const freeze = (program: Program) =>
    Effect.sync(() => {
      program.away.isFrozen = true
      program.away.back.closeUnsafe()
    })

  const thaw = (program: Program) =>
    Effect.sync(() => {
      if (program.away.isDead) return
      program.away.isFrozen = false
      program.away.back.openUnsafe()
    })

  const crash = (program: Program) =>
    Effect.andThen(
      freeze(program),
      Effect.sync(() => {
        program.away.isDead = true
        program.away.endedAt = now()
        wakeWaiting()
      })
    )

  /** A disk that works, an IAM that answers, nobody frozen or deaf. */
  const heal = (programs: Iterable<Program>) =>
    Effect.gen(function*() {
      setDisk("fine")
      knobs.isDueOnArrival = false
      knobs.answers.length = 0
      for (const who of [0, 1] as const) {
        knobs.puts[who].length = 0
        knobs.reads[who] = 0
        setHints(who, false)
      }
      yield* scripted.set({ latency: Duration.zero })
      for (const program of programs) yield* thaw(program)
    })

  return {
    setting,
    knobs,
    presentations,
    revoked,
    writes,
    ears,
    setHints,
    disks,
    setDisk,
    madeBy,
    unknown,
    calls: scripted.calls,
    latency: (millis: number) => scripted.set({ latency: Duration.millis(millis) }),
    stored: (program: Program) => Effect.orDie(storage.get(program.auth.key)),
    now,
    next: () => ++sequence,
    start,
    freeze,
    thaw,
    crash,
    holdLock,
    heal,
    /** Runs what a program does, by its clock. */
    as: <A, E>(program: Program, effect: Effect.Effect<A, E>) =>
      Effect.provideService(effect, Clock.Clock, program.clock)
  }
})
