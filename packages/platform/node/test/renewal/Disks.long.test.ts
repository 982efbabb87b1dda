import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Option, type Scope } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { operator, refreshes, simulated, stored } from "./processes.ts"
import { type Setup, signIn } from "./program.ts"

// A file system of its own is for root on Linux, as in CI.
const mayMount = process.platform === "linux" && process.getuid?.() === 0
if (!mayMount) console.warn("LEFT OUT: sessions on a full and on a read-only disk, which need root on Linux")

const mount = (...args: ReadonlyArray<string>) => ChildProcess.execFileSync("mount", args)

/** The sessions lie on a small disk of their own. */
const onSmallDisk = (setup: Setup): Effect.Effect<Setup, never, Scope.Scope> => {
  const directory = Path.join(setup.directory, "disk")
  return Effect.acquireRelease(
    Effect.sync(() => {
      Fs.mkdirSync(directory)
      mount("-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", directory)
      return { ...setup, directory }
    }),
    () => Effect.sync(() => ChildProcess.execFileSync("umount", ["--lazy", directory]))
  )
}

const filler = ({ directory }: Setup) => Path.join(directory, "filler")

/** Writes until nothing more goes in. */
const fill = (setup: Setup) =>
  Effect.sync(() => {
    const file = Fs.openSync(filler(setup), "w")
    const write = () => {
      for (let pages = 0; pages < 1000; pages++) Fs.writeSync(file, Buffer.alloc(4096))
    }
    assert.throws(write, /ENOSPC/)
    Fs.closeSync(file)
  })

const free = (setup: Setup) => Effect.sync(() => Fs.rmSync(filler(setup)))

const readOnly = ({ directory }: Setup) => Effect.sync(() => mount("-o", "remount,ro", directory))

layer(NodeFileSystem.layer, { excludeTestServices: true })("sessions on a disk of their own", (it) => {
  const test = it.effect.runIf(mayMount)

  test("a sibling's whoami does not put the spent token in the place of the only copy of the new one", () =>
    simulated({}, (simulator, whole) =>
      Effect.gen(function*() {
        const setup = yield* onSmallDisk(whole)
        // long enough that neither renews by itself: the sibling would be first now and then
        const { key } = yield* signIn(setup, Duration.minutes(30))
        const renewing = yield* operator({ ...setup, holds: "renew" })
        const sibling = yield* operator({ ...setup, renewFirst: false })
        assert.isDefined((yield* sibling.ask("token")).answer)
        yield* renewing.tell("unsaved")
        yield* renewing.tell("refresh")
        assert.strictEqual(yield* renewing.line, "held")
        yield* fill(setup)
        yield* renewing.tell("release")
        const outcomes = [yield* renewing.outcome, yield* renewing.outcome]
        assert.sameMembers(outcomes.map(({ order }) => order), ["unsaved", "refresh"])
        assert.deepStrictEqual(outcomes.map(({ message }) => message), [undefined, undefined])
        // While the one sleeps there is room, and the other writes what it knows of the user.
        process.kill(renewing.pid, "SIGSTOP")
        yield* free(setup)
        yield* sibling.tell("whoami")
        yield* Effect.sleep("2 seconds")
        yield* renewing.wake
        assert.isDefined((yield* sibling.outcome).answer)
        const left = yield* stored(setup, key).pipe(
          Effect.repeat({ until: ({ intent }) => Option.isNone(intent) }),
          Effect.timeout("20 seconds")
        )
        assert.strictEqual(left.grant._tag, "RefreshToken")
        for (const program of [sibling, renewing]) {
          const { answer, message } = yield* program.ask("refresh")
          assert.isDefined(answer, message)
        }
        assert.deepStrictEqual(
          (yield* refreshes(simulator)).map(({ note }) => note).filter((note) => note !== undefined),
          []
        )
      })))

  test("nothing is sent that could not be written down before, and the valid token is served", () =>
    simulated({}, (simulator, whole) =>
      Effect.gen(function*() {
        const setup = yield* onSmallDisk(whole)
        yield* signIn(setup, Duration.seconds(60))
        const program = yield* operator({ ...setup, renewFirst: false })
        const before = yield* program.ask("token")
        yield* fill(setup)
        for (const order of ["rejected", "refresh"]) {
          const { error, message } = yield* program.ask(order)
          assert.strictEqual(error, "TokenStorageError", message)
          assert.match(message!, /space/)
        }
        assert.deepStrictEqual((yield* program.ask("token")).answer, before.answer)
        assert.deepStrictEqual(yield* refreshes(simulator), [])
        yield* free(setup)
        const { answer, message } = yield* program.ask("refresh")
        assert.isDefined(answer, message)
      })))

  test("a logout that can remove nothing tells the IAM, and says what is left", () =>
    simulated({}, (simulator, whole) =>
      Effect.gen(function*() {
        const setup = yield* onSmallDisk({ ...whole, dialect: "datalayer" })
        yield* signIn(setup, Duration.hours(1))
        const program = yield* operator(setup)
        yield* program.ask("token")
        yield* readOnly(setup)
        const { message } = yield* program.ask("logout")
        assert.isDefined(message)
        assert.include(message, setup.directory)
        assert.lengthOf((yield* simulator.ledger).filter(({ route }) => route === "logout"), 1)
        assert.strictEqual((yield* program.ask("token")).error, "NotAuthenticated")
      })))
})
