// Three vaults that sweep one PostgreSQL, one of which is killed every four seconds: what the IAM's ledger says.
import { PostgresServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { seed } from "../../storage/sql/test/chaos/fleet.ts"
import * as StrictIam from "../../storage/sql/test/chaos/strictIam.ts"
import { type Orders, storage } from "./chaos/program.ts"

// The soak plays for a minute with the lease of a vault and 28 renewals a second; here all of it is shorter.
const isSoak = process.env["EFFECT_AUTHN_ROUNDS"] !== undefined
const scale = isSoak
  ? { lease: 15_000, timeLimit: 10_000, life: 120_000, grace: 30_000, seconds: 60, sessions: 600, renewIdle: 21_000 }
  : { lease: 6_000, timeLimit: 3_000, life: 60_000, grace: 30_000, seconds: 24, sessions: 150, renewIdle: 10_000 }

interface Process {
  readonly child: ChildProcess.ChildProcess
  /** What it took to get the token of a session, in milliseconds; nothing where the process died meanwhile. */
  readonly ask: (family: string) => Promise<number | undefined>
}

const vault = (orders: Orders) =>
  Effect.callback<Process, string>((resume) => {
    const child = ChildProcess.spawn(process.execPath, [
      Path.join(import.meta.dirname, "children", "vault.ts"),
      JSON.stringify(orders)
    ], {
      env: { ...process.env, NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile") },
      stdio: ["pipe", "pipe", "ignore"]
    })
    const waiting = new Map<string, (line: string | undefined) => void>()
    Readline.createInterface(child.stdout).on("line", (line) => {
      const [family = ""] = line.split(" ")
      waiting.get(family)?.(line)
      waiting.delete(family)
      if (line === "ready") resume(Effect.succeed({ child, ask }))
    })
    const ask: Process["ask"] = (family) =>
      new Promise((done) => {
        if (child.exitCode !== null || child.signalCode !== null) return done(undefined)
        const began = performance.now()
        waiting.set(family, (line) => done(line?.endsWith(" ok") === true ? performance.now() - began : undefined))
        child.stdin.write(`${family}\n`)
      })
    child.stdin.on("error", () => {})
    child.once("exit", () => {
      for (const tell of waiting.values()) tell(undefined)
      resume(Effect.fail("it ended before it was ready"))
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(Effect.retry(Schedule.spaced("300 millis")), Effect.orDie)

const play = (grace: number) =>
  Effect.gen(function*() {
    const { lease, life, renewIdle, seconds, sessions, timeLimit } = scale
    const began = Date.now()
    const families = Array.from({ length: sessions }, (_, index) => `rt${index}`)
    // renewed one after the other within the last `renewIdle`, so that they fall due one after the other
    const endsAt = (family: string) =>
      began + 4000 + life - renewIdle + Math.round(Number(family.slice(2)) * renewIdle / sessions)
    const iam = yield* StrictIam.make({ families, life, latency: 300, grace, lease, endsAt })
    const server = yield* PostgresServer.make({ isDurable: true })
    const orders: Orders = { issuer: iam.issuer, database: server.url(), lease, timeLimit, grace, renewIdle }
    yield* Effect.provide(seed({ issuer: iam.issuer, families, life }, endsAt), storage(orders))
    const processes = yield* Effect.forEach([0, 1, 2], () => vault(orders), { concurrency: "unbounded" })
    yield* Effect.addFinalizer(() => Effect.sync(() => processes.forEach(({ child }) => child.kill("SIGKILL"))))

    const inFlight: Array<number> = []
    const waits: Array<number> = []
    const end = Date.now() + seconds * 1000
    const kills = Effect.gen(function*() {
      for (let index = 0; Date.now() + 4000 < end; index += 1) {
        yield* Effect.sleep(4000)
        // while a renewal is in flight
        yield* Effect.sleep("10 millis").pipe(Effect.repeat({ until: () => iam.ledger().inFlight > 0, times: 300 }))
        inFlight.push(iam.ledger().inFlight)
        const which = index % 3
        processes[which]!.child.kill("SIGKILL")
        processes[which] = yield* vault(orders)
      }
    })
    // a caller who has another address asks there when the first one is gone
    const calls = Effect.promise(async () => {
      for (let index = 0; Date.now() < end; index += 1) {
        const family = families[(index * 37) % families.length]!
        const began = performance.now()
        for (let address = index; address < index + 3; address += 1) {
          const took = await processes[address % 3]!.ask(family)
          if (took !== undefined) {
            waits.push(performance.now() - began)
            break
          }
        }
        await new Promise((resume) => setTimeout(resume, 50))
      }
    })
    yield* Effect.all([kills, calls], { concurrency: "unbounded", discard: true })
    // who has an intent to wait for may present it again
    yield* Effect.sleep(lease + 4000)
    const ledger = { ...iam.ledger(), killedInFlight: inFlight.reduce((sum, count) => sum + count, 0) }
    const longest = Math.max(...waits)
    const measures = process.env["EFFECT_AUTHN_MEASURES"]
    if (measures !== undefined) {
      Fs.appendFileSync(
        measures,
        `${JSON.stringify({ vault: ledger, calls: waits.length, longest, ...scale, grace })}\n`
      )
    }
    return { ledger, calls: waits.length, longest }
  }).pipe(Effect.scoped)

describe.runIf(PostgresServer.isThere)("three vaults over PostgreSQL, one killed every four seconds", {
  concurrent: false
}, () => {
  const safe = ({ calls, ledger }: Effect.Success<ReturnType<typeof play>>) => {
    assert.isAbove(ledger.killedInFlight, 0, "a run without a renewal in flight at a kill proves nothing")
    assert.isAbove(ledger.renewals, scale.sessions)
    assert.isAbove(calls, 50)
    assert.strictEqual(ledger.twice, 0, JSON.stringify(ledger))
  }

  it.live(
    "with a grace at the IAM nothing is presented twice outside of it, and nothing is lost",
    () =>
      Effect.map(play(scale.grace), (played) => {
        safe(played)
        assert.lengthOf(played.ledger.lost, 0, JSON.stringify(played.ledger))
      }),
    180_000
  )

  it.live(
    "without one nothing is presented twice, and lost is at most what was in flight",
    () =>
      Effect.map(play(0), (played) => {
        safe(played)
        assert.isAtMost(played.ledger.lost.length, played.ledger.killedInFlight, JSON.stringify(played.ledger))
      }),
    180_000
  )
})
