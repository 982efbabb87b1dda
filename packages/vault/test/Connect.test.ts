import {
  BrowserLogin,
  EncryptionKeys,
  IamClient,
  IamError,
  PendingLogins,
  Selection,
  SessionKey,
  SessionLock,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { Connect, Vault } from "@effect-authn/vault"
import { assert, describe, it } from "@effect/vitest"
import {
  ConfigProvider,
  Context,
  Duration,
  Effect,
  Fiber,
  Layer,
  Logger,
  Option,
  Redacted,
  References,
  type Scope,
  Stream
} from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"

const origin = "https://app.example"
const issuers = { one: "https://one.example", two: "https://two.example" } as const
type Name = keyof typeof issuers

const keys = EncryptionKeys.layerEnvironment().pipe(
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "A".repeat(43) } })))
)

/** A sign-in page that everybody passes as the account which the code names; an answer for another state is refused. */
const signInPage = (iam: IamClient.IamClient["Service"]) => {
  let begun = 0
  return BrowserLogin.BrowserLogin.of({
    begin: ({ redirectUri }) =>
      Effect.sync(() => {
        begun += 1
        const state = `state-${begun}-of-${iam.issuer}`
        const url = `${iam.issuer}/authorize?${new URLSearchParams({ state, redirect_uri: redirectUri })}`
        const pending = BrowserLogin.PendingLogin.make({
          issuer: iam.issuer,
          client: iam.clientId,
          redirectUri,
          selection: Selection.none,
          state,
          nonce: Option.none(),
          codeVerifier: Option.some(Redacted.make("the verifier of this login"))
        })
        return { url, pending }
      }),
    complete: (pending, callbackUrl) => {
      const parameters = new URL(callbackUrl).searchParams
      const code = parameters.get("code")
      return code === null || parameters.get("state") !== pending.state
        ? Effect.fail(
          new IamError.IamError({
            issuer: iam.issuer,
            method: "login",
            reason: new IamError.CredentialsRefused({ detail: "it was not allowed" })
          })
        )
        : iam.login({ _tag: "Password", handle: code, password: ScriptedIam.password }, Selection.none)
    }
  })
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly to: URL
  readonly headers: Headers
}

/** A browser with its own cookies. `user` is the cookie of the program's own session. */
const browser = (handle: (request: Request) => Effect.Effect<Response, never, Scope.Scope>) => (user?: string) => {
  const jar = new Map<string, string>(user === undefined ? [] : [["user", user]])
  const send = Effect.fnUntraced(function*(method: string, path: string, init: RequestInit = {}) {
    const headers = new Headers(init.headers)
    headers.set("cookie", Array.from(jar, ([name, value]) => `${name}=${value}`).join("; "))
    const response = yield* handle(new Request(`${origin}${path}`, { ...init, method, headers }))
    for (const line of response.headers.getSetCookie()) {
      const [pair = "", ...attributes] = line.split("; ")
      const [name = "", value = ""] = pair.split("=")
      if (attributes.some((attribute) => /^Max-Age=0$|^Expires=Thu, 01 Jan 1970/i.test(attribute))) jar.delete(name)
      else jar.set(name, value)
    }
    const answer: Answer = {
      status: response.status,
      text: yield* Effect.promise(() => response.text()),
      to: new URL(response.headers.get("location") ?? "about:blank", origin),
      headers: response.headers
    }
    return answer
  })
  const post = (path: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}) =>
    send("POST", path, {
      body: new URLSearchParams(fields),
      headers: { "sec-fetch-site": "same-origin", ...headers }
    })
  return {
    jar,
    get: (path: string, headers: Record<string, string> = {}) => send("GET", path, { headers }),
    post,
    send,
    /** Begins a login, and gives the path to which the IAM sends the browser back. */
    begin: Effect.fnUntraced(function*(name: Name, fields: Record<string, string> = {}, code = "ada") {
      const { status, to } = yield* post(`/connect/${name}`, fields)
      assert.strictEqual(status, 303)
      assert.strictEqual(to.origin, issuers[name])
      const state = to.searchParams.get("state") ?? ""
      return `/connect/${name}/callback?${new URLSearchParams({ state, code })}`
    })
  }
}

/** A program with the routes; who its user is, a cookie says. */
const world = Effect.gen(function*() {
  const scripts = yield* Effect.forEach(
    [issuers.one, issuers.two],
    (issuer) => Layer.build(ScriptedIam.layer({ issuer, clientId: "service", rotation: "strict" }))
  )
  const providers = scripts.map((script) => {
    const iam = Context.get(script, IamClient.IamClient)
    return Layer.succeedContext(
      Context.make(IamClient.IamClient, iam).pipe(Context.add(BrowserLogin.BrowserLogin, signInPage(iam)))
    )
  })
  const [one, two] = providers
  const kept = yield* Layer.build(Layer.mergeAll(TokenStorage.layerMemory, PendingLogins.layerMemory, keys))
  const sealed: Array<string> = []
  const pending = Context.get(kept, PendingLogins.PendingLogins)
  const storage = Context.get(kept, TokenStorage.TokenStorage)
  const lock = Context.get(kept, SessionLock.SessionLock)
  const faults: {
    lock?: string
    get?: TokenStorageError.TokenStorageError
    put?: TokenStorageError.TokenStorageError
  } = {}
  const stored = Context.add(kept, PendingLogins.PendingLogins, {
    ...pending,
    put: (id, login, timeToLive) =>
      Effect.suspend(() => {
        sealed.push(Redacted.value(login))
        return pending.put(id, login, timeToLive)
      })
  }).pipe(
    Context.add(TokenStorage.TokenStorage, {
      ...storage,
      get: (key) => Effect.suspend(() => faults.get === undefined ? storage.get(key) : Effect.fail(faults.get)),
      put: (key, next, expected) =>
        Effect.suspend(() => faults.put === undefined ? storage.put(key, next, expected) : Effect.fail(faults.put))
    }),
    Context.add(SessionLock.SessionLock, {
      ...lock,
      withLock: (key, purpose) => (effect) =>
        Effect.suspend(() =>
          faults.lock === undefined
            ? lock.withLock(key, purpose)(effect)
            : Effect.fail(new SessionLock.SessionLockError({ key, purpose, detail: faults.lock }))
        )
    })
  )
  const vault = yield* Layer.build(Layer.provide(Vault.layer({ providers }), Layer.succeedContext(stored)))
  const user = ({ cookies }: HttpServerRequest.HttpServerRequest) =>
    Effect.succeed(Option.fromUndefinedOr(cookies["user"]))
  let connect: Connect.Connect["Service"] | undefined
  const routes = Layer.effectDiscard(Effect.map(Connect.Connect, (made) => {
    connect = made
  })).pipe(
    Layer.provide(Connect.layer({ origin, providers: { one: one!, two: two! }, user })),
    Layer.provide([Layer.succeedContext(stored), Layer.succeedContext(vault)])
  )
  const app = yield* HttpRouter.toHttpEffect(routes)
  const handle = (request: Request) =>
    app.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request)),
      Effect.map((response) => HttpServerResponse.toWeb(response)),
      Effect.orDie
    )
  return {
    open: browser(handle),
    faults,
    sealed,
    vault: Context.get(vault, Vault.Vault),
    csrf: (of: string) => connect!.csrf(of),
    scripts: scripts.map((script) => Context.get(script, ScriptedIam.ScriptedIam)),
    isConnected: (name: Name, account: string) =>
      Effect.map(
        Effect.exit(
          Context.get(vault, Vault.Vault).token(
            SessionKey.SessionKey.make({ issuer: issuers[name], clientId: "service", account })
          )
        ),
        ({ _tag }) => _tag === "Success"
      )
  }
})

const quiet = Effect.provide(Logger.layer([]))

describe("connecting an account", () => {
  it.effect("goes to the IAM, comes back to where it was begun, and the session is the user's", () =>
    Effect.gen(function*() {
      const { isConnected, open, sealed } = yield* world
      const here = open("u1")
      const start = yield* here.post("/connect/one", { returnTo: "/settings?tab=accounts#list" })
      assert.deepStrictEqual(
        [start.status, start.to.origin, start.headers.get("cache-control"), start.headers.get("referrer-policy")],
        [303, issuers.one, "no-store", "no-referrer"]
      )
      assert.strictEqual(start.to.searchParams.get("redirect_uri"), `${origin}/connect/one/callback`)
      const [cookie = ""] = start.headers.getSetCookie()
      assert.match(cookie, /^__Host-connect-[0-9a-f]{16}=[\w-]{43}; /)
      for (const attribute of ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=600"]) {
        assert.include(cookie, attribute)
      }
      assert.notInclude(cookie, "Domain")
      assert.lengthOf(sealed, 1)
      assert.notMatch(sealed[0]!, /verifier|state|u1|settings/)
      assert.notMatch(Buffer.from(sealed[0]!, "base64url").toString(), /verifier of this|state-1|"u1"|settings/)
      assert.isFalse(yield* isConnected("one", "u1"))
      const state = start.to.searchParams.get("state")
      const end = yield* here.get(`/connect/one/callback?state=${state}&code=ada`)
      assert.deepStrictEqual(
        [end.status, end.to.href],
        [303, `${origin}/settings?tab=accounts&connect=connected&provider=one#list`]
      )
      assert.isTrue(yield* isConnected("one", "u1"))
      assert.deepStrictEqual([...here.jar.keys()], ["user"])
    }).pipe(quiet))

  it.effect("no log has a code, a state, the cookie or the token of a form", () =>
    Effect.gen(function*() {
      const logs: Array<string> = []
      const logger = Logger.make((options) => {
        logs.push(String(Logger.formatLogFmt.log(options)), String(Logger.formatJson.log(options)))
      })
      const secrets: Array<string> = []
      yield* Effect.gen(function*() {
        const { csrf, open } = yield* world
        secrets.push(yield* csrf("u1"))
        for (const answer of ["code=the-code-of-ada", "error=access_denied", "code=nobody-of-this-name"]) {
          const here = open("u1")
          const path = new URL(yield* here.begin("one"), origin)
          secrets.push(
            path.searchParams.get("state")!,
            ...[...here.jar].filter(([name]) => name !== "user").map(([, value]) => value)
          )
          yield* here.get(`/connect/one/callback?state=${path.searchParams.get("state")}&${answer}`)
          yield* here.get(path.pathname + path.search)
        }
        const here = open("u1")
        yield* Effect.flatMap(here.begin("one"), (path) => here.get(path))
        yield* here.post("/connect/one/disconnect")
      }).pipe(Effect.provide([Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "All")]))
      assert.isAbove(logs.filter((line) => line.includes("an account was")).length, 3)
      for (const secret of [...secrets, "the-code-of-ada", "nobody-of-this-name"]) {
        assert.isFalse(logs.some((line) => line.includes(secret)), secret)
      }
    }))

  it.effect("a script gets the address", () =>
    Effect.gen(function*() {
      const { open } = yield* world
      const { status, text } = yield* open("u1").post("/connect/one", {}, { accept: "application/json" })
      assert.strictEqual(status, 200)
      assert.match(text, /^\{"url":"https:\/\/one.example\/authorize/)
    }))

  it.effect("fields that are sent as something else than a form are refused, and not left out", () =>
    Effect.gen(function*() {
      const { open } = yield* world
      const fields = { returnTo: "/settings", reconnect: "true" }
      const data = new FormData()
      for (const [name, value] of Object.entries(fields)) data.set(name, value)
      const headers = { "sec-fetch-site": "same-origin" }
      for (
        const body of [data, JSON.stringify(fields), new Blob([JSON.stringify(fields)], { type: "application/json" })]
      ) {
        const { status, text } = yield* open("u1").send("POST", "/connect/one", { body, headers })
        assert.strictEqual(status, 415)
        assert.include(text, "URLSearchParams")
      }
      // bytes that nobody says the form of, as a server gets them
      const body = new TextEncoder().encode("reconnect=true")
      for (const length of [{ "content-length": `${body.length}` }, { "transfer-encoding": "chunked" }]) {
        const bytes = yield* open("u1").send("POST", "/connect/one", { body, headers: { ...headers, ...length } })
        assert.strictEqual(bytes.status, 415)
      }
      const none = { ...headers, "content-length": "0" }
      assert.strictEqual((yield* open("u1").send("POST", "/connect/one", { headers: none })).status, 303)
      assert.strictEqual((yield* open("u1").send("POST", "/connect/one", { headers })).status, 303)
    }))

  it.effect("nobody, and nowhere", () =>
    Effect.gen(function*() {
      const { open } = yield* world
      assert.strictEqual((yield* open().post("/connect/one")).status, 401)
      assert.strictEqual((yield* open("").post("/connect/one")).status, 401)
      const large = yield* open("u1").post("/connect/one", { returnTo: "/", more: "a".repeat(100_000) })
      assert.strictEqual(large.status, 400)
      assert.strictEqual((yield* open("u1").post("/connect/three")).status, 404)
      assert.strictEqual((yield* open("u1").get("/connect/three/callback?state=x")).status, 404)
      assert.strictEqual((yield* open("u1").get("/connect/one/callback")).status, 400)
      for (const path of ["/connect/one", "/connect/one/disconnect"]) {
        const { headers, status } = yield* open("u1").get(path)
        assert.deepStrictEqual([status, headers.get("allow")], [405, "POST"])
      }
    }))

  it.effect("a form of another site begins nothing and disconnects nothing", () =>
    Effect.gen(function*() {
      const { csrf, isConnected, open, scripts } = yield* world
      const here = open("u1")
      yield* Effect.flatMap(here.begin("one"), (path) => here.get(path))
      const token = yield* csrf("u1")
      const refused: ReadonlyArray<[Record<string, string>, Record<string, string>]> = [
        [{ csrf: token }, { "sec-fetch-site": "cross-site" }],
        [{ csrf: token }, { "sec-fetch-site": "same-site" }],
        [{ csrf: token }, { "sec-fetch-site": "none" }],
        [{}, {}],
        [{ csrf: "" }, {}],
        [{ csrf: `${token}x` }, {}],
        [{ csrf: yield* csrf("u2") }, {}],
        [{ csrf: token }, { origin: "https://evil.example" }],
        [{ csrf: token }, { origin: "null" }]
      ]
      for (const path of ["/connect/one", "/connect/one/disconnect"]) {
        for (const [fields, headers] of refused) {
          const { status } = yield* here.send("POST", path, { body: new URLSearchParams(fields), headers })
          assert.strictEqual(status, 403, `${path} ${JSON.stringify([Object.keys(fields), headers])}`)
        }
      }
      assert.isTrue(yield* isConnected("one", "u1"))
      assert.strictEqual(yield* scripts[0]!.count("revoke"), 0)
      // a browser without the header has the token of the page
      const old = yield* here.send("POST", "/connect/one", { body: new URLSearchParams({ csrf: token }) })
      assert.strictEqual(old.status, 303)
      yield* TestClock.adjust("25 hours")
      const late = yield* here.send("POST", "/connect/one", { body: new URLSearchParams({ csrf: token }) })
      assert.strictEqual(late.status, 403)
    }).pipe(quiet))

  it.effect("returnTo is a path of this origin", () =>
    Effect.gen(function*() {
      const { open } = yield* world
      const here = open("u1")
      for (
        const returnTo of [
          "https://evil.example/",
          "//evil.example",
          "/\\evil.example",
          "/\t/evil.example",
          "/.//evil.example",
          "/a/..//evil.example",
          "javascript:alert(1)",
          "settings",
          "",
          "/\u0000",
          `/${"a".repeat(3000)}`
        ]
      ) {
        const { status, text } = yield* here.post("/connect/one", { returnTo })
        assert.strictEqual(status, 400, returnTo)
        assert.notInclude(text, "evil")
      }
      for (const returnTo of ["/", "/a/b?c=d#e", "/%2F%2Fevil", "/ü"]) {
        assert.strictEqual((yield* here.post("/connect/one", { returnTo })).status, 303, returnTo)
      }
    }))

  it.effect("a callback in another browser, of another user, a second time or too late connects nothing", () =>
    Effect.gen(function*() {
      const { isConnected, open, scripts } = yield* world
      // an attacker's callback, in the browser of a victim: also where the victim begins a login of their own
      const attacker = open("attacker")
      const victim = open("victim")
      const planted = yield* attacker.begin("one")
      const own = yield* victim.begin("one", {}, "bob")
      assert.strictEqual((yield* victim.get(planted)).status, 400)
      // and the cookie of the victim's login does not help
      const [[, binding]] = [...victim.jar].filter(([name]) => name.startsWith("__Host-")) as [[string, string]]
      for (const [name] of [...attacker.jar].filter(([name]) => name.startsWith("__Host-"))) {
        victim.jar.set(name, binding)
      }
      assert.strictEqual((yield* victim.get(planted)).status, 400)
      assert.isFalse(yield* isConnected("one", "victim"))
      assert.strictEqual(yield* scripts[0]!.count("login"), 0)
      // neither try spoiled the logins
      assert.strictEqual((yield* attacker.get(planted)).to.searchParams.get("connect"), "connected")
      assert.strictEqual((yield* victim.get(own)).to.searchParams.get("connect"), "connected")

      // the same browser, in which somebody else signed in meanwhile
      const shared = open("first")
      const begun = yield* shared.begin("one")
      shared.jar.set("user", "second")
      assert.strictEqual((yield* shared.get(begun)).status, 403)
      shared.jar.set("user", "first")
      assert.strictEqual((yield* shared.get(begun)).status, 400)
      shared.jar.delete("user")
      assert.isFalse(yield* isConnected("one", "first"))
      assert.isFalse(yield* isConnected("one", "second"))

      const twice = open("twice")
      const cookies = new Map(twice.jar)
      const path = yield* twice.begin("one")
      const jar = new Map(twice.jar)
      const both = yield* Effect.all([twice.get(path), twice.get(path)], { concurrency: 2 })
      assert.deepStrictEqual(both.map(({ status }) => status).sort((a, b) => a - b), [303, 400])
      for (const [name, value] of jar) twice.jar.set(name, value)
      const again = yield* twice.get(path)
      assert.strictEqual(again.status, 400)
      assert.include(again.text, "finished before")
      assert.isAbove(cookies.size, 0)

      const late = open("late")
      const old = yield* late.begin("one")
      yield* TestClock.adjust("601 seconds")
      assert.strictEqual((yield* late.get(old)).status, 400)
      assert.isFalse(yield* isConnected("one", "late"))
    }).pipe(quiet))

  it.effect("two tabs, in any order, and two providers do not meet", () =>
    Effect.gen(function*() {
      const { isConnected, open } = yield* world
      const here = open("u1")
      const first = yield* here.begin("one", { returnTo: "/first" })
      const second = yield* here.begin("two", { returnTo: "/second" })
      const third = yield* here.begin("one", { returnTo: "/third" })
      // the answer of one IAM at the address of the other
      assert.strictEqual((yield* here.get(first.replace("/one/", "/two/"))).status, 400)
      assert.strictEqual((yield* here.get(third)).to.pathname, "/third")
      assert.strictEqual((yield* here.get(second)).to.pathname, "/second")
      assert.isTrue(yield* isConnected("one", "u1"))
      assert.isTrue(yield* isConnected("two", "u1"))
    }).pipe(quiet))

  it.effect("a prefetch finishes nothing, many logins at once fill no header, and a no is told", () =>
    Effect.gen(function*() {
      const { isConnected, open } = yield* world
      const here = open("u1")
      const path = yield* here.begin("one", { returnTo: "/x" })
      assert.strictEqual((yield* here.get(path, { "sec-purpose": "prefetch" })).status, 400)
      assert.strictEqual((yield* here.send("HEAD", path)).status, 400)
      const state = new URL(path, origin).searchParams.get("state")!
      const no = yield* here.get(`/connect/one/callback?state=${state}&error=access_denied`)
      assert.strictEqual(no.to.href, `${origin}/x?connect=denied&provider=one`)
      const odd = new URL(yield* here.begin("one"), origin).searchParams.get("state")!
      const failed = yield* here.get(`/connect/one/callback?state=${odd}&error=server_error`)
      assert.strictEqual(failed.to.searchParams.get("connect"), "failed")
      assert.isFalse(yield* isConnected("one", "u1"))
      for (let tab = 0; tab < 40; tab++) yield* here.begin("one")
      assert.isAtMost(here.jar.size, 14)
    }).pipe(quiet))

  it.effect("one that died is connected again, to the same account if it has to be", () =>
    Effect.gen(function*() {
      const { isConnected, open, scripts, vault } = yield* world
      const here = open("u1")
      yield* Effect.flatMap(here.begin("one"), (path) => here.get(path))
      yield* scripts[0]!.revokeAll
      yield* TestClock.adjust("2 hours")
      assert.isFalse(yield* isConnected("one", "u1"))
      assert.lengthOf(yield* Stream.runCollect(vault.list({ state: "ended" })), 1)
      const other = yield* Effect.flatMap(here.begin("one", { reconnect: "true" }, "bob"), (path) => here.get(path))
      assert.strictEqual(other.to.searchParams.get("connect"), "another-account")
      assert.isFalse(yield* isConnected("one", "u1"))
      const same = yield* Effect.flatMap(here.begin("one", { reconnect: "true" }), (path) => here.get(path))
      assert.strictEqual(same.to.searchParams.get("connect"), "connected")
      assert.isTrue(yield* isConnected("one", "u1"))
    }).pipe(quiet))

  it.effect("what cannot be kept is ended at the IAM, but not what is held until the storage is back", () =>
    Effect.gen(function*() {
      const { faults, isConnected, open, scripts } = yield* world
      const revocations = scripts[0]!.count("revoke")
      const failure = (method: string, reason: TokenStorageError.TokenStorageError["reason"]) =>
        new TokenStorageError.TokenStorageError({ storage: "the store", method, reason })
      const away = new TokenStorageError.StorageUnavailable({ detail: "it is away" })
      const connected = Effect.fnUntraced(function*(user: string, fields: Record<string, string> = {}) {
        const here = open(user)
        return yield* Effect.flatMap(here.begin("one", fields), (path) => here.get(path))
      })
      const cases = [
        [{ lock: "its store is away" }, {}],
        [{ get: failure("get", new TokenStorageError.StorageKeyUnavailable({ detail: "no key" })) }, {}],
        [{ get: failure("get", away) }, { reconnect: "true" }]
      ] as const
      for (const [index, [fault, fields]] of cases.entries()) {
        Object.assign(faults, fault)
        assert.strictEqual((yield* connected(`u${index}`, fields)).status, 503)
        assert.strictEqual(yield* revocations, index + 1)
        for (const name of Object.keys(fault)) delete faults[name as keyof typeof faults]
        assert.isFalse(yield* isConnected("one", `u${index}`))
      }
      // an IAM that does not answer holds up nobody for long
      faults.lock = "its store is away"
      yield* scripts[0]!.failNext("revoke", { reason: new IamError.Unavailable({ sent: "maybe", detail: "down" }) })
      assert.strictEqual((yield* connected("u4")).status, 503)
      delete faults.lock

      for (const method of ["get", "put"] as const) {
        const before = yield* revocations
        faults[method] = failure(method, away)
        const user = `held by ${method}`.replaceAll(" ", "-")
        assert.strictEqual((yield* connected(user)).status, 503)
        delete faults[method]
        yield* TestClock.adjust("1 minute")
        assert.isTrue(yield* isConnected("one", user), user)
        assert.strictEqual(yield* revocations, before)
      }
    }).pipe(quiet))

  it.effect("a browser that goes away in the middle loses nothing that was issued", () =>
    Effect.gen(function*() {
      const { isConnected, open, scripts, vault } = yield* world
      yield* scripts[0]!.set({ latency: Duration.seconds(2) })
      const here = open("u1")
      const path = yield* here.begin("one")
      const asking = yield* Effect.forkChild(here.get(path), { startImmediately: true })
      const tick = TestClock.withLive(Effect.sleep("1 millis"))
      yield* Effect.repeat(Effect.andThen(tick, scripts[0]!.count("login")), { until: (count) => count === 1 })
      yield* Fiber.interrupt(asking)
      yield* TestClock.adjust("2 seconds")
      yield* scripts[0]!.set({ latency: Duration.zero })
      yield* Effect.repeat(Effect.andThen(tick, Stream.runCollect(vault.sessions)), {
        until: (keys) => keys.length === 1
      })
      assert.isTrue(yield* isConnected("one", "u1"))
    }).pipe(quiet))

  it.effect("disconnecting revokes the user's own session", () =>
    Effect.gen(function*() {
      const { isConnected, open, scripts } = yield* world
      for (const user of ["u1", "u2"]) {
        const here = open(user)
        yield* Effect.flatMap(here.begin("one"), (path) => here.get(path))
      }
      const gone = yield* open("u1").post("/connect/one/disconnect", { returnTo: "/settings" })
      assert.strictEqual(gone.to.href, `${origin}/settings?connect=disconnected&provider=one&revoked=yes`)
      assert.deepStrictEqual([yield* isConnected("one", "u1"), yield* isConnected("one", "u2")], [false, true])
      assert.strictEqual(yield* scripts[0]!.count("revoke"), 1)
      const json = yield* open("u2").post("/connect/one/disconnect", {}, { accept: "application/json" })
      assert.deepStrictEqual(JSON.parse(json.text), { provider: "one", revoked: true })
    }).pipe(quiet))
})
