import { AuthManager, Browser, InteractiveStrategy, type LoginPrompt } from "@effect-authn/core"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Queue } from "effect"
import { FetchHttpClient } from "effect/http"
import { answers, grants, Person, setup } from "./fixtures.ts"

/** Another user of the machine, who may be signed in at the provider as well. */
const mallory = { login: "mallory", password: "any" }

const browserOf = (who: typeof mallory) => {
  const agent = ScriptedUserAgent.make()
  return {
    /** Signs in, but does not come back. */
    signIn: (url: string) =>
      agent.visit(url, { answers: who, stopAt: ({ pathname }) => pathname === "/callback" }).pipe(
        Effect.provide(FetchHttpClient.layer)
      ),
    visit: (url: string) => Effect.provide(agent.visit(url, { answers: who }), FetchHttpClient.layer)
  }
}

/** A login that has begun, and what every user of the machine reads in the arguments of the browser's opener. */
const begun = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const opened = yield* Deferred.make<string>()
  const login = yield* auth.login(InteractiveStrategy.browser()).pipe(
    Effect.provideService(Browser.Browser, {
      obstacle: Effect.succeedNone,
      open: (url) => Effect.asVoid(Deferred.succeed(opened, url))
    }),
    Effect.result,
    Effect.forkChild({ startImmediately: true })
  )
  const url = yield* Deferred.await(opened)
  const { told } = yield* Person
  const notice: LoginPrompt.Notice = yield* Queue.take(told)
  return { auth, login, url, notice }
})

const ended = Effect.fnUntraced(function*({ auth, login }: Effect.Success<typeof begun>) {
  const result = yield* Fiber.join(login)
  assert.strictEqual(result._tag, "Failure")
  const failed = Option.getOrThrow(result._tag === "Failure" ? Option.some(result.failure) : Option.none())
  assert.strictEqual(failed._tag, "InvalidCredentials")
  assert.include(failed.message, "opened a second time")
  assert.strictEqual((yield* Effect.flip(auth.token))._tag, "NotAuthenticated")
})

describe("a neighbour who reads the arguments of programs", () => {
  it.live("reads nothing of the sign-in there; what is printed is the same address", () =>
    Effect.gen(function*() {
      const { login, notice, url } = yield* begun
      assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/sign-in\/[\da-f-]{36}$/)
      assert.strictEqual(notice._tag === "OpenBrowser" ? notice.url : "", url)
      const page = yield* browserOf(answers).visit(url)
      assert.strictEqual(page.status, 200)
      assert.strictEqual((yield* Fiber.join(login))._tag, "Success")
    }).pipe(Effect.provide(setup())))

  it.live("and is first: the person's browser ends the login, whatever the neighbour has by then", () =>
    Effect.gen(function*() {
      const login = yield* begun
      const neighbour = browserOf(mallory)
      const back = yield* neighbour.signIn(login.url)
      assert.include(back.url, "code=", "the neighbour has signed in at the provider")
      const page = yield* browserOf(answers).visit(login.url)
      assert.strictEqual(page.status, 403)
      assert.include(page.html, "This sign-in was stopped")
      yield* ended(login)
      assert.deepStrictEqual(yield* grants, [], "no code was exchanged")
    }).pipe(Effect.provide(setup())))

  it.live("and is first, and comes back while the person's browser only starts: the exchange is given up", () =>
    Effect.gen(function*() {
      const { proxy } = yield* OidcProvider.OidcProvider
      const login = yield* begun
      yield* proxy.setKnobs({ fail: ["token:hang:1"] })
      const neighbour = yield* Effect.forkChild(browserOf(mallory).visit(login.url))
      yield* Effect.repeat(Effect.delay(grants, "20 millis"), { until: (seen) => seen.length > 0 })
      assert.strictEqual((yield* browserOf(answers).visit(login.url)).status, 403)
      yield* ended(login)
      assert.include((yield* Fiber.join(neighbour)).html, "did not work")
    }).pipe(Effect.provide(setup())))

  it.live("and is second: is led nowhere, and ends the login", () =>
    Effect.gen(function*() {
      const login = yield* begun
      const person = browserOf(answers)
      const back = yield* person.signIn(login.url)
      const page = yield* browserOf(mallory).visit(login.url)
      assert.strictEqual(page.status, 403)
      assert.notInclude(page.html, "state")
      yield* ended(login)
      assert.include(back.url, "code=")
      assert.deepStrictEqual(yield* grants, [])
    }).pipe(Effect.provide(setup())))

  it.live("and somehow knows the state: without the cookie nothing is taken, and the person goes on", () =>
    Effect.gen(function*() {
      const { login, url } = yield* begun
      const person = browserOf(answers)
      const back = yield* person.signIn(url)
      const forged = yield* browserOf(mallory).visit(back.url)
      assert.strictEqual(forged.status, 403)
      assert.isUndefined(login.pollUnsafe())
      assert.strictEqual((yield* person.visit(back.url)).status, 200)
      assert.strictEqual((yield* Fiber.join(login))._tag, "Success")
    }).pipe(Effect.provide(setup())))
})
