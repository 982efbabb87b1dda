import {
  AuthManager,
  DeviceLogin,
  type IamError,
  InteractiveStrategy,
  LoginPrompt,
  SessionKeeper,
  TokenStorage
} from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, Duration, Effect, Fiber, Layer, Option, Queue } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { answers, Person, setup, tokenOf } from "./fixtures.ts"

const issuer = "https://idp.example"

type Step =
  | "pending"
  | "slow_down"
  | "html502"
  | "html"
  | "drop"
  | "hang"
  | "429"
  | "429 slow_down"
  | "429 two hours"
  | "503"
  | "tokens"
  | "denied"
  | "expired"
  | "invalid_client"
  | "not assigned"

const error = (code: string) => Response.json({ error: code }, { status: 400 })

const replies: { readonly [step in Exclude<Step, "drop" | "hang">]: () => Response } = {
  pending: () => error("authorization_pending"),
  slow_down: () => error("slow_down"),
  html502: () => new Response("<h1>Bad gateway</h1>", { status: 502 }),
  html: () => new Response("<h1>Hello</h1>"),
  "429": () => new Response("", { status: 429, headers: { "retry-after": "40" } }),
  "429 slow_down": () => Response.json({ error: "slow_down" }, { status: 429 }),
  "429 two hours": () => new Response("", { status: 429, headers: { "retry-after": "7200" } }),
  "503": () => new Response("", { status: 503, headers: { "retry-after": "40" } }),
  tokens: () => Response.json({ access_token: "at", token_type: "bearer", expires_in: 300, refresh_token: "rt" }),
  denied: () => error("access_denied"),
  expired: () => error("expired_token"),
  invalid_client: () => error("invalid_client"),
  // https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes (AADSTS50105)
  "not assigned": () =>
    Response.json({
      error: "invalid_grant",
      error_description: "AADSTS50105: Your administrator has configured the application to block users unless they " +
        "are specifically granted (\"assigned\") access to the application."
    }, { status: 400 })
}

/** A provider in memory, so that time is the test's alone. `polls` has the second of each poll. */
const provider = (steps: ReadonlyArray<Step>, begun: object = {}) => {
  const polls: Array<number> = []
  const client = HttpClient.make((request, url) =>
    Effect.gen(function*() {
      const respond = (response: Response) => HttpClientResponse.fromWeb(request, response)
      if (url.pathname === "/device") {
        return respond(Response.json({
          device_code: "dc",
          user_code: "ABCD-EFGH",
          verification_uri: `${issuer}/enter`,
          expires_in: 300,
          ...begun
        }))
      }
      const step = steps[polls.length] ?? "pending"
      polls.push((yield* Clock.currentTimeMillis) / 1000)
      if (step === "drop") {
        return yield* new HttpClientError.HttpClientError({
          reason: new HttpClientError.TransportError({ request, cause: new Error("reset") })
        })
      }
      return step === "hang" ? yield* Effect.never : respond(replies[step]())
    })
  )
  const layer = OidcIam.layer({
    issuer,
    clientId: "cli",
    scopes: ["openid"],
    metadata: { token_endpoint: `${issuer}/token`, device_authorization_endpoint: `${issuer}/device` },
    policy: { timeLimit: Duration.seconds(10) }
  }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
  return { polls, layer }
}

const run = (steps: ReadonlyArray<Step>, begun: object = {}, wait: Duration.Input = "10 minutes") =>
  Effect.gen(function*() {
    const begunAt = (yield* Clock.currentTimeMillis) / 1000
    const { layer, polls } = provider(steps, begun)
    const result = yield* Effect.gen(function*() {
      const device = yield* DeviceLogin.DeviceLogin
      const code = yield* device.begin()
      const polling = yield* Effect.forkChild(Effect.zip(Effect.result(code.poll), Clock.currentTimeMillis))
      yield* TestClock.adjust(wait)
      const [result, endedAt] = yield* Fiber.join(polling)
      return { code, result, endedAt: endedAt / 1000 - begunAt }
    }).pipe(Effect.provide(layer))
    return { ...result, polls: polls.map((at) => at - begunAt) }
  })

const gaps = (polls: ReadonlyArray<number>) => polls.map((at, index) => at - (polls[index - 1] ?? 0))

const reasonOf = (result: { readonly _tag: string; readonly failure?: IamError.IamError }) =>
  result.failure?.reason._tag

describe("polling", () => {
  it.effect("waits five seconds, and five more after each slow_down", () =>
    Effect.gen(function*() {
      const { polls, result } = yield* run(["pending", "slow_down", "slow_down", "tokens"])
      assert.strictEqual(result._tag, "Success")
      assert.deepStrictEqual(gaps(polls), [5, 5, 10, 15])
    }))

  it.effect("goes on through pages, broken connections and answers that are no JSON", () =>
    Effect.gen(function*() {
      const { polls, result } = yield* run(["html502", "slow_down", "html", "drop", "pending", "tokens"])
      assert.strictEqual(result._tag, "Success")
      assert.deepStrictEqual(gaps(polls), [5, 5, 10, 10, 20, 10])
    }))

  it.effect("waits twice as long each time that nobody answers, up to a minute, and no longer once somebody does", () =>
    Effect.gen(function*() {
      const refused = yield* run(["drop", "drop", "drop", "drop", "drop", "pending", "tokens"])
      assert.deepStrictEqual(gaps(refused.polls), [5, 10, 20, 40, 60, 60, 5])
      // A poll that is not answered takes ten seconds itself.
      assert.deepStrictEqual(gaps((yield* run(["hang", "hang", "tokens"])).polls), [5, 20, 30])
    }))

  it.effect("takes 429 for a slow_down, with or without its words", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(gaps((yield* run(["429 slow_down", "pending", "tokens"])).polls), [5, 10, 10])
      assert.deepStrictEqual(gaps((yield* run(["429", "pending", "tokens"])).polls), [5, 40, 10])
    }))

  it.effect("heeds a Retry-After once", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(gaps((yield* run(["503", "pending", "tokens"])).polls), [5, 40, 5])
    }))

  it.effect("waits as long as the provider says, in numbers or in text", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(gaps((yield* run(["pending", "tokens"], { interval: 7 })).polls), [7, 7])
      assert.deepStrictEqual(gaps((yield* run(["pending", "tokens"], { interval: "9" })).polls), [9, 9])
      assert.deepStrictEqual(gaps((yield* run(["pending", "tokens"], { interval: 0 })).polls), [5, 5])
    }))

  it.effect("ends when the code has expired, by the provider or by the clock", () =>
    Effect.gen(function*() {
      assert.strictEqual(reasonOf((yield* run(["pending", "expired"])).result), "GrantDead")
      const { polls, result } = yield* run([], { expires_in: "60" })
      assert.strictEqual(reasonOf(result), "GrantDead")
      assert.isBelow(polls.at(-1) ?? 99, 60)
    }))

  it.effect("ends when the code does, however long the provider wants to be left alone", () =>
    Effect.gen(function*() {
      for (const [steps, begun] of [[["429 two hours"], {}], [[], { interval: 1e9 }]] as const) {
        const { endedAt, result } = yield* run(steps, begun)
        assert.strictEqual(reasonOf(result), "GrantDead")
        assert.strictEqual(endedAt, 300)
      }
    }))

  it.effect("ends when the person says no, and when the client is wrong", () =>
    Effect.gen(function*() {
      assert.strictEqual(reasonOf((yield* run(["denied"])).result), "CredentialsRefused")
      assert.strictEqual(reasonOf((yield* run(["invalid_client"])).result), "Misconfigured")
    }))

  it.effect("ends with the provider's own words when it refuses whoever entered the code: no code has expired", () =>
    Effect.gen(function*() {
      const { endedAt, result } = yield* run(["not assigned"])
      assert.strictEqual(reasonOf(result), "CredentialsRefused")
      assert.strictEqual(endedAt, 5)
      const { layer } = provider(["not assigned"])
      const asked = yield* Effect.forkChild(
        Effect.flip(
          Effect.flatMap(DeviceLogin.DeviceLogin, (login) => Effect.flatMap(login.begin(), ({ poll }) => poll))
        ).pipe(Effect.provide(layer))
      )
      yield* TestClock.adjust("5 seconds")
      const { message } = yield* Fiber.join(asked)
      assert.include(message, "AADSTS50105: Your administrator has configured the application")
      assert.notMatch(message, /expired/)
    }))

  it.effect("stops when nobody waits for it any more", () =>
    Effect.gen(function*() {
      const { layer, polls } = provider([])
      yield* Effect.gen(function*() {
        const code = yield* (yield* DeviceLogin.DeviceLogin).begin()
        const polling = yield* Effect.forkChild(code.poll)
        yield* TestClock.adjust("12 seconds")
        yield* Fiber.interrupt(polling)
        yield* TestClock.adjust("5 minutes")
      }).pipe(Effect.provide(layer))
      assert.strictEqual(polls.length, 2)
    }))
})

describe("beginning", () => {
  it.effect("bears `verification_url`, and gives the expiry by our clock", () =>
    Effect.gen(function*() {
      const { code } = yield* run(["tokens"], { verification_uri: undefined, verification_url: `${issuer}/device` })
      assert.strictEqual(code.verificationUri, `${issuer}/device`)
      assert.deepStrictEqual(DateTime.toEpochMillis(code.expiresAt), 300_000)
      assert.isTrue(Option.isNone(code.verificationUriComplete))
    }))

  it.effect("refuses an address that is no page", () =>
    Effect.gen(function*() {
      const { layer } = provider([], { verification_uri: "javascript:alert(1)" })
      const failed = yield* Effect.flip(DeviceLogin.DeviceLogin.use((device) => device.begin())).pipe(
        Effect.provide(layer)
      )
      assert.strictEqual(failed.reason._tag, "Malformed")
    }))
})

it.effect("a login that nobody finishes says so, and how to go on", () =>
  Effect.gen(function*() {
    const { layer } = provider([])
    const told: Array<LoginPrompt.Notice> = []
    const error = yield* Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const login = yield* Effect.forkChild(Effect.flip(auth.login(InteractiveStrategy.device())))
      yield* TestClock.adjust("10 minutes")
      return yield* Fiber.join(login)
    }).pipe(
      Effect.provideService(LoginPrompt.LoginPrompt, {
        obstacle: Effect.succeedNone,
        show: (notice) => Effect.sync(() => told.push(notice)),
        ask: () => Effect.succeedNone
      }),
      Effect.provide(
        AuthManager.layer().pipe(
          Layer.provide(SessionKeeper.layer),
          Layer.provideMerge(layer),
          Layer.provideMerge(TokenStorage.layerMemory)
        )
      )
    )
    assert.strictEqual(error._tag, "LoginTimedOut")
    assert.include(error.message, "5m")
    assert.include(error.message, "start again")
    assert.deepStrictEqual(told.map(({ _tag }) => _tag), ["EnterCode"])
    assert.include(LoginPrompt.text(told[0]!), "ABCD-EFGH")
  }))

describe("against the certified provider, through faults", () => {
  const visit = (url: string, fields: Record<string, string>) =>
    Effect.provide(ScriptedUserAgent.make().visit(url, { answers: fields }), FetchHttpClient.layer)

  const withCode = (fields: Record<string, string>) =>
    Effect.gen(function*() {
      const { told } = yield* Person
      const notice = yield* Queue.take(told)
      assert.strictEqual(notice._tag, "EnterCode")
      if (notice._tag === "EnterCode") {
        yield* visit(Option.getOrElse(notice.verificationUriComplete, () => notice.verificationUri), fields)
      }
    })

  it.live("signs in", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { proxy } = yield* OidcProvider.OidcProvider
      yield* proxy.setKnobs({
        interval: 1,
        fail: ["token:html502:1", "token:drop:1", "token:503:1", "token:slow_down:1"]
      })
      yield* Effect.forkChild(withCode(answers))
      const session = yield* auth.login(InteractiveStrategy.device())
      assert.isAbove(tokenOf(session).length, 20)
      const polls = (yield* proxy.ledger).filter(({ route }) => route === "token")
      assert.deepStrictEqual(polls.map(({ note, status }) => note ?? status), [
        "html502",
        "drop",
        "fault 503",
        "slow_down",
        200
      ])
      const apart = polls.slice(1).map(({ at }, index) =>
        DateTime.toEpochMillis(at) - DateTime.toEpochMillis(polls[index]!.at)
      )
      for (const millis of apart) assert.isAbove(millis, 990)
      assert.isAbove(apart.at(-1) ?? 0, 5990)
    }).pipe(Effect.provide(setup())))

  it.live("is refused when the person says no", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { proxy } = yield* OidcProvider.OidcProvider
      yield* proxy.setKnobs({ interval: 1 })
      yield* Effect.forkChild(withCode({ abort: "yes" }))
      const error = yield* Effect.flip(auth.login(InteractiveStrategy.device()))
      assert.strictEqual(error._tag, "InvalidCredentials")
    }).pipe(Effect.provide(setup())))
})
