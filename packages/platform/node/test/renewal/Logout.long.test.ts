import type { AuthManager } from "@effect-authn/core"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Option, Random, Result, Schedule } from "effect"
import { filesIn } from "../files.ts"
import { measured, rounds, spread, within } from "./measures.ts"
import { child, open, refreshes, simulated } from "./processes.ts"
import { ada, type Setup } from "./program.ts"

const played = rounds(1000)
const acme = { selection: { organization: "acme" } }

/** A process with the session open that does nothing; it says each state that it is told of. */
const watcher = Effect.fnUntraced(function*(setup: Setup) {
  const { line } = yield* child("watcher", setup)
  const until = (isIt: (line: string) => boolean) =>
    line.pipe(Effect.repeat({ until: isIt }), Effect.map(() => performance.now()))
  return {
    /** Waits until it is signed in with a session of this generation or a later one, and says when that was. */
    signedIn: (least: number) => until((line) => line.startsWith("SignedIn ") && Number(line.split(" ")[1]) >= least),
    signedOut: until((line) => line === "SignedOut 0"),
    /** The same, where nothing was to be seen before but that it was signed out: nobody brought the last session back. */
    signedInAnew: (least: number) =>
      until((line) => {
        if (line === "SignedOut 0") return false
        assert.isAtLeast(Number(line.split(" ")[1]), least, line)
        return line.startsWith("SignedIn ")
      })
  }
})

layer(NodeFileSystem.layer, { excludeTestServices: true })("renewal and logout", (it) => {
  describe("seen by other processes", { concurrent: false }, () => {
    it.effect(
      "a sibling's renewal and logout are seen without a look at the storage",
      () =>
        simulated({}, (_simulator, setup) =>
          Effect.gen(function*() {
            const auth = yield* open(setup)
            const sibling = yield* watcher(setup)
            yield* sibling.signedOut
            const took: Array<number> = []
            for (let round = 0; round < rounds(100); round++) {
              const { generation } = yield* auth.login(ada, acme)
              yield* sibling.signedInAnew(generation)
              const renewed = yield* auth.refresh()
              const at = performance.now()
              took.push((yield* sibling.signedIn(renewed.generation)) - at)
              yield* auth.logout
              const left = performance.now()
              took.push((yield* sibling.signedOut) - left)
            }
            yield* measured({
              case: `a sibling's ${rounds(100)} renewals and logouts, seen by an idle process`,
              bar: "seen without a call, < 1 s",
              measured: spread(took),
              met: took.every((millis) => millis < 1000)
            })
            assert.isBelow(Math.max(...took), within(1000))
          }))
    )

    it.effect(
      `after a logout during a renewal, everybody is signed out (${played} interleavings)`,
      () =>
        simulated({ latency: "3 millis" }, (simulator, setup) =>
          Effect.gen(function*() {
            const auth = yield* open(setup)
            const other = yield* open(setup)
            const sibling = yield* watcher(setup)
            yield* sibling.signedOut
            let renewed = 0
            let discarded = 0
            for (let round = 0; round < played; round++) {
              const { generation } = yield* auth.login(ada, acme)
              yield* sibling.signedInAnew(generation)
              // By turns, who renews is this program and another one.
              const renewer = round % 2 === 0 ? auth : other
              const sent = (yield* refreshes(simulator)).length
              const [outcome] = yield* Effect.all([Effect.result(soon(renewer.refresh())), soon(auth.logout)], {
                concurrency: 2
              })
              if (Result.isSuccess(outcome)) renewed += 1
              else {
                assert.strictEqual(outcome.failure._tag, "NotAuthenticated", outcome.failure.message)
                if ((yield* refreshes(simulator)).length > sent) discarded += 1
              }
              assert.deepStrictEqual(filesIn(setup.directory), [])
              assert.isTrue(yield* isSignedOut(auth))
              yield* sibling.signedOut
              yield* isSignedOut(other).pipe(
                Effect.repeat({ until: (isOut) => isOut, schedule: Schedule.spaced("5 millis") })
              )
            }
            // What comes home late must not bring anything back.
            yield* Effect.sleep("500 millis")
            assert.deepStrictEqual(filesIn(setup.directory), [])
            assert.isTrue(yield* isSignedOut(auth))
            assert.isTrue(yield* isSignedOut(other))
            yield* measured({
              case: `logout while a renewal is in flight, ${played} interleavings`,
              bar: "signed out, everywhere",
              measured: `memory, files and 2 siblings each time; the renewal was first ${renewed} times, ` +
                `discarded ${discarded}, never sent ${played - renewed - discarded}`,
              met: true
            })
          })),
      300_000 + played * 200
    )
  })
})

const isSignedOut = Effect.fnUntraced(function*(auth: AuthManager.AuthManager["Service"]) {
  const token = yield* Effect.result(auth.token)
  return Result.isFailure(token) && token.failure._tag === "NotAuthenticated" &&
    Option.isNone(yield* auth.session) && !(yield* auth.isAuthenticated)
})

const soon = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.flatMap(Random.nextBetween(0, 8), (millis) => Effect.delay(effect, Duration.millis(millis)))
