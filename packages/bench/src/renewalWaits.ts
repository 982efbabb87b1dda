// What callers wait for: all of them at the expiry, an IAM that is slow, and one that is out of order.
import { TokenStorage } from "@effect-authn/core"
import { NodeFileSystem } from "@effect/platform-node"
import { Clock, Effect, FileSystem, Random, type Scope } from "effect"
import { open, rename } from "node:fs/promises"
import * as Path from "node:path"
import { median as middle } from "./measure.ts"
import type { Client, Open } from "./renewalClient.ts"
import * as Ours from "./renewalOurs.ts"
import * as Peers from "./renewalPeers.ts"
import { absent, median, middleHalf, millis, p99, progress, type Report, times } from "./renewalReport.ts"
import type { TokenServer } from "./renewalServer.ts"

interface Contestant {
  readonly name: string
  readonly open: Open
}

const peers: ReadonlyArray<Contestant> = [
  { name: "google", open: Peers.google },
  { name: "msal", open: Peers.msal },
  { name: "cycler", open: Peers.cycler }
]

const inMemory: Contestant = { name: "ours, in memory", open: Ours.open(() => TokenStorage.layerMemory) }

const inFiles = Effect.map(
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped()),
  (directory): Contestant => {
    let rounds = 0
    return {
      name: "ours, in files",
      open: (...args) => Ours.open(() => Ours.files(`${directory}/${rounds += 1}`))(...args)
    }
  }
).pipe(Effect.provide(NodeFileSystem.layer), Effect.orDie)

const elapsedMillis = <A>(effect: Effect.Effect<A>) =>
  Effect.gen(function*() {
    const began = yield* Clock.monotonicTimeNanos
    const value = yield* effect
    return { value, millis: Number((yield* Clock.monotonicTimeNanos) - began) / 1e6 }
  })

// ---------------------------------------------------------------------------------------------------------------------
// a storm at expiry
// ---------------------------------------------------------------------------------------------------------------------

const stormRounds = 11
// Rounds that only warm up.
const warmUps = 2

const storm = (server: TokenServer, { open }: Contestant, callers: number) =>
  Effect.gen(function*() {
    const client = yield* open(server, -1000)
    server.reset()
    const { millis, value: got } = yield* elapsedMillis(client.askAtOnce(callers))
    return { millis, asked: server.counts().asked, without: callers - got }
  }).pipe(Effect.scoped)

/** What the storage does with the disk for one renewal, the intent and the answer, and nothing else. */
const flushes = (directory: string) =>
  Effect.promise(async () => {
    for (const write of ["intent", "answer"]) {
      const temporary = Path.join(directory, `${write}.tmp`)
      const file = await open(temporary, "wx", 0o600)
      await file.writeFile("x".repeat(documentBytes))
      await file.sync()
      await file.close()
      await rename(temporary, Path.join(directory, "session.json"))
      const parent = await open(directory, "r")
      await parent.sync()
      await parent.close()
    }
  })

// About what the session of this bench has in its file.
const documentBytes = 700

export const atExpiry = Effect.fnUntraced(function*(server: TokenServer): Effect.fn.Return<Report, never, Scope.Scope> {
  const files = yield* inFiles
  const contestants = [inMemory, files, ...peers]
  const floor = Array<number>()
  const directory = yield* FileSystem.FileSystem.pipe(
    Effect.flatMap((fs) => fs.makeTempDirectoryScoped()),
    Effect.provide(NodeFileSystem.layer),
    Effect.orDie
  )
  const played = contestants.map((contestant) => ({
    contestant,
    // It sends a request for each of its callers.
    callers: contestant.name === "msal" ? 1_000 : 10_000,
    rounds: Array<Effect.Success<ReturnType<typeof storm>>>()
  }))
  for (let round = 0; round < stormRounds; round++) {
    progress(`callers at expiry: round ${round + 1} of ${stormRounds}`)
    for (const { callers, contestant, rounds } of yield* Random.shuffle(played)) {
      if (contestant.name === "msal" && round >= 3) continue
      rounds.push(yield* storm(server, contestant, callers))
    }
    floor.push((yield* elapsedMillis(flushes(directory))).millis)
  }
  const walls = (name: string) => {
    const { rounds } = played.find(({ contestant }) => contestant.name === name)!
    return rounds.slice(warmUps).map(({ millis }) => millis)
  }
  const ratio = (name: string) => middle(walls(name).map((wall, round) => wall / walls("cycler")[round]!))
  const flushed = floor.slice(warmUps)
  const overFloor = middle(
    walls(files.name).map((wall, round) => wall / (walls(inMemory.name)[round]! + flushed[round]!))
  )
  const asked = played.filter(({ contestant }) => contestant.name.startsWith("ours"))
    .flatMap(({ rounds }) => rounds.map(({ asked }) => asked))
  return {
    title: "10,000 callers at the expiry: until the last has its token, milliseconds (medians of 9 rounds)",
    columns: ["wall", "half of the rounds", "least", "x cycler", "requests", "without a token"],
    rows: [
      ...played.map(({ callers, contestant: { name }, rounds }): Report["rows"][number] => [
        callers === 10_000 ? name : `${name}, 1,000 callers`,
        millis(median(walls(name))),
        middleHalf(walls(name), millis),
        millis(Math.min(...walls(name))),
        callers === 10_000 ? times(ratio(name)) : absent,
        `${median(rounds.map(({ asked }) => asked))}`,
        `${median(rounds.map(({ without }) => without))}`
      ]),
      [
        "four flushes to the disk",
        millis(median(flushed)),
        middleHalf(flushed, millis),
        millis(Math.min(...flushed)),
        absent,
        absent,
        absent
      ]
    ],
    goals: [
      { goal: "1 request", measured: `${Math.max(...asked)}`, isMet: Math.max(...asked) === 1 },
      {
        goal: "in memory, as the cycler: no longer than it",
        measured: times(ratio(inMemory.name)),
        isMet: ratio(inMemory.name) <= 1
      },
      {
        goal: "in files: at most 1.5x of what it is in memory and the four flushes",
        measured: times(overFloor),
        isMet: overFloor <= 1.5
      }
    ],
    notes: [
      "The wall of ours has the reading of the stored session in it, the intent and the answer written, and in files the",
      "locks and four flushes to the disk, of each document and of its directory; the others keep nothing. The last row",
      "is the floor: the same bytes written, flushed and renamed twice in the same way, by Node alone."
    ]
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// an IAM that is slow, or out of order
// ---------------------------------------------------------------------------------------------------------------------

/** Callers that come one after another, whatever became of the one before. */
const callersInTurn = (client: Client, callers: number, everyMillis: number) =>
  Effect.forEach(
    Array.from({ length: callers }),
    (_, caller) => Effect.delay(elapsedMillis(Effect.result(client.ask)), caller * everyMillis),
    { concurrency: "unbounded" }
  )

const inWindow = Effect.fnUntraced(function*(options: {
  readonly server: TokenServer
  readonly behaviour: Parameters<TokenServer["set"]>[0]
  readonly title: string
  readonly rounds: number
  readonly callers: number
  readonly goals: (waits: ReadonlyArray<number>, without: number) => Report["goals"]
  readonly notes: ReadonlyArray<string>
}): Effect.fn.Return<Report, never, Scope.Scope> {
  const { callers, rounds, server } = options
  const played = [yield* inFiles, ...peers].map((contestant) => ({
    contestant,
    waits: Array<number>(),
    without: 0,
    asked: Array<number>()
  }))
  for (let round = 0; round < rounds; round++) {
    for (const one of yield* Random.shuffle(played)) {
      progress(`${options.title}: ${one.contestant.name}, round ${round + 1} of ${rounds}`)
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* one.contestant.open(server, 60_000)
        server.reset()
        server.set(options.behaviour)
        const calls = yield* callersInTurn(client, callers, 5)
        one.waits.push(...calls.map(({ millis }) => millis))
        one.without += calls.filter(({ value }) => value._tag === "Failure").length
        one.asked.push(server.counts().asked)
        server.reset()
      }))
    }
  }
  const [ours] = played
  return {
    title: options.title,
    columns: ["wait p50", "p99", "most", "x p99", "requests", "without a token"],
    rows: played.map(({ asked, contestant, waits, without }) => [
      contestant.name,
      millis(median(waits)),
      millis(p99(waits)),
      millis(Math.max(...waits)),
      times(p99(waits) / p99(ours!.waits)),
      `${median(asked)}`,
      `${without} of ${waits.length}`
    ]),
    goals: options.goals(ours!.waits, ours!.without),
    notes: options.notes
  }
})

export const slow = (server: TokenServer) =>
  inWindow({
    server,
    behaviour: { latencyMillis: 2_000 },
    title: "60 s left, IAM 2 s slow: what a caller waits, milliseconds",
    rounds: 2,
    callers: 440,
    goals: (waits) => [{ goal: "under 5 ms at p99", measured: millis(p99(waits)), isMet: p99(waits) < 5 }],
    notes: [
      "Callers come every 5 ms for 2.2 s, twice. msal-node takes a token with less than 5 minutes left for expired."
    ]
  })

export const failing = (server: TokenServer) =>
  inWindow({
    server,
    behaviour: { status: 500 },
    title: "60 s left, IAM answers 500: what a caller waits, milliseconds",
    rounds: 2,
    callers: 200,
    goals: (waits, without) => [
      { goal: "every caller gets the valid token", measured: `${without} without`, isMet: without === 0 },
      { goal: "under 5 ms at p99", measured: millis(p99(waits)), isMet: p99(waits) < 5 }
    ],
    notes: [
      "Callers come every 5 ms for a second, twice. If the IAM stays as it is until the token ends, the cycler's renewal in",
      "the background is rejected with nobody to hear it, and Node ends the process."
    ]
  })
