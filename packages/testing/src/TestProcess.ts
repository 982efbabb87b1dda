/**
 * Programs in processes of their own, for tests of what several processes do to each other.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Readline from "node:readline"

/**
 * How a process ended: its exit code, or none where a signal ended it, and what it wrote to its stderr.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ended {
  readonly code: number | null
  readonly stderr: string
}

/**
 * A process that runs until it ends by itself, is killed, or its scope closes.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestProcess {
  readonly pid: number
  /** The next line of its stdout. Dies with its stderr when the process has ended without one. */
  readonly line: Effect.Effect<string>
  /** Writes a line to its stdin. */
  readonly tell: (line: string) => Effect.Effect<void>
  /** Wakes it after `SIGSTOP`. */
  readonly wake: Effect.Effect<void>
  /** Ends it with `SIGKILL`, and waits until it has ended. */
  readonly kill: Effect.Effect<Ended>
  /** Waits until it has ended. */
  readonly ended: Effect.Effect<Ended>
}

/**
 * Runs a script with the Node that runs the tests. `env` is its whole environment. Most of the life of such a process is the
 * compilation of its imports, so that `NODE_COMPILE_CACHE` is worth a directory there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const start = (
  script: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string | undefined>>
): Effect.Effect<TestProcess, never, Scope.Scope> =>
  Effect.gen(function*() {
    const lines = yield* Queue.unbounded<string>()
    const closed = yield* Deferred.make<Ended>()
    const exited = yield* Deferred.make<Effect.Effect<Ended>>()
    // A grandchild may have the pipes, which then do not close.
    const ended = Effect.raceFirst(
      Deferred.await(closed),
      Effect.flatMap(Deferred.await(exited), (said) => Effect.andThen(Effect.sleep("200 millis"), said))
    )
    const killed = (child: ChildProcess.ChildProcess) =>
      Effect.suspend(() => {
        child.kill("SIGKILL")
        return ended
      })
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = ChildProcess.spawn(process.execPath, [script, ...args], {
          env,
          stdio: "pipe"
        })
        let stderr = ""
        const said = (code: number | null) => Effect.sync(() => ({ code, stderr }))
        child.stderr.on("data", (chunk) => stderr += String(chunk))
        Readline.createInterface(child.stdout).on("line", (line) => Queue.offerUnsafe(lines, line))
        // a child that has ended listens to nothing
        child.stdin.on("error", () => {})
        child.on("close", (code) => Deferred.doneUnsafe(closed, said(code)))
        child.on("exit", (code) => Deferred.doneUnsafe(exited, Effect.succeed(said(code))))
        return child
      }),
      killed
    )
    const silent = Effect.flatMap(ended, ({ code, stderr }) =>
      Effect.andThen(Effect.yieldNow, Effect.die(new Error(`the process ended with ${code}: ${stderr}`))))
    return {
      pid: child.pid!,
      line: Effect.raceFirst(Queue.take(lines), silent),
      tell: (line) =>
        Effect.sync(() =>
          child.stdin.write(`${line}\n`)
        ),
      wake: Effect.sync(() => child.kill("SIGCONT")),
      kill: killed(child),
      ended
    }
  })
