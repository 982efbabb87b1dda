/**
 * Which addresses may carry a secret, how an address is shown, and why no secret follows a redirect.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Option from "effect/Option"

/**
 * Whether an address is on this machine: `localhost`, 127.0.0.0/8 or `::1`, as the URL standard reads the host
 * (`127.1`, `LOCALHOST`).
 *
 * `localhost.` and the names below it are not: a resolver may ask the network for them.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLoopback = ({ hostname }: URL): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)

/**
 * Whether a secret may be sent to an address: https, or http to this machine. What is no URL may carry none.
 *
 * @category guards
 * @since 0.1.0
 */
export const mayCarrySecrets = (address: string | URL): boolean => {
  const url = URL.parse(address)
  return url !== null && (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url)))
}

/**
 * An address as a message may show it: without user, password, query and fragment. The text may be no URL.
 *
 * @category formatting
 * @since 0.1.0
 */
export const shown = (address: string): string => {
  const [, scheme = "", rest = address] = /^([^:@\\/?#]*:[\\/]*|[\\/]{2,})(.*)$/s.exec(address) ?? []
  const [place = ""] = rest.split(/[?#]/)
  if (scheme === "") return place
  // A password may have a "?" or a "#" in it: an "@" behind one leaves open where the host begins.
  return rest.slice(place.length).includes("@") ? `${scheme}…` : scheme + place.replace(/^.*@/s, "…@")
}

/**
 * Sends the requests of an effect without following redirects, since a 307 hands the body on, and a redirect may lead
 * from https to http. What the program has set in `FetchHttpClient.RequestInit` stays.
 *
 * `fetch` follows redirects unless told; the other clients never do.
 *
 * @category requests
 * @since 0.1.0
 */
export const withoutRedirects = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(
    Effect.serviceOption(FetchHttpClient.RequestInit),
    (init) =>
      Effect.provideService(effect, FetchHttpClient.RequestInit, {
        ...Option.getOrUndefined(init),
        redirect: "manual"
      })
  )
