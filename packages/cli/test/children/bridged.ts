/** What the conformance suite starts: a client of MCP behind `authn mcp stdio`, with a home of its own. */
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { McpClient, McpProtocol } from "effect/ai"
import { ChildProcess } from "effect/process"
import { make } from "../mcpHome.ts"

const main = process.env["AUTHN_MAIN"] ?? ""
const url = process.argv.at(-1) ?? ""
const scenario = process.env["MCP_CONFORMANCE_SCENARIO"] ?? ""
const context = JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}")
const home = make(main)

const login = async () => {
  const args = scenario.includes("cimd")
    ? ["--client-metadata", "https://conformance-test.local/client-metadata.json"]
    : scenario.includes("pre-registration")
    ? ["--client-id", String(context.client_id), "--client-secret-stdin"]
    : undefined
  if (args === undefined) return
  const { code, stderr } = await home.run(["mcp", "login", url, ...args], `${context.client_secret}\n`)
  if (code !== 0) throw new Error(stderr)
}

const protocol = process.env["MCP_CONFORMANCE_PROTOCOL_VERSION"] === "2026-07-28"
  ? McpProtocol.v2026_07_28
  : McpProtocol.v2025_11_25

const program = Effect.gen(function*() {
  yield* Effect.promise(login)
  yield* Effect.gen(function*() {
    const client = yield* McpClient.McpClient
    const [tool] = yield* client.listTools()
    if (tool !== undefined) yield* client.callTool({ tool, arguments: {} })
  }).pipe(Effect.provide(
    McpClient.layerStdio({
      name: "bridged",
      version: "1",
      protocol,
      command: ChildProcess.make(process.execPath, [main, "mcp", "stdio", url], {
        env: home.env,
        extendEnv: false,
        stderr: "inherit"
      }),
      timeout: "2 minutes"
    }).pipe(Layer.provide(NodeServices.layer))
  ))
})

const code = await Effect.runPromise(program).then(() => 0, (error) => {
  console.error(error)
  return 1
})
home.remove()
process.exit(code)
