/**
 * The key of encrypted sessions, in the operating system's keychain.
 *
 * @since 0.1.0
 */
import { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import { SessionLock } from "@effect-authn/core/storage/SessionLock"
import { StorageKeyUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Keychain from "./Keychain.ts"

/**
 * `name` is the account of the entry, which the keychain's own window shows: what the key is for. Each place with a lock of
 * its own needs a name of its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly name: string
}

const service = "effect-authn"

// 45 characters each, and Windows takes 1,280
const mostKeys = 16

const keysIn = Effect.fnUntraced(function*({ name }: Options) {
  const keychain = yield* Keychain.Keychain
  const text = yield* keychain.get(service, name)
  if (Option.isNone(text)) return []
  return yield* Effect.fromResult(
    Result.mapError(
      EncryptionKeys.parse(text.value),
      (detail) =>
        new StorageKeyUnavailable({
          detail: `the entry "${name}" of "${service}" in ${keychain.description}: ${detail}`
        })
    )
  )
})

/** Changes the list of keys, alone among all programs that share the lock. */
const change = Effect.fnUntraced(function*(
  options: Options,
  next: (
    keys: ReadonlyArray<Redacted.Redacted<Uint8Array>>,
    fresh: Redacted.Redacted<Uint8Array>
  ) => ReadonlyArray<Redacted.Redacted<Uint8Array>>
) {
  const keychain = yield* Keychain.Keychain
  const { withLock } = yield* SessionLock
  const lock = SessionKey.make({ issuer: "keychain:effect-authn", clientId: service, account: options.name })

  yield* Effect.gen(function*() {
    const before = yield* keysIn(options)
    const after = next(before, Redacted.make(SecureRandom.randomBytesUnsafe(EncryptionKeys.keyLength)))
    if (after === before) return
    const text = after.slice(0, mostKeys).map((key) => Base64Url.encode(Redacted.value(key))).join("\n")
    yield* keychain.set(service, options.name, Redacted.make(text))
  }).pipe(
    Effect.uninterruptible,
    withLock(lock, "renew"),
    Effect.catchTag("SessionLockError", ({ message }) => Effect.fail(new StorageKeyUnavailable({ detail: message })))
  )
})

/**
 * A random key in the keychain, made once among all programs that share the `SessionLock`, and read once per program: one
 * unlocking serves every session, and a keychain that takes few bytes serves sessions of any size. To be given to
 * `EncryptedTokenStorage`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps = (
  options: Options
): Layer.Layer<EncryptionKeys.EncryptionKeys, never, Keychain.Keychain | SessionLock> =>
  Layer.effect(
    EncryptionKeys.EncryptionKeys,
    Effect.gen(function*() {
      const keychain = yield* Keychain.Keychain
      const context = yield* Effect.context<Keychain.Keychain | SessionLock>()
      return yield* EncryptionKeys.make({
        description: `a key in ${keychain.description}`,
        atRest: "keychain",
        available: keychain.available,
        load: Effect.provideContext(keysIn(options), context),
        create: Effect.provideContext(change(options, (keys, fresh) => keys.length > 0 ? keys : [fresh]), context)
      })
    })
  ).pipe(Layer.provide(Digest.layerWebCrypto))

/**
 * `layerNoDeps` with the keychain of this machine.
 *
 * **Example** (Sessions encrypted with a key in the keychain)
 *
 * ```ts
 * import { DatalayerIam } from "@effect-authn/iam-datalayer"
 * import { NodeAuth, NodeStorage } from "@effect-authn/platform-node"
 * import { KeychainKeySource } from "@effect-authn/storage-keyring"
 *
 * export const layer = NodeAuth.layer(DatalayerIam.layerConfig(), {
 *   storage: NodeStorage.layer({ keychain: KeychainKeySource.layer })
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<EncryptionKeys.EncryptionKeys, never, SessionLock> =>
  Layer.provide(layerNoDeps(options), Keychain.layer())

/**
 * Puts a new key in front of the others: sessions are encrypted with it from now on, each when it is next written, by
 * programs that start after this. The sixteen newest keys stay readable.
 *
 * @category combinators
 * @since 0.1.0
 */
export const rotate = (options: Options): Effect.Effect<void, StorageKeyUnavailable, Keychain.Keychain | SessionLock> =>
  change(options, (keys, fresh) => [fresh, ...keys])
