import { type Session, SessionLock } from "@effect-authn/core"
import { FileSessionLock } from "@effect-authn/platform-node"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Option, Random, Result } from "effect"
import * as Fs from "node:fs"
import { measured, rounds, spread, within } from "./measures.ts"
import { child, isTaken, open, refreshes, simulated, stored } from "./processes.ts"
import { accessToken, type Setup, signIn } from "./program.ts"

const latency = 60
const bar = 1000
const played = rounds(100)

/** What the next process got, when, and when the one before it was killed. */
interface Succession {
  readonly outcome: Effect.Success<ReturnType<typeof ask>>["outcome"]
  readonly at: number
  readonly killed: number
  /** What lay on the disk between the two, if that is known. */
  readonly found?: Session.Session
}

/** Asks for a token as another program. */
const ask = Effect.fnUntraced(function*(setup: Setup) {
  const { token } = yield* open(setup)
  const outcome = yield* Effect.result(token)
  return { outcome, at: performance.now() }
}, Effect.scoped)

type Stop = "queueing" | "waiting" | "sending" | "answered"

/** A program is killed where it stops, while the next one waits for the lock. */
const killedWhile = (stop: Stop, then: Effect.Effect<unknown> = Effect.void) =>
  Effect.fnUntraced(function*(setup: Setup) {
    const victim = yield* child("caller", { ...setup, stop })
    assert.strictEqual(yield* victim.line, stop)
    const next = yield* Effect.forkChild(ask(setup), { startImmediately: true })
    yield* Effect.sleep(Duration.millis(yield* Random.nextIntBetween(0, stop === "sending" ? 150 : latency)))
    const killed = performance.now()
    yield* Effect.all([victim.kill, then], { concurrency: 2 })
    return { ...(yield* Fiber.join(next)), killed }
  })

/** A program is killed in the queue for the lock, which somebody holds until then. */
const killedInTheQueue = Effect.fnUntraced(function*(setup: Setup, session: Session.Session) {
  const release = yield* Deferred.make<void>()
  const held = yield* Deferred.make<void>()
  yield* Effect.flatMap(
    SessionLock.SessionLock,
    ({ withLock }) =>
      withLock(session.key, "renew")(Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(release)))
  ).pipe(Effect.provide(FileSessionLock.layer({ directory: setup.directory })), Effect.forkChild)
  yield* Deferred.await(held)
  return yield* killedWhile("queueing", Deferred.succeed(release, undefined))(setup)
})

// The calls of the file system from an answer at hand to the lock given back; the write dies in its middle.
const callsOfAWrite = 9

/** A program ends itself, by the same signal, at one of the calls of the file system around the write of the answer. */
const killedWriting = Effect.fnUntraced(function*(setup: Setup, session: Session.Session, index: number) {
  const victim = yield* child("caller", { ...setup, die: index % callsOfAWrite })
  const { code, stderr } = yield* victim.ended
  assert.isNull(code, stderr)
  const killed = performance.now()
  const found = yield* stored(setup, session.key)
  return { ...(yield* ask(setup)), killed, found }
})

layer(NodeFileSystem.layer, { excludeTestServices: true })("renewal and kill -9", (it) => {
  const cases = [
    ["in the queue for the lock", killedInTheQueue],
    ["with the lock, before it asks", killedWhile("waiting")],
    ["with the request in flight", killedWhile("sending")],
    ["with the answer, before it writes", killedWhile("answered")],
    ["while writing the answer", killedWriting]
  ] as const

  describe("a program is killed", { concurrent: false }, () => {
    it.effect("at none of these calls, and writes the answer", () =>
      simulated({}, (_, setup) =>
        Effect.gen(function*() {
          yield* signIn(setup, Duration.seconds(-1))
          const { code, stderr } = yield* (yield* child("caller", { ...setup, die: callsOfAWrite })).ended
          assert.strictEqual(code, 0, stderr)
        })))

    for (const [name, kill] of cases) {
      it.effect(`${name} (${played} times)`, () =>
        Effect.gen(function*() {
          const play = (index: number) =>
            simulated({ latency: Duration.millis(latency) }, (simulator, setup) =>
              Effect.gen(function*() {
                const session = yield* signIn(setup, Duration.seconds(-1))
                const { at, found, killed, outcome }: Succession = yield* kill(setup, session, index)
                const ledger = yield* refreshes(simulator)
                const left = yield* stored(setup, session.key)
                assert.deepStrictEqual(Fs.readdirSync(setup.directory).filter((file) => file.includes("corrupt")), [])
                const [first, ...more] = ledger
                assert.isTrue(first?.subject === "ada" && first.note === undefined, "the first request renewed")
                if (Result.isSuccess(outcome)) {
                  assert.isTrue(yield* isTaken(setup.issuer, accessToken(outcome.success)))
                  assert.deepStrictEqual(more, [])
                  assert.isTrue(Option.isNone(left.intent))
                } else {
                  assert.strictEqual(outcome.failure._tag, "ReauthenticationRequired")
                  assert.match(outcome.failure.message, /the answer to an earlier renewal was lost/)
                  // It was the dead program that rotated, for the next one came with a spent token,
                  assert.deepStrictEqual(more.map(({ note }) => note), ["reuse"])
                  // and what it got was not on the disk.
                  if (found !== undefined) assert.isTrue(Option.isSome(found.intent))
                }
                const asked = Result.isFailure(outcome) || found === undefined || Option.isSome(found.intent)
                return { lost: Result.isFailure(outcome), took: at - killed - (asked ? latency : 0) }
              }))
          const seen = yield* Effect.forEach(Array.from({ length: played }), (_, index) => play(index), {
            concurrency: 2
          })
          const lost = seen.filter((round) => round.lost).length
          const took = seen.map((round) => Math.max(0, round.took))
          yield* measured({
            case: `killed ${name}, ${played} times`,
            bar: "next answer < 1 s, 0 torn, lost only where it must be",
            measured: `${spread(took)}; 0 torn; ${lost} lost`,
            met: took.every((millis) => millis < bar)
          })
          assert.isBelow(Math.max(...took), within(bar))
          if (/queue|before it asks/.test(name)) assert.strictEqual(lost, 0)
          if (/before it writes/.test(name)) assert.strictEqual(lost, played)
        }), 300_000 + played * 3_000)
    }
  })
})
