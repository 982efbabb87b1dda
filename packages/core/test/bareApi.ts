import { Effect, type Scope } from "effect"
import * as Http from "node:http"

/** One request, as the server saw it. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly authorization: string | undefined
  readonly body: string
}

export interface Answer {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly delayMillis?: number
}

export interface Api {
  readonly url: string
  readonly seen: ReadonlyArray<Seen>
}

/** A server on loopback that imports nothing of ours: it writes down what it sees and answers as it is told. */
export const serve = (answer: (seen: Seen) => Answer = () => ({})): Effect.Effect<Api, never, Scope.Scope> => {
  const seen: Array<Seen> = []
  const server = Http.createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const entry = {
        method: request.method ?? "",
        path: request.url ?? "",
        authorization: request.headers.authorization,
        body: Buffer.concat(chunks).toString()
      }
      seen.push(entry)
      const { body = "", delayMillis = 0, headers = {}, status = 200 } = answer(entry)
      setTimeout(() => response.writeHead(status, headers).end(body), delayMillis)
    })
  })
  const listen = Effect.callback<Api>((resume) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, seen }))
    })
  })
  const close = Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })
  return Effect.acquireRelease(listen, () => close)
}

/** An address at which nobody listens. */
export const nobody: Effect.Effect<string> = Effect.map(Effect.scoped(serve()), ({ url }) => url)
