/** A vault as it is shipped, in a process of its own. */
import { Data, Effect } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { data, type Home, main } from "./authn.ts"

export interface Running {
  readonly url: string
  /** The first service token, where this process made it. */
  readonly token: string
  /** What it has said until now. */
  readonly said: () => string
  /** Sends a signal, and waits for the end. */
  readonly stop: (signal: NodeJS.Signals) => Effect.Effect<number | null>
}

class Ended extends Data.TaggedError("Ended")<{ readonly message: string }> {}

/** Starts a vault, of this bundle or another one, and waits for its address. It is killed with the scope. */
export const start = Effect.fnUntraced(function*(
  home: Home,
  args: ReadonlyArray<string>,
  env: Record<string, string> = {},
  bundle = main
) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [bundle, "vault", "--port", "0", ...args], {
        env: { ...home.env, ...env },
        stdio: "pipe"
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let stdout = ""
  let stderr = ""
  let code: number | null | undefined
  child.stdin.end()
  child.stderr.on("data", (chunk) => (stderr += String(chunk)))
  const url = yield* Effect.callback<string, Ended>((resume) => {
    child.stdout.on("data", (chunk) => {
      stdout += String(chunk)
      const [found] = /https?:\/\/\S+/.exec(stdout) ?? []
      if (found !== undefined) resume(Effect.succeed(found))
    })
    child.on("close", (ended) => {
      code = ended
      resume(Effect.fail(new Ended({ message: `the vault ended with ${code}: ${stderr}` })))
    })
  })
  const file = /service token is in (\S+),/.exec(stderr)?.[1] ?? data(home, "vault", "service-token")
  return {
    url,
    token: fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim() : "",
    said: () => stdout + stderr,
    stop: (signal) =>
      Effect.callback<number | null>((resume) => {
        if (code !== undefined) return resume(Effect.succeed(code))
        child.on("close", (ended) => resume(Effect.succeed(ended)))
        child.kill(signal)
      })
  } satisfies Running
})

/** The table of a simulator's two dialects. */
export const table = (home: Home, issuer: string): string => {
  const file = path.join(home.directory, "providers.toml")
  fs.writeFileSync(
    file,
    `[genomcore]\ndialect = "genomcore"\nissuer = "${issuer}"\n\n[datalayer]\ndialect = "datalayer"\nissuer = "${issuer}"\n`
  )
  return file
}

/** One request, as any program makes it. */
export const send = (
  url: string,
  method: string,
  route: string,
  token: string,
  body?: unknown
): Effect.Effect<{ readonly status: number; readonly json: any }> =>
  Effect.promise(async () => {
    const response = await fetch(`${url}${route}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const text = await response.text()
    return { status: response.status, json: text.startsWith("{") ? JSON.parse(text) : text }
  })
