import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:http"
import * as path from "node:path"
import { data, expire, type Home, home, login, password, simulated, stored, storedToken } from "./authn.ts"

const noTrace = (text: string) => assert.notMatch(text, /\n\s+at |file:\/\/|node_modules/)
const closed = "http://127.0.0.1:9"
const secret = "a-secret-that-nobody-may-see"

const mistakes: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: RegExp, env?: Record<string, string>]> = [
  [["tokn"], /Did you mean/],
  [["token", "--min-ttl", "soon"], /90s/],
  [["token", "--nonsense"], /--nonsense/],
  [["login"], /--dialect[\s\S]*--issuer/],
  [["login", "--dialect", "oidc"], /--issuer[\s\S]*--client-id/],
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

/** Runs a program that can write to no file. */
const limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]

/** What makes Node's clock wrong. */
const shiftedBy = (hours: number) => {
  const code = `const { Date: D } = globalThis
globalThis.Date = class extends D {
  constructor(...all) { super(...(all.length === 0 ? [D.now() + ${hours} * 3600000] : all)) }
  static now() { return D.now() + ${hours} * 3600000 }
}`
  return `--import=data:text/javascript,${encodeURIComponent(code)}`
}

/** A proxy that connects to nobody, and its address with a password. */
const refusingProxy = Effect.acquireRelease(
  Effect.callback<{ readonly address: string; readonly asked: ReadonlyArray<string>; readonly stop: () => void }>(
    (resume) => {
      const asked: Array<string> = []
      const server = createServer().on("connect", (request, socket) => {
        asked.push(request.url ?? "")
        socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n")
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const stop = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ address: `http://ada:${secret}@127.0.0.1:${port}`, asked, stop }))
      })
    }
  ),
  ({ stop }) => Effect.sync(stop)
)

describe("mistakes", () => {
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
        const claims = Buffer.from(JSON.stringify({ exp: Math.floor(Date.now() / 1000) - 60 })).toString("base64url")
        const given = yield* home.run(["token"], { env: { AUTHN_TOKEN: `eyJhbGciOiJFUzI1NiJ9.${claims}.AAAA` } })
        assert.deepStrictEqual([given.code, given.stdout], [4, ""], given.stderr)
        assert.match(given.stderr, /AUTHN_TOKEN expired/)
        for (const { stderr } of [nobody, wrong, away, ended, given]) noTrace(stderr)
      })))

  for (const hours of [2, -2]) {
    it.live(`a clock that is ${Math.abs(hours)} hours ${hours > 0 ? "fast" : "slow"} ends no session, and is told`, () =>
      simulated({}, (simulator, home) =>
        Effect.gen(function*() {
          const shifted: Home = {
            ...home,
            run: (args, options) => home.spawn(args, { ...options, env: { NODE_OPTIONS: shiftedBy(hours) } })
          }
          const renewals = Effect.map(simulator.ledger, (entries) =>
            entries.filter(({ route }) => route === "refresh").length)
          const signedIn = yield* login(shifted, simulator.issuer, "genomcore")
          assert.match(signedIn.stderr, /valid for (1 h|59 min)/)
          assert.strictEqual((yield* shifted.run(["token"])).stdout, `${storedToken(home)}\n`)
          assert.strictEqual(yield* renewals, 0)
          const [account] = JSON.parse((yield* shifted.run(["status", "--json"])).stdout).accounts
          assert.strictEqual(account.state, "valid")
          const doctor = yield* shifted.run(["doctor"])
          assert.strictEqual(doctor.code, 1)
          assert.match(
            doctor.stdout,
            hours > 0 ? /✗ +clock .*(2 h|1 h 59 min) behind/ : /✗ +clock .*(2 h|1 h 59 min) ahead/
          )

          // a clock that is wrong only since then
          yield* login(home, simulator.issuer, "genomcore")
          const right = `${storedToken(home)}\n`
          const later = yield* shifted.run(["token"])
          assert.strictEqual(later.stdout === right, hours < 0, "what looks expired is renewed")
          assert.strictEqual(yield* renewals, hours > 0 ? 1 : 0)
          const verify = ["jwt", "verify", "--jwks", `${simulator.issuer}/.well-known/jwks.json`]
          assert.strictEqual((yield* home.run(verify, { input: later.stdout })).code, 0, later.stderr)
        })))
  }

  it.live("without a network what is valid is handed out, and everything else ends with 5", () =>
    Effect.gen(function*() {
      const there = yield* home
      yield* simulated({}, (simulator) => login(there, simulator.issuer, "genomcore"))
      assert.match((yield* there.run(["token"])).stdout, /^eyJ/)
      expire(there, Date.now() - 1000)
      const proxy = yield* refusingProxy
      const given = (issuer: string, more: Record<string, string> = {}) => ({
        env: {
          AUTHN_ACCOUNT: "other",
          AUTHN_DIALECT: "datalayer",
          AUTHN_ISSUER: issuer,
          AUTHN_TOKEN: "opaque",
          ...more
        }
      })
      const ended = [
        yield* there.run(["token"]),
        yield* there.run(["whoami"]),
        yield* there.run(["refresh"]),
        // no name server can be asked for a label of 64 characters
        yield* there.run(["whoami"], given(`https://${"a".repeat(64)}.example`)),
        yield* there.spawn(["whoami"], given("https://iam.example.com", { HTTPS_PROXY: proxy.address }))
      ]
      for (const { code, stderr, stdout } of ended) {
        assert.deepStrictEqual([code, stdout], [5, ""], stderr)
        assert.include(stderr, "try again later")
        assert.notInclude(stderr, secret)
        noTrace(stderr)
      }
      assert.deepStrictEqual([...new Set(proxy.asked)], ["iam.example.com:443"])
    }).pipe(Effect.scoped))

  it.live("a proxy without a scheme is http, and one that is no address stops only what needs the network", () =>
    Effect.gen(function*() {
      const there = yield* home
      yield* simulated({}, (simulator) =>
        Effect.gen(function*() {
          yield* login(there, simulator.issuer, "datalayer")
          const token = (yield* there.run(["token"])).stdout
          for (const HTTPS_PROXY of ["http://[", "ftp://127.0.0.1:1", "http://"]) {
            const env = { HTTPS_PROXY, http_proxy: HTTPS_PROXY }
            const valid = yield* there.spawn(["exec", "--", "sh", "-c", "printf '%s\\n' \"$AUTHN_TOKEN\""], { env })
            assert.deepStrictEqual([valid.code, valid.stdout], [0, token], valid.stderr)
            const here = yield* there.spawn(["whoami"], { env })
            assert.strictEqual(here.code, 0, here.stderr)
            const remote = {
              AUTHN_DIALECT: "datalayer",
              AUTHN_ISSUER: "https://iam.example.com",
              AUTHN_TOKEN: "opaque"
            }
            const away = yield* there.spawn(["whoami"], { env: { ...env, ...remote, AUTHN_ACCOUNT: "other" } })
            assert.deepStrictEqual([away.code, away.stdout], [1, ""], away.stderr)
            assert.include(away.stderr, "HTTPS_PROXY is not the address of a proxy: write http://host:port")
            noTrace(away.stderr)
            const doctor = yield* there.spawn(["doctor"], { env })
            assert.include(doctor.stdout, "http://host:port")
            assert.include(doctor.stdout, "callback")
          }
          assert.strictEqual(
            (yield* there.spawn(["logout", "--local"], { env: { http_proxy: "http://[" } })).code,
            0
          )
        }))
      const proxy = yield* refusingProxy
      const env = { AUTHN_DIALECT: "datalayer", AUTHN_ISSUER: "https://iam.example.com", AUTHN_TOKEN: "opaque" }
      const bare = proxy.address.replace("http://", "")
      for (const https_proxy of [bare, `${bare}/proxy.pac`, `${proxy.address}?a=b#c`]) {
        const before = proxy.asked.length
        const ended = yield* there.spawn(["whoami"], { env: { ...env, AUTHN_ACCOUNT: "other", https_proxy } })
        assert.strictEqual(ended.code, 5, ended.stderr)
        assert.deepStrictEqual([...new Set(proxy.asked.slice(before))], ["iam.example.com:443"], https_proxy)
      }
    }).pipe(Effect.scoped))

  it.live("a reader that goes away, a full disk and a missing home are told, not thrown", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        for (const args of [["token"], ["status"], ["--completions", "bash"], ["--help"]]) {
          const full = fs.openSync("/dev/full", "w")
          const { code, stderr } = yield* home.spawn(args, { stdout: full })
          fs.closeSync(full)
          assert.strictEqual(code, 1, stderr)
          assert.match(stderr, /written|ENOSPC/)
          noTrace(stderr)
        }
        // a token goes two ways
        for (const args of [["status"], ["token", "--json"], ["token"]]) {
          const by = ["bash", "-o", "pipefail", "-c", "\"$@\" | true", "bash"]
          const { code, stderr } = yield* home.spawn(args, { by })
          assert.deepStrictEqual([code, stderr], [0, ""], args.join(" "))
        }

        const before = stored(home)
        const refused = yield* home.spawn(
          ["login", "--handle", "ada", "--password-stdin"],
          { by: limited, input: password }
        )
        assert.strictEqual(refused.code, 1, refused.stderr)
        noTrace(refused.stderr)
        assert.deepStrictEqual(stored(home), before)

        // what is gone on without has words, too
        for (const args of [["whoami"], ["refresh"], ["accounts", "use", "default"]]) {
          const { stderr } = yield* home.spawn(args, { by: limited })
          assert.include(stderr, "EFBIG", args.join(" "))
          assert.notMatch(stderr, /^authn: *$/m)
        }

        // a part of a document has secrets in it, and would be in the way
        const document = path.join(home.directory, "exported")
        const unwritten = yield* home.spawn(["export", "--output", document], { by: limited })
        assert.strictEqual(unwritten.code, 1, unwritten.stderr)
        assert.match(unwritten.stderr, /exported cannot be written: .* \(E[A-Z]+\)/)
        assert.isFalse(fs.existsSync(document))

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

  it.live("a disk that is full when a session is due: nothing is sent, nothing is lost, and it is told", () =>
    simulated({ rotation: "none" }, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        expire(home, Date.now() - 1000)
        const before = stored(home)
        for (const args of [["token"], ["refresh"]]) {
          const full = yield* home.spawn(args, { by: limited })
          assert.deepStrictEqual([full.code, full.stdout], [1, ""], full.stderr)
          assert.include(full.stderr, "file too large (EFBIG)")
          assert.notInclude(full.stderr, "eyJ")
          noTrace(full.stderr)
        }
        assert.isFalse((yield* simulator.ledger).some(({ route }) => route === "refresh"))
        assert.deepStrictEqual(stored(home), before)
        const files = fs.readdirSync(data(home, "sessions"))
        assert.deepStrictEqual(files.filter((file) => !file.startsWith("locks")), [path.basename(before.file)])
        const again = yield* home.run(["token"])
        assert.deepStrictEqual([again.code, again.stderr], [0, ""])
        assert.notDeepEqual(stored(home), before)
      })))

  it.live("a home that may only be read still gives what is in it, and says what cannot be written", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        // Root may write everywhere, unless that is taken from it.
        const may = "-dac_override,-dac_read_search,-fowner"
        const by = process.getuid?.() === 0 ? ["setpriv", "--bounding-set", may, "--inh-caps", may] : ["env"]
        const reader: Home = { ...home, run: (args, options) => home.spawn(args, { ...options, by }) }
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
