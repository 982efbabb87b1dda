/** The command as it is shipped, in processes of their own, each with a home of its own. */
import { IamSimulator } from "@effect-authn/testing"
import { Effect, Layer, Semaphore } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

/** The bundle of the sources as they are now, in a directory where no package can be found. */
export const main = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "authn-bundle-")), "authn.mjs")
execFileSync(process.execPath, [path.join(import.meta.dirname, "../../../scripts/bundle.mjs"), main])
process.on("exit", () => fs.rmSync(path.dirname(main), { recursive: true, force: true }))

// All tests of a file run at once, and a machine has two processors.
const turns = Semaphore.makeUnsafe(4)

export const password = "correct-horse-battery"

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Home {
  readonly directory: string
  readonly env: { readonly [name: string]: string }
  readonly run: (args: ReadonlyArray<string>, options?: Options) => Effect.Effect<Ended>
}

export interface Options {
  readonly input?: string
  readonly env?: { readonly [name: string]: string | undefined }
  /** Whether it starts at once, however many others run. */
  readonly atOnce?: boolean
  /** A program with its first arguments, in front of `authn`'s. */
  readonly by?: ReadonlyArray<string>
  /** Another program, which gets the arguments. */
  readonly instead?: string
  readonly stdout?: number
  /** Sent when something was said, or something has happened. */
  readonly signal?: { readonly name: NodeJS.Signals; readonly when: RegExp | Promise<unknown> }
}

const end = (program: string, args: ReadonlyArray<string>, env: Options["env"], options: Options) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(program, args, { env: { ...env }, stdio: ["pipe", options.stdout ?? "pipe", "pipe"] })
    let stdout = ""
    let stderr = ""
    const { signal } = options
    const heard = () => {
      if (signal?.when instanceof RegExp && signal.when.test(stdout + stderr)) child.kill(signal.name)
    }
    if (signal?.when instanceof Promise) void signal.when.then(() => child.kill(signal.name))
    child.stdout?.on("data", (data) => {
      stdout += String(data)
      heard()
    })
    child.stderr?.on("data", (data) => {
      stderr += String(data)
      heard()
    })
    child.stdin?.on("error", () => {})
    child.stdin?.end(options.input ?? "")
    child.on("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** An empty home. Nothing of the machine's own environment gets in, except where programs are. */
export const home = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "authn-test-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory): Home => {
    const env = {
      PATH: `${path.dirname(process.execPath)}:${process.env["PATH"] ?? ""}`,
      HOME: directory,
      TZ: "UTC",
      AUTHN_STORAGE: "plain-file"
    }
    return {
      directory,
      env,
      run: (args, options = {}) => {
        const [program = options.instead ?? process.execPath, ...first] = options.by ?? []
        const own = options.instead === undefined ? [main, ...args] : args
        const command = options.by === undefined ? own : [...first, process.execPath, ...own]
        const ended = end(program, command, { ...env, ...options.env }, options)
        return options.atOnce === true ? ended : turns.withPermit(ended)
      }
    }
  }
)

/** A simulator of its own for a test. */
export const simulated = <A, E, R>(
  options: IamSimulator.Options,
  test: (simulator: IamSimulator.IamSimulator["Service"], home: Home) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    return yield* test(yield* IamSimulator.IamSimulator, yield* home)
  }).pipe(
    Effect.provide(Layer.fresh(IamSimulator.layer({ tokenLifetime: "1 hour", ...options }))),
    Effect.scoped
  )

/** Signs `ada` in. */
export const login = (
  home: Home,
  issuer: string,
  dialect: "datalayer" | "genomcore",
  more: ReadonlyArray<string> = []
) =>
  home.run([
    "login",
    "--dialect",
    dialect,
    "--issuer",
    issuer,
    "--handle",
    "ada",
    "--password-stdin",
    ...(dialect === "genomcore" ? ["--organization", "acme"] : []),
    ...more
  ], { input: `${password}\n` })

/** Where accounts and sessions are. */
export const data = (home: Home, ...names: ReadonlyArray<string>) =>
  path.join(home.directory, ".local/share/effect-authn", ...names)

/** What lies in the session of an account. */
export const stored = (home: Home, account = "default") => {
  const { file } = JSON.parse(fs.readFileSync(data(home, "accounts", `${account}.json`), "utf8"))
  return { file: String(file), document: JSON.parse(fs.readFileSync(file, "utf8")) }
}

/** Makes the current token of a stored session end at another time. */
export const expire = (home: Home, at: number, account = "default") => {
  const { document, file } = stored(home, account)
  for (const tokens of Object.values<{ issuedAt: number; expiresAt: number }>(document.session.tokens)) {
    tokens.issuedAt = at - 3_600_000
    tokens.expiresAt = at
  }
  fs.writeFileSync(file, JSON.stringify(document))
}
