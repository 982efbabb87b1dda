/** A server of raw bytes that knows nothing of HTTP libraries nor of ours: what it says is what was typed into it. */
import { Effect } from "effect"
import { createServer, type Socket } from "node:net"

export interface Seen {
  readonly line: string
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export const drop = Symbol("reset the connection")
export const hang = Symbol("never answer")

/** The bytes to write before the connection is closed. */
export type Script = (seen: Seen, index: number) => string | typeof drop | typeof hang

export const raw = (status: string, headers: ReadonlyArray<string>, body: string): string =>
  [`HTTP/1.1 ${status}`, `Content-Length: ${Buffer.byteLength(body)}`, "Connection: close", ...headers, "", body]
    .join("\r\n")

export const json = (status: string, body: unknown, ...headers: ReadonlyArray<string>): string =>
  raw(status, ["Content-Type: application/json", ...headers], JSON.stringify(body))

export const html = (status: string): string =>
  raw(
    status,
    ["Content-Type: text/html; charset=utf-8"],
    "<!doctype html><title>Gateway</title><h1>Sign in to the proxy</h1>"
  )

/** The JSON object of texts that a request carried. */
export const bodyOf = (seen: Pick<Seen, "body"> | undefined) => {
  const body: { readonly [name: string]: string } = JSON.parse(seen?.body ?? "null")
  return body
}

const parse = (bytes: Buffer): Seen | undefined => {
  const text = bytes.toString("utf8")
  const end = text.indexOf("\r\n\r\n")
  if (end < 0) return undefined
  const [line, ...rest] = text.slice(0, end).split("\r\n")
  const headers = new Map(rest.map((header) => {
    const colon = header.indexOf(":")
    return [header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim()] as const
  }))
  const body = text.slice(end + 4)
  return Buffer.byteLength(body) < Number(headers.get("content-length") ?? 0)
    ? undefined
    : { line: line!, headers, body }
}

export const serve = (script: Script) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly origin: string; readonly seen: Array<Seen>; readonly stop: () => void }>((resume) => {
      const seen: Array<Seen> = []
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        let bytes = Buffer.alloc(0)
        socket.on("error", () => {})
        socket.on("data", (chunk) => {
          bytes = Buffer.concat([bytes, chunk])
          const request = parse(bytes)
          if (request === undefined) return
          bytes = Buffer.alloc(0)
          const answer = script(request, seen.push(request) - 1)
          if (answer === drop) socket.resetAndDestroy()
          else if (answer !== hang) socket.end(answer)
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const stop = () => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
        resume(Effect.succeed({ origin: `http://127.0.0.1:${port}`, seen, stop }))
      })
    }),
    ({ stop }) => Effect.sync(stop)
  )
