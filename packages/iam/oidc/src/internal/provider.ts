/**
 * The bridge to oauth4webapi: it builds the requests and judges the answers, Effect's `HttpClient` sends the ones and
 * reads the others, and Effect's clock tells the time. What an answer with tokens amounts to is tokenAnswer.ts's.
 */
import { IamError, Malformed, Misconfigured, Unavailable, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type * as Session from "@effect-authn/core/session/Session"
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
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as oauth from "oauth4webapi"
import * as ClientAuthentication from "../ClientAuthentication.ts"
import * as OidcMetadata from "../OidcMetadata.ts"
import type { Settings } from "../OidcOptions.ts"
import * as Dpop from "./dpop.ts"
import * as Refusal from "./refusal.ts"
import * as Signature from "./signature.ts"

interface Init {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: unknown
  readonly signal?: AbortSignal | undefined
}

// Less than this is no difference between two clocks that tell whole seconds.
const isFar = (self: Duration.Duration, that: Duration.Duration): boolean =>
  Math.abs(Duration.toMillis(self) - Duration.toMillis(that)) >= 5000

/** What a request function of oauth4webapi is called with. */
export interface RequestContext {
  readonly as: oauth.AuthorizationServer
  readonly client: oauth.Client
  readonly auth: oauth.ClientAuth
  readonly options: {
    readonly signal: AbortSignal
    readonly [oauth.allowInsecureRequests]: boolean
    readonly [oauth.customFetch]: (url: string, init: Init) => Promise<Response>
    readonly DPoP?: oauth.DPoPHandle
  }
}

/**
 * An answer, and what it was asked for with: the provider's metadata, the way in which the client was shown, and the key to
 * which its tokens are bound.
 */
export interface Answered extends IamHttp.Answer {
  readonly as: OidcMetadata.Checked
  readonly way: string | undefined
  readonly proofKey: Session.ProofKey | undefined
}

/**
 * - `way`: how the provider took the client last, as a session remembers it.
 * - `endpoint`: where the request goes; the token endpoint unless told.
 * - `address`: the endpoint of a session's own login, which counts more than the metadata.
 * - `heard`: is told the status, also where the answer cannot be read.
 * - `bound`: the key to which the tokens are bound.
 */
export interface RequestOptions {
  readonly way?: string | undefined
  readonly endpoint?: EndpointName | undefined
  readonly address?: string | undefined
  readonly heard?: ((status: number) => void) | undefined
  readonly bound?: Dpop.Bound | undefined
}

type MemberName = keyof OidcMetadata.OidcMetadata
type EndpointName = Extract<MemberName, `${string}_endpoint` | "jwks_uri">

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
  const dpop = yield* Dpop.make(issuer)
  const isLoopback = new URL(issuer).protocol === "http:"
  const hasCertificate = settings.clientAuthentication.method === "tls_client_auth"

  const call = (method: string, ...secrets: ReadonlyArray<Redacted.Redacted>): IamHttp.Call => ({
    issuer,
    method,
    secrets,
    timeLimit: settings.policy.timeLimit
  })

  const hand = settings.metadata === undefined
    ? undefined
    : yield* Effect.result(OidcMetadata.given(issuer, settings.metadata, call("configure")))

  /** Where the endpoints are, as far as the provider tells. What goes wrong here happened before anything else was sent. */
  const discovered: Effect.Effect<OidcMetadata.Checked, IamError> = yield* Effect.cachedWithTTL(
    Effect.provideService(OidcMetadata.discover(issuer, call("discover")), HttpClient.HttpClient, http).pipe(
      Effect.catchReasons("IamError", {
        Unavailable: ({ detail, retryAfter }) =>
          IamHttp.error(call("discover"), new Unavailable({ sent: "no", detail, retryAfter })),
        Malformed: ({ detail }) => IamHttp.error(call("discover"), new Misconfigured({ detail }))
      })
    ),
    (exit) => Exit.isSuccess(exit) ? "1 day" : Duration.zero
  )

  /** The metadata, with a member of it if there is one. Nothing is discovered for what the caller gives. */
  const metadata = (name: MemberName): Effect.Effect<OidcMetadata.Checked, IamError> => {
    if (hand === undefined) return discovered
    if (Result.isFailure(hand)) return Effect.fail(hand.failure)
    const given = hand.success
    return given[name] !== undefined ? Effect.succeed(given) : discovered.pipe(
      Effect.map((found) => OidcMetadata.merge(found, given)),
      // A caller gives metadata where the provider's own cannot be had, or is wrong.
      Effect.catchReason("IamError", "Misconfigured", () => Effect.succeed(given))
    )
  }

  /** The address of an endpoint, or `Unsupported` where the provider has none. */
  const endpoint = (name: EndpointName, method: string) =>
    Effect.flatMap(metadata(name), (as) => {
      const address = as[name]
      if (address !== undefined) return Effect.succeed(address)
      return Effect.fail(IamHttp.error(
        call(method),
        as.insecure.includes(name)
          ? new Misconfigured({ detail: OidcMetadata.insecureEndpoint(name) })
          : new Unsupported({ detail: `the provider has no ${name}` })
      ))
    })

  /** Fails where a login that asks for an id_token cannot get one that is verified, as far as the metadata at hand tells. */
  const openId = Effect.fnUntraced(function*(
    as: OidcMetadata.Checked,
    method: string
  ): Effect.fn.Return<void, IamError> {
    const why = settings.scopes.includes("openid") ? OidcMetadata.withoutOpenId(as) : undefined
    if (why !== undefined) return yield* IamHttp.error(call(method), new Misconfigured({ detail: why }))
  })

  /** Where the keys are, by the metadata that an answer was asked for with, or by what else can be found out. */
  const jwksUri = (as: OidcMetadata.Checked): Effect.Effect<string | undefined, IamError> =>
    as.jwks_uri === undefined ? Effect.map(metadata("jwks_uri"), (as) => as.jwks_uri) : Effect.succeed(as.jwks_uri)

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
    Effect.map(Effect.context(), (context) => (url: string, init: Init) => {
      let nonce: string | undefined
      const tapped = HttpClient.tap(http, ({ headers, status }) =>
        Effect.sync(() => {
          nonce = headers["dpop-nonce"]
          heard(status)
        }))
      return Effect.runPromiseWith(context)(
        IamHttp.execute(toRequest(url, init), call).pipe(
          Effect.map((answer) => {
            seen(answer)
            return toResponse(answer.status, answer.body, nonce)
          }),
          Effect.provideService(HttpClient.HttpClient, tapped)
        ),
        init.signal === undefined ? {} : { signal: init.signal }
      )
    })

  const once = Effect.fnUntraced(function*(
    call: IamHttp.Call,
    as: OidcMetadata.Checked,
    auth: oauth.ClientAuth,
    ahead: Duration.Duration,
    start: (context: RequestContext) => Promise<Response>,
    { bound, heard }: Pick<RequestOptions, "bound" | "heard">
  ): Effect.fn.Return<{ readonly answer: IamHttp.Answer; readonly url: URL }, IamError> {
    const client = yield* clientAt(ahead)
    let answer: IamHttp.Answer | undefined
    let url = new URL(issuer)
    const fetch = yield* fetchVia(call, (received) => {
      answer = received
    }, heard)
    yield* Effect.tryPromise({
      try: (signal) =>
        start({
          as,
          client,
          auth,
          options: {
            signal,
            [oauth.allowInsecureRequests]: isLoopback,
            [oauth.customFetch]: (address: string, init: Init) => {
              url = new URL(address)
              return fetch(address, init)
            },
            ...(bound === undefined ? {} : { DPoP: bound.handle })
          }
        }),
      catch: (cause) =>
        isIamError(cause)
          ? cause
          : IamHttp.error(call, new Misconfigured({ detail: `the request could not be made: ${messageOf(cause)}` }))
    })
    if (answer === undefined) return yield* IamHttp.error(call, new Malformed({ detail: "no answer" }))
    return { answer, url }
  })

  /**
   * A provider that wants a nonce in the proof names it, and one by whose clock a proof is too old, or of the future, tells
   * the time: neither has done anything else (RFC 9449, section 8). Each is asked once more.
   */
  const attempt = Effect.fnUntraced(function*(
    ...request: Parameters<typeof once>
  ): Effect.fn.Return<IamHttp.Answer, IamError> {
    const asked = once(...request)
    const first = yield* asked
    const [, , , , , { bound }] = request
    if (bound === undefined) return first.answer
    const { answer, url } = wantsNonce(first.answer) ? yield* asked : first
    return Refusal.codeOf(answer) === "invalid_dpop_proof" && (yield* dpop.keepTime(answer.serverTime, url))
      ? (yield* asked).answer
      : answer
  })

  // A session knows its own endpoints also where the provider's metadata cannot be had.
  const nothing: OidcMetadata.Checked = { issuer, insecure: [] }

  /** The metadata for a request to an endpoint, or to the address that a session has for it. */
  const metadataFor = (name: EndpointName, address: string | undefined) =>
    address === undefined
      ? metadata(name)
      : Effect.map(Effect.orElseSucceed(metadata(name), () => nothing), (as): OidcMetadata.Checked => ({
        ...as,
        [name]: address,
        ...(hasCertificate ? { mtls_endpoint_aliases: { ...as.mtls_endpoint_aliases, [name]: address } } : {})
      }))

  // What the provider took last: the way to show the client, and how far its clock was ahead of ours.
  let taken: string | undefined
  let ahead = Duration.zero

  /**
   * Sends one request of oauth4webapi, authenticated as the client, and reads the whole answer. Where the provider refuses
   * the client, it is shown by the provider's clock, and then in its other ways.
   */
  const request = Effect.fnUntraced(function*(
    asked: IamHttp.Call,
    start: (context: RequestContext) => Promise<Response>,
    { address, bound, endpoint = "token_endpoint", heard, way: remembered }: RequestOptions = {}
  ): Effect.fn.Return<Answered, IamError> {
    const { secrets, ways } = yield* authentication.show
    const call = { ...asked, secrets: [...asked.secrets, ...secrets] }
    const as = yield* metadataFor(endpoint, address)
    if (addressIn(as, endpoint) === undefined) {
      const detail = as.insecure.includes(endpoint)
        ? OidcMetadata.insecureEndpoint(endpoint)
        : `the provider's metadata names no ${endpoint}: check the issuer, or name it in the option \`metadata\``
      return yield* IamHttp.error(call, new Misconfigured({ detail }))
    }
    const send = (auth: oauth.ClientAuth, ahead: Duration.Duration) =>
      attempt(call, as, auth, ahead, start, { bound, heard })
    const rank = ({ name }: ClientAuthentication.Way) => name === remembered ? 0 : name === taken ? 1 : 2
    const [first, ...others] = ways(as.token_endpoint_auth_methods_supported ?? [])
    const proofKey = bound?.proofKey
    let refused: Answered | undefined
    for (const { auth, isDated, name } of [first, ...others].toSorted((self, that) => rank(self) - rank(that))) {
      let answer = yield* send(auth, ahead)
      const theirs = TokenSet.clockOffset(answer.serverTime, answer.receivedAt)
      if (isDated === true && Refusal.isOfClient(answer) && isFar(theirs, ahead)) {
        answer = yield* send(auth, theirs)
        if (!Refusal.isOfClient(answer)) {
          ahead = theirs
          yield* Effect.logWarning(
            `the clocks of this machine and of ${issuer} differ by ${Math.round(Duration.toSeconds(theirs))} s`
          )
        }
      }
      if (!Refusal.isOfClient(answer)) {
        taken = name
        return { ...answer, as, way: name, proofKey }
      }
      refused ??= { ...answer, as, way: name, proofKey }
    }
    return refused ?? (yield* IamHttp.error(call, new Malformed({ detail: "no answer" })))
  })

  /** The same for an endpoint that is shown a token, and no client. */
  const present = Effect.fnUntraced(function*(
    call: IamHttp.Call,
    start: (context: RequestContext) => Promise<Response>,
    { address, bound, endpoint }: {
      readonly address: string
      readonly endpoint: EndpointName
      readonly bound: Dpop.Bound | undefined
    }
  ): Effect.fn.Return<Answered, IamError> {
    const as = yield* metadataFor(endpoint, address)
    const answer = yield* attempt(call, as, oauth.None(), Duration.zero, start, { bound })
    return { ...answer, as, way: undefined, proofKey: bound?.proofKey }
  })

  /** The key for a new login, where its tokens are to be bound to one. */
  const binding: Effect.Effect<Dpop.Bound | undefined, IamError> = settings.dpop
    ? Effect.flatMap(
      metadata("dpop_signing_alg_values_supported"),
      ({ dpop_signing_alg_values_supported: supported = [Dpop.algorithm] }) =>
        supported.includes(Dpop.algorithm)
          ? dpop.create
          : Effect.fail(IamHttp.error(
            call("login"),
            new Misconfigured({
              detail: `the provider takes no proofs of ${Dpop.algorithm}: leave the option \`dpop\` out`
            })
          ))
    )
    : Effect.undefined

  /** The key of a session, where its tokens are bound to one. */
  const bindingOf = ({ proofKey }: { readonly proofKey?: Session.ProofKey | undefined }) =>
    proofKey === undefined ? Effect.undefined : dpop.of(proofKey)

  /** Where the requests to an endpoint go, by the metadata. */
  const addressIn = (as: OidcMetadata.Checked, name: EndpointName): string | undefined =>
    (hasCertificate ? as.mtls_endpoint_aliases?.[name] : undefined) ?? as[name]

  return {
    settings,
    call,
    metadata,
    endpoint,
    openId,
    jwksUri,
    addressIn,
    request,
    present,
    binding,
    bindingOf,
    keepTime: dpop.keepTime,
    clientAt,
    verify
  }
})

const toRequest = (url: string, { body, headers, method }: Init): HttpClientRequest.HttpClientRequest => {
  const request = method === "POST" ? HttpClientRequest.post(url) : HttpClientRequest.get(url)
  const described = HttpClientRequest.setHeaders(request, headers)
  return body instanceof URLSearchParams ? HttpClientRequest.bodyUrlParams(described, body) : described
}

const toResponse = (status: number, body: Option.Option<Schema.JsonObject>, nonce: string | undefined): Response => {
  const headers = nonce === undefined ? {} : { "dpop-nonce": nonce }
  return Option.isSome(body) ? Response.json(body.value, { status, headers }) : new Response(null, { status, headers })
}

const wantsNonce = (answer: IamHttp.Answer): boolean =>
  Refusal.codeOf(answer) === "use_dpop_nonce" || /\buse_dpop_nonce\b/.test(answer.challenge)

// The messages of oauth4webapi hold no values of what they are about. Those of a platform do: `Headers` quotes the value.
export const messageOf = (cause: unknown): string => {
  if (!Predicate.isError(cause)) return "unknown error"
  const isOwn = Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) &&
    cause.code.startsWith("OAUTH_")
  return isOwn ? cause.message : cause.name
}
