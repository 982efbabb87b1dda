import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { createServer } from "node:net"
import * as path from "node:path"
import { atTerminal, browserOf, data, home, provided, simulated, visit, written } from "./authn.ts"

/** A port that is taken for as long as the test runs. */
const taken = Effect.map(
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer()
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ),
  (server) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  }
)

/** Types into a terminal; the file is there as a whole, or not at all. */
const typed = (hear: string, text: string) => {
  fs.writeFileSync(`${hear}.tmp`, text)
  fs.renameSync(`${hear}.tmp`, hear)
}

const free = Effect.scoped(taken)

describe("the browser's way back", () => {
  it.live("takes the first port that is free, at a login and at the next", () =>
    provided((provider, there) =>
      Effect.gen(function*() {
        const busy = yield* taken
        const second = yield* free
        const browser = browserOf(there)
        const signIn = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
          fs.rmSync(path.join(there.directory, "opened"), { force: true })
          const [ended, page] = yield* Effect.all([
            there.spawn(["login", "--browser", ...args], { env: browser.env, atOnce: true }),
            Effect.tap(browser.opened, (url) => visit(url))
          ], { concurrency: 2 })
          assert.strictEqual(ended.code, 0, ended.stderr)
          return new URL(page).origin
        })
        const wanted = `http://127.0.0.1:${second}`
        const ports = ["--callback-port", String(busy), "--callback-port", String(second)]
        const target = ["--dialect", "oidc", "--issuer", provider.issuer, "--client-id", provider.publicClient.id]
        assert.strictEqual(yield* signIn([...target, ...ports]), wanted)
        const { callback } = JSON.parse(fs.readFileSync(data(there, "accounts/default.json"), "utf8"))
        assert.deepStrictEqual(callback, { ports: [busy, second] })
        assert.strictEqual(yield* signIn([]), wanted, "the login is remembered with its ports")
      })
    ))

  it.live("is the same for an address that is pasted", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const [tell, hear] = [path.join(home.directory, "tell"), path.join(home.directory, "hear")]
        const target = ["--dialect", "datalayer", "--issuer", simulator.issuer, "--browser"]
        const where = ["--callback-port", "8400", "--callback-host", "localhost"]
        const [{ code, shown }] = yield* Effect.all([
          atTerminal(
            home,
            ["login", ...target, ...where],
            [["(http:\\S+)\\s[\\s\\S]*paste it here:", { tell, hear }]],
            {
              atOnce: true,
              env: { SSH_CONNECTION: "127.0.0.1 1 127.0.0.1 2" }
            }
          ),
          written(tell, /(.+)\n/).pipe(
            Effect.flatMap((url) => visit(url, ({ host }) => host === "localhost:8400")),
            Effect.tap(({ url }) => Effect.sync(() => typed(hear, `${url}\r`)))
          )
        ], { concurrency: 2 })
        assert.strictEqual(code, 0, shown)
      })))

  it.live("is where the variables or the file say, and the doctor tries it", () =>
    Effect.gen(function*() {
      const there = yield* home
      const busy = yield* taken
      const second = yield* free
      const callback = (env: Record<string, string> = {}) =>
        Effect.map(there.spawn(["doctor", "--json"], { env }), ({ stdout }) => {
          const found: ReadonlyArray<Record<"check" | "verdict" | "detail", string>> = JSON.parse(stdout)
          return found.filter(({ check }) => check === "callback").map(({ detail, verdict }) => `${verdict}: ${detail}`)
            .join("\n")
        })
      const env = { AUTHN_CALLBACK_PORT: `${busy} ${second}`, AUTHN_CALLBACK_HOST: "localhost" }
      assert.match(yield* callback(env), new RegExp(`^good.*http://localhost:${second}/callback`))
      assert.match(yield* callback({ ...env, AUTHN_CALLBACK_PORT: String(busy) }), new RegExp(`^bad.*${busy}`))

      fs.mkdirSync(path.join(there.directory, ".config/effect-authn"), { recursive: true })
      fs.writeFileSync(
        path.join(there.directory, ".config/effect-authn/config.toml"),
        `callback_port = "${second}"\ncallback_host = "[::1]"\n`
      )
      assert.include(yield* callback(), `http://[::1]:${second}/callback`)

      for (
        const [name, value] of [
          ["AUTHN_CALLBACK_PORT", "http"],
          ["AUTHN_CALLBACK_PORT", "0"],
          ["AUTHN_CALLBACK_PORT", "65536"],
          ["AUTHN_CALLBACK_HOST", "0.0.0.0"]
        ] as const
      ) {
        const wrong = yield* there.run(["token"], { env: { [name]: value } })
        assert.strictEqual(wrong.code, 2, wrong.stderr)
        assert.include(wrong.stderr, name)
      }
    }).pipe(Effect.scoped))
})
