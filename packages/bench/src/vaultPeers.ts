// What people use today in the place of a vault, beside three vaults: processes that ask for the same expired sessions at once.
import { ServiceTokens, Session, type SessionKey, TokenStorage } from "@effect-authn/core"
import { PostgresServer, RedisServer } from "@effect-authn/testing"
import { Console, Context, Effect, Layer, Redacted, References } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Readline from "node:readline"
import * as Ours from "./renewalOurs.ts"
import * as Peers from "./renewalPeers.ts"
import { progress, type Report, text } from "./renewalReport.ts"
import { type TokenServer, tokenServer } from "./renewalServer.ts"
import * as StoragePeers from "./storagesPeers.ts"
import * as Fleet from "./vaultFleet.ts"

export interface Orders {
  readonly kind: "SET NX PX" | "MSAL" | "better-auth" | "Auth.js"
  readonly place: string
  readonly origin: string
  readonly count: number
  readonly concurrency: number
}

export interface Asked {
  readonly without: number
  readonly millis: number
}

const processes = 3
const count = 200
const concurrency = 8
const latencyMillis = 80

/** A process of a script of this bench; `line` is the next line that it says. */
const child = (script: string, orders: object) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child: ChildProcess = spawn(
          process.execPath,
          [
            "--disable-warning=ExperimentalWarning",
            Path.join(import.meta.dirname, script),
            JSON.stringify(orders)
          ],
          {
            env: {
              ...process.env,
              NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile")
            },
            stdio: ["pipe", "pipe", "inherit"]
          }
        )
        return { child, lines: Readline.createInterface(child.stdout!)[Symbol.asyncIterator]() }
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    ({ child, lines }) => ({
      child,
      line: Effect.promise(() => lines.next().then(({ value }) => String(value)))
    })
  )

const all = <A, E, R>(one: Effect.Effect<A, E, R>) =>
  Effect.forEach(Array.from({ length: processes }), () => one, { concurrency: "unbounded" })

const rowOf = (name: string, server: TokenServer, asked: ReadonlyArray<Asked>): readonly [string, ...Array<string>] => {
  const { asked: requests, lost } = server.counts()
  const without = asked.reduce((sum, one) => sum + one.without, 0)
  return [
    name,
    `${requests}`,
    `${lost} of ${count}`,
    `${without} of ${processes * count}`,
    Math.max(...asked.map(({ millis }) => millis)).toFixed(0)
  ]
}

const ofPeer = Effect.fnUntraced(function*(
  name: string,
  kind: Orders["kind"],
  place: string,
  leave: (server: TokenServer) => Promise<unknown>
) {
  progress(name)
  const server = yield* tokenServer
  yield* Effect.promise(() => leave(server))
  // what was left with a second of life has ended
  yield* Effect.sleep("1100 millis")
  server.reset()
  server.set({ latencyMillis })
  const orders: Orders = { kind, place, origin: server.origin, count, concurrency }
  const children = yield* all(Effect.tap(child("vaultPeersChild.ts", orders), ({ line }) => line))
  for (const { child } of children) child.stdin!.write("go\n")
  const asked = yield* Effect.forEach(children, ({ line }) => Effect.map(line, (said): Asked => JSON.parse(said)), {
    concurrency: "unbounded"
  })
  return rowOf(name, server, asked)
}, Effect.scoped)

/** Three vaults; the callers are of this process, and ask by HTTP. */
const ofOurs = Effect.fnUntraced(function*(database: string) {
  progress("three vaults")
  const server = yield* tokenServer
  const built = yield* Layer.build(Fleet.stored(database))
  const stored = Context.get(built, TokenStorage.TokenStorage)
  const bearer = Redacted.value(
    yield* Context.get(built, ServiceTokens.ServiceTokens).create({ name: "bench", rights: ["token"] })
  )
  const keys: Array<SessionKey.SessionKey> = []
  for (let index = 0; index < count; index += 1) {
    const key = Fleet.keyOf(server.origin, index)
    const session = yield* Ours.session({ issuer: server.origin, refreshToken: server.grant(), leftMillis: -1000 })
    yield* stored.put(key, Session.Session.make({ ...session, key }), 0)
    keys.push(key)
  }
  server.reset()
  server.set({ latencyMillis })
  const orders: Fleet.Orders = {
    database,
    issuer: server.origin,
    batch: 64,
    concurrency: 32,
    isSweeping: false,
    maxOpen: 10_000
  }
  const ports = yield* all(
    Effect.flatMap(
      child("vaultChild.ts", orders),
      ({ line }) => Effect.map(line, (said) => (JSON.parse(said) as { readonly port: number }).port)
    )
  )
  const ask = (port: number) =>
    Effect.promise(async (): Promise<Asked> => {
      const waiting = keys.values()
      let without = 0
      const began = performance.now()
      await Promise.all(Array.from({ length: concurrency }, async () => {
        for (const { account, clientId: client, issuer } of waiting) {
          const response = await fetch(`http://127.0.0.1:${port}/token`, {
            method: "POST",
            headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
            body: JSON.stringify({ issuer, client, account })
          })
          await response.text()
          if (!response.ok) without += 1
        }
      }))
      return { without, millis: performance.now() - began }
    })
  return rowOf("three vaults, PostgreSQL", server, yield* Effect.forEach(ports, ask, { concurrency: "unbounded" }))
}, Effect.scoped)

const measured = Effect.gen(function*() {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-bench-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const postgres = yield* PostgresServer.make({ isDurable: true })
  const redisUrl = (yield* RedisServer.make()).url()
  const redis = yield* Effect.acquireRelease(
    Effect.promise(() => StoragePeers.redis(redisUrl)),
    (redis) => Effect.sync(redis.close)
  )
  const { authJsLeave, betterLeave } = yield* Effect.promise(() => import("./vaultPeersLibraries.ts"))
  const indices = Array.from({ length: count }, (_, index) => index)
  const betterFile = Path.join(directory, "better.sqlite")
  const authJsFile = Path.join(directory, "auth.sqlite")
  const rows = [
    yield* ofOurs(yield* postgres.createDatabase("peers")),
    yield* ofPeer(
      "SET NX PX worker, Redis",
      "SET NX PX",
      redisUrl,
      (server) =>
        Promise.all(indices.map((index) => StoragePeers.leave(redis, server, `session-${index}`, -1000, Date.now())))
    ),
    yield* ofPeer("MSAL, distributed cache, Redis", "MSAL", redisUrl, async (server) => {
      for (const index of indices) {
        await Peers.msalSignIn(StoragePeers.msal(redis, server.origin, `person-${index}`), server, 1000)
      }
    }),
    yield* ofPeer(
      "better-auth getAccessToken, SQLite",
      "better-auth",
      betterFile,
      (server) => betterLeave(betterFile, server, count)
    ),
    yield* ofPeer(
      "Auth.js as documented, SQLite",
      "Auth.js",
      authJsFile,
      (server) => Promise.resolve(authJsLeave(authJsFile, server, count))
    )
  ]
  const [ours] = rows
  const report: Report = {
    title:
      `${processes} processes that ask for the same ${count} expired sessions at once, ${concurrency} at a time in each; ` +
      `an IAM with strict rotation that takes ${latencyMillis} ms`,
    columns: ["requests", "sessions lost", "answers without a token", "wall, ms"],
    rows,
    goals: [
      { goal: `one request for each session`, measured: ours![1]!, isMet: ours![1] === `${count}` },
      { goal: "no session lost", measured: ours![2]!, isMet: ours![2] === `0 of ${count}` },
      { goal: "a token for each", measured: ours![3]!, isMet: ours![3] === `0 of ${processes * count}` }
    ],
    notes: [
      "A session is lost where the IAM saw a refresh token twice. Nothing is killed here: what a worker with SET NX PX loses",
      "when it dies, or when a request takes longer than its lock, is not in this table."
    ]
  }
  progress("")
  yield* Console.log(text(report))
})

export const run: Effect.Effect<void> = Effect.gen(function*() {
  if (!PostgresServer.isThere || !RedisServer.isThere) {
    yield* Console.error(
      "PostgreSQL or Redis is not here: apt-get install -y --no-install-recommends postgresql redis-server"
    )
    return
  }
  yield* Console.log(
    `Node ${process.version}; ${Os.availableParallelism()} processors, on which ${
      Os.loadavg()[0]!.toFixed(1)
    } processes want to run\n`
  )
  yield* measured
}).pipe(Effect.scoped, Effect.orDie, Effect.provideService(References.MinimumLogLevel, "Error"))
