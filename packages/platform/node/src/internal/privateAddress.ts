/** Which addresses are not public (RFC 6890), and how a connection to one is refused. */
import { PublicHttpClient } from "@effect-authn/core/iam/PublicHttpClient"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Dns from "node:dns"
import * as Net from "node:net"

const ranges = [
  "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16",
  "198.18.0.0/15 224.0.0.0/4 240.0.0.0/4",
  ":: ::1 64:ff9b:1::/48 fc00::/7 fe80::/10 fec0::/10 ff00::/8"
]

const makeBlocked = (): Net.BlockList => {
  const blocked = new Net.BlockList()
  for (const range of ranges.join(" ").split(" ")) {
    const [network = "", prefix] = range.split("/")
    blocked.addSubnet(network, prefix === undefined ? 128 : Number(prefix), network.includes(":") ? "ipv6" : "ipv4")
  }
  return blocked
}
// Made for the first address, so that who sends nothing does not load `node:net`.
let made: Net.BlockList | undefined
const isBlocked = (address: string, family: Net.IPVersion): boolean => (made ??= makeBlocked()).check(address, family)

// What carries an address of IPv4 in one of IPv6: NAT64 (RFC 6052), 6to4 (RFC 3056) and `::a.b.c.d`.
const embedded = (address: string): string | undefined => {
  const host = URL.parse(`http://[${address}]`)?.hostname.slice(1, -1)
  const [, nat, high = "0", low = "0"] = /^(64:ff9b::|::|2002:)([\da-f]{1,4}):([\da-f]{1,4})(?=$|:)/.exec(host ?? "") ??
    []
  if (nat === undefined || host === undefined) return undefined
  const [first, second] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return [first >> 8, first & 255, second >> 8, second & 255].join(".")
}

const isPrivateIp = (address: string): boolean => {
  if (Net.isIPv4(address)) return isBlocked(address, "ipv4")
  const inside = embedded(address)
  return isBlocked(address.replace(/%.*$/, ""), "ipv6") || (inside !== undefined && isBlocked(inside, "ipv4"))
}

const bare = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, "")

const refused = (): Error =>
  Object.assign(new Error("the address leads into a private network"), { code: "ERR_PRIVATE_ADDRESS" })

/** Resolves a name as `dns.lookup` does, and fails where one of its addresses is not public. */
export const lookup: Net.LookupFunction = (hostname, options, callback) => {
  Dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, [])
    if (addresses.length === 0 || addresses.some(({ address }) => isPrivateIp(address))) return callback(refused(), [])
    if (options.all === true) return callback(null, addresses)
    callback(null, addresses[0]!.address, addresses[0]!.family)
  })
}

const isPrivate = (address: URL): Effect.Effect<boolean> => {
  const host = bare(address)
  if (Net.isIP(host) !== 0) return Effect.succeed(isPrivateIp(host))
  return Effect.callback<boolean>((resume) => {
    Dns.lookup(host, { all: true }, (error, addresses) => {
      resume(Effect.succeed(error === null && addresses.some(({ address }) => isPrivateIp(address))))
    })
  })
}

/** The service around a client whose connections are made by `lookup`, or that is looked for before it `resolves`. */
export const guard = (
  client: HttpClient.HttpClient,
  options: { readonly resolves: boolean }
): PublicHttpClient["Service"] =>
  PublicHttpClient.of({
    isPrivate,
    client: HttpClient.mapRequestEffect(client, (request) =>
      Effect.gen(function*() {
        const url = Option.getOrUndefined(HttpClientRequest.toUrl(request))
        // An address that is a number is connected to without a look-up.
        if (url === undefined || (Net.isIP(bare(url)) === 0 && !options.resolves) || !(yield* isPrivate(url))) {
          return request
        }
        return yield* new HttpClientError.HttpClientError({
          reason: new HttpClientError.TransportError({ request, cause: refused() })
        })
      }))
  })
