import { TestProcess } from "@effect-authn/testing"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** A process of its own that runs one of the programs in `children/`. */
export const start = (program: string, env: Record<string, string | undefined>, ...args: ReadonlyArray<string>) =>
  TestProcess.start(Path.join(import.meta.dirname, "children", `${program}.ts`), args, {
    ...process.env,
    NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile"),
    ...env
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
