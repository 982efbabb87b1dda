import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as http from "node:http"
import { expire, home, login, simulated, storedToken } from "./authn.ts"

/** An address that answers nothing. */
const silent = Effect.map(
  Effect.acquireRelease(
    Effect.callback<http.Server>((resume) => {
      const server = http.createServer(() => {})
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  ),
  (server) => {
    const address = server.address()
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  }
)

describe("waiting", () => {
  it.live("for a person who signs in elsewhere: --wait", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const waits = (...args: ReadonlyArray<string>) => home.spawn([...args, "--wait"], { atOnce: true })
        const [token, exec, kubectl] = yield* Effect.all([
          waits("token"),
          home.spawn(["exec", "--wait", "--", "sh", "-c", "echo $AUTHN_TOKEN"], { atOnce: true }),
          waits("credential", "kubectl"),
          Effect.delay(login(home, simulator.issuer, "datalayer"), "3 seconds")
        ], { concurrency: 4 })
        for (const { code, stderr } of [token, exec, kubectl]) {
          assert.strictEqual(code, 0, stderr)
          assert.lengthOf(stderr.match(/waiting for a login/g) ?? [], 1, stderr)
        }
        assert.match(token.stdout, /^eyJ/)
        assert.strictEqual(exec.stdout, token.stdout)
        assert.include(kubectl.stdout, token.stdout.trim())
      })))

  it.live("for nobody any longer than --timeout says, and the failure is that nobody is signed in", () =>
    Effect.scoped(Effect.gen(function*() {
      const own = yield* home
      const ended = yield* own.spawn(["token", "--wait", "--timeout", "2s"])
      assert.deepStrictEqual([ended.code, ended.stdout], [3, ""], ended.stderr)
      assert.include(ended.stderr, "not signed in")
      for (const span of ["0", "soon", "-1", ""]) {
        const wrong = yield* own.run(["token", `--timeout=${span}`])
        assert.strictEqual(wrong.code, 2, wrong.stderr)
        assert.include(wrong.stderr, "--timeout takes 10, 10s or 2m")
      }
    })))

  it.live("for no answer any longer than --timeout says", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const issuer = yield* silent
        yield* login(home, simulator.issuer, "datalayer")
        const named = ["--dialect", "datalayer", "--issuer", issuer, "--account", "slow"]
        const ended = [
          yield* home.spawn(["login", ...named, "--token-stdin", "--timeout", "1s"], { input: "a-token\n" }),
          yield* home.spawn(["login", ...named, "--browser", "--timeout", "1s"], { env: { DISPLAY: ":0" } })
        ]
        for (const { code, stderr } of ended) {
          assert.notStrictEqual(code, 0)
          assert.match(stderr, /no answer within 1 s, the time that --timeout gives|cannot sign you in here|no browser/)
        }
        assert.strictEqual(ended[0]?.code, 5, ended[0]?.stderr)
        expire(home, Date.now() - 1000)
        const over = yield* home.spawn(["token", "--timeout", "5s"])
        assert.strictEqual(over.code, 4, over.stderr)
      })))

  it.live("for git and docker no longer than the line says that names the helper", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        const added = yield* home.run(["accounts", "host", "add", "registry.example.com"])
        assert.strictEqual(added.code, 0, added.stderr)
        const old = storedToken(home)
        const git = (operation: string, more = "", args: ReadonlyArray<string> = ["--timeout", "2s"]) =>
          home.spawn(["credential", "git", "--host", "git.example.com", ...args, operation], {
            input: `protocol=https\nhost=git.example.com\n${more}\n`,
            atOnce: true
          })
        const docker = (...args: ReadonlyArray<string>) =>
          home.spawn(["credential", "docker", ...args, "get"], { input: "registry.example.com", atOnce: true })

        // A token that is fresh needs no answer of the IAM; "erase" asks for a new one.
        yield* simulator.setKnobs({ latency: "4 seconds" })
        assert.include((yield* git("get")).stdout, `password=${old}`)
        const ended = [yield* git("erase", `password=${old}\n`)]
        // what was sent is finished all the same
        assert.notStrictEqual(storedToken(home), old)
        expire(home, Date.now() - 1000)
        ended.push(...(yield* Effect.all([git("get"), docker("--timeout", "2s")], { concurrency: 2 })))
        for (const { code, stderr } of ended) {
          assert.strictEqual(code, 5, stderr)
          assert.include(stderr, "no answer within 2 s, the time that --timeout gives")
        }
        // Docker shows what a helper says on its standard output.
        assert.include(ended[2]?.stdout, "no answer within 2 s")

        yield* simulator.setKnobs({ latency: 0 })
        yield* home.run(["logout", "--local"])
        const [fromGit, fromDocker] = yield* Effect.all([
          git("get", "", ["--wait"]),
          docker("--wait"),
          Effect.delay(login(home, simulator.issuer, "genomcore"), "3 seconds")
        ], { concurrency: 3 })
        assert.include(fromGit.stdout, `password=${storedToken(home)}`, fromGit.stderr)
        assert.strictEqual(JSON.parse(fromDocker.stdout).Secret, storedToken(home))
        // A host that has no token is never waited for.
        const other = yield* home.spawn(["credential", "git", "--host", "h", "--wait", "get"], {
          input: "protocol=https\nhost=git.example.com\n\n"
        })
        assert.deepStrictEqual([other.code, other.stdout, other.stderr], [0, "", ""])
      })))
})
