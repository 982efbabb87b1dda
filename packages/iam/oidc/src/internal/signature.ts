/** Whether what a provider signed is its own: by the keys that it publishes, chosen as `JwtCodec` does, or by the client's secret. */
import type { IamError } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Jwks from "@effect-authn/core/jwt/Jwks"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import { JwtError } from "@effect-authn/core/jwt/JwtError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpClient from "effect/http/HttpClient"
import * as Redacted from "effect/Redacted"
import type { Settings } from "../OidcOptions.ts"

/** Those with a public key. Which of them a provider lists is often wrong; the keys that it publishes tell. */
export const asymmetric: ReadonlyArray<JwtCodec.Algorithm> = JwtCodec.Algorithm.literals.filter((name) =>
  !name.startsWith("HS")
)

export const make = Effect.fnUntraced(function*(settings: Settings, refuse: (detail: string) => IamError) {
  const http = yield* HttpClient.HttpClient
  const secret = yield* secretOf(settings, refuse)
  let known: { readonly address: string; readonly keys: JwtCodec.KeySet } | undefined

  const verifyAt = Effect.fnUntraced(function*(
    token: Redacted.Redacted,
    address: string
  ): Effect.fn.Return<void, JwtError> {
    if (known?.address !== address) {
      // Whoever waits for the keys has spent a code for what they verify.
      const keys = Jwks.remote(address, { pause: Duration.zero })
      known = { address, keys: yield* Effect.provideService(keys, HttpClient.HttpClient, http) }
    }
    const { keys: jwks } = known
    yield* JwtCodec.verifySignature(token, { algorithms: asymmetric, jwks })
  })

  /**
   * Verifies the signature alone, since the times were judged by both clocks, with the keys at an address, which is asked
   * for where it is needed.
   */
  return Effect.fnUntraced(function*<E>(
    token: Redacted.Redacted,
    jwksUri: Effect.Effect<string | undefined, E>
  ): Effect.fn.Return<void, JwtError | E> {
    const { header } = yield* Effect.fromResult(JwtCodec.decodeUnverified(Redacted.value(token)))
    if (secret !== undefined && header["alg"] === secret.algorithm) {
      const key = yield* secret.key
      return yield* JwtCodec.verifySignature(token, { algorithms: [secret.algorithm], key })
    }
    const address = yield* jwksUri
    if (address === undefined) {
      return yield* new JwtError({
        reason: { _tag: "KeyNotUsable", detail: "the provider's metadata names no jwks_uri" }
      })
    }
    yield* verifyAt(token, address)
  })
})

/** The client's secret as the key of an HMAC (OpenID Connect Core 1.0, section 10.1), where the settings ask for it. */
const secretOf = (
  { clientAuthentication, idTokenAlgorithm: algorithm }: Settings,
  refuse: (detail: string) => IamError
) => {
  if (algorithm === undefined || !algorithm.startsWith("HS")) return Effect.undefined
  if (!("secret" in clientAuthentication)) {
    const detail =
      `an id_token signed with ${algorithm} is checked with the client's secret: give the client one, or ` +
      "leave `idTokenAlgorithm` out"
    return Effect.fail(refuse(detail))
  }
  const { secret } = clientAuthentication
  const keyOf = (secret: Redacted.Redacted) =>
    Redacted.make<JwtCodec.Jwk>({ kty: "oct", alg: algorithm, k: Base64Url.encode(Redacted.value(secret)) })
  const key = Effect.isEffect(secret)
    ? Effect.mapBoth(secret, {
      onSuccess: keyOf,
      onFailure: ({ message }) =>
        new JwtError({
          reason: { _tag: "KeyNotUsable", detail: `the client's secret cannot be had: ${IamHttp.quote(message)}` }
        })
    })
    : Effect.succeed(keyOf(secret))
  return Effect.succeed({ algorithm, key })
}
