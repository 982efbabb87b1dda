// Plays one history: the moves one after the other, then a rest in which everything works, then the judgement.
import { type AuthError, AuthStrategy, Session, TokenSet } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { DateTime, Effect, Exit, type Fiber, Option, type Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Invariants from "./invariants.ts"
import type { History, Move, Who } from "./moves.ts"
import * as World from "./world.ts"

const passwordOf = (person: string) => AuthStrategy.password({ handle: person, password: ScriptedIam.password })

/** A call of a program that runs. */
interface Running {
  readonly program: World.Program
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

/** Answers with the promises that a history broke. */
export const play = Effect.fnUntraced(function*({ moves, setting }: History, faults: World.Faults = World.none) {
  // Far from the beginning of time, so that a clock that is set back still goes.
  yield* TestClock.setTime(Date.UTC(2030, 0))
  const world = yield* World.make(setting, faults)
  const programs: [World.Program, World.Program] = [yield* world.start(0), yield* world.start(1)]
  const key = programs[0].auth.key
  const log = Invariants.makeLog()
  const bearers: Array<Session.Bearer> = []
  const running: Array<Running> = []
  let exported: Schema.JsonObject | undefined

  const run = (program: World.Program, effect: Effect.Effect<unknown, unknown>) =>
    Effect.map(
      Effect.forkDetach(world.as(program, Effect.exit(effect)), { startImmediately: true }),
      (fiber) => {
        running.push({ program, fiber })
      }
    )

  /** A call for a token: of whom it is, and whether it is valid at its return. */
  const ask = (
    program: World.Program,
    asked: Effect.Effect<Session.Bearer, AuthError.AuthError>,
    of?: Session.Bearer
  ) =>
    Effect.gen(function*() {
      const began = world.next()
      const bearer = yield* asked
      const isValid = TokenSet.isValid(bearer.tokens, yield* DateTime.now)
      bearers.push(bearer)
      log.handed.push({
        who: program.who,
        began,
        access: World.tokenNumber(bearer.tokens.accessToken),
        login: bearer.login,
        isValid,
        of: of?.login
      })
    })

  const change = (
    kind: Invariants.Change["kind"],
    program: World.Program,
    isDurable: boolean,
    effect: Effect.Effect<Session.Session | void, AuthError.AuthError>,
    revokesPrevious = false
  ) =>
    Effect.gen(function*() {
      const entry: Invariants.Change = {
        kind,
        who: program.who,
        isDurable,
        revokesPrevious,
        began: world.next(),
        ended: Number.POSITIVE_INFINITY,
        ok: false,
        failure: undefined,
        login: undefined
      }
      log.changes.push(entry)
      const exit = yield* Effect.exit(effect)
      entry.ended = world.next()
      entry.ok = Exit.isSuccess(exit)
      entry.failure = Option.getOrUndefined(Exit.findErrorOption(exit))?._tag
      if (Exit.isSuccess(exit) && exit.value !== undefined) entry.login = Session.login(exit.value)
    })

  const restart = Effect.fnUntraced(function*(who: Who, how: "crash" | "end") {
    const program = programs[who]
    yield* world.thaw(program)
    if (how === "crash") {
      yield* world.crash(program)
      log.crashes.push({ seq: world.next(), issued: Invariants.newestIssued(yield* world.calls) })
    } else {
      log.crashes.push({ seq: world.next(), issued: Invariants.newestIssued(yield* world.calls) })
      program.away.endedAt = world.now()
      yield* Effect.forkDetach(Scope.close(program.scope, Exit.void), { startImmediately: true })
    }
    log.startedAt.set(who, world.next())
    programs[who] = yield* world.start(who)
  })

  const carryOut = Effect.fnUntraced(function*(move: Move) {
    const program = "who" in move ? programs[move.who] : programs[0]
    const { auth, away } = program
    switch (move._tag) {
      case "Call":
        if (away.isFrozen) return
        return yield* run(
          program,
          ask(program, move.project === "" ? auth.bearerToken : auth.bearerTokenFor({ project: move.project }))
        )
      case "Refresh":
        if (away.isFrozen) return
        return yield* run(program, auth.refresh(move.project === "" ? undefined : { project: move.project }))
      case "Rejected": {
        const bearer = bearers[bearers.length - 1 - move.nth]
        if (away.isFrozen || bearer === undefined) return
        away.refused.add(World.tokenNumber(bearer.tokens.accessToken))
        return yield* run(program, ask(program, auth.rejected(bearer), bearer))
      }
      case "Login":
        if (away.isFrozen) return
        return yield* run(
          program,
          change(
            "login",
            program,
            true,
            auth.login(passwordOf(move.person), { revokePrevious: move.revokePrevious === true }),
            move.revokePrevious
          )
        )
      case "LoginInMemory":
        if (away.isFrozen) return
        log.inMemory.add(move.who)
        return yield* run(
          program,
          change("login", program, false, auth.login(passwordOf(move.person), { store: false }))
        )
      case "Logout":
        if (away.isFrozen) return
        return yield* run(program, change("logout", program, true, Effect.asVoid(auth.logout)))
      case "Whoami":
        if (away.isFrozen) return
        world.knobs.whoamiDelay = move.delay
        return yield* run(program, auth.refreshUser)
      case "Export":
        if (away.isFrozen) return
        return yield* run(
          program,
          Effect.map(auth.export, (document) => {
            exported = document
          })
        )
      case "Import":
        if (away.isFrozen || exported === undefined) return
        return yield* run(program, change("import", program, true, auth.import(exported)))
      case "Interrupt":
        running[running.length - 1 - move.nth]?.fiber.interruptUnsafe()
        return
      case "Pass":
        return yield* TestClock.adjust(move.time)
      case "Clock":
        world.knobs.offsets[move.who] = move.offset
        return
      case "Answer":
        world.knobs.answers.push(move.how)
        return
      case "Latency":
        return yield* world.latency(move.time)
      case "Life":
        world.knobs.life = move.time
        return
      case "DueOnArrival":
        world.knobs.isDueOnArrival = true
        return
      case "Disk":
        world.setDisk(move.how)
        return
      case "Put":
        world.knobs.puts[move.who].push(move.how)
        return
      case "Reads":
        world.knobs.reads[move.who] = move.delay
        return
      case "Hints":
        world.setHints(move.who, move.lost)
        return
      case "HoldLock":
        return yield* world.holdLock(key.id, move.time)
      case "Freeze":
        return yield* world.freeze(program)
      case "Thaw":
        return yield* world.thaw(program)
      case "Restart":
        return yield* restart(move.who, move.how)
    }
  })

  yield* carryOut({ _tag: "Login", who: 0, person: "ada" })
  for (const move of moves) {
    yield* Effect.yieldNow
    yield* carryOut(move)
  }
  yield* Effect.yieldNow

  // to rest: everything works, and there is time for all that is under way
  yield* world.heal(programs)
  const isWaiting = () => running.some(({ fiber, program }) => !program.away.isDead && fiber.pollUnsafe() === undefined)
  const healedAt = world.now()
  // An answer that could not be stored is tried again every five seconds. Who holds the lock has it for forty.
  for (let times = moves.some(({ _tag }) => _tag === "HoldLock") ? 14 : 6; times > 0; times--) {
    yield* TestClock.adjust("5 seconds")
    yield* Effect.yieldNow
  }
  const soon = {
    issued: isWaiting()
      ? []
      : (yield* world.calls).filter(({ answeredAt }) => answeredAt !== undefined && answeredAt <= healedAt),
    stored: Option.getOrUndefined(yield* world.stored(programs[0]))
  }
  for (let minutes = 0; isWaiting(); minutes++) {
    if (minutes > 60) return ["somebody waits for ever"]
    yield* TestClock.adjust("1 minute")
  }
  yield* TestClock.adjust("3 minutes")
  // The longest that anybody who wishes to be left alone is.
  if (moves.some((move) => move._tag === "Answer" && move.how === "decade")) yield* TestClock.adjust("61 minutes")

  const served: Array<boolean> = []
  for (const program of programs) {
    const asked = yield* Effect.forkDetach(world.as(program, Effect.exit(ask(program, program.auth.bearerToken))), {
      startImmediately: true
    })
    for (let minutes = 0; asked.pollUnsafe() === undefined; minutes++) {
      if (minutes > 10) return ["at rest, a call for a token does not end"]
      yield* TestClock.adjust("1 minute")
    }
    const token = asked.pollUnsafe()
    served.push(token !== undefined && Exit.isSuccess(token) && Exit.isSuccess(token.value))
  }
  yield* TestClock.adjust("10 seconds")
  const atRest = yield* Effect.forEach(
    programs,
    (program, index) =>
      Effect.map(world.as(program, Effect.orDie(program.auth.session)), (session): Invariants.AtRest => ({
        who: program.who,
        session: Option.getOrUndefined(session),
        isServed: served[index] === true
      }))
  )
  return Invariants.judge({
    history: { moves, setting },
    world,
    log,
    calls: yield* world.calls,
    atRest,
    soon,
    stored: Option.getOrUndefined(yield* world.stored(programs[0]))
  })
})
