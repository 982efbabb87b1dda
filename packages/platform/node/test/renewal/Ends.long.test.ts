import { Session } from "@effect-authn/core"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Clock, Duration, Effect, Option } from "effect"
import { isQuiet, measured, percentile, rounds, spread, within } from "./measures.ts"
import { child, refreshes, simulated, stored } from "./processes.ts"
import { accessToken, signIn } from "./program.ts"

const bar = 100
const played = rounds(20)

layer(NodeFileSystem.layer, { excludeTestServices: true })("the end of a program", (it) => {
  const play = (orders: { readonly disposes: boolean; readonly waits: "renewed" | "sent" | "not" }) =>
    simulated(
      { latency: orders.waits === "renewed" ? "0 millis" : "500 millis" },
      (simulator, setup) =>
        Effect.gen(function*() {
          const before = yield* signIn(setup, Duration.seconds(60))
          const process = yield* child("ender", { ...setup, ...orders, renewFirst: false })
          const mainEnded = Number(yield* process.line)
          const { code, stderr } = yield* process.ended
          const took = (yield* Clock.currentTimeMillis) - mainEnded
          assert.deepStrictEqual({ code, stderr }, { code: 0, stderr: "" })
          const after = yield* stored(setup, before.key)
          const tokenOf = (session: Session.Session) => Option.map(Session.currentToken(session), accessToken)
          return {
            took,
            requests: (yield* refreshes(simulator)).length,
            isDurable: Option.isNone(after.intent) &&
              Option.getOrThrow(tokenOf(after)) !== Option.getOrThrow(tokenOf(before))
          }
        })
    )

  describe("the process of a program", { concurrent: false }, () => {
    for (const disposes of [true, false]) {
      const how = disposes ? "closed" : "left open"
      it.effect(`whose session is ${how} ends by itself`, () =>
        Effect.gen(function*() {
          const seen = yield* Effect.forEach(Array.from({ length: played }), () => play({ disposes, waits: "renewed" }))
          const took = seen.map((end) => end.took)
          // What holds a process holds it every time; a single end may have waited for its turn on a busy machine.
          const judged = percentile(took, isQuiet ? 1 : 0.5)
          yield* measured({
            case: `a program ends, its session ${how}, no renewal in flight`,
            bar: "exits within 100 ms",
            measured: spread(took),
            met: judged < bar
          })
          assert.isBelow(judged, within(bar))
        }), 300_000 + played * 3_000)

      it.effect(
        `whose session is ${how} while it is renewed ends when the answer is durable`,
        () =>
          Effect.gen(function*() {
            const { isDurable, requests, took } = yield* play({ disposes, waits: "sent" })
            yield* measured({
              case: `a program ends, its session ${how}, a renewal in flight`,
              bar: "waits until it is durable",
              measured: `${isDurable ? "durable" : "lost"} after ${requests} request, exit ${took} ms after its main`,
              met: isDurable && requests === 1
            })
            assert.deepStrictEqual({ isDurable, requests }, { isDurable: true, requests: 1 })
          })
      )

      it.effect(`whose session is ${how} before its renewal was sent loses nothing`, () =>
        Effect.gen(function*() {
          const { isDurable, requests } = yield* play({ disposes, waits: "not" })
          assert.strictEqual(isDurable, requests === 1)
        }))
    }
  })
})
