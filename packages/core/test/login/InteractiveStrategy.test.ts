import {
  AuthError,
  AuthManager,
  AuthStrategy,
  Browser,
  BrowserLogin,
  CallbackServer,
  DeviceLogin,
  IamError,
  InteractiveStrategy,
  LoginPrompt,
  Selection,
  SessionKey,
  TokenSet
} from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Fiber, Layer, Option, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { setup } from "../fixtures.ts"

const issuer = "https://iam.example"

const refused = (reason: IamError.IamErrorReason) => new IamError.IamError({ issuer, method: "login", reason })

interface World {
  /** Why no browser opens in front of the person. */
  readonly obstacle?: string
  readonly opens?: boolean
  readonly hasPort?: boolean
  /** Whether the browser comes back. */
  readonly comes?: boolean
  readonly device?: "none" | "unsupported" | "good"
  readonly nobody?: string
  /** What is pasted; of several, one after the other. */
  readonly pasted?: string | ReadonlyArray<string>
  readonly denied?: boolean
  /** When somebody else opens the page with which the login begins. */
  readonly sharedAfter?: Duration.Input
  /** Whether the IAM thinks for a minute about a code. */
  readonly slow?: boolean
}

const state = "s1"
const redirectUri = "http://127.0.0.1:1/callback"
const pageUrl = "http://127.0.0.1:1/sign-in/1"

/** A person, a browser and an IAM of which all is known; and what happened. */
const world = (
  {
    comes = true,
    denied,
    device = "good",
    hasPort = true,
    nobody,
    obstacle,
    opens = true,
    pasted,
    sharedAfter,
    slow = false
  }: World
) => {
  const log: Array<string> = []
  const told: Array<LoginPrompt.Notice> = []
  let logins = 0
  const issued = Effect.gen(function*() {
    const receivedAt = yield* DateTime.now
    return {
      tokens: TokenSet.fromAnswer({
        accessToken: Redacted.make(`at-${++logins}`),
        expiresIn: 3600,
        receivedAt,
        serverTime: Option.none(),
        defaultLifetime: Duration.hours(1)
      }),
      grant: { _tag: "None" } as const,
      user: Option.none()
    }
  })
  const complete = denied === true
    ? Effect.fail(refused(new IamError.CredentialsRefused({ detail: "access_denied" })))
    : issued
  const layer = Layer.mergeAll(
    Layer.succeed(Browser.Browser, {
      obstacle: Effect.succeed(Option.fromNullishOr(obstacle)),
      open: (url) =>
        Effect.suspend(() => {
          assert.strictEqual(url, pageUrl, "nothing of the login is in the arguments of a program")
          log.push("open")
          return opens ? Effect.void : Effect.fail(new Browser.BrowserNotOpened({ detail: "xdg-open ended with 3" }))
        })
    }),
    Layer.succeed(BrowserLogin.BrowserLogin, {
      begin: ({ redirectUri, selection }) =>
        Effect.succeed({
          url: `${issuer}/authorize`,
          pending: BrowserLogin.PendingLogin.make({
            issuer,
            client: "cli",
            redirectUri,
            selection: selection ?? Selection.none,
            state,
            nonce: Option.none(),
            codeVerifier: Option.none()
          })
        }),
      complete: (_pending, url) =>
        Effect.suspend(() => {
          log.push(`complete ${url}`)
          return slow ? Effect.delay(complete, "1 minute") : complete
        })
    }),
    Layer.succeed(CallbackServer.CallbackServer, {
      open: hasPort
        ? Effect.acquireRelease(
          Effect.sync(() => {
            log.push("listen")
            return {
              redirectUri,
              page: ({ url }: { readonly url: string }) =>
                Effect.succeed({
                  url: pageUrl,
                  printed: Effect.succeed(url),
                  shared: sharedAfter === undefined
                    ? Effect.never
                    : Effect.delay(Effect.fail(new CallbackServer.SignInShared()), sharedAfter)
                }),
              receive: () =>
                comes
                  ? Effect.delay(
                    Effect.succeed({
                      url: `${redirectUri}?code=c`,
                      finish: (outcome: string) => Effect.sync(() => log.push(outcome))
                    }),
                    "10 seconds"
                  )
                  : Effect.never
            }
          }),
          () => Effect.sync(() => log.push("close"))
        )
        : Effect.fail(new CallbackServer.CallbackUnavailable({ detail: "port 8400 of this machine is taken" }))
    }),
    Layer.succeed(LoginPrompt.LoginPrompt, {
      obstacle: Effect.succeed(Option.fromNullishOr(nobody)),
      show: (notice) => Effect.sync(() => told.push(notice)),
      ask: (notice) =>
        Effect.sync(() => {
          const at = told.push(notice) - 1
          const line = typeof pasted === "string" ? pasted : pasted?.[at]
          return Option.map(Option.fromNullishOr(line), (line) => Redacted.make(line))
        })
    }),
    device === "none" ? Layer.empty : Layer.succeed(DeviceLogin.DeviceLogin, {
      begin: () =>
        device === "unsupported"
          ? Effect.fail(refused(new IamError.Unsupported({ detail: "the provider has no device codes" })))
          : Effect.map(DateTime.now, (now) => ({
            userCode: "ABCD",
            verificationUri: `${issuer}/device`,
            verificationUriComplete: Option.none(),
            expiresAt: DateTime.add(now, { minutes: 5 }),
            poll: Effect.andThen(Effect.sleep("5 seconds"), complete)
          }))
    })
  )
  return { log, told, layer }
}

type Needs = Browser.Browser | BrowserLogin.BrowserLogin | CallbackServer.CallbackServer | LoginPrompt.LoginPrompt

const login = (
  strategy: AuthStrategy.AuthStrategy<Needs>,
  options: World,
  wait: Duration.Input = "1 minute"
) =>
  Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const { layer, log, told } = world(options)
    const running = yield* Effect.forkChild(Effect.result(Effect.provide(auth.login(strategy), layer)))
    yield* TestClock.adjust(wait)
    return { result: yield* Fiber.join(running), log, told, notices: told.map(({ _tag }) => _tag) }
  })

const error = <A, E>(result: Result.Result<A, E>): E => {
  assert.isTrue(Result.isFailure(result))
  return Option.getOrThrow(Result.getFailure(result))
}

describe("the parameters of a login", () => {
  it.effect("reach the IAM's page, from a browser and from a pasted address", () =>
    Effect.gen(function*() {
      const { parameters } = new AuthError.StepUpRequired({
        key: SessionKey.SessionKey.make({ issuer, clientId: "cli", account: "default" }),
        acrValues: ["phr", "mfa"],
        maxAge: Duration.minutes(5)
      })
      const asked: Array<BrowserLogin.BeginOptions["parameters"]> = []
      const watched = Layer.effect(
        BrowserLogin.BrowserLogin,
        Effect.map(BrowserLogin.BrowserLogin, (login) => ({
          ...login,
          begin: (options: BrowserLogin.BeginOptions) => {
            asked.push(options.parameters)
            return login.begin(options)
          }
        }))
      )
      const auth = yield* AuthManager.AuthManager
      for (
        const strategy of [
          InteractiveStrategy.browser({ parameters }),
          InteractiveStrategy.manual({ parameters, redirectUri })
        ]
      ) {
        const { layer } = world({ pasted: `${redirectUri}?code=c&state=${state}` })
        const running = yield* Effect.forkChild(
          Effect.provide(auth.login(strategy), Layer.merge(layer, Layer.provide(watched, layer)))
        )
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(running)
      }
      const expected = { acr_values: "phr mfa", max_age: "300" }
      assert.deepStrictEqual(asked, [expected, expected])
    }).pipe(Effect.provide(setup())))
})

describe("browser", () => {
  it.effect("listens before it opens, shows how it went, and closes", () =>
    Effect.gen(function*() {
      const { log, notices, result } = yield* login(InteractiveStrategy.browser(), {})
      assert.strictEqual(Result.getOrThrow(result).strategy, "browser")
      assert.deepStrictEqual(log, ["listen", "open", `complete ${redirectUri}?code=c`, "success", "close"])
      assert.deepStrictEqual(notices, ["OpenBrowser"])
    }).pipe(Effect.provide(setup())))

  it.effect("that does not open leaves it to the person", () =>
    Effect.gen(function*() {
      const { result, told } = yield* login(InteractiveStrategy.browser(), { opens: false })
      assert.isTrue(Result.isSuccess(result))
      assert.include(LoginPrompt.text(told[1]!), "xdg-open ended with 3")
      assert.include(LoginPrompt.text(told[1]!), `${issuer}/authorize`)
    }).pipe(Effect.provide(setup())))

  it.effect("that is back before it is said to have opened is not missed", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { layer } = world({})
      let isAwaited = false
      const early = Layer.mergeAll(
        layer,
        Layer.succeed(Browser.Browser, {
          obstacle: Effect.succeedNone,
          open: () => Effect.sync(() => assert.isTrue(isAwaited))
        }),
        Layer.succeed(CallbackServer.CallbackServer, {
          open: Effect.succeed({
            redirectUri,
            page: () => Effect.succeed({ url: pageUrl, printed: Effect.succeed(pageUrl), shared: Effect.never }),
            receive: () =>
              Effect.sync(() => {
                isAwaited = true
                return { url: `${redirectUri}?code=c`, finish: () => Effect.void }
              })
          })
        })
      )
      const session = yield* Effect.provide(auth.login(InteractiveStrategy.browser()), early)
      assert.strictEqual(session.strategy, "browser")
    }).pipe(Effect.provide(setup())))

  it.effect("that is refused is told so, and so is the caller", () =>
    Effect.gen(function*() {
      const { log, result } = yield* login(InteractiveStrategy.browser(), { denied: true })
      assert.strictEqual(error(result)._tag, "InvalidCredentials")
      assert.deepStrictEqual(log.slice(-2), ["failure", "close"])
    }).pipe(Effect.provide(setup())))

  it.effect("that never comes back ends in a time-out that says how to go on, and closes", () =>
    Effect.gen(function*() {
      const { log, result } = yield* login(InteractiveStrategy.browser(), { comes: false }, "6 minutes")
      const timedOut = error(result)
      assert.strictEqual(timedOut._tag, "LoginTimedOut")
      for (const part of ["5m", "start again", "device code"]) assert.include(timedOut.message, part)
      assert.deepStrictEqual(log, ["listen", "open", "close"])
      const short = yield* login(
        InteractiveStrategy.browser({ timeLimit: "30 seconds" }),
        { comes: false },
        "31 seconds"
      )
      assert.include(error(short.result).message, "30s")
    }).pipe(Effect.provide(setup())))

  it.effect("is told the address that opens, which is not the IAM's, and the IAM's where none opens", () =>
    Effect.gen(function*() {
      const { told } = yield* login(InteractiveStrategy.browser(), { opens: false })
      assert.deepStrictEqual(told.map((notice) => "url" in notice ? notice.url : ""), [pageUrl, `${issuer}/authorize`])
    }).pipe(Effect.provide(setup())))

  it.effect("of which there are two ends the login, with words, also while the first one is being finished", () =>
    Effect.gen(function*() {
      const waiting = yield* login(InteractiveStrategy.browser(), { comes: false, sharedAfter: "3 seconds" })
      assert.strictEqual(error(waiting.result)._tag, "InvalidCredentials")
      for (const part of ["opened a second time", "start again"]) {
        assert.include(error(waiting.result).message, part)
      }
      assert.deepStrictEqual(waiting.log, ["listen", "open", "close"])
      const finishing = yield* login(InteractiveStrategy.browser(), { slow: true, sharedAfter: "12 seconds" })
      assert.strictEqual(error(finishing.result)._tag, "InvalidCredentials")
      assert.deepStrictEqual(finishing.log.slice(-2), ["failure", "close"])
    }).pipe(Effect.provide(setup())))

  it.effect("is led to web pages only", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { layer, log } = world({})
      for (const url of ["javascript:alert(1)", "file:///etc/passwd", "calculator:", "nothing"]) {
        const odd = Layer.effect(
          BrowserLogin.BrowserLogin,
          Effect.map(BrowserLogin.BrowserLogin, (login) => ({
            ...login,
            begin: (options) => Effect.map(login.begin(options), (begun) => ({ ...begun, url }))
          }))
        ).pipe(Layer.provideMerge(layer))
        const refused = yield* Effect.flip(Effect.provide(auth.login(InteractiveStrategy.browser()), odd))
        assert.include(refused.message, "is no web page")
      }
      assert.notInclude(log, "open")
    }).pipe(Effect.provide(setup())))

  it.effect("that is interrupted closes, and frees the lock", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { layer, log } = world({ comes: false })
      const running = yield* Effect.forkChild(Effect.provide(auth.login(InteractiveStrategy.browser()), layer))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(running)
      assert.deepStrictEqual(log, ["listen", "open", "close"])
      assert.isTrue(Result.isSuccess((yield* login(InteractiveStrategy.browser(), {})).result))
    }).pipe(Effect.provide(setup())))
})

describe("manual", () => {
  it.effect("takes the address with white space around it, or only its query", () =>
    Effect.gen(function*() {
      for (const pasted of ["  http://127.0.0.1:49321/callback?code=c&state=s1\n", "?code=c&state=s1"]) {
        const { log, notices } = yield* login(InteractiveStrategy.manual(), { pasted })
        assert.deepStrictEqual(log, ["complete http://127.0.0.1:49321/callback?code=c&state=s1"])
        assert.deepStrictEqual(notices, ["PasteCallback"])
      }
    }).pipe(Effect.provide(setup())))

  const good = "http://127.0.0.1:49321/callback?code=a%2Fb&state=s1&iss=https%3A%2F%2Fiam.example"

  it.effect("takes an address as mail, chats, terminals and other programs make it", () =>
    Effect.gen(function*() {
      const escaped = good.replaceAll("&", "&amp;")
      const ways = [
        good,
        `"${good}"`,
        `'${good}'`,
        `\`${good}\``,
        `<${good}>`,
        `<"${good}">`,
        `(${good})`,
        `[the page](${good})`,
        `“${good}”`,
        `‘${good}’,`,
        `«${good}»;`,
        `  \t${good} \r\n`,
        `\ufeff${good}\u200b`,
        `\u202a${good}\u202c`,
        `\u00a0${good}\u00a0`,
        escaped,
        escaped.replaceAll("&amp;", "&amp;amp;"),
        good.replaceAll("&", "&#38;"),
        good.replaceAll("&", "&#x26;"),
        `&lt;${escaped}&gt;`,
        `&quot;${escaped}&quot;`,
        good.replaceAll("&", "\\u0026"),
        good.replaceAll("/", "\\/"),
        good.replaceAll(/[?&=]/g, "\\$&"),
        good.replace("code", "co\nde"),
        good.replaceAll(/(.{20})/g, "$1\r\n"),
        good.replaceAll(/(.{20})/g, "$1\n   "),
        `> ${good.slice(0, 40)}\n> ${good.slice(40)}`,
        good.replace("state", "sta te"),
        `Location: ${good}`,
        `GET ${new URL(good).pathname}${new URL(good).search}`,
        `${good}#`,
        `${good}#_=_`,
        good.replace("http://", ""),
        good.replace("http://127.0.0.1", "localhost"),
        good.replace("127.0.0.1", "localhost").replace("http", "HTTP"),
        new URL(good).search,
        new URL(good).search.slice(1),
        encodeURIComponent(good)
      ]
      for (const pasted of ways) {
        const { log, notices } = yield* login(InteractiveStrategy.manual(), { pasted })
        assert.deepStrictEqual(log, [`complete ${good}`], JSON.stringify(pasted))
        assert.deepStrictEqual(notices, ["PasteCallback"])
      }
    }).pipe(Effect.provide(setup())))

  it.effect("asks again for what cannot be the address, says why without a word of it, and goes on", () =>
    Effect.gen(function*() {
      const rubbish: ReadonlyArray<readonly [pasted: string, problem: string]> = [
        ["", "nothing in it"],
        [" \n\u200b\"\"", "nothing in it"],
        ["hunter2", "not the address"],
        ["javascript:alert('hunter2')", "not the address"],
        ["https://example.com/hunter2", "not the address"],
        ["http://127.0.0.1:49321/callback", "not the address"],
        ["http://127.0.0.1:49321/callback?", "not the address"],
        ["http://[hunter2", "not the address"],
        ["http://127.0.0.1:49321/callback?code=hunter2&state=s", "not all there"],
        ["http://127.0.0.1:49321/callback?code=hunter2&state=another", "another sign-in"],
        ["http://127.0.0.1:49321/callback?code=hunter2&state=s1&state=s1", "another sign-in"],
        [`${issuer}/authorize?client_id=hunter2&state=s1`, "the address to open"]
      ]
      const { log, result, told } = yield* login(InteractiveStrategy.manual(), {
        pasted: [...rubbish.map(([text]) => text), good]
      })
      assert.strictEqual(Result.getOrThrow(result).strategy, "manual")
      assert.deepStrictEqual(log, [`complete ${good}`], "nothing else was tried")
      for (const [at, [, problem]] of rubbish.entries()) {
        const text = LoginPrompt.text(told[at + 1]!)
        assert.include(text, problem)
        assert.include(text, "paste it here")
        assert.notInclude(text, "hunter2")
      }
    }).pipe(Effect.provide(setup())))

  it.effect("asks again where the dialect refuses what has no state, and not where the IAM has said no", () =>
    Effect.gen(function*() {
      const cut = yield* login(InteractiveStrategy.manual(), { denied: true, pasted: ["?code=c", "?state=s1", good] })
      assert.deepStrictEqual(cut.notices, ["PasteCallback", "PasteAgain", "PasteAgain"])
      assert.strictEqual(error(cut.result)._tag, "InvalidCredentials")
      assert.include(error(cut.result).message, "access_denied")
      const left = yield* login(InteractiveStrategy.manual(), { pasted: ["nothing"] })
      assert.strictEqual(error(left.result)._tag, "NoCredentials")
      const machine = yield* login(InteractiveStrategy.manual(), { pasted: "hunter2" })
      assert.strictEqual(error(machine.result)._tag, "InvalidCredentials")
      assert.notInclude(error(machine.result).message, "hunter2")
    }).pipe(Effect.provide(setup())))

  it.effect("has nothing to try when nobody answers, or nobody can", () =>
    Effect.gen(function*() {
      assert.strictEqual(error((yield* login(InteractiveStrategy.manual(), {})).result)._tag, "NoCredentials")
      const { notices, result } = yield* login(InteractiveStrategy.manual(), { nobody: "no terminal" })
      assert.include(error(result).message, "no terminal")
      assert.deepStrictEqual(notices, [])
    }).pipe(Effect.provide(setup())))
})

describe("manual, at a place that is no address", () => {
  it.effect("is a wrong set-up, told before anybody is asked", () =>
    Effect.gen(function*() {
      const { notices, result } = yield* login(InteractiveStrategy.manual({ redirectUri: "callback" }), {})
      assert.include(error(result).message, "\"callback\" is not an address")
      assert.deepStrictEqual(notices, [])
    }).pipe(Effect.provide(setup())))
})

describe("interactive", () => {
  const strategy = InteractiveStrategy.interactive()

  it.effect("takes the browser where one opens in front of the person", () =>
    Effect.gen(function*() {
      const { notices, result } = yield* login(strategy, {})
      assert.strictEqual(Result.getOrThrow(result).strategy, "browser")
      assert.deepStrictEqual(notices, ["OpenBrowser"])
    }).pipe(Effect.provide(setup())))

  it.effect("else a device code, and says why", () =>
    Effect.gen(function*() {
      const { log, notices, result, told } = yield* login(strategy, { obstacle: "this is an SSH session" })
      assert.strictEqual(Result.getOrThrow(result).strategy, "device")
      assert.deepStrictEqual(notices, ["Chosen", "EnterCode"])
      assert.include(LoginPrompt.text(told[0]!), "this is an SSH session")
      assert.deepStrictEqual(log, [])
    }).pipe(Effect.provide(setup())))

  it.effect("also when no port is free", () =>
    Effect.gen(function*() {
      const { result, told } = yield* login(strategy, { hasPort: false })
      assert.strictEqual(Result.getOrThrow(result).strategy, "device")
      assert.include(LoginPrompt.text(told[0]!), "port 8400")
    }).pipe(Effect.provide(setup())))

  it.effect("also when the browser does not open, and is not waited for", () =>
    Effect.gen(function*() {
      const { log, notices, result, told } = yield* login(strategy, { opens: false, comes: false })
      assert.strictEqual(Result.getOrThrow(result).strategy, "device")
      assert.deepStrictEqual(notices, ["OpenBrowser", "Chosen", "EnterCode"])
      assert.include(LoginPrompt.text(told[1]!), "xdg-open ended with 3")
      assert.deepStrictEqual(log.slice(0, 3), ["listen", "open", "close"])
    }).pipe(Effect.provide(setup())))

  it.effect("also when the IAM has no page for browsers", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { layer, told } = world({})
      const pageless = Layer.mergeAll(
        layer,
        Layer.effect(
          DeviceLogin.DeviceLogin,
          Effect.map(Effect.serviceOption(DeviceLogin.DeviceLogin), Option.getOrThrow)
        ).pipe(Layer.provide(layer)),
        Layer.effect(
          BrowserLogin.BrowserLogin,
          Effect.map(BrowserLogin.BrowserLogin, (login) =>
            BrowserLogin.BrowserLogin.of({
              ...login,
              begin: () => Effect.fail(refused(new IamError.Unsupported({ detail: "no authorization endpoint" })))
            }))
        ).pipe(Layer.provide(layer))
      )
      const { browser, device, manual } = InteractiveStrategy
      const { firstOf } = AuthStrategy
      for (const chosen of [strategy, firstOf(browser(), device()), firstOf(manual(), device())]) {
        const running = yield* Effect.forkChild(Effect.provide(auth.login(chosen), pageless))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(running)).strategy, "device")
      }
      assert.include(LoginPrompt.text(told[0]!), "no authorization endpoint")
    }).pipe(Effect.provide(setup())))

  it.effect("waits for the person where a browser does not open and there are no device codes", () =>
    Effect.gen(function*() {
      const { notices, result } = yield* login(strategy, { opens: false, device: "none" })
      assert.strictEqual(Result.getOrThrow(result).strategy, "browser")
      assert.deepStrictEqual(notices, ["OpenBrowser", "BrowserNotOpened"])
    }).pipe(Effect.provide(setup())))

  for (const device of ["none", "unsupported"] as const) {
    it.effect(`else a pasted address (device codes: ${device})`, () =>
      Effect.gen(function*() {
        const { result } = yield* login(strategy, { obstacle: "no display", device, pasted: "?code=c" })
        assert.strictEqual(Result.getOrThrow(result).strategy, "manual")
      }).pipe(Effect.provide(setup())))
  }

  it.effect("else nothing, with every reason", () =>
    Effect.gen(function*() {
      const { result } = yield* login(strategy, {
        obstacle: "no display",
        device: "unsupported",
        nobody: "no terminal"
      })
      const failed = error(result)
      assert.strictEqual(failed._tag, "NoCredentials")
      for (const part of ["no display", "no device codes", "no terminal"]) assert.include(failed.message, part)
    }).pipe(Effect.provide(setup())))

  it.effect("does not go on to another way when the person says no", () =>
    Effect.gen(function*() {
      const { notices, result } = yield* login(strategy, { denied: true })
      assert.strictEqual(error(result)._tag, "InvalidCredentials")
      assert.deepStrictEqual(notices, ["OpenBrowser"])
    }).pipe(Effect.provide(setup())))
})

describe("several logins at once", () => {
  const atOnce = (count: number, options: World, loginOptions?: AuthManager.LoginOptions) =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { layer, log } = world(options)
      const running = yield* Effect.forkChild(Effect.all(
        Array.from({ length: count }, () =>
          Effect.result(Effect.provide(auth.login(InteractiveStrategy.browser(), loginOptions), layer))),
        { concurrency: "unbounded" }
      ))
      yield* TestClock.adjust("30 minutes")
      return {
        results: yield* Fiber.join(running),
        opened: log.filter((entry) =>
          entry === "open"
        ).length
      }
    })

  it.effect("open one browser and share its session", () =>
    Effect.gen(function*() {
      const { opened, results } = yield* atOnce(3, {})
      assert.strictEqual(opened, 1)
      const tokens = results.map((result) =>
        Option.getOrThrow(
          Option.flatMap(Result.getSuccess(result), (session) => Option.fromNullishOr(session.tokens[""]))
        )
      )
      assert.strictEqual(new Set(tokens.map(({ accessToken }) => Redacted.value(accessToken))).size, 1)
    }).pipe(Effect.provide(setup())))

  it.effect("do so too when the session is not to be stored", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* atOnce(3, {}, { store: false })).opened, 1)
    }).pipe(Effect.provide(setup())))

  it.effect("do so too when somebody was signed in before, who is replaced", () =>
    Effect.gen(function*() {
      yield* atOnce(1, {})
      const { opened, results } = yield* atOnce(3, {})
      assert.strictEqual(opened, 1)
      assert.isTrue(results.every(Result.isSuccess))
    }).pipe(Effect.provide(setup())))

  it.effect("do not hold up who finds a session, and needs no person", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* atOnce(1, {})
      const { layer, log } = world({ comes: false })
      yield* Effect.forkScoped(Effect.provide(auth.login(InteractiveStrategy.browser()), layer))
      yield* TestClock.adjust("1 second")
      assert.include(log, "open")
      const strategy = AuthStrategy.firstOf(AuthStrategy.stored(), InteractiveStrategy.browser())
      const second = yield* Effect.forkScoped(Effect.provide(auth.login(strategy), layer))
      yield* TestClock.adjust("1 second")
      assert.isDefined(second.pollUnsafe())
      assert.strictEqual((yield* Fiber.join(second)).strategy, "browser")
      assert.strictEqual(log.filter((entry) => entry === "open").length, 1)
    }).pipe(Effect.scoped, Effect.provide(setup())))

  it.effect("each try when the one before them failed", () =>
    Effect.gen(function*() {
      const { opened, results } = yield* atOnce(3, { denied: true })
      assert.strictEqual(opened, 3)
      assert.isTrue(results.every(Result.isFailure))
    }).pipe(Effect.provide(setup())))
})

it("the notices are plain text, whatever the IAM wrote", () => {
  const text = LoginPrompt.text(LoginPrompt.Notice.cases.EnterCode.make({
    userCode: "A\u001b[2JB",
    verificationUri: "https://iam.example/\u0007device",
    verificationUriComplete: Option.none(),
    expiresAt: DateTime.makeUnsafe(0)
  }))
  assert.notMatch(text.replaceAll("\n", ""), /\p{C}/u)
})
