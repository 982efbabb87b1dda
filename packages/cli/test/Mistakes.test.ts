import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { data, expire, type Home, home, login, password, simulated, stored } from "./authn.ts"

const noTrace = (text: string) => assert.notMatch(text, /\n\s+at |file:\/\/|node_modules/)
const closed = "http://127.0.0.1:9"
const secret = "a-secret-that-nobody-may-see"

const mistakes: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: RegExp, env?: Record<string, string>]> = [
  [["tokn"], /Did you mean/],
  [["token", "--min-ttl", "soon"], /90s/],
  [["token", "--nonsense"], /--nonsense/],
  [["login"], /--dialect/],
  [["login", "--dialect", "saml", "--issuer", closed], /datalayer, genomcore, oidc/],
  [["login", "--dialect", "datalayer"], /--issuer/],
  [["login", "--dialect", "oidc", "--issuer", closed], /--client-id/],
  [["login", "--dialect", "datalayer", "--issuer", closed], /--handle NAME/],
  [["login", "--dialect", "datalayer", "--issuer", closed, "--handle", "ada"], /--password-stdin/],
  [["login", "--dialect", "datalayer", "--issuer", closed, "--device"], /no login by device/],
  [["login", "--dialect", "datalayer", "--issuer", closed, "--handle", "a", "--browser"], /one way/],
  [["login", "--dialect", "datalayer", "--issuer", "iam.example.com", "--handle", "a", "--password-stdin"], /URL/],
  [["login", "--dialect", "datalayer", "--issuer", "http://iam.example.com", "--token-stdin"], /https/],
  [["login", "--dialect", "datalayer", "--issuer", closed, "--handle", "a", "--password-stdin"], /is empty/],
  [["login", "--password", secret], /--password-stdin/],
  [["login", `--password=${secret}`], /--password-stdin/],
  [["login", "--token", secret], /--token-stdin/],
  [["token", "--account", "../../etc/passwd"], /cannot be the name/],
  [["token"], /is one of/, { AUTHN_DIALECT: "saml" }],
  [["login", "--dialect", "genomcore", "--issuer", closed, "--handle", "a", "--password-stdin"], /is one of/, {
    AUTHN_STORAGE: "cloud"
  }],
  [["jwt", "decode"], /empty/],
  [["jwt", "verify"], /--jwks URL or --key FILE/],
  [["import"], /not the document/],
  [["exec"], /command/],
  [["exec", "--env", "A B", "--", "true"], /variable/],
  [["credential", "kubectl"], /KUBERNETES_EXEC_INFO/, { KUBERNETES_EXEC_INFO: "{" }],
  [["credential", "kubectl"], /speaks/, { KUBERNETES_EXEC_INFO: `{"apiVersion":"client.authentication.k8s.io/v9"}` }],
  [["status", "--watch"], /terminal/]
]

describe("mistakes", { timeout: 90_000 }, () => {
  it.live("end in a readable message and exit code 2", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      yield* Effect.forEach(mistakes, ([args, says, env = {}]) =>
        Effect.gen(function*() {
          const { code, stderr, stdout } = yield* run(args, { env })
          const name = `${args.join(" ")}: ${stderr}${stdout}`
          assert.strictEqual(code, 2, name)
          assert.match(stderr, says)
          assert.strictEqual(stdout, "", name)
          assert.notInclude(stderr, secret)
          noTrace(stderr)
        }), { concurrency: 4, discard: true })
    }).pipe(Effect.scoped))

  it.live("nobody is signed in: 3; the IAM refuses: 1; the IAM is away: 5; the session ended: 4", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const nobody = yield* home.run(["token"])
        assert.strictEqual(nobody.code, 3)
        const wrong = yield* home.run(
          ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada", "--password-stdin"],
          { input: `${secret}\n` }
        )
        assert.strictEqual(wrong.code, 1)
        assert.notInclude(wrong.stderr, secret)
        assert.isFalse(fs.existsSync(data(home, "accounts/default.json")))
        const away = yield* home.run(
          ["login", "--dialect", "datalayer", "--issuer", closed, "--handle", "ada", "--password-stdin"],
          { input: password }
        )
        assert.strictEqual(away.code, 5, away.stderr)
        yield* login(home, simulator.issuer, "datalayer")
        expire(home, Date.now() - 1000)
        const ended = yield* home.run(["token"])
        assert.strictEqual(ended.code, 4, ended.stderr)
        assert.include(ended.stderr, "authn login")
        for (const { stderr } of [nobody, wrong, away, ended]) noTrace(stderr)
      })))

  it.live("a wrong clock is a session that looks ended, or a token that is renewed", () =>
    simulated({ clockSkew: "-10 minutes" }, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        const token = yield* home.run(["token"])
        assert.strictEqual(token.code, 0, token.stderr)
      })))

  it.live("a reader that goes away, a full disk and a missing home are told, not thrown", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        for (const args of [["token"], ["status"]]) {
          const full = fs.openSync("/dev/full", "w")
          const { code, stderr } = yield* home.run(args, { stdout: full })
          fs.closeSync(full)
          assert.strictEqual(code, 1, stderr)
          assert.match(stderr, /written|ENOSPC/)
          noTrace(stderr)
        }
        const piped = yield* home.run(["status"], { by: ["sh", "-c", "\"$@\" | true", "sh"] })
        assert.strictEqual(piped.code, 0)
        assert.strictEqual(piped.stderr, "")

        const before = stored(home)
        const limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]
        const refused = yield* home.run(
          ["login", "--handle", "ada", "--password-stdin"],
          { by: limited, input: password }
        )
        assert.strictEqual(refused.code, 1, refused.stderr)
        noTrace(refused.stderr)
        assert.deepStrictEqual(stored(home), before)

        const nowhere = yield* login(
          {
            ...home,
            run: (args, options) => home.run(args, { ...options, env: { HOME: undefined } })
          },
          simulator.issuer,
          "datalayer"
        )
        assert.strictEqual(nowhere.code, 1)
        assert.include(nowhere.stderr, "HOME")
        const blocked = path.join(home.directory, "file")
        fs.writeFileSync(blocked, "")
        const wrongHome = yield* login(
          {
            ...home,
            run: (args, options) => home.run(args, { ...options, env: { HOME: `${blocked}/home` } })
          },
          simulator.issuer,
          "datalayer"
        )
        assert.strictEqual(wrongHome.code, 1, wrongHome.stderr)
        assert.include(wrongHome.stderr, blocked)
        noTrace(wrongHome.stderr)
      })))

  it.live("a home that may only be read still gives what is in it, and says what cannot be written", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        // Root may write everywhere, unless that is taken from it.
        const may = "-dac_override,-dac_read_search,-fowner"
        const by = process.getuid?.() === 0 ? ["setpriv", "--bounding-set", may, "--inh-caps", may] : ["env"]
        const reader: Home = { ...home, run: (args, options) => home.run(args, { ...options, by }) }
        const chmod = (mode: string) => execFileSync("chmod", ["-R", mode, home.directory])

        chmod("a-w")
        const refused = yield* login(reader, simulator.issuer, "datalayer")
        assert.strictEqual(refused.code, 1, refused.stderr)
        assert.include(refused.stderr, home.directory)
        noTrace(refused.stderr)
        chmod("u+w")

        yield* login(home, simulator.issuer, "datalayer")
        const token = (yield* home.run(["token"])).stdout
        chmod("a-w")
        assert.strictEqual((yield* reader.run(["token"])).stdout, token)
        assert.include((yield* reader.run(["status"])).stdout, "signed in")
        const whoami = yield* reader.run(["whoami"])
        assert.deepStrictEqual([whoami.code, whoami.stdout.includes("ada")], [0, true])
        for (const args of [["refresh"], ["logout"], ["accounts", "use", "default"]]) {
          const { code, stderr } = yield* reader.run(args)
          assert.strictEqual(code, 1, args.join(" "))
          assert.match(stderr, /permission denied/)
          assert.include(stderr, home.directory)
          noTrace(stderr)
        }
        chmod("u+w")
        assert.strictEqual((yield* home.run(["token"])).stdout, token)
      })))
})
