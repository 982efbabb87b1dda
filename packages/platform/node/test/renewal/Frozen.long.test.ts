import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Option } from "effect"
import { measured, rounds } from "./measures.ts"
import { operator, refreshes, simulated, stored } from "./processes.ts"
import { signIn } from "./program.ts"

const played = rounds(20)
const timeLimit = 1_000
// A program that wakes more than a second late knows that it slept.
const sleeps = Duration.millis(timeLimit + 1_500)

layer(NodeFileSystem.layer, { excludeTestServices: true })(
  "a program that is stopped in the middle of a renewal",
  (it) => {
    const play = (freezes: "connecting" | "sent", left: Duration.Duration) =>
      simulated(
        { latency: freezes === "sent" ? "200 millis" : "800 millis" },
        (simulator, setup) =>
          Effect.gen(function*() {
            const session = yield* signIn(setup, left)
            const program = yield* operator({ ...setup, timeLimit, freezes })
            yield* program.tell("refresh")
            assert.strictEqual(yield* program.line, "frozen")
            yield* Effect.sleep(sleeps)
            yield* program.wake
            const outcome = yield* program.outcome
            const again = yield* program.ask("token")
            return {
              outcome,
              again,
              notes: (yield* refreshes(simulator)).map(({ note }) => note),
              intent: Option.isSome((yield* stored(setup, session.key)).intent)
            }
          })
      )

    describe("and wakes after its time limit", { concurrent: false }, () => {
      it.effect(`takes the answer that arrived meanwhile (${played} times)`, () =>
        Effect.gen(function*() {
          const seen = yield* Effect.forEach(Array.from({ length: played }), () => play("sent", Duration.seconds(-1)), {
            concurrency: 2
          })
          const lost = seen.filter(({ outcome }) => outcome.error !== undefined)
          yield* measured({
            case: `stopped with the request in flight, ${played} times`,
            bar: "the answer is read",
            measured: `${lost.length} lost`,
            met: lost.length === 0
          })
          assert.deepStrictEqual(lost.map(({ outcome }) => outcome.message), [])
          for (const { again, intent, notes, outcome } of seen) {
            assert.deepStrictEqual(notes, [undefined])
            assert.deepStrictEqual(again.answer, outcome.answer)
            assert.isFalse(intent)
          }
        }), 300_000)

      it.effect(`sends nothing that it has given up (${played} times)`, () =>
        Effect.gen(function*() {
          const seen = yield* Effect.forEach(
            Array.from({ length: played }),
            () => play("connecting", Duration.seconds(60)),
            { concurrency: 2 }
          )
          const late = seen.filter(({ outcome }) => outcome.message?.includes("no connection") !== true)
          yield* measured({
            case: `stopped while it connects, ${played} times`,
            bar: "no request goes out late",
            measured: `${late.length} went out`,
            met: late.length === 0
          })
          assert.deepStrictEqual(late, [])
          for (const { again, notes } of seen) {
            assert.isDefined(again.answer?.token)
            assert.isAtMost(notes.length, 1, "nothing but the next attempt went out")
          }
        }), 300_000)
    })
  }
)
