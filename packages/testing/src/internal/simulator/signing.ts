/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as Jose from "jose"

export type Claims = { readonly [name: string]: Schema.Json }

export const algorithm = "RS256"
const kid = "simulator"

// One for the process: making an RSA key takes longer than most tests, and all simulators may share it.
let made: Promise<Jose.GenerateKeyPairResult> | undefined
const keyPair = Effect.promise(() => made ??= Jose.generateKeyPair(algorithm))

export const sign = (claims: Claims): Effect.Effect<Redacted.Redacted> =>
  Effect.flatMap(
    keyPair,
    ({ privateKey }) =>
      Effect.promise(() =>
        new Jose.SignJWT(claims).setProtectedHeader({ alg: algorithm, kid, typ: "JWT" }).sign(privateKey)
      )
  ).pipe(Effect.map((token) => Redacted.make(token, { label: "access_token" })))

export const publicKey = Effect.map(keyPair, ({ publicKey }) => publicKey)

export const jwks: Effect.Effect<{ readonly keys: ReadonlyArray<Claims> }> = Effect.flatMap(
  keyPair,
  ({ publicKey }) => Effect.promise(() => Jose.exportJWK(publicKey))
).pipe(Effect.map(({ e = "", kty = "", n = "" }) => ({ keys: [{ kty, n, e, alg: algorithm, use: "sig", kid }] })))
