/**
 * Tokens that only their issuer can read: asked about at its introspection endpoint (RFC 7662), as a `TokenVerifier` of
 * `BearerAuth`.
 *
 * @since 0.1.0
 */
import * as Cache from "effect/Cache"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as UrlParams from "effect/http/UrlParams"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as BearerAuth from "./BearerAuth.ts"
import { type IamError, Malformed, Misconfigured } from "./iam/IamError.ts"
import * as IamHttp from "./iam/IamHttp.ts"
import * as Remembered from "./internal/remembered.ts"
import * as JwtCodec from "./jwt/JwtCodec.ts"

/**
 * A secret as it is, or an effect that gets it for each request, so that one that rotates is the one of now.
 *
 * @category models
 * @since 0.1.0
 */
export type Secret = Redacted.Redacted | Effect.Effect<Redacted.Redacted, Error>

/**
 * How this server proves to the issuer that it may ask (RFC 7662, section 2.1):
 *
 * - `client_secret_basic`, `client_secret_post`: as a client with a secret, in the header or in the body.
 * - `assertion`: as a client with an assertion (RFC 7523), which `token` makes: a signed JWT, or a platform's token.
 * - `bearer`: with an access token of its own.
 * - `tls_client_auth`: as a client with the certificate of the connection (RFC 8705), which the `HttpClient` has.
 *
 * @category models
 * @since 0.1.0
 */
export type Authentication =
  | {
    readonly method: "client_secret_basic" | "client_secret_post"
    readonly clientId: string
    readonly secret: Secret
  }
  | { readonly method: "assertion"; readonly clientId?: string | undefined; readonly token: Secret }
  | { readonly method: "bearer"; readonly token: Secret }
  | { readonly method: "tls_client_auth"; readonly clientId: string }

/**
 * Whom to ask about tokens, and which ones are good:
 *
 * - `endpoint`: the issuer's introspection endpoint, https, or http to this machine.
 * - `authentication`: how this server proves that it may ask.
 * - `audience`: the name of this server, which must be among those that the answer names. `anyAudience: true` in its place
 *   takes tokens that the issuer says nothing about, or that were made for somebody else.
 * - `issuer`: must be the `iss` of the answer where it has one; any unless told.
 * - `maxAge`: for how long an answer is believed, at most until the token ends; one minute. A token that is revoked passes
 *   for so long.
 * - `remember`: for how many tokens answers are kept; 10,000.
 * - `timeLimit`: how long an answer may take; 5 seconds.
 *
 * @category models
 * @since 0.1.0
 */
export type Options =
  & {
    readonly endpoint: string
    readonly authentication: Authentication
    readonly issuer?: string | undefined
    readonly maxAge?: Duration.Input | undefined
    readonly remember?: number | undefined
    readonly timeLimit?: Duration.Input | undefined
  }
  & ({ readonly audience: string | ReadonlyArray<string> } | { readonly anyAudience: true })

/**
 * Makes the verifier. An endpoint that is no https fails as `Misconfigured`.
 *
 * Whoever comes with a token while its issuer is asked about it waits for that one answer. A token that is not active is not
 * asked about again for ten seconds. While the issuer is away, refuses this server or answers nonsense, tokens that are
 * remembered pass; for all others it is `KeysUnavailable`, with the seconds after which the issuer is asked again: its
 * `Retry-After`, a minute at most, or one second.
 *
 * A refresh token is refused, although an issuer may call it active. One that is bound to a key (`cnf`) is good here, and
 * `BearerAuth` asks for the proof.
 *
 * **Example** (Opaque tokens of an issuer)
 *
 * ```ts
 * import { BearerAuth, TokenIntrospection } from "@effect-authn/core"
 * import { Config, Effect, Layer } from "effect"
 * import { FetchHttpClient } from "effect/http"
 *
 * export const layer = Layer.unwrap(Effect.gen(function*() {
 *   const verifier = yield* TokenIntrospection.make({
 *     endpoint: "https://idp.example.com/introspect",
 *     authentication: {
 *       method: "client_secret_basic",
 *       clientId: "notes",
 *       secret: yield* Config.Redacted("NOTES_CLIENT_SECRET")
 *     },
 *     audience: "https://api.example.com"
 *   })
 *   return BearerAuth.layer({ realm: "notes", verifier })
 * })).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<BearerAuth.TokenVerifier, IamError, HttpClient.HttpClient> {
  const { endpoint, remember = 10_000 } = options
  const services = yield* Effect.context<HttpClient.HttpClient>()
  const { origin } = yield* Effect.fromResult(IamHttp.endpoint(endpoint))
  const maxAge = Duration.toMillis(options.maxAge ?? "1 minute")
  const timeLimit = Duration.fromInputUnsafe(options.timeLimit ?? "5 seconds")
  let notBefore = 0

  // An issuer that is away is away for all tokens. What it answers about one keeps no other from being asked about.
  const away = (error: IamError) =>
    Effect.gen(function*() {
      yield* Effect.logError(error.message)
      const { reason } = error
      if (reason._tag !== "Unavailable") return yield* unavailable(briefly)
      const now = yield* Clock.currentTimeMillis
      const wait = reason.retryAfter === undefined ? briefly : Duration.toMillis(reason.retryAfter)
      notBefore = now + Math.min(wait, longest)
      return yield* unavailable(notBefore - now)
    })

  // What the issuer says about a token. An answer that is none of these tells nothing about the token.
  const ask = Effect.fnUntraced(function*(token: Redacted.Redacted) {
    const call = { issuer: origin, method: "introspect", timeLimit }
    const { request, secrets } = yield* authenticated(
      HttpClientRequest.post(endpoint, { acceptJson: true }),
      { token: Redacted.value(token), token_type_hint: "access_token" },
      options.authentication
    ).pipe(
      Effect.mapError(({ message }) =>
        IamHttp.error(call, new Misconfigured({ detail: `its own secret cannot be had: ${message}` }))
      )
    )
    const answer = yield* IamHttp.execute(request, { ...call, secrets: [token, ...secrets] })
    if (answer.status === 400 || answer.status === 401 || answer.status === 403) {
      const said = Option.getOrElse(answer.message, () => answer.shape)
      const detail = `it does not let this server ask about tokens: ${said}`
      return yield* IamHttp.error(call, new Misconfigured({ detail }))
    }
    const payload = Option.getOrUndefined(answer.body)
    if (answer.status !== 200 || payload === undefined || !Predicate.isBoolean(payload["active"])) {
      const error = IamHttp.unexpected(answer, { ...call, secrets: [token, ...secrets] })
      return yield* answer.status < 500 && error.reason._tag === "Unavailable"
        ? IamHttp.error(call, new Misconfigured({ detail: error.reason.detail }))
        : error
    }
    if (!payload["active"]) return undefined
    // A member that is null says nothing.
    const said = Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== null))
    const claims = yield* Effect.mapError(
      decodeClaims(said),
      () =>
        IamHttp.error(call, new Malformed({ detail: "a claim in its answer has another type than RFC 7662 gives it" }))
    )
    return { header: {}, claims, payload: said }
  })

  const verdict = Effect.fnUntraced(function*(verified: BearerAuth.Verified | undefined) {
    if (verified === undefined) return yield* refuse("it is not active: it has ended, was revoked, or is unknown")
    const { aud, iss = options.issuer, nbf } = verified.claims
    const now = yield* Clock.currentTimeMillis
    if (endOf(verified) <= now) return yield* refuse("it has expired")
    if (millisOf(nbf, -Infinity) > now) return yield* refuse("it is not valid yet")
    if (options.issuer !== undefined && iss !== options.issuer) return yield* refuse("it is from another issuer")
    if (!isAccessToken(verified.payload)) return yield* refuse("it is no access token")
    const names = "audience" in options ? [options.audience].flat() : undefined
    if (names !== undefined && ![aud ?? []].flat().some((name) => names.includes(name))) {
      return yield* refuse("it is not meant for this server")
    }
    return verified
  })

  // One question for all who wait. What is good is remembered elsewhere, so that no number of bad tokens displaces it.
  const asked = yield* Cache.makeWith(
    (_digest: string) => Effect.catch(Effect.flatMap(Asked, ask), away),
    {
      capacity: Math.max(remember, 1),
      timeToLive: (exit) =>
        exit._tag === "Failure" ? Duration.millis(briefly) : exit.value === undefined ? refusedFor : Duration.zero,
      requireServicesAt: "lookup"
    }
  )
  const memory = yield* Remembered.make<BearerAuth.Verified>(remember)

  const verifyNow = Effect.fnUntraced(function*(token: Redacted.Redacted, digest: string) {
    const now = yield* Clock.currentTimeMillis
    if (now < notBefore) return yield* unavailable(notBefore - now)
    const answer = yield* Cache.get(asked, digest).pipe(
      Effect.provideService(Asked, token),
      Effect.provideContext(services)
    )
    const verified = yield* verdict(answer)
    memory.remember(digest, verified, Math.min(now + maxAge, endOf(verified)))
    return verified
  })

  return {
    verify: (token) =>
      memory.withKnown(token, (known, digest) => known === undefined ? verifyNow(token, digest) : Effect.succeed(known))
  }
})

class Asked extends Context.Service<Asked, Redacted.Redacted>()("@effect-authn/core/TokenIntrospection/Asked") {}

const briefly = 1_000
const longest = 60_000
const refusedFor = Duration.seconds(10)

const unavailable = (millis: number) => new BearerAuth.KeysUnavailable({ retryAfter: Math.ceil(millis / 1000) })

const refuse = (why: string) => new BearerAuth.Unauthorized({ description: `the token cannot be used: ${why}` })

// Some issuers tell milliseconds.
const millisOf = (time: number | undefined, otherwise: number): number =>
  time === undefined ? otherwise : JwtCodec.isNumericDate(time) ? time * 1000 : time

const endOf = ({ claims: { exp } }: BearerAuth.Verified): number => millisOf(exp, Infinity)

const decodeClaims = Schema.decodeUnknownEffect(JwtCodec.Claims)

// Where issuers say what kind of token it is: `token_type` (RFC 7662), and what some have beside it or in its place.
const kinds = ["token_type", "token_use", "typ"] as const

// One that is bound to a key has to say to which: whoever asks for its proof needs the key.
const isAccessToken = (payload: JwtCodec.JsonObject): boolean =>
  kinds.map((name) => payload[name] ?? undefined).every((kind) =>
    kind === undefined || (typeof kind === "string" &&
      (/^(bearer|access[_ ]?token|jwt|(application\/)?at\+jwt)$/i.test(kind) ||
        (/^dpop$/i.test(kind) && payload["cnf"] !== undefined)))
  )

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// RFC 6749, section 2.3.1: both are form-encoded before they are joined.
const basic = (clientId: string, secret: string): string =>
  `Basic ${Base64.encode([clientId, secret].map((part) => formEncoded(part)).join(":"))}`

const formEncoded = (text: string): string => UrlParams.toString(UrlParams.fromInput({ "": text })).slice(1)

const authenticated = Effect.fnUntraced(function*(
  request: HttpClientRequest.HttpClientRequest,
  form: { readonly [name: string]: string },
  authentication: Authentication
): Effect.fn.Return<
  {
    readonly request: HttpClientRequest.HttpClientRequest
    readonly secrets: ReadonlyArray<Redacted.Redacted>
  },
  Error
> {
  const withBody = (members: { readonly [name: string]: string }) =>
    HttpClientRequest.bodyUrlParams(request, { ...form, ...members })
  if (authentication.method === "tls_client_auth") {
    return { request: withBody({ client_id: authentication.clientId }), secrets: [] }
  }
  const given = "secret" in authentication ? authentication.secret : authentication.token
  const secret = Redacted.isRedacted(given) ? given : yield* given
  const value = Redacted.value(secret)
  switch (authentication.method) {
    case "client_secret_basic": {
      const header = basic(authentication.clientId, value)
      return { request: HttpClientRequest.setHeader(withBody({}), "authorization", header), secrets: [secret] }
    }
    case "client_secret_post":
      return { request: withBody({ client_id: authentication.clientId, client_secret: value }), secrets: [secret] }
    case "bearer":
      return { request: HttpClientRequest.bearerToken(withBody({}), secret), secrets: [secret] }
    case "assertion": {
      const { clientId } = authentication
      const named = clientId === undefined ? {} : { client_id: clientId }
      return {
        request: withBody({ ...named, client_assertion_type: assertionType, client_assertion: value }),
        secrets: [secret]
      }
    }
  }
})
