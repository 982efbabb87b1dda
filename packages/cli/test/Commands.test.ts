import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schedule } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { data, expire, home, login, password, simulated, stored } from "./authn.ts"

const isJwt = /^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/

describe("the commands", () => {
  for (const dialect of ["datalayer", "genomcore"] as const) {
    it.live(`sign in, hand out tokens, renew and sign out (${dialect})`, () =>
      simulated({ rotation: "strict" }, (simulator, home) =>
        Effect.gen(function*() {
          const signedIn = yield* login(home, simulator.issuer, dialect)
          assert.strictEqual(signedIn.code, 0, signedIn.stderr)
          assert.include(signedIn.stderr, "Signed in as ada")
          assert.strictEqual(signedIn.stdout, "")

          const token = yield* home.spawn(["token"])
          assert.match(token.stdout, isJwt)
          assert.strictEqual(token.stderr, "")
          // the long way prints the same
          const long = yield* home.run(["token", "--json"])
          assert.strictEqual(JSON.parse(long.stdout).token, token.stdout.trim())

          const whoami = yield* home.run(["whoami", "--json"])
          assert.strictEqual(JSON.parse(whoami.stdout).handle, "ada")
          const offline = yield* home.run(["whoami", "--offline"])
          assert.include(offline.stdout, "ada")

          const status = yield* home.run(["status"])
          assert.include(status.stdout, "signed in")
          assert.include(status.stdout, "plain-file: files in ~/.local/share/effect-authn/sessions")
          assert.include(
            (yield* home.run(["explain", "--json"])).stdout,
            "in files in ~/.local/share/effect-authn/sessions"
          )
          assert.notInclude(status.stdout, token.stdout.trim())
          const json = JSON.parse((yield* home.run(["status", "--json"])).stdout)
          assert.strictEqual(json.accounts[0].state, "valid")
          assert.notInclude(JSON.stringify(json), token.stdout.trim())

          const refreshed = yield* home.run(["refresh"])
          assert.strictEqual(refreshed.code, 0, refreshed.stderr)
          assert.notStrictEqual((yield* home.run(["token"])).stdout, token.stdout)

          const out = yield* home.run(["logout"])
          assert.strictEqual(out.code, 0, out.stderr)
          const after = yield* home.run(["token"])
          assert.strictEqual(after.code, 3)
          assert.strictEqual(after.stdout, "")
          assert.include(after.stderr, "authn login")
        })))
  }

  it.live(
    "32 processes over an expired session are one renewal, and 32 valid tokens",
    () =>
      simulated({ rotation: "strict" }, (simulator, home) =>
        Effect.gen(function*() {
          yield* login(home, simulator.issuer, "genomcore")
          const old = (yield* home.run(["token"])).stdout
          expire(home, Date.now() - 1000)
          const before = (yield* home.run(["status", "--json"])).stdout
          assert.include(before, "expired")
          const ended = yield* Effect.all(Array.from({ length: 32 }, () => home.spawn(["token"], { atOnce: true })), {
            concurrency: 32
          })
          assert.deepStrictEqual(ended.map(({ code }) => code), Array.from({ length: 32 }, () => 0))
          const tokens = new Set(ended.map(({ stdout }) => stdout))
          assert.strictEqual(tokens.size, 1)
          const [renewed = ""] = tokens
          assert.notStrictEqual(renewed, old)
          const verified = yield* home.run(
            ["jwt", "verify", "--jwks", `${simulator.issuer}/.well-known/jwks.json`, "--issuer", simulator.issuer],
            { input: renewed }
          )
          assert.strictEqual(verified.code, 0, verified.stderr)
          const ledger = yield* simulator.ledger
          assert.strictEqual(ledger.filter(({ route }) => route === "refresh").length, 1)
          assert.isFalse(ledger.some(({ note }) => note === "reuse"))
        }))
  )

  it.live("keeps several accounts apart", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        yield* login(home, simulator.issuer, "genomcore", ["--account", "work"])
        const first = (yield* home.run(["token"])).stdout
        const { stderr, stdout: work } = yield* home.run(["token", "--account", "work"])
        assert.match(work, isJwt, stderr)
        assert.notStrictEqual(first, work)
        assert.strictEqual((yield* home.run(["token"], { env: { AUTHN_ACCOUNT: "work" } })).stdout, work)
        yield* home.run(["accounts", "use", "work"])
        assert.strictEqual((yield* home.run(["token"])).stdout, work)
        const list = JSON.parse((yield* home.run(["accounts", "--json"])).stdout)
        assert.deepStrictEqual(
          list.map(({ account, current }: { account: string; current: boolean }) => [account, current]),
          [
            ["default", false],
            ["work", true]
          ]
        )
        const elsewhere = yield* home.run(["token"], { env: { AUTHN_ISSUER: "https://other.example.com" } })
        assert.strictEqual(elsewhere.code, 2)
        assert.include(elsewhere.stderr, "AUTHN_ISSUER")
        const replaced = yield* home.run(
          [
            "login",
            "--account",
            "work",
            "--dialect",
            "datalayer",
            "--issuer",
            simulator.issuer,
            "--handle",
            "ada",
            "--password-stdin"
          ],
          { input: password }
        )
        assert.strictEqual(replaced.code, 2)
        const removed = yield* home.run(["accounts", "remove", "work"])
        assert.strictEqual(removed.code, 0, removed.stderr)
        assert.isFalse(fs.existsSync(data(home, "accounts/work.json")))
        assert.strictEqual((yield* home.run(["logout", "--all", "--local"])).code, 0)
      })))

  it.live("a token of the environment goes first, unless an account is named", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const own = (yield* home.run(["token"])).stdout
        const env = { AUTHN_TOKEN: "opaque-token-of-the-environment" }
        assert.strictEqual((yield* home.run(["token"], { env })).stdout, "opaque-token-of-the-environment\n")
        assert.strictEqual((yield* home.run(["token", "--account", "default"], { env })).stdout, own)
        const key = { DATALAYER_API_KEY: "opaque-api-key" }
        assert.strictEqual((yield* home.run(["token"], { env: key })).stdout, "opaque-api-key\n")
        const explained = yield* home.run(["explain"], { env })
        assert.include(explained.stdout, "AUTHN_TOKEN")
        assert.notInclude(explained.stdout + explained.stderr, "opaque-token")
        assert.strictEqual(JSON.parse((yield* home.run(["explain", "--json"], { env })).stdout).used, "AUTHN_TOKEN")
        assert.strictEqual((yield* home.run(["refresh"], { env })).code, 2)
        const who = yield* home.run(["whoami"], { env: { AUTHN_TOKEN: own.trim() } })
        assert.include(who.stdout, "AUTHN_TOKEN")
        const status = yield* home.run(["status"], { env })
        assert.notInclude(status.stdout, "opaque-token")
      })))

  it.live("a token for another project leaves the session with its own, and can be asked to last", () =>
    simulated({ tokenLifetime: "10 minutes" }, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        const own = (yield* home.run(["token"])).stdout
        const other = (yield* home.run(["token", "--project", "borealis"])).stdout
        assert.match(other, isJwt)
        assert.notStrictEqual(other, own)
        assert.strictEqual((yield* home.run(["token", "--project", "borealis"])).stdout, other)
        const refused = yield* home.run(["token", "--project", "borealis", "--min-ttl", "30m"])
        assert.strictEqual(refused.code, 1)
        assert.include(refused.stderr, "--min-ttl")
        yield* simulator.setKnobs({ tokenLifetime: Duration.hours(1) })
        const lasting = yield* home.run(["token", "--project", "borealis", "--min-ttl", "30m"])
        assert.match(lasting.stdout, isJwt, lasting.stderr)
        const { claims } = JSON.parse((yield* home.run(["jwt", "decode", "--json"], { input: lasting.stdout })).stdout)
        assert.strictEqual(claims.projectId, 2)
        assert.strictEqual((yield* home.run(["token"])).stdout, own)
      })))

  it.live("kill -9 and Ctrl-C in the middle of a renewal leave no lock, no half-written file, and a way on", () =>
    simulated({ rotation: "strict", latency: "500 millis" }, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        const own = (yield* home.run(["token"])).stdout
        const sent = (count: number) =>
          Effect.flatMap(simulator.ledger, (entries) =>
            entries.filter(({ route }) => route === "refresh").length >= count
              ? Effect.void
              : Effect.fail("not yet"))
            .pipe(Effect.retry(Schedule.spaced("20 millis")))
        const promise = Effect.runPromiseWith(yield* Effect.context())
        const signalled = (name: NodeJS.Signals, count: number) =>
          home.spawn(["refresh"], { signal: { name, when: promise(Effect.ignore(sent(count))) } })

        const stopped = yield* signalled("SIGINT", 1)
        assert.strictEqual(stopped.code, 130, stopped.stderr)
        const renewed = (yield* home.run(["token"])).stdout
        assert.notStrictEqual(renewed, own, "Ctrl-C waits until the answer is written down")

        const killed = yield* signalled("SIGKILL", 2)
        assert.isNull(killed.code)
        assert.strictEqual((yield* home.run(["token"])).stdout, renewed, "what is valid is still handed out")
        const files = fs.readdirSync(data(home, "sessions"))
        assert.isAtMost(files.filter((file) => !file.endsWith(".json") && file !== "locks").length, 1, files.join(" "))
        assert.strictEqual((yield* home.run(["status"])).code, 0)
        assert.strictEqual((yield* home.run(["logout"])).code, 0)
      })))

  it.live("completes in three shells", () =>
    Effect.gen(function*() {
      const { run, spawn } = yield* home
      for (const shell of ["bash", "zsh", "fish"]) {
        const { code, stderr, stdout } = yield* run(["--completions", shell])
        assert.deepStrictEqual([code, stderr], [0, ""])
        for (const word of ["login", "credential", "authn"]) assert.include(stdout, word)
      }
      const { stdout } = yield* spawn(["--completions", "bash"])
      const complete = `f=$(complete -p authn | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_LINE="authn log" COMP_POINT=9 COMP_CWORD=1 COMP_WORDS=(authn log)
$f; echo "\${COMPREPLY[@]}"`
      const words = yield* spawn(["-c", `${stdout}\n${complete}`], { instead: "bash" })
      assert.match(words.stdout, /\blogin\b.*\blogout\b/)
    }).pipe(Effect.scoped))

  it.live("starts the simulator where that is installed, and says so where it is not", () =>
    Effect.gen(function*() {
      const there = yield* home
      const missing = yield* there.spawn(["simulator"])
      assert.strictEqual(missing.code, 1)
      assert.include(missing.stderr, "@effect-authn/testing")
      assert.notInclude((yield* there.spawn(["--help"])).stdout, "simulator")
      const source = path.join(import.meta.dirname, "../src/main.ts")
      const started = yield* there.spawn([source, "simulator"], {
        instead: process.execPath,
        signal: { name: "SIGTERM", when: /"issuer":"http:/ }
      })
      assert.match(started.stdout, /^\{"issuer":"http:\/\/127\.0\.0\.1:\d+","pid":\d+\}\n$/)
    }).pipe(Effect.scoped))

  it.live("exec passes the token, the exit code and signals on", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const token = (yield* home.run(["token"])).stdout.trim()
        const ran = yield* home.spawn(["exec", "--", "sh", "-c", "printf %s \"$AUTHN_TOKEN\"; exit 7"])
        assert.deepStrictEqual([ran.stdout, ran.code], [token, 7])
        const named = yield* home.spawn(["exec", "--env", "MINE", "--", "sh", "-c", "printf %s \"$MINE\""])
        assert.strictEqual(named.stdout, token)
        const none = yield* home.run(["exec", "--", "no-such-program-here"])
        assert.strictEqual(none.code, 2)
        assert.include(none.stderr, "there is no such program")
        const signalled = yield* home.spawn([
          "exec",
          "--",
          "sh",
          "-c",
          "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
        ], {
          signal: { name: "SIGTERM", when: /ready/ }
        })
        assert.strictEqual(signalled.code, 9)
      })))

  it.live("moves a session from one home to another", () =>
    simulated({ rotation: "strict" }, (simulator, from) =>
      Effect.gen(function*() {
        yield* login(from, simulator.issuer, "genomcore")
        const to = yield* home
        const document = yield* from.run(["export"])
        assert.strictEqual(document.code, 0)
        const imported = yield* to.run(["import"], { input: document.stdout })
        assert.strictEqual(imported.code, 0, imported.stderr)
        assert.strictEqual((yield* to.run(["token"])).stdout, (yield* from.run(["token"])).stdout)
        const file = path.join(from.directory, "session.json")
        yield* from.run(["export", "--output", file])
        assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
        assert.strictEqual((yield* from.run(["export", "--output", file])).code, 2)
        assert.strictEqual((yield* to.run(["import", "--account", "x"], { input: "no document" })).code, 2)
      })))

  it.live("reads and verifies tokens", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const input = (yield* home.run(["token"])).stdout
        const decoded = yield* home.run(["jwt", "decode"], { input })
        assert.match(decoded.stdout, /exp +\d{4}-\d\d-\d\dT[\d:]+Z \(in /)
        const jwks = ["jwt", "verify", "--jwks", `${simulator.issuer}/.well-known/jwks.json`]
        assert.strictEqual((yield* home.run(jwks, { input })).code, 0)
        const forged = `${input.split(".").slice(0, 2).join(".")}.${"A".repeat(342)}`
        const refused = yield* home.run(jwks, { input: forged })
        assert.strictEqual(refused.code, 1)
        assert.include(refused.stderr, "signature does not match")
        assert.strictEqual((yield* home.run([...jwks, "--issuer", "https://other.example.com"], { input })).code, 1)
      })))

  it.live("paths below the home begin with ~, and others are whole", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const signedIn = (env: Record<string, string>) =>
          Effect.map(login(home, simulator.issuer, "datalayer", [], env), ({ stderr }) => stderr)
        assert.include(yield* signedIn({ HOME: `${home.directory}//` }), " in ~/.local/share/effect-authn/sessions.")
        fs.mkdirSync(`${home.directory}/sub${home.directory}`, { recursive: true })
        for (const other of [`${home.directory}-data`, `${home.directory}/sub${home.directory}`]) {
          const shown = yield* signedIn({ XDG_DATA_HOME: other })
          fs.rmSync(other, { recursive: true })
          assert.include(shown, ` in ${other.replace(`${home.directory}/`, "~/")}/effect-authn/sessions.`)
        }
      })))

  it.live("the doctor finds a provider's endpoints where a login does, and names what is wrong with them", () =>
    Effect.gen(function*() {
      const there = yield* home
      const at = "/.well-known/oauth-authorization-server"
      const server = yield* BareServer.serve(({ headers, path }) => {
        const issuer = `http://${headers["host"]}`
        return path === at
          ? BareServer.json(200, {
            issuer,
            token_endpoint: `${issuer}/token`,
            device_authorization_endpoint: `${issuer}/d`
          })
          : path === "/wrong/.well-known/openid-configuration"
          ? BareServer.json(200, { issuer: `${issuer}/wrong`, token_endpoint: "javascript:1" })
          : BareServer.json(404, {})
      })
      const discovery = (path: string) =>
        Effect.map(
          there.run(["doctor"], {
            env: { AUTHN_DIALECT: "oidc", AUTHN_CLIENT_ID: "cli", AUTHN_ISSUER: `${server.origin}${path}` }
          }),
          ({ stdout }) => stdout.split("\n").find((line) => line.includes("discovery"))
        )
      assert.match((yield* discovery("")) ?? "", /✓ +discovery +authorization, device codes$/)
      assert.match((yield* discovery("/wrong")) ?? "", /✗ +discovery .*token_endpoint that is not https/)
      assert.match((yield* discovery("/none")) ?? "", /✗ +discovery .*no provider's metadata there/)
    }).pipe(Effect.scoped))

  it.live("says what could be wrong, and where settings come from", () =>
    simulated({ clockSkew: "1 hour" }, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const doctor = yield* home.spawn(["doctor"])
        assert.strictEqual(doctor.code, 1)
        assert.match(doctor.stdout, /✗ +clock +the issuer's clock is (1 h|59 min) ahead/)
        fs.chmodSync(stored(home).file, 0o644)
        assert.match((yield* home.spawn(["doctor"])).stdout, /✗ +permissions/)
        fs.mkdirSync(path.join(home.directory, ".config/effect-authn"), { recursive: true })
        const file = path.join(home.directory, ".config/effect-authn/config.toml")
        fs.writeFileSync(file, "organization = \"org-9\"\nscope = \"a b\"\n")
        const config = JSON.parse(
          (yield* home.run(["config", "--json"], { env: { AUTHN_PROJECT: "p1", AUTHN_TOKEN: "hidden" } })).stdout
        )
        assert.deepStrictEqual(config.settings.organization, { value: "org-9", source: file })
        assert.deepStrictEqual(config.settings.project, { value: "p1", source: "AUTHN_PROJECT" })
        assert.deepStrictEqual(config.settings.storage, { value: "plain-file", source: "AUTHN_STORAGE" })
        assert.notInclude(JSON.stringify(config), "hidden")
        const address = yield* home.run(["config", "--account", "other"], {
          env: { AUTHN_ISSUER: "https://ada:hidden@x.example.com" }
        })
        assert.include(address.stdout, "x.example.com")
        assert.notInclude(address.stdout, "hidden")
        fs.writeFileSync(file, "issuers = \"x\"\n")
        const wrong = yield* home.run(["config"])
        assert.strictEqual(wrong.code, 2)
        assert.include(wrong.stderr, "\"issuers\" is no setting")
      })))
})
