/**
 * A reverse proxy on loopback that lets an honest server behave badly, and writes down what it was asked.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { ServeError } from "effect/http/HttpServerError"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type * as SimulatorApi from "./SimulatorApi.ts"

/**
 * What the next `count` requests of a route meet, written `<route>:<what>:<count>`:
 *
 * - a status from 400 to 599: that status with an OAuth error, and nothing is forwarded;
 * - `empty400`: 400 without a body; `html`: 200 with a page; `html502`: 502 with a page;
 * - `drop`: the connection is cut, and nothing is forwarded; `hang`: no answer, ever;
 * - `lost`: the server acts, and then the connection is cut;
 * - `slow_down`: 400 with that error of a device flow (RFC 8628, section 3.5).
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = `${string}:${number | FaultKind}:${number}`

/**
 * The faults of a route that are no mere status; `Fault` says what each does.
 *
 * @category models
 * @since 0.1.0
 */
export type FaultKind = typeof FaultKind.Type

/**
 * Its schema.
 *
 * @category models
 * @since 0.1.0
 */
export const FaultKind = Schema.Literals(["empty400", "html", "html502", "drop", "hang", "lost", "slow_down"])

const isFaultKind = Schema.is(FaultKind)

/**
 * - `fail`: the faults that are still to come.
 * - `latency`: how long an answer is held back.
 * - `clockSkew`: how far the `Date` header is ahead (negative: behind). What the server itself writes stays as it is.
 * - `interval`: the `interval` in seconds of a device authorization answer, which the server may leave out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Knobs {
  readonly fail?: ReadonlyArray<Fault>
  readonly latency?: Duration.Input
  readonly clockSkew?: Duration.Input
  readonly interval?: number
}

/**
 * One request, as the proxy saw it: the shape of the simulator's ledger, with the proxy's own route names, and the
 * `grant_type` of a token request.
 *
 * @category models
 * @since 0.1.0
 */
export interface LedgerEntry extends Omit<SimulatorApi.LedgerEntry, "route" | "subject"> {
  readonly route: string
  readonly grant?: string
}

/**
 * A running proxy.
 *
 * @category models
 * @since 0.1.0
 */
export interface FaultProxy {
  /** Where it listens, `http://127.0.0.1:PORT`. */
  readonly address: string
  /** Names the server behind it by its address. Until then the proxy answers 503. */
  readonly forwardTo: (target: string) => Effect.Effect<void>
  /** Changes the named knobs and leaves the others; `fail` replaces the faults still to come. */
  readonly setKnobs: (knobs: Knobs) => Effect.Effect<void>
  /** The knobs as they stand; `fail` has the faults still to come. */
  readonly knobs: Effect.Effect<Knobs>
  /** Every request in order of arrival. */
  readonly ledger: Effect.Effect<ReadonlyArray<LedgerEntry>>
  /** Empties the ledger. */
  readonly forget: Effect.Effect<void>
}

interface Fate {
  readonly what: number | FaultKind
  readonly route: string
  left: number
}

type MutableEntry = { -readonly [K in keyof LedgerEntry]: LedgerEntry[K] }

/**
 * An answer as it goes out, without a length: that of its body is written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly status: number
  readonly headers: Http.OutgoingHttpHeaders
  readonly body: Buffer
}

/**
 * A request to the proxy itself. `path` has no query.
 *
 * @category models
 * @since 0.1.0
 */
export interface SteeringRequest {
  readonly method: string
  readonly path: string
  readonly body: string
}

const page = Buffer.from("<!doctype html><title>Gateway</title><h1>Bad gateway</h1>")

const Json = Schema.fromJsonString(Schema.JsonObject)
const decodeObject = Schema.decodeUnknownOption(Json)
const encodeObject = Schema.encodeSync(Json)

/**
 * Starts a proxy on 127.0.0.1, at a free port, until the scope closes. `routes` names the paths, as the ledger shows them
 * and as faults take them; a request of any other path is `page`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: {
  readonly routes?: { readonly [path: string]: string }
}): Effect.Effect<FaultProxy, never, Scope.Scope> => Effect.orDie(makeAt({ port: 0, ...options }))

/**
 * Starts a proxy as `make` does, at a port of one's own, and fails if that is in use. `steer` answers the requests under
 * `/__simulator/`: they meet no fault and no latency, and are not in the ledger.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeAt = Effect.fnUntraced(function*(options: {
  readonly port: number
  readonly routes?: { readonly [path: string]: string }
  readonly steer?: (request: SteeringRequest) => Effect.Effect<Answer>
}): Effect.fn.Return<FaultProxy, ServeError, Scope.Scope> {
  const runFork = Effect.runForkWith(yield* Effect.context())
  let target: string | undefined
  let fates: Array<Fate> = []
  let ledger: Array<MutableEntry> = []
  let knobs: Knobs = {}

  const takeFault = (route: string): string | undefined => {
    const fate = fates.find((fate) => fate.route === route && fate.left > 0)
    if (fate === undefined) return undefined
    fate.left -= 1
    return `${fate.what}`
  }

  const handle = Effect.fnUntraced(function*(request: Http.IncomingMessage, response: Http.ServerResponse) {
    const path = (request.url ?? "/").split("?")[0] ?? "/"
    const body = yield* readAll(request)
    if (options.steer !== undefined && path.startsWith("/__simulator/")) {
      const answer = yield* options.steer({ method: request.method ?? "", path, body: body.toString() })
      response.writeHead(answer.status, answer.headers)
      return response.end(answer.body)
    }
    const grant = new URLSearchParams(body.toString()).get("grant_type")
    const entry: MutableEntry = {
      at: yield* DateTime.now,
      method: request.method ?? "",
      path,
      route: options.routes?.[path] ?? "page",
      status: 0,
      authorization: request.headers.authorization !== undefined,
      ...(grant === null ? {} : { grant })
    }
    ledger.push(entry)
    const fault = takeFault(entry.route)
    if (fault !== undefined) entry.note = /^\d+$/.test(fault) ? `fault ${fault}` : fault
    if (fault === "hang") return yield* Effect.never
    if (fault === "drop") return request.socket.destroy()
    const played = fault === undefined || fault === "lost" ? undefined : play(fault)
    const answer = played ?? (yield* forward(request, body, target))
    if (fault === "lost" || answer === undefined) return request.socket.destroy()
    yield* Effect.sleep(knobs.latency ?? 0)
    const now = DateTime.addDuration(yield* DateTime.now, knobs.clockSkew ?? 0)
    entry.status = answer.status
    response.writeHead(answer.status, { ...answer.headers, date: DateTime.toDateUtc(now).toUTCString() })
    return response.end(entry.route === "device" ? withInterval(answer.body, knobs.interval) : answer.body)
  })

  const { port, server } = yield* listen(options.port, (request, response) => {
    const fiber = runFork(Effect.ignore(handle(request, response)))
    response.once("close", () => fiber.interruptUnsafe())
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
  )

  return {
    address: `http://127.0.0.1:${port}`,
    forwardTo: (address) =>
      Effect.sync(() => {
        target = address
      }),
    setKnobs: (changes) =>
      Effect.sync(() => {
        knobs = { ...knobs, ...changes }
        if (changes.fail !== undefined) fates = changes.fail.map(parse)
      }),
    knobs: Effect.sync(() => ({
      ...knobs,
      fail: fates.filter(({ left }) => left > 0).map(({ left, route, what }): Fault => `${route}:${what}:${left}`)
    })),
    ledger: Effect.sync(() => [...ledger]),
    forget: Effect.sync(() => {
      ledger = []
    })
  }
})

const parse = (fault: Fault): Fate => {
  const [route = "", what = "", count = "1"] = fault.split(":")
  return { route, what: isFaultKind(what) ? what : Number(what), left: Number(count) }
}

const json = (status: number, text: string): Answer => ({
  status,
  headers: { "content-type": "application/json" },
  body: Buffer.from(text)
})

const play = (fault: string): Answer => {
  switch (fault) {
    case "empty400":
      return { status: 400, headers: { "content-length": "0" }, body: Buffer.alloc(0) }
    case "html":
      return { status: 200, headers: { "content-type": "text/html" }, body: page }
    case "html502":
      return { status: 502, headers: { "content-type": "text/html" }, body: page }
    case "slow_down":
      return json(400, `{"error":"slow_down"}`)
    default:
      return json(Number(fault), `{"error":"server_error","error_description":"The proxy was told to fail"}`)
  }
}

const readAll = (message: Http.IncomingMessage): Effect.Effect<Buffer> =>
  Effect.callback((resume) => {
    const chunks: Array<Uint8Array> = []
    message.on("data", (chunk: Uint8Array) => chunks.push(chunk))
    message.once("end", () => resume(Effect.succeed(Buffer.concat(chunks))))
    message.once("error", () => resume(Effect.never))
  })

// The host stays what the client asked for, so that the server writes its addresses with the proxy's port.
const forward = Effect.fnUntraced(function*(
  request: Http.IncomingMessage,
  body: Buffer,
  target: string | undefined
): Effect.fn.Return<Answer | undefined> {
  if (target === undefined) return json(503, `{"error":"temporarily_unavailable"}`)
  const sent = yield* Effect.result(
    Effect.callback<Http.IncomingMessage, Error>((resume) => {
      const onward = Http.request(new URL(request.url ?? "/", target), {
        method: request.method,
        headers: { ...request.headers, connection: "close" },
        agent: false
      })
      onward.once("response", (response) => resume(Effect.succeed(response)))
      onward.once("error", (cause) => resume(Effect.fail(cause)))
      onward.end(body)
      return Effect.sync(() => onward.destroy())
    })
  )
  if (Result.isFailure(sent)) return undefined
  const { connection: _connection, "transfer-encoding": _encoding, "content-length": _length, ...headers } =
    sent.success.headers
  return { status: sent.success.statusCode ?? 502, headers, body: yield* readAll(sent.success) }
})

const withInterval = (body: Buffer, interval: number | undefined): Buffer => {
  const decoded = decodeObject(body.toString())
  return Option.isNone(decoded) || interval === undefined
    ? body
    : Buffer.from(encodeObject({ ...decoded.value, interval }))
}

const listen = (port: number, listener: Http.RequestListener) =>
  Effect.callback<{ readonly server: Http.Server; readonly port: number }, ServeError>((resume) => {
    const server = Http.createServer(listener)
    server.once("error", (cause) => resume(Effect.fail(new ServeError({ cause }))))
    server.listen(port, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed({ server, port: typeof address === "object" && address !== null ? address.port : 0 }))
    })
  })
