/**
 * What a person pastes when they are asked for the address where their browser ended. It comes through mail, chats,
 * terminals and other programs, which quote it, wrap it, and encode it for another language.
 */
import * as Result from "effect/Result"

/** The login for which an address is asked. */
interface Asked {
  /** Where the browser ends. */
  readonly redirectUri: string
  /** The IAM's page, where it begins. */
  readonly url: string
  readonly state: string
}

/** An address to complete the login with. `isWhole` says whether it has this login's state, and more than that. */
interface Pasted {
  readonly callbackUrl: string
  readonly isWhole: boolean
}

// None of these is in an address as it is: browsers encode them (WHATWG URL, query percent-encode set), and no wrap is.
const foreign = /[\s\p{C}<>"`\\“”„‟«»‹›]+/gu

const decodedWhole = (text: string): string => Result.getOrElse(Result.try(() => decodeURIComponent(text)), () => text)

/** Undoes what other programs do to an address. */
const cleaned = (text: string): string => {
  const decoded = text
    .replace(/\\u0026/gi, "&")
    .replace(/&(amp;|#38;|#x26;)+/gi, "&")
    .replace(/&(quot|lt|gt|#34|#39|#x22|#x27|apos);/gi, "\"")
    .replace(foreign, "")
    .replace(/^https?%3a%2f%2f.*$/i, decodedWhole)
  return decoded.replace(/^['’‘([{,;]+|['’‘)\]},;]+$/g, "")
}

/** The query of an address, or of what is left of one; `place` is the address without it, where that is whole. */
const parts = (text: string): { readonly place: string | undefined; readonly query: string } => {
  const begin = text.search(/https?:\/\//i)
  const address = begin === -1 ? text : text.slice(begin)
  const mark = address.indexOf("?")
  const query = mark === -1 ? (begin === -1 ? address : "") : address.slice(mark + 1)
  return { place: begin === -1 ? undefined : placeOf(address), query: query.replace(/#.*$/, "") }
}

const placeOf = (address: string): string | undefined => {
  const url = URL.parse(address)
  return url === null ? undefined : url.origin + url.pathname
}

/** Reads what was pasted. A failure says in words for people why it is not the address; the words have nothing of it. */
export const read = (text: string, { redirectUri, state, url }: Asked): Result.Result<Pasted, string> => {
  const address = cleaned(text)
  if (address === "") return Result.fail("there was nothing in it")
  const { place, query } = parts(address)
  if (place !== undefined && place === placeOf(url) && place !== placeOf(redirectUri)) {
    return Result.fail("that is the address to open, not the one where the browser ends")
  }
  const parameters = new URLSearchParams(query)
  if (![...parameters].some(([name, value]) => name !== "" && value !== "")) {
    return Result.fail("it is not the address of a page where a sign-in ends")
  }
  // Some IAMs append `?token=…` to a redirect URI that has its state in a query already.
  const states = parameters.getAll("state").map((text) => text.replace(/\?.*/s, ""))
  const isOurs = states.length === 1 && states[0] === state
  if (states.length > 0 && !isOurs) return Result.fail("it is not all there, or it belongs to another sign-in")
  const callbackUrl = new URL(redirectUri)
  callbackUrl.search = query
  const isWhole = isOurs && [...parameters.keys()].some((name) => name !== "state")
  return Result.succeed({ callbackUrl: callbackUrl.href, isWhole })
}
