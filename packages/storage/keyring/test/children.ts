import { Deferred, Effect, Queue } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Readline from "node:readline"

/** A process of its own that runs one of the programs in `children/`; it is killed at the end of the scope. */
export const start = Effect.fnUntraced(function*(
  program: string,
  env: Record<string, string | undefined>,
  ...args: ReadonlyArray<string>
) {
  const lines = yield* Queue.unbounded<string>()
  const ended = yield* Deferred.make<{ readonly code: number | null; readonly stderr: string }>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const script = Path.join(import.meta.dirname, "children", `${program}.ts`)
      const child = ChildProcess.spawn(process.execPath, [script, ...args], {
        // most of a child's life is the compilation of its imports
        env: {
          ...process.env,
          NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile"),
          ...env
        },
        stdio: ["ignore", "pipe", "pipe"]
      })
      let stderr = ""
      child.stderr.on("data", (chunk) => stderr += String(chunk))
      Readline.createInterface(child.stdout).on("line", (line) => Queue.offerUnsafe(lines, line))
      // not "close": a grandchild may have the pipes
      child.on("exit", (code) => Deferred.doneUnsafe(ended, Effect.succeed({ code, stderr })))
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
    line: Effect.raceFirst(
      Queue.take(lines),
      Effect.flatMap(
        Deferred.await(ended),
        ({ code, stderr }) =>
          Effect.andThen(Effect.sleep("200 millis"), Effect.die(new Error(`ended with ${code}: ${stderr}`)))
      )
    ),
    kill: Effect.suspend(() => {
      child.kill("SIGKILL")
      return Deferred.await(ended)
    }),
    ended: Deferred.await(ended)
  }
})

export const temporary = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "keychain-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

/** The processes that a process has started and that still run. */
export const childrenOf = (pid: number): ReadonlyArray<number> =>
  Fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((name) => {
    try {
      const [state, parent] = Fs.readFileSync(`/proc/${name}/stat`, "utf8").split(") ")[1]!.split(" ")
      return Number(parent) === pid && state !== "Z"
    } catch {
      return false
    }
  }).map(Number)

export const isRunning = (pid: number): boolean => {
  try {
    return !/\) Z /.test(Fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}
