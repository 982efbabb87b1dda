export interface JsonObject {
  readonly [name: string]: unknown
}

const encoder = new TextEncoder()
const utf8 = new TextDecoder("utf-8", { fatal: true })
const scratch = new Uint8Array(16_384)

// Base64url without padding (RFC 7515, section 2) of UTF-8. A client decodes far more than it verifies, so this avoids
// what is slow: a byte array and a `TextDecoder` for every token.
const decodeText = (part: string): string => {
  // `atob` takes the standard alphabet, white space and padding as well: the latter two show in the length.
  if (part.includes("+") || part.includes("/")) throw new TypeError("not base64url")
  const binary = atob(part.includes("-") || part.includes("_") ? part.replaceAll("-", "+").replaceAll("_", "/") : part)
  const { length } = binary
  if (part.length % 4 === 1 || length !== Math.floor(part.length * 3 / 4)) throw new TypeError("not base64url")
  const bytes = length * 2 <= scratch.length ? scratch : new Uint8Array(length * 2)
  const { written } = encoder.encodeInto(binary, bytes)
  return written === length ? binary : utf8.decode(bytes.subarray(0, once(bytes, written)))
}

// Undoes one of the two UTF-8 encodings in `bytes`, in place, and answers with the new length.
const once = (bytes: Uint8Array, length: number): number => {
  let to = 0
  for (let from = 0; from < length; to++) {
    const byte = bytes[from++]!
    bytes[to] = byte < 0x80 ? byte : (byte << 6) | (bytes[from++]! & 0x3f)
  }
  return to
}

const decodeObject = (part: string): JsonObject | undefined => {
  try {
    const value: JsonObject | Array<unknown> | string | number | boolean | null = JSON.parse(decodeText(part))
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

// All tokens that an issuer signs with one key have one header.
let lastText: string | undefined
let lastHeader: JsonObject = {}

const decodeHeader = (text: string): JsonObject | string => {
  if (text === lastText) return lastHeader
  const header = decodeObject(text)
  if (header === undefined) return "its header is not a JSON object in base64url"
  lastText = text
  return lastHeader = Object.freeze(header)
}

/** The header of a compact token (RFC 7515, section 7.1), or what is wrong with the token. */
export const header = (token: string): JsonObject | string => {
  const first = token.indexOf(".")
  const second = token.indexOf(".", first + 1)
  return second < 0 || token.includes(".", second + 1) ? shape(token) : decodeHeader(token.slice(0, first))
}

/** Header and claims of a compact token (RFC 7519, section 3), or what is wrong with the token. */
export const both = (token: string): { readonly header: JsonObject; readonly claims: JsonObject } | string => {
  const first = token.indexOf(".")
  const second = token.indexOf(".", first + 1)
  if (second < 0 || token.includes(".", second + 1)) return shape(token)
  const header = decodeHeader(token.slice(0, first))
  if (typeof header === "string") return header
  const claims = decodeObject(token.slice(first + 1, second))
  return claims === undefined ? "its claims are not a JSON object in base64url" : { header, claims }
}

const shape = (token: string): string => {
  const parts = token.split(".").length
  return parts === 5 ? "it is encrypted (JWE), and only signed tokens can be read" : `it has ${parts} of 3 parts`
}
