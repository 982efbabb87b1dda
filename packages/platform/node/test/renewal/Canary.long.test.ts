import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { start } from "../children.ts"
import { sessionFile } from "../files.ts"
import { measured } from "./measures.ts"
import { child, simulated } from "./processes.ts"
import { type Setup, signIn } from "./program.ts"
import * as Witness from "./witness.ts"

/** Changes the stored session as an accident would, or another program. */
const spoil = (change: (text: string) => string) => ({ directory }: Setup) => {
  const file = sessionFile(directory)
  Fs.writeFileSync(file, change(Fs.readFileSync(file, "utf8")))
}

const breakTheLock = ({ directory }: Setup) => {
  const locks = Path.join(directory, "locks")
  for (const name of Fs.readdirSync(locks)) Fs.writeFileSync(Path.join(locks, name), "rubbish".repeat(200))
}

interface Case {
  readonly name: string
  readonly tag: string
  readonly fail?: string
  readonly tries?: "token" | "refresh" | "login"
  readonly unsaved?: "answers" | "all"
  readonly ends?: "main" | "promise"
  readonly spoil?: (setup: Setup) => void
}

const cases: ReadonlyArray<Case> = [
  { name: "the IAM answers 500", tag: "Unavailable", fail: "refresh:500:9" },
  { name: "the IAM answers a page", tag: "Malformed", fail: "refresh:html:9" },
  { name: "the connection is dropped", tag: "Unavailable", fail: "refresh:drop:9" },
  { name: "the answer is lost", tag: "ReauthenticationRequired", fail: "refresh:lost:1" },
  { name: "there is no answer", tag: "Unavailable", fail: "refresh:hang:9", ends: "promise" },
  { name: "the IAM refuses the grant", tag: "ReauthenticationRequired", fail: "refresh:401:9", ends: "promise" },
  { name: "the IAM is busy", tag: "Unavailable", fail: "refresh:429:9", tries: "refresh" },
  { name: "the password is wrong", tag: "InvalidCredentials", tries: "login" },
  { name: "the new tokens cannot be stored", tag: "live in memory only", unsaved: "answers" },
  { name: "nothing can be stored, so that nothing is sent", tag: "StorageUnavailable", unsaved: "all" },
  {
    name: "the file is cut short",
    tag: "NotAuthenticated",
    spoil: spoil((text) => text.slice(0, -30)),
    ends: "promise"
  },
  {
    name: "the file is of a newer version",
    tag: "StorageNewerVersion",
    spoil: spoil((text) => text.replace(`"version":1`, `"version":3`))
  },
  { name: "the lock is broken", tag: "SessionLockError", spoil: breakTheLock, ends: "promise" }
]

layer(NodeFileSystem.layer, { excludeTestServices: true })("no secret is seen", (it) => {
  /** What a program says on both its outputs, to its end. */
  const told = Effect.fnUntraced(function*(process: Effect.Success<ReturnType<typeof start>>) {
    const lines: Array<string> = []
    yield* process.line.pipe(
      Effect.tap((line) => Effect.sync(() => lines.push(line))),
      Effect.repeat({ until: (line) => line === "told" })
    )
    const { code, stderr } = yield* process.ended
    return { code, stdout: lines.join("\n"), stderr }
  })

  describe("in a program's output", () => {
    for (const { ends = "main", fail, name, spoil, tag, tries = "token", unsaved } of cases) {
      it.effect(
        `when ${name}`,
        () =>
          simulated(fail === undefined ? {} : { fail: [fail] }, (_simulator, setup) =>
            Effect.gen(function*() {
              yield* signIn(setup, Duration.seconds(-1))
              spoil?.(setup)
              const { code, stderr, stdout } = yield* told(
                yield* child("teller", { ...setup, tries, unsaved, ends, timeLimit: 300 })
              )
              Witness.assertNoSecret(`${stdout}\n${stderr}`, "in the output")
              // It did fail, in the way it should, and said much.
              assert.strictEqual(code, unsaved === "answers" ? 0 : 1, stderr)
              assert.include(stdout + stderr, tag)
              assert.isAbove(stdout.length, 5000)
              assert.isAbove(stderr.length, 500)
            }))
      )
    }

    it.effect("but a secret would be found", () =>
      simulated({}, (_simulator, setup) =>
        Effect.gen(function*() {
          yield* signIn(setup, Duration.minutes(50))
          // Without `child`, which would find it itself.
          const process = yield* start(
            "../renewal/children/teller",
            JSON.stringify({ ...setup, tries: "export", ends: "main" })
          )
          assert.isTrue(Witness.hasSecret((yield* told(process)).stdout))
          yield* measured({
            case: `canary secrets through ${cases.length} failures of a process, and all others here`,
            bar: "nowhere in logs, spans, errors, output",
            measured: "none seen; the control shows that one would be",
            met: true
          })
        })))
  })
})
