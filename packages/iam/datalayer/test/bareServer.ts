/** Servers that write raw bytes. They use nothing of ours, so that client and server cannot share a wrong assumption. */
import { Effect } from "effect"
import * as Net from "node:net"
import * as Tls from "node:tls"

export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What to write, and what to do with the connection then. */
export interface Reply {
  readonly bytes: string
  readonly after: "end" | "reset" | "hang"
}

export interface Server {
  readonly origin: string
  readonly port: number
  readonly seen: ReadonlyArray<Seen>
}

export const answer = (
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = { "content-type": "application/json" }
): Reply => ({
  bytes: [
    `HTTP/1.1 ${status} Whatever`,
    ...Object.entries({ ...headers, "content-length": Buffer.byteLength(body), connection: "close" }).map(([k, v]) =>
      `${k}: ${v}`
    ),
    "",
    body
  ].join("\r\n"),
  after: "end"
})

export const json = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply =>
  answer(status, JSON.stringify(body), { "content-type": "application/json", ...headers })

export const html = (status: number): Reply =>
  answer(status, "<html><body>sign in to the proxy</body></html>", { "content-type": "text/html; charset=utf-8" })

const parse = (text: string): Seen | undefined => {
  const end = text.indexOf("\r\n\r\n")
  if (end === -1) return undefined
  const [first = "", ...lines] = text.slice(0, end).split("\r\n")
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()])
  )
  const body = text.slice(end + 4)
  if (Buffer.byteLength(body) < Number(headers["content-length"] ?? 0)) return undefined
  const [method = "", path = ""] = first.split(" ")
  return { method, path, headers, body }
}

const conversation = (script: (seen: Seen) => Reply, seen: Array<Seen>) => (socket: Net.Socket) => {
  let text = ""
  socket.on("error", () => {})
  socket.on("data", (chunk) => {
    text += chunk.toString("utf8")
    const request = parse(text)
    if (request === undefined) return
    text = ""
    seen.push(request)
    const reply = script(request)
    if (reply.after === "end") socket.end(reply.bytes)
    else {
      socket.write(reply.bytes, () => {
        if (reply.after === "reset") socket.resetAndDestroy()
      })
    }
  })
}

const listen = (scheme: "http" | "https", server: Net.Server, seen: ReadonlyArray<Seen>) =>
  Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ origin: `${scheme}://127.0.0.1:${port}`, port, seen }))
      })
    }),
    () => Effect.sync(() => server.close())
  )

/** Sockets are destroyed with the server, so that a hanging one holds no test back. */
const tracked = (server: Net.Server): Net.Server => {
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket: Net.Socket) => sockets.add(socket))
  const close = server.close.bind(server)
  server.close = (callback) => {
    for (const socket of sockets) socket.destroy()
    return close(callback)
  }
  return server
}

export const serve = (script: (seen: Seen) => Reply) => {
  const seen: Array<Seen> = []
  return listen("http", tracked(Net.createServer(conversation(script, seen))), seen)
}

/** A server with one route. */
export const only = (method: string, path: string, reply: (seen: Seen) => Reply) =>
  serve((seen) =>
    seen.method === method && seen.path === `/api/iam/v1${path}` ? reply(seen) : json(404, { detail: "Not Found" })
  )

/** Answers to the first bytes that come, whatever they are. */
export const serveAtOnce = (bytes: string) =>
  listen(
    "http",
    tracked(Net.createServer((socket) => {
      socket.on("error", () => {})
      socket.once("data", () => socket.end(bytes))
    })),
    []
  )

/** The same behind a certificate that nobody trusts. */
export const serveTls = (script: (seen: Seen) => Reply) => {
  const seen: Array<Seen> = []
  const server = Tls.createServer({ key: selfSigned.key, cert: selfSigned.cert }, conversation(script, seen))
  server.on("tlsClientError", () => {})
  return listen("https", tracked(server), seen)
}

/** A port of this machine where nobody listens. */
export const closedPort = Effect.map(
  Effect.scoped(serve(() => ({ bytes: "", after: "end" }))),
  ({ origin }) => origin
)

// Made for these tests; it protects nothing.
const selfSigned = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvSYIrELE++Rdz9cc
1PxqlPz4uf/ADB2Y/aKxjuUds+ihRANCAARTPg6DxgOgY9pHcEyjwgRxDltWMQ5y
pE9DX8+QOWoAvVnSWL53TdfPkm1fTdGS62BWacgj9dxUdgmoh83g5phn
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUTczsczAUIr2afir1bLugDlHtdSgwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTIzMjg0NFoYDzIxMjYxMDI4
MjMyODQ0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARTPg6DxgOgY9pHcEyjwgRxDltWMQ5ypE9DX8+QOWoAvVnSWL53TdfP
km1fTdGS62BWacgj9dxUdgmoh83g5phno28wbTAdBgNVHQ4EFgQUI0IEn39iKgvq
ipdt9dOuZMViCvEwHwYDVR0jBBgwFoAUI0IEn39iKgvqipdt9dOuZMViCvEwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhALh8F2fvke1qFzgi7LCX+PNUUPy5TZknvyHdljImVbE8AiAq
T86cBJmh//R/o7pXthz3XgTNkljZI5Cn+Me7zzNefA==
-----END CERTIFICATE-----`
}
