// A person at a terminal of a machine of their own: what they type is shown, and what authn says.
import { Console, Effect, Schedule } from "effect"
import { execFile, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import * as Stage from "./stage.ts"

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Typed {
  readonly input?: string
  readonly env?: { readonly [name: string]: string }
  /** How many times it is typed at once; shown is what the first one says. */
  readonly times?: number
  /** What came before a `|`, for the eye. */
  readonly from?: string
}

export interface Terminal {
  /** What programs on this machine find in their environment. */
  readonly env: { readonly [name: string]: string }
  /** Types one command. */
  readonly authn: (args: ReadonlyArray<string>, typed?: Typed) => Effect.Effect<Ended>
  /** Runs one that is the beginning of a pipe, and shown as `from` of its end. */
  readonly quietly: (args: ReadonlyArray<string>) => Effect.Effect<Ended>
  /** Types it several times at once. */
  readonly authnAtOnce: (args: ReadonlyArray<string>, typed: Typed) => Effect.Effect<ReadonlyArray<Ended>>
  /** What was said so far, as soon as it matches. */
  readonly heard: (pattern: RegExp) => Effect.Effect<string>
  /** The addresses that a browser was opened with, as soon as there are so many. */
  readonly opened: (count: number) => Effect.Effect<ReadonlyArray<string>>
  /** The files of sessions. */
  readonly sessions: () => ReadonlyArray<string>
}

/** Packs the command into one file, as it is shipped. */
export const pack = (directory: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const file = path.join(directory, "authn.mjs")
    await promisify(execFile)(process.execPath, [path.join(import.meta.dirname, "../bundle.mjs"), file])
    return file
  })

const jwt = /eyJ([\w-]{9})[\w-]*\.[\w-]+\.[\w-]+/g

const shown = (output: string) =>
  output.trimEnd().replace(jwt, "eyJ$1…").split("\n").map((line) => `     ${Stage.dim(line)}`.trimEnd()).join("\n")

const command = (args: ReadonlyArray<string>, { env = {}, from, times = 1 }: Typed) => {
  const words = [
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...(from === undefined ? [] : [`${from} |`]),
    "authn",
    // A flag and its value stay on one line.
    ...args.join(" ").split(/ (?=-)/)
  ]
  const lines = [""]
  for (const word of words) {
    if (lines.at(-1)!.length + word.length > 74) lines.push("   ")
    lines.push(`${lines.pop()} ${word}`)
  }
  return `   ${Stage.bold(`$${lines.join(" \\\n    ")}`)}${
    times === 1 ? "" : Stage.dim(`   (${times} of them at once)`)
  }`
}

const soon = <A>(look: () => A | undefined): Effect.Effect<A> =>
  Effect.suspend(() => Effect.fromNullishOr(look())).pipe(Effect.retry(Schedule.spaced("50 millis")), Effect.orDie)

/** Sits down at a machine: `home` is empty, and nothing of this machine's environment is there but its programs. */
export const make = (main: string, home: string): Terminal => {
  const bin = path.join(home, "bin")
  const file = path.join(home, "opened")
  fs.mkdirSync(bin, { recursive: true })
  // In the place of each system's opener: it writes down what it was to open.
  for (const opener of ["xdg-open", "open", "rundll32.exe"]) {
    fs.writeFileSync(path.join(bin, opener), `#!/bin/sh\necho "$*" >> '${file}'\n`, { mode: 0o755 })
  }
  const env = {
    PATH: [bin, path.dirname(process.execPath), process.env["PATH"]].join(path.delimiter),
    HOME: home,
    USERPROFILE: home,
    APPDATA: path.join(home, "AppData"),
    XDG_DATA_HOME: path.join(home, ".local/share"),
    XDG_CONFIG_HOME: path.join(home, ".config"),
    DISPLAY: ":0",
    // Without it, authn would take the keychain of whoever runs the tour.
    AUTHN_STORAGE: "plain-file"
  }

  let transcript = ""
  const run = (args: ReadonlyArray<string>, { env: added, input = "" }: Typed) =>
    Effect.callback<Ended & { readonly output: string }>((resume) => {
      const child = spawn(process.execPath, [main, ...args], {
        cwd: import.meta.dirname,
        env: { ...env, ...added },
        stdio: "pipe"
      })
      const said = { stdout: "", stderr: "" }
      let output = ""
      for (const stream of ["stdout", "stderr"] as const) {
        child[stream].on("data", (data) => {
          said[stream] += String(data)
          output += String(data)
          transcript += String(data)
        })
      }
      child.stdin.on("error", () => {})
      child.stdin.end(input)
      child.on("close", (code) => resume(Effect.succeed({ code, ...said, output })))
      return Effect.sync(() => child.kill())
    })

  const authnAtOnce = Effect.fnUntraced(function*(args: ReadonlyArray<string>, typed: Typed) {
    yield* Console.log(command(args, typed))
    const { times = 1 } = typed
    // The first that fails ends the others, which might wait for what it did not do.
    const all = yield* Effect.all(
      Array.from(
        { length: times },
        () => Effect.filterOrFail(run(args, typed), ({ code }) => code === 0, (ended) => ended)
      ),
      { concurrency: "unbounded" }
    ).pipe(Effect.catch((failed) => Effect.succeed([failed])))
    // Which of them does the work is chance; who did has more to say than those that waited.
    const output = all.map((ended) => ended.output).reduce((most, next) => next.length > most.length ? next : most, "")
    if (output !== "") yield* Console.log(shown(output))
    return all
  })

  return {
    env,
    authn: (args, typed = {}) => Effect.map(authnAtOnce(args, typed), ([first]) => first!),
    quietly: (args) => run(args, {}),
    authnAtOnce,
    heard: (pattern) => soon(() => pattern.exec(transcript)?.[0]),
    opened: (count) =>
      soon(() => {
        // The shell makes the file before it writes: a line counts once it has its end.
        const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").slice(0, -1) : []
        return lines.length < count ? undefined : lines.map((line) => line.replace(/^.*?(?=https?:)/, ""))
      }),
    sessions: () =>
      fs.readdirSync(home, { recursive: true, encoding: "utf8" })
        .filter((name) => /effect-authn[\\/]sessions[\\/][^\\/]+\.json$/.test(name))
        .map((name) => path.join(home, name))
  }
}
