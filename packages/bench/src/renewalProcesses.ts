// Many processes wake at once over one session that has expired, at an IAM that revokes what is used twice.
import { TokenStorage } from "@effect-authn/core"
import { NodeFileSystem } from "@effect/platform-node"
import { Clock, Deferred, Effect, FileSystem, type PlatformError, Queue, type Scope } from "effect"
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import * as Path from "node:path"
import * as Readline from "node:readline"
import * as Ours from "./renewalOurs.ts"
import * as Peers from "./renewalPeers.ts"
import { absent, median, millis, progress, type Report } from "./renewalReport.ts"
import type { TokenServer } from "./renewalServer.ts"

export interface Orders {
  readonly library: "ours" | "google" | "msal"
  readonly origin: string
  /** Where the session is: a directory of ours, a file of the others. */
  readonly place: string
}

export interface Outcome {
  readonly isToken: boolean
  /** What the caller in that process waited. */
  readonly millis: number
}

/** A process of its own that runs another file of this folder; its lines, and a way to tell it to go on. */
export const child = Effect.fnUntraced(function*(file: string, argument: string, nodeArguments: Array<string> = []) {
  const lines = yield* Queue.unbounded<string>()
  const ended = yield* Deferred.make<void>()
  const process_ = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const process_ = spawn(
        process.execPath,
        [...nodeArguments, Path.join(import.meta.dirname, file), argument],
        {
          // most of its life is the compilation of its imports
          env: { ...process.env, NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile") },
          stdio: ["pipe", "pipe", "inherit"]
        }
      )
      Readline.createInterface(process_.stdout).on("line", (line) => Queue.offerUnsafe(lines, line))
      process_.on("close", () => Deferred.doneUnsafe(ended, Effect.void))
      return process_
    }),
    (process_) =>
      Effect.suspend(() => {
        process_.kill("SIGKILL")
        return Deferred.await(ended)
      })
  )
  return { line: Queue.take(lines), go: Effect.sync(() => process_.stdin.end("go\n")), ended: Deferred.await(ended) }
})

/** Leaves the expired session where the processes look for it. */
const leave: Record<Orders["library"], (server: TokenServer, place: string) => Effect.Effect<void>> = {
  ours: (server, place) =>
    Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      const session = yield* Ours.session({
        issuer: server.origin,
        refreshToken: server.grant(),
        leftMillis: -1000
      })
      yield* storage.put(session.key, session, 0)
    }).pipe(Effect.provide(Ours.files(place)), Effect.orDie),
  google: (server, place) =>
    Effect.sync(() =>
      writeFileSync(place, JSON.stringify({ access_token: "old", refresh_token: server.grant(), expiry_date: 1 }))
    ),
  msal: (server, place) =>
    Effect.promise(() => {
      const client = Peers.msalClient(server.origin)
      return Peers.msalSignIn(client, server, 1_000).then(() =>
        writeFileSync(place, client.getTokenCache().serialize())
      )
    })
}

const wake = Effect.fnUntraced(function*(orders: Orders, processes: number) {
  const children = yield* Effect.forEach(
    Array.from({ length: processes }),
    () => Effect.tap(child("renewalChild.ts", JSON.stringify(orders)), ({ line }) => line),
    { concurrency: 4 }
  )
  const began = yield* Clock.monotonicTimeNanos
  for (const { go } of children) yield* go
  const outcomes = yield* Effect.forEach(
    children,
    ({ line }) => Effect.map(line, (text): Outcome => JSON.parse(text)),
    { concurrency: "unbounded" }
  )
  return { outcomes, wall: Number((yield* Clock.monotonicTimeNanos) - began) / 1e6 }
}, Effect.scoped)

const contests: ReadonlyArray<{ readonly library: Orders["library"]; readonly processes: number }> = [
  { library: "ours", processes: 64 },
  { library: "ours", processes: 16 },
  { library: "google", processes: 16 },
  { library: "msal", processes: 16 }
]

export const run = Effect.fnUntraced(
  function*(
    server: TokenServer
  ): Effect.fn.Return<Report, PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.makeTempDirectoryScoped()
    const rows: Array<Report["rows"][number]> = []
    const goals: Array<Report["goals"][number]> = []
    for (const [index, { library, processes }] of contests.entries()) {
      progress(`${processes} processes: ${library}`)
      const place = Path.join(directory, `${library}-${index}`)
      yield* leave[library](server, place)
      server.reset()
      server.set({ latencyMillis: 50 })
      const { outcomes, wall } = yield* wake({ library, origin: server.origin, place }, processes)
      const { asked, refused } = server.counts()
      const failures = outcomes.filter(({ isToken }) => !isToken).length
      rows.push([
        `${library}, ${processes} processes`,
        `${asked}`,
        `${refused}`,
        `${failures} of ${processes}`,
        refused === 0 ? "alive" : "revoked",
        millis(median(outcomes.map(({ millis }) => millis))),
        millis(wall)
      ])
      if (processes === 64) {
        goals.push(
          { goal: `${processes} processes: 1 request`, measured: `${asked}`, isMet: asked === 1 },
          { goal: `${processes} processes: no failure`, measured: `${failures}`, isMet: failures === 0 }
        )
      }
    }
    server.reset()
    return {
      title: "Processes that wake at once over one expired session, strict rotation, IAM 50 ms away",
      columns: ["requests", "refused", "without a token", "session", "wait p50, ms", "wall, ms"],
      rows: [...rows, ["cycler", absent, absent, absent, absent, absent, absent]],
      goals,
      notes: [
        "google-auth-library reads and writes a file by its `tokens` event, msal-node by its cache plugin, as documented;",
        "16 processes are enough to see it. The cycler shares nothing: each process would need a session of its own."
      ]
    }
  },
  Effect.provide(NodeFileSystem.layer),
  Effect.orDie
)
