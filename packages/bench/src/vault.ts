// A fleet of vaults on one machine: three processes over one PostgreSQL, and an IAM with strict rotation.
import { DueSessions, ServiceTokens, TokenStorage } from "@effect-authn/core"
import { PostgresServer } from "@effect-authn/testing"
import { Console, Context, Duration, Effect, Layer, Redacted, References } from "effect"
import { SqlClient } from "effect/sql"
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import { createRequire } from "node:module"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { median, millis, p99, progress, type Report, text } from "./renewalReport.ts"
import * as Fleet from "./vaultFleet.ts"
import * as Iam from "./vaultIam.ts"

// EFFECT_AUTHN_SESSIONS=1000000 is the soak, in which EFFECT_AUTHN_STORM of them (100,000) fall due in one second. With fewer
// than 10,000 all of it is short, for what is counted.
const sessions = Number(process.env["EFFECT_AUTHN_SESSIONS"] ?? 20_000)
const isSoak = sessions >= 500_000
const isShort = sessions < 10_000
const latency = 80
const batch = 64
const concurrency = 32
const rate = 100
const processes = 3

// Who is who among the families; the rest lies there.
const sustained = isSoak ? 4000 : isShort ? 600 : 3000
const storm = Number(process.env["EFFECT_AUTHN_STORM"] ?? (isSoak ? 100_000 : isShort ? 300 : 3000))
const asked = 1000
const cold = 300
// What each process has answered before it is measured, as one has that was not started a second ago.
const warm = { asked: 900, cold: 150 }
const opened = isSoak ? 10_000 : isShort ? 1000 : 3000
const from = { sustained: 0, storm: sustained, asked: sustained + storm, cold: sustained + storm + asked }
const openedFrom = from.cold + cold + warm.cold
const least = openedFrom + Math.max(opened, warm.asked)
if (!(sessions >= least)) {
  throw new Error(`EFFECT_AUTHN_SESSIONS is a number from ${least} on`)
}

// What lives in a vault is less than a hundred megabytes; without a bound V8 lets garbage lie where there is room.
const heap = ["--max-old-space-size=160", "--max-semi-space-size=16"]

interface Machine {
  readonly port: number
  readonly startedIn: number
  readonly statements: Effect.Effect<Fleet.Statements>
  readonly rss: Effect.Effect<number>
}

/** The process of a fleet as one file of JavaScript, which `authn vault` is, too. */
const bundled = Effect.promise(async () => {
  const load = createRequire(Path.join(import.meta.dirname, "../../cli/package.json"))
  const { build }: { readonly build: (options: object) => Promise<unknown> } = load("esbuild")
  const outfile = Path.join(import.meta.dirname, "../node_modules/.cache/vaultChild.cjs")
  await build({
    entryPoints: [Path.join(import.meta.dirname, "vaultChild.ts")],
    outfile,
    bundle: true,
    platform: "node",
    target: "node22.19",
    logLevel: "error"
  })
  return outfile
})

/** One process of the fleet, as long as the scope is open. */
const machine = Effect.fnUntraced(function*(file: string, orders: Fleet.Orders) {
  const began = performance.now()
  const lines: Array<(line: string) => void> = []
  const child: ChildProcess = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [...heap, file, JSON.stringify(orders)], {
        env: { ...process.env, NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile") },
        stdio: ["pipe", "pipe", "inherit"]
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGTERM")
      })
  )
  Readline.createInterface(child.stdout!).on("line", (line) => lines.shift()?.(line))
  const line = Effect.callback<string>((resume) => {
    lines.push((line) => resume(Effect.succeed(line)))
  })
  const { port }: { readonly port: number } = JSON.parse(yield* line)
  const found: Machine = {
    port,
    startedIn: performance.now() - began,
    statements: Effect.suspend(() => {
      child.stdin!.write("how many\n")
      return Effect.map(line, (text): Fleet.Statements => JSON.parse(text))
    }),
    rss: Effect.sync(() => {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8")
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
    })
  }
  return found
})

const agent = new Http.Agent({ keepAlive: true })

/** Asks a machine for a token; what it took, in milliseconds. */
const ask = (port: number, bearer: string, issuer: string, family: number) =>
  Effect.callback<number>((resume) => {
    const began = performance.now()
    const { account, clientId } = Fleet.keyOf(issuer, family)
    const fail = (error: unknown) => resume(Effect.die(error))
    Http.request({
      agent,
      port,
      host: "127.0.0.1",
      path: "/token",
      method: "POST",
      headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" }
    }, (response) => {
      const chunks: Array<Uint8Array> = []
      response.on("data", (chunk: Uint8Array) => chunks.push(chunk))
      response.once("end", () => {
        const took = performance.now() - began
        if (response.statusCode === 200) return resume(Effect.succeed(took))
        fail(new Error(`${response.statusCode} ${Buffer.concat(chunks).toString()}`))
      })
    }).once("error", fail).end(JSON.stringify({ issuer, client: clientId, account }))
  })

/** Calls at a fixed rate, however long the answers take. */
const openLoop = (perSecond: number, calls: ReadonlyArray<Effect.Effect<number>>) =>
  Effect.forEach(calls, (call, index) => Effect.delay(call, Duration.millis(index * 1000 / perSecond)), {
    concurrency: "unbounded"
  })

/** The most renewals in any second. */
const mostPerSecond = (times: ReadonlyArray<number>): number => {
  let most = 0
  let first = 0
  for (let last = 0; last < times.length; last++) {
    while (times[last]! - times[first]! >= 1000) first += 1
    most = Math.max(most, last - first + 1)
  }
  return most
}

const goal = (text: string, measured: string, isMet: boolean) => ({ goal: text, measured, isMet })

const measured = Effect.gen(function*() {
  const server = yield* PostgresServer.make({
    isDurable: true,
    settings: { shared_buffers: "512MB", max_connections: "60" }
  })
  const database = yield* server.createDatabase("fleet")
  const iam = yield* Iam.make({ latency, life: 3_600_000 })
  const { issuer } = iam
  const shared = yield* Layer.build(Fleet.stored(database))
  const sql = Context.get(shared, SqlClient.SqlClient)
  const due = Context.get(shared, DueSessions.DueSessions)
  // creates the tables
  yield* Context.get(shared, TokenStorage.TokenStorage).get(Fleet.keyOf(issuer, 0))
  const bearer = Redacted.value(
    yield* Context.get(shared, ServiceTokens.ServiceTokens).create({ name: "bench", rights: ["token"] })
  )
  const began = performance.now()
  yield* Fleet.seed({
    issuer,
    count: sessions,
    leftOf: (family) => family >= from.cold && family < openedFrom ? -1000 : 3_600_000,
    progress: (done) => {
      if (process.stderr.isTTY || done % Math.ceil(sessions / 10) < 500) {
        progress(`stored ${done} of ${sessions} sessions`)
      }
    }
  }).pipe(Effect.provideContext(shared))
  const seeded = (performance.now() - began) / 1000

  const file = yield* bundled
  const orders: Fleet.Orders = { database, issuer, batch, concurrency, isSweeping: true, maxOpen: 10_000 }
  const makeDue = (first: number, count: number) =>
    // within one second, in the order of their numbers
    sql.unsafe(
      `UPDATE effect_authn_sessions SET due_at = $1::bigint + (CAST(substr(account, 9) AS BIGINT) - $2::bigint) * 1000 / $3::bigint ` +
        `FROM (SELECT id AS one, key::json ->> 2 AS account FROM effect_authn_sessions) AS named ` +
        `WHERE one = id AND CAST(substr(account, 9) AS BIGINT) BETWEEN $2::bigint AND $2::bigint + $3::bigint - 1`,
      [`${Date.now() - 1000}`, `${first}`, `${count}`]
    )
  const renewedOf = (first: number, count: number) =>
    iam.renewals.filter(({ family }) => family >= first && family < first + count)
  const until = (isDone: () => boolean, seconds: number) =>
    Effect.sync(isDone).pipe(
      Effect.delay("50 millis"),
      Effect.repeat({ until: (done) => done }),
      Effect.timeoutOption(Duration.seconds(seconds))
    )

  progress("polls of nothing")
  const polls = yield* Effect.forEach(Array.from({ length: 300 }), () =>
    Effect.gen(function*() {
      const began = performance.now()
      yield* due.claim({ limit: batch, lease: Duration.minutes(1) })
      return performance.now() - began
    }))

  // ---------------------------------------------------------------------------------------------------------------------
  progress("idle")
  const idle = yield* Effect.scoped(Effect.gen(function*() {
    const one = yield* machine(file, orders)
    yield* Effect.sleep("2 seconds")
    const before = yield* one.statements
    yield* Effect.sleep("20 seconds")
    return ((yield* one.statements).all - before.all) / 20
  }))

  // ---------------------------------------------------------------------------------------------------------------------
  progress("sustained")
  yield* makeDue(from.sustained, sustained)
  const spawned = Date.now()
  const steady = yield* Effect.scoped(Effect.gen(function*() {
    const machines = yield* Effect.forEach(Array.from({ length: processes }), () => machine(file, orders), {
      concurrency: "unbounded"
    })
    yield* until(() => renewedOf(from.sustained, sustained).length >= sustained, 120)
    const statements = yield* Effect.forEach(machines, (one) => one.statements)
    const times = renewedOf(from.sustained, sustained).map(({ at }) => at).toSorted((a, b) => a - b)
    const count = times.length
    const seconds = (times.at(-1)! - times[0]!) / 1000
    const sum = (part: (one: Fleet.Statements) => number) => statements.reduce((sum, one) => sum + part(one), 0)
    return {
      count,
      perSecond: count / seconds,
      firstAfter: times[0]! - spawned,
      perRenewal: (sum(({ all, claims }) => all - claims)) / count,
      rss: Math.max(...(yield* Effect.forEach(machines, (one) => one.rss)))
    }
  }))

  // ---------------------------------------------------------------------------------------------------------------------
  progress("a storm, at the rate of the fleet")
  yield* makeDue(from.storm, storm)
  const limited = yield* Effect.scoped(Effect.gen(function*() {
    const machines = yield* Effect.forEach(
      Array.from({ length: processes }),
      () => machine(file, { ...orders, rate }),
      {
        concurrency: "unbounded"
      }
    )
    yield* until(() => renewedOf(from.storm, storm).length >= storm, 30 + 2 * storm / rate)
    const renewed = renewedOf(from.storm, storm).toSorted((one, other) => one.at - other.at)
    const times = renewed.map(({ at }) => at)
    const statements = yield* Effect.forEach(machines, (one) => one.statements)
    return {
      count: renewed.length,
      seconds: (times.at(-1)! - times[0]!) / 1000,
      most: mostPerSecond(times),
      out: Math.max(...renewed.map(({ family }, place) => Math.abs(family - from.storm - place))),
      perRenewal: statements.reduce((sum, { all, claims }) => sum + all - claims, 0) / renewed.length
    }
  }))

  // ---------------------------------------------------------------------------------------------------------------------
  progress("callers")
  // no storm: what the one before has left for the database to do is done
  yield* sql.unsafe("VACUUM ANALYZE effect_authn_sessions")
  yield* sql.unsafe("CHECKPOINT")
  const callers = yield* Effect.scoped(Effect.gen(function*() {
    const machines = yield* Effect.forEach(Array.from({ length: processes }), () => machine(file, orders), {
      concurrency: "unbounded"
    })
    const any = (index: number) => machines[index % machines.length]!.port
    const times = (first: number, count: number, perSecond: number) =>
      openLoop(
        perSecond,
        Array.from({ length: count }, (_, index) => ask(any(index), bearer, issuer, first + index))
      )
    yield* times(openedFrom, warm.asked, 100)
    yield* times(from.cold + cold, warm.cold, 20)
    const fromStore = yield* times(from.asked, asked, 50)
    const again = yield* times(from.asked, asked, 50)
    const renewed = yield* times(from.cold, cold, 20)
    progress("open sessions")
    const one = machines[0]!
    yield* Effect.forEach(
      Array.from({ length: opened }, (_, index) => index),
      (index) => ask(one.port, bearer, issuer, openedFrom + index),
      { concurrency: 8, discard: true }
    )
    return { fromStore, again, renewed, rss: yield* one.rss }
  }))

  const bound = processes * (batch + concurrency)
  const report: Report = {
    title: `${sessions.toLocaleString("en")} encrypted sessions (stored in ${
      seeded.toFixed(0)
    } s), ${processes} processes, an IAM that takes ${latency} ms`,
    columns: ["median", "p99"],
    rows: [
      ["a poll of nothing, ms", millis(median(polls)), millis(p99(polls))],
      ["a stored valid token, ms", millis(median(callers.fromStore)), millis(p99(callers.fromStore))],
      ["the same again, ms", millis(median(callers.again)), millis(p99(callers.again))],
      ["a cold token, ms", millis(median(callers.renewed)), millis(p99(callers.renewed))]
    ],
    goals: [
      goal("an empty poll takes under 1 ms", `${millis(median(polls))} ms`, median(polls) < 1),
      goal("idle, at most one statement a second", idle.toFixed(2), idle <= 1),
      goal(
        "the first renewal within 3 s of the start of the process",
        `${steady.firstAfter} ms`,
        steady.firstAfter < 3000
      ),
      goal(
        "at least 100 renewals a second",
        steady.perSecond.toFixed(0),
        steady.perSecond >= 100 && steady.count === sustained
      ),
      goal("at most 5 statements each, the claim apart", steady.perRenewal.toFixed(2), steady.perRenewal <= 5.05),
      goal(
        `due in one second: ${storm} at ${rate} a second, never more`,
        `${limited.most}`,
        limited.most <= rate && limited.count === storm
      ),
      goal(
        "as fast as the rate allows, within a tenth",
        `${limited.seconds.toFixed(1)} s`,
        limited.seconds <= 1.1 * storm / rate + 3
      ),
      goal(`in the order of expiry, within ${bound}`, `${limited.out}`, limited.out <= bound),
      goal(
        "a stored valid token: p99 under 10 ms at 50 a second",
        `${millis(p99(callers.fromStore))} ms`,
        p99(callers.fromStore) < 10
      ),
      goal(
        `a cold one under ${latency} + 50 ms`,
        `${millis(p99(callers.renewed))} ms`,
        p99(callers.renewed) < latency + 50
      ),
      goal("RSS under 300 MB while sweeping", `${steady.rss.toFixed(0)} MB`, steady.rss < 300),
      goal(`and with ${opened} sessions open`, `${callers.rss.toFixed(0)} MB`, callers.rss < 300),
      goal("no session lost", `${iam.lost()}`, iam.lost() === 0)
    ],
    notes: [
      `with draws from the store of rates: ${limited.perRenewal.toFixed(2)} statements a renewal`,
      `before they were measured, callers had asked ${warm.asked} times for stored and ${warm.cold} times for cold tokens`
    ]
  }
  progress("")
  yield* Console.log(text(report))
})

export const run: Effect.Effect<void> = Effect.gen(function*() {
  if (!PostgresServer.isThere) {
    yield* Console.error("there is no PostgreSQL here: apt-get install -y --no-install-recommends postgresql")
    return
  }
  yield* Console.log(
    `Node ${process.version}; ${Os.availableParallelism()} processors, on which ${
      Os.loadavg()[0]!.toFixed(1)
    } processes want to run\n`
  )
  yield* measured
}).pipe(Effect.scoped, Effect.orDie, Effect.provideService(References.MinimumLogLevel, "Error"))
