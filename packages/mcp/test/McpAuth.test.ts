import { Browser } from "@effect-authn/core"
import { McpAuth } from "@effect-authn/mcp"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Queue, Redacted } from "effect"
import { HttpClientRequest } from "effect/http"
import { services, strict } from "./fixtures.ts"
import { answerJson, echo } from "./strict.ts"

const list = (url: string) =>
  HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(url), { jsonrpc: "2.0", id: 1, method: "tools/list" })

describe("a client of one server", () => {
  it.live("signs in once for 8 calls at once, and renews once when all of them are refused", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const { client } = yield* McpAuth.make({ url: server.url })
      const calls = Effect.all(
        Array.from({ length: 8 }, () => Effect.map(client.execute(list(server.url)), ({ status }) => status)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(yield* calls, Array.from({ length: 8 }, () => 200))
      assert.deepStrictEqual(server.ledger, ["register", "authorize", "code"])
      server.tokens.clear()
      assert.deepStrictEqual(yield* calls, Array.from({ length: 8 }, () => 200))
      assert.deepStrictEqual(server.ledger, ["register", "authorize", "code", "refresh"])
    }).pipe(Effect.provide(services)))

  it.live("asks for the union of scopes, and keeps what it has", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const { client } = yield* McpAuth.make({ url: server.url })
      server.required = ["read"]
      assert.strictEqual((yield* client.execute(list(server.url))).status, 200)
      server.required = ["write"]
      assert.strictEqual((yield* client.execute(list(server.url))).status, 200)
      assert.deepStrictEqual(server.authorizations.map((asked) => asked.get("scope")), ["read", "read write"])
      assert.deepStrictEqual((yield* McpAuth.status({ url: server.url })).scopes, ["read", "write"])
    }).pipe(Effect.provide(services)))

  it.live("always says for which resource", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const { client } = yield* McpAuth.make({ url: server.url })
      yield* client.execute(list(server.url))
      assert.strictEqual(server.authorizations[0]?.get("resource"), server.url)
    }).pipe(Effect.provide(services)))

  it.live("registers anew, once, where its registration has died", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const { client } = yield* McpAuth.make({ url: server.url })
      yield* client.execute(list(server.url))
      server.clients.clear()
      server.tokens.clear()
      assert.strictEqual((yield* client.execute(list(server.url))).status, 200)
      assert.deepStrictEqual([server.count("register"), server.count("authorize")], [2, 2])
      assert.notStrictEqual(server.authorizations[0]?.get("client_id"), server.authorizations[1]?.get("client_id"))
    }).pipe(Effect.provide(services)))

  it.live("asks one browser only: who reads its address elsewhere neither goes on nor presses the button", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const opened = yield* Queue.unbounded<string>()
      const browser = Browser.Browser.of({
        obstacle: Effect.succeedNone,
        open: (url) => Effect.asVoid(Queue.offer(opened, url))
      })
      const asked = Effect.gen(function*() {
        const { client } = yield* McpAuth.make({ url: server.url })
        return yield* client.execute(list(server.url))
      }).pipe(Effect.provideService(Browser.Browser, browser))
      const page = (url: string, init?: RequestInit) =>
        Effect.promise(() => fetch(url, { redirect: "manual", ...init }))

      // Somebody else is first: the page of the person ends the sign-in, and the other's button is gone.
      const first = yield* Effect.forkChild(Effect.flip(asked))
      const url = yield* Queue.take(opened)
      const stolen = yield* page(url)
      assert.include(yield* Effect.promise(() => stolen.text()), "Sign in to an MCP server?")
      assert.strictEqual((yield* page(url)).status, 403)
      const ended = Option.getOrThrow(McpAuth.reasonOf(yield* Fiber.join(first)))
      assert.strictEqual(ended._tag, "InvalidCredentials")
      assert.include(ended.message, "opened a second time")

      // Somebody else is second, with the button itself.
      const second = yield* Effect.forkChild(Effect.flip(asked))
      const again = yield* Queue.take(opened)
      assert.strictEqual((yield* page(again, { method: "POST" })).status, 405)
      yield* page(again)
      assert.strictEqual((yield* page(again, { method: "POST" })).status, 403)
      assert.strictEqual(Option.getOrThrow(McpAuth.reasonOf(yield* Fiber.join(second)))._tag, "InvalidCredentials")
      assert.strictEqual(server.count("authorize"), 0)
    }).pipe(Effect.provide(services)))

  it.live("asks nobody where nobody may be asked, and names the command", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const { client } = yield* McpAuth.make({ url: server.url, login: "never" })
      const error = yield* Effect.flip(client.execute(list(server.url)))
      const reason = Option.getOrThrow(McpAuth.reasonOf(error))
      assert.strictEqual(reason._tag, "NotAuthenticated")
      assert.include(reason.message, `authn mcp login ${server.url}`)
      assert.deepStrictEqual(server.ledger, [])
    }).pipe(Effect.provide(services)))

  it.live("signs in for itself, and gets more scopes without a person", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const { client } = yield* McpAuth.make({
        url: server.url,
        ...McpAuth.machine({
          clientId: "nightly",
          authentication: { method: "client_secret_basic", secret: Redacted.make("s3cret") }
        })
      })
      server.required = ["read"]
      assert.strictEqual((yield* client.execute(list(server.url))).status, 200)
      server.required = ["write"]
      assert.strictEqual((yield* client.execute(list(server.url))).status, 200)
      assert.deepStrictEqual(server.ledger, ["machine", "machine"])
    }).pipe(Effect.provide(services)))

  it.live("leaves alone what is no refusal of OAuth", () =>
    Effect.gen(function*() {
      const server = yield* strict
      server.routes.set("/.well-known/oauth-protected-resource/mcp", (_, response) => answerJson(response, 404, {}))
      for (const [status, header] of [[401, "Basic realm=\"x\""], [403, ""], [401, ""]] as const) {
        server.routes.set("/mcp", (_, response) => answerJson(response, status, {}, { "www-authenticate": header }))
        const { client } = yield* McpAuth.make({ url: server.url })
        assert.strictEqual((yield* client.execute(list(server.url))).status, status)
      }
      assert.deepStrictEqual(server.ledger, [])
      server.resource = echo
    }).pipe(Effect.provide(services)))

  it.live("signs out there and here", () =>
    Effect.gen(function*() {
      const server = yield* strict
      yield* McpAuth.login({ url: server.url })
      yield* McpAuth.login({ url: server.url, account: "work" })
      assert.deepStrictEqual(yield* McpAuth.servers, [
        { url: server.url, account: "default" },
        { url: server.url, account: "work" }
      ])
      assert.strictEqual((yield* McpAuth.logout({ url: server.url, account: "work" }))._tag, "Revoked")
      assert.strictEqual((yield* McpAuth.logout({ url: server.url }))._tag, "Revoked")
      assert.isFalse((yield* McpAuth.status({ url: server.url })).isSignedIn)
      assert.deepStrictEqual(yield* McpAuth.servers, [])
    }).pipe(Effect.provide(services)))

  it.live("names the command where a registration has died and nobody may be asked", () =>
    Effect.gen(function*() {
      const server = yield* strict
      server.lifetime = 1
      yield* McpAuth.login({ url: server.url })
      server.clients.clear()
      const { bearer } = yield* McpAuth.make({ url: server.url, login: "never" })
      const { message } = yield* Effect.flip(bearer).pipe(Effect.delay("1200 millis"))
      assert.include(message, `no longer knows this client; type: authn mcp login ${server.url}`)
      yield* McpAuth.login({ url: server.url })
      assert.strictEqual(server.count("register"), 2)
    }).pipe(Effect.provide(services)))

  it.live("takes the client that was given last", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const { issuer, url } = server
      server.routes.set("/.well-known/oauth-authorization-server", (_, response) =>
        answerJson(response, 200, {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          code_challenge_methods_supported: ["S256"],
          client_id_metadata_document_supported: true
        }))
      const metadataDocument = "https://client.example/cimd.json"
      yield* McpAuth.login({ url, clients: { registered: { clientId: "mine" } } })
      yield* McpAuth.login({ url, clients: { metadataDocument } })
      yield* McpAuth.login({ url })
      yield* McpAuth.login({ url, clients: { registered: { clientId: "mine" } } })
      yield* McpAuth.login({ url })
      assert.deepStrictEqual(
        server.authorizations.map((asked) => asked.get("client_id")),
        ["mine", metadataDocument, metadataDocument, "mine", "mine"]
      )
    }).pipe(Effect.provide(services)))

  it.live("forgets a registration with the last session that is its own", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const signIn = (account: string) => McpAuth.login({ url: server.url, account })
      yield* signIn("default")
      yield* signIn("work")
      yield* McpAuth.logout({ url: server.url, account: "work" })
      yield* signIn("work")
      assert.strictEqual(server.count("register"), 1)
      yield* McpAuth.logout({ url: server.url, account: "work" })
      yield* McpAuth.logout({ url: server.url })
      yield* signIn("default")
      assert.strictEqual(server.count("register"), 2)
    }).pipe(Effect.provide(services)))

  it.live("names the command with its account, as a shell takes it", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const url = `${server.url}?a=1&b='$(x)'`
      const { bearer } = yield* McpAuth.make({ url, account: "work", login: "never" })
      const { message } = yield* Effect.flip(bearer)
      assert.include(message, `type: authn mcp login '${server.url}?a=1&b=%27$(x)%27' --account work`)
      const obstacle = Effect.succeedSome("there is no display")
      const browser = Browser.Browser.of({ obstacle, open: () => Effect.void })
      for (const login of ["browser", "interactive"] as const) {
        const { client } = yield* Effect.provideService(
          McpAuth.make({ url: server.url, account: "work", login }),
          Browser.Browser,
          browser
        )
        const reason = Option.getOrThrow(McpAuth.reasonOf(yield* Effect.flip(client.execute(list(server.url)))))
        assert.strictEqual(reason._tag, "NotAuthenticated")
        assert.include(reason.message, "there is no display")
        assert.include(reason.message, `type: authn mcp login ${server.url} --account work`)
      }
      assert.strictEqual(server.count("authorize"), 0)
    }).pipe(Effect.provide(services)))

  it.live("says what answers, where that asks nobody to sign in", () =>
    Effect.gen(function*() {
      const server = yield* strict
      server.routes.set("/.well-known/oauth-protected-resource/mcp", (_, response) => answerJson(response, 404, {}))
      const says = (status: number, headers: Record<string, string>) => {
        server.routes.set("/mcp", (_, response) => void response.writeHead(status, headers).end())
        return Effect.map(Effect.flip(McpAuth.login({ url: server.url })), ({ message }) => message)
      }
      assert.match(yield* says(200, { "content-type": "text/html" }), /no MCP server at that address.*text\/html/)
      assert.match(yield* says(404, {}), /no MCP server at that address.*status 404/)
      assert.match(
        yield* says(200, { "content-type": "application/json" }),
        /without a sign-in: nothing has to be done/
      )
      assert.match(yield* says(302, { location: "https://mcp.example/v2" }), /redirects to https:\/\/mcp.example\/v2/)
      assert.match(yield* says(401, {}), /something else than a token of OAuth/)
      assert.match(yield* says(503, {}), /status 503; try again later/)
      assert.match(
        (yield* Effect.flip(McpAuth.login({ url: "http://127.0.0.1:1/mcp" }))).message,
        /no connection \(ECONNREFUSED\); try again later/
      )
    }).pipe(Effect.provide(services)))
})
