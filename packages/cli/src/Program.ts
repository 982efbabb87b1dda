/**
 * Another program in place of this one, at the same terminal.
 */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as FileSystem from "node:fs"
import * as Os from "node:os"
import { ChildEnded, type Failure, usage } from "./Failure.ts"
import { Warnings } from "./Warnings.ts"

/**
 * The program that this one is for: signals are its own as long as it runs, and how it ended decides the exit code.
 */
export const state: { isRunning: boolean; exitCode: number | undefined } = { isRunning: false, exitCode: undefined }

const signals: ReadonlyArray<NodeJS.Signals> = ["SIGINT", "SIGTERM", "SIGHUP"]

/** Why a program did not start, as far as a person can do something about it. */
const whyNot = (name: string, error: unknown): string => {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  switch (code) {
    case "ENOENT":
      return name.includes("/") && FileSystem.existsSync(name)
        ? "the interpreter that its first line names is not there (or its directory has gone, or the line ends with a CR)"
        : "there is no such program"
    case "EACCES":
      return "it is no program, or you may not run it (chmod +x?)"
    case "E2BIG":
      return "its arguments and the environment are longer than this system takes: hand on less, or write it to a file"
    default:
      return error instanceof Error ? error.message : String(error)
  }
}

/**
 * Runs a program in place of this one, at the same terminal, and ends as it ends. A variable that is `undefined` in
 * `changed` is not handed on.
 */
export const become = (
  name: string,
  args: ReadonlyArray<string>,
  changed: { readonly [name: string]: string | undefined }
): Effect.Effect<void, ChildEnded | Failure, Warnings> =>
  Effect.callback<number, Failure>((resume) => {
    state.isRunning = true
    // The child gets this program's own environment, whatever a configuration says.
    const env = { ...process.env, ...changed }
    const refused = (error: unknown) => Effect.fail(usage(`${name} cannot be run: ${whyNot(name, error)}`))
    let child: ChildProcess.ChildProcess
    try {
      child = ChildProcess.spawn(name, args, { stdio: "inherit", env, windowsHide: true })
    } catch (error) {
      return resume(refused(error))
    }
    // Ctrl-C at the terminal reaches the child by itself; what is sent to this process alone does not.
    const forward = (signal: NodeJS.Signals) => {
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
    }
    for (const signal of signals) process.on(signal, forward)
    child.on("error", (error) => resume(refused(error)))
    child.on("exit", (code, signal) => {
      for (const signal of signals) process.off(signal, forward)
      resume(Effect.succeed(code ?? 128 + (signal === null ? 0 : Os.constants.signals[signal])))
    })
  }).pipe(
    (running) => Effect.andThen(Warnings.use(({ flush }) => flush()), running),
    Effect.tap((exitCode) =>
      Effect.sync(() => {
        state.exitCode = exitCode
      })
    ),
    Effect.ensuring(Effect.sync(() => {
      state.isRunning = false
    })),
    Effect.uninterruptible,
    Effect.flatMap((exitCode) => exitCode === 0 ? Effect.void : Effect.fail(new ChildEnded({ exitCode })))
  )
