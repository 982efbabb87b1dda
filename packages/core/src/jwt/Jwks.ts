/**
 * Key sets (RFC 7517, section 5) to verify tokens with: given, or fetched from their issuer.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as jose from "jose"
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
  Effect.mapError(select(jwks), (detail) => new JwtError({ reason: { _tag: "KeyNotUsable", detail } }))

/**
 * The key set at an issuer's `jwks_uri` (https, or http to this machine), for as long as the program runs. Nothing is
 * fetched before the first token.
 *
 * - `maxAge`: after this the set is fetched again; 10 minutes. When that fails, the known keys serve for another day.
 * - `cooldown`: a token with an unknown `kid` makes the set be fetched again, so that a new key is found at once, but not
 *   within this span after another one has; 30 seconds. So whoever makes up key ids causes no load at the issuer.
 * - `pause`: how long nothing is fetched after a fetch that failed; one second while there is no key at all, else
 *   `cooldown`. Meanwhile a token with an unknown `kid` fails with `JwksUnavailable`.
 * - `timeLimit`: how long one fetch may take; 5 seconds.
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
export const remote = Effect.fnUntraced(function*(url: string, options?: {
  readonly maxAge?: Duration.Input | undefined
  readonly cooldown?: Duration.Input | undefined
  readonly pause?: Duration.Input | undefined
  readonly timeLimit?: Duration.Input | undefined
}): Effect.fn.Return<KeySet, JwtError, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  const turn = yield* Semaphore.make(1)
  const maxAge = nanos(options?.maxAge ?? "10 minutes")
  const cooldown = nanos(options?.cooldown ?? "30 seconds")
  const pause = options?.pause === undefined ? undefined : nanos(options.pause)
  const timeLimit = Duration.fromInputUnsafe(options?.timeLimit ?? "5 seconds")
  const shown = SecureUrl.shown(url)
  const unavailable = (detail: string) => new JwtError({ reason: { _tag: "JwksUnavailable", url: shown, detail } })
  if (!SecureUrl.mayCarrySecrets(url)) {
    return yield* unavailable("write its address as an https URL, so that nobody on the way can put in a key")
  }

  const fetched = Effect.gen(function*() {
    const response = yield* client.execute(HttpClientRequest.get(url, { acceptJson: true }))
    if (response.status !== 200) return yield* unavailable(`it answers with status ${response.status}`)
    const bytes = yield* response.stream.pipe(
      Stream.limitBytes<HttpClientError.HttpClientError | JwtError, never>(
        mostBytes,
        () => Stream.fail(unavailable("its answer has more than 1 MiB"))
      ),
      Stream.mkUint8Array
    )
    const document = yield* Effect.mapError(
      decodeJson(new TextDecoder().decode(bytes)),
      () => unavailable("its answer is not JSON")
    )
    return yield* Effect.mapError(select(document), unavailable)
  }).pipe(
    SecureUrl.withoutRedirects,
    // An issuer has no use for the ids of our traces.
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    Effect.catchTag("HttpClientError", ({ reason }) =>
      Effect.fail(
        unavailable(reason._tag === "EmptyBodyError" ? "its answer is not JSON" : "the request failed")
      )),
    Effect.timeoutOrElse({
      duration: timeLimit,
      orElse: () => Effect.fail(unavailable(`no answer within ${Duration.format(timeLimit)}`))
    })
  )

  let known: { readonly keys: KeySet; readonly at: bigint } | undefined
  let failure: JwtError | undefined
  let notBefore: bigint | undefined
  let fetches = 0

  const keys = Effect.suspend(() =>
    known === undefined ? Effect.fail(failure ?? unavailable("not yet")) : Effect.succeed(known.keys)
  )

  /** Fetches the set, unless somebody did since there were `seen` fetches, or it is too early. */
  const fetchOnce = (seen: number, isForKey: boolean) =>
    turn.withPermit(Effect.gen(function*() {
      if (fetches !== seen) return
      if (notBefore !== undefined && (yield* Clock.monotonicTimeNanos) < notBefore) return
      const outcome = yield* Effect.result(fetched)
      const now = yield* Clock.monotonicTimeNanos
      fetches++
      if (Result.isSuccess(outcome)) {
        known = { keys: outcome.success, at: now }
        failure = undefined
        if (isForKey) notBefore = now + cooldown
        return
      }
      failure = outcome.failure
      // Without any key everybody waits.
      notBefore = now + (pause ?? (known === undefined && cooldown > second ? second : cooldown))
      yield* Effect.logWarning(failure.message)
    }))

  return {
    find: Effect.fnUntraced(function*(header) {
      const seen = fetches
      const isOlderThan = (age: bigint) =>
        Effect.map(Clock.monotonicTimeNanos, (now) => known === undefined || now - known.at >= age)
      if (yield* isOlderThan(maxAge)) yield* fetchOnce(seen, false)
      if (yield* isOlderThan(maxAge + day)) return yield* failure ?? unavailable("it is too old")
      return yield* keys.pipe(
        Effect.flatMap((keys) => keys.find(header)),
        Effect.catchReason("JwtError", "UnknownKey", () =>
          Effect.gen(function*() {
            yield* fetchOnce(seen, true)
            // Where the issuer cannot be asked, nobody knows that the key is none of its own.
            if (failure !== undefined) return yield* failure
            return yield* (yield* keys).find(header)
          }))
      )
    })
  }
})

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))
// A key set is far smaller; whoever sends more fills memory.
const mostBytes = ByteSize.mebibytes(1)

const nanos = (duration: Duration.Input): bigint => Duration.toNanosUnsafe(Duration.fromInputUnsafe(duration))
const second = nanos("1 second")
const day = nanos("1 day")

// One member that is no key must not hide the others, nor must what a key says of itself and nobody needs: here it only
// verifies, and a member that is null says nothing.
const usable = (document: unknown): unknown => {
  if (!Predicate.hasProperty(document, "keys") || !Array.isArray(document.keys)) return document
  const keys = document.keys.filter(Predicate.isObject)
  return keys.length === 0 ? document : {
    keys: keys.map(({ ext: _extractable, ...key }) =>
      Object.fromEntries(
        Object.entries(key).filter(([, value]) => value !== null).map(([name, value]) =>
          name === "key_ops" && Array.isArray(value) && value.includes("verify") ? [name, ["verify"]] : [name, value]
        )
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
