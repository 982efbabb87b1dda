/** A program that prints a platform's token. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { spawn } from "node:child_process"

/** What became of it: what it printed, or why that is of no use. */
export type Ran =
  | { readonly _tag: "Printed"; readonly text: string }
  | { readonly _tag: "Failed"; readonly detail: string }
  | { readonly _tag: "Late"; readonly detail: string }

const mostBytes = 64 * 1024

// Ours may hold secrets of other accounts, and say to this program who it should be.
const isOurs = /^(EFFECT_)?(AUTHN|OIDC)_/i

// Of what keeps a program from starting Node throws a part, and emits the rest.
const start = (program: string, args: ReadonlyArray<string>) =>
  Result.try(() =>
    spawn(program, args, {
      shell: false,
      windowsHide: true,
      // Its own words may hold what it should not have printed.
      stdio: ["ignore", "pipe", "ignore"],
      // oxlint-disable-next-line effecttsgo/process-env
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOurs.test(name)))
    })
  )

const codeOf = (cause: unknown): string =>
  Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : "no reason is given"

/** Runs it without a shell, without our variables, with nothing to read and nowhere to ask, for ten seconds at most. */
export const run = (argv: readonly [string, ...ReadonlyArray<string>]): Effect.Effect<Ran> =>
  Effect.callback<Ran>((resume) => {
    const [program, ...args] = argv
    const failed = (detail: string) => resume(Effect.succeed({ _tag: "Failed", detail }))
    const unstarted = (cause: unknown) =>
      failed(`${program} cannot be started (${codeOf(cause)}): write its whole path, each argument apart`)
    const started = start(program, args)
    if (Result.isFailure(started)) return unstarted(started.failure)
    const child = started.success
    const chunks: Array<Buffer> = []
    let length = 0
    child.stdout.on("data", (chunk: Buffer) => {
      length += chunk.length
      if (length <= mostBytes) chunks.push(chunk)
      else {
        failed(`${program} prints more than 64 KiB`)
        child.kill("SIGKILL")
      }
    })
    child.on("error", unstarted)
    child.on("close", (code, signal) => {
      if (code === 0) resume(Effect.succeed({ _tag: "Printed", text: Buffer.concat(chunks).toString() }))
      else {failed(
          `${program} ended with ${code === null ? signal ?? "no status" : `status ${code}`}: run it by hand to see why`
        )}
    })
    return Effect.sync(() => {
      child.kill("SIGKILL")
    })
  }).pipe(
    Effect.timeoutOrElse({
      duration: Duration.seconds(10),
      orElse: () => Effect.succeed<Ran>({ _tag: "Late", detail: `${argv[0]} was not done within 10 s` })
    })
  )
