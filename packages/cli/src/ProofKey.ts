/**
 * Where the keys are to which sessions are bound (RFC 9449): in the session's document where that is encrypted, else in the
 * keychain. Nothing of a keychain is loaded before it is needed.
 */
import * as ProofKeys from "@effect-authn/core/iam/ProofKeys"
import * as Session from "@effect-authn/core/session/Session"
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { failed } from "./Failure.ts"

const keychain = Effect.promise(() => import("@effect-authn/storage-keyring/Keychain"))

/**
 * The keys of an account's sessions.
 */
export const layer: Layer.Layer<never, never, StoragePolicy.StoragePolicy> = Layer.effect(
  ProofKeys.ProofKeys,
  Effect.gen(function*() {
    const policy = yield* StoragePolicy.StoragePolicy
    const scope = yield* Effect.scope
    const held = yield* Effect.cached(Effect.gen(function*() {
      const Keychain = yield* keychain
      const KeychainProofKeys = yield* Effect.promise(() => import("@effect-authn/storage-keyring/KeychainProofKeys"))
      const built = yield* Layer.buildWithScope(Layer.provide(KeychainProofKeys.layer, Keychain.layer()), scope)
      return yield* Effect.provideContext(ProofKeys.ProofKeys, built)
    }))
    return {
      keep: Effect.fnUntraced(function*(key, jwk) {
        const { place } = yield* Effect.mapError(
          policy.choiceFor(key),
          ({ message }) => new ProofKeys.ProofKeyError({ detail: message })
        )
        return place === "plain-file"
          ? yield* (yield* held).keep(key, jwk)
          : Session.ProofKey.cases.Enclosed.make({ jwk })
      }),
      open: (key) => Effect.flatMap(held, ({ open }) => open(key)),
      drop: (key) => Effect.flatMap(held, ({ drop }) => drop === undefined ? Effect.void : drop(key))
    }
  })
)

/**
 * Fails where a key would lie in a plain file, beside the tokens that it is to protect.
 */
export const check = Effect.fnUntraced(function*(place: StoragePolicy.Place) {
  if (place !== "plain-file") return
  const Keychain = yield* keychain
  const { available } = Context.get(yield* Layer.build(Keychain.layer()), Keychain.Keychain)
  yield* Effect.mapError(available, ({ message }) =>
    failed(
      `--dpop makes a key, which would lie in a plain file beside the tokens that it is to protect, and there is no ` +
        `keychain to keep it in: ${message}\nSet AUTHN_PASSPHRASE and give --storage encrypted-file, or sign in with --no-dpop`
    ))
}, Effect.scoped)
