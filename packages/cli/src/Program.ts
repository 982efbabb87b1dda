/**
 * Another program in place of this one, at the same terminal.
 */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Os from "node:os"
import { ChildEnded, type Failure, usage } from "./Failure.ts"
import { Warnings } from "./Warnings.ts"

/**
 * The program that this one is for: signals are its own as long as it runs, and how it ended decides the exit code.
 */
export const state: { isRunning: boolean; exitCode: number | undefined } = { isRunning: false, exitCode: undefined }

const signals: ReadonlyArray<NodeJS.Signals> = ["SIGINT", "SIGTERM", "SIGHUP"]

/** Runs a program in place of this one, at the same terminal, and ends as it ends. */
export const become = (
  name: string,
  args: ReadonlyArray<string>,
  added: { readonly [name: string]: string }
): Effect.Effect<void, ChildEnded | Failure, Warnings> =>
  Effect.callback<number, Failure>((resume) => {
    state.isRunning = true
    // The child gets this program's own environment, whatever a configuration says.
    const env = { ...process.env, ...added }
    const child = ChildProcess.spawn(name, args, { stdio: "inherit", env, windowsHide: true })
    // Ctrl-C at the terminal reaches the child by itself; what is sent to this process alone does not.
    const forward = (signal: NodeJS.Signals) => {
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
    }
    for (const signal of signals) process.on(signal, forward)
    child.on("error", (error) => {
      const why = "code" in error && error.code === "ENOENT" ? "there is no such program" : error.message
      resume(Effect.fail(usage(`${name} cannot be run: ${why}`)))
    })
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
