// What goes through the proxies that the environment names, and what is said of them. Each place that is asked directly
// is refused without a packet that leaves this machine, as is a name with a label of 64 characters.
import { type IamError, IamHttp } from "@effect-authn/core"
import { NodeAuth } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, type Scope } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { execFile } from "node:child_process"
import { createServer as createHttpServer, type RequestListener } from "node:http"
import Net, { connect, createServer, type Server, type Socket } from "node:net"

// oxlint-disable-next-line typescript/unbound-method -- the proxy hands `this` on
const { connect: connectSocket } = Net.Socket.prototype
Net.Socket.prototype.connect = new Proxy(connectSocket, {
  apply: (target, self, args: ReadonlyArray<unknown>) => {
    const [options] = args.flat()
    // Where no proxy of these tests listens, nobody does.
    if (
      typeof options === "object" && options !== null && "port" in options && [80, 443].includes(Number(options.port))
    ) {
      Object.assign(options, { host: "127.0.0.1", port: 1 })
    }
    return Reflect.apply(target, self, args)
  }
})

const secret = "hunter2-of-the-proxy"

const listening = (server: Server): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () => Effect.sync(() => server.close())
  )

const http = (listener: RequestListener) => listening(createHttpServer({ keepAliveTimeout: 1 }, listener))

/** An HTTP proxy that answers CONNECT with a status, or connects everything to one port; and what it was asked. */
const httpProxy = Effect.fnUntraced(function*(answer: number | { readonly port: number }) {
  const asked: Array<string> = []
  const authorized: Array<string | undefined> = []
  const server = createHttpServer({ keepAliveTimeout: 1 }, (request, response) => {
    asked.push(request.url ?? "")
    authorized.push(request.headers["proxy-authorization"])
    response.writeHead(answer === 407 ? 407 : 200, { "content-type": "text/plain" }).end("from the proxy")
  })
  server.on("connect", (request, socket: Socket) => {
    asked.push(request.url ?? "")
    authorized.push(request.headers["proxy-authorization"])
    socket.on("error", () => {})
    if (typeof answer === "number") {
      socket.end(`HTTP/1.1 ${answer} No\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    const target = connect(answer.port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n")
      target.pipe(socket)
      socket.pipe(target)
    }).on("error", () => socket.destroy())
  })
  return { port: yield* listening(server), asked, authorized }
})

/** A SOCKS proxy that takes one password (RFC 1929) and refuses to connect (RFC 1928, reply 2). */
const socksProxy = Effect.gen(function*() {
  const seen: Array<string> = []
  const server = createServer((socket) => {
    let step = 0
    socket.on("error", () => {})
    socket.on("data", (data) => {
      if (step === 0) socket.write(Buffer.from([5, data.includes(2, 2) ? 2 : 0xff]))
      else if (step === 1) {
        const user = data.subarray(2, 2 + data[1]!).toString()
        const password = data.subarray(3 + data[1]!).toString()
        seen.push(`${user}:${password}`)
        socket.write(Buffer.from([1, password === "p@ss" ? 0 : 1]))
      } else {
        seen.push(data.subarray(5, 5 + data[4]!).toString())
        socket.write(Buffer.from([5, 2, 0, 1, 0, 0, 0, 0, 0, 0]))
      }
      step++
    })
  })
  return { port: yield* listening(server), seen }
})

const under = (env: Record<string, string>) =>
  Layer.fresh(NodeAuth.layerHttpClient).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
  )

const call: IamHttp.Call = { issuer: "https://iam.example", method: "login", secrets: [] }

/** What a program is told that asks an IAM. */
const refusal = (url: string, env: Record<string, string>) =>
  Effect.map(
    Effect.flip(Effect.provide(IamHttp.execute(HttpClientRequest.post(url), call), under(env))),
    (error) => {
      assert.notMatch(error.message, /hunter2|of-the-proxy|ada|p%40ss/)
      return error
    }
  )

const away = `${"a".repeat(64)}.example`

describe("this machine", () => {
  it.live("is never asked of a proxy, whatever the variables say", () =>
    Effect.gen(function*() {
      const proxy = yield* httpProxy(502)
      const port = yield* http((_, response) => response.end("{\"from\":\"here\"}"))
      for (const value of [`http://127.0.0.1:${proxy.port}`, `127.0.0.1:${proxy.port}`, "http://[", "ftp://x"]) {
        for (const host of ["127.0.0.1", "localhost", "127.1"]) {
          const answer = yield* IamHttp.execute(HttpClientRequest.get(`http://${host}:${port}/`), call).pipe(
            Effect.provide(under({ HTTP_PROXY: value, https_proxy: value }))
          )
          assert.deepStrictEqual(answer.body, Option.some({ from: "here" }))
        }
      }
      yield* refusal("https://127.0.0.9:1/", { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` })
      yield* refusal("https://[::1]:1/", { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` })
      assert.deepStrictEqual(proxy.asked, [])
    }).pipe(Effect.scoped))
})

describe("NO_PROXY", () => {
  it.live("takes a request from its proxy", () =>
    Effect.gen(function*() {
      const proxy = yield* httpProxy(502)
      const HTTPS_PROXY = `127.0.0.1:${proxy.port}`
      const direct = yield* refusal(`https://${away}/`, { HTTPS_PROXY, NO_PROXY: "10.0.0.0/8,.example" })
      assert.notInclude(direct.message, "HTTPS_PROXY")
      assert.deepStrictEqual(proxy.asked, [])
      yield* refusal(`https://${away}/`, { HTTPS_PROXY, NO_PROXY: "10.0.0.0/8,.example:8443" })
      assert.deepStrictEqual(proxy.asked, [`${away}:443`])
    }).pipe(Effect.scoped))

  const cases: ReadonlyArray<readonly [list: string, host: string, isDirect: boolean]> = [
    ["10.0.0.0/8", "10.1.2.3", true],
    ["10.1.0.0/16, other.example", "10.1.2.3", true],
    ["10.1.2.3/32", "10.1.2.3", true],
    ["10.1.2.3", "10.1.2.3", true],
    ["0.0.0.0/0", "10.1.2.3", true],
    ["10.1.0.0/16:443", "10.1.2.3", true],
    ["10.1.0.0/16", "[::ffff:10.1.2.3]", true],
    ["10.1.0.0/16", "0x0a.0x01.2.3", true],
    ["10.2.0.0/16", "10.1.2.3", false],
    ["10.1.0.0/16:8443", "10.1.2.3", false],
    ["10.1.2.3/33", "10.1.2.3", false],
    ["10.1.2.3/x", "10.1.2.3", false],
    ["10.1.2.3/-1", "10.1.2.3", false],
    ["10.1.2.3/", "10.1.2.3", false],
    ["10.1.2.3/8/8", "10.1.2.3", false],
    ["10.1", "10.1.2.3", false],
    ["10.0.0.0/8", "api.example", false],
    ["10.0.0.0/8", "10.example", false],
    ["::/0", "10.1.2.3", false],
    ["fd00::/8", "[fd12::1]", true],
    ["[fd00::]/8", "[fd12::1]", true],
    ["fd12:0:0::1", "[fd12::1]", true],
    ["[fd12::1]:443", "[fd12::1]", true],
    ["[fd12::1]:8443", "[fd12::1]", false],
    ["fe80::/10", "[fd12::1]", false],
    ["fd00::/129", "[fd12::1]", false],
    ["*", "api.example", true],
    ["*:443", "api.example", true],
    ["*:80", "api.example", false],
    ["API.Example", "api.example", true],
    ["example", "api.example.", true],
    [".example", "api.example", true],
    ["*.example", "api.example", true],
    ["example.", "api.example", true],
    ["münchen.example", "api.münchen.example", true],
    ["  a.test\texample:443 ", "api.example", true],
    ["example:8443", "api.example", false],
    ["xample", "api.example", false],
    ["*.api.example", "api.example", false],
    ["[, ://, :, ., /, %, @", "api.example", false],
    ["", "localhost", true],
    ["", "a.localhost", true],
    ["", "127.255.0.1", true],
    ["", "[::1]", true],
    ["", "0.0.0.0", true],
    ["", "localhost.example", false],
    ["", "128.0.0.1", false]
  ]
  it.live("lists names, addresses and ranges, and this machine is always in it", () =>
    Effect.gen(function*() {
      for (const [NO_PROXY, host, isDirect] of cases) {
        const proxy = yield* httpProxy(502)
        const error = yield* refusal(`https://${host}/`, { HTTPS_PROXY: `127.0.0.1:${proxy.port}`, NO_PROXY })
        assert.strictEqual(proxy.asked.length === 0, isDirect, `"${NO_PROXY}" and ${host}`)
        assert.strictEqual(error.message.includes("HTTPS_PROXY"), !isDirect, error.message)
      }
    }).pipe(Effect.scoped))
})

describe("what a proxy did", () => {
  const tagOf = (error: IamError.IamError) =>
    error.reason._tag === "Unavailable" ? `Unavailable ${error.reason.sent}` : error.reason._tag

  it.live("is told as its doing, with the variable's name: a refused tunnel, a password that is wanted", () =>
    Effect.gen(function*() {
      for (const status of [400, 403, 404, 405, 429, 500, 502, 503, 504]) {
        const { port } = yield* httpProxy(status)
        const error = yield* refusal("https://iam.example/", { https_proxy: `http://ada:${secret}@127.0.0.1:${port}` })
        assert.strictEqual(tagOf(error), "Unavailable no")
        assert.include(error.message, `the proxy that https_proxy names did not connect to it (${status})`)
      }
      const { authorized, port } = yield* httpProxy(407)
      const error = yield* refusal("https://iam.example/", { HTTP_PROXY: `ada:${secret}@127.0.0.1:${port}` })
      assert.strictEqual(tagOf(error), "Misconfigured")
      assert.include(error.message, "the proxy that HTTP_PROXY names wants a user and a password")
      assert.notInclude(error.message, "try again later")
      assert.deepStrictEqual(authorized, [`Basic ${btoa(`ada:${secret}`)}`])
    }).pipe(Effect.scoped))

  it.live("is told where it cannot be reached, does not speak HTTP, or goes away", () =>
    Effect.gen(function*() {
      const closed = yield* Effect.scoped(http(() => {}))
      const silent = yield* listening(createServer((socket) => socket.on("error", () => {}).destroy()))
      const other = yield* listening(createServer((socket) => socket.on("error", () => {}).end("220 smtp ready\r\n")))
      for (const host of [`127.0.0.1:${closed}`, `localhost:${silent}`, `localhost:${other}`, away]) {
        for (const scheme of ["http", "https", "socks5"]) {
          // A SOCKS proxy that says nothing is waited for.
          if (scheme === "socks5" && host.startsWith("localhost")) continue
          const HTTPS_PROXY = `${scheme}://ada:${secret}@${host}`
          const error = yield* refusal("https://iam.example/", { HTTPS_PROXY })
          assert.include(error.message, "the proxy that HTTPS_PROXY names cannot be reached", `${scheme} ${host}`)
          assert.strictEqual(tagOf(error), "Unavailable no")
        }
      }
    }).pipe(Effect.scoped))

  it.live("is not what the server behind it did", () =>
    Effect.gen(function*() {
      const target = yield* listening(
        createServer((socket) => socket.on("error", () => {}).end("HTTP/1.1 200 OK\r\n\r\n"))
      )
      const { asked, port } = yield* httpProxy({ port: target })
      const error = yield* refusal("https://iam.example/", { HTTPS_PROXY: `http://127.0.0.1:${port}` })
      assert.deepStrictEqual(asked, ["iam.example:443"])
      assert.include(error.message, "does not speak TLS")
      assert.notInclude(error.message, "proxy")
    }).pipe(Effect.scoped))

  it.live("is an answer where it answers itself, and 407 is its own", () =>
    Effect.gen(function*() {
      const good = yield* httpProxy(502)
      const text = yield* Effect.flatMap(HttpClient.get("http://api.example/x"), (answer) => answer.text).pipe(
        Effect.provide(under({ http_proxy: `127.0.0.1:${good.port}` }))
      )
      assert.deepStrictEqual([text, good.asked], ["from the proxy", ["http://api.example/x"]])
      const strict = yield* httpProxy(407)
      const refused = yield* refusal("http://api.example/x", { http_proxy: `ada:${secret}@127.0.0.1:${strict.port}` })
      assert.strictEqual(tagOf(refused), "Misconfigured")
      const gone = yield* Effect.scoped(http(() => {}))
      const away = yield* refusal("http://api.example/x", { http_proxy: `127.0.0.1:${gone}` })
      assert.include(away.message, "the proxy that http_proxy names cannot be reached (ECONNREFUSED)")
    }).pipe(Effect.scoped))

  it.live("by SOCKS, with a password that is decoded once", () =>
    Effect.gen(function*() {
      const { port, seen } = yield* socksProxy
      for (const scheme of ["socks5", "socks5h", "socks", "SOCKS5"]) {
        const HTTPS_PROXY = `${scheme}://ada:p%40ss@127.0.0.1:${port}`
        const error = yield* refusal("https://iam.example/", { HTTPS_PROXY })
        assert.strictEqual(tagOf(error), "Unavailable no")
        assert.include(error.message, "the proxy that HTTPS_PROXY names did not connect to it (SOCKS REPLY_2)")
        assert.deepStrictEqual(seen.splice(0), ["ada:p@ss", "iam.example"])
      }
      for (const user of [`ada:${secret}@`, ""]) {
        const wrong = yield* refusal("https://iam.example/", { HTTPS_PROXY: `socks5://${user}127.0.0.1:${port}` })
        assert.strictEqual(tagOf(wrong), "Misconfigured")
        assert.include(wrong.message, "wants a user and a password")
      }
    }).pipe(Effect.scoped))
})

describe("an address that is none", () => {
  const wrong = [
    "http://[",
    "ftp://127.0.0.1:1",
    "http://",
    "socks4://127.0.0.1:1",
    `http://ada:${secret}/x@127.0.0.1:1`,
    `http://ada:1${secret}`,
    `http://ada:1?${secret}@127.0.0.1:1`,
    `http://ada:1#${secret}@127.0.0.1:1`,
    `ada:1/${secret}@127.0.0.1:1`,
    `http://ada:%${secret}@127.0.0.1:1`
  ]
  for (const value of wrong) {
    it.live(`is told by its variable: ${value.replace(secret, "…")}`, () =>
      Effect.gen(function*() {
        const error = yield* refusal("https://iam.example/", { https_proxy: value })
        assert.strictEqual(error.reason._tag, "Misconfigured")
        assert.include(error.message, "https_proxy is not the address of a proxy: write http://host:port")
        const provided = Effect.provide(
          NodeAuth.proxies,
          ConfigProvider.layer(ConfigProvider.fromEnv({ env: { https_proxy: value } }))
        )
        assert.deepStrictEqual(yield* provided, [{ variable: "https_proxy", shown: Option.none() }])
      }))
  }

  it.live("is looked at only by the requests that need it", () =>
    Effect.gen(function*() {
      const { asked, port } = yield* httpProxy(502)
      yield* refusal("https://iam.example/", { HTTPS_PROXY: `127.0.0.1:${port}`, HTTP_PROXY: "http://[" })
      assert.deepStrictEqual(asked, ["iam.example:443"])
      const direct = yield* refusal(`https://${away}/`, { HTTPS_PROXY: "http://[", NO_PROXY: "example" })
      assert.notInclude(direct.message, "HTTPS_PROXY")
    }).pipe(Effect.scoped))

  it.live("and one that is good is shown without what is secret", () =>
    Effect.gen(function*() {
      const shown = (value: string) =>
        Effect.map(
          Effect.provide(
            NodeAuth.proxies,
            ConfigProvider.layer(ConfigProvider.fromEnv({ env: { HTTPS_PROXY: value } }))
          ),
          ([proxy]) => Option.getOrElse(proxy!.shown, () => "")
        )
      assert.strictEqual(yield* shown(`http://ada:${secret}@p@proxy.example:8080/x?y`), "http://…@proxy.example:8080")
      assert.strictEqual(yield* shown("  proxy.example:8080\r"), "http://proxy.example:8080")
      assert.strictEqual(yield* shown(`socks5h://${secret}@proxy.example`), "socks5h://…@proxy.example")
    }))
})

it.live.each(["socks5://127.0.0.1:1", "https://127.0.0.1:1", "https://[::1]:1"])(
  "%s prints no warning of Node's",
  (address) =>
    Effect.gen(function*() {
      const program = `
      import { NodeAuth } from "@effect-authn/platform-node"
      import { Effect } from "effect"
      import { HttpClient } from "effect/http"
      for (const url of ["https://iam.example/", "http://iam.example/"]) {
        const { _tag } = await Effect.runPromise(Effect.provide(Effect.exit(HttpClient.get(url)), NodeAuth.layerHttpClient))
        console.log(_tag)
      }
      process.emitWarning("this one stays")`
      const { stderr, stdout } = yield* Effect.callback<{ stdout: string; stderr: string }>((resume) => {
        execFile(process.execPath, ["--input-type=module", "--eval", program], {
          cwd: import.meta.dirname,
          env: { ...process.env, https_proxy: address, http_proxy: address }
        }, (_, stdout, stderr) => resume(Effect.succeed({ stdout, stderr })))
      })
      assert.strictEqual(stdout, "Failure\nFailure\n", stderr)
      assert.include(stderr, "this one stays")
      assert.notMatch(stderr, /SOCKS|experimental|ServerName/i)
    })
)
