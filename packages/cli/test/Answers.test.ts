import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import { data, expire, home, login, simulated } from "./authn.ts"

const closed = "http://127.0.0.1:9"
const secret = "hunter2-of-mine"

describe("answers", () => {
  it.live("git gets a bearer token only where the host asks for one", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const ask = (...challenges: ReadonlyArray<string>) =>
          Effect.map(
            home.run(["credential", "git", "--host", "git.example.com", "get"], {
              input: [
                "capability[]=authtype",
                "protocol=https",
                "host=git.example.com",
                ...challenges.map((text) => `wwwauth[]=${text}`),
                ""
              ].join("\n")
            }),
            ({ stdout }) => stdout
          )
        const basic = /^username=oauth2\npassword=eyJ/
        assert.match(yield* ask("Basic realm=\"git\""), basic)
        assert.match(yield* ask(), basic)
        assert.match(yield* ask("Bearerish x"), basic)
        assert.match(yield* ask("Basic realm=\"git\"", "bearer realm=\"git\""), /^capability.*\nauthtype=Bearer\ncred/)
        assert.match(yield* ask("Basic realm=\"git\", Bearer"), /authtype=Bearer/)
        // what is quoted is a name of the server's choosing, and an empty value empties the list
        assert.match(yield* ask("Basic realm=\"a, Bearer b\""), basic)
        assert.match(yield* ask("Basic realm=\"a\\\", Bearer b\""), basic)
        assert.match(yield* ask("Bearer", "", "Basic realm=\"git\""), basic)
        assert.match(yield* ask("Bearer", "", "Bearer"), /authtype=Bearer/)
      })))

  it.live("git is answered at the blank line, though it keeps the pipe open, and with Windows' line ends", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const ask = (operation: string, input: string) =>
          home.spawn(["credential", "git", "--host", "git.example.com", operation], { input, isInputOpen: true })
        const got = yield* ask("get", "protocol=https\r\nhost=git.example.com\r\n\r\nhost=evil.example.com\r\n")
        assert.match(got.stdout, /^username=oauth2\npassword=eyJ/)
        assert.strictEqual(got.code, 0)
        const erased = yield* ask("erase", "protocol=https\nhost=git.example.com\nusername=oauth2\npassword=x\n\n")
        assert.deepStrictEqual(erased, { code: 0, stdout: "", stderr: "" })
      })))

  it.live("git's hosts are compared as the URL standard writes them, and the last one counts", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const ask = (host: string, ...asked: ReadonlyArray<string>) =>
          home.run(["credential", "git", "--host", host, "get"], {
            input: ["protocol=https", ...asked.map((one) => `host=${one}`), "", ""].join("\n")
          })
        for (
          const [host, asked] of [
            ["GIT.example.com", "git.Example.com"],
            ["git.example.com", "git.example.com:443"],
            ["git.example.com:443", "git.example.com"],
            ["[::1]:8443", "[0:0::1]:8443"],
            ["bücher.example", "xn--bcher-kva.example"]
          ] as const
        ) {
          assert.include((yield* ask(host, asked)).stdout, "password=", `${host} ${asked}`)
        }
        assert.include((yield* ask("git.example.com", "evil.example.com", "git.example.com")).stdout, "password=")
        for (
          const asked of [
            ["git.example.com", "evil.example.com"],
            ["git.example.com:8443"],
            ["git.example.com.evil.example"],
            ["git.example.com@evil.example"],
            ["evil.example@git.example.com"],
            ["git.example.com/.evil.example"],
            ["git.example.com\\.evil.example"],
            ["git.example.com#.evil.example"],
            ["git.example.com?.evil.example"],
            ["git.exam\tple.com"],
            ["git%2eexample.com"],
            ["git\u200b.example.com"],
            [""],
            []
          ]
        ) {
          const { code, stdout } = yield* ask("git.example.com", ...asked)
          assert.deepStrictEqual([code, stdout], [0, ""], asked.join(" "))
        }
        for (
          const host of ["https://git.example.com/", "*.example.com", "git.example.com/path", "ada@git.example.com"]
        ) {
          const { code, stderr } = yield* ask(host, "git.example.com")
          assert.strictEqual(code, 2, host)
          assert.include(stderr, "is no host")
        }
        const forged = yield* home.run(
          ["credential", "git", "--host", "git.example.com", "--username", "a\nhost=evil.example", "get"],
          { input: "protocol=https\nhost=git.example.com\n\n" }
        )
        assert.deepStrictEqual([forged.code, forged.stdout], [2, ""])
      })))

  it.live("no value that may be a secret is said again", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      for (
        const args of [
          ["login", `--password-stdin=${secret}`],
          ["login", `--token-stdin=${secret}`],
          ["login", `--client-secret-stdin=${secret}`],
          ["login", secret],
          ["login", "--handle", "ada", secret],
          ["login", `--passwrd-stdin=${secret}`],
          ["jwt", secret],
          ["jwt", "decode", secret],
          ["token", "--min-ttl", secret],
          ["accounts", "remove", "x", secret]
        ]
      ) {
        const { code, stderr, stdout } = yield* run(args)
        assert.strictEqual(code, 2, `${args.join(" ")}: ${stderr}${stdout}`)
        assert.notInclude(stderr + stdout, secret, args.join(" "))
        assert.include(stderr, "--help")
      }
      assert.include((yield* run(["login", `--password-stdin=${secret}`])).stderr, "pipe it in")
    }).pipe(Effect.scoped))

  it.live("an IAM that is away is told once", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        expire(home, Date.now() - 1000)
        yield* simulator.setKnobs({ fail: ["refresh:503:99"] })
        const { code, stderr } = yield* home.run(["token"])
        assert.strictEqual(code, 5, stderr)
        assert.lengthOf(stderr.match(/not available/g) ?? [], 1, stderr)
        expire(home, Date.now() + 20_000)
        const valid = yield* home.run(["refresh"])
        assert.lengthOf(valid.stderr.match(/not available/g) ?? [], 1, valid.stderr)
      })))

  it.live("an account that is not there is not signed in, and what is current was chosen", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const empty = yield* home.run(["status"])
        assert.deepStrictEqual([empty.code, empty.stdout], [0, ""])
        assert.include(empty.stderr, "Nobody is signed in")
        yield* login(home, simulator.issuer, "datalayer")
        yield* login(home, simulator.issuer, "datalayer", ["--account", "work"])
        for (const more of [[], ["--json"]]) {
          const nobody = yield* home.run(["status", "--account", "nobody", ...more])
          assert.deepStrictEqual([nobody.code, nobody.stdout], [3, ""])
          assert.match(nobody.stderr, /"nobody".*\n.*"default", "work"/)
        }
        const currents = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
          Effect.map(home.run([...args, "--json"], { env }), ({ stdout }) => {
            const found = JSON.parse(stdout)
            return (found.accounts ?? found).filter(({ current }: { current: boolean }) => current).map(
              ({ account }: { account: string }) => account
            )
          })
        assert.deepStrictEqual(yield* currents(["status", "--account", "work"]), [])
        for (const command of ["status", "accounts"]) {
          assert.deepStrictEqual(yield* currents([command], { AUTHN_ACCOUNT: "work" }), ["default"])
        }
      })))

  it.live("a browser without a display and a terminal is a mistake, and what can be done is named", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const target = ["--dialect", "datalayer", "--issuer", simulator.issuer]
        const { code, stderr } = yield* home.run(["login", ...target, "--browser"])
        assert.strictEqual(code, 2, stderr)
        assert.include(stderr, "--token-stdin")
        assert.include(stderr, "--password-stdin")
        assert.notInclude(stderr, "Sign in with: authn login")
        const provider = yield* home.run(["login", ...target, "--token-stdin", "--provider", "github"], { input: "x" })
        assert.strictEqual(provider.code, 2, provider.stderr)
        assert.include(provider.stderr, "--provider")
      })))

  it.live("a key set that cannot be fetched ends with 5, and an address that may not be with 2", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
      const input = `${part({ alg: "RS256" })}.${part({})}.${part({})}`
      const away = yield* run(["jwt", "verify", "--jwks", `${closed}/jwks`], { input })
      assert.strictEqual(away.code, 5, away.stderr)
      assert.lengthOf(away.stderr.trim().split("\n"), 1, away.stderr)
      assert.strictEqual((yield* run(["jwt", "verify", "--jwks", "http://id.example.com/jwks"], { input })).code, 2)
    }).pipe(Effect.scoped))

  it.live("status --watch stays where it is, however long its lines are", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const file = data(home, "accounts/default.json")
        const account = JSON.parse(fs.readFileSync(file, "utf8"))
        fs.writeFileSync(file, JSON.stringify({ ...account, issuer: `https://${"x".repeat(115)}.example.com` }))
        const script = JSON.stringify([["Ctrl-C ends[\\s\\S]*Ctrl-C ends[\\s\\S]*Ctrl-C ends", "\x03"]])
        const { stdout } = yield* home.spawn(["status", "--watch"], {
          by: ["python3", path.join(import.meta.dirname, "terminal.py"), "80", "30", script],
          env: { TERM: "xterm-256color" }
        })
        // oxlint-disable-next-line no-control-regex -- what a terminal is told
        const [first = "", ...frames] = stdout.split(/\x1b\[(?=\d+A\r\x1b\[J)/)
        const rows = (text: string) =>
          stripVTControlCharacters(text.replace(/^\d+A\r/, "")).replace(/\r?\n$/, "").split(/\r?\n/).reduce(
            (sum, line) => sum + Math.max(1, Math.ceil([...line].length / 80)),
            0
          )
        assert.isAtLeast(frames.length, 2, stdout)
        assert.include(first, "x".repeat(115))
        assert.strictEqual(Number.parseInt(frames[0] ?? "", 10), rows(first))
        assert.strictEqual(Number.parseInt(frames[1] ?? "", 10), rows(frames[0] ?? ""))
      })))
})
