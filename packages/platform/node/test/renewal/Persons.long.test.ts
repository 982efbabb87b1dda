import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Option } from "effect"
import { operator, refreshes, simulated, stored } from "./processes.ts"
import { password, signIn } from "./program.ts"

const ada = "1"
const bob = "2"
const both = { users: [`ada:${password}`, `bob:${password}`] }

layer(NodeFileSystem.layer, { excludeTestServices: true })("two persons at one IAM", (it) => {
  it.effect("who an IAM names slowly is not written into the session of another, who signed in meanwhile", () =>
    simulated(both, (_, setup) =>
      Effect.gen(function*() {
        const { key } = yield* signIn(setup, Duration.hours(1))
        const slow = yield* operator({ ...setup, holds: "whoami" })
        const sibling = yield* operator(setup)
        const before = yield* sibling.ask("whoami")
        yield* slow.tell("whoami")
        assert.strictEqual(yield* slow.line, "held")
        assert.strictEqual((yield* sibling.ask("login bob")).answer?.sub, bob)
        const after = yield* sibling.ask("whoami")
        yield* slow.tell("release")
        // what was asked is told,
        assert.strictEqual((yield* slow.outcome).answer?.id, before.answer?.id)
        // and is kept nowhere
        assert.notStrictEqual(after.answer?.id, before.answer?.id)
        for (const program of [slow, sibling]) {
          assert.strictEqual((yield* program.ask("user")).answer?.id, after.answer?.id)
          assert.strictEqual((yield* program.ask("token")).answer?.sub, bob)
        }
        const left = yield* stored(setup, key)
        assert.strictEqual(Option.getOrThrow(left.user).id, after.answer?.id)
      })))

  it.effect("who signs in in memory during the renewal of another never gets that one's token", () =>
    simulated(both, (simulator, setup) =>
      Effect.gen(function*() {
        const before = yield* signIn(setup, Duration.seconds(60))
        const program = yield* operator({ ...setup, holds: "renew" })
        const sibling = yield* operator({ ...setup, renewFirst: false })
        yield* program.tell("refresh")
        assert.strictEqual(yield* program.line, "held")
        yield* program.tell("login bob in memory")
        yield* program.tell("refresh")
        yield* program.tell("rejected")
        yield* Effect.sleep("300 millis")
        yield* program.tell("release")
        const outcomes = [
          yield* program.outcome,
          yield* program.outcome,
          yield* program.outcome,
          yield* program.outcome
        ]
        const login = outcomes.find(({ order }) => order === "login bob in memory")
        assert.strictEqual(login?.answer?.sub, bob)
        // From the login on there is no token of ada's in this program.
        const later = outcomes.slice(outcomes.indexOf(login!))
        assert.deepStrictEqual(later.filter(({ answer }) => answer?.sub === ada), [])
        for (const order of ["token", "refresh", "rejected"]) {
          assert.strictEqual((yield* program.ask(order)).answer?.sub, bob, order)
        }
        // The sibling has what was renewed for ada, if it was kept, and nothing of bob's.
        const adas = yield* sibling.ask("token")
        assert.strictEqual(adas.answer?.sub, ada, adas.message)
        assert.strictEqual((yield* stored(setup, before.key)).obtainedAt, before.obtainedAt)
        assert.isTrue((yield* refreshes(simulator)).every(({ note }) => note === undefined))
      })))
})
