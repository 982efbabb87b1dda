/** What rows are called: a SHA-256 in hexadecimal, of bounded length, which hides what an issuer's address may hold. */
import { makeDigest, type SessionKey } from "@effect-authn/core/session/SessionKey"
import * as Digest from "effect/crypto/Digest"
import type * as Effect from "effect/Effect"

export interface Names {
  readonly of: (text: string) => Effect.Effect<string>
  readonly ofSession: (key: SessionKey) => Effect.Effect<string>
}

export const make = (digest: Digest.Digest["Service"]): Names => ({
  of: (text) => digest.digestHex(Digest.sha256, new TextEncoder().encode(text)),
  ofSession: makeDigest(digest)
})
