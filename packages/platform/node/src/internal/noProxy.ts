/** What goes to no proxy: this machine, always, and what `NO_PROXY` lists. */
import * as Net from "node:net"

const defaultPorts: { readonly [protocol: string]: number } = { "http:": 80, "https:": 443 }

/** Where a request goes: a name in lower case without its last dot, or a number without brackets. */
interface Place {
  readonly host: string
  readonly port: number
}

const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, "").replace(/(?<=.)\.$/, "")

const placeOf = (url: URL): Place => ({
  host: hostOf(url),
  port: Number(url.port) || (defaultPorts[url.protocol] ?? 0)
})

const rangesOf = (...ranges: ReadonlyArray<readonly [network: string, bits: number]>): Net.BlockList => {
  const list = new Net.BlockList()
  for (const [network, bits] of ranges) list.addSubnet(network, bits, Net.isIPv6(network) ? "ipv6" : "ipv4")
  return list
}

const isIn = (ranges: Net.BlockList, host: string): boolean =>
  Net.isIP(host) !== 0 && ranges.check(host, Net.isIPv6(host) ? "ipv6" : "ipv4")

// Made for the first address, so that who sends nothing does not load `node:net`.
let thisMachine: Net.BlockList | undefined

/** A proxy would take these for its own machine. */
const isThisMachine = ({ host }: Place): boolean => {
  if (/(^|\.)localhost$/.test(host)) return true
  thisMachine ??= rangesOf(["127.0.0.0", 8], ["0.0.0.0", 32], ["::1", 128], ["::", 128])
  return isIn(thisMachine, host)
}

type Matches = (place: Place) => boolean

const never: Matches = () => false

/** An entry is `*`, a name with all names below it (`*.name`: without itself), an address, or a range of addresses. */
const hosts = (entry: string): Matches => {
  if (entry === "*") return () => true
  const [address = "", bits, ...more] = entry.split("/")
  const network = address.replace(/^\[|\]$/g, "")
  if (Net.isIP(network) !== 0) {
    const most = Net.isIPv6(network) ? 128 : 32
    const isRange = more.length === 0 && /^\d{1,3}$/.test(bits ?? "0") && Number(bits ?? most) <= most
    if (!isRange) return never
    const ranges = rangesOf([network, Number(bits ?? most)])
    // A range of IPv6 has none of IPv4, whatever the mapping says; an address that is mapped is one of IPv4.
    return ({ host }) => !(Net.isIPv6(network) && Net.isIPv4(host)) && isIn(ranges, host)
  }
  const name = URL.parse(`http://${entry.replace(/^\*?\./, "")}`)
  if (name === null) return never
  const suffix = hostOf(name)
  return ({ host }) => (host === suffix && !entry.startsWith("*")) || host.endsWith(`.${suffix}`)
}

const exception = (entry: string): Matches => {
  if (Net.isIPv6(entry.replace(/\/\d+$/, ""))) return hosts(entry)
  const [, place = "", port] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? []
  const matches = hosts(place)
  return port === undefined ? matches : (place) => place.port === Number(port) && matches(place)
}

/** Whether a request to an address goes to no proxy, by the value of `NO_PROXY`. */
export const make = (list: string): (url: URL) => boolean => {
  const exceptions = list.split(/[,\s]+/).filter((entry) => entry !== "").map(exception)
  return (url) => {
    const place = placeOf(url)
    return isThisMachine(place) || exceptions.some((matches) => matches(place))
  }
}
