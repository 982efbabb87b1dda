import { assert } from "@effect/vitest"
import { Deferred, Effect, FileSystem, Queue } from "effect"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import * as Readline from "node:readline"

/** A process of its own that runs one of the programs in `children/`; it is killed at the end of the scope. */
export const start = Effect.fnUntraced(function*(program: string, ...args: ReadonlyArray<string>) {
  const lines = yield* Queue.unbounded<string>()
  const ended = yield* Deferred.make<{ readonly code: number | null; readonly stderr: string }>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const script = Path.join(import.meta.dirname, "children", `${program}.ts`)
      const child = ChildProcess.spawn(process.execPath, [script, ...args], {
        // most of a child's life is the compilation of its imports
        env: { ...process.env, NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile") },
        stdio: ["pipe", "pipe", "pipe"]
      })
      let stderr = ""
      child.stderr.on("data", (chunk) => stderr += String(chunk))
      Readline.createInterface(child.stdout).on("line", (line) => Queue.offerUnsafe(lines, line))
      // a child that has ended listens to nothing
      child.stdin.on("error", () => {})
      child.on("close", (code) => Deferred.doneUnsafe(ended, Effect.succeed({ code, stderr })))
      return child
    }),
    (child) =>
      Effect.suspend(() => {
        child.kill("SIGKILL")
        return Deferred.await(ended)
      })
  )
  return {
    pid: child.pid!,
    line: Queue.take(lines),
    /** Writes a line to its stdin. */
    tell: (line: string) => Effect.sync(() => child.stdin.write(`${line}\n`)),
    /** Wakes it after `SIGSTOP`. */
    wake: Effect.sync(() => child.kill("SIGCONT")),
    kill: Effect.suspend(() => {
      child.kill("SIGKILL")
      return Deferred.await(ended)
    }),
    ended: Deferred.await(ended)
  }
})

/** Runs a program of `children/` to its end, which has to be a good one. */
export const run = Effect.fnUntraced(function*(program: string, ...args: ReadonlyArray<string>) {
  const child = yield* start(program, ...args)
  const { code, stderr } = yield* child.ended
  assert.strictEqual(code, 0, stderr)
}, Effect.scoped)

export const temporary = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
