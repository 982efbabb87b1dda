/** Everything that dies: workers, stores, and the lines between them and the IAM. */
import * as Effect from "effect/Effect"
import type { Outcome, Scenario, Size, Stage } from "./play.ts"
import { steps } from "./program.ts"
import type * as Stores from "./stores.ts"

/** As a fleet has it. */
export const long: Size = {
  sessions: 600,
  life: 120_000,
  lease: 15_000,
  timeLimit: 10_000,
  saving: 2000,
  grace: 30_000,
  round: 5000,
  storm: 60_000,
  outage: 14_000,
  outages: 5
}

/** For a test among others. */
export const short: Size = {
  sessions: 90,
  life: 40_000,
  lease: 8_000,
  timeLimit: 4_000,
  // beside other tests
  saving: 5000,
  grace: 30_000,
  round: 2000,
  storm: 9_000,
  outage: 3_000,
  outages: 1
}

const all = [0, 1, 2]

const kills = ({ kill, size }: Stage) =>
  Effect.gen(function*() {
    const began = Date.now()
    for (let index = 1; index <= size.storm / 4000; index += 1) {
      yield* Effect.sleep(Math.max(0, began + index * 4000 - Date.now()))
      yield* kill(index % all.length)
    }
  })

const outages = ({ size, store, strike }: Stage) =>
  Effect.gen(function*() {
    for (let index = 0; index < size.outages; index += 1) {
      yield* Effect.sleep(Math.min(size.storm / 2, 8000))
      yield* strike(all, store.away!(size.outage))
    }
    yield* Effect.sleep(4000)
  })

const failOvers = ({ size, store, strike, toStore }: Stage) =>
  Effect.gen(function*() {
    for (let index = 0; index < Math.min(size.outages, 3); index += 1) {
      yield* Effect.sleep(Math.min(size.storm / 2, 8000))
      yield* strike(all, store.failOver!(toStore))
    }
    // what the old server had acknowledged, and the new one has not, comes again when its token ends
    yield* Effect.sleep(Math.min(size.storm, size.life / 5 + 2000))
  })

/** Longer than the lease, and than it takes another worker to come by then. */
const longerThanTheLease = ({ lease, round }: Size) => lease + round + 1000

const cut = (which: "toStore" | "toIam") => (stage: Stage) =>
  Effect.gen(function*() {
    const { note, size, strike } = stage
    const line = stage[which][2]!
    yield* Effect.sleep(4000)
    // two workers go on meanwhile
    yield* strike([2], Effect.andThen(line.set("stalled"), Effect.sleep(longerThanTheLease(size))))
    // what waited in the line comes now
    yield* note([2], Effect.andThen(line.set("open"), Effect.sleep(2000)))
  })

const stops = ({ note, size, wake, word }: Stage) =>
  Effect.forEach(
    steps,
    () =>
      Effect.andThen(
        word(2),
        note([2], Effect.andThen(Effect.sleep(longerThanTheLease(size)), wake(2)))
      ),
    { discard: true }
  )

const together = ({ size }: Stage) => Effect.sleep(size.storm)

const halves = (scenario: Omit<Scenario, "hasGrace">): ReadonlyArray<Scenario> => [
  { ...scenario, hasGrace: true },
  { ...scenario, hasGrace: false }
]

const every: ReadonlyArray<Stores.Kind> = ["SQLite", "PostgreSQL", "Redis, one replica"]

/** A store that does not keep what it acknowledged: what that costs is counted. */
const counted = { text: "counted", isMet: (outcome: Outcome) => outcome.stuck === 0 }

export const scenarios: ReadonlyArray<Scenario> = [
  ...every.flatMap((kind) => halves({ name: "kill -9 every 4 s", kind, faults: kills })),
  ...halves({ name: "the store killed under load", kind: "PostgreSQL", faults: outages }),
  ...halves({ name: "its replica promoted", kind: "Redis, one replica", faults: failOvers }),
  ...halves({ name: "its replica promoted", kind: "Redis", faults: failOvers, bar: counted }),
  ...halves({ name: "line to the store stalled", kind: "PostgreSQL", faults: cut("toStore") }),
  ...halves({ name: "line to the store stalled", kind: "Redis, one replica", faults: cut("toStore") }),
  ...every.flatMap((kind) => halves({ name: "line to the IAM stalled", kind, faults: cut("toIam") })),
  ...every.flatMap((kind) => halves({ name: "stopped at each step", kind, faults: stops, halts: steps }))
]

/** Few sessions, which all workers ask for all the time, so that they meet. */
export const crowded: Size = { ...short, sessions: 12, life: 4000, round: 4, storm: 14_000 }

export const controls: ReadonlyArray<Scenario> = [
  ...every.map((kind): Scenario => ({
    name: "without the lock",
    kind,
    hasGrace: false,
    without: "lock",
    faults: together,
    bar: { text: "no refresh token may come twice", isMet: ({ silent, stuck, twice }) => twice + silent + stuck === 0 }
  })),
  ...every.map((kind): Scenario => ({
    name: "without compare and set",
    kind,
    hasGrace: false,
    without: "compare and set",
    faults: together,
    bar: { text: "the ledger has to show it", isMet: ({ lost, twice }) => twice > 0 && lost > 0 }
  }))
]
