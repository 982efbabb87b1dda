/** What an answer says: it is read to its end, up to a limit, and nothing of it is shown that was a secret. */
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { wholeBody } from "../../internal/wholeBody.ts"
import { type IamError, Malformed, Unavailable } from "../IamError.ts"
import { type Call, error } from "./call.ts"
import { quote, safe } from "./quote.ts"

/**
 * What the IAM said, when it could be asked.
 *
 * - `body` is there when the answer is a JSON object: only such an answer can be the IAM's own word.
 * - `jwt` is the whole answer where it looks like a JWT, as userinfo may be.
 * - `isEmpty` tells an answer without a body, which some servers send, from one that is not theirs.
 * - `shape` describes the answer for a message: `status 200 with text/html`.
 * - `message` is what the server says about it, safe to show: one line of at most 200 characters, from the fields
 *   `message`, `detail`, `errors` and `details`, or else `error` and `error_description`, or else from what others call
 *   them, without the credentials that
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

// JSON has no infinity: a number that is too large for this machine is the largest that it has.
const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown, {
  reviver: (_name, value) =>
    typeof value === "number" ? Math.max(-Number.MAX_VALUE, Math.min(value, Number.MAX_VALUE)) : value
}))
// What was parsed is JSON: to look at each member once more would only limit its depth.
const isParsedObject = (value: unknown): value is Schema.JsonObject => Predicate.isObject(value)

const textOf = (
  response: HttpClientResponse.HttpClientResponse,
  call: Call
): Effect.Effect<string, IamError | HttpClientError.HttpClientError> =>
  wholeBody(
    response.stream,
    () => error(call, new Malformed({ detail: `status ${response.status} with more than 1 MiB` }))
  ).pipe(
    Effect.catchIf(
      (failure) => failure._tag === "HttpClientError" && failure.reason._tag === "EmptyBodyError",
      () => Effect.succeed("")
    )
  )

/** Reads an answer, of which 2xx and 4xx are the IAM's. */
export const read = (
  response: HttpClientResponse.HttpClientResponse,
  call: Call
): Effect.Effect<Answer, IamError | HttpClientError.HttpClientError> =>
  Effect.gen(function*() {
    const text = yield* textOf(response, call)
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

// A date is meant in the clock of the server that wrote it.
const retryAfter = (headers: Headers.Headers, serverNow: DateTime.Utc): Duration.Duration | undefined => {
  const parsed = Headers.parseRetryAfter(headers["retry-after"] ?? "")
  return Result.isFailure(parsed)
    ? undefined
    : Headers.retryAfterDelay(parsed.success, DateTime.toEpochMillis(serverNow))
}

const said = (value: Schema.Json | undefined): string => {
  if (typeof value === "string") return value
  // FastAPI lists `{ loc, msg, input }`, and `input` is what was sent.
  if (!isObject(value)) return ""
  const members = membersOf(value)
  return words.map((name) => members.get(name)).find((text) => typeof text === "string") ?? ""
}

/** The members of an object: names are the same in any case, and with or without what parts their words. */
export const membersOf = (value: Schema.JsonObject): ReadonlyMap<string, Schema.Json> =>
  new Map(Object.entries(value).map(([name, member]) => [name.replaceAll(/[_-]/g, "").toLowerCase(), member]))

// What objects within an answer call their words, the longest first.
const words = [
  "message",
  "msg",
  "errormessage",
  "faultstring",
  "errordescription",
  "detail",
  "description",
  "reason",
  "title",
  "error",
  "code",
  "name"
]

const isObject = Schema.is(Schema.JsonObject)

// What Microsoft's servers add to each description. It changes with each answer, and helps only whoever has their logs.
const tracing = /\s*\b(trace id|correlation id|request id|timestamp): [\w:.-]+( [\d:.]+Z)?/gi

const ofTokens = new Set(["access_token", "refresh_token", "id_token", "device_code"])

// An answer may say back what it brings itself, wherever in it that stands.
const tokensIn = (value: Schema.Json | undefined, depth = 0): ReadonlyArray<Redacted.Redacted> => {
  if (depth > 3) return []
  if (Array.isArray(value)) return value.flatMap((item) => tokensIn(item, depth + 1))
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([name, member]) =>
    typeof member === "string" ? ofTokens.has(name) ? [Redacted.make(member)] : [] : tokensIn(member, depth + 1)
  )
}

const serverMessage = (body: Schema.JsonObject, secrets: ReadonlyArray<Redacted.Redacted>): Option.Option<string> => {
  const members = membersOf(body)
  const saidIn = (...names: ReadonlyArray<string>) =>
    names.flatMap((name) => {
      const value = members.get(name)
      return (Array.isArray(value) ? value.map(said) : [said(value)]).filter((text) => text !== "")
    })
  const texts = saidIn("message", "detail", "errors", "details")
  // OAuth has words of its own (RFC 6749, section 5.2).
  const ofOAuth = texts.length > 0 ? texts : saidIn("error", "errordescription")
  const all = ofOAuth.length > 0
    ? ofOAuth
    : saidIn(
      "errormessage",
      "fault",
      "errmsg",
      "msg",
      "description",
      "reason",
      "title",
      "data",
      "result",
      "code",
      "errorcode"
    )
  const message = quote([...new Set(all)].join(": ").replace(tracing, ""), [...secrets, ...tokensIn(body)])
  return message === "" ? Option.none() : Option.some(message)
}
