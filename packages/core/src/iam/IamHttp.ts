/**
 * The tools with which a REST dialect speaks to its IAM: an address that is safe to send a password to, a request that
 * follows no redirect, and the sorting of everything that can go wrong on the way into the reasons of an `IamError`.
 *
 * A dialect builds a request and says to `ask` what a good answer looks like and what the IAM's refusals mean. Where an
 * IAM says it in other ways, the dialect calls `execute` and reads the `Answer` itself; whatever it does not decide goes
 * to `refused`, or to `unexpected`.
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Url from "effect/http/Url"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as internal from "../internal/inTime.ts"
import * as SecureUrl from "../SecureUrl.ts"
import { IamError, type IamErrorReason, Malformed, Misconfigured, Unavailable } from "./IamError.ts"
import * as Redaction from "./Redaction.ts"

/**
 * One request of a dialect, as its errors name it. `secrets` are the credentials that travel with it: they are taken
 * out of whatever the server echoes. `timeLimit` covers the whole answer; 30 seconds unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly issuer: string
  readonly method: string
  readonly secrets: ReadonlyArray<Redacted.Redacted>
  readonly timeLimit?: Duration.Duration | undefined
}

/**
 * What the IAM said, when it could be asked.
 *
 * - `body` is there when the answer is a JSON object: only such an answer can be the IAM's own word.
 * - `jwt` is the whole answer where it looks like a JWT, as userinfo may be.
 * - `isEmpty` tells an answer without a body, which some servers send, from one that is not theirs.
 * - `shape` describes the answer for a message: `status 200 with text/html`.
 * - `message` is what the server says about it, safe to show: one line of at most 200 characters, from the fields
 *   `message`, `detail`, `errors` and `details`, or else `error` and `error_description`, without the credentials that
 *   were sent and without the ids by which the server finds the request in its own logs.
 * - `challenge` is its `WWW-Authenticate` header, empty where it has none; `retryAfter` is its own wish.
 * - `serverTime` is its `Date` header, `receivedAt` our own clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly status: number
  readonly body: Option.Option<Schema.JsonObject>
  readonly jwt: Option.Option<Redacted.Redacted>
  readonly isEmpty: boolean
  readonly shape: string
  readonly message: Option.Option<string>
  readonly challenge: string
  readonly retryAfter: Duration.Duration | undefined
  readonly serverTime: Option.Option<DateTime.Utc>
  readonly receivedAt: DateTime.Utc
}

/**
 * What the IAM's refusals mean, by status. `detail` is what the IAM says about it, safe to show.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusals {
  readonly [status: number]: (detail: string) => IamErrorReason
}

/**
 * Makes the `IamError` of a call.
 *
 * @category errors
 * @since 0.1.0
 */
export const error = (call: Pick<Call, "issuer" | "method">, reason: IamErrorReason): IamError =>
  new IamError({ issuer: call.issuer, method: call.method, reason })

/**
 * Reads the address of an IAM: https, or http to this machine (`localhost`, 127.0.0.0/8, `::1`), without user, query or
 * fragment. Anything else is `Misconfigured`, with what to write instead.
 *
 * **Example** (Addresses of an IAM)
 *
 * ```ts import.meta.vitest
 * import { IamHttp } from "@effect-authn/core"
 * import { Result } from "effect"
 *
 * Result.isSuccess(IamHttp.endpoint("https://iam.example.com")) // => true
 * Result.isSuccess(IamHttp.endpoint("http://127.0.0.1:4000")) // => true
 * Result.isSuccess(IamHttp.endpoint("http://iam.example.com")) // => false
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const endpoint = (issuer: string): Result.Result<URL, IamError> => {
  // A password in the address must not show up in the error that refuses it.
  const shown = safe(SecureUrl.shown(issuer), 100)
  const refuse = (detail: string) =>
    Result.fail(error({ issuer: shown, method: "configure" }, new Misconfigured({ detail })))
  if (!URL.canParse(issuer) || !/^https?:\/\//i.test(issuer.trim())) {
    return refuse(`"${shown}" is not the address of an IAM: write it as a URL, for example https://iam.example.com`)
  }
  const url = new URL(issuer)
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    return refuse(`an IAM's address has no user, query or fragment: write ${url.origin}${url.pathname}`)
  }
  if (!SecureUrl.mayCarrySecrets(url)) {
    return refuse(
      `plain http would show passwords and tokens to everyone on the way to ${url.hostname}: write https://${url.host}`
    )
  }
  return Result.succeed(url)
}

/**
 * Sends a request that carries a credential, once, and reads the whole answer.
 *
 * - A redirect is not followed, since a 307 would hand on the password: it is `Misconfigured` and names the new origin.
 * - An IAM that cannot be reached, answers half, too late, or with 408, 429 or 5xx, is `Unavailable`.
 * - A certificate that is not trusted is `Misconfigured`.
 * - An answer of more than 1 MiB, decoded, is `Malformed`; no more of it is read.
 *
 * What remains is the IAM's answer: 2xx or 4xx.
 *
 * **Example** (A route of a dialect)
 *
 * ```ts
 * import { IamHttp } from "@effect-authn/core"
 * import { Effect, Option } from "effect"
 * import { HttpClientRequest } from "effect/http"
 *
 * export const name = Effect.fnUntraced(function*(issuer: string) {
 *   const call = { issuer, method: "whoami", secrets: [] }
 *   const answer = yield* IamHttp.execute(HttpClientRequest.get(`${issuer}/me`), call)
 *   const name = Option.flatMapNullishOr(answer.body, (body) => body["name"])
 *   return Option.isSome(name) ? name.value : yield* IamHttp.unexpected(answer, call)
 * })
 * ```
 *
 * @category requests
 * @since 0.1.0
 */
export const execute = (
  request: HttpClientRequest.HttpClientRequest,
  call: Call
): Effect.Effect<Answer, IamError, HttpClient.HttpClient> =>
  send(request, call, (response) =>
    isRedirect(response)
      ? Effect.fail(error(call, new Misconfigured({ detail: redirected(response, call) })))
      : Effect.flatMap(textOf(response, call), (text) => read(response, text, call)))

/**
 * Asks for a public document of an IAM, such as its metadata, without a credential. It may not be there: then `status` and
 * `shape` say what is.
 *
 * Up to five redirects within the origin are followed; one to another origin is an answer without a body, and so is 501.
 * All else is as `execute` has it.
 *
 * @category requests
 * @since 0.1.0
 */
export const lookUp = (
  url: URL,
  call: Call
): Effect.Effect<Pick<Answer, "status" | "body" | "shape">, IamError, HttpClient.HttpClient> =>
  send(HttpClientRequest.get(url, { acceptJson: true }), call, (response) => follow(response, url, call, 5))

const follow = (
  response: HttpClientResponse.HttpClientResponse,
  from: URL,
  call: Call,
  left: number
): Effect.Effect<
  Pick<Answer, "status" | "body" | "shape">,
  IamError | HttpClientError.HttpClientError,
  HttpClient.HttpClient
> => {
  const { status } = response
  if (isRedirect(response)) {
    const to = Option.getOrUndefined(locationOf(response, from))
    if (to === undefined || to.origin !== from.origin || left === 0) {
      const where = to === undefined ? "elsewhere" : `to ${safe(to.origin, 100, call.secrets)}`
      return Effect.succeed({ status, body: Option.none(), shape: `status ${status}, a redirect ${where}` })
    }
    return Effect.flatMap(
      HttpClient.execute(HttpClientRequest.get(to, { acceptJson: true })),
      (next) => follow(next, to, call, left - 1)
    )
  }
  return status === 501
    ? Effect.succeed({ status, body: Option.none(), shape: `status ${status}` })
    : Effect.flatMap(textOf(response, call), (text) => read(response, text, call))
}

const send = <A>(
  request: HttpClientRequest.HttpClientRequest,
  call: Call,
  receive: (
    response: HttpClientResponse.HttpClientResponse
  ) => Effect.Effect<A, IamError | HttpClientError.HttpClientError, HttpClient.HttpClient>
): Effect.Effect<A, IamError, HttpClient.HttpClient> => {
  const timeLimit = call.timeLimit ?? Duration.seconds(30)
  return Effect.flatMap(HttpClient.execute(request), receive).pipe(
    SecureUrl.withoutRedirects,
    Redaction.withoutHeaders,
    // An IAM has no use for the ids of our traces, and in a browser they cost the whole request.
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    inTime(
      timeLimit,
      () => error(call, new Unavailable({ sent: "maybe", detail: `no answer within ${Duration.format(timeLimit)}` }))
    ),
    Effect.catchTag("HttpClientError", (cause) => Effect.fail(error(call, transportReason(cause))))
  )
}

// A browser hides a redirect behind status 0.
const isRedirect = ({ status }: HttpClientResponse.HttpClientResponse): boolean =>
  status === 0 || (status >= 300 && status < 400)

/**
 * Gives an answer a time limit. A program that was frozen (by a lid, by `SIGSTOP`) reads what arrived meanwhile before it
 * says that nothing did.
 *
 * @category combinators
 * @since 0.1.0
 */
export const inTime: <E2>(
  timeLimit: Duration.Duration,
  late: () => E2
) => <A, E, R>(answer: Effect.Effect<A, E, R>) => Effect.Effect<A, E | E2, R> = internal.inTime

/**
 * Sends a request that carries a credential, once, and reads the answer that the IAM should give: 2xx with a JSON object
 * that `answer` decodes. An answer that is another is `refused`. What can go wrong besides says `execute`.
 *
 * @category requests
 * @since 0.1.0
 */
export const ask = <S extends Schema.ConstraintDecoder<unknown>>(
  request: HttpClientRequest.HttpClientRequest,
  call: Call,
  options: { readonly answer: S; readonly refusals: Refusals }
): Effect.Effect<Omit<Answer, "body"> & { readonly body: S["Type"] }, IamError, HttpClient.HttpClient> =>
  Effect.flatMap(execute(request, call), (answer) => {
    const body = answer.status < 300
      ? Option.flatMap(answer.body, Schema.decodeUnknownOption(options.answer))
      : Option.none()
    return Option.isSome(body)
      ? Effect.succeed({ ...answer, body: body.value })
      : Effect.fail(refused(answer, call, options.refusals))
  })

/**
 * The routes of one IAM, for the requests of its dialect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Routes {
  /** The canonical address of the IAM, without a path. */
  readonly issuer: string
  /** `IamHttp.ask`, with the program's `HttpClient`. */
  readonly ask: <S extends Schema.ConstraintDecoder<unknown>>(
    request: HttpClientRequest.HttpClientRequest,
    call: Omit<Call, "issuer">,
    options: { readonly answer: S; readonly refusals: Refusals }
  ) => Effect.Effect<Omit<Answer, "body"> & { readonly body: S["Type"] }, IamError>
}

/**
 * The routes of the IAM at an address, which has to be one that may carry secrets: https, or http to this machine. Any
 * other is `Misconfigured`. Paths in requests are appended to the address.
 *
 * @category constructors
 * @since 0.1.0
 */
export const routes = (address: string): Effect.Effect<Routes, IamError, HttpClient.HttpClient> =>
  Effect.gen(function*() {
    const issuer = (yield* Effect.fromResult(endpoint(address))).origin
    const http = HttpClient.mapRequest(yield* HttpClient.HttpClient, HttpClientRequest.prependUrl(issuer))
    return {
      issuer,
      ask: (request, call, options) =>
        Effect.provideService(ask(request, { ...call, issuer }, options), HttpClient.HttpClient, http)
    }
  })

/**
 * The error for an answer that is not the one that was asked for: what `refusals` has for its status, else `unexpected`.
 *
 * A refusal counts only where it is a JSON object, and so the IAM's own word: the 401 of a proxy has a page.
 *
 * @category errors
 * @since 0.1.0
 */
export const refused = (answer: Answer, call: Call, refusals: Refusals): IamError => {
  const reason = Option.isSome(answer.body) ? refusals[answer.status] : undefined
  return reason === undefined
    ? unexpected(answer, call)
    : error(call, reason(Option.getOrElse(answer.message, () => answer.shape)))
}

/**
 * The error for an answer in which a dialect finds neither what it asked for nor a refusal: a route that is not there is
 * `Misconfigured`; a 4xx that is not the IAM's own word (a proxy's page) is `Unavailable`, since the IAM may have said
 * otherwise; everything else is `Malformed`.
 *
 * @category errors
 * @since 0.1.0
 */
export const unexpected = (answer: Answer, call: Call): IamError => {
  const said = Option.match(answer.message, { onNone: () => "", onSome: (message) => `: ${message}` })
  if (answer.status === 404 || answer.status === 405 || answer.status === 410) {
    const detail = `no such route (${answer.shape}${said}): check that ${call.issuer} is the IAM's address`
    return error(call, new Misconfigured({ detail }))
  }
  return answer.status >= 400 && Option.isNone(answer.body)
    ? error(call, new Unavailable({ sent: "maybe", detail: `${answer.shape}, which is not the IAM's own answer` }))
    : error(call, new Malformed({ detail: `${answer.shape}${said}; ${isOtherServer}` }))
}

// For an answer that no IAM of the dialect would give: an answer about a key or a person comes from the right place.
const isOtherServer = "is this the address of an IAM of this dialect?"

// JSON has no infinity: a number that is too large for this machine is the largest that it has.
const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown, {
  reviver: (_name, value) =>
    typeof value === "number" ? Math.max(-Number.MAX_VALUE, Math.min(value, Number.MAX_VALUE)) : value
}))
// What was parsed is JSON: to look at each member once more would only limit its depth.
const isParsedObject = (value: unknown): value is Schema.JsonObject => Predicate.isObject(value)

// Tokens, key sets and metadata are far smaller; whoever sends more fills memory.
const mostBytes = ByteSize.mebibytes(1)

const textOf = (
  response: HttpClientResponse.HttpClientResponse,
  call: Call
): Effect.Effect<string, IamError | HttpClientError.HttpClientError> =>
  response.stream.pipe(
    Stream.limitBytes<IamError | HttpClientError.HttpClientError, never>(mostBytes, () =>
      Stream.fail(error(call, new Malformed({ detail: `status ${response.status} with more than 1 MiB` })))),
    Stream.mkUint8Array,
    Effect.map((bytes) =>
      new TextDecoder().decode(bytes)
    ),
    Effect.catchIf(
      (failure) => failure._tag === "HttpClientError" && failure.reason._tag === "EmptyBodyError",
      () => Effect.succeed("")
    )
  )

const read = (
  response: HttpClientResponse.HttpClientResponse,
  text: string,
  call: Call
): Effect.Effect<Answer, IamError> =>
  Effect.gen(function*() {
    const receivedAt = yield* DateTime.now
    const { headers, status } = response
    const json = decodeJson(text)
    const body = Option.filter(json, isParsedObject)
    const jwt = /^\s*eyJ[\w-]*(\.[\w-]*){2,4}\s*$/.test(text)
      ? Option.some(Redacted.make(text.trim(), { label: "jwt" }))
      : Option.none()
    const shape = `status ${status} with ${
      text === "" ? "an empty body" : Option.isSome(body)
        ? "JSON"
        : Option.isSome(json)
        ? "JSON that is no object"
        : safe(headers["content-type"]?.split(";")[0] ?? "no content type", 60, call.secrets)
    }`
    const message = Option.flatMap(body, (body) => serverMessage(body, call.secrets))
    const serverTime = Option.flatMap(
      Option.fromNullishOr(headers.date),
      (date) => Result.getSuccess(Headers.parseHttpDate(date))
    )
    const waits = retryAfter(headers, Option.getOrElse(serverTime, () => receivedAt))
    if (status === 408 || status === 425 || status === 429 || status >= 500) {
      return yield* error(
        call,
        new Unavailable({
          sent: status === 425 || status === 429 || status === 503 ? "no" : "maybe",
          detail: Option.match(message, { onNone: () => shape, onSome: (message) => `status ${status}: ${message}` }),
          retryAfter: waits
        })
      )
    }
    const challenge = headers["www-authenticate"] ?? ""
    return {
      status,
      body,
      jwt,
      isEmpty: text === "",
      shape,
      message,
      challenge,
      retryAfter: waits,
      serverTime,
      receivedAt
    }
  })

const locationOf = (response: HttpClientResponse.HttpClientResponse, from: string | URL): Option.Option<URL> =>
  Option.flatMap(
    Option.fromNullishOr(response.headers.location),
    (location) => Result.getSuccess(Url.fromString(location, from))
  )

const redirected = (response: HttpClientResponse.HttpClientResponse, call: Call): string => {
  const to = Option.match(locationOf(response, response.request.url), {
    onNone: () => "elsewhere",
    onSome: (url) => `to ${safe(url.origin, 100, call.secrets)}`
  })
  return `the IAM redirects ${to} (status ${response.status}), and credentials do not follow: use the address it redirects to`
}

// A date is meant in the clock of the server that wrote it.
const retryAfter = (headers: Headers.Headers, serverNow: DateTime.Utc): Duration.Duration | undefined => {
  const parsed = Headers.parseRetryAfter(headers["retry-after"] ?? "")
  return Result.isFailure(parsed)
    ? undefined
    : Headers.retryAfterDelay(parsed.success, DateTime.toEpochMillis(serverNow))
}

// Names of the failures in which nothing was sent. Only codes are read: a message could show a header.
const notSent = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT"
])
const untrusted =
  /^(CERT_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)/

const transportReason = (failure: HttpClientError.HttpClientError): IamErrorReason => {
  if (failure.reason._tag === "InvalidUrlError" || failure.reason._tag === "EncodeError") {
    return new Misconfigured({ detail: "the request could not be built from this address and these credentials" })
  }
  const causes = causesOf(failure.reason.cause)
  const code = causes.map(({ code }) => code).find((code) => typeof code === "string" && /^\w{1,60}$/.test(code))
  if (typeof code === "string" ? code.startsWith("HPE_") : causes.some(({ name }) => name === "HTTPParserError")) {
    return new Malformed({ detail: `the server does not speak HTTP; ${isOtherServer}` })
  }
  if (code === "ERR_PRIVATE_ADDRESS") {
    return new Misconfigured({
      detail: "the address leads into a private network, where no server may send this program: nothing was sent"
    })
  }
  const ofProxy = typeof code === "string" ? proxyReason(code, causes) : undefined
  if (ofProxy !== undefined) return ofProxy
  if (code === "ERR_CLIENT_CERTIFICATE") {
    const own = causes.find(({ code }) => code === "ERR_CLIENT_CERTIFICATE")?.message
    return new Misconfigured({
      detail: typeof own === "string" ? quote(own) : "the client's certificate cannot be used"
    })
  }
  if (typeof code !== "string") return new Unavailable({ sent: "maybe", detail: "the connection failed" })
  if (untrusted.test(code)) {
    return new Misconfigured({
      detail: `the server's certificate is not trusted (${code}): name the certificate of its authority in ` +
        `NODE_EXTRA_CA_CERTS, or start Node with --use-system-ca; if it has expired, it must be renewed`
    })
  }
  if (/^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG))$/.test(code)) {
    return new Misconfigured({
      detail: `the server does not speak TLS (${code}): check scheme and port of its address`
    })
  }
  return notSent.has(code) || causes.some(({ syscall }) => syscall === "connect")
    ? new Unavailable({ sent: "no", detail: `no connection (${code})` })
    : new Unavailable({
      sent: "maybe",
      detail: `the connection broke before the answer was complete (${code})`,
      ...(failure.reason._tag === "TransportError" && isOfIdle(code, causes) ? { wasIdle: true as const } : {})
    })
}

/** What the proxy did that a variable of the environment names. Its address is not told: it may hold a password. */
const proxyReason = (code: string, causes: ReadonlyArray<Cause>): IamErrorReason | undefined => {
  const fact = (name: "variable" | "answer" | "why", unknown: string): string =>
    causes.map((cause) => cause[name]).filter((value) => typeof value === "string")
      .find((value) => /^[\w ]{1,60}$/.test(value)) ?? unknown
  const [variable, answer, why] = [fact("variable", "HTTPS_PROXY"), fact("answer", "no reason"), fact("why", code)]
  const instead = "or name the IAM's host in NO_PROXY where it can be reached without one"
  switch (code) {
    case "ERR_INVALID_PROXY":
      return new Misconfigured({
        detail:
          `${variable} is not the address of a proxy: write http://host:port, with what is special in a user or ` +
          "password percent-encoded, or unset it"
      })
    case "ERR_PROXY_REFUSED":
      return answer === "407" || answer === "SOCKS AUTH_FAILED" || answer === "SOCKS AUTH_REJECTED"
        ? new Misconfigured({
          detail: `the proxy that ${variable} names wants a user and a password, or others than these (${answer}): ` +
            `write http://user:password@host:port there, ${instead}`
        })
        : new Unavailable({
          sent: "no",
          detail:
            `the proxy that ${variable} names did not connect to it (${answer}): ask who runs the proxy, ${instead}`
        })
    case "ERR_PROXY_UNREACHABLE":
      return new Unavailable({
        sent: "no",
        detail:
          `the proxy that ${variable} names cannot be reached (${why}): unset ${variable} if it is not the proxy ` +
          `of this network, ${instead}`
      })
  }
  return undefined
}
// A reset says that nobody read what was sent; a socket that was only closed had answered others before.
const isOfIdle = (code: string, causes: ReadonlyArray<Cause>): boolean =>
  code === "ECONNRESET" || code === "EPIPE" ||
  causes.some(({ socket }) =>
    Predicate.hasProperty(socket, "bytesRead") && typeof socket.bytesRead === "number" && socket.bytesRead > 0
  )

interface Cause {
  readonly name?: unknown
  readonly message?: unknown
  readonly code?: unknown
  readonly syscall?: unknown
  readonly variable?: unknown
  readonly answer?: unknown
  readonly why?: unknown
  readonly socket?: unknown
  readonly cause?: unknown
  readonly errors?: unknown
}

// `fetch` wraps what happened in a TypeError, and a host with two addresses fails with an AggregateError of both.
const causesOf = (cause: unknown, depth = 0): ReadonlyArray<Cause> => {
  if (typeof cause !== "object" || cause === null || depth > 4) return []
  const { cause: inner, errors }: Cause = cause
  return [
    cause,
    ...causesOf(inner, depth + 1),
    ...(Array.isArray(errors) ? errors.flatMap((e) => causesOf(e, depth + 1)) : [])
  ]
}

const said = (value: Schema.Json | undefined): string => {
  if (typeof value === "string") return value
  // FastAPI lists `{ loc, msg, input }`, and `input` is what was sent.
  const text = isObject(value) ? value["message"] ?? value["msg"] : undefined
  return typeof text === "string" ? text : ""
}

const isObject = Schema.is(Schema.JsonObject)

// What Microsoft's servers add to each description. It changes with each answer, and helps only whoever has their logs.
const tracing = /\s*\b(trace id|correlation id|request id|timestamp): [\w:.-]+( [\d:.]+Z)?/gi

// An answer may say back what it brings itself.
const tokensIn = (body: Schema.JsonObject): ReadonlyArray<Redacted.Redacted> =>
  ["access_token", "refresh_token", "id_token", "device_code"].map((name) => body[name])
    .filter(Predicate.isString).map((token) => Redacted.make(token))

const serverMessage = (body: Schema.JsonObject, secrets: ReadonlyArray<Redacted.Redacted>): Option.Option<string> => {
  const saidIn = (...names: ReadonlyArray<string>) =>
    names.flatMap((name) => {
      const value = body[name]
      return (Array.isArray(value) ? value.map(said) : [said(value)]).filter((text) => text !== "")
    })
  const texts = saidIn("message", "detail", "errors", "details")
  // OAuth has words of its own (RFC 6749, section 5.2).
  const all = texts.length > 0 ? texts : saidIn("error", "error_description")
  const message = quote([...new Set(all)].join(": ").replace(tracing, ""), [...secrets, ...tokensIn(body)])
  return message === "" ? Option.none() : Option.some(message)
}

/**
 * What others wrote, fit for one of our messages: one line of at most 200 characters, without `secrets` and without
 * anything that looks like a JWT.
 *
 * **Example** (What a server echoed)
 *
 * ```ts import.meta.vitest
 * import { IamHttp } from "@effect-authn/core"
 * import { Redacted } from "effect"
 *
 * const said = IamHttp.quote("wrong password:\nhunter2", [Redacted.make("hunter2")])
 * said.includes("hunter2") // => false
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export const quote = (text: string, secrets: ReadonlyArray<Redacted.Redacted> = []): string => safe(text, 200, secrets)

const safe = (text: string, limit: number, secrets: ReadonlyArray<Redacted.Redacted> = []): string => {
  const forms = secrets.map(Redacted.value).filter((secret) => secret !== "")
    // A server may echo the body as it came, or an address.
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)])
    .flatMap((secret) => [secret, new URLSearchParams([["", secret]]).toString().slice(1)])
    .flatMap((secret) => [secret, encodeURIComponent(secret.toWellFormed())])
  const scrubbed = forms.reduce(without, text)
    .replace(/\beyJ[\w-]{8,}(\.[\w-]*)*/g, "…")
  const line = scrubbed.replace(/[\s\p{C}]+/gu, " ").trim()
  return line.length > limit ? `${line.slice(0, limit - 1).toWellFormed()}…` : line
}

// A short secret is found in half of all words: it counts only where it stands for itself.
const without = (text: string, secret: string): string =>
  secret.length < 8
    ? text.replaceAll(
      new RegExp(`(?<![\\p{L}\\p{N}_])${secret.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}(?![\\p{L}\\p{N}_])`, "gu"),
      "…"
    )
    : text.replaceAll(secret, "…")
