/**
 * Where the key of encrypted sessions comes from.
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Variable from "../Variable.ts"
import { StorageKeyUnavailable } from "./TokenStorageError.ts"

/**
 * A key of 256 bits. The name lies beside what the key has encrypted, so that a program can tell later which key it needs
 * and how to come by it; it reveals nothing of the key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Key {
  readonly name: string
  readonly bytes: Redacted.Redacted<Uint8Array>
}

/**
 * Where the key of encrypted sessions comes from. Nothing is asked for a key before a session is read or written.
 *
 * **When to use**
 *
 * Use `layerEnvironment`, `layerFile` or `layerPassphrase`, or `KeychainKeySource` of `@effect-authn/storage-keyring`; write
 * your own for a key that lives elsewhere, such as a key management service.
 *
 * @category services
 * @since 0.1.0
 */
export class EncryptionKeys extends Context.Service<EncryptionKeys, {
  /** Where the key is, for people: `a key from AUTHN_KEY`, `a key in the macOS Keychain`. */
  readonly description: string
  /** What a storage with this key may call itself. */
  readonly atRest: "encrypted" | "keychain"
  /** Whether the source works, found out by using it. Fails with the reason. */
  readonly available: Effect.Effect<void, StorageKeyUnavailable>
  /** The key to encrypt with. A source that makes its own keys makes the first one here. */
  readonly current: Effect.Effect<Key, StorageKeyUnavailable>
  /** The key of that name, which has encrypted something; `None` if the source does not have it. */
  readonly named: (name: string) => Effect.Effect<Option.Option<Key>, StorageKeyUnavailable>
  /** Whether what a key of that name has encrypted is to be encrypted anew; without it, all but that of `current` is. */
  readonly isRetired?: (name: string) => Effect.Effect<boolean, StorageKeyUnavailable>
}>()("@effect-authn/core/storage/EncryptionKeys") {}

/**
 * What is done when the place of a key lets a program wait, once for each wait and after a second: `message` says for whom,
 * and why that may be. Default: a warning on the standard error.
 *
 * @category references
 * @since 0.1.0
 */
export const OnWait = Context.Reference<(wait: { readonly message: string }) => Effect.Effect<void>>(
  "@effect-authn/core/storage/EncryptionKeys/OnWait",
  {
    defaultValue: () => ({ message }) => Effect.provideService(Effect.logWarning(message), References.LogToStderr, true)
  }
)

/**
 * The length of a key in bytes.
 *
 * @category constants
 * @since 0.1.0
 */
export const keyLength = 32

/**
 * The keys in a text: each 32 bytes as Base64 or Base64url, one a line or separated by commas. The first one encrypts, the
 * others only read. `openssl rand -base64 32` makes one. The error says what is wrong with the text and shows none of it.
 *
 * **Example** (Two keys, and a text that is none)
 *
 * ```ts import.meta.vitest
 * import { EncryptionKeys } from "@effect-authn/core"
 * import { Redacted, Result } from "effect"
 *
 * const text = Redacted.make(`${"A".repeat(43)}=, ${"B".repeat(43)}=`)
 * Result.getOrThrow(EncryptionKeys.parse(text)).length // => 2
 * Result.isFailure(EncryptionKeys.parse(Redacted.make("secret"))) // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const parse = (text: Redacted.Redacted): Result.Result<ReadonlyArray<Redacted.Redacted<Uint8Array>>, string> => {
  const words = Redacted.value(text).split(/[\s,]+/).filter((word) => word !== "")
  if (words.length === 0) return Result.fail("there is no key")
  return Result.all(words.map((word, index) =>
    Base64Url.decode(word.replaceAll("+", "-").replaceAll("/", "_")).pipe(
      Result.filterOrFail((bytes) => bytes.length === keyLength, () => undefined),
      Result.map((bytes) => Redacted.make(bytes, { label: "key" })),
      Result.mapError(() => `key ${index + 1} of ${words.length} is not 32 bytes of Base64 (openssl rand -base64 32)`)
    )
  ))
}

const nameOf = Effect.fnUntraced(function*(digest: Digest.Digest["Service"], bytes: Redacted.Redacted<Uint8Array>) {
  const label = new TextEncoder().encode("effect-authn key name")
  const hashed = yield* digest.digest(Digest.sha256, new Uint8Array([...label, ...Redacted.value(bytes)]))
  return Base64Url.encode(hashed.subarray(0, 16))
})

/** Remembers the first success, and asks again after a failure. */
const remembered = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.cachedInvalidateWithTTL(effect, (exit) => Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)

/**
 * A source over a list of keys that is loaded when it is first needed, and once more for a key that is not among them:
 * another program may have added it. The first key encrypts; where there is none, `create` adds one, once among all
 * programs that share the source.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly description: string
  readonly atRest: "encrypted" | "keychain"
  readonly load: Effect.Effect<ReadonlyArray<Redacted.Redacted<Uint8Array>>, StorageKeyUnavailable>
  readonly create?: Effect.Effect<void, StorageKeyUnavailable>
  readonly available?: Effect.Effect<void, StorageKeyUnavailable>
}) {
  const digest = yield* Digest.Digest
  const withName = (bytes: Redacted.Redacted<Uint8Array>) =>
    Effect.map(nameOf(digest, bytes), (name): Key => ({ name, bytes }))
  const [keys, forget] = yield* remembered(Effect.flatMap(options.load, Effect.forEach(withName)))
  const find = (name: string) =>
    Effect.map(keys, (found) => Option.fromNullishOr(found.find((key) => key.name === name)))
  const first = Effect.map(keys, (found) => Option.fromNullishOr(found[0]))
  const created = Effect.andThen(options.create ?? Effect.void, Effect.andThen(forget, first))
  const current = first.pipe(
    Effect.filterOrElse(Option.isSome, () => created),
    Effect.flatMap((found) => Effect.fromOption(found)),
    Effect.catchTag("NoSuchElementError", () => Effect.fail(new StorageKeyUnavailable({ detail: "there is no key" })))
  )

  return EncryptionKeys.of({
    description: options.description,
    atRest: options.atRest,
    available: options.available ?? Effect.asVoid(current),
    current,
    named: (name) => Effect.filterOrElse(find(name), Option.isSome, () => Effect.andThen(forget, find(name)))
  })
})

const fromText = (
  description: string,
  place: string,
  text: Effect.Effect<Redacted.Redacted, StorageKeyUnavailable>
) =>
  make({
    description,
    atRest: "encrypted",
    load: Effect.flatMap(text, (text) =>
      Effect.fromResult(Result.mapError(parse(text), (detail) =>
        new StorageKeyUnavailable({ detail: `${place}: ${detail}` }))))
  })

/**
 * Keys from a variable of the environment (default `AUTHN_KEY`), written as `parse` says: for CI.
 *
 * **Gotchas**
 *
 * It reads the variable when the layer is built, and says that it is not set when a session is first read or written.
 *
 * **Example** (Encrypted files in continuous integration)
 *
 * ```ts
 * import { EncryptedTokenStorage, EncryptionKeys } from "@effect-authn/core"
 * import { FileTokenStorage } from "@effect-authn/platform-node"
 * import { Layer } from "effect"
 *
 * export const storage = EncryptedTokenStorage.layer(FileTokenStorage.layer()).pipe(
 *   Layer.provide(EncryptionKeys.layerEnvironment("CI_SESSION_KEY"))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEnvironment = (name?: string): Layer.Layer<EncryptionKeys> =>
  Layer.effect(
    EncryptionKeys,
    Effect.gen(function*() {
      const variable = name ?? (yield* Variable.nameOf("AUTHN_KEY", "EFFECT_AUTHN_KEY"))
      // read here, since a caller's configuration is not the program's
      const text = yield* Effect.exit(Config.Redacted(variable))
      return yield* fromText(
        `a key from ${variable}`,
        variable,
        Effect.mapError(text, () => new StorageKeyUnavailable({ detail: `${variable} is not set` }))
      )
    })
  ).pipe(Layer.provide(Digest.layerWebCrypto))

/**
 * Keys from a file, written as `parse` says: a mounted secret, a file that only this user may read. It is never written.
 *
 * **Example** (Encrypted files with a mounted secret)
 *
 * ```ts
 * import { EncryptedTokenStorage, EncryptionKeys } from "@effect-authn/core"
 * import { FileTokenStorage } from "@effect-authn/platform-node"
 * import { Layer } from "effect"
 *
 * export const storage = EncryptedTokenStorage.layer(FileTokenStorage.layer()).pipe(
 *   Layer.provide(EncryptionKeys.layerFile("/run/secrets/session-key"))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFile = (path: string): Layer.Layer<EncryptionKeys, never, FileSystem.FileSystem> =>
  Layer.effect(
    EncryptionKeys,
    Effect.flatMap(FileSystem.FileSystem, (fs) =>
      fromText(
        `a key from ${path}`,
        path,
        Effect.option(fs.stat(path)).pipe(
          // a pipe that nobody writes to would hold the program for ever
          Effect.filterOrFail(
            (info) => Option.isNone(info) || info.value.type === "File",
            () => new StorageKeyUnavailable({ detail: `${path} is not a file: name the file that has the key` })
          ),
          Effect.filterOrFail(
            (info) => Option.isNone(info) || ByteSize.isLessThan(info.value.size, ByteSize.mebibytes(1)),
            () => new StorageKeyUnavailable({ detail: `${path} is larger than 1 MiB, and no file of keys` })
          ),
          Effect.andThen(Effect.map(fs.readFileString(path), (text) => Redacted.make(text))),
          Effect.catchTag(
            "PlatformError",
            ({ reason }) => Effect.fail(new StorageKeyUnavailable({ detail: `${path}: ${reason._tag}` }))
          )
        )
      ))
  ).pipe(Layer.provide(Digest.layerWebCrypto))

// Whoever can write the file chooses how long its reader works, so there is an upper bound.
const mostIterations = 10_000_000

/**
 * A key derived from a passphrase: PBKDF2 with SHA-256 (RFC 8018), 600,000 iterations and a random salt of 16 bytes, which
 * lie beside what is encrypted. A derivation takes a fraction of a second, once per salt and program; new sessions take the
 * salt of one that was read. The passphrase is asked for when it is first needed, and again if that fails. `previous` ones
 * still read.
 *
 * **Example** (A passphrase that a person types)
 *
 * ```ts
 * import { EncryptedTokenStorage, EncryptionKeys } from "@effect-authn/core"
 * import { FileTokenStorage } from "@effect-authn/platform-node"
 * import { Config, Effect, Layer } from "effect"
 *
 * export const storage = EncryptedTokenStorage.layer(FileTokenStorage.layer()).pipe(
 *   Layer.provide(Layer.unwrap(Config.map(
 *     Config.all([Config.Redacted("PASSPHRASE"), Config.Redacted("OLD_PASSPHRASE")]),
 *     ([passphrase, old]) => EncryptionKeys.layerPassphrase(Effect.succeed(passphrase), { previous: [old] })
 *   )))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPassphrase = (
  passphrase: Effect.Effect<Redacted.Redacted, { readonly message: string }>,
  options?: { readonly previous?: ReadonlyArray<Redacted.Redacted> }
): Layer.Layer<EncryptionKeys> =>
  Layer.effect(
    EncryptionKeys,
    Effect.gen(function*() {
      const kdf = yield* Kdf.Kdf
      const digest = yield* Digest.Digest
      const random = yield* SecureRandom.SecureRandom
      const turn = yield* Semaphore.make(1)
      const derived = new Map<string, Key>()
      let latest: Key | undefined

      const [secret] = yield* remembered(
        Effect.mapError(passphrase, ({ message }) => new StorageKeyUnavailable({ detail: message })).pipe(
          Effect.filterOrFail(
            (secret) => Redacted.value(secret) !== "",
            () => new StorageKeyUnavailable({ detail: "the passphrase is empty" })
          ),
          // a caller's configuration is not the program's
          Effect.provideContext(yield* Effect.context())
        )
      )

      const derive = Effect.fnUntraced(function*(secret: Redacted.Redacted, iterations: number, salt: Uint8Array) {
        // typed on another keyboard, the same letters may be other code points
        const letters = new TextEncoder().encode(Redacted.value(secret).normalize("NFKC"))
        const algorithm = Kdf.pbkdf2({ hash: Digest.sha256, iterations })
        const bytes = Redacted.make(
          yield* Effect.orDie(kdf.derive(algorithm, letters, { salt, length: keyLength })),
          { label: "key" }
        )
        const check = yield* nameOf(digest, bytes)
        return { name: [scheme, iterations, Base64Url.encode(salt), check].join("."), bytes }
      })

      const named = Effect.fnUntraced(function*(name: string) {
        const known = derived.get(name)
        if (known !== undefined) return Option.some(known)
        const parameters = parametersOf(name)
        if (parameters === undefined) return Option.none()
        const { iterations, salt } = parameters
        const present = yield* secret
        for (const candidate of [present, ...options?.previous ?? []]) {
          const key = yield* derive(candidate, iterations, salt)
          if (key.name !== name) continue
          derived.set(name, key)
          if (candidate === present && iterations === Kdf.pbkdf2Sha256.iterations) latest = key
          return Option.some(key)
        }
        return Option.none()
      }, (derivation) => turn.withPermit(derivation))

      const current = Effect.gen(function*() {
        if (latest !== undefined) return latest
        latest = yield* derive(yield* secret, Kdf.pbkdf2Sha256.iterations, yield* random.randomBytes(16))
        derived.set(latest.name, latest)
        return latest
      }).pipe((derivation) => turn.withPermit(derivation))

      return EncryptionKeys.of({
        description: "a key from a passphrase",
        atRest: "encrypted",
        available: Effect.asVoid(secret),
        current,
        named
      })
    })
  ).pipe(Layer.provide([Kdf.layerWebCrypto, Digest.layerWebCrypto, SecureRandom.layerWebCrypto]))

const scheme = "pbkdf2-sha256"

const parametersOf = (name: string): { readonly iterations: number; readonly salt: Uint8Array } | undefined => {
  const [tag, count, encoded] = name.split(".")
  const iterations = Number(count)
  const salt = Base64Url.decode(encoded ?? "")
  return tag === scheme && iterations >= 1 && iterations <= mostIterations && Number.isInteger(iterations) &&
      Result.isSuccess(salt)
    ? { iterations, salt: salt.success }
    : undefined
}
