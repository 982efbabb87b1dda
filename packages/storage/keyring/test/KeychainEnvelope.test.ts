import { EncryptedTokenStorage, EncryptionKeys, SessionLock, TokenStorageError } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { Keychain, KeychainKeySource } from "@effect-authn/storage-keyring"
import { TokenStorageSuite } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { temporary } from "./children.ts"

/** As the Windows Credential Manager: 2,560 bytes of UTF-16 and no more. */
const windows = Layer.sync(Keychain.Keychain, () => {
  const entries = new Map<string, Redacted.Redacted>()
  const id = (service: string, account: string) => JSON.stringify([service, account])
  return Keychain.Keychain.of({
    description: "a keychain for short secrets",
    available: Effect.void,
    get: (service, account) => Effect.sync(() => Option.fromNullishOr(entries.get(id(service, account)))),
    set: (service, account, secret) =>
      Redacted.value(secret).length * 2 > 2560
        ? Effect.fail(new TokenStorageError.StorageKeyUnavailable({ detail: "the value is too long" }))
        : Effect.sync(() => void entries.set(id(service, account), secret)),
    remove: (service, account) => Effect.sync(() => void entries.delete(id(service, account)))
  })
})

TokenStorageSuite.suite(
  "files, encrypted with a key in a keychain of 2,560 bytes",
  Layer.unwrap(Effect.map(temporary, (directory) => {
    const files = FileTokenStorage.layer({ directory })
    return EncryptedTokenStorage.layer(files).pipe(
      Layer.provide(KeychainKeySource.layerNoDeps({ name: "sessions" })),
      Layer.provide([windows, files])
    )
  }))
)

describe("a keychain that answers one program sooner than the other", () => {
  it.live("gets one key from both", () =>
    Effect.gen(function*() {
      const quick = yield* Keychain.Keychain
      const slow = { ...quick, set: (...args: Parameters<typeof quick.set>) => Effect.delay(quick.set(...args), 50) }
      const current = (keychain: Keychain.Keychain["Service"]) =>
        Effect.flatMap(EncryptionKeys.EncryptionKeys, (keys) => keys.current).pipe(
          Effect.provide(KeychainKeySource.layerNoDeps({ name: "raced" })),
          Effect.provideService(Keychain.Keychain, keychain)
        )
      const [one, two] = yield* Effect.all([current(slow), current(quick)], { concurrency: "unbounded" })
      assert.strictEqual(one.name, two.name)
    }).pipe(Effect.provide([windows, SessionLock.layerInProcess])))
})

describe("a keychain of 2,560 bytes", () => {
  it.effect("takes any number of rotations", () =>
    Effect.gen(function*() {
      for (let times = 0; times < 40; times++) yield* KeychainKeySource.rotate({ name: "sessions" })
      const keychain = yield* Keychain.Keychain
      const entry = yield* keychain.get("effect-authn", "sessions")
      assert.strictEqual(Option.getOrThrow(Option.map(entry, Redacted.value)).split("\n").length, 16)
    }).pipe(Effect.provide([windows, SessionLock.layerInProcess])))
})
