/** docs/cli.md, typed line by line as it stands there, at servers of this machine. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { start } from "../../mcp/test/strict.ts"
import {
  answer,
  atTerminal,
  browserOf,
  type Home,
  home,
  login,
  main,
  password,
  provided,
  simulated,
  storedToken,
  visit,
  written
} from "./authn.ts"
import { blocks, words } from "./documents.ts"
import { make } from "./mcpHome.ts"

const document = blocks("cli.md")

/** The lines of the shell in a section, without what they say behind a mark. */
const lines = (section: string): ReadonlyArray<string> =>
  document.filter((block) => block.language === "sh" && block.section === section).flatMap(({ text }) =>
    text.replaceAll("\\\n", " ").split("\n").map((line) => line.replace(/\s+# .*$/, "").trim()).filter(Boolean)
  )

const block = (language: string, pattern: RegExp): string =>
  document.find(({ language: found, text }) => found === language && pattern.test(text))?.text ?? ""

/** `authn`, and what else the lines start, as programs. Returns a shell in the home. */
const shellIn = (home: Home, more: { readonly [program: string]: string } = {}) => {
  const bin = path.join(home.directory, "programs")
  fs.mkdirSync(bin)
  const programs = { authn: `exec '${process.execPath}' '${main}' "$@"`, ...more }
  for (const [name, text] of Object.entries(programs)) {
    fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  }
  const env = { PATH: `${bin}:${home.env["PATH"] ?? ""}`, GIT_CONFIG_NOSYSTEM: "1" }
  return (line: string, input = "") =>
    home.spawn(["-c", `cd '${home.directory}' && ${line}`], { instead: "sh", env, input })
}

const succeeds = (
  ended: { readonly code: number | null; readonly stdout: string; readonly stderr: string },
  line: string
) => {
  assert.strictEqual(ended.code, 0, `${line}\n${ended.stderr}`)
  return ended.stdout
}

/** An API that answers with what it was shown. */
const api = Effect.map(
  Effect.acquireRelease(
    Effect.callback<http.Server>((resume) => {
      const server = http.createServer((request, response) => response.end(request.headers.authorization))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ),
  (server) => {
    const address = server.address()
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  }
)

describe("docs/cli.md", () => {
  it("has these lines, each of which is typed here or in the tests of the vault", () => {
    const played = new Set([
      "The authn command",
      "Signing in",
      "A vault",
      "An account per directory",
      "Other programs",
      "Servers of the Model Context Protocol"
    ])
    const sections = new Set(document.filter(({ language }) => language === "sh").map(({ section }) => section))
    assert.deepStrictEqual([...sections].filter((section) => !played.has(section)), [])
  })

  it.live("begins with a login, a token, a call, a program and a view", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const run = shellIn(home)
        const address = yield* api
        fs.writeFileSync(path.join(home.directory, "deploy.sh"), "#!/bin/sh\necho \"$AUTHN_TOKEN\"\n", { mode: 0o755 })
        for (const line of lines("The authn command")) {
          if (line === "authn login") {
            const { code, shown } = yield* atTerminal(home, ["login"], [
              ["speak", "\r"],
              ["Address", `${simulator.issuer}\r`],
              ["Sign in with", "\r"],
              ["Name", "ada\r"],
              ["Password of ada", `${password}\r`]
            ])
            assert.strictEqual(code, 0, shown)
          } else if (line === "authn status --watch") {
            const seen = yield* atTerminal(home, ["status", "--watch"], [["Ctrl-C ends", "\x03"]])
            assert.strictEqual(seen.code, 130, seen.shown)
          } else {
            const shown = succeeds(yield* run(line.replace("https://api.example.com", address)), line)
            assert.include(shown, storedToken(home), line)
          }
        }
      })))

  it.live("signs in in each of the ways", () =>
    simulated({}, (simulator, first) =>
      provided((provider) =>
        Effect.gen(function*() {
          yield* login(first, simulator.issuer, "datalayer")
          const { id, secret } = provider.secretClient
          for (const line of lines("Signing in")) {
            const there = yield* home
            const run = shellIn(there)
            fs.writeFileSync(path.join(there.directory, "secret"), `${Redacted.value(secret)}\n`)
            fs.writeFileSync(path.join(there.directory, "api-key"), `${storedToken(first)}\n`)
            const here = line
              .replace(/https:\/\/(iam|auth)\.example\.com/, simulator.issuer)
              .replace("https://id.example.com", provider.issuer)
              .replace("--client-id ci ", `--client-id ${id} `)
              .replace("--client-id cli", `--client-id ${provider.publicClient.id}`)
            const args = words(here).slice(1)
            if (line.includes("--handle")) {
              const { code, shown } = yield* atTerminal(there, args, [["Password of ada", `${password}\r`]])
              assert.strictEqual(code, 0, shown)
            } else if (line.endsWith("--browser")) {
              const browser = browserOf(there)
              const [ended] = yield* Effect.all([
                there.spawn(args, { env: browser.env, atOnce: true }),
                Effect.flatMap(browser.opened, (url) => visit(url))
              ], { concurrency: 2 })
              succeeds(ended, line)
            } else if (line.endsWith("--device")) {
              const [tell, hear] = [path.join(there.directory, "tell"), path.join(there.directory, "hear")]
              const [{ code, shown }] = yield* Effect.all([
                atTerminal(there, args, [["has the code:\\s+(http\\S+)", { tell, hear }]], { atOnce: true }),
                Effect.tap(Effect.flatMap(written(tell, /(.+)\n/), (url) => visit(url)), () => answer(hear, ""))
              ], { concurrency: 2 })
              assert.strictEqual(code, 0, shown)
            } else {
              succeeds(yield* run(here), line)
            }
            assert.notStrictEqual(succeeds(yield* run("authn token"), `${line}; authn token`), "")
          }
        })
      )))

  it.live("has an account per directory", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer", ["--account", "default"])
        yield* login(home, simulator.issuer, "genomcore", ["--account", "work"])
        const run = shellIn(home, { direnv: "test -f .envrc" })
        yield* run("git init -q .")
        for (const line of lines("An account per directory")) succeeds(yield* run(line), line)
        assert.strictEqual(succeeds(yield* run(". ./.envrc; authn token"), "token").trim(), storedToken(home, "work"))
        assert.strictEqual(succeeds(yield* run("authn token"), "token").trim(), storedToken(home, "default"))
        assert.notInclude(succeeds(yield* run("git status --short"), "git status"), ".envrc")
      })))

  it.live("feeds other programs", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer", ["--account", "work"])
        const token = storedToken(home, "work")
        fs.mkdirSync(path.join(home.directory, ".local/bin"), { recursive: true })
        const run = shellIn(home, { npm: "echo \"$NPM_TOKEN\"" })
        for (const line of lines("Other programs")) {
          const shown = succeeds(yield* run(line), line)
          if (line.includes("npm ci")) assert.strictEqual(shown.trim(), token)
        }
        const git = yield* run("git credential fill", "protocol=https\nhost=git.example.com\n\n")
        assert.include(succeeds(git, "git credential fill"), `password=${token}\n`)
        assert.strictEqual(succeeds(yield* run("~/.local/bin/npm-token"), "npm-token").trim(), token)
        assert.include(block("ini", /tokenHelper/), "/.local/bin/npm-token")
        assert.include(block("ini", /_authToken/), "${NPM_TOKEN}")

        const { credHelpers } = JSON.parse(block("json", /credHelpers/))
        for (const [host, helper] of Object.entries(credHelpers)) {
          assert.strictEqual(helper, "authn")
          const docker = succeeds(yield* run("authn credential docker get", host), "docker")
          assert.deepInclude(JSON.parse(docker), { Username: "oauth2", Secret: token })
        }
        const [, args = ""] = /args: \[(.+)\]/.exec(block("yaml", /client\.authentication/)) ?? []
        const kubectl = succeeds(yield* run(`authn ${args.replaceAll(",", "")}`), "kubectl")
        assert.strictEqual(JSON.parse(kubectl).status.token, token)
        const [, process_ = ""] = /credential_process = (.+)/.exec(block("ini", /credential_process/)) ?? []
        assert.deepInclude(JSON.parse(succeeds(yield* run(process_), process_)), { Version: 1, SessionToken: token })
      })))

  it("signs in to a server of MCP", async ({ onTestFinished }) => {
    const server = await start()
    const own = make(main)
    onTestFinished(async () => {
      await server.close()
      own.remove()
    })
    const shown = new Map<string, string>()
    for (const line of lines("Servers of the Model Context Protocol")) {
      const [program, ...args] = words(line.replace("https://mcp.example.com/mcp", server.url))
      assert.strictEqual(program, "authn")
      const input = args[1] === "stdio" ? `${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" })}\n` : ""
      const ended = await own.run(args, input)
      shown.set(args[1] ?? "", succeeds(ended, line))
    }
    assert.match(JSON.parse(shown.get("header") ?? "").Authorization, /^Bearer /)
    assert.include(shown.get("status"), "signed in")
    assert.include(shown.get("stdio"), "\"id\":1")
    assert.deepStrictEqual(server.count("revoke"), 1)
    assert.strictEqual((await own.run(["mcp", "header", server.url])).code, 3)
    assert.strictEqual((await own.run(["mcp", "status", server.url])).code, 3)
  })

  it.live("names commands, flags and settings that there are", () =>
    Effect.scoped(Effect.gen(function*() {
      const own = yield* home
      const text = fs.readFileSync(path.join(import.meta.dirname, "../../../docs/cli.md"), "utf8")
      const { stdout: script } = yield* own.spawn(["--completions", "fish"])
      const flags = new Set([...script.matchAll(/ -l ([\w-]+)/g)].map(([, name]) => name))
      const others = new Set(["completions", "user", "global"])
      for (const [, flag = ""] of text.matchAll(/--([a-z][\w-]+)/g)) {
        assert.isTrue(flags.has(flag) || others.has(flag) || flags.has(flag.replace(/^no-/, "")), `--${flag}`)
      }
      const known = JSON.parse((yield* own.spawn(["config", "--json"])).stdout).settings
      const rows = [...text.matchAll(/^\| `(\w+)`.*\| `(AUTHN_\w+)`.*\| (?:`--([\w-]+)` )?\|$/gm)]
      assert.isAbove(rows.length, 10)
      for (const [, setting = "", variable = "", flag] of rows) {
        assert.property(known, setting)
        assert.strictEqual(variable, `AUTHN_${setting.toUpperCase()}`)
        if (flag !== undefined) assert.strictEqual(flag, setting.replaceAll("_", "-"))
      }
      assert.sameMembers(
        rows.map(([, setting]) => setting),
        Object.keys(known).filter((name) => name !== "account" && name !== "token")
      )
      for (const [, command = ""] of text.matchAll(/^\| `([a-z]+)[^|]*\| /gm)) {
        if (rows.some(([, setting]) => setting === command)) continue
        const help = yield* own.spawn([command, "--help"])
        assert.strictEqual(help.code, 0, `${command}: ${help.stderr}`)
      }
    })))
})

// What the lines start has to be there.
assert.strictEqual(spawnSync("git", ["--version"]).status, 0)
