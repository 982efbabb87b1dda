/**
 * The command as a process: its streams, its signals and its exit code.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { systemError } from "effect/PlatformError"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Authn from "./Authn.ts"
import * as Program from "./Program.ts"
import * as Signals from "./Signals.ts"

// The platform's own sinks do not wait for what they write: a disk that is full would be no failure.
const sink = (method: "stdout" | "stderr") => () =>
  Sink.forEach((chunk: string | Uint8Array) =>
    Effect.callback<void, ReturnType<typeof systemError>>((resume) => {
      process[method].write(chunk, (cause) =>
        resume(
          cause === null || cause === undefined
            ? Effect.void
            : Effect.fail(systemError({ module: "Stdio", method, _tag: "Unknown", cause }))
        ))
    })
  )

// A pipe that its writer keeps open must not keep this process.
const stdin = NodeStream.fromReadable({
  evaluate: () => process.stdin,
  onError: (cause) => systemError({ module: "Stdio", method: "stdin", _tag: "Unknown", cause }),
  closeOnDone: true
})

const layerStdio = Layer.effect(
  Stdio.Stdio,
  Effect.map(
    Stdio.Stdio,
    (stdio) => Stdio.make({ ...stdio, stdin, stdout: sink("stdout"), stderr: sink("stderr") })
  )
)

const services = Authn.layer.pipe(
  Layer.provideMerge(layerStdio),
  Layer.provideMerge(NodeServices.layer)
)

/** Runs the command with the arguments of the process, and ends the process. */
export const main = (): void => {
  // Without a listener, a reader that went away would end the process in the middle of a renewal.
  process.stdout.on("error", () => {})
  process.stderr.on("error", () => {})
  // Those about what is new in Node are for programmers, and nobody here can act on them.
  process.removeAllListeners("warning").on("warning", ({ message, name }) => {
    if (name !== "ExperimentalWarning") process.stderr.write(`authn: ${message}\n`)
  })
  // Who stops this program, such as a shell, sets the terminal anew, and it would show what is typed at a hidden prompt.
  process.on("SIGCONT", () => {
    if (process.stdin.isRaw) process.stdin.setRawMode(false).setRawMode(true)
  })
  const signalled = Signals.listen(() => Program.state.isRunning)
  Effect.flatMap(Stdio.Stdio, ({ args }) => args).pipe(
    Effect.flatMap(Authn.run),
    // The entry point of the program.
    // oxlint-disable-next-line effecttsgo/strict-effect-provide
    Effect.provide(services),
    NodeRuntime.runMain({
      disableErrorReporting: true,
      teardown: (exit, onExit) => onExit(Program.state.exitCode ?? Authn.exitCode(exit, signalled()))
    })
  )
}
