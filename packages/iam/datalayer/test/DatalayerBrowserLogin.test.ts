import {
  AuthManager,
  BrowserLogin,
  InteractiveStrategy,
  LoginPrompt,
  SessionKeeper,
  TokenStorage
} from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { NodeCallbackServer } from "@effect-authn/platform-node"
import { BareServer, IamSimulator, ScriptedUserAgent } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { goodToken, profile } from "./fixtures.ts"

const { json, serve } = BareServer

const silent = Layer.succeed(LoginPrompt.LoginPrompt, {
  obstacle: Effect.succeedNone,
  show: () => Effect.void,
  ask: () => Effect.succeedNone
})

const setup = (answers: Record<string, string>) =>
  AuthManager.layer().pipe(
    Layer.provide(SessionKeeper.layer),
    Layer.provideMerge(
      Layer.unwrap(Effect.map(IamSimulator.IamSimulator, ({ issuer }) => DatalayerIam.layer({ issuer })))
    ),
    Layer.provideMerge(Layer.mergeAll(
      IamSimulator.layer(),
      FetchHttpClient.layer,
      TokenStorage.layerMemory,
      NodeCallbackServer.layer(),
      ScriptedUserAgent.layerBrowser(answers),
      silent
    ))
  )

const ada = { login: "ada", password: "correct-horse-battery" }

describe("at the simulator's provider page", () => {
  for (const provider of [undefined, "github", "google", "linkedin", "okta"]) {
    it.live(`signs in with ${provider ?? "the default provider"}`, () =>
      Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const session = yield* auth.login(InteractiveStrategy.browser({ provider }))
        assert.strictEqual(session.grant._tag, "ExchangeAccessToken")
        assert.deepStrictEqual(Option.flatMap(session.user, ({ handle }) => handle), Option.some("ada"))
        yield* auth.refresh()
        const routes = (yield* (yield* IamSimulator.IamSimulator).ledger).map(({ route }) => route)
        assert.include(routes, "whoami")
      }).pipe(Effect.provide(setup(ada))))
  }

  it.live("a provider that the IAM does not have is told", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const error = yield* Effect.flip(auth.login(InteractiveStrategy.browser({ provider: "myspace" })))
      assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "Misconfigured")
      assert.include(error.message, "myspace")
    }).pipe(Effect.provide(setup(ada))))

  it.live("a person who cancels is InvalidCredentials", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const error = yield* Effect.flip(auth.login(InteractiveStrategy.browser()))
      assert.strictEqual(error._tag, "InvalidCredentials")
      assert.include(error.message, "access_denied")
    }).pipe(Effect.provide(setup({ abort: "yes" }))))

  it.live("the page holds nothing that was not made safe", () =>
    Effect.gen(function*() {
      const { issuer } = yield* IamSimulator.IamSimulator
      const evil = encodeURIComponent(`"><script>alert(1)</script>`)
      const url = `${issuer}/oauth2/providers/${evil}?callback_uri=${evil}`
      const text = yield* Effect.promise(() => fetch(url).then((response) => response.text()))
      assert.notInclude(text, "<script>")
    }).pipe(Effect.provide(IamSimulator.layer())))
})

describe("a callback", () => {
  const redirectUri = "http://127.0.0.1:49321/callback"

  const begun = Effect.gen(function*() {
    const server = yield* serve((seen) =>
      seen.path.startsWith("/api/iam/v1/oauth2/authz/url")
        ? json(200, { success: true, autorization_url: "https://github.example/login" })
        : seen.path === "/api/iam/v1/whoami" && seen.headers["authorization"] === `Bearer ${goodToken}`
        ? json(200, { success: true, profile })
        : json(401, { success: false, message: "Invalid token" })
    )
    const services = yield* Layer.build(DatalayerIam.layer({ issuer: server.origin })).pipe(
      Effect.provide(FetchHttpClient.layer)
    )
    const login = yield* Effect.provide(BrowserLogin.BrowserLogin, services)
    const { pending, url } = yield* login.begin({ redirectUri })
    return { login, pending, url, server }
  })

  it.live("is at an address that carries the state", () =>
    Effect.gen(function*() {
      const { pending, server, url } = yield* begun
      assert.strictEqual(url, "https://github.example/login")
      assert.strictEqual(new URL(pending.redirectUri).searchParams.get("state"), pending.state)
      const asked = new URL(server.seen[0]!.path, "http://x").searchParams
      assert.deepStrictEqual([asked.get("provider"), asked.get("callback_uri")], ["github", pending.redirectUri])
    }))

  const good = (state: string) => `state=${state}&user=${encodeURIComponent(`{"handle_s":"eve"}`)}&token=${goodToken}`

  it.live("is believed as far as whoami goes: the user in the address is not", () =>
    Effect.gen(function*() {
      const { login, pending } = yield* begun
      const { tokens, user } = yield* login.complete(pending, `${redirectUri}?${good(pending.state)}`)
      assert.strictEqual(Redacted.value(tokens.accessToken), goodToken)
      assert.deepStrictEqual(Option.flatMap(user, ({ handle }) => handle), Option.some("ada"))
    }))

  it.live("of a server that appends a second question mark is understood", () =>
    Effect.gen(function*() {
      const { login, pending } = yield* begun
      yield* login.complete(pending, `${pending.redirectUri}?user=%7B%7D&token=${goodToken}`)
    }))

  const refused: Record<string, (state: string) => string> = {
    "with another state": () => good("another"),
    "without a state": () => `token=${goodToken}`,
    "with two states": (state) => `${good(state)}&state=x`,
    "without a token": (state) => `state=${state}`,
    "with two tokens": (state) => `${good(state)}&token=x`,
    "with a token that the IAM does not know": (state) => `state=${state}&token=${goodToken.slice(0, -1)}x`,
    "with an error": (state) => `state=${state}&error=%1b[2Jno&provider=github`
  }
  for (const [name, query] of Object.entries(refused)) {
    it.live(`${name} is refused`, () =>
      Effect.gen(function*() {
        const { login, pending } = yield* begun
        const { message, reason } = yield* Effect.flip(
          login.complete(pending, `${redirectUri}?${query(pending.state)}`)
        )
        assert.strictEqual(reason._tag, "CredentialsRefused")
        assert.notMatch(message, /\p{C}/u)
        assert.notInclude(message, goodToken)
      }))
  }

  it.live("is good once", () =>
    Effect.gen(function*() {
      const { login, pending } = yield* begun
      const url = `${redirectUri}?${good(pending.state)}`
      yield* login.complete(pending, url)
      assert.strictEqual((yield* Effect.flip(login.complete(pending, url))).reason._tag, "CredentialsRefused")
    }))
})
