/**
 * The bridge to oauth4webapi: it builds the requests and judges the answers, Effect's `HttpClient` sends the ones and
 * reads the others, and Effect's clock tells the time. What an answer with tokens amounts to is tokenAnswer.ts's.
 */
import { IamError, Malformed, Misconfigured, Unavailable, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as oauth from "oauth4webapi"
import * as ClientAuthentication from "../ClientAuthentication.ts"
import * as OidcMetadata from "../OidcMetadata.ts"
import type { Settings } from "../OidcOptions.ts"
import * as Refusal from "./refusal.ts"
import * as Signature from "./signature.ts"

interface Init {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: unknown
  readonly signal?: AbortSignal | undefined
}

/** What a request function of oauth4webapi is called with. */
export interface RequestContext {
  readonly as: oauth.AuthorizationServer
  readonly client: oauth.Client
  readonly auth: oauth.ClientAuth
  readonly options: {
    readonly signal: AbortSignal
    readonly [oauth.allowInsecureRequests]: boolean
    readonly [oauth.customFetch]: (url: string, init: Init) => Promise<Response>
  }
}

/** An answer, and the metadata of the provider that it was asked for with. */
export interface Answered extends IamHttp.Answer {
  readonly as: oauth.AuthorizationServer
}

const isIamError = Schema.is(IamError)

export interface Provider extends Effect.Success<ReturnType<typeof make>> {}

export const make = Effect.fnUntraced(function*(settings: Settings) {
  const http = yield* HttpClient.HttpClient
  const { clientId, issuer } = settings
  const authentication = yield* ClientAuthentication.make(settings.clientAuthentication, {
    issuer,
    clientId,
    timeLimit: settings.policy.timeLimit
  })
  const verify = yield* Signature.make(
    settings,
    (detail) => IamHttp.error({ issuer, method: "configure" }, new Misconfigured({ detail }))
  )
  const isLoopback = new URL(issuer).protocol === "http:"
  const hasCertificate = settings.clientAuthentication.method === "tls_client_auth"

  const call = (method: string, ...secrets: ReadonlyArray<Redacted.Redacted>): IamHttp.Call => ({
    issuer,
    method,
    secrets,
    timeLimit: settings.policy.timeLimit
  })

  /** Where the endpoints are. What goes wrong here happened before anything else was sent. */
  const metadata: Effect.Effect<oauth.AuthorizationServer, IamError> = yield* Effect.cachedWithTTL(
    (settings.metadata === undefined
      ? Effect.provideService(OidcMetadata.discover(issuer, call("discover")), HttpClient.HttpClient, http)
      : OidcMetadata.given(issuer, settings.metadata, call("configure"))).pipe(
        Effect.catchReasons("IamError", {
          Unavailable: ({ detail, retryAfter }) =>
            IamHttp.error(
              call("discover"),
              new Unavailable({ sent: "no", detail, retryAfter })
            ),
          Malformed: ({ detail }) => IamHttp.error(call("discover"), new Misconfigured({ detail }))
        })
      ),
    (exit) => Exit.isSuccess(exit) ? "1 day" : Duration.zero
  )

  /** The address of an endpoint, or `Unsupported` where the provider has none. */
  const endpoint = (name: keyof OidcMetadata.OidcMetadata, method: string) =>
    Effect.flatMap(metadata, (as) => {
      const address = as[name]
      return typeof address === "string"
        ? Effect.succeed(address)
        : Effect.fail(IamHttp.error(call(method), new Unsupported({ detail: `the provider has no ${name}` })))
    })

  // oauth4webapi reads the system's clock: the difference makes it Effect's, or the provider's.
  const clientAt = (offset: Duration.Duration): Effect.Effect<oauth.Client> =>
    Effect.map(Clock.currentTimeMillis, (now) => ({
      client_id: clientId,
      use_mtls_endpoint_aliases: hasCertificate,
      ...(settings.idTokenAlgorithm === undefined
        ? {}
        : { id_token_signed_response_alg: settings.idTokenAlgorithm }),
      [oauth.clockTolerance]: Duration.toSeconds(TokenSet.clockTolerance),
      [oauth.clockSkew]: Math.round(
        (now - Clock.Clock.defaultValue().currentTimeMillisUnsafe() + Duration.toMillis(offset)) / 1000
      )
    }))

  const fetchVia = (
    call: IamHttp.Call,
    seen: (answer: IamHttp.Answer) => void,
    heard: (status: number) => void = () => {}
  ) =>
    Effect.map(Effect.context(), (context) => (url: string, init: Init) =>
      Effect.runPromiseWith(context)(
        IamHttp.execute(toRequest(url, init), call).pipe(
          Effect.map((answer) => {
            seen(answer)
            return toResponse(answer.status, answer.body)
          }),
          Effect.provideService(
            HttpClient.HttpClient,
            HttpClient.tap(http, ({ status }) => Effect.sync(() => heard(status)))
          )
        ),
        init.signal === undefined ? {} : { signal: init.signal }
      ))

  const attempt = Effect.fnUntraced(function*(
    call: IamHttp.Call,
    auth: oauth.ClientAuth,
    start: (context: RequestContext) => Promise<Response>,
    heard?: (status: number) => void
  ): Effect.fn.Return<Answered, IamError> {
    const as = yield* metadata
    const client = yield* clientAt(Duration.zero)
    let answer: IamHttp.Answer | undefined
    const fetch = yield* fetchVia(call, (received) => {
      answer = received
    }, heard)
    yield* Effect.tryPromise({
      try: (signal) =>
        start({
          as,
          client,
          auth,
          options: { signal, [oauth.allowInsecureRequests]: isLoopback, [oauth.customFetch]: fetch }
        }),
      catch: (cause) =>
        isIamError(cause)
          ? cause
          : IamHttp.error(call, new Misconfigured({ detail: `the request could not be made: ${messageOf(cause)}` }))
    })
    if (answer === undefined) return yield* IamHttp.error(call, new Malformed({ detail: "no answer" }))
    return { ...answer, as }
  })

  // The way that the provider took last.
  let taken: string | undefined

  /**
   * Sends one request of oauth4webapi, authenticated as the client, and reads the whole answer. `heard` is told the status
   * also where that fails.
   */
  const request = Effect.fnUntraced(function*(
    asked: IamHttp.Call,
    start: (context: RequestContext) => Promise<Response>,
    heard?: (status: number) => void
  ): Effect.fn.Return<Answered, IamError> {
    const { secrets, ways } = yield* authentication.show
    const call = { ...asked, secrets: [...asked.secrets, ...secrets] }
    const [best, ...rest] = ways((yield* metadata).token_endpoint_auth_methods_supported ?? [])
    const first = [best, ...rest].find(({ name }) => name === taken) ?? best
    const answer = yield* attempt(call, first.auth, start, heard)
    if (!Refusal.isOfClient(answer)) {
      taken = first.name
      return answer
    }
    for (const other of taken === undefined ? rest : []) {
      const next = yield* attempt(call, other.auth, start, heard)
      if (Refusal.isOfClient(next)) continue
      taken = other.name
      return next
    }
    return answer
  })

  /** The same for an endpoint that is shown a token, and no client. */
  const present = (call: IamHttp.Call, start: (context: RequestContext) => Promise<Response>) =>
    attempt(call, oauth.None(), start)

  return { settings, call, metadata, endpoint, request, present, clientAt, verify }
})

const toRequest = (url: string, { body, headers, method }: Init): HttpClientRequest.HttpClientRequest => {
  const request = method === "POST" ? HttpClientRequest.post(url) : HttpClientRequest.get(url)
  const described = HttpClientRequest.setHeaders(request, headers)
  return body instanceof URLSearchParams ? HttpClientRequest.bodyUrlParams(described, body) : described
}

const toResponse = (status: number, body: Option.Option<Schema.JsonObject>): Response =>
  Option.isSome(body) ? Response.json(body.value, { status }) : new Response(null, { status })

// The messages of oauth4webapi hold no values of what they are about. Those of a platform do: `Headers` quotes the value.
export const messageOf = (cause: unknown): string => {
  if (!Predicate.isError(cause)) return "unknown error"
  const isOwn = Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) &&
    cause.code.startsWith("OAUTH_")
  return isOwn ? cause.message : cause.name
}
