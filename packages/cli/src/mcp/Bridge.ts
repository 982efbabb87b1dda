/**
 * `authn mcp stdio`: standard input and output on the one side, Streamable HTTP on the other. It relays messages of
 * JSON-RPC, and understands of them only what the transport needs: ids, methods, the version, the session.
 */
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as McpAuth from "@effect-authn/mcp/McpAuth"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Output from "../Output.ts"
import * as ParameterHeaders from "./ParameterHeaders.ts"

type Json = { readonly [name: string]: unknown }

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))
const encodeJson = Schema.encodeUnknownSync(Schema.fromJsonString(Schema.Unknown))

const modern = "2026-07-28"
// How long a server that restarts is waited for, and how often a broken stream is taken up again.
const restart = { times: 8, schedule: Schedule.exponential("250 millis") }
const mostResumptions = 10
// What a server of 2026-07-28 says of headers that do not fit their message; what it lists for them is read in this time.
const headerMismatch = -32_020
const mostPages = 100
const patienceForTools = Duration.seconds(15)
// What is under way when the host closes the pipe may still be answered.
const patience = Duration.seconds(2)
// A sign-in, or a server that restarts, is waited for no longer than this behind a pipe that is closed: a host that was
// killed says no more than that.
const farewell = Duration.seconds(5)

const isObject = (value: unknown): value is Json => Predicate.isObject(value)
const text = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

/** The version that a message itself names, as those of 2026-07-28 do. */
const versionIn = (message: Json): string | undefined => {
  const params = isObject(message["params"]) ? message["params"] : {}
  const meta = isObject(params["_meta"]) ? params["_meta"] : {}
  return text(meta["io.modelcontextprotocol/protocolVersion"])
}

/** By what a gateway tells requests of 2026-07-28 apart. `tools` are those that the server has listed. */
const routing = (message: Json, tools: ReturnType<typeof ParameterHeaders.make>): Record<string, string> => {
  const method = text(message["method"])
  if (method === undefined) return {}
  const params = isObject(message["params"]) ? message["params"] : {}
  const name = text(method === "resources/read" ? params["uri"] : params["name"])
  const isNamed = method === "tools/call" || method === "prompts/get" || method === "resources/read"
  if (!isNamed || name === undefined) return { "mcp-method": method }
  return {
    "mcp-method": method,
    "mcp-name": ParameterHeaders.valueOf(name),
    ...(method === "tools/call" ? tools.of(name, params["arguments"]) : {})
  }
}

const unreachable = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"])

/** Whether a request failed before anything of it was sent. */
const isNotSent = (error: unknown): boolean => {
  const seen = [error]
  for (const one of seen) {
    if (!isObject(one) || seen.length > 16) continue
    if (typeof one["code"] === "string" && unreachable.has(one["code"])) return true
    seen.push(one["reason"], one["cause"], ...(Array.isArray(one["errors"]) ? one["errors"] : []))
  }
  return false
}

const checkAddress = "check the address in the configuration of the host"
const shown = (address: string) => IamHttp.quote(SecureUrl.shown(address))

/** The events of a stream that has ended. */
const dataIn = (said: string): ReadonlyArray<string> => {
  const heard: Array<string> = []
  Sse.makeParser((event) => {
    if (event._tag !== "Retry") heard.push(event.data)
  }).feed(said)
  return heard
}

/** A refusal that is no message of JSON-RPC, in words. */
const refusal = ({ headers, request, status }: HttpClientResponse.HttpClientResponse): string => {
  const said = `the server answered with status ${status}`
  if (status === 404 || status === 405 || status === 410) {
    return `${said}: there is no MCP server at ${shown(request.url)}, ${checkAddress}`
  }
  if (status >= 300 && status < 400) {
    return `${said}, a redirect to ${shown(headers["location"] ?? "elsewhere")}, which nothing follows: ${checkAddress}`
  }
  return status === 401 || status === 403
    ? `${said}, and does not say where to sign in: it wants something else than a token of OAuth`
    : said
}

interface Line {
  readonly text: string
  readonly messages: ReadonlyArray<Json>
}

/** Runs until the host closes the pipe. Nothing but the protocol is written to the standard output. */
export const run = Effect.fnUntraced(function*(auth: McpAuth.McpAuth, url: string) {
  const stdio = yield* Stdio.Stdio
  const client = HttpClient.withScope(auth.client)
  let version: string | undefined
  let session: string | undefined
  let initialize: Line | undefined
  let generation = 0
  let isListening = false
  const running = new Map<string, Fiber.Fiber<void>>()
  const tools = ParameterHeaders.make()

  const write = (line: string) => Effect.ignore(Output.raw(`${line.replace(/\r?\n/g, " ")}\n`))

  const fail = (line: Line, detail: string, code = -32_000) =>
    Effect.forEach(
      line.messages.filter((message) => message["id"] !== undefined && message["method"] !== undefined),
      ({ id }) => write(encodeJson({ jsonrpc: "2.0", id, error: { code, message: detail } })),
      { discard: true }
    )

  const headers = (line?: Line): Record<string, string> => {
    const [message] = line?.messages ?? []
    const named = message === undefined ? undefined : versionIn(message)
    const spoken = named ?? version
    return {
      accept: line === undefined ? "text/event-stream" : "application/json, text/event-stream",
      ...(spoken === undefined ? {} : { "mcp-protocol-version": spoken }),
      ...(session === undefined ? {} : { "mcp-session-id": session }),
      ...(named !== undefined && named >= modern && message !== undefined ? routing(message, tools) : {})
    }
  }

  const { origin } = new URL(url)
  const why = (error: HttpClientError.HttpClientError) => {
    const own = McpAuth.reasonOf(error)
    if (Option.isSome(own)) return own.value.message
    const { reason } = IamHttp.unanswered(error, { issuer: origin, method: "connect" })
    return `the server at ${origin} cannot be reached: ${
      reason._tag === "Unavailable" ? reason.detail : reason.message
    }`
  }
  let isToldOf = false

  /** Sends, and waits for a server that is not there for a moment. */
  const send = (request: () => HttpClientRequest.HttpClientRequest) =>
    Effect.suspend(() => client.execute(request())).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          isToldOf = false
        })
      ),
      Effect.tapError((error) => {
        if (isToldOf || Option.isSome(McpAuth.reasonOf(error)) || !isNotSent(error)) return Effect.void
        isToldOf = true
        return Output.say(`authn: ${Output.plain(why(error))} (waiting for it, for about a minute)`)
      }),
      Effect.retry({
        ...restart,
        while: (error) => Option.isNone(McpAuth.reasonOf(error)) && isNotSent(error)
      })
    )

  const post = (line: Line) =>
    send(() =>
      HttpClientRequest.post(url).pipe(
        HttpClientRequest.setHeaders(headers(line)),
        HttpClientRequest.bodyText(line.text, "application/json")
      )
    )

  /** Relays a message of the server, and notes what the transport has to know of it. */
  const relay = (data: string, answered: (id: unknown) => void) =>
    Effect.suspend(() => {
      const message = Option.getOrUndefined(decodeJson(data))
      for (const one of Array.isArray(message) ? message : [message]) {
        if (!isObject(one)) continue
        if (one["method"] === undefined && one["id"] !== undefined) {
          answered(one["id"])
          const result = one["result"]
          tools.note(result)
          if (isObject(result) && initialize?.messages[0]?.["id"] === one["id"]) {
            version = text(result["protocolVersion"]) ?? version
          }
        }
      }
      return message === undefined ? Effect.void : write(data)
    })

  /** Reads a stream of events, and takes it up where it broke, until `isDone`. */
  const events = Effect.fnUntraced(function*(
    first: HttpClientResponse.HttpClientResponse,
    answered: (id: unknown) => void,
    isDone: () => boolean
  ) {
    let response = first
    let last: string | undefined
    let pause = Duration.millis(500)
    for (let resumptions = 0; resumptions <= mostResumptions;) {
      const heard: Array<string> = []
      const parser = Sse.makeParser((event) => {
        if (event._tag === "Retry") {
          pause = Duration.min(event.duration, Duration.seconds(30))
          return
        }
        if (event.id !== undefined && event.id !== "") last = event.id
        if (event.data !== "") heard.push(event.data)
      })
      yield* response.stream.pipe(
        Stream.decodeText(),
        Stream.runForEach((chunk) => {
          parser.feed(chunk)
          if (heard.length > 0) resumptions = 0
          return Effect.forEach(heard.splice(0), (data) => relay(data, answered), { discard: true })
        }),
        // A line that broke ends a stream as its end does.
        Effect.ignore
      )
      if (isDone() || last === undefined) return
      resumptions += 1
      yield* Effect.sleep(pause)
      const from = last
      const again = yield* Effect.result(
        send(() =>
          HttpClientRequest.get(url).pipe(HttpClientRequest.setHeaders({ ...headers(), "last-event-id": from }))
        )
      )
      if (Result.isFailure(again) || again.success.status !== 200) return
      response = again.success
    }
  })

  /** Hears what the server says by itself, where it does. */
  const listen: Effect.Effect<void, never, Stdio.Stdio> = Effect.scoped(Effect.gen(function*() {
    const response = yield* send(() => HttpClientRequest.get(url).pipe(HttpClientRequest.setHeaders(headers())))
    if (response.status !== 200) return false
    yield* events(response, () => {}, () => false)
    return true
  })).pipe(
    Effect.orElseSucceed(() => false),
    Effect.flatMap((wasOpen) =>
      wasOpen ? Effect.andThen(Effect.sleep("1 second"), Effect.suspend(() => listen)) : Effect.void
    )
  )

  /** Opens the session anew, for a server that has forgotten it. */
  const reopen = Effect.fnUntraced(function*(lost: number) {
    if (lost !== generation || initialize === undefined) return initialize !== undefined
    generation += 1
    session = undefined
    const opened = yield* post(initialize)
    if (opened.status >= 300) return false
    session = opened.headers["mcp-session-id"]
    yield* Effect.ignore(Stream.runDrain(opened.stream))
    const ready = encodeJson({ jsonrpc: "2.0", method: "notifications/initialized" })
    yield* post({ text: ready, messages: [{ method: "notifications/initialized" }] })
    return true
  })

  /** What a server says in refusing a message. */
  const errorIn = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<Json | undefined> =>
    response.status < 300 ? Effect.undefined : Effect.map(
      Effect.orElseSucceed(response.text, () => ""),
      (said) => {
        const error = Option.getOrUndefined(decodeJson(said))
        return isObject(error) && isObject(error["error"]) ? error["error"] : undefined
      }
    )

  /** The result in an answer that nobody but the bridge asked for. */
  const resultIn = Effect.fnUntraced(function*(response: HttpClientResponse.HttpClientResponse) {
    const said = yield* response.text
    const heard = (response.headers["content-type"] ?? "").startsWith("text/event-stream") ? dataIn(said) : [said]
    return heard.map((data) => Option.getOrUndefined(decodeJson(data)))
      .map((message) => isObject(message) ? message["result"] : undefined)
      .find(isObject)
  })

  /**
   * Lists the tools for a call whose headers a server has refused, and says whether the call has others now: a host that
   * remembers its list asks for none, and knows nothing of headers. What was refused so was not done.
   */
  const listAnew = (line: Line) =>
    Effect.gen(function*() {
      const [call] = line.messages
      if (call?.["method"] !== "tools/call" || line.messages.length > 1) return false
      const before = encodeJson(headers(line))
      const params = isObject(call["params"]) ? call["params"] : {}
      const { progressToken: _, ..._meta } = isObject(params["_meta"]) ? params["_meta"] : {}
      let cursor: string | undefined
      for (let page = 0; page < mostPages; page += 1) {
        const list = {
          jsonrpc: "2.0",
          id: "authn tools",
          method: "tools/list",
          params: { _meta, ...(cursor === undefined ? {} : { cursor }) }
        }
        const result = yield* resultIn(yield* post({ text: encodeJson(list), messages: [list] }))
        tools.note(result)
        cursor = text(result?.["nextCursor"])
        if (cursor === undefined) break
      }
      return encodeJson(headers(line)) !== before
    }).pipe(
      Effect.timeoutOption(patienceForTools),
      Effect.map(Option.getOrElse(() => false)),
      Effect.orElseSucceed(() => false)
    )

  const exchange = (line: Line) =>
    Effect.scoped(Effect.gen(function*() {
      const waiting = new Set(
        line.messages.filter((message) => message["method"] !== undefined && message["id"] !== undefined)
          .map(({ id }) => id)
      )
      const answered = (id: unknown) => {
        waiting.delete(id)
      }
      const at = generation
      let response = yield* post(line)
      if (response.status === 404 && session !== undefined && (yield* reopen(at))) response = yield* post(line)
      session = response.headers["mcp-session-id"] ?? session
      let remote = yield* errorIn(response)
      if (remote?.["code"] === headerMismatch && (yield* listAnew(line))) {
        response = yield* post(line)
        remote = yield* errorIn(response)
      }
      const type = (response.headers["content-type"] ?? "").split(";")[0]?.trim() ?? ""
      if (response.status >= 300) {
        for (const id of waiting) {
          yield* write(encodeJson({
            jsonrpc: "2.0",
            id,
            error: remote ?? { code: -32_000, message: refusal(response) }
          }))
        }
        return
      }
      if (type === "text/event-stream") yield* events(response, answered, () => waiting.size === 0)
      else {
        const said = yield* response.text
        if (said.trim() !== "") yield* relay(said, answered)
      }
      for (const id of waiting) {
        const detail = type === "text/event-stream"
          ? "the connection to the server broke before its answer came"
          : type === "application/json"
          ? "the server answered without a message of JSON-RPC for this"
          : `there is no MCP server at ${shown(url)}, which answers with ${
            type === "" ? "nothing" : IamHttp.quote(type)
          }: ` +
            checkAddress
        yield* write(encodeJson({ jsonrpc: "2.0", id, error: { code: -32_000, message: detail } }))
      }
    })).pipe(
      Effect.catch((error) => {
        const detail = why(error)
        return Effect.andThen(Output.say(`authn: ${detail}`), fail(line, Output.plain(detail)))
      })
    )

  const handle = Effect.fnUntraced(function*(raw: string) {
    const parsed = Option.getOrUndefined(decodeJson(raw))
    const messages = (Array.isArray(parsed) ? parsed : [parsed]).filter(isObject)
    if (messages.length === 0) {
      return yield* write(
        encodeJson({ jsonrpc: "2.0", id: null, error: { code: -32_700, message: "that is no JSON-RPC message" } })
      )
    }
    const line: Line = { text: raw, messages }
    const methods = new Set(messages.map((message) => message["method"]))
    if (methods.has("initialize")) {
      initialize = line
      // What comes after it needs the session that it opens.
      return yield* exchange(line)
    }
    if (methods.has("notifications/cancelled")) {
      const params = messages[0]?.["params"]
      const id = isObject(params) ? params["requestId"] : undefined
      yield* exchange(line)
      const cancelled = running.get(encodeJson(id ?? null))
      // Without sessions, the end of the connection is what a server hears.
      if (session === undefined && cancelled !== undefined) yield* Fiber.interrupt(cancelled)
      return
    }
    if (methods.has("notifications/initialized")) {
      yield* exchange(line)
      if (!isListening) yield* Effect.forkScoped(listen)
      isListening = true
      return
    }
    const id = encodeJson(messages[0]?.["id"] ?? null)
    const fiber = yield* Effect.forkScoped(Effect.ensuring(exchange(line), Effect.sync(() => running.delete(id))))
    running.set(id, fiber)
  })

  yield* Effect.addFinalizer(() =>
    session === undefined ?
      Effect.void :
      Effect.suspend(() =>
        auth.client.execute(HttpClientRequest.delete(url).pipe(HttpClientRequest.setHeaders(headers())))
      ).pipe(Effect.timeout(patience), Effect.interruptible, Effect.ignore)
  )

  // What is said is read while a sign-in is under way, too: else the end of the pipe would not be seen before its end, and
  // the sign-in of a host that is gone would keep all others from theirs.
  const lines = yield* Queue.unbounded<string, Cause.Done>()
  const reading = stdio.stdin.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.filter((line) => line.trim() !== ""),
    Stream.runForEach((line) => Queue.offer(lines, line)),
    Effect.ensuring(Queue.end(lines))
  )
  const serving = yield* Effect.forkScoped(Stream.runForEach(Stream.fromQueue(lines), handle))
  yield* Effect.raceFirst(reading, Fiber.join(serving))
  const isServed = yield* Effect.timeoutOption(Fiber.join(serving), farewell)
  if (Option.isNone(isServed)) {
    return yield* Output.say("authn: the host has closed the pipe, and what was under way for it is given up")
  }
  yield* Effect.forEach([...running.values()], Fiber.await, { concurrency: "unbounded", discard: true }).pipe(
    Effect.timeoutOption(patience)
  )
}, Effect.scoped)
