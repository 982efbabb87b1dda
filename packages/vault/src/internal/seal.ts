/** Short texts that only this fleet can have written: encrypted with its key, and each good for one purpose. */
import { EncryptionKeys, type Key } from "@effect-authn/core/storage/EncryptionKeys"
import type { StorageKeyUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import * as Aead from "effect/crypto/Aead"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

export interface Seal {
  /** Seals a text for a purpose; only the same purpose opens it. */
  readonly close: (text: string, purpose: string) => Effect.Effect<string, StorageKeyUnavailable>
  /** What was sealed; `None` for what this fleet has not sealed for this purpose. */
  readonly open: (sealed: string, purpose: string) => Effect.Effect<Option.Option<string>, StorageKeyUnavailable>
}

const Sealed = Schema.StringFromBase64Url.pipe(
  Schema.decodeTo(Schema.fromJsonString(
    Schema.Tuple([Schema.String, Schema.Uint8ArrayFromBase64Url, Schema.Uint8ArrayFromBase64Url])
  ))
)
const encode = Schema.encodeSync(Sealed)
const decode = Schema.decodeUnknownOption(Sealed)

const algorithm = Aead.aes256Gcm

export const layerCrypto = Layer.provideMerge(Aead.layerWebCrypto, SecureRandom.layerWebCrypto)

export const make: Effect.Effect<Seal, never, EncryptionKeys | Aead.Aead | SecureRandom.SecureRandom> = Effect.gen(
  function*() {
    const aead = yield* Aead.Aead
    const random = yield* SecureRandom.SecureRandom
    const keys = yield* EncryptionKeys
    const keyFrom = ({ bytes }: Key) => Effect.orDie(Aead.key(algorithm, Redacted.value(bytes)))
    const aadOf = (purpose: string, name: string) =>
      new TextEncoder().encode(JSON.stringify(["effect-authn vault", purpose, name]))
    return {
      close: Effect.fnUntraced(function*(text, purpose) {
        const key = yield* keys.current
        const nonce = yield* random.randomBytes(algorithm.nonceLength)
        const data = yield* aead.encrypt(yield* keyFrom(key), new TextEncoder().encode(text), {
          nonce,
          aad: aadOf(purpose, key.name)
        }).pipe(Effect.orDie)
        return encode([key.name, nonce, data])
      }),
      open: Effect.fnUntraced(function*(sealed, purpose) {
        const parts = decode(sealed)
        if (Option.isNone(parts)) return Option.none()
        const [name, nonce, data] = parts.value
        if (nonce.length !== algorithm.nonceLength) return Option.none()
        const key = yield* keys.named(name)
        if (Option.isNone(key)) return Option.none()
        const plain = yield* Effect.option(
          aead.decrypt(yield* keyFrom(key.value), data, { nonce, aad: aadOf(purpose, name) })
        )
        return Option.map(plain, (bytes) => new TextDecoder().decode(bytes))
      })
    }
  }
)
