import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as http from "node:http"
import { expire, home, login, simulated } from "./authn.ts"

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
})
