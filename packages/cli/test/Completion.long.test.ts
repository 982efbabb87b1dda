/** What shells offer, asked of the shells themselves: bash is everywhere, fish is asked where it is. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { type Home, login, main, simulated } from "./authn.ts"

const isThere = (shell: string) => spawnSync(shell, ["-c", "true"]).status === 0

/** A home where `authn` is a program, and the script of a shell is a file. */
const prepared = Effect.fnUntraced(function*(home: Home, shell: string) {
  const bin = path.join(home.directory, "bin")
  fs.mkdirSync(bin, { recursive: true })
  fs.writeFileSync(path.join(bin, "authn"), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 })
  const script = path.join(home.directory, `authn.${shell}`)
  fs.writeFileSync(script, (yield* home.spawn(["--completions", shell])).stdout)
  return { script, env: { PATH: `${bin}:${home.env["PATH"] ?? ""}` } }
})

// Of bash-completion, which the script needs: what it makes of the words that were typed.
const bashCompletion = `_init_completion() {
  words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur="\${words[cword]}"; prev="\${words[cword-1]}"
}`

const offers = {
  bash: Effect.fnUntraced(function*(home: Home, ...typed: ReadonlyArray<string>) {
    const { env, script } = yield* prepared(home, "bash")
    const words = ["authn", ...typed].map((word) => `'${word}'`).join(" ")
    const asking = `${bashCompletion}; . '${script}'; COMP_WORDS=(${words}); COMP_CWORD=${typed.length}; ` +
      `_authn authn '${typed.at(-1) ?? ""}' '${typed.at(-2) ?? "authn"}'; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stderr, stdout } = yield* home.spawn(["-c", asking], { instead: "bash", env })
    assert.strictEqual(stderr, "")
    return stdout.split("\n").filter(Boolean)
  }),
  fish: Effect.fnUntraced(function*(home: Home, ...typed: ReadonlyArray<string>) {
    const { env, script } = yield* prepared(home, "fish")
    const asking = `source '${script}'; complete -C 'authn ${typed.join(" ")}'`
    const { stdout } = yield* home.spawn(["--no-config", "-c", asking], { instead: "fish", env })
    return stdout.split("\n").map((line) => line.split("\t")[0] ?? "").filter(Boolean)
  })
}

describe("a shell offers", () => {
  for (const shell of ["bash", "fish"] as const) {
    it.live.skipIf(!isThere(shell))(
      `${shell}: accounts, the values of flags, and commands`,
      () =>
        simulated({}, (simulator, home) =>
          Effect.gen(function*() {
            const offered = (...typed: ReadonlyArray<string>) => offers[shell](home, ...typed)
            assert.deepStrictEqual(yield* offered("token", "--account", ""), [])
            for (const account of ["default", "work"]) {
              yield* login(home, simulator.issuer, "datalayer", ["--account", account])
            }
            const rows: ReadonlyArray<readonly [typed: ReadonlyArray<string>, offers: ReadonlyArray<string>]> = [
              [["token", "--account", ""], ["default", "work"]],
              [["token", "--account", "w"], ["work"]],
              [["credential", "kubectl", "--account", "d"], ["default"]],
              [["accounts", "use", ""], ["default", "work"]],
              [["accounts", "remove", "w"], ["work"]],
              [["login", "--dialect", ""], ["datalayer", "genomcore", "oidc"]],
              [["login", "--storage", "p"], ["plain-file"]],
              [["login", "--client-auth", "client_secret_"], ["client_secret_basic", "client_secret_post"]],
              [["login", "--callback-host", "l"], ["localhost"]],
              [["import", "--storage", "k"], ["keyring"]],
              [["login", "--au"], ["--audience"]],
              [["expl"], ["explain"]]
            ]
            for (const [typed, expected] of rows) {
              const found = yield* offered(...typed)
              assert.deepStrictEqual(
                found.filter((one) => expected.includes(one)).toSorted(),
                expected.toSorted(),
                typed.join(" ")
              )
              if (typed.at(-1) !== "") assert.lengthOf(found, expected.length, `${typed.join(" ")}: ${found.join(" ")}`)
            }
          }))
    )
  }
})
