// NodeAuth and `authn` from the tarballs, on each runtime that they are for: the same program, the same files.
import { Session, TokenSet, TokenStorage } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { IamSimulator } from "@effect-authn/testing"
import { assert, layer } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Option, Struct } from "effect"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { Project, succeeds } from "./packed.ts"
import { run } from "./run.ts"

const bin = path.join(import.meta.dirname, "../../node_modules")

const runtimes: Record<string, readonly [command: string, ...args: ReadonlyArray<string>]> = {
  "Node 22": [path.join(bin, "../packages/bench/node_modules/node-22/bin/node")],
  "Node 24": [process.execPath],
  "Bun": [path.join(bin, ".bin/bun")],
  "Deno": [path.join(bin, ".bin/deno"), "run", "--allow-all", "--no-prompt"]
}
const names = Object.keys(runtimes)

type Environment = Record<string, string>

const proxies = (proxy: string, exceptions: string): Environment => ({
  HTTP_PROXY: proxy,
  HTTPS_PROXY: proxy,
  NO_PROXY: exceptions,
  http_proxy: proxy,
  https_proxy: proxy,
  no_proxy: exceptions
})

// what the machine says of proxies, keychains and sessions is none of the tests' business
const bare: Environment = {
  ...proxies("", ""),
  DBUS_SESSION_BUS_ADDRESS: "unix:path=/nonexistent/bus",
  // a download that nobody asked for would end in an error
  DENO_NO_UPDATE_CHECK: "1"
}

const command = (name: string, ...args: ReadonlyArray<string>) => {
  const [program, ...own] = runtimes[name]!
  return [program, [...own, ...args]] as const
}

/**
 * The packages and the program of `children/session.ts`. It is copied once: tests run beside each other, and a file that is
 * being copied is an empty program, which says nothing and succeeds.
 */
const project = Layer.effectDiscard(
  Effect.map(
    Project,
    (cwd) => fs.copyFileSync(path.join(import.meta.dirname, "children/session.ts"), path.join(cwd, "session.ts"))
  )
).pipe(Layer.provideMerge(Project.layer))

/** The program of `children/session.ts`, with sessions of its own. */
const session = Effect.gen(function*() {
  const cwd = yield* Project
  const { issuer, ledger } = yield* IamSimulator.IamSimulator
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(cwd, "sessions-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  )
  const plays = (name: string, args: ReadonlyArray<string>, env: Environment = {}) =>
    run(...command(name, "session.ts", issuer, directory, ...args), { cwd, env: { ...bare, ...env } })
  const says = (name: string, args: ReadonlyArray<string>, env: Environment = {}) =>
    Effect.map(
      succeeds(...command(name, "session.ts", issuer, directory, ...args), { cwd, env: { ...bare, ...env } }),
      (said): unknown => JSON.parse(said)
    )
  const requests = (route: string) =>
    Effect.map(ledger, (entries) => entries.filter((entry) => entry.route === route).length)

  /** Makes all stored tokens expire, as the test's own runtime would write it. */
  const expire = Effect.gen(function*() {
    const storage = yield* TokenStorage.TokenStorage
    const [key] = yield* storage.keys
    const stored = yield* Effect.flatMap(storage.get(key!), Effect.fromOption)
    const now = yield* DateTime.now
    const tokens = Object.entries(stored.tokens).map(([id, held]) => [
      id,
      TokenSet.TokenSet.make(Struct.assign(held, {
        issuedAt: DateTime.subtractDuration(now, Duration.hours(2)),
        expiresAt: Option.some(DateTime.subtractDuration(now, Duration.hours(1)))
      }))
    ])
    const aged = Session.update(stored, {
      tokens: Object.fromEntries(tokens),
      generation: Session.nextGeneration(stored.generation, now)
    })
    yield* storage.put(key!, aged, stored.generation)
  }).pipe(Effect.provide(FileTokenStorage.layer({ directory })))

  return { cwd, expire, issuer, plays, requests, says }
})

const simulator = Layer.fresh(IamSimulator.layer({ tokenLifetime: "1 hour", rotation: "strict" }))

/** A server on loopback, as far as a test needs one. */
const serve = (listener: http.RequestListener, connected?: (target: string) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<http.Server>((resume) => {
        const server = http.createServer(listener)
        server.on("connect", ({ url = "" }, socket) => {
          connected?.(url)
          socket.on("error", () => {})
          socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n")
        })
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

layer(project, { timeout: 240_000, excludeTestServices: true })("the packed packages", (it) => {
  const limit = { timeout: 240_000 }

  for (const name of names) {
    it.effect(
      `on ${name} sign in, are signed in in a second process, renew once for sixteen callers, and sign out`,
      () =>
        Effect.gen(function*() {
          const { expire, plays, requests, says } = yield* session
          const first = yield* says(name, ["login"])
          assert.isString(first)
          assert.deepStrictEqual(yield* says(name, ["ask", "1"]), [first])
          assert.deepStrictEqual([yield* requests("login"), yield* requests("refresh")], [1, 0])

          yield* expire
          const answers = yield* Effect.all(Array.from({ length: 4 }, () => says(name, ["ask", "4"])), {
            concurrency: "unbounded"
          })
          const tokens = new Set(answers.flat())
          assert.strictEqual(answers.flat().length, 16)
          assert.strictEqual(tokens.size, 1)
          assert.isFalse(tokens.has(first))
          assert.strictEqual(yield* requests("refresh"), 1)

          assert.strictEqual(yield* says(name, ["logout"]), false)
          const { code, stderr, stdout } = yield* plays(name, ["ask", "1"])
          assert.notStrictEqual(code, 0)
          assert.match(stdout + stderr, /NotAuthenticated/)
        }).pipe(Effect.scoped, Effect.provide(simulator)),
      limit
    )

    it.effect(
      `on ${name} send by the proxies of the environment, and follow no redirect`,
      () =>
        Effect.gen(function*() {
          const { says, plays } = yield* session
          const asked: Array<string> = []
          const proxy = yield* serve((_, response) => response.writeHead(500).end(), (target) => asked.push(target))
          const server = yield* serve((request, response) =>
            request.url === "/from" ? response.writeHead(307, { location: "/to" }).end() : response.end()
          )
          const env = proxies(proxy, "127.0.0.1")
          assert.strictEqual(yield* says(name, ["get", `${server}/from`], env), 307)
          assert.strictEqual(yield* says(name, ["get", `${server}/to`], env), 200)
          assert.deepStrictEqual(asked, [])
          assert.notStrictEqual((yield* plays(name, ["get", "https://iam.example/"], env)).code, 0)
          assert.deepStrictEqual([...new Set(asked)], ["iam.example:443"])
        }).pipe(Effect.scoped, Effect.provide(simulator)),
      limit
    )

    it.effect(`on ${name} say that there is no keychain, as a failure with a type`, () =>
      Effect.gen(function*() {
        const { says } = yield* session
        assert.strictEqual(yield* says(name, ["keychain"]), "StorageKeyUnavailable")
      }).pipe(Effect.scoped, Effect.provide(simulator)), limit)

    it.effect(
      `on ${name} have a command that signs in, gives a token to a program, and signs out`,
      () =>
        Effect.gen(function*() {
          const { cwd, issuer, requests } = yield* session
          const home = fs.mkdtempSync(path.join(cwd, "home-"))
          const authn = (args: ReadonlyArray<string>, stdin?: string) =>
            Effect.map(
              succeeds(...command(name, "node_modules/@effect-authn/cli/dist/authn.js", ...args), {
                cwd,
                env: { ...bare, HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home },
                ...(stdin === undefined ? {} : { stdin })
              }),
              (said) => said.trim()
            )
          const account = ["--dialect", "datalayer", "--issuer", issuer, "--storage", "plain-file"]
          yield* authn(["login", ...account, "--handle", "ada", "--password-stdin"], "correct-horse-battery\n")
          const token = yield* authn(["token"])
          assert.match(token, /^eyJ/)
          assert.strictEqual(
            yield* authn(["exec", "--env", "TOKEN", "--", process.execPath, "-p", "process.env.TOKEN"]),
            token
          )
          assert.strictEqual(yield* requests("login"), 1)
          yield* authn(["logout"])
          assert.strictEqual(yield* requests("logout"), 1)
        }).pipe(Effect.scoped, Effect.provide(simulator)),
      limit
    )
  }

  it.effect("renew once for sixteen callers on all of them at once", () =>
    Effect.gen(function*() {
      const { expire, requests, says } = yield* session
      yield* says("Node 24", ["login"])
      yield* expire
      const answers = yield* Effect.forEach(names, (name) => says(name, ["ask", "4"]), { concurrency: "unbounded" })
      assert.strictEqual(answers.flat().length, 16)
      assert.strictEqual(new Set(answers.flat()).size, 1)
      assert.strictEqual(yield* requests("refresh"), 1)
    }).pipe(Effect.scoped, Effect.provide(simulator)), limit)
})
