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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Url from "effect/http/Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as internal from "../internal/inTime.ts"
import * as SecureUrl from "../SecureUrl.ts"
import { type IamError, type IamErrorReason, Malformed, Misconfigured, Unavailable } from "./IamError.ts"
import { type Answer, membersOf as members, read } from "./internal/answer.ts"
import { type Call, error, isOtherServer } from "./internal/call.ts"
import { safe } from "./internal/quote.ts"
import { transportReason } from "./internal/transport.ts"
import * as Redaction from "./Redaction.ts"

export { type Answer } from "./internal/answer.ts"
export { type Call, error } from "./internal/call.ts"
export { quote } from "./internal/quote.ts"

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
      : read(response, call))

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
    : read(response, call)
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
    Effect.catchTag("HttpClientError", (cause) => Effect.fail(unanswered(cause, call)))
  )
}

// A browser hides a redirect behind status 0.
const isRedirect = ({ status }: HttpClientResponse.HttpClientResponse): boolean =>
  status === 0 || (status >= 300 && status < 400)

/**
 * The members of a JSON object by their names in lower case, without hyphens and underscores: providers spell `error_code`,
 * `errorCode` and `Error-Code`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const membersOf: (value: Schema.JsonObject) => ReadonlyMap<string, Schema.Json> = members

/**
 * The error for a request that no answer came to, as `execute` has it: for a dialect or a program that sends its requests
 * itself. Nothing of the request is in it.
 *
 * @category errors
 * @since 0.1.0
 */
export const unanswered = (cause: HttpClientError.HttpClientError, call: Pick<Call, "issuer" | "method">): IamError =>
  error(call, transportReason(cause))

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
