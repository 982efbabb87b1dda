// An IAM with strict rotation for any number of families. It says where it listens, then when it renewed which.
import * as Http from "node:http"
import type { Orders, Report } from "./vaultIam.ts"
import { accessToken, refreshToken } from "./vaultTokens.ts"

const orders: Orders = JSON.parse(process.argv[2] ?? "")
const newest = new Map<number, number>()
const revoked = new Set<number>()
let renewals: Array<readonly [at: number, family: number]> = []

const renew = (token: string, at: number) => {
  const [family = 0, index = 0] = token.slice(3).split(".").map(Number)
  if (revoked.has(family) || index !== (newest.get(family) ?? 0)) {
    revoked.add(family)
    return { status: 400, body: { error: "invalid_grant" } }
  }
  newest.set(family, index + 1)
  renewals.push([at, family])
  return {
    status: 200,
    body: {
      access_token: accessToken(family, index + 1),
      refresh_token: refreshToken(family, index + 1),
      token_type: "Bearer",
      expires_in: orders.life / 1000
    }
  }
}

const server = Http.createServer((request, response) => {
  const at = Date.now()
  const chunks: Array<Uint8Array> = []
  request.on("data", (chunk: Uint8Array) => chunks.push(chunk))
  request.once("end", () => {
    const token = new URLSearchParams(Buffer.concat(chunks).toString()).get("refresh_token") ?? ""
    const { body, status } = renew(token, at)
    setTimeout(() => {
      response.writeHead(status, { "content-type": "application/json" })
      response.end(JSON.stringify(body))
    }, orders.latency)
  })
})

const say = (report: Report) => process.send?.(report)
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  say({ port: address !== null && typeof address === "object" ? address.port : 0 })
  setInterval(() => {
    if (renewals.length === 0 && revoked.size === 0) return
    say({ renewals, lost: revoked.size })
    renewals = []
  }, 50)
})
process.once("disconnect", () => process.exit(0))
