/** What rows are called. */
import * as Digest from "effect/crypto/Digest"
import type * as Effect from "effect/Effect"

export interface Names {
  /** The SHA-256 of a text, in hexadecimal: of bounded length, and it hides what an issuer's address may hold. */
  readonly of: (text: string) => Effect.Effect<string>
}

export const make = (digest: Digest.Digest["Service"]): Names => ({
  of: (text) => digest.digestHex(Digest.sha256, new TextEncoder().encode(text))
})
