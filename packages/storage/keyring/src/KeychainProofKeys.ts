/**
 * The keys to which sessions are bound (RFC 9449), in the operating system's keychain: a session's document alone is then
 * worth nothing.
 *
 * @since 0.1.0
 */
import { ProofKeyError, ProofKeys } from "@effect-authn/core/iam/ProofKeys"
import * as Session from "@effect-authn/core/session/Session"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import * as Keychain from "./Keychain.ts"

const service = "effect-authn proof keys"
const keeper = "the keychain"

const Jwk = Schema.fromJsonString(Schema.JsonObject)
const encode = Schema.encodeSync(Jwk)
const decode = Schema.decodeUnknownOption(Jwk)

/** The thumbprint of a key of EC (RFC 7638, section 3.2). */
const thumbprintOf = ({ crv, kty, x, y }: Schema.JsonObject): string =>
  createHash("sha256").update(encode({ crv: crv ?? "", kty: kty ?? "", x: x ?? "", y: y ?? "" })).digest("base64url")

/**
 * Keeps the key of each session that is bound to one as an entry of the keychain, by its thumbprint, and removes it when
 * the session is signed out or another login replaces it. Sessions that were made without it keep the key that is in their
 * document.
 *
 * **When to use**
 *
 * Use beside an IAM with the option `dpop`, wherever sessions lie in files.
 *
 * **Gotchas**
 *
 * A login fails where the keychain cannot be written, and a session is of no use on a machine that has another keychain.
 *
 * **Example** (Files that are worth nothing by themselves)
 *
 * ```ts
 * import { OidcIam } from "@effect-authn/iam-oidc"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { Keychain, KeychainProofKeys } from "@effect-authn/storage-keyring"
 * import { Layer } from "effect"
 *
 * const iam = OidcIam.layer({ issuer: "https://idp.example.com", clientId: "my-app", dpop: true })
 *
 * export const layer = Layer.provideMerge(
 *   NodeAuth.layer(iam),
 *   Layer.provide(KeychainProofKeys.layer, Keychain.layer())
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, never, Keychain.Keychain> = Layer.effect(
  ProofKeys,
  Effect.map(Keychain.Keychain, (keychain) => {
    const failed = ({ message }: Error) => new ProofKeyError({ detail: message })
    return {
      keep: (key, jwk) => {
        const thumbprint = thumbprintOf(Redacted.value(jwk))
        const name = `${key.account} ${thumbprint}`
        return keychain.set(service, name, Redacted.make(encode(Redacted.value(jwk)))).pipe(
          Effect.mapError(failed),
          Effect.as(Session.ProofKey.cases.Held.make({ keeper, name, thumbprint }))
        )
      },
      open: Effect.fnUntraced(function*(key) {
        if (key.keeper !== keeper) {
          return yield* new ProofKeyError({ detail: `it is kept by ${key.keeper}, not by ${keychain.description}` })
        }
        const found = yield* Effect.mapError(keychain.get(service, key.name), failed)
        const jwk = Option.flatMap(found, (text) => decode(Redacted.value(text)))
        if (Option.isNone(jwk) || thumbprintOf(jwk.value) !== key.thumbprint) {
          return yield* new ProofKeyError({ detail: `it is not in ${keychain.description}: sign in again` })
        }
        return Redacted.make(jwk.value)
      }),
      drop: (key) =>
        key.keeper === keeper
          ? Effect.mapError(keychain.remove(service, key.name), failed)
          : Effect.void
    }
  })
)
