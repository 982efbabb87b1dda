// A server of the official SDK, whose own middleware protects it, with our library and `authn mcp stdio` on the other end.
import { McpAuth } from "@effect-authn/mcp"
import { assert, describe, it } from "@effect/vitest"
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js"
import { requireBearerAuth } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js"
import {
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthMetadataRouter
} from "@modelcontextprotocol/sdk/server/auth/router.js"
import { createMcpExpressApp } from "@modelcontextprotocol/sdk/server/express.js"
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { OAuthMetadataSchema } from "@modelcontextprotocol/sdk/shared/auth.js"
import { Effect, Layer } from "effect"
import { McpClient, McpProtocol } from "effect/ai"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { inject, type TestContext } from "vitest"
import { services } from "../../mcp/test/fixtures.ts"
import { start } from "../../mcp/test/strict.ts"
import { make } from "./mcpHome.ts"

const main = inject("bundle")

/** An authorization server, and a server of the SDK that takes its tokens. */
const world = async ({ onTestFinished }: TestContext) => {
  const strict = await start()
  const app = createMcpExpressApp()
  const server = app.listen(0, "127.0.0.1")
  await once(server, "listening")
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`)
  const metadata = await fetch(`${strict.issuer}/.well-known/oauth-authorization-server`)
  app.use(mcpAuthMetadataRouter({
    oauthMetadata: OAuthMetadataSchema.parse(await metadata.json()),
    resourceServerUrl: url,
    scopesSupported: ["echo"]
  }))
  const protection = requireBearerAuth({
    requiredScopes: ["echo"],
    resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(url),
    verifier: {
      verifyAccessToken: (token) => {
        const held = strict.tokens.get(token)
        if (held === undefined) return Promise.reject(new InvalidTokenError("the token is unknown"))
        const expiresAt = Math.floor(held.until / 1000)
        return Promise.resolve({ token, clientId: "any", scopes: [...held.scopes], expiresAt })
      }
    }
  })
  app.all("/mcp", protection, (request, response) => {
    const mcp = new McpServer({ name: "sdk", version: "1" })
    mcp.registerTool("echo", {}, () => ({ content: [{ type: "text", text: "echoed" }] }))
    const transport = new StreamableHTTPServerTransport()
    response.on("close", () => void transport.close())
    void mcp.connect(transport).then(() => transport.handleRequest(request, response, request.body))
  })
  const home = make(main)
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await strict.close()
    home.remove()
  })
  return { home, strict, url: url.href }
}

const call = { name: "echo", arguments: {} }

describe("a server of the official SDK", () => {
  it("is signed in to by authn mcp stdio, for the SDK's own client, and renewed once for four hosts", async (test) => {
    const { home, strict, url } = await world(test)
    const hosts = await Promise.all(Array.from({ length: 4 }, () => home.host(url)))
    for (const { client } of hosts) {
      assert.deepStrictEqual((await client.callTool(call)).content, [{ type: "text", text: "echoed" }])
    }
    assert.deepStrictEqual(strict.authorizations.map((asked) => [asked.get("scope"), asked.get("resource")]), [
      ["echo", url]
    ])
    strict.tokens.clear()
    await Promise.all(hosts.map(({ client }) => client.callTool(call)))
    assert.deepStrictEqual([strict.count("refresh"), strict.count("refresh refused")], [1, 0])
    assert.strictEqual(home.browsers().length, 1)
    await Promise.all(hosts.map(({ client }) => client.close()))
  })

  it("is signed in to by the library, under effect's client, with many calls at the end of a token", async (test) => {
    const { strict, url } = await world(test)
    const program = Effect.gen(function*() {
      const mcp = yield* McpClient.McpClient
      const [echo] = yield* mcp.listTools()
      strict.tokens.clear()
      yield* Effect.forEach(
        Array.from({ length: 8 }),
        () => mcp.callTool({ tool: echo!, arguments: {} }),
        { concurrency: "unbounded" }
      )
      return echo?.name
    }).pipe(Effect.provide(
      McpClient.layerHttp({ name: "c", version: "1", url, protocol: McpProtocol.v2025_11_25 }).pipe(
        Layer.provide(McpAuth.layer({ url })),
        Layer.provide(services)
      )
    ))
    assert.strictEqual(await Effect.runPromise(program), "echo")
    assert.deepStrictEqual([strict.count("code"), strict.count("refresh"), strict.count("refresh refused")], [1, 1, 0])
  })
})
