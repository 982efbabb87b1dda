/**
 * Key sets (RFC 7517, section 5) to verify tokens with: given, or fetched from their issuer.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as jose from "jose"
import { inTime } from "../internal/inTime.ts"
import { wholeBody } from "../internal/wholeBody.ts"
import * as SecureUrl from "../SecureUrl.ts"
import type { Jwk, KeySet } from "./JwtCodec.ts"
import { JwtError, type JwtErrorReason } from "./JwtError.ts"

/**
 * A key set that is at hand. Only its public keys count; where several fit a token, each is tried.
 *
 * **Example** (A set of one key)
 *
 * ```ts import.meta.vitest
 * import { Jwks } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * const { publicKey } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"])
 * const key = { ...(await crypto.subtle.exportKey("jwk", publicKey)), kty: "EC", kid: "2026" }
 *
 * const find = (kid: string) =>
 *   Jwks.local({ keys: [key] }).pipe(
 *     Effect.flatMap((jwks) => jwks.find({ alg: "ES256", kid })),
 *     Effect.map((keys) => keys.length),
 *     Effect.catchReason("JwtError", "UnknownKey", () => Effect.succeed(0))
 *   )
 * await Effect.runPromise(find("2026")) // => 1
 * await Effect.runPromise(find("2025")) // => 0
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const local = (jwks: { readonly keys: ReadonlyArray<Jwk> }): Effect.Effect<KeySet, JwtError> =>
  select(jwks).pipe(
    Effect.mapBoth({
      onFailure: (detail) => new JwtError({ reason: { _tag: "KeyNotUsable", detail } }),
      onSuccess: (keys) => ({ ...keys, version: Effect.succeed(0) })
    })
  )

/**
 * How a key set is fetched and kept:
 *
 * - `maxAge`: after this the set is fetched again; 10 minutes. When that fails, the known keys serve for another day.
 * - `cooldown`: a token with an unknown `kid`, or with a signature of no known key, makes the set be fetched again, so that a
 *   new key is found at once, but not within this span after another one has; 30 seconds. So whoever makes up key ids or
 *   signatures causes no load at the issuer.
 * - `pause`: how long nothing is fetched after a fetch that failed; one second while there is no key at all, else
 *   `cooldown`. Meanwhile a token with an unknown `kid` fails with `JwksUnavailable`.
 * - `timeLimit`: how long one request may take; 5 seconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface FetchOptions {
  readonly maxAge?: Duration.Input | undefined
  readonly cooldown?: Duration.Input | undefined
  readonly pause?: Duration.Input | undefined
  readonly timeLimit?: Duration.Input | undefined
}

/**
 * The key set at an issuer's `jwks_uri` (https, or http to this machine), for as long as the program runs. Nothing is
 * fetched before the first token.
 *
 * Whoever needs the set while it is being fetched waits for that one fetch. Redirects are not followed.
 *
 * **Example** (Verifying tokens of an issuer)
 *
 * ```ts
 * import { Jwks, JwtCodec } from "@effect-authn/core"
 * import { Effect, Redacted } from "effect"
 *
 * export const verifier = Effect.gen(function*() {
 *   const codec = yield* JwtCodec.JwtCodec
 *   // Make it once: it keeps what it has fetched.
 *   const jwks = yield* Jwks.remote("https://idp.example.com/jwks")
 *   return (token: Redacted.Redacted) =>
 *     codec.verify(token, { jwks, algorithms: ["RS256"], issuer: "https://idp.example.com" })
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const remote = Effect.fnUntraced(function*(
  url: string,
  options?: FetchOptions
): Effect.fn.Return<KeySet, JwtError, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  if (!SecureUrl.mayCarrySecrets(url)) return yield* notSecure(url)
  return yield* kept(url, keysAt(url, options), options, client)
})

/**
 * The key set of an issuer that says itself where its keys are (OpenID Connect Discovery 1.0; RFC 8414), for as long as the
 * program runs. Nothing is fetched before the first token; whenever the keys are fetched, it is asked again where they are.
 *
 * Its metadata must name `issuer` to the letter, and a `jwks_uri` of https (http where the issuer is on this machine). It is
 * looked for in the place of OpenID Connect, and, where that says "not here", in that of RFC 8414. A redirect within the
 * origin is followed to the metadata, and none to the keys.
 *
 * **Example** (Tokens of an issuer)
 *
 * ```ts
 * import { BearerAuth, Jwks, JwtCodec } from "@effect-authn/core"
 * import { Effect, Layer } from "effect"
 * import { FetchHttpClient } from "effect/http"
 *
 * const issuer = "https://idp.example.com"
 *
 * export const layer = Layer.unwrap(
 *   Effect.map(Jwks.discover(issuer), (jwks) =>
 *     BearerAuth.layer({ realm: "notes", issuer, jwks, algorithms: ["RS256"], audience: "https://api.example.com" }))
 * ).pipe(Layer.provide([JwtCodec.layer, FetchHttpClient.layer]))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const discover = (
  issuer: string,
  options?: FetchOptions
): Effect.Effect<KeySet, JwtError, HttpClient.HttpClient> => {
  const url = URL.parse(issuer)
  return url === null || !SecureUrl.mayCarrySecrets(url)
    ? Effect.fail(notSecure(issuer))
    : Effect.flatMap(HttpClient.HttpClient, (client) => {
      const fetched = Effect.flatMap(placeOfKeys(issuer, url, options), (place) => keysAt(place, options))
      return kept(issuer, fetched, options, client)
    })
}

const placeOfKeys = (
  issuer: string,
  { origin, pathname, protocol }: URL,
  options: FetchOptions | undefined
): Fetched<string> =>
  Effect.gen(function*() {
    const refuse = (detail: string) => unavailable(issuer, detail)
    const path = pathname.replace(/\/$/, "")
    const places = [
      `${origin}${path}/.well-known/openid-configuration`,
      `${origin}/.well-known/oauth-authorization-server${path}`
    ]
    for (const place of places) {
      const { document } = yield* lookUp(place, 5, options)
      if (!Predicate.hasProperty(document, "issuer") || !Predicate.isString(document.issuer)) continue
      if (document.issuer !== issuer) {
        return yield* refuse(
          "the metadata there is of another issuer: write the issuer as it calls itself, to the letter"
        )
      }
      const url = Predicate.hasProperty(document, "jwks_uri") ? URL.parse(String(document.jwks_uri)) : null
      if (url === null) return yield* refuse("its metadata names no key set")
      return SecureUrl.mayCarrySecrets(url) && (url.protocol === "https:" || protocol === "http:")
        ? url.href
        : yield* refuse("its metadata names a key set that is not https")
    }
    return yield* refuse("there is no metadata of an issuer: check its address, or use Jwks.remote")
  })

const unavailable = (address: string, detail: string) =>
  new JwtError({ reason: { _tag: "JwksUnavailable", url: SecureUrl.shown(address), detail } })

const notSecure = (address: string) =>
  unavailable(address, "write its address as an https URL, so that nobody on the way can put in a key")

type Fetched<A> = Effect.Effect<A, JwtError, HttpClient.HttpClient>

// Keeps what was fetched last, and fetches when it is due, once for all who wait.
const kept = Effect.fnUntraced(function*(
  address: string,
  fetched: Fetched<Found>,
  options: FetchOptions | undefined,
  client: HttpClient.HttpClient
): Effect.fn.Return<KeySet> {
  const turn = yield* Semaphore.make(1)
  const maxAge = nanos(options?.maxAge ?? "10 minutes")
  const cooldown = nanos(options?.cooldown ?? "30 seconds")
  const pause = options?.pause === undefined ? undefined : nanos(options.pause)

  let known: Found & { readonly at: bigint; readonly version: number } | undefined
  let failure: JwtError | undefined
  let notBefore: bigint | undefined
  let fetches = 0

  /** Fetches the set, unless somebody did since there were `seen` fetches, or it is too early. */
  const fetchOnce = (seen: number, isForKey: boolean) =>
    turn.withPermit(Effect.gen(function*() {
      if (fetches !== seen) return
      if (notBefore !== undefined && (yield* Clock.monotonicTimeNanos) < notBefore) return
      const outcome = yield* Effect.result(Effect.provideService(fetched, HttpClient.HttpClient, client))
      const now = yield* Clock.monotonicTimeNanos
      fetches++
      if (Result.isSuccess(outcome)) {
        const { keys, text } = outcome.success
        known = known?.text === text
          ? { ...known, at: now }
          : { keys, text, at: now, version: known === undefined ? 0 : known.version + 1 }
        failure = undefined
        if (isForKey) notBefore = now + cooldown
        return
      }
      failure = outcome.failure
      // Without any key everybody waits.
      notBefore = now + (pause ?? (known === undefined && cooldown > second ? second : cooldown))
      yield* Effect.logWarning(failure.message)
    }))

  const isOlderThan = (age: bigint) =>
    Effect.map(Clock.monotonicTimeNanos, (now) => known === undefined || now - known.at >= age)

  /** The known keys, after a fetch if that is due, and the number of fetches before. */
  const current = Effect.gen(function*() {
    const seen = fetches
    if (yield* isOlderThan(maxAge)) yield* fetchOnce(seen, false)
    if (known === undefined || (yield* isOlderThan(maxAge + day))) {
      return yield* failure ?? unavailable(address, known === undefined ? "not yet" : "it is too old")
    }
    return { known, seen }
  })

  return {
    version: Effect.map(current, ({ known }) => known.version),
    // Where the issuer cannot be asked, the keys that are known decide: whoever makes up signatures is no outage.
    again: Effect.suspend(() => fetchOnce(fetches, true)),
    find: (header) =>
      Effect.flatMap(
        current,
        ({ known: { keys }, seen }) =>
          Effect.catchReason(keys.find(header), "JwtError", "UnknownKey", (reason) =>
            Effect.gen(function*() {
              yield* fetchOnce(seen, true)
              // Where the issuer cannot be asked, nobody knows that the key is none of its own.
              if (failure !== undefined) return yield* failure
              return yield* known === undefined ? new JwtError({ reason }) : known.keys.find(header)
            }))
      )
  }
})

interface Found {
  readonly keys: KeySet
  readonly text: string
}

const keysAt = (url: string, options: FetchOptions | undefined): Fetched<Found> =>
  Effect.gen(function*() {
    const { document, status, text = "" } = yield* lookUp(url, 0, options)
    if (status !== 200) return yield* unavailable(url, `it answers with status ${status}`)
    if (document === undefined) return yield* unavailable(url, "its answer is not JSON")
    const keys = yield* Effect.mapError(select(document), (detail) => unavailable(url, detail))
    return { keys, text }
  })

interface Answer {
  readonly status: number
  /** What was sent with status 200, and absent with any other. */
  readonly text?: string
  /** Absent where that is not JSON. */
  readonly document?: unknown
}

// Reads a public document, following so many redirects within its origin. An outage is a failure: only an answer can say
// that the document is not there.
const lookUp = (url: string, redirects: number, options: FetchOptions | undefined): Fetched<Answer> => {
  const timeLimit = Duration.fromInputUnsafe(options?.timeLimit ?? "5 seconds")
  const follow = (from: string, left: number): Effect.Effect<
    Answer,
    JwtError | HttpClientError.HttpClientError,
    HttpClient.HttpClient
  > =>
    Effect.gen(function*() {
      const response = yield* HttpClient.execute(HttpClientRequest.get(from, { acceptJson: true }))
      const { status } = response
      if (status >= 300 && status < 400 && left > 0) {
        const to = URL.parse(response.headers["location"] ?? "", from)
        return to?.origin === new URL(from).origin ? yield* follow(to.href, left - 1) : { status }
      }
      if (status === 408 || status === 429 || (status >= 500 && status !== 501)) {
        return yield* unavailable(url, `it answers with status ${status}`)
      }
      if (status !== 200) return { status }
      const text = yield* wholeBody(response.stream, () => unavailable(url, "its answer has more than 1 MiB"))
      return { status, text, document: Option.getOrUndefined(yield* Effect.option(decodeJson(text))) }
    })
  return follow(url, redirects).pipe(
    SecureUrl.withoutRedirects,
    // An issuer has no use for the ids of our traces.
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    inTime(timeLimit, () => unavailable(url, `no answer within ${Duration.format(timeLimit)}`)),
    Effect.catchTag("HttpClientError", ({ reason }) =>
      reason._tag === "EmptyBodyError"
        ? Effect.succeed({ status: 200 })
        : Effect.fail(unavailable(url, "the request failed")))
  )
}

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

const nanos = (duration: Duration.Input): bigint => Duration.toNanosUnsafe(Duration.fromInputUnsafe(duration))
const second = nanos("1 second")
const day = nanos("1 day")

// One member that is no key must not hide the others, nor must what a key says of itself and nobody needs: here it only
// verifies, and a member that is null or empty says nothing. A name that is a number is its digits.
const usable = (document: unknown): unknown => {
  if (!Predicate.hasProperty(document, "keys") || !Array.isArray(document.keys)) return document
  const keys = document.keys.filter(Predicate.isObject)
  return keys.length === 0 ? document : {
    keys: keys.map(({ ext: _extractable, ...key }) =>
      Object.fromEntries(
        Object.entries(key).filter(([name, value]) =>
          value !== null && value !== "" && (name !== "key_ops" || Array.isArray(value))
        ).map(([name, value]) => {
          if (name === "key_ops" && Array.isArray(value) && value.includes("verify")) return [name, ["verify"]]
          return [name, name === "kid" && typeof value === "number" ? String(value) : value]
        })
      )
    )
  }
}

// A key set from a JSON document, or what is wrong with it.
const select = (document: unknown): Effect.Effect<KeySet, string> =>
  Effect.try({
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- jose checks what it is given
    try: () => jose.createLocalJWKSet(usable(document) as jose.JSONWebKeySet),
    catch: () => "it is not a JSON Web Key Set"
  }).pipe(Effect.map((find) => ({
    find: ({ alg, kid }) => {
      const header = { alg: String(alg), ...(typeof kid === "string" ? { kid } : {}) }
      const explain = (cause: unknown) => new JwtError({ reason: reasonOf(cause, header) })
      return Effect.tryPromise({
        try: () => find(header),
        catch: (cause) => cause instanceof jose.errors.JWKSMultipleMatchingKeys ? cause : explain(cause)
      }).pipe(
        Effect.map((key): ReadonlyArray<CryptoKey> => [key]),
        Effect.catchIf(
          (cause) => cause instanceof jose.errors.JWKSMultipleMatchingKeys,
          (candidates) => Stream.runCollect(Stream.fromAsyncIterable<CryptoKey, JwtError>(candidates, explain))
        ),
        Effect.filterOrFail(Arr.isReadonlyArrayNonEmpty, explain)
      )
    }
  })))

// A key id comes from the token: it is shown only if it looks like one.
const reasonOf = (cause: unknown, { alg, kid }: { readonly alg: string; readonly kid?: string }): JwtErrorReason =>
  cause instanceof jose.errors.JWKSNoMatchingKey
    ? { _tag: "UnknownKey", kid: kid !== undefined && /^[\w.:/@+=-]{1,80}$/.test(kid) ? kid : undefined }
    : { _tag: "KeyNotUsable", detail: `one of the key set does not work with ${alg}` }
