// npm run bench -- storages [one] [together]
// What a session costs in each storage: to read it, to write it with compare and set, to open it, and to renew it; and 64
// processes that wake over one that has expired. Beside what the servers can do, and what people use today.
import { AuthManager, Session, SessionKeeper, SessionKey, TokenStorage } from "@effect-authn/core"
import { PostgresServer, RedisServer } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { Console, Context, Effect, FileSystem, Layer, Option, References } from "effect"
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Ours from "./renewalOurs.ts"
import * as Peers from "./renewalPeers.ts"
import { child, type Outcome } from "./renewalProcesses.ts"
import { absent, median, millis, progress, type Report, text } from "./renewalReport.ts"
import { type TokenServer, tokenServer } from "./renewalServer.ts"
import type { Orders } from "./storagesChild.ts"
import { type Place, storage } from "./storagesOurs.ts"
import * as StoragePeers from "./storagesPeers.ts"

const sessions = 100
// Shorter than usual where that is to be tried.
const seconds = Number(process.env["BENCH_SECONDS"] ?? 2)

/** How often it can be done in a second, one after the other, and what that costs this process in CPU time. */
const rate = Effect.fnUntraced(function*<E, R>(work: (i: number) => Effect.Effect<unknown, E, R>) {
  for (let i = 0; i < 20; i++) yield* work(i)
  const cpu = process.cpuUsage()
  const began = performance.now()
  let n = 0
  while (performance.now() - began < seconds * 1000) yield* work(n++)
  const wall = (performance.now() - began) / 1000
  const { system, user } = process.cpuUsage(cpu)
  return `${Math.round(n / wall).toLocaleString("en")} (${((user + system) / 1000 / n).toFixed(2)})`
})

const keyOf = (issuer: string, number: number) =>
  SessionKey.SessionKey.make({ issuer, clientId: "bench", account: `person-${number}` })

const ofOurs = Effect.fnUntraced(function*(place: Place, server: TokenServer) {
  progress(place.kind)
  const context = yield* Layer.build(Layer.fresh(Ours.program(server.origin, storage(place))))
  const stored = Context.get(context, TokenStorage.TokenStorage)
  const generations = Array.from({ length: sessions }, () => 1)
  const fresh = yield* Effect.forEach(generations, (_, number) =>
    Effect.tap(
      Ours.session({
        issuer: server.origin,
        account: `person-${number}`,
        refreshToken: server.grant(),
        leftMillis: 3_600_000
      }),
      (session) => stored.put(session.key, session, 0)
    ))
  const read = yield* rate((i) => stored.get(keyOf(server.origin, i % sessions)))
  const write = yield* rate((i) => {
    const number = i % sessions
    const generation = generations[number]!
    generations[number] = generation + 1
    return stored.put(fresh[number]!.key, Session.update(fresh[number]!, { generation: generation + 1 }), generation)
  })
  const keeper = Context.get(context, SessionKeeper.SessionKeeper)
  const opened = yield* rate((i) => {
    const kept = keeper.open(keyOf(server.origin, i % sessions))
    return Effect.andThen(kept.token, kept.forget)
  })
  const own = yield* Ours.session({ issuer: server.origin, refreshToken: server.grant(), leftMillis: 3_600_000 })
  yield* stored.put(own.key, own, 0)
  const auth = Context.get(context, AuthManager.AuthManager)
  const renewed = yield* rate(() => auth.refresh())
  return [place.kind, read, write, opened, renewed] as const
}, Effect.scoped)

const ofPeers = Effect.fnUntraced(function*(url: string, server: TokenServer) {
  const redis = yield* Effect.acquireRelease(
    Effect.promise(() => StoragePeers.redis(url)),
    (redis) => Effect.sync(redis.close)
  )
  progress("SET NX PX")
  yield* Effect.promise(() => StoragePeers.leave(redis, server, "worker", 3_600_000, Date.now()))
  const ask = StoragePeers.worker(redis, server.origin, "worker")
  const worker = [
    "SET NX PX worker, Redis",
    absent,
    absent,
    yield* rate(() => Effect.promise(() => ask())),
    yield* rate(() => Effect.promise(() => ask(true)))
  ] as const
  progress("MSAL")
  const client = StoragePeers.msal(redis, server.origin, "person")
  const account = yield* Effect.promise(() => Peers.msalSignIn(client, server, 3_600_000))
  const msal = [
    "MSAL, distributed cache, Redis",
    absent,
    absent,
    yield* rate(() => Effect.promise(() => Peers.msalAsk(client, account))),
    yield* rate(() => Effect.promise(() => StoragePeers.msalRenew(client, account)))
  ] as const
  return [worker, msal]
}, Effect.scoped)

/** What the servers do of one such statement after the other, asked by their own tools over one connection. */
const floor = (kind: "PostgreSQL" | "Redis", url: string, directory: string): readonly [string, ...Array<string>] => {
  if (kind === "Redis") {
    const { hostname, port } = new URL(url)
    const { stdout } = spawnSync(
      "redis-benchmark",
      ["-h", hostname, "-p", port, "-c", "1", "-n", "20000", "-d", "1200", "-t", "get,set", "--csv"],
      { encoding: "utf8" }
    )
    const of = (name: string) => new RegExp(`"${name}","([\\d.]+)"`).exec(stdout)?.[1]
    const shown = (name: string) => Number(of(name)).toLocaleString("en", { maximumFractionDigits: 0 })
    return ["redis-benchmark, GET and SET", shown("GET"), shown("SET"), absent, absent]
  }
  const run = (name: string, statement: string) => {
    const file = Path.join(directory, `${name}.sql`)
    writeFileSync(file, statement)
    const { stdout } = spawnSync("pgbench", [
      "-n",
      "-T",
      String(Math.max(1, Math.round(seconds))),
      "-M",
      "prepared",
      "-f",
      file,
      url
    ], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${process.env["PATH"]}:${pgPrograms}` }
    })
    return Number(/tps = ([\d.]+)/.exec(stdout)?.[1]).toLocaleString("en", { maximumFractionDigits: 0 })
  }
  const table = "effect_authn_sessions"
  const one = `(SELECT key FROM ${table} LIMIT 1)`
  return [
    "pgbench, one row",
    run("read", `SELECT * FROM ${table} WHERE key = ${one};\n`),
    run("write", `UPDATE ${table} SET generation = generation + 1 WHERE key = ${one} AND generation > 0;\n`),
    absent,
    absent
  ]
}

const pgPrograms = ["15", "16", "17"].map((version) => `/usr/lib/postgresql/${version}/bin`).join(":")

const wake = Effect.fnUntraced(function*(orders: Orders, processes: number) {
  const children = yield* Effect.forEach(
    Array.from({ length: processes }),
    () => Effect.tap(child("storagesChild.ts", JSON.stringify(orders)), ({ line }) => line),
    { concurrency: 4 }
  )
  for (const { go } of children) yield* go
  return yield* Effect.forEach(
    children,
    ({ line }) => Effect.map(line, (text): Outcome => JSON.parse(text)),
    { concurrency: "unbounded" }
  )
}, Effect.scoped)

const processes = Number(process.env["BENCH_PROCESSES"] ?? 64)

/** Leaves a session that has expired where the processes look for it. */
const leaveExpired = (orders: Orders, server: TokenServer) =>
  orders.kind === "SET NX PX worker, Redis" || orders.kind === "MSAL, distributed cache, Redis"
    ? Effect.promise(async () => {
      const redis = await StoragePeers.redis(orders.place)
      if (orders.kind === "SET NX PX worker, Redis") {
        await StoragePeers.leave(redis, server, "expired", -1000, Date.now())
      } else await Peers.msalSignIn(StoragePeers.msal(redis, server.origin, "expired"), server, 1000)
      redis.close()
    })
    : Effect.gen(function*() {
      const stored = yield* TokenStorage.TokenStorage
      const session = yield* Ours.session({
        issuer: server.origin,
        refreshToken: server.grant(),
        leftMillis: -1000
      })
      const before = yield* stored.get(session.key)
      const generation = Option.match(before, { onNone: () => 0, onSome: ({ generation }) => generation })
      yield* stored.put(session.key, Session.update(session, { generation: generation + 1 }), generation)
    }).pipe(Effect.provide(storage({ kind: orders.kind, place: orders.place })), Effect.orDie)

const together = Effect.fnUntraced(function*(
  places: ReadonlyArray<Pick<Orders, "kind" | "place">>,
  server: TokenServer
) {
  const rows: Array<Report["rows"][number]> = []
  const goals: Array<Report["goals"][number]> = []
  for (const { kind, place } of places) {
    progress(`${processes} processes: ${kind}`)
    const orders: Orders = { kind, place, origin: server.origin }
    yield* leaveExpired(orders, server)
    server.reset()
    server.set({ latencyMillis: 50 })
    const outcomes = yield* wake(orders, processes)
    const { asked, refused } = server.counts()
    const failures = outcomes.filter(({ isToken }) => !isToken).length
    const waits = outcomes.map(({ millis }) => millis)
    rows.push([
      kind,
      `${asked}`,
      `${refused}`,
      `${failures} of ${processes}`,
      millis(median(waits)),
      millis(Math.max(...waits))
    ])
    if (kind !== "SET NX PX worker, Redis" && kind !== "MSAL, distributed cache, Redis") {
      goals.push({
        goal: `${kind}: 1 request, no failure`,
        measured: `${asked}, ${failures}`,
        isMet: asked === 1 && failures === 0
      })
    }
  }
  server.reset()
  return {
    title: `${processes} processes wake at once over one expired session, strict rotation, IAM 50 ms away`,
    columns: ["requests", "refused", "without a token", "wait p50, ms", "longest, ms"],
    rows,
    goals,
    notes: []
  } satisfies Report
})

export const run: Effect.Effect<void> = Effect.gen(function*() {
  const server = yield* tokenServer
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped()
  const place = (name: string) => Path.join(directory, name)
  const postgres = PostgresServer.isThere
    ? (yield* PostgresServer.make({ settings: { max_connections: "400" } })).url()
    : undefined
  const redis = RedisServer.isThere ? (yield* RedisServer.make()).url() : undefined
  const places: Array<Place> = [
    { kind: "memory", place: "" },
    { kind: "files", place: place("files") },
    { kind: "encrypted files", place: place("encrypted") },
    { kind: "SQLite", place: place("sessions.sqlite") }
  ]
  if (postgres === undefined) yield* Console.error("LEFT OUT: PostgreSQL is not here")
  else places.push({ kind: "PostgreSQL", place: postgres })
  if (redis === undefined) yield* Console.error("LEFT OUT: Redis is not here")
  else places.push({ kind: "Redis", place: redis })

  yield* Console.log(
    `Node ${process.version}; ${Os.availableParallelism()} processors, on which ${
      Os.loadavg()[0]!.toFixed(1)
    } processes want to run\n`
  )
  const named = process.argv.slice(3)
  if (named.length === 0 || named.includes("one")) {
    const rows: Array<Report["rows"][number]> = []
    for (const each of places) rows.push([...(yield* ofOurs(each, server))])
    if (postgres !== undefined) rows.push(floor("PostgreSQL", postgres, directory))
    if (redis !== undefined) {
      rows.push(floor("Redis", redis, directory))
      for (const row of yield* ofPeers(redis, server)) rows.push([...row])
    }
    progress("")
    yield* Console.log(text({
      title: "One after the other: a second (milliseconds of CPU time of this process for one)",
      columns: ["read", "compare and set", "open", "renew"],
      rows,
      goals: [],
      notes: [
        "open: the first token of a session that this process has not read yet; of the peers: a token that is valid.",
        "renew: with the request to an IAM in the same process. The files, SQLite and the databases flush to the disk as",
        "they are set; the servers of the tests do not wait for it."
      ]
    }))
  }
  if (named.length > 0 && !named.includes("together")) return
  const shared: Array<Pick<Orders, "kind" | "place">> = places.filter(({ kind }) => kind !== "memory")
  if (redis !== undefined) {
    shared.push(
      { kind: "SET NX PX worker, Redis", place: redis },
      { kind: "MSAL, distributed cache, Redis", place: redis }
    )
  }
  const report = yield* together(shared, server)
  progress("")
  yield* Console.log(text(report))
}).pipe(
  Effect.scoped,
  Effect.orDie,
  Effect.provide(NodeFileSystem.layer),
  Effect.provideService(References.MinimumLogLevel, "Error")
)
