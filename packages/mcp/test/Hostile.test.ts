import { PublicHttpClient } from "@effect-authn/core"
import { AuthorizationServer, McpAuth, ProtectedResource } from "@effect-authn/mcp"
import { NodeAuth } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { HttpClientRequest } from "effect/http"
import { services, strict } from "./fixtures.ts"
import { answerJson, type Strict } from "./strict.ts"

/** What a request of a client says, where it cannot sign in. */
const refusal = Effect.fnUntraced(function*(server: Strict) {
  const auth = yield* McpAuth.make({ url: server.url })
  const error = yield* Effect.flip(auth.client.post(server.url))
  const reason = Option.getOrThrow(McpAuth.reasonOf(error))
  assert.deepStrictEqual(server.ledger.filter((entry) => entry === "code" || entry === "register"), [])
  return reason.message
})

const prm = "/.well-known/oauth-protected-resource/mcp"
const asm = "/.well-known/oauth-authorization-server"

const cases: ReadonlyArray<{
  readonly name: string
  readonly says: RegExp
  readonly make: (server: Strict) => void
}> = [
  {
    name: "metadata of another resource",
    says: /describes another resource, https:\/\/bank\.example\/mcp/,
    make: (server) =>
      server.routes.set(prm, (_, response) =>
        answerJson(response, 200, {
          resource: "https://bank.example/mcp",
          authorization_servers: [server.issuer]
        }))
  },
  {
    name: "metadata of a resource with a path that only begins alike",
    says: /describes another resource/,
    make: (server) =>
      server.routes.set(
        prm,
        (_, response) =>
          answerJson(response, 200, { resource: `${server.issuer}/m`, authorization_servers: [server.issuer] })
      )
  },
  {
    name: "no authorization server",
    says: /names no authorization server/,
    make: (server) =>
      server.routes.set(
        prm,
        (_, response) => answerJson(response, 200, { resource: server.url, authorization_servers: [] })
      )
  },
  {
    name: "metadata of another issuer",
    says: /calls itself "https:\/\/idp\.example", not/,
    make: (server) =>
      server.routes.set(asm, (_, response) =>
        answerJson(response, 200, {
          issuer: "https://idp.example",
          authorization_endpoint: `${server.issuer}/authorize`,
          token_endpoint: `${server.issuer}/token`,
          code_challenge_methods_supported: ["S256"]
        }))
  },
  ...[undefined, ["plain"], []].map((methods) => ({
    name: `a downgrade without S256 (${JSON.stringify(methods) ?? "nothing listed"})`,
    says: /does not say that it checks PKCE with S256/,
    make: (server: Strict) =>
      server.routes.set(asm, (_, response) =>
        answerJson(response, 200, {
          issuer: server.issuer,
          authorization_endpoint: `${server.issuer}/authorize`,
          token_endpoint: `${server.issuer}/token`,
          registration_endpoint: `${server.issuer}/register`,
          code_challenge_methods_supported: methods
        }))
  })),
  {
    name: "a metadata address that redirects",
    says: /redirects/,
    make: (server) =>
      server.routes.set(prm, (_, response) => response.writeHead(302, { location: "https://elsewhere.example/" }).end())
  },
  {
    name: "an authorization server's metadata that redirects",
    says: /redirects/,
    make: (server) =>
      server.routes.set(asm, (_, response) => response.writeHead(307, { location: "https://elsewhere.example/" }).end())
  },
  {
    name: "100 MB of metadata",
    says: /more than 1 MiB/,
    make: (server) =>
      server.routes.set(prm, (_, response) => {
        response.writeHead(200, { "content-type": "application/json" })
        const chunk = Buffer.alloc(2 ** 20, 32)
        let left = 100
        const more = (): void => {
          if (left-- <= 0 || response.destroyed) return void response.end()
          response.write(chunk, () => more())
        }
        more()
      })
  },
  ...[
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "https://[fe80::1]/",
    "http://idp.example/",
    "file:///etc/passwd",
    "gopher://idp.example/",
    "https://user:password@idp.example/",
    "not an address"
  ].flatMap((address) => [
    {
      name: `${address} as its authorization server`,
      says: /nothing is sent there/,
      make: (server: Strict) =>
        server.routes.set(
          prm,
          (_, response) => answerJson(response, 200, { resource: server.url, authorization_servers: [address] })
        )
    },
    {
      name: `${address} as its token endpoint`,
      says: /nothing is sent there/,
      make: (server: Strict) =>
        server.routes.set(asm, (_, response) =>
          answerJson(response, 200, {
            issuer: server.issuer,
            authorization_endpoint: `${server.issuer}/authorize`,
            token_endpoint: address,
            registration_endpoint: `${server.issuer}/register`,
            code_challenge_methods_supported: ["S256"]
          }))
    },
    {
      name: `${address} as its description`,
      says: /nothing is sent there/,
      make: (server: Strict) =>
        server.routes.set(
          "/mcp",
          (_, response) =>
            answerJson(response, 401, {}, { "www-authenticate": `Bearer resource_metadata="${address}"` })
        )
    }
  ])
]

describe("a hostile server is refused with words:", () => {
  for (const { make, name, says } of cases) {
    it.live(name, () =>
      Effect.gen(function*() {
        const server = yield* strict
        make(server)
        const message = yield* refusal(server)
        assert.match(message, says)
        assert.notInclude(message, "password@")
      }).pipe(Effect.provide(services)))
  }

  it.live("one that answers with another issuer's callback", () =>
    Effect.gen(function*() {
      const server = yield* strict
      server.routes.set("/authorize", (request, response) => {
        const asked = new URL(request.url ?? "/", server.issuer).searchParams
        const redirect = new URL(asked.get("redirect_uri") ?? "")
        redirect.searchParams.set("code", "stolen")
        redirect.searchParams.set("state", asked.get("state") ?? "")
        redirect.searchParams.set("iss", "https://idp.example")
        response.writeHead(302, { location: redirect.href }).end()
      })
      const auth = yield* McpAuth.make({ url: server.url })
      const error = yield* Effect.flip(auth.client.post(server.url))
      assert.match(Option.getOrThrow(McpAuth.reasonOf(error)).message, /does not belong to this login/)
      assert.strictEqual(server.count("code"), 0)
    }).pipe(Effect.provide(services)))

  it.live("one that always wants another scope", () =>
    Effect.gen(function*() {
      const server = yield* strict
      const auth = yield* McpAuth.make({ url: server.url })
      assert.strictEqual((yield* auth.client.post(server.url, { body: initialize })).status, 200)
      let asked = 0
      server.routes.set("/mcp", (_, response) => {
        asked += 1
        answerJson(response, 403, {}, {
          "www-authenticate": `Bearer error="insufficient_scope", scope="s${asked}"`
        })
      })
      const error = yield* Effect.flip(auth.client.post(server.url))
      assert.strictEqual(Option.getOrThrow(McpAuth.reasonOf(error))._tag, "ScopeRefused")
      assert.strictEqual(server.count("authorize"), 3)
      const scopes = server.authorizations.at(-1)?.get("scope")
      assert.strictEqual(scopes, "s1 s2")
    }).pipe(Effect.provide(services)))

  it.live("one that redirects the request itself gets no token elsewhere", () =>
    Effect.gen(function*() {
      const [server, other] = [yield* strict, yield* strict]
      const seen: Array<string | undefined> = []
      other.routes.set("/mcp", (request, response) => {
        seen.push(request.headers.authorization)
        answerJson(response, 200, {})
      })
      server.resource = (_, response) => response.writeHead(307, { location: other.url }).end()
      const auth = yield* McpAuth.make({ url: server.url })
      assert.strictEqual((yield* auth.client.post(server.url)).status, 307)
      yield* auth.client.post(other.url)
      assert.deepStrictEqual(seen, [undefined])
    }).pipe(Effect.provide(services)))
})

describe("what a public server names", () => {
  it.effect("may not be this machine", () =>
    Effect.gen(function*() {
      for (const address of ["http://127.0.0.1:9/", "https://localhost/", "https://[::1]/"]) {
        const error = yield* Effect.flip(AuthorizationServer.discover(new URL("https://mcp.example"), address))
        assert.match(error.message, /this machine.*nothing is sent there/)
      }
    }).pipe(Effect.provide([NodeAuth.layerHttpClient, NodeAuth.layerPublicHttpClient])))

  it.live("is looked at as it was resolved", () =>
    Effect.gen(function*() {
      const { client, isPrivate } = yield* PublicHttpClient.PublicHttpClient
      const addresses = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "[fd00::1]", "[::ffff:10.0.0.1]"]
        .concat("[64:ff9b::a00:1]", "127.0.0.1", "0.0.0.0", "localhost")
      for (const host of addresses) {
        const url = `http://${host}:1/`
        assert.isTrue(yield* isPrivate(new URL(url)), host)
        const error = yield* Effect.flip(client.execute(HttpClientRequest.get(url)))
        const cause = error.reason.cause as { readonly code?: string; readonly cause?: { readonly code?: string } }
        assert.strictEqual(cause.code ?? cause.cause?.code, "ERR_PRIVATE_ADDRESS", host)
      }
      for (const host of ["93.184.216.34", "[2606:4700::1111]", "[64:ff9b::101:101]"]) {
        assert.isFalse(yield* isPrivate(new URL(`https://${host}/`)), host)
      }
    }).pipe(Effect.provide(NodeAuth.layerPublicHttpClient)))
})

describe("an address", () => {
  it.effect("that may carry no token is refused before anything is sent", () =>
    Effect.gen(function*() {
      for (
        const url of ["http://mcp.example/mcp", "mcp.example", "ftp://mcp.example", "", "https://a:b@mcp.example/"]
      ) {
        const error = yield* Effect.flip(ProtectedResource.canonical(url))
        assert.strictEqual(error.reason._tag, "Misconfigured")
        assert.notInclude(error.message, "a:b")
      }
      assert.strictEqual((yield* ProtectedResource.canonical("https://mcp.example/#x")).resource, "https://mcp.example")
    }))
})

const initialize = HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post("http://x"), {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize"
}).body
