/**
 * The operating system's keychain.
 *
 * @since 0.1.0
 */
import { StorageKeyUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Helper from "./internal/helper.ts"

/**
 * The keychain of the person who runs the program: the macOS Keychain, the Windows Credential Manager, or the Secret
 * Service (GNOME Keyring, KWallet) of a Linux desktop. An entry is a secret of at most 2,560 bytes under the name of a
 * service and an account, which is how its own window shows it.
 *
 * Every failure is `StorageKeyUnavailable` and says why: no keychain, a locked one, no answer in time, no native binding.
 *
 * @category services
 * @since 0.1.0
 */
export class Keychain extends Context.Service<Keychain, {
  /** Which keychain this is, for people: `the macOS Keychain`. */
  readonly description: string
  /** Whether the keychain works: it writes an entry, reads it back and deletes it. Fails with the reason. */
  readonly available: Effect.Effect<void, StorageKeyUnavailable>
  /** Reads the secret of an entry; `None` where there is no such entry. */
  readonly get: (
    service: string,
    account: string
  ) => Effect.Effect<Option.Option<Redacted.Redacted>, StorageKeyUnavailable>
  /** Writes the secret of an entry, of at most 2,560 bytes, in the place of an earlier one. */
  readonly set: (
    service: string,
    account: string,
    secret: Redacted.Redacted
  ) => Effect.Effect<void, StorageKeyUnavailable>
  /** Removes an entry. Removing what is absent succeeds. */
  readonly remove: (service: string, account: string) => Effect.Effect<void, StorageKeyUnavailable>
}>()("@effect-authn/storage-keyring/Keychain") {}

const names: Partial<Record<NodeJS.Platform, string>> = {
  darwin: "the macOS Keychain",
  win32: "the Windows Credential Manager",
  linux: "the Secret Service"
}

/**
 * Makes the keychain, with nothing asked and nothing loaded before its first use.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options?: { readonly timeLimit?: Duration.Input }) {
  const call = yield* Helper.make(Duration.fromInputUnsafe(options?.timeLimit ?? "3 seconds"))

  const get = (service: string, account: string) =>
    Effect.map(
      call({ method: "getPassword", service, account }),
      (value) => typeof value === "string" ? Option.some(Redacted.make(value)) : Option.none()
    )
  const set = (service: string, account: string, secret: Redacted.Redacted) =>
    Effect.asVoid(call({ method: "setPassword", service, account, secret: Redacted.value(secret) }))
  const remove = (service: string, account: string) =>
    Effect.asVoid(call({ method: "deletePassword", service, account }))

  return Keychain.of({
    description: names[process.platform] ?? "the keychain",
    get,
    set,
    remove,
    available: Effect.gen(function*() {
      // an account of its own, since several programs may try at once
      const account = Base64Url.encode(SecureRandom.randomBytesUnsafe(16))
      yield* set(trial, account, Redacted.make(account))
      const found = yield* get(trial, account)
      yield* remove(trial, account)
      return Option.exists(found, (value) => Redacted.value(value) === account)
    }).pipe(
      Effect.filterOrFail(
        (isKept) => isKept,
        () => new StorageKeyUnavailable({ detail: "the keychain did not keep what was written into it" })
      ),
      Effect.asVoid
    )
  })
})

const trial = "effect-authn: is there a keychain?"

/**
 * The keychain by `@napi-rs/keyring`, in a helper process that is started at the first call and ends with the program.
 * `timeLimit` (default 3 seconds) is for each call, and holds: a helper that does not answer is killed. The start of that
 * process has 30 seconds of its own, for a machine that is busy.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: { readonly timeLimit?: Duration.Input }): Layer.Layer<Keychain> =>
  Layer.effect(Keychain, make(options))
