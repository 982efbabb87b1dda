/**
 * Sessions that are encrypted before a storage gets to see them.
 *
 * @since 0.1.0
 */
import * as Aead from "effect/crypto/Aead"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Session } from "../session/Session.ts"
import * as SessionKey from "../session/SessionKey.ts"
import { EncryptionKeys, type Key } from "./EncryptionKeys.ts"
import type * as SessionLock from "./SessionLock.ts"
import * as TokenStorage from "./TokenStorage.ts"
import { StorageCorrupt, StorageKeyMismatch } from "./TokenStorageError.ts"

// `of` is a digest of the session's key, whose issuer may hold a secret of its own.
const Sealed = Schema.Struct({
  key: Schema.NonEmptyString,
  of: Schema.String,
  nonce: Schema.Uint8ArrayFromBase64Url,
  data: Schema.Uint8ArrayFromBase64Url
})
const Document = Schema.fromJsonString(
  Schema.Struct({ version: Schema.Literal(TokenStorage.envelopeVersion), sealed: Sealed })
)
const encodeDocument = Schema.encodeSync(Document)
const decodeDocument = Schema.decodeUnknownOption(Document)

const algorithm = Aead.aes256Gcm

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

const altered = (place: string) =>
  new StorageCorrupt({ detail: `${place} was altered or damaged after it was encrypted` })

const mostImported = 4096

const sealers = new WeakMap<Session, string>()

/**
 * The name of the key with which a session was encrypted that was read from an encrypted storage of this process; `None`
 * for every other session, and for a changed copy of it.
 *
 * @category accessors
 * @since 0.1.0
 */
export const sealedWith = (session: Session): Option.Option<string> => Option.fromUndefinedOr(sealers.get(session))

const makeCodec = Effect.gen(function*() {
  const aead = yield* Aead.Aead
  const digest = yield* Digest.Digest
  const random = yield* SecureRandom.SecureRandom
  const keys = yield* EncryptionKeys

  // what WebCrypto has imported lies with the key
  const imported = new Map<string, Aead.Key<typeof algorithm>>()
  const digestOf = SessionKey.makeDigest(digest)
  const keyFrom = ({ bytes, name }: Key) => {
    const known = imported.get(name)
    return known !== undefined ? Effect.succeed(known) : Effect.map(
      Effect.orDie(Aead.key(algorithm, Redacted.value(bytes))),
      (key) => {
        if (imported.size >= mostImported) imported.clear()
        imported.set(name, key)
        return key
      }
    )
  }
  // the session's key and the name of the key are authenticated with the session, so that no part can be exchanged
  const boundTo = (key: string, of: string) => bytesOf(JSON.stringify([TokenStorage.envelopeVersion, key, of]))

  const open = Effect.fnUntraced(function*(sealed: typeof Sealed.Type, place: string) {
    const key = yield* keys.named(sealed.key)
    if (Option.isNone(key)) {
      return yield* new StorageKeyMismatch({
        place,
        detail:
          `is encrypted with another key than ${keys.description}: give the right one, or remove it and sign in again`
      })
    }
    if (sealed.nonce.length !== algorithm.nonceLength) return yield* altered(place)
    const plain = yield* aead.decrypt(yield* keyFrom(key.value), sealed.data, {
      nonce: sealed.nonce,
      aad: boundTo(sealed.key, sealed.of)
    }).pipe(
      Effect.catchReason("CryptoError", "DecryptionFailed", () => Effect.fail(altered(place))),
      Effect.catchTag("CryptoError", Effect.die)
    )
    const session = yield* Effect.fromResult(TokenStorage.decode(new TextDecoder().decode(plain), place))
    if ((yield* digestOf(session.key)) !== sealed.of) return yield* altered(place)
    sealers.set(session, sealed.key)
    return session
  })

  const codec: TokenStorage.Codec = {
    atRest: keys.atRest,

    encode: Effect.fnUntraced(function*(session) {
      const key = yield* keys.current
      const of = yield* digestOf(session.key)
      const nonce = yield* random.randomBytes(algorithm.nonceLength)
      const data = yield* aead.encrypt(yield* keyFrom(key), bytesOf(TokenStorage.encode(session)), {
        nonce,
        aad: boundTo(key.name, of)
      }).pipe(Effect.orDie)
      return encodeDocument({ version: TokenStorage.envelopeVersion, sealed: { key: key.name, of, nonce, data } })
    }),

    decode: Effect.fnUntraced(function*(text, place) {
      const document = decodeDocument(text)
      // there are several ways to write the same bytes, and only one of them is ours
      if (Option.isSome(document) && encodeDocument(document.value) === text) {
        return yield* open(document.value.sealed, place)
      }
      return yield* Effect.fromResult(TokenStorage.decode(text, place)).pipe(
        // by its outline it is encrypted
        Effect.catchTag("StorageKeyMismatch", () => Effect.fail(altered(place))),
        Effect.andThen(Effect.fail(
          new StorageKeyMismatch({
            place,
            detail:
              "is not encrypted, and this storage takes encrypted sessions only: move it with StoragePolicy.migrate"
          })
        ))
      )
    })
  }
  return codec
})

const layerCodec = Layer.effect(TokenStorage.Codec, makeCodec).pipe(
  Layer.provide([
    Layer.provideMerge(Aead.layerWebCrypto, SecureRandom.layerWebCrypto),
    Digest.layerWebCrypto
  ])
)

/**
 * A storage as it is, with its lock, compare and set, change feed and rules for damaged and newer documents, that keeps
 * every session encrypted: AES-256-GCM (NIST SP 800-38D) with a key of the `EncryptionKeys` and a random nonce, bound to the
 * session's key and to the name of the encryption key.
 *
 * - A document that was altered, cut or exchanged for another session's is `StorageCorrupt`.
 * - One of another key is `StorageKeyMismatch`, and without a key everything is `StorageKeyUnavailable`: nothing is then replaced,
 *   moved or removed.
 * - After a change of the key, older documents are read as long as the source has their key, and are encrypted anew when
 *   they are next written.
 * - What it does not hide: that there is a session, its size, when it was written, and what the storage puts into names.
 *   An older copy of the same document is as good as the document.
 *
 * The storage has to write with `TokenStorage.Codec`, or building it dies.
 *
 * **Example** (Memory that holds no token in clear)
 *
 * ```ts import.meta.vitest
 * import { EncryptedTokenStorage, EncryptionKeys, TokenStorage } from "@effect-authn/core"
 * import { ConfigProvider, Effect, Layer } from "effect"
 *
 * const variables = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "A".repeat(43) } }))
 * const storage = EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(
 *   Layer.provide(EncryptionKeys.layerEnvironment()),
 *   Layer.provide(variables)
 * )
 *
 * const atRest = TokenStorage.TokenStorage.use(({ guarantees }) => Effect.succeed(guarantees.atRest))
 * await Effect.runPromise(Effect.provide(atRest, storage)) // => "encrypted"
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <A, E, R>(
  storage: Layer.Layer<A | TokenStorage.TokenStorage | SessionLock.SessionLock, E, R>
): Layer.Layer<A | TokenStorage.TokenStorage | SessionLock.SessionLock, E, R | EncryptionKeys> =>
  Layer.effect(
    TokenStorage.TokenStorage,
    Effect.gen(function*() {
      const inner = yield* TokenStorage.TokenStorage
      const keys = yield* EncryptionKeys
      if (inner.guarantees.atRest !== keys.atRest) {
        return yield* Effect.die(new Error(`${inner.description} does not write with TokenStorage.Codec`))
      }
      return { ...inner, description: `${inner.description}, encrypted with ${keys.description}` }
    })
  ).pipe(Layer.provideMerge(Layer.provide(Layer.fresh(storage), layerCodec)))
