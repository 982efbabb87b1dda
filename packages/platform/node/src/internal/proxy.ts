/**
 * The proxies that the environment names.
 *
 * What a proxy did is told as its doing, with the name of the variable and with nothing of the address: a password that was
 * not encoded can end up in every part of one.
 */
import type * as Undici from "@effect/platform-node/Undici"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { isIP, type LookupFunction } from "node:net"
import * as NoProxy from "./noProxy.ts"
import { withoutWarning } from "./withoutWarning.ts"

/** A variable that names a proxy. Its address is `None` where it is none, or of a kind that is not spoken. */
interface Setting {
  readonly variable: string
  readonly address: Option.Option<URL>
}

// `socks5h` asks for what is always done: the proxy resolves the names.
const schemes = new Set(["http:", "https:", "socks5:", "socks5h:", "socks:"])

/** The address of a proxy, as curl reads it: one without a scheme is http, and what stands behind the port says nothing. */
const addressOf = (value: string): Option.Option<URL> => {
  const url = URL.parse(/^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`)
  if (url === null || !schemes.has(url.protocol) || url.hostname === "" || !isWhole(url)) return Option.none()
  return Option.some(Object.assign(url, { pathname: "", search: "", hash: "" }))
}

/** A "/", "?" or "#" in a password ends the host; a "%" that encodes nothing cannot be decoded. */
const isWhole = ({ hash, password, pathname, search, username }: URL): boolean =>
  !`${pathname}${search}${hash}`.includes("@") && !/%(?![\da-f]{2})/i.test(`${username} ${password}`)

const told = (name: string) =>
  Effect.map(
    Effect.forEach([name, name.toUpperCase()], (variable) =>
      Effect.option(Effect.map(Config.NonEmptyString(variable), (value) => ({ variable, value: value.trim() })))),
    Option.firstSomeOf
  )

const settingOf = (name: string): Effect.Effect<Option.Option<Setting>> =>
  Effect.map(told(name), Option.map(({ value, variable }) => ({ variable, address: addressOf(value) })))

/** What the variables say: where there is none for https, the one for http counts. */
export const settings = Effect.gen(function*() {
  const http = yield* settingOf("http_proxy")
  const https = yield* settingOf("https_proxy")
  return { http, https: Option.orElse(https, () => http) }
})

/** What a proxy did: a code and facts, in which no secret can be. `IamHttp` has the words for a person. */
type Fault =
  | { readonly code: "ERR_INVALID_PROXY" }
  | { readonly code: "ERR_PROXY_UNREACHABLE"; readonly why: string }
  | { readonly code: "ERR_PROXY_REFUSED"; readonly answer: string }

const failure = (variable: string, fault: Fault): Error =>
  Object.assign(new Error(`${fault.code}: the proxy that ${variable} names`), { ...fault, variable })

const refused = (variable: string, answer: number | string): Error =>
  failure(variable, { code: "ERR_PROXY_REFUSED", answer: String(answer) })

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : ""

const unreachable = (variable: string, cause: unknown): Error =>
  failure(variable, { code: "ERR_PROXY_UNREACHABLE", why: codeOf(cause) || "no connection" })

/** Whether a connection to a proxy failed, of whatever was behind it nothing is known. */
const isUnconnected = (cause: Error): boolean =>
  ("syscall" in cause && /^(connect|getaddrinfo)$/.test(String(cause.syscall))) ||
  codeOf(cause) === "UND_ERR_CONNECT_TIMEOUT"

/** A dispatcher whose errors are looked at: where the proxy is at fault, they say so. */
const blaming = (
  { DecoratorHandler, Dispatcher }: typeof Undici,
  agent: Undici.Dispatcher,
  blame: (error: Error, options: Undici.Dispatcher.DispatchOptions) => Error
): Undici.Dispatcher =>
  new class extends Dispatcher {
    override dispatch(options: Undici.Dispatcher.DispatchOptions, handler: Undici.Dispatcher.DispatchHandler): boolean {
      const blamed: Undici.Dispatcher.DispatchHandler = new DecoratorHandler(handler)
      let isOver = false
      blamed.onResponseError = (controller, error) => {
        if (!isOver) handler.onResponseError?.(controller, blame(error, options))
        isOver = true
      }
      // The page of a 407 comes after its error.
      blamed.onResponseData = (controller, chunk) => {
        if (!isOver) handler.onResponseData?.(controller, chunk)
      }
      blamed.onResponseEnd = (controller, trailers) => {
        if (!isOver) handler.onResponseEnd?.(controller, trailers)
      }
      return agent.dispatch(options, blamed)
    }
    override destroy(): Promise<void> {
      return agent.destroy()
    }
  }()

/** What this program shows to the server behind a proxy. */
interface Certificate {
  readonly cert: string | undefined
  readonly key: string | undefined
}

/** No name is shown where there is an address only (RFC 6066, section 3): Node would warn the user of it. */
const unnamed = (options: object): Undici.Pool.Options => {
  const connect: unknown = Reflect.get(options, "connect")
  if (typeof connect !== "function") return options
  const connector: Undici.buildConnector.connector = ({ servername, ...others }, done) =>
    connect(isIP((servername ?? "").replace(/^\[|\]$/g, "")) === 0 ? { ...others, servername } : others, done)
  return Object.assign({}, options, { connect: connector })
}

/** Through an HTTP proxy: to https by a tunnel, to http with the whole address in the request. */
const byHttp = (
  undici: typeof Undici,
  proxy: URL,
  variable: string,
  requestTls: Certificate
): Undici.Dispatcher => {
  const agent = new undici.ProxyAgent({
    uri: proxy.href,
    requestTls,
    factory: (origin, options) => new undici.Pool(origin, unnamed(options)),
    // Whatever fails while a tunnel is dug is the proxy's doing.
    clientFactory: (origin, options) => {
      const pool = new undici.Pool(origin, unnamed(options))
      const connect: (options: Undici.Dispatcher.ConnectOptions) => Promise<Undici.Dispatcher.ConnectData> = pool
        .connect
        .bind(pool)
      return Object.assign(pool, {
        connect: (options: Undici.Dispatcher.ConnectOptions) =>
          connect(options).then(
            (tunnel) => {
              if (tunnel.statusCode === 200) return tunnel
              tunnel.socket.on("error", () => {}).destroy()
              throw refused(variable, tunnel.statusCode)
            },
            (cause: unknown) => {
              throw unreachable(variable, cause)
            }
          )
      })
    }
  })
  return blaming(undici, agent, (error, { origin }) => {
    if (!String(origin).startsWith("http:")) return error
    // undici's own word for a 407.
    if (codeOf(error) === "UND_ERR_INVALID_ARG") return refused(variable, 407)
    return isUnconnected(error) ? unreachable(variable, error) : error
  })
}

/** Through a SOCKS proxy, which connects, and does no more. */
const bySocks = (
  undici: typeof Undici,
  proxy: URL,
  variable: string,
  requestTls: Certificate
): Undici.Dispatcher => {
  const agent = withoutWarning(
    "SOCKS5 proxy support is experimental",
    () => new undici.Socks5ProxyAgent(`socks5:${proxy.href.slice(proxy.protocol.length)}`, { requestTls })
  )
  return blaming(undici, agent, (error) => {
    const [, answer] = /^UND_ERR_SOCKS5_(\w+)$/.exec(codeOf(error)) ?? []
    if (answer !== undefined) return refused(variable, `SOCKS ${answer}`)
    return isUnconnected(error) ? unreachable(variable, error) : error
  })
}

/** What connections are made with: how names are resolved, and the certificate of this side. */
export interface Connecting {
  readonly lookup?: LookupFunction
  readonly cert?: string
  readonly key?: string
}

/**
 * Makes the dispatcher, which resolves names by `lookup` where no proxy does, and shows the certificate to the server, not
 * to the proxy. A variable that is no address fails the requests that would go there.
 */
export const make = Effect.fnUntraced(function*(
  undici: typeof Undici,
  connecting: Connecting
): Effect.fn.Return<Undici.Dispatcher> {
  const { http, https } = yield* settings
  const noProxy = yield* told("no_proxy")
  const isDirect = NoProxy.make(Option.match(noProxy, { onNone: () => "", onSome: ({ value }) => value }))
  const direct = new undici.Agent({ connect: connecting })
  const proxies = new Map<Setting, Undici.Dispatcher>()
  for (const setting of [...Option.toArray(http), ...Option.toArray(https)]) {
    if (Option.isNone(setting.address) || proxies.has(setting)) continue
    const by = setting.address.value.protocol.startsWith("socks") ? bySocks : byHttp
    proxies.set(
      setting,
      by(undici, setting.address.value, setting.variable, { cert: connecting.cert, key: connecting.key })
    )
  }

  const dispatcherTo = (url: URL): Undici.Dispatcher => {
    const setting = url.protocol === "https:" ? https : http
    if (Option.isNone(setting) || isDirect(url)) return direct
    const proxy = proxies.get(setting.value)
    if (proxy === undefined) throw failure(setting.value.variable, { code: "ERR_INVALID_PROXY" })
    return proxy
  }

  return new class extends undici.Dispatcher {
    override dispatch(options: Undici.Dispatcher.DispatchOptions, handler: Undici.Dispatcher.DispatchHandler): boolean {
      return dispatcherTo(new URL(options.origin ?? "")).dispatch(options, handler)
    }
    override destroy(): Promise<void> {
      return Promise.all([direct, ...proxies.values()].map((dispatcher) => dispatcher.destroy())).then(() => {})
    }
  }()
})
