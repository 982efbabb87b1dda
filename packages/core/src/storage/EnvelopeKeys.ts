/**
 * Keys of encrypted sessions that a key management service guards.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Aead from "effect/crypto/Aead"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import { EncryptionKeys, type Key, keyLength } from "./EncryptionKeys.ts"
import { StorageKeyUnavailable } from "./TokenStorageError.ts"

/**
 * A key management service, as far as it is needed: it wraps keys of 32 bytes with a key of its own, which never leaves it,
 * and unwraps them. `message` of a failure is shown to people: why it is away, or who may not use it.
 *
 * **Example** (Where a service of a cloud goes)
 *
 * ```ts
 * import { EncryptedTokenStorage, EnvelopeKeys, TokenStorage } from "@effect-authn/core"
 * import { Effect, Layer, Option, Redacted } from "effect"
 *
 * // of the service's own client, such as `@aws-sdk/client-kms`: Encrypt and Decrypt with a KeyId
 * declare const client: {
 *   readonly encrypt: (keyId: string, plain: Uint8Array) => Promise<Uint8Array>
 *   readonly decrypt: (keyId: string, wrapped: Uint8Array) => Promise<Uint8Array>
 * }
 * const asking = <A>(request: () => Promise<A>) =>
 *   Effect.tryPromise({ try: request, catch: (cause) => ({ message: `the key service: ${String(cause)}` }) })
 *
 * export const storage = EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(
 *   Layer.provide(EnvelopeKeys.layer({
 *     description: "a key in the key service",
 *     keyId: "alias/sessions",
 *     wrap: (plain) => asking(() => client.encrypt("alias/sessions", Redacted.value(plain))),
 *     unwrap: (wrapped, keyId) =>
 *       Effect.map(asking(() => client.decrypt(keyId, wrapped)), (plain) => Option.some(Redacted.make(plain)))
 *   }))
 * )
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Kms {
  /** Where the key is, for people: `a key in the key service`. */
  readonly description: string
  /** The name of the key that wraps now, as `unwrap` gets it later. `Rekey` moves what others have wrapped. */
  readonly keyId: string
  /** Wraps a data key: once a day and process. */
  readonly wrap: (
    plain: Redacted.Redacted<Uint8Array>
  ) => Effect.Effect<Uint8Array, { readonly message: string }>
  /**
   * Unwraps what a key of this name has wrapped; `None` if there is no such key, or it did not wrap this. Once for each data
   * key that a process meets.
   */
  readonly unwrap: (
    wrapped: Uint8Array,
    keyId: string
  ) => Effect.Effect<Option.Option<Redacted.Redacted<Uint8Array>>, { readonly message: string }>
}

/**
 * - `maxAge`: how long a process encrypts with one data key. A key of AES-256-GCM is good for 2^32 sessions. Default: 1 day.
 * - `previous`: the source of the keys of before, which still read; `Rekey` moves what they have encrypted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E, R> {
  readonly maxAge?: Duration.Input | undefined
  readonly previous?: Layer.Layer<EncryptionKeys, E, R> | undefined
}

const scheme = "envelope"

const nameOf = (keyId: string, wrapped: Uint8Array): string =>
  [scheme, Base64Url.encode(new TextEncoder().encode(keyId)), Base64Url.encode(wrapped)].join(".")

const partsOf = (name: string): Option.Option<{ readonly keyId: string; readonly wrapped: Uint8Array }> => {
  const [tag, id, wrapped, ...more] = name.split(".")
  if (tag !== scheme || id === undefined || wrapped === undefined || more.length > 0) return Option.none()
  return Option.getSuccess(Result.all({ keyId: Base64Url.decodeString(id), wrapped: Base64Url.decode(wrapped) }))
}

// A process meets a data key a day of each other process: those of three years and three processes.
const mostUnwrapped = 4096

// How long a service may take for a new data key, and after how long one that was away is asked for it again.
const patience = Duration.seconds(5)
const again = 60_000

type Failure = { readonly message: string }

/** What a service or another source does; the name of its key may not be known before it is asked. */
interface Source {
  readonly description: string
  readonly keyId: Effect.Effect<string, Failure>
  readonly wrap: (plain: Redacted.Redacted<Uint8Array>, keyId: string) => Effect.Effect<Uint8Array, Failure>
  readonly unwrap: Kms["unwrap"]
}

const make = Effect.fnUntraced(function*<E, R>(source: Source, options: Options<E, R> | undefined) {
  const random = yield* SecureRandom.SecureRandom
  const maxAge = Duration.toMillis(options?.maxAge ?? "1 day")
  const previous = options?.previous === undefined
    ? undefined
    : Context.get(yield* Layer.build(options.previous), EncryptionKeys)
  const turn = Semaphore.makeUnsafe(1)
  const unwrapped = new Map<string, Key>()
  let latest: { readonly key: Key; readonly until: number } | undefined

  const unavailable = ({ message }: Failure) => new StorageKeyUnavailable({ detail: message })
  const keyId = Effect.mapError(source.keyId, unavailable)

  const made = Effect.gen(function*() {
    const bytes = Redacted.make(yield* random.randomBytes(keyLength), { label: "key" })
    const id = yield* keyId
    return { name: nameOf(id, yield* Effect.mapError(source.wrap(bytes, id), unavailable)), bytes }
  }).pipe(Effect.timeoutOrElse({
    duration: patience,
    orElse: () =>
      Effect.fail(unavailable({ message: `${source.description}: no answer within ${Duration.format(patience)}` }))
  }))

  const current = Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    if (latest !== undefined && now < latest.until) return latest.key
    const next = yield* Effect.result(made)
    if (Result.isSuccess(next)) {
      latest = { key: next.success, until: now + maxAge }
      return latest.key
    }
    if (latest === undefined) return yield* next.failure
    // A day is a habit and no limit: what is written with the key of before is read as well.
    yield* Effect.logWarning(`a data key is used longer than it should be: ${next.failure.message}`)
    latest = { key: latest.key, until: now + again }
    return latest.key
  }).pipe((asked) => turn.withPermit(asked))

  const named = Effect.fnUntraced(function*(name: string) {
    if (latest?.key.name === name) return Option.some(latest.key)
    const known = unwrapped.get(name)
    if (known !== undefined) return Option.some(known)
    const parts = partsOf(name)
    if (Option.isNone(parts)) return previous === undefined ? Option.none() : yield* previous.named(name)
    const found = yield* Effect.mapError(source.unwrap(parts.value.wrapped, parts.value.keyId), unavailable)
    const bytes = Option.getOrUndefined(Option.filter(found, (bytes) => Redacted.value(bytes).length === keyLength))
    // the source of before may be of this kind
    if (bytes === undefined) return previous === undefined ? Option.none() : yield* previous.named(name)
    const key = { name, bytes }
    if (unwrapped.size >= mostUnwrapped) unwrapped.delete(unwrapped.keys().next().value ?? "")
    unwrapped.set(name, key)
    return Option.some(key)
  })

  return EncryptionKeys.of({
    description: source.description,
    atRest: "encrypted",
    available: Effect.asVoid(current),
    current,
    named,
    isRetired: (name) => Effect.map(keyId, (id) => !Option.exists(partsOf(name), (parts) => parts.keyId === id))
  })
})

/**
 * Encrypts with data keys that a key management service wraps: each process makes one a day, and asks the service once for
 * each data key that it meets, not for each session. The wrapped data key is the name under which a session says what it is
 * encrypted with. While the service is away, a process goes on with the keys that it has, also past their day.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(
  kms: Kms,
  options?: Options<E, R>
): Layer.Layer<EncryptionKeys, E, R> =>
  Layer.effect(EncryptionKeys, make({ ...kms, keyId: Effect.succeed(kms.keyId) }, options)).pipe(
    Layer.provide(SecureRandom.layerWebCrypto)
  )

/**
 * The same without a service: the data keys are wrapped with the key of another source, such as
 * `EncryptionKeys.layerFile`. Where that has several keys, the first one wraps and the others unwrap; what the others have
 * wrapped is what `Rekey` moves.
 *
 * **Example** (Data keys under a key in a file)
 *
 * ```ts
 * import { EncryptedTokenStorage, EncryptionKeys, EnvelopeKeys } from "@effect-authn/core"
 * import { FileTokenStorage } from "@effect-authn/platform-node"
 * import { Layer } from "effect"
 *
 * export const storage = EncryptedTokenStorage.layer(FileTokenStorage.layer()).pipe(
 *   Layer.provide(EnvelopeKeys.layerKeys(EncryptionKeys.layerFile("/run/secrets/session-key")))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerKeys = <E, R, E2 = never, R2 = never>(
  source: Layer.Layer<EncryptionKeys, E, R>,
  options?: Options<E2, R2>
): Layer.Layer<EncryptionKeys, E | E2, R | R2> =>
  Layer.effect(
    EncryptionKeys,
    Effect.gen(function*() {
      const keys = Context.get(yield* Layer.build(source), EncryptionKeys)
      const aead = yield* Aead.Aead
      const random = yield* SecureRandom.SecureRandom
      const keyFrom = ({ bytes }: Key) => Effect.orDie(Aead.key(algorithm, Redacted.value(bytes)))
      const aadOf = (name: string) => new TextEncoder().encode(`effect-authn ${scheme} ${name}`)

      return yield* make({
        description: `${keys.description}, which wraps data keys`,
        keyId: Effect.map(keys.current, ({ name }) => name),
        wrap: (plain, keyId) =>
          Effect.gen(function*() {
            const key = yield* keys.current
            const nonce = yield* random.randomBytes(algorithm.nonceLength)
            const data = yield* Effect.orDie(
              aead.encrypt(yield* keyFrom(key), Redacted.value(plain), { nonce, aad: aadOf(keyId) })
            )
            return new Uint8Array([...nonce, ...data])
          }),
        unwrap: (wrapped, keyId) =>
          Effect.gen(function*() {
            const key = yield* keys.named(keyId)
            if (Option.isNone(key) || wrapped.length <= algorithm.nonceLength) return Option.none()
            const nonce = wrapped.subarray(0, algorithm.nonceLength)
            const plain = aead.decrypt(yield* keyFrom(key.value), wrapped.subarray(algorithm.nonceLength), {
              nonce,
              aad: aadOf(keyId)
            })
            return Option.map(yield* Effect.option(plain), (bytes) => Redacted.make(bytes, { label: "key" }))
          })
      }, options)
    })
  ).pipe(Layer.provide([Layer.provideMerge(Aead.layerWebCrypto, SecureRandom.layerWebCrypto)]))

const algorithm = Aead.aes256Gcm
