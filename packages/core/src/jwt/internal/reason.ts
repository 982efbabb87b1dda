import { errors } from "jose"
import type { JwtErrorReason } from "../JwtError.ts"

// The errors of jose carry the claims: only what is written here gets out.
export const reasonOf = (
  cause: unknown,
  algorithm: string,
  { audience = [], issuer = [] }: {
    readonly audience?: string | ReadonlyArray<string> | undefined
    readonly issuer?: string | ReadonlyArray<string> | undefined
  } = {}
): JwtErrorReason => {
  if (cause instanceof errors.JWSSignatureVerificationFailed) return { _tag: "BadSignature" }
  if (cause instanceof errors.JWTExpired) return { _tag: "Expired", at: Number(cause.payload.exp) }
  if (cause instanceof errors.JWTClaimValidationFailed) {
    const { claim, payload, reason } = cause
    if (reason === "missing") return { _tag: "MissingClaim", claim }
    if (reason === "invalid") return { _tag: "InvalidClaims", detail: `"${claim}" must be a number` }
    if (claim === "nbf") return { _tag: "NotYetValid", at: Number(payload.nbf) }
    return claim === "iss"
      ? { _tag: "WrongIssuer", expected: list(issuer) }
      : { _tag: "WrongAudience", expected: list(audience) }
  }
  if (cause instanceof errors.JWTInvalid) {
    return { _tag: "Malformed", detail: "its claims are not a JSON object in base64url" }
  }
  if (cause instanceof errors.JWSInvalid) return { _tag: "Malformed", detail: cause.message }
  return notUsable(algorithm, cause)
}

export const notUsable = (algorithm: string, cause: unknown): JwtErrorReason => ({
  _tag: "KeyNotUsable",
  detail: `${cause instanceof Error ? cause.message : "it was refused"} (asked for ${algorithm})`
})

const list = (value: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : value
