// Three vaults that sweep one PostgreSQL: one of them is killed every four seconds, or the database is away for a while. What the
// IAM's ledger says, what the store has at the end, and how long callers waited.
import { Selection, Session, TokenStorage } from "@effect-authn/core"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import { PostgresServer } from "@effect-authn/testing"
import { VaultClient } from "@effect-authn/vault"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Effect, Fiber, Layer, Option, Redacted, Schedule } from "effect"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { isQuiet as isSoak, measured, percentile } from "../../platform/node/test/renewal/measures.ts"
import * as Fleet from "../../storage/sql/test/chaos/fleet.ts"
import * as StrictIam from "../../storage/sql/test/chaos/strictIam.ts"
import * as Program from "./chaos/program.ts"

// The soak plays for a minute with the lease of a vault and 28 renewals a second; here all of it is shorter.
const scale = isSoak
  ? { lease: 13_000, timeLimit: 10_000, life: 60_000, seconds: 60, sessions: 600, renewIdle: 21_000, outage: 14_000 }
  : { lease: 6_000, timeLimit: 3_000, life: 30_000, seconds: 16, sessions: 150, renewIdle: 9_000, outage: 5_000 }
const grace = 30_000
const killEvery = 4000
const perSecond = Math.floor(scale.sessions / (scale.renewIdle / 1000))

interface Machine {
  readonly child: ChildProcess.ChildProcess
  readonly port: number
}

/** A machine that serves. One that finds no store when it starts ends, and is started again. */
const machine = (orders: Program.Orders): Effect.Effect<Machine> =>
  Effect.callback<Machine, string>((resume) => {
    const child = ChildProcess.spawn(process.execPath, [
      Path.join(import.meta.dirname, "children", "vault.ts"),
      JSON.stringify(orders)
    ], {
      env: { ...process.env, NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile") },
      stdio: ["pipe", "pipe", "ignore"]
    })
    Readline.createInterface(child.stdout).once("line", (port) => resume(Effect.succeed({ child, port: Number(port) })))
    child.stdin.on("error", () => {})
    child.once("exit", () => resume(Effect.fail("it ended before it was ready")))
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(Effect.retry(Schedule.spaced("300 millis")), Effect.orDie)

/** Stops a machine as a service manager does: what it has sent becomes durable. */
const ended = (child: ChildProcess.ChildProcess) =>
  Effect.callback<void>((resume) => {
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGTERM")
  })

/** Any of the three, in an order that repeats itself late. */
const victim = (index: number): number => (index * index + (index >> 2)) % 3

/** Three machines over a database, the IAM they ask, and callers with some of their addresses. */
const world = Effect.fnUntraced(function*(of: { readonly grace: number; readonly cold: ReadonlyArray<string> }) {
  const { lease, life, renewIdle, sessions, timeLimit } = scale
  const began = Date.now()
  const families = Array.from({ length: sessions }, (_, index) => Fleet.familyOf(index))
  // renewed one after the other within the last `renewIdle`, so that they fall due one after the other
  const endsAt = (family: string) =>
    began + 4000 + life - renewIdle + Math.round(Number(family.slice(2)) * renewIdle / sessions)
  const iam = yield* StrictIam.make({
    families: [...families, ...of.cold],
    life,
    latency: 300,
    grace: of.grace,
    // A lease begins with the note before the request, and the IAM sees when that comes: at the latest when what is left of
    // the lease is the time limit.
    lease: timeLimit,
    endsAt: (family) => family.startsWith("cold") ? began : endsAt(family)
  })
  const database = yield* PostgresServer.make({ isDurable: true })
  const orders: Program.Orders = {
    issuer: iam.issuer,
    database: database.url(),
    lease,
    timeLimit,
    grace: of.grace,
    renewIdle,
    port: 0
  }
  const { stored, token } = yield* Program.observed(orders)
  const leave = (families: ReadonlyArray<string>, life: number, endsAt: (family: string) => number) =>
    Effect.provideService(
      Fleet.seed({ issuer: iam.issuer, families, life }, endsAt),
      TokenStorage.TokenStorage,
      stored
    )
  yield* leave(families, life, endsAt)
  const machines = yield* Effect.forEach([0, 1, 2], () => machine(orders), { concurrency: "unbounded" })
  yield* Effect.addFinalizer(() => Effect.sync(() => machines.forEach(({ child }) => child.kill("SIGKILL"))))
  const http = yield* Layer.build(NodeAuth.layerHttpClient)
  const caller = (...indices: readonly [number, ...Array<number>]) => {
    const [first = "", ...others] = indices.map((index) => `http://127.0.0.1:${machines[index % 3]!.port}`)
    return Effect.map(
      Layer.build(Layer.provide(
        VaultClient.layer({ url: [first, ...others], token, issuer: iam.issuer, clientId: Fleet.clientId }),
        Layer.succeedContext(http)
      )),
      (built) => Context.get(built, VaultClient.VaultClient)
    )
  }
  /** Why each of those was lost whose stored token is not the one that the IAM would take. All machines are stopped before. */
  const lost = Effect.gen(function*() {
    yield* Effect.forEach(machines, ({ child }) => ended(child), { concurrency: "unbounded" })
    const found = yield* Effect.forEach(
      [...families, ...of.cold],
      (family) =>
        Effect.map(
          stored.get(Fleet.keyOf(orders, family)),
          Option.match({
            onNone: () => [],
            onSome: ({ dead, grant, intent }) => {
              const isKept = Option.isNone(dead) && grant._tag === "RefreshToken" &&
                iam.isNewest(Redacted.value(grant.refreshToken))
              if (isKept) return []
              return [
                Option.match(dead, {
                  onSome: ({ cause }) => cause,
                  onNone: () => Option.isSome(intent) ? "its answer was lost, and its token has not ended" : undefined
                })
              ]
            }
          })
        ),
      { concurrency: 8 }
    )
    return found.flat()
  })
  /** Whether a session's token in the store is good for a while. */
  const isValid = (family: string) =>
    Effect.map(
      Effect.option(stored.get(Fleet.keyOf(orders, family))),
      // what cannot be asked now was left valid
      Option.match({
        onNone: () => true,
        onSome: (found) =>
          Option.exists(
            Option.flatMap(Option.flatMap(found, Session.currentToken), ({ expiresAt }) => expiresAt),
            (end) => DateTime.toEpochMillis(end) > Date.now() + 3000
          )
      })
    )
  return { caller, database, families, iam, isValid, leave, lost, machines, orders, stored }
})

interface Answers {
  readonly waits: Array<number>
  readonly failures: Array<string>
}

/** Takes valid tokens, one after the other, until a time, from pairs of addresses. */
const callUntil = Effect.fnUntraced(function*(
  { caller, families, isValid }: Effect.Success<ReturnType<typeof world>>,
  end: number
) {
  const answers: Answers = { waits: [], failures: [] }
  const pairs = yield* Effect.all([caller(0, 1), caller(1, 2), caller(2, 0)])
  for (let index = 0; Date.now() < end; index += 1) {
    const family = families[(index * 37) % families.length]!
    yield* Effect.sleep("50 millis")
    // the token of a session that was lost has ended
    if (!(yield* isValid(family))) continue
    const began = performance.now()
    yield* pairs[index % 3]!.take(family, Selection.none).pipe(
      Effect.match({
        onFailure: ({ message }) => answers.failures.push(message),
        onSuccess: () => answers.waits.push(performance.now() - began)
      })
    )
  }
  return answers
})

const tally = (causes: ReadonlyArray<string | undefined>): string =>
  Array.from(new Set(causes), (cause) => `${causes.filter((other) => other === cause).length} × ${cause}`).join("; ")

const millis = (number: number): string => `${Math.round(number)} ms`

const playKills = (ofIam: { readonly grace: number }) =>
  Effect.gen(function*() {
    const { lease, life, seconds } = scale
    const cold = Array.from({ length: Math.floor(seconds * 1000 / killEvery) }, (_, index) => `cold${index}`)
    const played = yield* world({ ...ofIam, cold })
    const { caller, iam, leave, lost, machines, orders } = played
    const end = Date.now() + seconds * 1000
    const inFlight: Array<number> = []
    const delays: Array<number> = []

    /** Kills a machine while it renews a session whose token has ended; the others are asked for it from then on. */
    const kill = Effect.fnUntraced(function*(index: number) {
      const which = victim(index)
      const family = cold[index]!
      const now = Date.now()
      yield* leave([family], 1000, () => now - 1)
      const asked = yield* Effect.forkChild(Effect.exit((yield* caller(which)).take(family, Selection.none)))
      yield* Effect.sleep("10 millis").pipe(Effect.repeat({ until: () => iam.hasSeen(`${family}.0`) }))
      inFlight.push(iam.ledger().inFlight)
      machines[which]!.child.kill("SIGKILL")
      const killed = performance.now()
      const port = machines[which]!.port
      const other = yield* caller(which + 1, which + 2)
      const again = Effect.gen(function*() {
        yield* Fiber.await(asked)
        yield* other.take(family, Selection.none).pipe(
          Effect.retry({
            while: ({ reason }) => reason._tag === "Unavailable",
            schedule: Schedule.spaced("200 millis")
          }),
          Effect.ignore
        )
        delays.push(performance.now() - killed)
      })
      yield* Effect.forkScoped(again)
      machines[which] = yield* machine({ ...orders, port })
    })
    const kills = Effect.gen(function*() {
      for (let index = 0; index < cold.length - 1; index += 1) {
        const next = end - (cold.length - index - 1) * killEvery
        yield* Effect.sleep(Math.max(0, next - Date.now()))
        yield* kill(index)
      }
    })
    const [answers] = yield* Effect.all([callUntil(played, end), kills], { concurrency: "unbounded" })
    // Who has an intent to wait for may present its token again: in the grace, else when the access token is over, too.
    yield* Effect.sleep(lease + 4000 + (ofIam.grace > 0 ? 0 : life))
    yield* Effect.sync(() => delays.length).pipe(
      Effect.delay("100 millis"),
      Effect.repeat({ until: (count) => count === inFlight.length })
    )
    return {
      ...answers,
      ledger: iam.ledger(),
      kills: inFlight.length,
      inFlight: inFlight.reduce((sum, count) => sum + count, 0),
      delays,
      causes: yield* lost
    }
  }).pipe(Effect.scoped)

const playOutage = Effect.gen(function*() {
  const { lease, outage, renewIdle } = scale
  const played = yield* world({ grace: 0, cold: [] })
  const { database, families, iam, lost, machines, orders, stored } = played
  // callers come before it, so that the machines know their service token, and have some of the sessions in memory
  const answering = yield* Effect.forkChild(callUntil(played, Date.now() + renewIdle + outage + 1000))
  yield* Effect.sleep(renewIdle)
  const before = iam.ledger().renewals
  yield* database.crash
  yield* Effect.sleep(outage)
  yield* database.start
  const back = Date.now()
  const answers = yield* Fiber.join(answering)
  const renewedSince = Effect.map(
    Effect.forEach(families, (family) => stored.get(Fleet.keyOf(orders, family)), { concurrency: 8 }),
    (found) =>
      found.filter((session) =>
        Option.exists(
          Option.flatMap(session, Session.currentToken),
          ({ issuedAt }) => DateTime.toEpochMillis(issuedAt) >= back
        )
      ).length
  )
  // by itself: nobody starts anything again, and all are renewed
  const renewed = yield* renewedSince.pipe(
    Effect.delay("1 second"),
    Effect.repeat({ until: (count) => count === families.length, times: 3 * (renewIdle + lease) / 1000 })
  )
  return {
    ...answers,
    before,
    renewed,
    ledger: iam.ledger(),
    died: machines.filter(({ child }) => child.exitCode !== null || child.signalCode !== null).length,
    causes: yield* lost
  }
}).pipe(Effect.scoped)

describe.runIf(PostgresServer.isThere)("three vaults over PostgreSQL", { concurrent: false }, () => {
  const note = Effect.fnUntraced(function*(name: string, played: Effect.Success<ReturnType<typeof playKills>>) {
    const { causes, delays, failures, inFlight, kills, ledger, waits } = played
    const bar = scale.lease + 1000
    yield* measured({
      case: `a vault killed every 4 s for ${scale.seconds} s at ${perSecond} renewals a second, ${name}`,
      bar: name === "with a grace"
        ? "0 lost, 0 twice"
        : "lost at most what was in flight, each with its cause; 0 twice",
      measured:
        `${kills} kills, ${inFlight} in flight; ${ledger.renewals} renewals, ${ledger.again} again by the rule, ` +
        `${ledger.twice} twice, ${causes.length} lost${causes.length === 0 ? "" : ` (${tally(causes)})`}`,
      met: ledger.twice === 0 && causes.length <= (name === "with a grace" ? 0 : inFlight)
    })
    yield* measured({
      case: `… a valid token from two addresses, ${name}`,
      bar: "never refused; not delayed",
      measured: `${waits.length} answers, ${failures.length} refused; median ${millis(percentile(waits, 0.5))}, ` +
        `p99 ${millis(percentile(waits, 0.99))}, most ${millis(Math.max(...waits))}`,
      met: failures.length === 0 && Math.max(...waits) < 1000
    })
    yield* measured({
      case: `… a token that was being renewed by the one that was killed, ${name}`,
      bar: `an answer within ${bar / 1000} s`,
      measured: `${delays.length} times; median ${millis(percentile(delays, 0.5))}, most ${
        millis(Math.max(...delays))
      }`,
      met: Math.max(...delays) <= bar
    })
  })

  const safe = ({ causes, failures, inFlight, kills, ledger, waits }: Effect.Success<ReturnType<typeof playKills>>) => {
    assert.isAtLeast(inFlight, kills, "a kill without a renewal in flight proves nothing")
    assert.isAbove(ledger.renewals, scale.sessions)
    assert.isAbove(waits.length, 20)
    assert.deepStrictEqual(failures, [])
    assert.strictEqual(ledger.twice, 0, JSON.stringify(ledger))
    assert.notInclude(causes, undefined, "each that is lost says why")
  }

  it.live("one killed every four seconds, with a grace at the IAM: nothing is presented twice outside of it, and nothing is lost", () =>
    Effect.gen(function*() {
      const played = yield* playKills({ grace })
      yield* note("with a grace", played)
      safe(played)
      assert.strictEqual(played.causes.length, 0, JSON.stringify(played.ledger))
    }))

  it.live("without a grace: nothing is presented twice, lost is at most what was in flight, and each says why", () =>
    Effect.gen(function*() {
      const played = yield* playKills({ grace: 0 })
      yield* note("without one", played)
      safe(played)
      assert.isAtMost(played.causes.length, played.inFlight, JSON.stringify(played.ledger))
      // the answers that the kills cut off are not made up for
      assert.isAtLeast(played.causes.length, 1)
    }))

  it.live("the database is away: they go on by themselves when it is back, and nothing is lost whose token outlived that", () =>
    Effect.gen(function*() {
      const played = yield* playOutage
      yield* measured({
        case: `PostgreSQL away for ${scale.outage / 1000} s under three vaults, no grace`,
        bar: "recovers by itself; 0 lost, 0 twice",
        measured: `${played.renewed} of ${scale.sessions} renewed after it; ${played.ledger.twice} twice, ` +
          `${played.causes.length} lost; meanwhile ${played.waits.length} valid tokens handed out and ` +
          `${played.failures.length} times told to ask again`,
        met: played.causes.length === 0 && played.ledger.twice === 0 && played.renewed === scale.sessions
      })
      assert.isAbove(played.before, 0)
      assert.deepStrictEqual(played.causes, [], JSON.stringify(played.ledger))
      assert.strictEqual(played.ledger.twice, 0)
      assert.strictEqual(played.renewed, scale.sessions)
      assert.strictEqual(played.died, 0)
    }))
})
