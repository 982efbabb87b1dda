/** The bridge between the official client and the official server. */
import { assert, describe, it } from "@effect/vitest"
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js"
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import type { ServerResponse } from "node:http"
import { inject, type TestContext } from "vitest"
import { answerJson, start } from "../../mcp/test/strict.ts"
import { make } from "./mcpHome.ts"

const main = inject("bundle")

/** A server with sessions, whose tool tells of its progress and can be cancelled. */
const world = async ({ onTestFinished }: TestContext) => {
  const strict = await start()
  const home = make(main)
  const sessions = new Map<string, { readonly transport: StreamableHTTPServerTransport; readonly server: McpServer }>()
  const cancelled: Array<unknown> = []
  const streams = new Set<ServerResponse>()
  const open = async () => {
    const server = new McpServer({ name: "official", version: "1" }, { capabilities: { tools: { listChanged: true } } })
    server.registerTool("count", { description: "counts" }, async (extra) => {
      for (const progress of [1, 2, 3]) {
        await extra.sendNotification({
          method: "notifications/progress",
          params: { progress, progressToken: extra._meta?.progressToken ?? 0 }
        })
        // the client of the SDK drops the progress that comes in one piece with the answer
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      return { content: [{ type: "text", text: "counted" }] }
    })
    server.registerTool("wait", { description: "waits" }, (extra) =>
      new Promise((resolve) => {
        extra.signal.addEventListener("abort", () => {
          cancelled.push(extra.requestId)
          resolve({ content: [] })
        })
      }))
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, { transport, server })
    })
    await server.connect(transport)
    return transport
  }
  strict.resource = (request, response, body) => {
    streams.add(response)
    const id = request.headers["mcp-session-id"]
    const known = typeof id === "string" ? sessions.get(id) : undefined
    if (id !== undefined && known === undefined) {
      return answerJson(response, 404, {
        jsonrpc: "2.0",
        id: null,
        error: { code: -32_001, message: "no such session" }
      })
    }
    const parsed = body === "" ? undefined : JSON.parse(body)
    void (known === undefined ? open() : Promise.resolve(known.transport))
      .then((transport) => transport.handleRequest(request, response, parsed))
  }
  onTestFinished(async () => {
    await strict.close()
    home.remove()
  })
  return { home, strict, sessions, cancelled, streams }
}

const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe("authn mcp stdio", () => {
  it("relays progress, lists and notifications of the official server", async (test) => {
    const { home, sessions, strict } = await world(test)
    const { client } = await home.host(strict.url)
    assert.deepStrictEqual((await client.listTools()).tools.map(({ name }) => name), ["count", "wait"])
    const heard: Array<number> = []
    const counted = await client.callTool({ name: "count", arguments: {} }, undefined, {
      onprogress: ({ progress }) => void heard.push(progress)
    })
    assert.deepStrictEqual(counted.content, [{ type: "text", text: "counted" }])
    assert.deepStrictEqual(heard, [1, 2, 3])
    let isChanged = false
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => {
      isChanged = true
    })
    const [only] = [...sessions.values()]
    const changes = setInterval(() => void only!.server.server.sendToolListChanged(), 100)
    await until(() => isChanged)
    clearInterval(changes)
    await client.close()
    assert.strictEqual(home.browsers().length, 1)
  })

  it("relays a cancellation", async (test) => {
    const { cancelled, home, strict } = await world(test)
    const { client } = await home.host(strict.url)
    const abort = new AbortController()
    const waiting = client.callTool({ name: "wait", arguments: {} }, undefined, { signal: abort.signal })
    const failed = waiting.then(() => false, () => true)
    setTimeout(() => abort.abort(), 500)
    assert.isTrue(await failed)
    await until(() => cancelled.length === 1)
    await client.close()
  })

  it("opens its session anew at a server that has restarted", async (test) => {
    const { home, sessions, strict } = await world(test)
    const { client } = await home.host(strict.url)
    assert.strictEqual((await client.listTools()).tools.length, 2)
    sessions.clear()
    assert.deepStrictEqual((await client.callTool({ name: "count", arguments: {} })).content, [
      { type: "text", text: "counted" }
    ])
    assert.strictEqual(sessions.size, 1)
    await client.close()
  })

  it("takes up a stream that broke, also where the token has ended meanwhile", async (test) => {
    const { home, strict } = await world(test)
    assert.strictEqual((await home.run(["mcp", "login", strict.url])).code, 0)
    const resumed: Array<string | undefined> = []
    strict.resource = (request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      if (request.method === "POST") {
        response.write(
          "retry: 10\nid: e1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n",
          () => {
            strict.tokens.clear()
            response.destroy()
          }
        )
        return
      }
      resumed.push(request.headers["last-event-id"] as string | undefined)
      response.end("id: e2\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"ok\":true}}\n\n")
    }
    const child = spawn(process.execPath, [main, "mcp", "stdio", strict.url], { env: home.env })
    let out = ""
    child.stdout.on("data", (chunk) => (out += String(chunk)))
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "x" } })}\n`)
    await until(() => out.includes("\"ok\":true"))
    child.stdin.end()
    await once(child, "close")
    assert.deepStrictEqual(resumed, ["e1"])
    assert.deepStrictEqual([strict.count("refresh"), strict.count("refresh refused")], [1, 0])
    assert.strictEqual(home.browsers().length, 1)
    for (const line of out.trim().split("\n")) assert.strictEqual(JSON.parse(line).jsonrpc, "2.0")
  })

  it("says what 2026-07-28 asks for in headers, from the message itself", async (test) => {
    const { home, strict } = await world(test)
    assert.strictEqual((await home.run(["mcp", "login", strict.url])).code, 0)
    let seen: Record<string, unknown> = {}
    const marked = (name: string, type: string) => ({ type, "x-mcp-header": name })
    const place = { type: "object", properties: { region: marked("Region", "string"), zone: marked("Zone", "string") } }
    const schema = {
      type: "object",
      properties: { place, count: marked("Count", "integer"), dry: marked("Dry", "boolean") }
    }
    const bad = { type: "object", properties: { line: marked("A\r\nB", "string"), count: marked("Count", "integer") } }
    strict.resource = (request, response, body) => {
      seen = request.headers
      const { id } = JSON.parse(body)
      const tools = [{ name: "größe", inputSchema: schema }, { name: "bad", inputSchema: bad }]
      answerJson(response, 200, { jsonrpc: "2.0", id, result: id === 0 ? { tools } : {} })
    }
    const child = spawn(process.execPath, [main, "mcp", "stdio", strict.url], { env: home.env })
    let out = ""
    child.stdout.on("data", (chunk) => (out += String(chunk)))
    const _meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28" }
    const send = async (id: number, method: string, params: object) => {
      child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, _meta } })}\n`)
      await until(() => out.includes(`"id":${id},"result"`))
    }
    child.stdin.write("not json\n")
    await send(0, "tools/list", {})
    await send(1, "tools/call", { name: "bad", arguments: { line: "x", count: 1 } })
    assert.notInclude(Object.keys(seen).join(), "mcp-param")
    await send(2, "tools/call", {
      name: "größe",
      arguments: { place: { region: "ä\r\nx-evil: 1", zone: null }, count: 3, dry: false }
    })
    child.stdin.end()
    await once(child, "close")
    assert.notProperty(seen, "mcp-param-zone")
    assert.include(out, "-32700")
    assert.deepInclude(seen, {
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-param-region": `=?base64?${Buffer.from("ä\r\nx-evil: 1").toString("base64")}?=`,
      "mcp-param-count": "3",
      "mcp-param-dry": "false",
      "mcp-name": `=?base64?${Buffer.from("größe").toString("base64")}?=`
    })
  })

  it("lists tools for a call whose headers are refused, and sends it once more", async (test) => {
    const { home, strict } = await world(test)
    assert.strictEqual((await home.run(["mcp", "login", strict.url])).code, 0)
    const asked: Array<string> = []
    const tool = (name: string) => ({
      name,
      inputSchema: { type: "object", properties: { region: { type: "string", "x-mcp-header": "Region" } } }
    })
    strict.resource = (request, response, body) => {
      const { id, method, params } = JSON.parse(body)
      const region = request.headers["mcp-param-region"]
      asked.push([method, params.name ?? params.cursor ?? "", region ?? ""].join(" ").trim())
      if (method === "tools/list") {
        const result = params.cursor === undefined
          ? { tools: [tool("first")], nextCursor: "more" }
          : { tools: [tool("second")] }
        response.writeHead(200, { "content-type": "text/event-stream" })
        return response.end(`data: ${JSON.stringify({ jsonrpc: "2.0", id, result })}\n\n`)
      }
      return region === undefined
        ? answerJson(response, 400, { jsonrpc: "2.0", id, error: { code: -32_020, message: "header mismatch" } })
        : answerJson(response, 200, { jsonrpc: "2.0", id, result: { region } })
    }
    const child = spawn(process.execPath, [main, "mcp", "stdio", strict.url], { env: home.env })
    let out = ""
    child.stdout.on("data", (chunk) => (out += String(chunk)))
    const _meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28" }
    for (const [id, name] of ["second", "unknown"].entries()) {
      const params = { name, arguments: { region: "eu" }, _meta }
      child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params })}\n`)
      await until(() => out.includes(`"id":${id},`))
    }
    child.stdin.end()
    await once(child, "close")
    const listed = ["tools/list", "tools/list more"]
    assert.deepStrictEqual(
      asked,
      ["tools/call second", ...listed, "tools/call second eu", "tools/call unknown", ...listed]
    )
    assert.deepStrictEqual(out.trim().split("\n").map((line) => JSON.parse(line)), [
      { jsonrpc: "2.0", id: 0, result: { region: "eu" } },
      { jsonrpc: "2.0", id: 1, error: { code: -32_020, message: "header mismatch" } }
    ])
  })
})
