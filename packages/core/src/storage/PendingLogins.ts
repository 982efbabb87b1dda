/**
 * Logins that began in a browser and have not come back yet.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Aead from "effect/crypto/Aead"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { TokenStorageError } from "./TokenStorageError.ts"

/**
 * What a server must remember between sending a browser to the IAM and the browser's return: the PKCE verifier, the nonce,
 * who asked. Any machine that shares the storage can finish what another one began.
 *
 * **Gotchas**
 *
 * The identifier is the `state` of the request (RFC 6749, section 10.12) or something as hard to guess: whoever knows it
 * takes the login. A login holds secrets, and with DPoP the private key of the session to come: a storage that others can
 * read keeps it `sealed`.
 *
 * @category services
 * @since 0.1.0
 */
export class PendingLogins extends Context.Service<PendingLogins, {
  /** Keeps a login for `timeToLive`, by the clock of the storage. It replaces an earlier one of the same identifier. */
  readonly put: (
    id: Redacted.Redacted,
    login: Redacted.Redacted,
    timeToLive: Duration.Duration
  ) => Effect.Effect<void, TokenStorageError>
  /** Gives a login and removes it, so that of many who ask one gets it. `None`: unknown, taken, or past its end. */
  readonly take: (id: Redacted.Redacted) => Effect.Effect<Option.Option<Redacted.Redacted>, TokenStorageError>
}>()("@effect-authn/core/storage/PendingLogins") {}

/**
 * Pending logins in this process's memory. They end with the layer.
 *
 * **Example** (Once and never again)
 *
 * ```ts import.meta.vitest
 * import { PendingLogins } from "@effect-authn/core"
 * import { Duration, Effect, Redacted } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const pending = yield* PendingLogins.PendingLogins
 *   const state = Redacted.make("state-of-the-request")
 *   yield* pending.put(state, Redacted.make("the verifier"), Duration.minutes(10))
 *   return [(yield* pending.take(state))._tag, (yield* pending.take(state))._tag]
 * })
 *
 * await Effect.runPromise(Effect.provide(program, PendingLogins.layerMemory)) // => ["Some", "None"]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<PendingLogins> = Layer.sync(PendingLogins, () => {
  const held = new Map<string, { readonly login: Redacted.Redacted; readonly endsAt: number }>()
  return PendingLogins.of({
    put: (id, login, timeToLive) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        for (const [other, { endsAt }] of held) if (endsAt <= now) held.delete(other)
        held.set(Redacted.value(id), { login, endsAt: now + Duration.toMillis(timeToLive) })
      }),
    take: (id) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const found = held.get(Redacted.value(id))
        held.delete(Redacted.value(id))
        return found === undefined || found.endsAt <= now ? Option.none() : Option.some(found.login)
      })
  })
})

const algorithm = Aead.aes256Gcm
const purpose = new TextEncoder().encode("effect-authn pending login")

/**
 * Seals each login before a storage gets to see it (AES-256-GCM, NIST SP 800-38D), with a key that is made of its identifier
 * (HKDF, RFC 5869). The identifier is with the browser, so that whoever reads the storage alone, or a copy of it, reads no
 * login. The storage must not keep the identifier itself, but a digest of it.
 *
 * **When to use**
 *
 * Use in a storage of your own. `SqlTokenStorage` and `RedisTokenStorage` do so.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sealed = Effect.fnUntraced(function*(
  pendingLogins: PendingLogins["Service"]
): Effect.fn.Return<PendingLogins["Service"], never, Aead.Aead | Kdf.Kdf | SecureRandom.SecureRandom> {
  const aead = yield* Aead.Aead
  const kdf = yield* Kdf.Kdf
  const random = yield* SecureRandom.SecureRandom
  const keyOf = (id: Redacted.Redacted) =>
    kdf.derive(Kdf.hkdfSha256, new TextEncoder().encode(Redacted.value(id)), {
      salt: new Uint8Array(),
      info: purpose,
      length: algorithm.keyLength
    }).pipe(Effect.flatMap((bytes) => Aead.key(algorithm, bytes)), Effect.orDie)

  const opened = Effect.fnUntraced(function*(id: Redacted.Redacted, text: string) {
    const bytes = Result.getOrUndefined(Base64Url.decode(text))
    if (bytes === undefined || bytes.length < algorithm.nonceLength) return Option.none()
    const nonce = bytes.slice(0, algorithm.nonceLength)
    const plain = yield* Effect.option(
      aead.decrypt(yield* keyOf(id), bytes.slice(algorithm.nonceLength), { nonce })
    )
    return Option.map(plain, (bytes) => Redacted.make(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)))
  })

  return PendingLogins.of({
    put: Effect.fnUntraced(function*(id, login, timeToLive) {
      const nonce = yield* random.randomBytes(algorithm.nonceLength)
      const plain = new TextEncoder().encode(Redacted.value(login))
      const data = yield* Effect.orDie(aead.encrypt(yield* keyOf(id), plain, { nonce }))
      yield* pendingLogins.put(id, Redacted.make(Base64Url.encode(new Uint8Array([...nonce, ...data]))), timeToLive)
    }),
    take: Effect.fnUntraced(function*(id) {
      const found = yield* pendingLogins.take(id)
      return Option.isNone(found) ? found : yield* opened(id, Redacted.value(found.value))
    })
  })
})
