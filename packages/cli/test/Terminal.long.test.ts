import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import {
  answer,
  atTerminal,
  expire,
  home,
  login,
  password,
  provided,
  simulated,
  storedToken,
  visit,
  written
} from "./authn.ts"

const [down, backspace] = ["\x1b[B", "\x7f"]

describe("at a terminal", () => {
  it.live("asks for everything that is missing, and shows no password", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const { code, shown } = yield* atTerminal(home, ["login"], [
          ["speak", "\r"],
          ["Address", `${simulator.issuer}\r`],
          ["Sign in with", "\r"],
          ["Name", "ada\r"],
          ["Password of ada", `${password}\r`]
        ])
        assert.strictEqual(code, 0, shown)
        assert.include(shown, "Signed in as")
        assert.notInclude(shown, password)
        assert.match((yield* home.run(["token"])).stdout, /^eyJ/)

        // A command that is to be copied stays in one line.
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada"]
        const other = yield* atTerminal(home, [...args, "--account", "another"], [["Password of ada", `${password}\r`]])
        assert.include(
          other.shown,
          "  Next: authn token --account another, authn exec --account another -- CMD,\r\n  authn status\r\n"
        )
      })))

  it.live("asks again for an address that is none, and for the organization where there are any", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const none = "iam.example.com"
        const { code, shown } = yield* atTerminal(home, ["login"], [
          ["speak", `${down}\r`],
          ["Address", `${none}\r`],
          ["write it as https", `${backspace.repeat(none.length)}${simulator.issuer}\r`],
          ["Sign in with", "\r"],
          ["Name", "ada\r"],
          ["Password of ada", `${password}\r`],
          ["Organization", "acme\r"]
        ])
        assert.strictEqual(code, 0, shown)
        assert.include(shown, "Signed in as")
        const [account] = JSON.parse((yield* home.run(["accounts", "--json"])).stdout)
        assert.deepInclude(account, { dialect: "genomcore", issuer: simulator.issuer })
      })))

  it.live("asks once more after a wrong password, and not for ever", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada"]
        const right = yield* atTerminal(home, args, [["Password", "wrong\r"], ["Password", `${password}\r`]])
        assert.strictEqual(right.code, 0, right.shown)
        const wrong = yield* atTerminal(home, args, [["Password", "a\r"], ["Password", "b\r"], ["Password", "c\r"]])
        assert.strictEqual(wrong.code, 1, wrong.shown)
      })))

  it.live("asks once more after a wrong token, and after a wrong client secret", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const args = ["login", "--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id]
        const right = Redacted.value(secret)
        const client = yield* atTerminal(home, [...args, "--client-auth", "client_secret_basic"], [
          ["Sign in with", `${down}${down}\r`],
          ["Client secret", "wrong\r"],
          ["Client secret", `${right}\r`]
        ])
        assert.strictEqual(client.code, 0, client.shown)
        assert.notInclude(client.shown, right)
        assert.strictEqual((yield* home.run(["token"])).code, 0)
        const token = yield* atTerminal(home, [...args, "--account", "other"], [
          ["Sign in with", `${down}${down}${down}\r`],
          ["Token", "two words\r"],
          ["Token", "opaque\r"],
          ["Token", "another\r"]
        ])
        assert.strictEqual(token.code, 1, token.shown)
        assert.lengthOf(token.shown.match(/could not sign in at/g) ?? [], 3)
      })
    ))

  it.live("suggests what was used last, also for another account", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        const again = yield* atTerminal(home, ["login"], [
          ["Sign in with", "\r"],
          ["Name \\[ada\\]", "\r"],
          ["Password of ada", `${password}\r`],
          ["Organization \\[acme\\]", "\r"]
        ])
        assert.strictEqual(again.code, 0, again.shown)
        const other = yield* atTerminal(home, ["login", "--account", "other"], [
          ["speak", "\r"],
          ["Address of the IAM \\[http", "\r"],
          ["Sign in with", "\r"],
          ["Name \\[ada\\]", "\r"],
          ["Password of ada", `${password}\r`],
          ["Organization \\[acme\\]", "\r"]
        ])
        assert.strictEqual(other.code, 0, other.shown)
        const accounts = JSON.parse((yield* home.run(["accounts", "--json"])).stdout)
        assert.deepStrictEqual(
          accounts.map(({ dialect, issuer }: Record<string, string>) => [dialect, issuer]),
          [["genomcore", simulator.issuer], ["genomcore", simulator.issuer]]
        )
      })))

  it.live("ends lines between words, and behind a mark where a word is longer", () =>
    simulated({}, (simulator, there) =>
      Effect.gen(function*() {
        const far = path.join(there.directory, "a-directory-with-a-name/that-is-longer/than-a-line/of-most-terminals")
        yield* login(there, simulator.issuer, "datalayer")
        const env = { XDG_DATA_HOME: far, XDG_CONFIG_HOME: far }
        const issuer = "https://iam.example.com/realms/with-a-long-name/and/a-path-that-is-longer-than-the-line"
        fs.mkdirSync(path.join(far, "effect-authn"), { recursive: true })
        fs.writeFileSync(path.join(far, "effect-authn/config.toml"), `dialect = "oidc"\nissuer = "${issuer}"\n`)
        for (
          const [args, env_] of [[["doctor"], env], [["config"], env], [["token"], env], [["status"], {}]] as const
        ) {
          const { shown } = yield* atTerminal(there, args, [], { columns: 60, env: env_ })
          const lines = stripVTControlCharacters(shown).split(/\r?\n/)
          for (const line of lines) {
            // What is longer is a word by itself, to be copied.
            if (line.trim().includes(" ")) assert.isAtMost([...line].length, 60, args.join(" "))
          }
        }
        const { shown } = yield* atTerminal(there, ["token", "--account", "nobody"], [], { columns: 60 })
        assert.match(
          shown,
          /There is "default": choose with --account, or sign in with:\r\nauthn login --account nobody/
        )
        // In a pipe, where programs read, a line is a line.
        const piped = yield* there.spawn(["config"], { env })
        assert.include(piped.stdout, issuer)
      })))

  it.live("times are the person's own, in one form", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const env = { TZ: "Asia/Kolkata" }
        const time = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30/
        const status = yield* home.spawn(["status"], { env })
        assert.match(status.stdout, new RegExp(`expires +${time.source}`))
        const jwt = yield* home.spawn(["jwt", "decode"], { env, input: storedToken(home) })
        assert.match(jwt.stdout, new RegExp(`exp +${time.source} \\(in `))
        expire(home, Date.now() - 60_000)
        for (const args of [["token"], ["whoami"], ["refresh"]]) {
          const ended = yield* home.spawn(args, { env })
          assert.strictEqual(ended.code, 4, ended.stderr)
          assert.match(ended.stderr, time)
          assert.notMatch(ended.stderr, /\dZ/)
        }
      })))

  it.live("a paste of 16 KB takes no longer than its length, and nobody sees a secret", () =>
    Effect.gen(function*() {
      const there = yield* home
      const args = ["login", "--dialect", "datalayer", "--issuer", "http://127.0.0.1:9"]
      const secret = "s3cret-".repeat(2400)
      const oidc = ["login", "--dialect", "oidc", "--issuer", "http://127.0.0.1:9", "--client-id", "cli"]
      for (
        const [asked, script] of [
          [args, [["Sign in with", `${down}${down}\r`], ["Token", `${secret}\r`]]],
          [[...args, "--handle", "ada"], [["Password", `${secret}\r`]]],
          [oidc, [["Sign in with", `${down}${down}\r`], ["Client secret", `${secret}\r`]]]
        ] as const
      ) {
        const begun = Date.now()
        const pasted = yield* atTerminal(there, asked, script)
        assert.strictEqual(pasted.code, 5, pasted.shown)
        assert.notInclude(pasted.shown, "s3cret")
        // Each character drew the whole line again: minutes.
        assert.isBelow(Date.now() - begun, 60_000)
      }
      const name = "ada-".repeat(750)
      const shown = yield* atTerminal(there, args, [["Sign in with", "\r"], ["Name", `${name}\r`], ["Password", "x\r"]])
      assert.strictEqual(shown.code, 5, shown.shown)
      assert.isBelow(shown.shown.length, 3 * name.length)
    }).pipe(Effect.scoped))

  it.live("a program that was stopped at a secret shows none when it goes on", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada"]
        const { code, shown } = yield* atTerminal(home, args, [["Password of ada", { stopped: `${password}\r` }]])
        assert.strictEqual(code, 0, shown)
        assert.notInclude(shown, password)
      })))

  it.live("a word is taken back with Ctrl-W, and all of it with Ctrl-U", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer]
        const { code, shown } = yield* atTerminal(home, args, [
          ["Sign in with", "\r"],
          ["Name", "ada grace \x17\x17\x17ada\r"],
          ["Password of ada", `wrong 👩 \x15wrong\x17${password}\r`]
        ])
        assert.strictEqual(code, 0, shown)
      })))

  it.live("asks in plain lines where TERM is dumb", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const env = { TERM: "dumb" }
        const { code, shown } = yield* atTerminal(home, ["login"], [
          ["Number", "7\r"],
          ["from 1 to 3[\\s\\S]*Number", "1\r"],
          ["Address", "javascript:1\r"],
          ["write it as[\\s\\S]*Address", "localhost:8080\r"],
          ["write it as[\\s\\S]*Address", `${simulator.issuer}\r`],
          ["Number", "1\r"],
          ["Name", "ada\r"],
          ["Password of ada", `${password}\r`]
        ], { env })
        assert.strictEqual(code, 0, shown)
        const others = [
          yield* atTerminal(home, ["status"], [], { env }),
          yield* atTerminal(home, ["doctor"], [], { env }),
          yield* atTerminal(home, ["status", "--watch"], [], { env })
        ]
        assert.deepStrictEqual(others.map(({ code }) => code).at(-1), 2)
        for (const one of [shown, ...others.map(({ shown }) => shown)]) assert.notInclude(one, "\x1b")
        assert.notInclude(shown, password)
      })))

  it.live("offers the session of another client, and sends it only when that is chosen", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer", ["--account", "earlier"])
        const file = path.join(home.directory, ".datalayer/auth.json")
        fs.mkdirSync(path.dirname(file))
        fs.writeFileSync(file, JSON.stringify({ access_token: storedToken(home, "earlier") }))
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--account", "taken"]
        const before = yield* simulator.ledger
        const left = yield* atTerminal(home, args, [["session of another client", "\x03"]])
        assert.strictEqual(left.code, 130, left.shown)
        assert.deepStrictEqual(yield* simulator.ledger, before)
        const { code, shown } = yield* atTerminal(home, args, [
          ["session of another client, in ~/\\.datalayer/auth\\.json", `${down}${down}${down}\r`]
        ])
        assert.strictEqual(code, 0, shown)
        assert.include(shown, "Signed in as")
        assert.notInclude(shown, "eyJ")
        assert.strictEqual(storedToken(home, "taken"), storedToken(home, "earlier"))
      })))

  it.live("an address where nobody is ends with 5, and nothing is remembered", () =>
    Effect.gen(function*() {
      const there = yield* home
      const { code, shown } = yield* atTerminal(there, ["login"], [
        ["speak", "\r"],
        ["Address", "http://127.0.0.1:9\r"],
        ["Sign in with", "\r"],
        ["Name", "ada\r"],
        ["Password of ada", `${password}\r`]
      ])
      assert.strictEqual(code, 5, shown)
      assert.include(shown, "not available")
      assert.notInclude(shown, password)
      assert.strictEqual((yield* there.run(["accounts", "--json"])).stdout, "[]\n")
    }).pipe(Effect.scoped))

  it.live("asks for the client of an OpenID provider, and shows a code", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const [tell, hear] = [path.join(home.directory, "tell"), path.join(home.directory, "hear")]
        const [{ code, shown }] = yield* Effect.all([
          atTerminal(home, ["login"], [
            ["speak", `${down}${down}\r`],
            ["Address", `${provider.issuer}\r`],
            ["Client id", `${provider.publicClient.id}\r`],
            ["Sign in with", `${down}\r`],
            ["(http:\\S+user_code=\\S+)\\s", { tell, hear }]
          ], { atOnce: true }),
          Effect.tap(Effect.flatMap(written(tell, /(.+)\n/), (url) => visit(url)), () => answer(hear, ""))
        ], { concurrency: 2 })
        assert.strictEqual(code, 0, shown)
        assert.include(shown, "Signed in as")
        assert.strictEqual((yield* home.run(["token"])).code, 0)
      })
    ))

  it.live("takes a pasted address where neither a browser nor a code helps", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const [tell, hear, again] = ["tell", "hear", "again"].map((name) => path.join(home.directory, name))
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--browser"]
        const script = [
          ["(http:\\S+)\\s[\\s\\S]*paste it here:", { tell: tell!, hear: hear! }],
          ["(That was not it): that is the address to open[\\s\\S]*paste it here:", { tell: tell!, hear: again! }]
        ] as const
        const [{ code, shown }] = yield* Effect.all([
          atTerminal(home, args, script, {
            atOnce: true,
            env: { SSH_CONNECTION: "127.0.0.1 1 127.0.0.1 2", DISPLAY: ":0" }
          }),
          // The browser of another machine, where nobody listens at the address that it ends at. The person pastes the
          // wrong one first, then the right one out of a mail.
          written(tell!, /(.+)\n/).pipe(
            Effect.tap((url) => answer(hear!, `${url}\r`)),
            Effect.flatMap((url) => visit(url, ({ port }) => port === "49321")),
            Effect.tap(({ url }) => {
              const quoted = `<"${url.replaceAll("&", "&amp;")}">`
              return answer(again!, `${quoted.slice(0, 70)}\r ${quoted.slice(70)}\r`)
            })
          )
        ], { concurrency: 2 })
        assert.strictEqual(code, 0, shown)
        assert.match(shown, /by manual: .*SSH_CONNECTION is set/)
        assert.include((yield* home.run(["whoami"])).stdout, "ada")
      })))

  it.live("uses the columns that there are, and no more", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const widest = (columns: number, command: string) =>
          Effect.map(atTerminal(home, [command], [], { columns }), ({ shown }) =>
            Math.max(...stripVTControlCharacters(shown).split(/\r?\n/).map((line) => line.length)))
        const narrow = yield* widest(80, "doctor")
        const wide = yield* widest(120, "doctor")
        assert.isAtMost(narrow, 80)
        assert.isAtMost(wide, 120)
        assert.isAbove(wide, 80)
        assert.isAtMost(yield* widest(120, "status"), 120)
      })))

  it.live("help is no wider than the terminal, and in plain text where TERM is dumb", () =>
    Effect.scoped(Effect.gen(function*() {
      const there = yield* home
      for (
        const command of ["", "login", "token", "accounts", "exec", "credential", "vault", "mcp", "import", "doctor"]
      ) {
        for (const [columns, env] of [[80, {}], [120, {}], [60, { TERM: "dumb" }]] as const) {
          const args = [...(command === "" ? [] : [command]), "--help"]
          const { code, shown } = yield* atTerminal(there, args, [], { columns, env })
          assert.strictEqual(code, 0, shown)
          for (const line of stripVTControlCharacters(shown).split(/\r?\n/)) {
            assert.isAtMost(line.length, columns, `${command}: ${line}`)
          }
          if ("TERM" in env) assert.notInclude(shown, "\x1b")
        }
      }
      const piped = yield* there.spawn(["login", "--help"])
      assert.include(piped.stdout, "a renewal that was sent is finished all the same\n")
    })))

  it.live("an example that is longer than a line is taken by a shell as it is shown", () =>
    Effect.scoped(Effect.gen(function*() {
      const there = yield* home
      const shown = (...command: ReadonlyArray<string>) =>
        Effect.map(
          atTerminal(there, [...command, "--help"], [], { columns: 60 }),
          ({ shown }) => stripVTControlCharacters(shown).replaceAll("\r\n", "\n")
        )
      const git = yield* shown("credential", "git")
      const words = execFileSync("sh", ["-c", git.slice(git.indexOf("  git config")).replace("git", "printf '%s\\n'")])
      assert.deepStrictEqual(String(words).trim().split("\n"), [
        "config",
        "--global",
        "credential.https://git.example.com.helper",
        "!authn credential git --host git.example.com"
      ])
      const vault = yield* shown("vault")
      assert.include(vault, "\n    --key-file vault.key --behind-tls-proxy\n")
      assert.include(vault, "\n\nEXAMPLES\n")
    })))

  it.live("what docker is told on the standard output, a person is told once", () =>
    Effect.scoped(Effect.gen(function*() {
      const { code, shown } = yield* atTerminal(yield* home, ["credential", "docker", "get"], [])
      assert.strictEqual(code, 2, shown)
      assert.strictEqual(
        shown,
        "authn: the registry's address is read from the standard input, which is a\r\nterminal: pipe it in\r\n"
      )
    })))

  it.live("colours at a terminal only, and not with NO_COLOR", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const coloured = yield* atTerminal(home, ["status"], [])
        assert.include(coloured.shown, "\x1b[32m")
        for (const line of stripVTControlCharacters(coloured.shown).split(/\r?\n/)) {
          assert.isAtMost([...line].length, 80, line)
        }
        assert.notInclude((yield* atTerminal(home, ["status"], [], { env: { NO_COLOR: "1" } })).shown, "\x1b[")
        assert.notInclude((yield* home.run(["status"])).stdout, "\x1b[")
      })))

  it.live("status --watch goes on until Ctrl-C, and gives the cursor back", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { code, shown } = yield* atTerminal(home, ["status", "--watch"], [[
          "Ctrl-C ends[^]*Ctrl-C ends".replace("[^]", "[\\s\\S]"),
          "\x03"
        ]])
        assert.strictEqual(code, 130, shown)
        assert.isTrue(shown.lastIndexOf("\x1b[?25h") > shown.lastIndexOf("\x1b[?25l"), "the cursor is shown again")
      })))

  it.live("Ctrl-C at the password leaves nothing behind", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada"]
        const { code, shown } = yield* atTerminal(home, args, [["Password of ada", "\x03"]])
        assert.strictEqual(code, 130, shown)
        assert.strictEqual((yield* home.run(["token"])).code, 3)
        assert.strictEqual((yield* login(home, simulator.issuer, "datalayer")).code, 0)
      })))

  it.live("export does not show secrets by accident", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { code, shown } = yield* atTerminal(home, ["export"], [])
        assert.strictEqual(code, 2)
        assert.notInclude(shown, "eyJ")
        assert.include((yield* atTerminal(home, ["export", "--to-terminal"], [])).shown, "eyJ")
      })))
})
