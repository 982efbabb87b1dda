/**
 * `authn exec` and `authn simulator`: other programs, as if they were this one.
 *
 * @since 0.1.0
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as ChildProcess from "node:child_process"
import { createRequire } from "node:module"
import * as Os from "node:os"
import * as Path from "node:path"
import { ChildEnded, failed, type Failure, usage } from "../Failure.ts"
import * as Settings from "../Settings.ts"
import * as Tokens from "../Tokens.ts"
import * as Warnings from "../Warnings.ts"
import { minTtl } from "./Token.ts"

/**
 * The program that this one is for: signals are its own as long as it runs, and how it ended decides the exit code.
 *
 * @category accessors
 * @since 0.1.0
 */
export const program: { isRunning: boolean; exitCode: number | undefined } = { isRunning: false, exitCode: undefined }

const signals: ReadonlyArray<NodeJS.Signals> = ["SIGINT", "SIGTERM", "SIGHUP"]

/** Runs a program in place of this one, at the same terminal, and ends as it ends. */
const become = (
  name: string,
  args: ReadonlyArray<string>,
  added: { readonly [name: string]: string }
): Effect.Effect<void, ChildEnded | Failure> =>
  Effect.callback<number, Failure>((resume) => {
    Warnings.flush()
    program.isRunning = true
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
    Effect.tap((exitCode) =>
      Effect.sync(() => {
        program.exitCode = exitCode
      })
    ),
    Effect.ensuring(Effect.sync(() => {
      program.isRunning = false
    })),
    Effect.uninterruptible,
    Effect.flatMap((exitCode) => exitCode === 0 ? Effect.void : Effect.fail(new ChildEnded({ exitCode })))
  )

/**
 * Runs a program with a token in its environment.
 *
 * @category commands
 * @since 0.1.0
 */
export const exec = Command.make("exec", {
  env: Flag.String("env").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("The variable that holds the token"),
    Flag.withDefault("AUTHN_TOKEN")
  ),
  minTtl,
  command: Argument.String("command").pipe(
    Argument.withDescription("The program and its arguments, after --"),
    Argument.atLeast(1)
  )
}, ({ command, env, minTtl }) =>
  Effect.gen(function*() {
    if (!/^[A-Za-z_]\w*$/.test(env)) return yield* usage(`"${env}" cannot be the name of a variable`)
    const tokens = yield* Tokens.get(yield* Settings.make(), { minTtl })
    const [name = "", ...args] = command
    yield* become(name, args, { [env]: Redacted.value(tokens.accessToken) })
  })).pipe(
    Command.withDescription("Run a program with a token in its environment"),
    Command.withExamples([
      { command: "authn exec -- ./deploy.sh", description: "The token is in AUTHN_TOKEN" },
      { command: "authn exec --env GITLAB_TOKEN -- glab api user", description: "… or in another variable" }
    ])
  )

const simulatorDirectory = (): string | undefined => {
  try {
    return Path.dirname(createRequire(import.meta.url).resolve("@effect-authn/testing/package.json"))
  } catch {
    return undefined
  }
}

/**
 * Starts the IAM simulator of the package `@effect-authn/testing`, where that is installed.
 *
 * @category commands
 * @since 0.1.0
 */
export const simulator = Command.make("simulator", {
  options: Argument.String("options").pipe(
    Argument.withDescription("Options of the simulator, after --; try: authn simulator -- --help"),
    Argument.atLeast(0)
  )
}, ({ options }) =>
  Effect.suspend(() => {
    const directory = simulatorDirectory()
    return directory === undefined
      ? Effect.fail(failed("there is no simulator here: install @effect-authn/testing beside authn"))
      : become(process.execPath, [Path.join(directory, "src/bin/simulator.ts"), ...options], {})
  })).pipe(Command.withDescription("Start an IAM to try things out with, on this machine"))

/**
 * Whether there is a simulator to start.
 *
 * @category guards
 * @since 0.1.0
 */
export const hasSimulator = (): boolean => simulatorDirectory() !== undefined
