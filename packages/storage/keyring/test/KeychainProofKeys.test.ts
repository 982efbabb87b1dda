/** The keys to which sessions are bound, in a keychain that is a map. */
import { ProofKeys, SessionKey } from "@effect-authn/core"
import { Keychain, KeychainProofKeys } from "@effect-authn/storage-keyring"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"

const key = SessionKey.SessionKey.make({ issuer: "https://idp.test", clientId: "cli", account: "ada" })
const jwk = { kty: "EC", crv: "P-256", x: "eA", y: "eQ", d: "canary" }

const keychain = () => {
  const entries = new Map<string, Redacted.Redacted>()
  const layer = Layer.succeed(Keychain.Keychain, {
    description: "the test's keychain",
    available: Effect.void,
    get: (service, account) => Effect.sync(() => Option.fromUndefinedOr(entries.get(`${service}/${account}`))),
    set: (service, account, secret) => Effect.sync(() => void entries.set(`${service}/${account}`, secret)),
    remove: (service, account) => Effect.sync(() => void entries.delete(`${service}/${account}`))
  })
  return { entries, layer: Layer.provide(KeychainProofKeys.layer, layer) }
}

it.effect("a key is kept, found by its thumbprint, and forgotten; the document holds nothing of it", () =>
  Effect.gen(function*() {
    const { entries, layer } = keychain()
    yield* Effect.gen(function*() {
      const keys = yield* ProofKeys.ProofKeys
      const held = yield* keys.keep(key, Redacted.make(jwk))
      assert(held._tag === "Held")
      assert.notInclude(JSON.stringify(held), "canary")
      const opened = yield* keys.open(held)
      assert.deepStrictEqual(Redacted.isRedacted(opened) ? Redacted.value(opened) : opened, jwk)
      const other = yield* Effect.flip(keys.open({ ...held, thumbprint: "other" }))
      assert.include(other.message, "sign in again")
      const elsewhere = yield* Effect.flip(keys.open({ ...held, keeper: "a vault" }))
      assert.include(elsewhere.message, "kept by a vault")
      assert(keys.drop !== undefined)
      yield* keys.drop(held)
      assert.strictEqual(entries.size, 0)
      assert.include((yield* Effect.flip(keys.open(held))).message, "the test's keychain")
    }).pipe(Effect.provide(layer))
  }))
