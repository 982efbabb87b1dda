/** The provider has answered, and its keys cannot be had: the refresh token is spent, and the new one counts. */
import { AuthManager, AuthStrategy, IamClient, InteractiveStrategy, Selection, Session } from "@effect-authn/core"
import { OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { type FaultProxy, OidcProvider } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Fiber, Layer, Option, Redacted } from "effect"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { grants, oidc, program, refreshTokenOf, setup } from "./fixtures.ts"
import { jwks, type Reply, seconds, serve, sessionOf, sign } from "./rawProvider.ts"

const idTokenOf = (session: Session.Session) =>
  Option.map(Option.flatMap(Session.currentToken(session), ({ idToken }) => idToken), Redacted.value)

/** A program that has just started: it knows none of the provider's keys yet. */
const started = Layer.fresh(program.pipe(
  Layer.provideMerge(oidc(() => ({ policy: { timeLimit: Duration.seconds(4) } })))
))

describe("a renewal under strict rotation goes on, and so does the next one,", () => {
  const faults: Record<string, FaultProxy.Fault> = {
    "when the keys are answered with 503": "jwks:503:1",
    "when the connection is cut": "jwks:drop:1",
    "when no answer comes": "jwks:hang:1",
    "when a gateway answers with a page": "jwks:html:1",
    "when they are not there": "jwks:404:1"
  }
  for (const [name, fault] of Object.entries(faults)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const { proxy } = yield* OidcProvider.OidcProvider
        const first = yield* AuthManager.AuthManager.use((auth) => auth.login(InteractiveStrategy.browser()))
        yield* proxy.setKnobs({ fail: [fault] })
        yield* proxy.forget
        yield* Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          yield* auth.login(AuthStrategy.stored())
          const second = yield* auth.refresh()
          assert.deepStrictEqual((yield* proxy.ledger).map(({ route }) => route), ["discovery", "token", "jwks"])
          assert.notStrictEqual(refreshTokenOf(second), refreshTokenOf(first))
          assert.deepStrictEqual(idTokenOf(second), idTokenOf(first))
          const third = yield* auth.refresh()
          assert.notStrictEqual(refreshTokenOf(third), refreshTokenOf(second))
          assert.notDeepEqual(idTokenOf(third), idTokenOf(first))
          assert.deepStrictEqual(yield* grants, ["refresh_token", "refresh_token"])
        }).pipe(Effect.provide(started))
      }).pipe(Effect.provide(setup())))
  }
})

const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300, refresh_token: "rt-1" }

const claims = (issuer: string, now: number, sub = "ada") => ({
  iss: issuer,
  aud: "cli",
  sub,
  iat: now,
  exp: now + 300
})

const renew = (issuer: string) =>
  Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return yield* iam.renew(yield* sessionOf(issuer), Selection.none)
  })

describe("keys that cannot be had", () => {
  const at = (jwks: Reply, sub?: string) =>
    Effect.gen(function*() {
      const { issuer } = yield* serve({
        routes: {
          "/jwks": jwks,
          "/token": (_asked, base) => ({ body: { ...tokens, id_token: sign(claims(base, seconds(), sub)) } })
        }
      })
      const layer = OidcIam.layer({ issuer, clientId: "cli" }).pipe(Layer.provide(FetchHttpClient.layer))
      return yield* Effect.provide(renew(issuer), layer)
    })

  const elsewhere: Reply = { status: 302, headers: { location: "https://elsewhere.example/jwks" } }

  it.live("because they are redirected cost nothing", () =>
    Effect.gen(function*() {
      const { grant } = yield* at(elsewhere)
      assert.isTrue(grant._tag === "RefreshToken" && Redacted.value(grant.refreshToken) === "rt-1")
    }))

  it.live("are no excuse to answer for another person", () =>
    Effect.gen(function*() {
      const { reason } = yield* Effect.flip(at(elsewhere, "eve"))
      assert.strictEqual(reason._tag, "Malformed")
      assert.include(reason.message, "another person")
    }))
})

const issuer = "https://idp.example"

/** Renews at a provider in memory, so that time is the test's alone. */
const renewing = (
  answer: (path: string) => Effect.Effect<object>,
  options: Partial<OidcOptions.OidcOptions> = {}
) =>
  Effect.map(
    Layer.build(
      OidcIam.layer({ issuer, clientId: "cli", ...options }).pipe(Layer.provide(Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request, { pathname }) =>
          Effect.map(answer(pathname), (body) => HttpClientResponse.fromWeb(request, Response.json(body)))
        )
      )))
    ),
    (context) => Effect.map(Effect.provide(renew(issuer), context), ({ grant }) => grant)
  )

const withIdToken = Effect.map(
  Clock.currentTimeMillis,
  (now) => ({ ...tokens, id_token: sign(claims(issuer, now / 1000)) })
)

describe("keys that never come are waited for", () => {
  const limits: Record<string, readonly [Duration.Input, Duration.Input]> = {
    "for five seconds at most": ["0 seconds", "5 seconds"],
    "no longer than half of what is left of the time limit": ["28 seconds", "1 second"]
  }
  for (const [name, [answersAfter, thenWaits]] of Object.entries(limits)) {
    it.effect(name, () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_000_000_000)
        const asked = yield* Deferred.make<void>()
        const renewal = yield* renewing((path) =>
          path === "/jwks"
            ? Effect.andThen(Deferred.succeed(asked, undefined), Effect.never)
            : Effect.andThen(Effect.sleep(answersAfter), withIdToken), {
          metadata: { token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` }
        })
        const fiber = yield* Effect.forkChild(renewal)
        yield* TestClock.adjust(answersAfter)
        yield* Deferred.await(asked)
        yield* TestClock.adjust(thenWaits)
        const grant = yield* Fiber.join(fiber)
        assert.isTrue(grant._tag === "RefreshToken" && Redacted.value(grant.refreshToken) === "rt-1")
      }))
  }
})

it.effect("metadata that must be asked for again while the tokens are on their way are not", () =>
  Effect.gen(function*() {
    yield* TestClock.setTime(1_000_000_000)
    let discoveries = 0
    const renewal = yield* renewing((path) => {
      if (path === "/jwks") return Effect.succeed(jwks)
      if (path === "/token") return Effect.andThen(Effect.sleep("2 seconds"), withIdToken)
      discoveries++
      return Effect.succeed(
        discoveries === 1
          ? { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` }
          : { issuer: "down" }
      )
    })
    const renewed = Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(renewal)
      yield* TestClock.adjust("2 seconds")
      return yield* Fiber.join(fiber)
    })
    yield* renewed
    yield* TestClock.adjust(Duration.subtract(Duration.days(1), Duration.seconds(3)))
    assert.strictEqual((yield* renewed)._tag, "RefreshToken")
    assert.strictEqual(discoveries, 1)
  }))
