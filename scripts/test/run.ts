// Runs a program to its end, in a process of its own.
import { NodeServices } from "@effect/platform-node"
import { Effect, Stream } from "effect"
import { ChildProcess } from "effect/process"

/** The exit code of a program and what it said. It is asked to end with the test, and made to end ten seconds later. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options?: {
    readonly cwd?: string
    readonly env?: Record<string, string>
    readonly shell?: boolean
    readonly stdin?: string
  }
) =>
  Effect.gen(function*() {
    const child = yield* ChildProcess.make(command, args, {
      ...options,
      extendEnv: true,
      stdin: options?.stdin === undefined ? "ignore" : Stream.encodeText(Stream.make(options.stdin)),
      forceKillAfter: "10 seconds"
    })
    const [stdout, stderr, code] = yield* Effect.all([
      Stream.mkString(Stream.decodeText(child.stdout)),
      Stream.mkString(Stream.decodeText(child.stderr)),
      child.exitCode
    ], { concurrency: "unbounded" })
    return { code: Number(code), stdout, stderr }
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
