/**
 * Receives the callbacks of browser logins on this machine (RFC 8252, section 7.3).
 *
 * @since 0.1.0
 */
import {
  type Callback,
  CallbackServer,
  CallbackUnavailable,
  type Received
} from "@effect-authn/core/login/CallbackServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Page from "./internal/callbackPage.ts"
import * as SignInPage from "./internal/signInPage.ts"

/**
 * What the redirect URI looks like, as it is registered at the IAM.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The ports to try, in order, where the IAM accepts only some. Default: one that is free. */
  readonly ports?: ReadonlyArray<number> | undefined
  /**
   * The host in the redirect URI: an IAM may compare it to the letter. Default: `127.0.0.1`. Whatever the name, the
   * server listens on 127.0.0.1 and, where the machine has it, on ::1.
   */
  readonly host?: "127.0.0.1" | "localhost" | "[::1]" | undefined
  /** The path in the redirect URI. Default: `/callback`. */
  readonly path?: `/${string}` | undefined
}

const addresses = ["127.0.0.1", "::1"]
const freePort = 0
// A free port of one address may be taken at the other; the next try gets another one.
const attempts = 8

/** Who waits for a callback with this state. */
type Gate = (
  state: string
) => ((callback: URL, request: Http.IncomingMessage, response: Http.ServerResponse) => void) | undefined

const closed: Gate = () => undefined

/**
 * Makes the server, with no port taken before `open`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): CallbackServer["Service"] => {
  const host = options?.host ?? "127.0.0.1"
  const path = options?.path ?? "/callback"
  const ports = options?.ports ?? Array.from({ length: attempts }, () => freePort)

  const open = Effect.gen(function*(): Effect.fn.Return<Callback, CallbackUnavailable, Scope.Scope> {
    let gate = closed
    let front: ReturnType<typeof SignInPage.make> | undefined
    const { port, taken } = yield* listenOnFirst(ports, (request, response) => {
      if (!isOurs(request)) return Page.send(response, "unknown")
      if (front?.answer(request, response) === true) return
      answer(request, response, path, gate)
    })
    if (port === undefined) {
      const tried = taken.length === 0 ? "no port" : `port ${[...new Set(taken)].join(", ")}`
      return yield* new CallbackUnavailable({ detail: `${tried} of this machine is free for the browser's callback` })
    }
    return {
      redirectUri: `http://${host}:${port}${path}`,
      page: ({ confirmation, url }) =>
        Effect.sync(() => {
          front = SignInPage.make({
            url: new URL(url).href,
            confirmation,
            origin: `http://${host}:${port}`,
            callback: path
          })
          return front.page
        }),
      receive: (state) =>
        Effect.callback<Received>((resume) => {
          let isReceived = false
          gate = (offered) =>
            offered !== state ? undefined : ({ search, searchParams }, request, response) => {
              if (front?.admits(request) === false) return Page.send(response, "otherBrowser")
              if (isReceived) return Page.send(response, "again")
              isReceived = true
              const isDenied = searchParams.get("error") === "access_denied"
              resume(Effect.succeed({
                url: `http://${host}:${port}${path}${search}`,
                finish: (outcome) =>
                  Page.sent(response, outcome === "failure" && isDenied ? "denied" : outcome, front?.forget)
              }))
            }
          return Effect.sync(() => {
            gate = closed
          })
        })
    }
  })

  return CallbackServer.of({ open })
}

/**
 * Receives callbacks at a port of this machine, on loopback only. Others cannot disturb a login: requests that are not
 * the awaited one are answered with a page of plain text, and idle connections hold nothing up.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<CallbackServer> => Layer.succeed(CallbackServer, make(options))

// Another name in `Host` is a page of a stranger whose name was made to point here (DNS rebinding).
const isOurs = ({ headers }: Http.IncomingMessage): boolean =>
  /^(127\.0\.0\.1|localhost|\[::1\]):\d+$/.test(headers.host ?? "")

const answer = (request: Http.IncomingMessage, response: Http.ServerResponse, path: string, gate: Gate): void => {
  const url = URL.parse(request.url ?? "/", "http://127.0.0.1")
  if (url?.pathname !== path) return Page.send(response, "unknown")
  if (request.method === "POST") return posted(request, response, path)
  if (request.method !== "GET") return Page.send(response, "method")
  const [state = "", ...others] = url.searchParams.getAll("state")
  // Some IAMs append `?token=…` to a redirect URI that has its state in a query already.
  const receive = others.length === 0 ? gate(state.replace(/\?.*/s, "")) : undefined
  if (receive === undefined) return Page.send(response, "stranger")
  receive(url, request, response)
}

// A code and what comes with it are far shorter.
const longestForm = 64 * 1024

/**
 * An answer in a form (OAuth 2.0 Form Post Response Mode) is one in an address from here on: a browser sends the cookie of
 * the sign-in with no form of another site, but with the redirect that follows it.
 */
const posted = (request: Http.IncomingMessage, response: Http.ServerResponse, path: string): void => {
  if (!/^application\/x-www-form-urlencoded\b/i.test(request.headers["content-type"] ?? "")) {
    request.resume()
    return Page.send(response, "method")
  }
  const chunks: Array<Buffer> = []
  let length = 0
  request.on("data", (chunk: Buffer) => {
    length += chunk.length
    if (length <= longestForm) chunks.push(chunk)
  })
  request.on("end", () => {
    if (length > longestForm) return Page.send(response, "method")
    const fields = new URLSearchParams(Buffer.concat(chunks).toString())
    response.writeHead(303, { location: `${path}?${fields}`, "cache-control": "no-store", "content-length": 0 })
    return response.end()
  })
}

const listenOnFirst = Effect.fnUntraced(function*(ports: ReadonlyArray<number>, listener: Http.RequestListener) {
  const scope = yield* Effect.scope
  const taken: Array<number> = []
  for (const port of ports) {
    const attempt = yield* Scope.fork(scope)
    const listening = yield* Effect.result(Scope.provide(listenOnBoth(port, listener), attempt))
    if (Result.isSuccess(listening)) return { port: listening.success, taken }
    yield* Scope.close(attempt, Exit.void)
    if (port !== freePort) taken.push(port)
  }
  return { port: undefined, taken }
})

/** The same port on both addresses, as far as the machine has both. */
const listenOnBoth = Effect.fnUntraced(function*(
  wanted: number,
  listener: Http.RequestListener
): Effect.fn.Return<number, NodeJS.ErrnoException, Scope.Scope> {
  let port = wanted
  for (const address of addresses) {
    const listening = yield* Effect.result(listen(port, address, listener))
    if (Result.isSuccess(listening)) port = listening.success
    else if (address === addresses[0] || !isMissing(listening.failure)) return yield* Effect.fail(listening.failure)
  }
  return port
})

const isMissing = ({ code }: NodeJS.ErrnoException): boolean => code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT"

const listen = (port: number, host: string, listener: Http.RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: Http.Server; readonly port: number }, NodeJS.ErrnoException>((resume) => {
      const server = Http.createServer(listener)
      server.on("error", (cause: NodeJS.ErrnoException) => resume(Effect.fail(cause)))
      server.listen({ port, host, exclusive: true }, () => {
        const address = server.address()
        resume(Effect.succeed({ server, port: typeof address === "object" && address !== null ? address.port : port }))
      })
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  ).pipe(Effect.map(({ port }) => port))
