/** Plays one scenario with three workers in processes of their own, and says what the IAM and the sessions say of it. */
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import { TcpFaultProxy, TestProcess } from "@effect-authn/testing"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Crypto from "node:crypto"
import * as Path from "node:path"
import * as Fleet from "./fleet.ts"
import * as Program from "./program.ts"
import * as Stores from "./stores.ts"
import * as StrictIam from "./strictIam.ts"

/** How large and how long a scenario is. Times are in milliseconds. */
export interface Size {
  readonly sessions: number
  /** How long access tokens live; the last fifth is their window. */
  readonly life: number
  readonly lease: number
  readonly timeLimit: number
  /** How long a worker takes at most to store an answer: one that was spent that long before a fault was in its gap. */
  readonly saving: number
  /** How long the IAM answers a refresh token again, where a scenario has a grace. */
  readonly grace: number
  /** How long a round of a worker through all sessions takes at least. */
  readonly round: number
  /** How long workers are killed. */
  readonly storm: number
  /** How long a store is away, and how often. */
  readonly outage: number
  readonly outages: number
}

export interface Scenario {
  readonly name: string
  readonly kind: Stores.Kind
  readonly hasGrace: boolean
  readonly without?: Program.Orders["without"]
  /** Where the third worker stops itself, in this order. */
  readonly halts?: ReadonlyArray<Program.Step>
  readonly faults: (stage: Stage) => Effect.Effect<void, unknown>
  /** What has to be true, where it is not what is promised of every store that keeps what it acknowledged. */
  readonly bar?: { readonly text: string; readonly isMet: (outcome: Outcome) => boolean }
}

/** What the faults are done to. Workers are numbered from 0. */
export interface Stage {
  readonly size: Size
  readonly store: Stores.Store
  readonly toStore: ReadonlyArray<TcpFaultProxy.TcpFaultProxy>
  readonly toIam: ReadonlyArray<TcpFaultProxy.TcpFaultProxy>
  /** The worker's next word: the step at which it stops. */
  readonly word: (worker: number) => Effect.Effect<string>
  readonly wake: (worker: number) => Effect.Effect<void>
  /** Kills one that has a renewal in flight, and starts another one in its place. */
  readonly kill: (worker: number) => Effect.Effect<void>
  /** Does something to workers of which one has a renewal in flight, and notes when it was. */
  readonly strike: <E>(workers: ReadonlyArray<number>, fault: Effect.Effect<void, E>) => Effect.Effect<void, E>
  /** The same for workers that may be idle. */
  readonly note: <E>(workers: ReadonlyArray<number>, fault: Effect.Effect<void, E>) => Effect.Effect<void, E>
}

export interface Outcome {
  readonly renewals: number
  /** The renewals in flight at each strike. */
  readonly inFlight: ReadonlyArray<number>
  /** Refresh tokens that came again by the two rules, and against them. */
  readonly again: number
  readonly twice: number
  /** Sessions that ended; those of them that were in a gap: spent at the IAM, by a worker that could not keep the answer. */
  readonly lost: number
  readonly inGap: number
  /** Those of them whose token came again within the grace, from a worker that could not keep that answer either. */
  readonly struckAgain: number
  /** How long after its first presentation the spent token of each of them came, in milliseconds. */
  readonly lostAfter: ReadonlyArray<number>
  /** Sessions that ended and do not say that an answer was lost. */
  readonly silent: number
  /** Sessions that did not end and have no token. */
  readonly stuck: number
  /** What workers said that ended by themselves. */
  readonly ended: ReadonlyArray<string>
}

const workers = [0, 1, 2]

/** Each of them has a round of its own: one that waits for a renewal of another would walk behind it ever after. */
const strides = [1, 7, 11]

/** What an IAM takes for an answer. */
const latency = 300

interface Fault {
  readonly workers: ReadonlyArray<number>
  readonly from: number
  readonly to: number
}

export const play = (scenario: Scenario, size: Size) =>
  Effect.gen(function*() {
    const grace = scenario.hasGrace ? size.grace : 0
    const families = Array.from({ length: size.sessions }, (_, index) => Fleet.familyOf(index))
    const window = size.life / 5
    let began = 0
    // they fall due one after the other, in another order than that of a worker's round, which meets some everywhere
    const turnOf = (family: string) => families.indexOf(family) * 233 % size.sessions
    const endsAt = (family: string) =>
      Math.round(began + window + turnOf(family) * (size.life - window) / size.sessions)
    const iam = yield* StrictIam.make({ ...size, families, grace, latency, endsAt })
    const line = TcpFaultProxy.make
    const store = yield* Stores.make(scenario.kind, yield* line)
    const toStore = yield* Effect.forEach(workers, () => line)
    const toIam = yield* Effect.forEach(workers, () => line)
    for (const each of toStore) yield* store.connect(each)
    for (const each of toIam) yield* each.forwardTo(iam)

    const ordersOf = (worker: number, halts: ReadonlyArray<Program.Step>): Program.Orders => ({
      issuer: iam.issuer,
      line: `http://127.0.0.1:${toIam[worker]!.port}${StrictIam.pathOf(`${worker}`)}`,
      store: store.store,
      replicas: store.replicas,
      address: store.by(toStore[worker]!),
      sessions: size.sessions,
      // one that is killed before its round ends must not leave out the same sessions each time
      first: Crypto.randomInt(size.sessions),
      stride: strides[worker]!,
      lease: size.lease,
      timeLimit: size.timeLimit,
      grace,
      pace: Math.max(5, Math.round(size.round * 8 / size.sessions)),
      halts,
      ...(scenario.without === undefined ? {} : { without: scenario.without })
    })
    const running: Array<TestProcess.TestProcess> = []
    const killed = new Set<number>()
    const ended: Array<string> = []
    const begin = (worker: number, halts: ReadonlyArray<Program.Step> = []) =>
      Effect.gen(function*() {
        const started = yield* TestProcess.start(
          Path.join(import.meta.dirname, "..", "children", "worker.ts"),
          [JSON.stringify(ordersOf(worker, halts))],
          {
            ...process.env,
            NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../../node_modules/.cache/compile")
          }
        )
        running[worker] = started
        yield* Effect.forkScoped(Effect.map(started.ended, ({ code, stderr }) => {
          if (!killed.has(started.pid)) ended.push(`worker ${worker} ended with ${code}: ${stderr}`)
        }))
        // one that a busy machine has not begun yet would be killed for nothing
        yield* started.line
      })
    const scope = yield* Effect.scope
    const send = (worker: number, signal: "SIGKILL" | "SIGTERM") =>
      Effect.suspend(() => {
        const { ended, pid } = running[worker]!
        killed.add(pid)
        process.kill(pid, signal)
        return ended
      })
    yield* Effect.forEach(workers, (worker) => begin(worker, worker === 2 ? scenario.halts : []), {
      concurrency: "unbounded"
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => running.forEach(({ pid }) => killed.add(pid))))
    // a machine that is slow to start them must not find them all due at once
    began = Date.now() + 2000
    yield* Effect.provide(
      Fleet.seed({ issuer: iam.issuer, families, life: size.life }, endsAt),
      Program.storage(ordersOf(0, []))
    )

    const inFlight: Array<number> = []
    const faults: Array<Fault> = []
    const inFlightOf = (struck: ReadonlyArray<number>) =>
      struck.reduce((sum, worker) => sum + iam.inFlightOf(`${worker}`), 0)
    const note: Stage["note"] = (struck, fault) =>
      Effect.suspend(() => {
        const from = Date.now()
        return Effect.tap(fault, () => Effect.sync(() => faults.push({ workers: struck, from, to: Date.now() })))
      })
    const strike: Stage["strike"] = (struck, fault) =>
      Effect.suspend(() => {
        let many = 0
        const look = () => {
          many = inFlightOf(struck)
          return many > 0
        }
        return Effect.sleep("5 millis").pipe(
          Effect.repeat({ until: look, times: 4000 }),
          Effect.andThen(note(struck, fault)),
          Effect.ensuring(Effect.sync(() => inFlight.push(many)))
        )
      })
    yield* scenario.faults({
      size,
      store,
      toStore,
      toIam,
      word: (worker) => running[worker]!.line,
      wake: (worker) => running[worker]!.wake,
      strike,
      note,
      kill: (worker) =>
        Effect.andThen(
          strike([worker], Effect.asVoid(send(worker, "SIGKILL"))),
          Effect.provideService(begin(worker), Scope.Scope, scope)
        )
    })
    yield* Effect.forEach(workers, (worker) => send(worker, "SIGTERM"), { concurrency: "unbounded" })
    const { renewals } = iam.ledger()

    // whoever asks next finds each session good, or is told why it is not
    const asked = yield* Effect.gen(function*() {
      const { open } = yield* SessionKeeper.SessionKeeper
      return yield* Effect.forEach(families, (family) =>
        open(Fleet.keyOf(iam, family)).renew().pipe(
          Effect.retry({
            while: ({ _tag }) => _tag !== "ReauthenticationRequired",
            schedule: Schedule.upTo(Schedule.spaced("1 second"), { duration: size.lease + size.life })
          }),
          Effect.match({
            onSuccess: () => "good",
            onFailure: (error) =>
              error._tag !== "ReauthenticationRequired" ? "stuck" : error.answerLost ? "told" : "silent"
          })
        ), { concurrency: 64 })
    }).pipe(
      Effect.provide(Program.keeper({ ...ordersOf(0, []), line: `${iam.issuer}${StrictIam.pathOf("audit")}` })),
      // what each of them says is counted here
      Effect.provideService(References.MinimumLogLevel, "None"),
      Effect.scoped
    )
    const { again, lost, twice } = iam.ledger()
    const isInGap = (presentation: StrictIam.Presentation) =>
      !presentation.isAnswered ||
      faults.some(({ from, to, workers }) =>
        workers.some((worker) => `${worker}` === presentation.by) &&
        presentation.at >= from - latency - size.saving && presentation.at <= to
      )
    const inGap = lost.filter(({ presentations }) => isInGap(presentations[0]))
    const outcome: Outcome = {
      renewals,
      inFlight,
      again,
      twice,
      lost: lost.length,
      inGap: inGap.length,
      struckAgain:
        inGap.filter(({ presentations }) => presentations.length > 2 && presentations.slice(0, -1).every(isInGap))
          .length,
      lostAfter: lost.map(({ after }) => after),
      silent: asked.filter((one) => one === "silent").length,
      stuck: asked.filter((one) => one === "stuck").length,
      ended
    }
    return outcome
  }).pipe(Effect.scoped)

/** Says what of an outcome is not as it has to be: nothing, where all is. */
export const complaints = (scenario: Scenario, outcome: Outcome): ReadonlyArray<string> => {
  const { ended, inFlight, inGap, lost, renewals, silent, struckAgain, stuck, twice } = outcome
  const idle = [
    ...(inFlight.some((many) => many === 0) ? ["a strike without a renewal in flight proves nothing"] : []),
    ...(renewals === 0 ? ["nothing was renewed"] : []),
    ...ended
  ]
  if (scenario.bar !== undefined) return [...idle, ...(scenario.bar.isMet(outcome) ? [] : [scenario.bar.text])]
  return [
    ...idle,
    ...(twice > 0 ? [`${twice} refresh tokens came twice, outside of the two rules`] : []),
    // two leases are longer than the grace
    ...(scenario.hasGrace && lost > struckAgain
      ? [`${lost - struckAgain} sessions were lost in spite of the grace`]
      : []),
    ...(lost > inGap ? [`${lost - inGap} sessions were lost that were in no gap`] : []),
    ...(silent > 0 ? [`${silent} sessions do not say that an answer was lost`] : []),
    ...(stuck > 0 ? [`${stuck} sessions have no token, and nothing that says why`] : [])
  ]
}
