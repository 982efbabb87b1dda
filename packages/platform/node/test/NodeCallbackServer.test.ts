import { CallbackServer } from "@effect-authn/core"
import { NodeCallbackServer } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { connect, createServer, type Server, type Socket } from "node:net"

const open = (options?: NodeCallbackServer.Options) =>
  Effect.flatMap(CallbackServer.CallbackServer, (server) => server.open).pipe(
    Effect.provide(NodeCallbackServer.layer(options))
  )

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

const get = (url: string, init: RequestInit = {}) =>
  Effect.promise(async (signal): Promise<Answer> => {
    const response = await fetch(url, { redirect: "manual", ...init, signal })
    return { status: response.status, headers: response.headers, text: await response.text() }
  })

const socket = (port: number, host = "127.0.0.1") =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect(port, host, () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const occupied = (host: string, port = 0) =>
  Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer()
      server.listen(port, host, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.map((server) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  }))

const iamPage = "https://iam.example/authorize?client_id=cli&state=s1"

const cookiesOf = ({ headers }: Answer) => headers.getSetCookie().map((cookie) => cookie.replace(/;.*/, ""))
const cookieOf = (answer: Answer) => cookiesOf(answer).join("; ")

const portOf = (uri: string) => Number(new URL(uri).port)

describe("NodeCallbackServer", () => {
  it.live("hands over the first callback with its state, shows the outcome, and closes with its scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const callback = yield* Scope.provide(open(), scope)
      const { port, pathname } = new URL(callback.redirectUri)
      assert.strictEqual(pathname, "/callback")
      const waiting = yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      const browser = yield* Effect.forkChild(get(`${callback.redirectUri}?code=c&state=s1&iss=x`))
      const { finish, url } = yield* Fiber.join(waiting)
      assert.strictEqual(url, `${callback.redirectUri}?code=c&state=s1&iss=x`)
      yield* finish("success")
      const page = yield* Fiber.join(browser)
      assert.strictEqual(page.status, 200)
      assert.include(page.text, "You are signed in")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Effect.map(Effect.exit(get(`http://127.0.0.1:${port}/`)), Exit.isFailure), true)
    }))

  it.live("takes an answer in a form as one in an address, which the browser then opens with its cookie", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const waiting = yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      const form = (body: string) =>
        get(callback.redirectUri, {
          method: "POST",
          body,
          headers: { "content-type": "application/x-www-form-urlencoded", origin: "https://iam.example" }
        })
      const posted = yield* form("code=c%26d&state=s1&iss=x")
      assert.strictEqual(posted.status, 303)
      const location = new URL(posted.headers.get("location") ?? "", callback.redirectUri).href
      assert.strictEqual(location, `${callback.redirectUri}?code=c%26d&state=s1&iss=x`)
      const browser = yield* Effect.forkChild(get(location))
      const { finish, url } = yield* Fiber.join(waiting)
      assert.strictEqual(url, location)
      yield* finish("success")
      assert.strictEqual((yield* Fiber.join(browser)).status, 200)
      assert.strictEqual((yield* form(`code=${"x".repeat(100_000)}`)).status, 405)
    }))

  it.live("listens on both addresses of loopback, at one port, and nowhere else", () =>
    Effect.gen(function*() {
      const callback = yield* open({ host: "localhost" })
      const port = portOf(callback.redirectUri)
      assert.strictEqual(callback.redirectUri, `http://localhost:${port}/callback`)
      for (const host of ["127.0.0.1", "[::1]", "localhost"]) {
        const waiting = yield* Effect.forkChild(callback.receive(host), { startImmediately: true })
        const browser = yield* Effect.forkChild(
          get(`http://${host}:${port}/callback?code=c&state=${encodeURIComponent(host)}`)
        )
        yield* (yield* Fiber.join(waiting)).finish("success")
        assert.strictEqual((yield* Fiber.join(browser)).status, 200)
      }
    }).pipe(Effect.scoped))

  it.live("is not disturbed by whatever else comes", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const port = portOf(callback.redirectUri)
      const base = `http://127.0.0.1:${port}`
      assert.strictEqual((yield* get(`${callback.redirectUri}?state=s1`)).status, 400, "before anybody waits")
      const waiting = yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })

      const idle = yield* socket(port)
      const halfOpen = yield* socket(port)
      halfOpen.write("GET /callback?code=c&state=s1 HTTP/1.1\r\nHost: 127.0")
      const garbage = yield* socket(port)
      garbage.write("\u0016\u0003\u0001 hello\r\n\r\n")
      const reset = yield* socket(port)
      reset.write("GET / HTTP/1.1\r\n")
      reset.resetAndDestroy()

      const statuses = {
        favicon: (yield* get(`${base}/favicon.ico`)).status,
        root: (yield* get(`${base}/`)).status,
        wrongState: (yield* get(`${callback.redirectUri}?code=c&state=s2`)).status,
        noState: (yield* get(`${callback.redirectUri}?code=c`)).status,
        twoStates: (yield* get(`${callback.redirectUri}?code=c&state=s1&state=s2`)).status,
        longer: (yield* get(`${callback.redirectUri}/x?state=s1`)).status,
        doubleSlash: (yield* get(`${base}//`)).status,
        post: (yield* get(`${callback.redirectUri}?code=c&state=s1`, {
          method: "POST",
          body: "code=evil&state=s1",
          headers: { origin: "http://evil.example", "content-type": "text/plain" }
        })).status,
        head: (yield* get(`${callback.redirectUri}?code=c&state=s1`, { method: "HEAD" })).status
      }
      assert.deepStrictEqual(statuses, {
        favicon: 404,
        root: 404,
        wrongState: 400,
        noState: 400,
        twoStates: 400,
        longer: 404,
        doubleSlash: 404,
        post: 405,
        head: 405
      })
      const browser = yield* Effect.forkChild(get(`${callback.redirectUri}?code=c&state=s1`))
      yield* (yield* Fiber.join(waiting)).finish("success")
      assert.strictEqual((yield* Fiber.join(browser)).status, 200)
      assert.isFalse(idle.destroyed)
    }).pipe(Effect.scoped))

  it.live("a page of a stranger that was pointed here is not served (DNS rebinding)", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      const port = portOf(callback.redirectUri)
      const asked = yield* callback.page({
        url: iamPage,
        confirmation: { title: "", text: "", facts: [], button: "Go on" }
      })
      const { pathname } = new URL(asked.url)
      const lines = [`GET /callback?code=c&state=s1`, `GET ${pathname}`, `POST ${pathname}`]
      const hosts = ["evil.example", `evil.example:${port}`, `127.0.0.1.evil.example:${port}`, `localhost.:${port}`, ""]
      for (const line of lines) {
        for (const host of hosts) {
          const raw = yield* socket(port)
          const answer = yield* Effect.callback<string>((resume) => {
            let text = ""
            raw.on("data", (chunk) => text += String(chunk))
            raw.on("close", () => resume(Effect.succeed(text)))
            raw.write(`${line} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
          })
          assert.match(answer, /^HTTP\/1\.1 404/, `${line} of ${host}`)
          assert.notMatch(answer, /set-cookie|location|Go on/i)
        }
      }
      assert.strictEqual((yield* get(asked.url)).status, 200, "nobody has opened the page yet")
    }).pipe(Effect.scoped))

  it.live("begins at a page of its own: the first browser gets a cookie and goes on, without which no callback is taken", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const page = yield* callback.page({ url: iamPage })
      const waiting = yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      assert.strictEqual(new URL(page.url).origin, new URL(callback.redirectUri).origin)
      assert.strictEqual(new URL(page.url).search, "")
      const back = `${callback.redirectUri}?code=c&state=s1`
      assert.strictEqual((yield* get(back)).status, 403, "before anybody has opened the page")

      assert.strictEqual((yield* get(page.url, { method: "HEAD" })).status, 405)
      assert.strictEqual((yield* get(page.url, { method: "POST" })).status, 405)
      const first = yield* get(page.url)
      assert.strictEqual(first.status, 303)
      assert.strictEqual(first.headers.get("location"), iamPage)
      assert.strictEqual(first.headers.get("cache-control"), "no-store")
      assert.strictEqual(first.headers.get("referrer-policy"), "no-referrer")
      const { pathname } = new URL(page.url)
      const paths = first.headers.getSetCookie().map((cookie) =>
        /^[\w-]+=[\w-]{36}; Path=(\S+); HttpOnly; SameSite=Lax$/.exec(cookie)?.[1]
      )
      assert.deepStrictEqual(paths, [pathname, "/callback"])
      const [ofPage = "", cookie = ""] = cookiesOf(first)
      const again = yield* get(page.url, { headers: { cookie: `other=1; ${ofPage}` } })
      assert.strictEqual(again.headers.get("location"), iamPage, "the same browser may come again")
      assert.isNull(again.headers.get("set-cookie"))

      for (const wrong of ["", ofPage, `${cookie}x`, `x${cookie}`, cookie.replace(/=.*/, "="), cookie.toUpperCase()]) {
        const refused = yield* get(back, { headers: { cookie: wrong } })
        assert.strictEqual(refused.status, 403, wrong)
        assert.include(refused.text, "did not begin the sign-in")
      }
      const browser = yield* Effect.forkChild(get(back, { headers: { cookie: `a=b; ${cookie}; c=d` } }))
      yield* (yield* Fiber.join(waiting)).finish("success")
      const done = yield* Fiber.join(browser)
      assert.strictEqual(done.status, 200)
      assert.include(done.headers.get("set-cookie") ?? "", "Max-Age=0", "the cookie is forgotten")
    }).pipe(Effect.scoped))

  it.live("a second browser at the page ends the sign-in, and neither of the two is let in any more", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const page = yield* callback.page({ url: iamPage })
      yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      const shared = yield* Effect.forkChild(Effect.flip(page.shared), { startImmediately: true })
      const cookie = cookieOf(yield* get(page.url))
      assert.isUndefined(shared.pollUnsafe())
      const [, ofCallback = ""] = cookie.split("; ")
      const second = yield* get(page.url, { headers: { cookie: ofCallback } })
      assert.strictEqual(second.status, 403)
      assert.include(second.text, "This sign-in was stopped")
      assert.isNull(second.headers.get("location"))
      assert.isNull(second.headers.get("set-cookie"))
      assert.include((yield* Fiber.join(shared)).message, "opened a second time")
      const headers = { cookie }
      assert.strictEqual((yield* get(page.url, { headers })).status, 403)
      assert.strictEqual((yield* get(`${callback.redirectUri}?code=c&state=s1`, { headers })).status, 403)
    }).pipe(Effect.scoped))

  it.live("a page that is printed instead, since no browser opened, asks for no cookie; the first one leads nowhere", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const page = yield* callback.page({ url: iamPage })
      assert.strictEqual(yield* page.printed, iamPage)
      const waiting = yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      const withdrawn = yield* get(page.url)
      assert.strictEqual(withdrawn.status, 410)
      assert.isNull(withdrawn.headers.get("set-cookie"))
      const browser = yield* Effect.forkChild(get(`${callback.redirectUri}?code=c&state=s1`))
      yield* (yield* Fiber.join(waiting)).finish("success")
      assert.strictEqual((yield* Fiber.join(browser)).status, 200)
      // It opened all the same.
      const other = yield* callback.page({ url: iamPage })
      const cookie = cookieOf(yield* get(other.url))
      assert.strictEqual(yield* other.printed, other.url)
      assert.strictEqual((yield* get(other.url, { headers: { cookie } })).status, 303)
    }).pipe(Effect.scoped))

  it.live("a page that asks first leads on by its button only, and by that of the browser with the cookie", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const confirmation = {
        title: "Sign in to a server?",
        text: "A program wants to.",
        facts: [["Server", "<img src=x onerror=alert(1)>\u202e"]] as const,
        button: "Go on"
      }
      const page = yield* callback.page({ url: iamPage, confirmation })
      assert.strictEqual((yield* get(page.url, { method: "POST" })).status, 405, "before anybody has read it")
      const first = yield* get(page.url)
      assert.strictEqual(first.status, 200)
      assert.isNull(first.headers.get("location"))
      assert.include(first.text, "&#60;img")
      assert.notMatch(first.text, /<img|\u202e|iam\.example/)
      assert.include(first.headers.get("content-security-policy") ?? "", "frame-ancestors 'none'")
      assert.strictEqual(first.headers.get("cache-control"), "no-store")
      const headers = { cookie: cookieOf(first) }
      const pressed = yield* get(page.url, { method: "POST", headers })
      assert.strictEqual(pressed.headers.get("location"), iamPage)
      assert.strictEqual(pressed.headers.get("referrer-policy"), "no-referrer")
      const shared = yield* Effect.forkChild(Effect.flip(page.shared), { startImmediately: true })
      assert.strictEqual((yield* get(page.url, { method: "POST" })).status, 403)
      yield* Fiber.join(shared)

      const printed = yield* callback.page({ url: iamPage, confirmation })
      const instead = yield* printed.printed
      assert.notStrictEqual(instead, printed.url)
      assert.strictEqual((yield* get(printed.url)).status, 410)
      assert.include((yield* get(instead)).text, "Sign in to a server?")
      assert.strictEqual((yield* get(instead, { method: "POST" })).headers.get("location"), iamPage)
    }).pipe(Effect.scoped))

  it.live("an IAM that appends a second question mark is understood", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const waiting = yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      yield* Effect.forkChild(get(`${callback.redirectUri}?state=s1?user=%7B%7D&token=t`))
      const { finish, url } = yield* Fiber.join(waiting)
      assert.strictEqual(url, `${callback.redirectUri}?state=s1?user=%7B%7D&token=t`)
      yield* finish("success")
    }).pipe(Effect.scoped))

  it.live("a second callback while the first is being finished is told so", () =>
    Effect.gen(function*() {
      const callback = yield* open()
      const waiting = yield* Effect.forkChild(callback.receive("s1"), { startImmediately: true })
      const first = yield* Effect.forkChild(get(`${callback.redirectUri}?code=c&state=s1`))
      const { finish } = yield* Fiber.join(waiting)
      const second = yield* get(`${callback.redirectUri}?code=d&state=s1`)
      assert.strictEqual(second.status, 409)
      yield* finish("failure")
      assert.strictEqual((yield* Fiber.join(first)).status, 400)
    }).pipe(Effect.scoped))

  it.live("no page holds anything of what came with the request", () =>
    Effect.gen(function*() {
      const script = "<script>alert(1)</script>"
      const evil = encodeURIComponent(`"'>${script}`)
      const outcomes = [["success", 200], ["failure", 400]] as const
      for (const error of ["", "&error=access_denied", `&error=${evil}`]) {
        for (const [outcome, status] of outcomes) {
          const callback = yield* open()
          const state = `s${script}`
          const waiting = yield* Effect.forkChild(callback.receive(state), { startImmediately: true })
          const query = `code=${evil}&state=${
            encodeURIComponent(state)
          }&error_description=${evil}&iss=${evil}&${evil}=${evil}${error}`
          const browser = yield* Effect.forkChild(get(`${callback.redirectUri}?${query}`))
          yield* (yield* Fiber.join(waiting)).finish(outcome)
          const page = yield* Fiber.join(browser)
          const denied = outcome === "failure" && error === "&error=access_denied"
          assert.strictEqual(page.status, denied ? 403 : status)
          for (
            const text of [
              page.text,
              yield* Effect.map(get(`${callback.redirectUri}/${evil}?x=${evil}`), (page) => page.text)
            ]
          ) {
            assert.notInclude(text, "alert")
          }
          assert.include(page.headers.get("content-security-policy") ?? "", "default-src 'none'")
          assert.strictEqual(page.headers.get("cache-control"), "no-store")
          assert.strictEqual(page.headers.get("referrer-policy"), "no-referrer")
        }
      }
    }).pipe(Effect.scoped))

  it.live("of a list of ports, the first that is free is taken; one that is taken at ::1 alone counts as taken", () =>
    Effect.gen(function*() {
      const [four, six] = [yield* occupied("127.0.0.1"), yield* occupied("::1")]
      const free = yield* Effect.scoped(Effect.map(open(), ({ redirectUri }) => portOf(redirectUri)))
      const callback = yield* open({ ports: [four, six, free], path: "/cb" })
      assert.strictEqual(callback.redirectUri, `http://127.0.0.1:${free}/cb`)
    }).pipe(Effect.scoped))

  it.live("when every port is taken, the error names them", () =>
    Effect.gen(function*() {
      const taken = yield* occupied("127.0.0.1")
      const error = yield* Effect.flip(open({ ports: [taken] }))
      assert.include(error.message, `port ${taken}`)
    }).pipe(Effect.scoped))

  it.live("an interrupted wait leaves no port taken, whatever is connected", () =>
    Effect.gen(function*() {
      const free = yield* Effect.scoped(Effect.map(open(), ({ redirectUri }) => portOf(redirectUri)))
      const login = yield* Effect.forkChild(
        Effect.scoped(Effect.flatMap(open({ ports: [free] }), (callback) => callback.receive("s1")))
      )
      yield* Effect.sleep("50 millis")
      yield* socket(free)
      const browser = yield* Effect.forkChild(Effect.exit(get(`http://127.0.0.1:${free}/callback?state=s2`)))
      yield* Fiber.join(browser)
      yield* Fiber.interrupt(login)
      yield* open({ ports: [free] })
    }).pipe(Effect.scoped))
})
