import { EncryptedTokenStorage, EncryptionKeys, SessionLock, TokenStorage } from "@effect-authn/core"
import { DueSessionsSuite, TokenStorageSuite } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Exit, Layer, Redacted, Stream } from "effect"
import { Base64 } from "effect/encoding"

const env = { AUTHN_KEY: Base64.encode(new Uint8Array(32).fill(9)) }
const key = EncryptionKeys.layerEnvironment().pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))

TokenStorageSuite.suite(
  "memory, encrypted with a key from the environment",
  EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(Layer.provide(key))
)

DueSessionsSuite.suite(
  "memory, encrypted with a key from the environment",
  EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(Layer.provide(key))
)

TokenStorageSuite.suite(
  "memory, encrypted with a passphrase",
  EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(
    Layer.provide(EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make("correct horse"))))
  )
)

describe("EncryptedTokenStorage", () => {
  it.effect("says what it is", () =>
    Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      assert.strictEqual(storage.guarantees.atRest, "encrypted")
      assert.strictEqual(storage.description, "memory, encrypted with a key from AUTHN_KEY")
    }).pipe(Effect.provide(EncryptedTokenStorage.layer(TokenStorage.layerMemory).pipe(Layer.provide(key)))))

  it.effect("is not built over a storage that would write plain text", () =>
    Effect.gen(function*() {
      const deaf = Layer.succeed(TokenStorage.TokenStorage, {
        description: "deaf",
        guarantees: { durable: true, exclusive: true, changes: false, atRest: "plain" },
        get: () => Effect.succeedNone,
        put: () => Effect.void,
        remove: () => Effect.void,
        keys: Effect.succeed([]),
        changes: Stream.empty
      })
      const storage = Layer.merge(deaf, SessionLock.layerInProcess)
      const built = yield* EncryptedTokenStorage.layer(storage).pipe(
        Layer.provide(key),
        Layer.build,
        Effect.scoped,
        Effect.exit
      )
      assert.include(
        Exit.isFailure(built) ? Cause.pretty(built.cause) : "",
        "deaf does not write with TokenStorage.Codec"
      )
    }))
})
