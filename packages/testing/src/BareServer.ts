/**
 * Servers on loopback that write raw bytes. They use nothing of ours and no HTTP library, so that a client and its server
 * cannot share a wrong assumption; what they say is what a test wrote.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"

/**
 * One request as it came: the request line and its parts, the headers by lower-case name, and the body as text.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly line: string
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * The bytes to write, and what becomes of the connection then: `end` closes it, `reset` cuts it, and `hang` leaves it open
 * without another byte.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reply {
  readonly bytes: string
  readonly after: "end" | "reset" | "hang"
}

/**
 * What a server answers to a request, and to the how-manieth one, counted from 0.
 *
 * @category models
 * @since 0.1.0
 */
export type Script = (seen: Seen, index: number) => Reply

/**
 * A server that runs until its scope closes, or `stop` is called: `origin` is its address, `seen` what it was asked so far.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server {
  readonly origin: string
  readonly port: number
  readonly seen: ReadonlyArray<Seen>
  readonly stop: () => void
}

/**
 * A whole answer, with its length and the given headers; JSON unless they say otherwise.
 *
 * @category replies
 * @since 0.1.0
 */
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

/**
 * An answer whose body is a value as JSON.
 *
 * @category replies
 * @since 0.1.0
 */
export const json = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply =>
  answer(status, JSON.stringify(body), { "content-type": "application/json", ...headers })

/**
 * A page, as a proxy between client and server would show it.
 *
 * @category replies
 * @since 0.1.0
 */
export const html = (status: number): Reply =>
  answer(status, "<!doctype html><title>Gateway</title><h1>Sign in to the proxy</h1>", {
    "content-type": "text/html; charset=utf-8"
  })

/**
 * Cuts the connection without an answer.
 *
 * @category replies
 * @since 0.1.0
 */
export const drop: Reply = { bytes: "", after: "reset" }

/**
 * Never answers.
 *
 * @category replies
 * @since 0.1.0
 */
export const hang: Reply = { bytes: "", after: "hang" }

const parse = (text: string): Seen | undefined => {
  const end = text.indexOf("\r\n\r\n")
  if (end === -1) return undefined
  const [line = "", ...lines] = text.slice(0, end).split("\r\n")
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()])
  )
  const body = text.slice(end + 4)
  if (Buffer.byteLength(body) < Number(headers["content-length"] ?? 0)) return undefined
  const [method = "", path = ""] = line.split(" ")
  return { line, method, path, headers, body }
}

const conversation = (script: Script, seen: Array<Seen>) => (socket: Net.Socket) => {
  let text = ""
  socket.on("error", () => {})
  socket.on("data", (chunk) => {
    text += chunk.toString("utf8")
    const request = parse(text)
    if (request === undefined) return
    text = ""
    const reply = script(request, seen.push(request) - 1)
    if (reply.after === "end") socket.end(reply.bytes)
    else {
      socket.write(reply.bytes, () => {
        if (reply.after === "reset") socket.resetAndDestroy()
      })
    }
  })
}

const listen = (
  scheme: "http" | "https",
  server: Net.Server,
  seen: ReadonlyArray<Seen>
): Effect.Effect<Server, never, Scope.Scope> => {
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket: Net.Socket) => sockets.add(socket))
  const stop = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ origin: `${scheme}://127.0.0.1:${port}`, port, seen, stop }))
      })
    }),
    () => Effect.sync(stop)
  )
}

/**
 * Answers requests as the script says. One request is one connection.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serve = (script: Script): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.suspend(() => {
    const seen: Array<Seen> = []
    return listen("http", Net.createServer(conversation(script, seen)), seen)
  })

/**
 * The same behind a certificate that nobody trusts.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serveTls = (script: Script): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.suspend(() => {
    const seen: Array<Seen> = []
    const server = Tls.createServer({ key: selfSigned.key, cert: selfSigned.cert }, conversation(script, seen))
    server.on("tlsClientError", () => {})
    return listen("https", server, seen)
  })

/**
 * Writes the same bytes to whoever sends anything, HTTP or not.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serveAtOnce = (bytes: string): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.suspend(() =>
    listen(
      "http",
      Net.createServer((socket) => {
        socket.on("error", () => {})
        socket.once("data", () => socket.end(bytes))
      }),
      []
    )
  )

/**
 * An address of this machine at which nobody listens.
 *
 * @category constructors
 * @since 0.1.0
 */
export const nobody: Effect.Effect<string> = Effect.map(Effect.scoped(serve(() => drop)), ({ origin }) => origin)

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
