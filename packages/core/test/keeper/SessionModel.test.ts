// Random interleavings of everything that can happen to the sessions of two programs, against the promises of the keeper.
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { allOf, essential, type History, history as histories } from "./model/moves.ts"
import { pasteable, promises } from "./model/promises.ts"

/** A history that broke a promise once. */
const found = (name: string, history: History) =>
  it.live(name, () => Effect.map(promises(history), (broken) => assert.deepStrictEqual(broken, [])))

// Each run of the tests has its own seed and keeps it, so that a red run is a change's and not the draw's; the soak draws
// another each time.
const runs = Number(process.env["EFFECT_AUTHN_MODEL_RUNS"])
const seed = process.env["EFFECT_AUTHN_MODEL_SEED"]!
const length = Number(process.env["EFFECT_AUTHN_MODEL_LENGTH"] ?? 2)

// How many histories one test plays at most, each from a seed of its own: the time limit is for what hangs.
const slice = 500

// With a fault put back the first history that it breaks is enough.
const maxShrinks = process.env["EFFECT_AUTHN_MUTANT"] === undefined ? 300 : 0

describe("SessionModel", () => {
  for (let first = 0; first < runs; first += slice) {
    const count = Math.min(slice, runs - first)
    const own = `${seed}.${first / slice}`
    it.live(
      `the promises hold in random histories ${first + 1} to ${first + count} from seed ${seed}`,
      () =>
        Effect.gen(function*() {
          const result = yield* Arbitrary.checkEffect(
            histories,
            (history) =>
              Effect.flatMap(
                promises(history),
                (broken) => broken.length === 0 ? Effect.succeed(true) : Effect.fail(broken.join("; "))
              ),
            { runs: count, size: 24, maxShrinks, seed: own }
          )
          if (result._tag === "Passed") return
          if (result._tag !== "Falsified") return assert.fail(Arbitrary.formatCheckFailure(result))
          const broken = yield* promises(result.shrunkInput)
          assert.fail(
            `history ${first + result.runs}: ${broken.join("; ")}\npaste it as a test (seed ${own}):\n` +
              pasteable(result.shrunkInput, broken)
          )
        }),
      600_000
    )
  }

  for (const lock of ["kernel", "none"] as const) {
    for (const first of essential) {
      it.live(
        `the promises hold in all histories of ${length} moves over the essential ones, lock: ${lock}, after ${
          Object.values(first).join(" ")
        }`,
        () =>
          Effect.forEach(
            allOf(essential, length - 1),
            (rest) => {
              const history: History = { setting: { lock, grace: 0 }, moves: [first, ...rest] }
              return Effect.map(promises(history), (broken) => {
                if (broken.length > 0) assert.fail(pasteable(history, broken))
              })
            },
            { discard: true }
          ),
        600_000
      )
    }
  }

  found("a sibling's whoami beside an answer that could not be stored", {
    setting: { lock: "kernel", grace: 0 },
    moves: [
      { _tag: "Latency", time: 300 },
      { _tag: "Refresh", who: 0, project: "" },
      { _tag: "Disk", how: "full" },
      { _tag: "Pass", time: 400 },
      { _tag: "Disk", how: "fine" },
      { _tag: "Whoami", who: 1, delay: 0 },
      { _tag: "Pass", time: 3_700_000 },
      { _tag: "Call", who: 0, project: "" }
    ]
  })

  found("a user who was asked for before another person signed in", {
    setting: { lock: "kernel", grace: 0 },
    moves: [
      { _tag: "Whoami", who: 0, delay: 6_000 },
      { _tag: "Login", who: 0, person: "bob" },
      { _tag: "Pass", time: 40_000 }
    ]
  })

  found("a token that an API refused after another person signed in", {
    setting: { lock: "kernel", grace: 0 },
    moves: [
      { _tag: "Call", who: 0, project: "" },
      { _tag: "Login", who: 0, person: "bob" },
      { _tag: "Rejected", who: 0, nth: 0 }
    ]
  })

  found("a program that is frozen with its answer on the way, under a lease", {
    setting: { lock: "lease", grace: 0 },
    moves: [
      { _tag: "Call", who: 1, project: "" },
      { _tag: "Latency", time: 300 },
      { _tag: "Refresh", who: 0, project: "" },
      { _tag: "Freeze", who: 0 },
      { _tag: "Pass", time: 40_000 },
      { _tag: "Refresh", who: 1, project: "" },
      { _tag: "Pass", time: 40_000 },
      { _tag: "Thaw", who: 0 }
    ]
  })

  found("a logout beside a renewal of a program that hears nothing", {
    setting: { lock: "none", grace: 0 },
    moves: [
      { _tag: "Call", who: 1, project: "" },
      { _tag: "Hints", who: 1, lost: true },
      { _tag: "Latency", time: 300 },
      { _tag: "Refresh", who: 1, project: "" },
      { _tag: "Logout", who: 0 },
      { _tag: "Pass", time: 40_000 }
    ]
  })

  found("a sibling's write while a slow read is under way", {
    setting: { lock: "kernel", grace: 0 },
    moves: [
      { _tag: "Reads", who: 1, delay: 2000 },
      { _tag: "Export", who: 1 },
      { _tag: "Call", who: 0, project: "a" },
      { _tag: "Call", who: 1, project: "" }
    ]
  })

  found("a login beside a sibling's renewal after a logout, without a lock", {
    setting: { lock: "none", grace: 0 },
    moves: [
      { _tag: "Reads", who: 0, delay: 2000 },
      { _tag: "Logout", who: 0 },
      { _tag: "Call", who: 1, project: "a" },
      { _tag: "Login", who: 1, person: "ada" }
    ]
  })

  found("a logout beside renewals whose grant it ends at the IAM, without a lock", {
    setting: { lock: "none", grace: 0 },
    moves: [
      { _tag: "Latency", time: 20_000 },
      { _tag: "Refresh", who: 1, project: "b" },
      { _tag: "Logout", who: 0 },
      { _tag: "Refresh", who: 1, project: "a" }
    ]
  })

  found("a logout that is telling the IAM while a sibling renews and another person signs in, without a lock", {
    setting: { lock: "none", grace: 0 },
    moves: [
      { _tag: "Latency", time: 300 },
      { _tag: "Call", who: 1, project: "a" },
      { _tag: "Login", who: 1, person: "bob" },
      { _tag: "Logout", who: 0 }
    ]
  })

  found("a login that could not be stored, whose grant is refused for good", {
    setting: { lock: "none", grace: 0 },
    moves: [
      { _tag: "Answer", how: "lost" },
      { _tag: "Disk", how: "full" },
      { _tag: "Login", who: 1, person: "bob" },
      { _tag: "Pass", time: 3_700_000 }
    ]
  })

  found("a logout of a login that could not be stored, on a disk that is still full", {
    setting: { lock: "none", grace: 0, rotates: false },
    moves: [
      { _tag: "Disk", how: "full" },
      { _tag: "Call", who: 1, project: "b" },
      { _tag: "Login", who: 1, person: "ada" },
      { _tag: "Logout", who: 1 },
      { _tag: "Call", who: 1, project: "" }
    ]
  })

  found("a slow read that ends after what it found was superseded and the new session taken up, without a lock", {
    setting: { lock: "none", grace: 0 },
    moves: [
      { _tag: "Put", who: 0, how: "full" },
      { _tag: "Login", who: 0, person: "bob" },
      { _tag: "Refresh", who: 1, project: "b" },
      { _tag: "Reads", who: 0, delay: 2000 },
      { _tag: "Put", who: 1, how: "full" },
      { _tag: "Call", who: 0, project: "b" },
      { _tag: "Login", who: 1, person: "ada" }
    ]
  })

  found("a login for this program only while a logout waits for the lock", {
    setting: { lock: "lease", grace: 0 },
    moves: [
      { _tag: "HoldLock", time: 40_000 },
      { _tag: "Logout", who: 0 },
      { _tag: "LoginInMemory", who: 0, person: "ada" },
      { _tag: "HoldLock", time: 40_000 },
      { _tag: "Logout", who: 0 },
      { _tag: "Call", who: 0, project: "" }
    ]
  })

  found("a sibling that signs in over an answer that could not be stored, and ends what it can read of it", {
    setting: { lock: "lease", grace: 0 },
    moves: [
      { _tag: "Login", who: 1, person: "bob" },
      { _tag: "Disk", how: "brim" },
      { _tag: "Refresh", who: 1, project: "" },
      { _tag: "Pass", time: 1 },
      { _tag: "Disk", how: "fine" },
      { _tag: "Call", who: 0, project: "b" },
      { _tag: "Login", who: 0, person: "bob", revokePrevious: true }
    ]
  })

  found("a token that the IAM refuses when it is asked whose it is, after a sibling's logout that had no lock", {
    setting: { lock: "kernel", grace: 0 },
    moves: [
      { _tag: "HoldLock", time: 40_000 },
      { _tag: "Logout", who: 0 },
      { _tag: "Pass", time: 3_300_000 },
      { _tag: "Answer", how: "no" },
      { _tag: "Whoami", who: 1, delay: 0 },
      { _tag: "Pass", time: 400 },
      { _tag: "Latency", time: 60_000 },
      { _tag: "Call", who: 1, project: "" }
    ]
  })

  found("a slow logout beside a sibling that renews and signs in, and stores both later, without a lock", {
    setting: { lock: "none", grace: 0 },
    moves: [
      { _tag: "Reads", who: 0, delay: 8000 },
      { _tag: "Logout", who: 0 },
      { _tag: "Disk", how: "brim" },
      { _tag: "Refresh", who: 1, project: "" },
      { _tag: "Latency", time: 300 },
      { _tag: "Login", who: 1, person: "bob" },
      { _tag: "Disk", how: "brim" },
      { _tag: "Pass", time: 3000 }
    ]
  })

  found("an import that looks slowly while a sibling renews twice, without a lock", {
    setting: { lock: "none", grace: 0, rotates: false },
    moves: [
      { _tag: "Export", who: 0 },
      { _tag: "Import", who: 0 },
      { _tag: "Reads", who: 0, delay: 2000 },
      { _tag: "Call", who: 1, project: "a" },
      { _tag: "Import", who: 0 },
      { _tag: "Refresh", who: 1, project: "" }
    ]
  })
})
