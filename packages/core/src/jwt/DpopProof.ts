/**
 * Proofs that who shows an access token has the key to which it is bound, on the side of the server that is shown it
 * (RFC 9449, section 4.3).
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import * as JwtCodec from "./JwtCodec.ts"
import { TokenDigest } from "./TokenDigest.ts"

/**
 * The proof is none, or not for this request and this token. `detail` may reach whoever sent it.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProofRefused
  extends Schema.TaggedError<ProofRefused>("@effect-authn/core/jwt/DpopProof/ProofRefused")("ProofRefused", {
    detail: Schema.String
  })
{
  override get message(): string {
    return this.detail
  }
}

/**
 * - `origin`: how clients know this server, `https://api.example.com`: the public address where it stands behind a proxy.
 *   It is told and not read from a request, whose `Host` whoever sends it can choose. Several where it has several names.
 *   With a path, `https://example.com/api`, it is that of a proxy which takes the path away from its requests.
 * - `maxAge` (default one minute): how old a proof may be, and how far ahead of this clock.
 * - `remembers` (default 100,000): how many proofs of that time are known, so that none is taken twice. When there are more,
 *   those of the second with the most go, and no other proof of that second is taken. Each verifier remembers its own: where
 *   an API runs several times, a proof may come once to each.
 * - `algorithms` (default ES256, ES384, ES512, EdDSA, Ed25519, RS256, PS256): with what proofs may be signed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly origin: string | ReadonlyArray<string>
  readonly maxAge?: Duration.Input | undefined
  readonly remembers?: number | undefined
  readonly algorithms?: ReadonlyArray<JwtCodec.Algorithm> | undefined
}

/**
 * A request: its header `DPoP`, its method, its path as it was sent, and the access token in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shown {
  readonly proof: string | undefined
  readonly method: string
  readonly path: string
  readonly accessToken: Redacted.Redacted
}

/**
 * Takes each proof once.
 *
 * @category models
 * @since 0.1.0
 */
export interface DpopProof {
  /** Verifies the proof of a request, for a token that is bound to the key with the thumbprint `jkt` (`cnf` of its claims). */
  readonly verify: (shown: Shown, jkt: string) => Effect.Effect<void, ProofRefused>
  /** The algorithms that are taken, for a challenge. */
  readonly algorithms: ReadonlyArray<JwtCodec.Algorithm>
}

const usual: ReadonlyArray<JwtCodec.Algorithm> = ["ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS256"]
const secret = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
// A `jti` is a random text; whoever sends more fills memory.
const longestProof = 8_192

/**
 * Makes a verifier, with a memory of its own of what it has taken.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<DpopProof> {
  const codec = yield* JwtCodec.make
  const digestOf = yield* TokenDigest
  const digest = (text: string): Effect.Effect<string> => Effect.promise(() => Promise.resolve(digestOf(text)))
  const { algorithms = usual, remembers = 100_000 } = options
  const maxAge = Duration.toMillis(Duration.fromInputUnsafe(options.maxAge ?? "1 minute"))
  const origins = [options.origin].flat().map((text) => {
    const { origin, pathname } = new URL(text)
    return { origin, taken: pathname.replace(/\/$/, "") }
  })
  // By the second in which they end.
  const taken = new Map<number, Set<string>>()
  let count = 0
  // The seconds that are forgotten before they are over: whatever ends in one of them may have been taken.
  const forgotten = new Set<number>()

  const refuse = (detail: string) => Effect.fail(new ProofRefused({ detail }))

  const isAddress = (htu: string, path: string): boolean =>
    origins.some(({ origin, taken }) => {
      const own = URL.parse(path, origin)
      const told = URL.parse(htu)
      return own !== null && told !== null && own.origin === origin && told.origin === origin &&
        normal(taken + own.pathname) === normal(told.pathname)
    })

  const forget = (until: number): void => {
    count -= taken.get(until)?.size ?? 0
    taken.delete(until)
  }

  const forgetOld = (now: number): void => {
    for (const until of forgotten) if (until < now) forgotten.delete(until)
    for (const until of taken.keys()) if (until < now) forget(until)
    if (count < remembers || taken.size === 0) return
    // Who sends more than all others keeps them out of no other second; of equal ones the first to end goes.
    const [fullest] = [...taken].reduce((one, other) =>
      other[1].size > one[1].size || (other[1].size === one[1].size && other[0] < one[0]) ? other : one
    )
    forget(fullest)
    forgotten.add(fullest)
  }

  const verify = Effect.fnUntraced(function*(
    { accessToken, method, path, proof }: Shown,
    jkt: string
  ): Effect.fn.Return<void, ProofRefused> {
    if (proof === undefined || proof === "") return yield* refuse("there is no proof in the header DPoP")
    if (proof.length > longestProof || /[\s,]/.test(proof)) return yield* refuse("the header DPoP is not one proof")
    const decoded = JwtCodec.decodeUnverified(proof)
    if (Result.isFailure(decoded)) return yield* refuse("the proof is no JWT")
    const { jwk, typ } = decoded.success.header
    if (typ !== "dpop+jwt") return yield* refuse("the proof's typ is not dpop+jwt")
    if (!Predicate.isObject(jwk) || !isJwk(jwk)) return yield* refuse("the proof names no public key")
    if (secret.some((name) => name in jwk)) return yield* refuse("the proof's key is a private one")
    const thumbprint = yield* Effect.tryPromise({
      try: () => jose.calculateJwkThumbprint(jwk),
      catch: () => new ProofRefused({ detail: "the proof's key is none" })
    })
    if (thumbprint !== jkt) return yield* refuse("the token is bound to another key")
    yield* Effect.mapError(
      codec.verify(Redacted.make(proof), { key: jwk, algorithms, claims: Schema.Unknown }),
      ({ message }) => new ProofRefused({ detail: `the proof: ${message}` })
    )
    const { ath, htm, htu, iat, jti } = decoded.success.claims
    if (htm !== method) return yield* refuse("the proof is for another method")
    if (typeof htu !== "string" || !isAddress(htu, path)) return yield* refuse("the proof is for another address")
    const now = yield* Clock.currentTimeMillis
    if (typeof iat !== "number" || !(Math.abs(now - iat * 1000) <= maxAge)) {
      return yield* refuse("the proof is too old, or of the future")
    }
    if (ath !== (yield* digest(Redacted.value(accessToken)))) return yield* refuse("the proof is for another token")
    if (typeof jti !== "string" || jti === "") return yield* refuse("the proof has no jti")
    const id = yield* digest(`${thumbprint} ${jti}`)
    const until = Math.ceil((iat * 1000 + maxAge) / 1000) * 1000
    forgetOld(now)
    if (forgotten.has(until)) return yield* refuse("too many proofs came with this one's time: make a new one")
    const known = taken.get(until) ?? new Set<string>()
    if (known.has(id)) return yield* refuse("the proof was used before")
    taken.set(until, known.add(id))
    count += 1
  })

  return { verify, algorithms }
})

// RFC 3986, section 6.2.2: what needs no encoding is the same with and without it, and its digits in either case.
const normal = (path: string): string =>
  path.replace(/%[\da-f]{2}/gi, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return /[\w.~-]/.test(character) ? character : encoded.toUpperCase()
  })

const isJwk = (value: object): value is JwtCodec.Jwk => "kty" in value && typeof value.kty === "string"
