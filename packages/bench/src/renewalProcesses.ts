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
import { absent, median, millis, progress, type Report, times } from "./renewalReport.ts"
import type { TokenServer } from "./renewalServer.ts"

export interface Orders {
  readonly library: "ours" | "google" | "msal"
  readonly origin: string
  /** Where the session is: a directory of ours, a file of the others. */
  readonly place: string
  /** Where a session is that the process renews before it is ready: the code of a renewal has run then. */
  readonly rehearsal?: string
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

/** Leaves a session where the processes look for it, `leftMillis` before its token ends. */
const leave: Record<
  Orders["library"],
  (server: TokenServer, place: string, leftMillis: number) => Effect.Effect<void>
> = {
  ours: (server, place, leftMillis) =>
    Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      const session = yield* Ours.session({
        issuer: server.origin,
        refreshToken: server.grant(),
        leftMillis
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

const wake = Effect.fnUntraced(function*(
  server: TokenServer,
  orders: Orders,
  { hasRehearsed, processes }: Contest
) {
  server.reset()
  const children = yield* Effect.forEach(
    Array.from({ length: processes }),
    Effect.fnUntraced(function*(_, index) {
      const rehearsal = `${orders.place}-${index}`
      if (hasRehearsed) yield* leave.ours(server, rehearsal, expired)
      const started = yield* child(
        "renewalChild.ts",
        JSON.stringify(hasRehearsed ? { ...orders, rehearsal } : orders)
      )
      yield* started.line
      return started
    }),
    { concurrency: 4 }
  )
  server.reset()
  server.set({ latencyMillis: iamMillis })
  const began = yield* Clock.monotonicTimeNanos
  for (const { go } of children) yield* go
  const outcomes = yield* Effect.forEach(
    children,
    ({ line }) => Effect.map(line, (text): Outcome => JSON.parse(text)),
    { concurrency: "unbounded" }
  )
  return { outcomes, wall: Number((yield* Clock.monotonicTimeNanos) - began) / 1e6 }
}, Effect.scoped)

interface Contest {
  readonly library: Orders["library"]
  readonly processes: number
  readonly isFresh: boolean
  readonly hasRehearsed: boolean
}

const expired = -1000
const anHour = 3_600_000
const iamMillis = 50
// As many rounds as fit into this time, and one at least: 64 starts of Node take theirs.
const mostRounds = 3
const enoughMillis = 30_000

// What is measured beside each other is played in turns.
const contestsOf = (processes: 16 | 64): ReadonlyArray<Contest> => [
  ...[false, true].flatMap((hasRehearsed) =>
    [false, true].map((isFresh): Contest => ({ library: "ours", processes, isFresh, hasRehearsed }))
  ),
  ...(processes === 16 ? ["google", "msal"] as const : []).map(
    (library): Contest => ({ library, processes, isFresh: false, hasRehearsed: false })
  )
]

const nameOf = ({ hasRehearsed, isFresh, library, processes }: Contest) =>
  `${library}, ${processes} processes${hasRehearsed ? " that have renewed before" : ""}${
    isFresh ? ", over a fresh session" : ""
  }`

const contend = Effect.fnUntraced(function*(server: TokenServer, contest: Contest, place: string) {
  const { isFresh, library } = contest
  yield* leave[library](server, place, isFresh ? anHour : expired)
  const { outcomes, wall } = yield* wake(server, { library, origin: server.origin, place }, contest)
  const waits = outcomes.map(({ millis }) => millis)
  return {
    ...server.counts(),
    failures: outcomes.filter(({ isToken }) => !isToken).length,
    wait: median(waits),
    longest: Math.max(...waits),
    wall
  }
})

export const run = Effect.fnUntraced(
  function*(
    server: TokenServer,
    processes: 16 | 64
  ): Effect.fn.Return<Report, PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.makeTempDirectoryScoped()
    const played = contestsOf(processes).map((contest) => ({
      contest,
      rounds: Array<Effect.Success<ReturnType<typeof contend>>>()
    }))
    const began = yield* Clock.currentTimeMillis
    for (let round = 0; round < mostRounds; round++) {
      if (round > 0 && (yield* Clock.currentTimeMillis) - began > enoughMillis) break
      for (const [index, { contest, rounds: kept }] of played.entries()) {
        if (contest.library !== "ours" && round > 0) continue
        progress(`${nameOf(contest)}: round ${round + 1}`)
        kept.push(yield* contend(server, contest, Path.join(directory, `${contest.library}-${index}-${round}`)))
      }
    }
    server.reset()
    const of = (isFresh: boolean, hasRehearsed: boolean) =>
      played.find(({ contest }) =>
        contest.library === "ours" && contest.isFresh === isFresh && contest.hasRehearsed === hasRehearsed
      )!.rounds
    const expiredOnes = [...of(false, false), ...of(false, true)]
    const asked = Math.max(...expiredOnes.map(({ asked }) => asked))
    const failures = Math.max(...expiredOnes.map(({ failures }) => failures))
    const overFresh = (what: "wait" | "longest", hasRehearsed: boolean) =>
      median(
        of(false, hasRehearsed).map((one, round) => one[what] / (of(true, hasRehearsed)[round]![what] + iamMillis))
      )
    return {
      title:
        `${processes} processes that wake at once over one expired session, strict rotation, IAM ${iamMillis} ms away`,
      columns: ["requests", "refused", "without a token", "session", "wait p50, ms", "longest, ms", "wall, ms"],
      rows: [
        ...played.map(({ contest, rounds }): Report["rows"][number] => {
          const most = (what: "asked" | "refused" | "failures") => Math.max(...rounds.map((round) => round[what]))
          const middle = (what: "wait" | "longest" | "wall") => millis(median(rounds.map((round) => round[what])))
          return [
            nameOf(contest),
            `${most("asked")}`,
            `${most("refused")}`,
            `${most("failures")} of ${contest.processes}`,
            most("refused") === 0 ? "alive" : "revoked",
            middle("wait"),
            middle("longest"),
            middle("wall")
          ]
        }),
        ...(processes === 16
          ? [["cycler", absent, absent, absent, absent, absent, absent, absent] as const]
          : [])
      ],
      goals: [
        { goal: "1 request, no failure", measured: `${asked}, ${failures}`, isMet: asked === 1 && failures === 0 },
        ...[false, true].flatMap((hasRehearsed) =>
          (["wait", "longest"] as const).map((what) => ({
            goal: `${
              what === "wait" ? "wait p50" : "longest"
            }: at most 1.5x of a fresh session and the IAM's ${iamMillis} ms${
              hasRehearsed ? ", where the code has run before" : ""
            }`,
            measured: times(overFresh(what, hasRehearsed)),
            isMet: overFresh(what, hasRehearsed) <= 1.5
          }))
        )
      ],
      notes: [
        `Ours: the most requests and failures of ${
          of(true, false).length
        } rounds, and the median of the times. Over a fresh session a process`,
        "runs the code that reads it for the first time, on as many processors as there are; beside that it waits here for",
        "the code of a renewal, the lock, the flushes and the IAM. Where it has renewed another session before, what is left",
        "of that is the lock, the flushes and the IAM.",
        ...(processes === 16
          ? [
            "google-auth-library reads and writes a file by its `tokens` event, msal-node by its cache plugin, as documented.",
            "The cycler shares nothing: each process would need a session of its own."
          ]
          : [])
      ]
    }
  },
  Effect.provide(NodeFileSystem.layer),
  Effect.orDie
)
