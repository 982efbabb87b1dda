import type { JWK } from "jose"

const curves = new Map([["P-256", "ES256"], ["P-384", "ES384"], ["P-521", "ES512"]])

/** The JWS algorithm (RFC 7518, section 3.1; RFC 8037) that a key is for: named by it, or implied by its kind. */
export const algorithmOf = (key: CryptoKey | JWK): string =>
  "algorithm" in key ? ofCryptoKey(key) : key.alg ?? ofJwk(key)

const ofCryptoKey = ({ algorithm }: CryptoKey): string => {
  const { hash, name, namedCurve }: { hash?: KeyAlgorithm; name: string; namedCurve?: string } = algorithm
  const bits = hash?.name.slice(-3) ?? ""
  switch (name) {
    case "RSASSA-PKCS1-v1_5":
      return `RS${bits}`
    case "RSA-PSS":
      return `PS${bits}`
    case "HMAC":
      return `HS${bits}`
    case "ECDSA":
      return curves.get(namedCurve ?? "") ?? name
    default:
      return name === "Ed25519" ? "EdDSA" : name
  }
}

const ofJwk = ({ crv = "", kty = "" }: JWK): string => {
  switch (kty) {
    case "RSA":
      return "RS256"
    case "EC":
      return curves.get(crv) ?? crv
    case "OKP":
      return "EdDSA"
    case "oct":
      return "HS256"
    default:
      return kty
  }
}
