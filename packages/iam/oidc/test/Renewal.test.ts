import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
import { OidcProvider } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Option, Redacted, Schedule } from "effect"
import { age, expired, grants, login, program, refreshTokenOf, setup, tokenOf } from "./fixtures.ts"

const refreshes = Effect.map(grants, (all) => all.filter((grant) => grant === "refresh_token").length)

const inProgram = <A, E>(effect: Effect.Effect<A, E, AuthManager.AuthManager | OidcProvider.OidcProvider>) =>
  Effect.provide(effect, Layer.fresh(program))

describe("under rotation, where a spent refresh token revokes the grant,", () => {
  it.live("a thousand fibers renew once", () =>
    Effect.gen(function*() {
      yield* login
      yield* age(expired)
      yield* inProgram(Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const tokens = yield* Effect.all(Array.from({ length: 1000 }, () => auth.token), { concurrency: "unbounded" })
        assert.strictEqual(new Set(tokens.map(({ accessToken }) => Redacted.value(accessToken))).size, 1)
        assert.strictEqual(yield* refreshes, 1)
      }))
      // The grant is alive: another renewal works.
      yield* age(expired)
      yield* inProgram(Effect.flatMap(AuthManager.AuthManager, (auth) => auth.token))
      assert.strictEqual(yield* refreshes, 2)
    }).pipe(Effect.provide(setup())))

  it.live("several selections queue up behind each other", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { resource } = yield* OidcProvider.OidcProvider
      const selection = { resource, scope: "api:read api:write" }
      yield* auth.login(InteractiveStrategy.browser(), { selection })
      const scopes = ["api:read", "api:write", "api:read api:write"]
      yield* Effect.all(
        scopes.flatMap((scope) => Array.from({ length: 20 }, () => auth.tokenFor({ resource, scope }))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* refreshes, 2)
      yield* auth.refresh()
    }).pipe(Effect.provide(setup())))
})

describe("a dead grant", () => {
  it.live("is sent once, and never again by any program", () =>
    Effect.gen(function*() {
      const session = yield* login
      const iam = yield* OidcProvider.OidcProvider
      // Somebody else spends the refresh token: the provider revokes the grant when it comes again.
      yield* spend(iam.issuer, refreshTokenOf(session)!)
      yield* age(expired)
      const before = yield* refreshes
      for (let programs = 0; programs < 3; programs++) {
        yield* inProgram(Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          for (let calls = 0; calls < 20; calls++) {
            const error = yield* Effect.flip(auth.token)
            assert.strictEqual(error._tag, "ReauthenticationRequired")
            assert.include(error.message, "invalid_grant")
          }
          assert.isFalse(yield* auth.isAuthenticated)
        }))
      }
      assert.strictEqual(yield* refreshes, before + 1)
    }).pipe(Effect.provide(setup())))
})

describe("faults", () => {
  for (
    const fault of [
      "token:503:1",
      "token:500:1",
      "token:html502:1",
      "token:drop:1",
      "token:html:1",
      "token:empty400:1"
    ] as const
  ) {
    it.live(`${fault}: the session is good again when the provider is`, () =>
      Effect.gen(function*() {
        const { proxy } = yield* OidcProvider.OidcProvider
        yield* login
        yield* age(expired)
        yield* proxy.setKnobs({ fail: [fault] })
        yield* inProgram(Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          // Callers are told of a failure at once until its pause is over.
          const token = yield* Effect.retry(auth.token, { times: 20, schedule: Schedule.spaced("100 millis") })
          assert.isAbove(Redacted.value(token.accessToken).length, 20)
        }))
      }).pipe(Effect.provide(setup())))
  }

  it.live("a lost answer: the provider has rotated, and the person is told that the answer was lost", () =>
    Effect.gen(function*() {
      const { proxy } = yield* OidcProvider.OidcProvider
      yield* login
      yield* age(expired)
      yield* proxy.setKnobs({ fail: ["token:lost:1"] })
      yield* inProgram(Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const error = yield* Effect.flip(Effect.retry(auth.token, {
          times: 5,
          while: ({ _tag }) => _tag === "IamError"
        }))
        assert.strictEqual(error._tag, "ReauthenticationRequired")
        assert.include(error.message, "the answer to an earlier renewal was lost")
      }))
    }).pipe(Effect.provide(setup())))

  it.live("token:hang:1: the session is good again after the time limit", () =>
    Effect.gen(function*() {
      const { proxy } = yield* OidcProvider.OidcProvider
      yield* login
      yield* age(expired)
      yield* proxy.setKnobs({ fail: ["token:hang:1"] })
      yield* inProgram(Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const before = yield* refreshes
        const [taken, token] = yield* Effect.timed(Effect.retry(auth.token, { times: 3 }))
        assert.isAbove(Redacted.value(token.accessToken).length, 20)
        assert.isBelow(Duration.toSeconds(taken), 20)
        assert.strictEqual(yield* refreshes, before + 2)
      }))
    }).pipe(Effect.provide(setup(() => ({ policy: { timeLimit: Duration.seconds(2) } })))))

  for (const skew of [Duration.hours(2), Duration.hours(-2)]) {
    it.live(`a provider whose clock is ${Duration.toHours(skew)} hours ahead: tokens end by our own clock`, () =>
      Effect.gen(function*() {
        const { proxy, resource } = yield* OidcProvider.OidcProvider
        yield* proxy.setKnobs({ clockSkew: skew })
        const auth = yield* AuthManager.AuthManager
        yield* auth.login(InteractiveStrategy.browser(), { selection: { resource, scope: "api:read" } })
        yield* age(expired)
        yield* inProgram(Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          const { accessToken, expiresAt } = yield* auth.token
          const left = DateTime.distance(yield* DateTime.now, Option.getOrThrow(expiresAt))
          assert.isTrue(
            Duration.between(left, { minimum: Duration.minutes(4), maximum: Duration.minutes(5) }),
            Duration.format(left)
          )
          // It is neither asked for again at once, nor kept for hours.
          for (let call = 0; call < 3; call++) {
            assert.strictEqual(Redacted.value((yield* auth.token).accessToken), Redacted.value(accessToken))
          }
          assert.strictEqual(yield* refreshes, 1)
        }))
      }).pipe(Effect.provide(setup())))
  }

  it.live("a token in its window is served while the provider is away, and renewed when it is back", () =>
    Effect.gen(function*() {
      const { proxy } = yield* OidcProvider.OidcProvider
      yield* login
      const session = yield* age("1 minute")
      yield* proxy.setKnobs({ latency: "10 seconds", fail: ["token:503:99"] })
      yield* inProgram(Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const token = Effect.map(auth.token, ({ accessToken }) => Redacted.value(accessToken))
        const [taken, served] = yield* Effect.timed(token)
        assert.strictEqual(served, tokenOf(session))
        assert.isBelow(Duration.toMillis(taken), 9900, "nobody waits for the renewal")
        // The renewal is tried, in the background, and fails.
        yield* Effect.repeat(Effect.delay(refreshes, "10 millis"), { until: (count) => count > 0 })
        assert.strictEqual(yield* token, tokenOf(session))
        yield* proxy.setKnobs({ latency: 0, fail: [] })
        yield* Effect.repeat(Effect.delay(token, "50 millis"), { until: (text) => text !== tokenOf(session) })
      }))
    }).pipe(Effect.provide(setup())))
})

const spend = (issuer: string, refreshToken: string) =>
  Effect.promise(async () => {
    const response = await fetch(`${issuer}/token`, {
      method: "POST",
      body: new URLSearchParams({ grant_type: "refresh_token", client_id: "cli", refresh_token: refreshToken })
    })
    assert.strictEqual(response.status, 200)
  })
