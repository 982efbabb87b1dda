/** The command: called in this process, and as it is shipped, in processes of their own. Each home is a new one. */
import { IamSimulator, OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { NodeChildProcessSpawner, NodeFileSystem, NodePath } from "@effect/platform-node"
import { ConfigProvider, Console, Effect, Layer, Schedule, Semaphore, Sink, Stdio, Stream, Terminal } from "effect"
import { FetchHttpClient } from "effect/http"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { inject } from "vitest"
// The command has no library of its own to import from.
// @ts-expect-error TS2878: the tests' project emits nothing
import * as Authn from "../src/Authn.ts"
// @ts-expect-error TS2878: the tests' project emits nothing
import * as ReadySession from "../src/ReadySession.ts"

/** The bundle of the sources as they are now. */
export const main = inject("bundle")

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
  /** Calls the command. */
  readonly run: (args: ReadonlyArray<string>, options?: Options) => Effect.Effect<Ended>
  /** Starts the command as it is shipped. */
  readonly spawn: (args: ReadonlyArray<string>, options?: ProcessOptions) => Effect.Effect<Ended>
}

export interface Options {
  readonly input?: string | Uint8Array
  readonly env?: { readonly [name: string]: string | undefined }
}

export interface ProcessOptions extends Options {
  /** Another bundle. */
  readonly main?: string
  /** Whether it starts at once, however many others run. */
  readonly atOnce?: boolean
  /** A program with its first arguments, in front of `authn`'s. */
  readonly by?: ReadonlyArray<string>
  /** Whether its input stays open behind what is written. */
  readonly isInputOpen?: boolean
  /** Another program, which gets the arguments. */
  readonly instead?: string
  readonly stdout?: number
  /** Sent when something was said, or something has happened. */
  readonly signal?: { readonly name: NodeJS.Signals; readonly when: RegExp | Promise<unknown> }
}

const call = Effect.fnUntraced(function*(
  args: ReadonlyArray<string>,
  env: { readonly [name: string]: string },
  input: string | Uint8Array
) {
  const ended = { stdout: "", stderr: "" }
  const sink = (channel: "stdout" | "stderr") => () =>
    Sink.forEach((chunk: string | Uint8Array) =>
      Effect.sync(() => {
        ended[channel] += typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk)
      })
    )
  const stdio = Stdio.layerTest({
    stdin: Stream.make(typeof input === "string" ? new TextEncoder().encode(input) : input),
    stdout: sink("stdout"),
    stderr: sink("stderr")
  })
  const nobody = Effect.die("there is no terminal")
  const terminal = Layer.succeed(
    Terminal.Terminal,
    Terminal.make({
      columns: Effect.succeed(0),
      rows: Effect.succeed(0),
      size: nobody,
      readInput: nobody,
      readLine: nobody,
      display: () => nobody
    })
  )
  const platform = Layer.provideMerge(
    NodeChildProcessSpawner.layer,
    Layer.mergeAll(NodeFileSystem.layer, NodePath.layer)
  )
  const exit = yield* Authn.run(args).pipe(
    // A call is a program, and shares nothing with another one.
    Effect.provide(Layer.provideMerge(Authn.layer, Layer.mergeAll(platform, stdio, terminal)), { local: true }),
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
    Effect.provideService(Console.Console, {
      ...globalThis.console,
      log: (text: string) => {
        ended.stdout += `${text}\n`
      },
      error: (text: string) => {
        ended.stderr += `${text}\n`
      }
    }),
    Effect.exit
  )
  return { code: Authn.exitCode(exit), ...ended }
})

const end = (program: string, args: ReadonlyArray<string>, env: Options["env"], options: ProcessOptions) =>
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
    if (options.isInputOpen === true) child.stdin?.write(options.input ?? "")
    else child.stdin?.end(options.input ?? "")
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
      run: (args, { env: more, input = "" } = {}) => {
        const set = Object.entries<string | undefined>({ ...env, ...more })
        return call(args, Object.fromEntries(set.filter((one): one is [string, string] => one[1] !== undefined)), input)
      },
      spawn: (args, options = {}) => {
        const [program = options.instead ?? process.execPath, ...first] = options.by ?? []
        const own = options.instead === undefined ? [options.main ?? main, ...args] : args
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

/** An OpenID provider of its own for a test. */
export const provided = <A, E, R>(
  test: (provider: OidcProvider.OidcProvider["Service"], home: Home) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    return yield* test(yield* OidcProvider.OidcProvider, yield* home)
  }).pipe(Effect.provide(Layer.fresh(OidcProvider.layer())), Effect.scoped)

/** Does what a person does at a page, until it ends, or where this machine would have to be called. */
export const visit = (url: string, stopAt?: (url: URL) => boolean) =>
  ScriptedUserAgent.make().visit(url, { answers: { login: "ada", password }, ...(stopAt && { stopAt }) }).pipe(
    Effect.provide(FetchHttpClient.layer)
  )

/** What a pattern finds in a file, as soon as it does. */
export const written = (file: string, pattern: RegExp) =>
  Effect.suspend(() => {
    const [, found] = pattern.exec(fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "") ?? []
    return found === undefined ? Effect.fail("not yet" as const) : Effect.succeed(found)
  }).pipe(Effect.retry(Schedule.spaced("50 millis")))

/** A browser for a home: `opened` is the address that it is given. */
export const browserOf = (home: Home) => {
  const file = path.join(home.directory, "opened")
  const bin = path.join(home.directory, "bin")
  fs.mkdirSync(bin)
  fs.writeFileSync(path.join(bin, "xdg-open"), `#!/bin/sh\necho "$1" > '${file}'\n`, { mode: 0o755 })
  return { env: { PATH: `${bin}:${home.env["PATH"] ?? ""}`, DISPLAY: ":0" }, opened: written(file, /(.+)\n/) }
}

/**
 * What is typed when something is seen, or by whom: by who else does something then with what the pattern found, or by a
 * person who comes back to a program that was stopped.
 */
type Step = readonly [
  sees: string,
  types: string | { readonly tell: string; readonly hear: string } | { readonly stopped: string }
]

/** What a person sees who types these answers, and how it ended. */
export const atTerminal = (
  home: Home,
  args: ReadonlyArray<string>,
  script: ReadonlyArray<Step>,
  options: { readonly columns?: number; readonly env?: Options["env"]; readonly atOnce?: boolean } = {}
) => {
  const columns = String(options.columns ?? 80)
  return Effect.map(
    home.spawn(args, {
      by: ["python3", path.join(import.meta.dirname, "terminal.py"), columns, "30", JSON.stringify(script)],
      env: { TERM: "xterm-256color", ...options.env },
      atOnce: options.atOnce === true
    }),
    ({ stderr, stdout }) => {
      const at = stdout.lastIndexOf("\n")
      return { shown: stdout.slice(0, at) + stderr, code: Number(stdout.slice(at + 1)) }
    }
  )
}

/** Gives a waiting terminal what is to be typed, all at once. */
export const answer = (file: string, text: string) =>
  Effect.sync(() => {
    fs.writeFileSync(`${file}.part`, text)
    fs.renameSync(`${file}.part`, file)
  })

/** Signs `ada` in. */
export const login = (
  home: Home,
  issuer: string,
  dialect: "datalayer" | "genomcore",
  more: ReadonlyArray<string> = [],
  env: { readonly [name: string]: string } = {}
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
  ], { input: `${password}\n`, env })

/** A bundle in a home, beside which the keychain's package can be found. */
export const installedMain = (home: Home): string => {
  const directory = path.join(home.directory, "installed")
  fs.mkdirSync(path.join(directory, "node_modules/@napi-rs"), { recursive: true })
  fs.symlinkSync(
    path.join(import.meta.dirname, "../node_modules/@napi-rs/keyring"),
    path.join(directory, "node_modules/@napi-rs/keyring")
  )
  fs.cpSync(path.dirname(main), directory, { recursive: true })
  return path.join(directory, "authn.mjs")
}

/** Where accounts and sessions are. */
export const data = (home: Home, ...names: ReadonlyArray<string>) =>
  path.join(home.directory, ".local/share/effect-authn", ...names)

/** The file of the session of an account. */
export const fileOf = (home: Home, account = "default"): string => ReadySession.account(data(home), account).file

/** What lies in the session of an account. */
export const stored = (home: Home, account = "default") => {
  const file = fileOf(home, account)
  return { file, document: JSON.parse(fs.readFileSync(file, "utf8")) }
}

/** The first token that lies in the session of an account. */
export const storedToken = (home: Home, account = "default") => {
  const [tokens] = Object.values<{ accessToken: string }>(stored(home, account).document.session.tokens)
  return String(tokens?.accessToken)
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
