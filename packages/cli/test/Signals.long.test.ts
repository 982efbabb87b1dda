import { assert, describe, it } from "@effect/vitest"
import { type Duration, Effect, Schedule } from "effect"
import { spawn } from "node:child_process"
import { type Home, login, main, simulated } from "./authn.ts"

/** Runs the command and sends a signal whenever the next of the texts was said. */
const signalled = (
  home: Home,
  args: ReadonlyArray<string>,
  signals: ReadonlyArray<readonly [when: RegExp | Promise<unknown>, name: NodeJS.Signals]>
) =>
  Effect.callback<{ readonly code: number | null; readonly stderr: string; readonly stdout: string }>((resume) => {
    const child = spawn(process.execPath, [main, ...args], { env: home.env })
    let at = 0
    let stdout = ""
    let stderr = ""
    const next = () => {
      const [when, name] = signals[at] ?? []
      if (when instanceof Promise) {
        at += 1
        void when.then(() => child.kill(name))
      } else if (when?.test(stderr + stdout) === true) {
        at += 1
        child.kill(name)
      }
    }
    child.stdout.on("data", (data) => {
      stdout += String(data)
      next()
    })
    child.stderr.on("data", (data) => {
      stderr += String(data)
      next()
    })
    child.on("close", (code) => resume(Effect.succeed({ code, stderr, stdout })))
    next()
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const renewing = <A, E, R>(
  latency: Duration.Input,
  test: (home: Home, sent: (count: number) => Promise<unknown>) => Effect.Effect<A, E, R>
) =>
  simulated({ rotation: "strict" }, (simulator, home) =>
    Effect.gen(function*() {
      yield* login(home, simulator.issuer, "genomcore")
      yield* simulator.setKnobs({ latency })
      const promise = Effect.runPromiseWith(yield* Effect.context())
      const sent = (count: number) =>
        promise(
          Effect.flatMap(
            simulator.ledger,
            (entries) =>
              entries.filter(({ route }) => route === "refresh").length >= count
                ? Effect.void
                : Effect.fail("not yet")
          ).pipe(Effect.retry(Schedule.spaced("20 millis")), Effect.ignore)
        )
      return yield* test(home, sent)
    }))

describe("signals", () => {
  it.live("Ctrl-C in a renewal that hangs says what is waited for, and a second one ends at once", () =>
    // Who waited for it would meet the limit of the test.
    renewing("10 minutes", (home, sent) =>
      Effect.gen(function*() {
        const { code, stderr } = yield* signalled(home, ["refresh"], [
          [sent(1), "SIGINT"],
          [/finishing a renewal/, "SIGINT"]
        ])
        assert.strictEqual(code, 130, stderr)
        assert.include(stderr, "its answer is lost")
      })))

  it.live("SIGTERM ends with 143, and waits for the renewal as well", () =>
    renewing("1 second", (home, sent) =>
      Effect.gen(function*() {
        const before = (yield* home.run(["token"])).stdout
        const { code, stderr } = yield* signalled(home, ["refresh"], [[sent(1), "SIGTERM"]])
        assert.strictEqual(code, 143, stderr)
        assert.include(stderr, "finishing a renewal")
        const after = yield* home.run(["token"])
        assert.strictEqual(after.code, 0)
        assert.notStrictEqual(after.stdout, before)
      })))

  it.live("a program that is run may take any number of them for itself", () =>
    renewing("0 seconds", (home) =>
      Effect.gen(function*() {
        const script =
          "n=0; trap 'n=$((n+1)); echo got$n' INT; echo ready; while [ $n -lt 3 ]; do sleep 0.05; done; exit 9"
        const { code, stderr } = yield* signalled(home, ["exec", "--", "sh", "-c", script], [
          [/ready/, "SIGINT"],
          [/got1/, "SIGINT"],
          [/got2/, "SIGINT"]
        ])
        assert.deepStrictEqual([code, stderr], [9, ""])
      })))
})
