// A host with the official SDK alone, which keeps its tokens in a file that it shares with its like, as the SDK's examples
// and most hosts do. Told the server's address and a file; says "ready" when it is connected, makes the calls when it is
// told to, and says how they went.
import { auth } from "@modelcontextprotocol/sdk/client/auth.js"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import * as fs from "node:fs"

const [, , url, file, calls] = process.argv

const read = () => fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {}
const write = (changes) => fs.writeFileSync(file, JSON.stringify({ ...read(), ...changes }))
let browsers = 0
let verifier = ""
const provider = {
  redirectUrl: "http://127.0.0.1:1/callback",
  clientMetadata: { redirect_uris: ["http://127.0.0.1:1/callback"], token_endpoint_auth_method: "none" },
  clientInformation: () => read().client,
  saveClientInformation: (client) => write({ client }),
  tokens: () => read().tokens,
  saveTokens: (tokens) => write({ tokens }),
  saveCodeVerifier: (value) => (verifier = value),
  codeVerifier: () => verifier,
  invalidateCredentials: (what) => write(what === "all" ? { client: undefined, tokens: undefined } : { tokens: undefined }),
  redirectToAuthorization: async (address) => {
    browsers += 1
    const answer = await fetch(address, { redirect: "manual" })
    provider.code = new URL(answer.headers.get("location")).searchParams.get("code")
  }
}

if (calls === "login") {
  await auth(provider, { serverUrl: url })
  await auth(provider, { serverUrl: url, authorizationCode: provider.code })
  process.exit(0)
}
const client = new Client({ name: "sdk", version: "1" })
await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider: provider }))
process.send("ready")
process.once("message", async () => {
  const results = await Promise.allSettled(
    Array.from({ length: Number(calls) }, () => client.callTool({ name: "echo", arguments: {} }))
  )
  process.send({ failed: results.filter(({ status }) => status === "rejected").length, browsers })
  process.exit(0)
})
