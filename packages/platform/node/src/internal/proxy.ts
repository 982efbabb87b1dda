/**
 * The dispatcher for the proxies of the environment.
 */
import type * as Undici from "@effect/platform-node/Undici"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { LookupFunction } from "node:net"

// What undici speaks to.
const schemes = new Set(["http:", "https:", "socks5:", "socks:"])

/** The address of a proxy, as curl reads it: one without a scheme is http. */
const addressOf = (value: string): Option.Option<string> => {
  const url = URL.parse(/^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`)
  return url !== null && schemes.has(url.protocol) ? Option.some(url.href) : Option.none()
}

const told = (name: string) =>
  Effect.map(
    Effect.forEach([name, name.toUpperCase()], (name) => Effect.option(Config.NonEmptyString(name))),
    Option.firstSomeOf
  )

/**
 * Makes the dispatcher, which resolves names by `lookup` where no proxy does, and shows the certificate to the server, not
 * to the proxy. An address that is none fails the requests, with the code `ERR_INVALID_PROXY`.
 */
export const make = Effect.fnUntraced(function*(
  { Dispatcher, EnvHttpProxyAgent }: typeof Undici,
  connecting: {
    readonly lookup?: LookupFunction
    readonly cert?: string
    readonly key?: string
  }
): Effect.fn.Return<Undici.Dispatcher> {
  /** Refuses each request, and nothing before: who needs no network needs no proxy. */
  class Refusing extends Dispatcher {
    override dispatch(): boolean {
      throw Object.assign(new Error("the address of the proxy is none"), { code: "ERR_INVALID_PROXY" })
    }
    override destroy(): Promise<void> {
      return Promise.resolve()
    }
  }
  const [http, https] = [yield* told("http_proxy"), yield* told("https_proxy")]
  const [httpProxy, httpsProxy] = [Option.flatMap(http, addressOf), Option.flatMap(https, addressOf)]
  const isNone = Option.isSome(http) !== Option.isSome(httpProxy) || Option.isSome(https) !== Option.isSome(httpsProxy)
  if (isNone) return new Refusing()
  return yield* Effect.orElseSucceed(
    Effect.try(() =>
      new EnvHttpProxyAgent({
        connect: connecting,
        requestTls: { cert: connecting.cert, key: connecting.key },
        ...(Option.isSome(httpProxy) ? { httpProxy: httpProxy.value } : {}),
        ...(Option.isSome(httpsProxy) ? { httpsProxy: httpsProxy.value } : {})
      })
    ),
    // Where the program's configuration is not the environment, undici still reads that.
    () => new Refusing()
  )
})
