import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { expire, type Home, home, type Options, password, simulated, stored, storedToken } from "./authn.ts"

/** What a run says, without what is another one at each run: places, tokens, times. */
const settled = (home: Home, text: string) =>
  text
    .replaceAll(home.directory, "HOME")
    .replace(/eyJ[\w.-]+/g, "TOKEN")
    .replace(/"(generation|issuedAt|receivedAt|expiresAt|at|exp|iat|jti|refreshToken)": [^\n]+/g, "\"$1\": …")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z|_utc=\d+/g, "TIME")
    .replace(/\b\d+ (?:h|min|s)\b(?: \d+ (?:h|min|s)\b)*/g, "SPAN")
    .replace(/\w+ \d{1,2}, \d{4}, [\d:]+.[AP]M|[█░]+/g, "TIME")
    .replace(/^( *(?:jti|exp|iat|sub|sid)) .*$/gm, "$1 …")
    .replace(/(?<=callback.*:)\d{4,5}(?=\/)/g, "PORT")
    .replace(/ +$/gm, "")

type Step = readonly [code: number, args: ReadonlyArray<string>, options?: Options | ((home: Home) => Options)]

const steps = (issuer: string): ReadonlyArray<Step> => {
  const input = `${password}\n`
  const target = ["--dialect", "datalayer", "--issuer", issuer, "--handle", "ada", "--password-stdin"]
  const token = (home: Home) => ({ input: storedToken(home) })
  return [
    [0, ["token", "--help"]],
    [0, ["--version"]],
    [2, ["tokn"]],
    [0, ["jwt"]],
    [3, ["token"]],
    [5, ["login", "--dialect", "datalayer", "--issuer", "http://127.0.0.1:9", "--token-stdin"], { input: "x" }],
    [1, ["login", ...target], { input: "wrong" }],
    [0, ["login", ...target], { input }],
    [0, ["login", ...target, "--account", "work"], { input }],
    [0, ["token"]],
    [0, ["token", "--header"]],
    [0, ["token", "--json"]],
    [0, ["whoami"]],
    [0, ["status"]],
    [0, ["refresh"]],
    [0, ["accounts"]],
    [0, ["accounts", "use", "work"]],
    [0, ["explain"]],
    [0, ["config"]],
    [7, ["exec", "--", "sh", "-c", "test -n \"$AUTHN_TOKEN\" && exit 7"]],
    [0, ["credential", "kubectl"]],
    [0, ["credential", "process"]],
    [0, ["credential", "git", "--host", "git.example.com", "get"], {
      input: "protocol=https\nhost=git.example.com\n\n"
    }],
    [0, ["jwt", "decode"], token],
    [0, ["jwt", "verify", "--jwks", `${issuer}/.well-known/jwks.json`], token],
    [0, ["export"]],
    [
      0,
      ["import", "--account", "copy"],
      (home) => ({ input: fs.readFileSync(path.join(home.directory, "document"), "utf8") })
    ],
    [4, ["token"], (home) => {
      expire(home, Date.now() - 1000, "work")
      return {}
    }],
    [0, ["logout", "--account", "default"]],
    [0, ["accounts", "remove", "copy", "--local"]]
  ]
}

describe("a process", () => {
  it.live("prints what a call prints, and ends as it ends: each command and each exit code", () =>
    simulated({}, (simulator, called) =>
      Effect.gen(function*() {
        const spawned = yield* home
        for (const [code, args, options = {}] of steps(simulator.issuer)) {
          const ended = yield* Effect.forEach([called, spawned], (home) =>
            Effect.gen(function*() {
              const given = typeof options === "function" ? options(home) : options
              const ended = yield* (home === called ? home.run : home.spawn)(args, given)
              if (args[0] === "export") fs.writeFileSync(path.join(home.directory, "document"), ended.stdout)
              return { ...ended, stdout: settled(home, ended.stdout), stderr: settled(home, ended.stderr) }
            }), { concurrency: 2 })
          const [inside, outside] = ended
          assert.deepStrictEqual(outside, inside, args.join(" "))
          assert.strictEqual(outside?.code, code, `${args.join(" ")}: ${outside?.stderr}`)
        }
        assert.strictEqual(stored(called, "work").document.session.strategy, "password")
      })))
})
