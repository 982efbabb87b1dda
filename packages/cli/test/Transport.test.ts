// What the command as it is shipped sends by: its bundle has only parts of undici.
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"
import { createServer } from "node:http"
import { createSecureServer } from "node:http2"
import { createServer as createSocketServer, type Server } from "node:net"
import * as path from "node:path"
import { server as certificate } from "../../platform/node/test/certificates.ts"
import { home } from "./authn.ts"

const listening = (server: Server): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () => Effect.sync(() => server.close())
  )

const whoami = { AUTHN_DIALECT: "datalayer", AUTHN_TOKEN: "opaque" }

describe("the command as it is shipped", () => {
  it.live("speaks HTTP/2 to who wants it", () =>
    Effect.gen(function*() {
      const there = yield* home
      const asked: Array<string> = []
      const port = yield* listening(createSecureServer(certificate, (request, response) => {
        asked.push(`${request.httpVersion} ${request.url}`)
        response.writeHead(200, { "content-type": "application/json" })
        response.end(JSON.stringify({ success: true, profile: { uid: "01", handle_s: "ada" } }))
      }))
      const trusted = path.join(there.directory, "certificate.pem")
      fs.writeFileSync(trusted, certificate.cert)
      const env = { ...whoami, AUTHN_ISSUER: `https://127.0.0.1:${port}`, NODE_EXTRA_CA_CERTS: trusted }
      const { code, stderr, stdout } = yield* there.spawn(["whoami"], { env })
      assert.strictEqual(code, 0, stderr)
      assert.include(stdout, "ada")
      assert.deepStrictEqual(asked, ["2.0 /api/iam/v1/whoami"])
    }).pipe(Effect.scoped))

  it.live("asks the proxies of either kind, and says which did not connect", () =>
    Effect.gen(function*() {
      const there = yield* home
      const asked: Array<string> = []
      const http = yield* listening(
        createServer().on("connect", (request, socket) => {
          asked.push(`http ${request.url}`)
          socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n")
        })
      )
      // It asks for no method and no place, and refuses by its rules (RFC 1928).
      const answers = [Buffer.from([5, 0]), Buffer.from([5, 2, 0, 1, 0, 0, 0, 0, 0, 0])]
      const socks = yield* listening(createSocketServer((socket) => {
        const left = [...answers]
        socket.on("error", () => {}).on("data", () => {
          const answer = left.shift()
          if (answer !== undefined) socket.write(answer)
          if (left.length === 0) asked.push("socks")
        })
      }))
      for (const proxy of [`http://127.0.0.1:${http}`, `socks5://127.0.0.1:${socks}`]) {
        const env = { ...whoami, AUTHN_ISSUER: "https://iam.example.com", HTTPS_PROXY: proxy }
        const { code, stderr } = yield* there.spawn(["whoami"], { env })
        assert.strictEqual(code, 5, stderr)
        assert.include(stderr, "the proxy that HTTPS_PROXY names did not connect")
      }
      assert.deepStrictEqual([...new Set(asked)], ["http iam.example.com:443", "socks"])
    }).pipe(Effect.scoped))
})
