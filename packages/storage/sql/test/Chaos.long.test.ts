// Workers that are killed and stopped, and stores that are, under renewals with strict rotation: what the IAM's ledger says.
import { PostgresServer, RedisServer, TcpFaultProxy } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, type Scope } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { type Orders, start } from "./chaos/fleet.ts"
import * as StrictIam from "./chaos/strictIam.ts"

// The soak plays with the lease of a vault and for a minute; here all of it is shorter.
const isSoak = process.env["EFFECT_AUTHN_ROUNDS"] !== undefined
const scale = isSoak
  ? { lease: 15_000, timeLimit: 10_000, life: 120_000, grace: 30_000, seconds: 60, sessions: 600 }
  : { lease: 6_000, timeLimit: 3_000, life: 24_000, grace: 30_000, seconds: 20, sessions: 150 }
// Few sessions, which all workers ask for all the time: they meet at each renewal.
const crowded = { ...scale, life: 4_000, seconds: 16, sessions: 6 }

interface Store {
  readonly store: Orders["store"]
  readonly address: string
  /** The port that a line to it goes to; none for a file. */
  readonly port?: number
  readonly replicas?: number
  /** Takes the server away, and brings it back. */
  readonly away?: (
    millis: number
  ) => Effect.Effect<void, PostgresServer.PostgresUnavailable | RedisServer.RedisUnavailable>
}

const sqlite = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-chaos-"))),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory): Store => ({ store: "sqlite", address: Path.join(directory, "private", "sessions.sqlite") })
)

const postgres = Effect.map(PostgresServer.make({ isDurable: true }), (server): Store => ({
  store: "postgres",
  address: server.url(),
  port: server.port,
  away: (millis) => server.crash.pipe(Effect.andThen(Effect.sleep(millis)), Effect.andThen(server.start))
}))

const redis = (replicas: number) =>
  Effect.gen(function*() {
    const server = yield* RedisServer.make({ settings: { appendfsync: "always" } })
    if (replicas > 0) {
      const replica = yield* RedisServer.make({ settings: { replicaof: `127.0.0.1 ${server.port}` } })
      yield* Effect.repeat(replica.cli("info", "replication"), {
        until: (said) => said.includes("master_link_status:up")
      })
    }
    const found: Store = {
      store: "redis",
      address: server.url(),
      port: server.port,
      replicas,
      away: (millis) => server.crash.pipe(Effect.andThen(Effect.sleep(millis)), Effect.andThen(server.start))
    }
    return found
  })

/**
 * A worker at work: one that a busy machine has not begun yet would be killed for nothing, and one that finds no store when
 * it starts ends, and is started again.
 */
const worker = (orders: Orders) =>
  Effect.callback<ChildProcess.ChildProcess, string>((resume) => {
    const child = ChildProcess.spawn(process.execPath, [
      Path.join(import.meta.dirname, "children", "worker.ts"),
      JSON.stringify(orders)
    ], {
      env: { ...process.env, NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile") },
      stdio: ["ignore", "pipe", "ignore"]
    })
    child.stdout.once("data", () => resume(Effect.succeed(child)))
    child.once("exit", () => resume(Effect.fail("it ended before it was ready")))
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(Effect.retry(Schedule.spaced("300 millis")), Effect.orDie)

/** What the ledger says of three workers over a store, one of which is killed every four seconds. */
const play = (
  place: Effect.Effect<Store, PostgresServer.PostgresUnavailable | RedisServer.RedisUnavailable, Scope.Scope>,
  options: { readonly grace: number; readonly without?: Orders["without"]; readonly isCrowded?: boolean }
) =>
  Effect.gen(function*() {
    const isCrowded = options.isCrowded === true
    const size = isCrowded ? crowded : scale
    const began = Date.now()
    const families = Array.from({ length: size.sessions }, (_, index) => `rt${index}`)
    // they fall due one after the other, from the beginning on
    const endsAt = (family: string) => began + 5_000 + Math.round(Number(family.slice(2)) * size.life / size.sessions)
    const iam = yield* StrictIam.make({ ...size, families, grace: options.grace, latency: 300, endsAt })
    const found = yield* place
    const line = yield* TcpFaultProxy.make
    const orders: Orders = {
      issuer: iam.issuer,
      store: found.store,
      address: found.address,
      families,
      lease: size.lease,
      timeLimit: size.timeLimit,
      grace: options.grace,
      replicas: found.replicas ?? 0,
      pace: isCrowded ? 5 : 150,
      ...(options.without === undefined ? {} : { without: options.without })
    }
    yield* start(orders, endsAt, size.life)

    // the third worker has a line of its own to the store
    const throughLine = found.port === undefined
      ? orders
      : { ...orders, address: found.address.replace(`:${found.port}`, `:${line.port}`) }
    if (found.port !== undefined) yield* line.forwardTo({ port: found.port })
    const ordersOf = [orders, orders, throughLine]
    const workers = yield* Effect.forEach(ordersOf, worker, { concurrency: "unbounded" })
    yield* Effect.addFinalizer(() => Effect.sync(() => workers.forEach((child) => child.kill("SIGKILL"))))

    const inFlight: Array<number> = []
    const end = Date.now() + size.seconds * 1000
    const kills = Effect.gen(function*() {
      for (let index = 0; Date.now() + 4000 < end; index += 1) {
        yield* Effect.sleep(4000)
        // while a renewal is in flight, which there is every few moments
        yield* Effect.sleep("10 millis").pipe(Effect.repeat({ until: () => iam.ledger().inFlight > 0, times: 300 }))
        const which = index % 2
        inFlight.push(iam.ledger().inFlight)
        workers[which]!.kill("SIGKILL")
        workers[which] = yield* worker(ordersOf[which]!)
      }
    })
    const stops = Effect.gen(function*() {
      yield* Effect.sleep(5000)
      workers[2]!.kill("SIGSTOP")
      yield* Effect.sleep(size.lease + 1000)
      workers[2]!.kill("SIGCONT")
    })
    const cuts = Effect.gen(function*() {
      yield* Effect.sleep(size.seconds * 1000 - 8000)
      yield* line.set("stalled")
      yield* Effect.sleep(Math.min(size.lease + 1000, 7000))
      yield* line.reset
      yield* line.set("open")
    })
    const outages = found.away === undefined
      ? Effect.void
      : Effect.andThen(Effect.sleep(size.seconds * 400), found.away(isSoak ? 14_000 : 3000))
    yield* Effect.all(
      isCrowded ? [Effect.sleep(size.seconds * 1000)] : [kills, stops, cuts, outages],
      { concurrency: "unbounded", discard: true }
    )
    // who has an intent to wait for may present it again
    yield* Effect.sleep(isCrowded ? 0 : size.lease + 4000)
    return { ...iam.ledger(), killedInFlight: inFlight.reduce((sum, count) => sum + count, 0) }
  }).pipe(
    Effect.scoped,
    Effect.tap((ledger) =>
      Effect.sync(() => {
        const measures = process.env["EFFECT_AUTHN_MEASURES"]
        if (measures !== undefined) {
          Fs.appendFileSync(
            measures,
            `${JSON.stringify({ chaos: ledger, options, ...(options.isCrowded === true ? crowded : scale) })}\n`
          )
        }
      })
    )
  )

describe("three workers, one killed every four seconds, one stopped past its lease, a line cut, a store away", {
  concurrent: false
}, () => {
  const safe = (ledger: Effect.Success<ReturnType<typeof play>>) => {
    assert.isAbove(ledger.killedInFlight, 0, "a run without a renewal in flight at a kill proves nothing")
    assert.isAbove(ledger.renewals, scale.sessions / 3)
    assert.strictEqual(ledger.twice, 0, JSON.stringify(ledger))
  }

  it.live("SQLite, with a grace at the IAM: nothing is presented twice, nothing is lost", () =>
    Effect.map(play(sqlite, { grace: scale.grace }), (ledger) => {
      safe(ledger)
      assert.strictEqual(ledger.lost, 0, JSON.stringify(ledger))
    }))

  it.live.runIf(PostgresServer.isThere)(
    "PostgreSQL, with a grace: nothing twice, nothing lost",
    () =>
      Effect.map(play(postgres, { grace: scale.grace }), (ledger) => {
        safe(ledger)
        assert.strictEqual(ledger.lost, 0, JSON.stringify(ledger))
      })
  )

  it.live.runIf(PostgresServer.isThere)(
    "PostgreSQL, without a grace: nothing twice, lost at most what was in flight",
    () =>
      Effect.map(play(postgres, { grace: 0 }), (ledger) => {
        safe(ledger)
        // the stop, the cut and the outage each can take what the eight fibers of one worker have in flight
        assert.isAtMost(ledger.lost, ledger.killedInFlight + 3 * 8, JSON.stringify(ledger))
      })
  )

  it.live.runIf(RedisServer.isThere)(
    "Redis with a replica, with a grace: nothing twice, nothing lost",
    () =>
      Effect.map(play(redis(1), { grace: scale.grace }), (ledger) => {
        safe(ledger)
        assert.strictEqual(ledger.lost, 0, JSON.stringify(ledger))
      })
  )

  it.live("without the lock, compare and set alone keeps a token from being presented twice", () =>
    Effect.map(play(sqlite, { grace: 0, without: "lock", isCrowded: true }), (ledger) => {
      assert.isAbove(ledger.renewals, crowded.sessions)
      assert.deepStrictEqual([ledger.twice, ledger.lost], [0, 0], JSON.stringify(ledger))
    }))

  it.live("without compare and set as well, the ledger shows it", () =>
    Effect.map(play(sqlite, { grace: 0, without: "compare and set", isCrowded: true }), (ledger) => {
      assert.isAbove(ledger.twice, 0, JSON.stringify(ledger))
      assert.isAbove(ledger.lost, 0, JSON.stringify(ledger))
    }))
})
