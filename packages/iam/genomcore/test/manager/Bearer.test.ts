/** Row 8 of the conformance table: `bearer`, which renews first when under 15 minutes are left. */
import { JwtCodec } from "@effect-authn/core"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { bodies, jwt, secret } from "../fixtures.ts"
import { bare, bearer, client, passwordLogin, renewed, renewing, simulated, T, tokenWith } from "./managers.ts"

const { answer, html, json } = BareServer

/** What `bearer` says of a session with this token, and how many requests that took. */
const asked = Effect.fnUntraced(function*(token: string, refreshToken?: string) {
  const { auth, seen } = yield* bare()
  yield* auth.import({ token, refreshToken })
  return [yield* bearer(auth), seen.length] as const
})

const again = `Bearer ${renewed(0).token}`

describe("row 8 bearer: normal", () => {
  it.effect("row 8: with an hour left it is the token as it stands, and nothing is sent", () =>
    Effect.gen(function*() {
      const token = tokenWith(3600)
      assert.deepStrictEqual(yield* asked(token, "r-0"), [`Bearer ${token}`, 0])
    }))
})

describe("row 8 bearer: edge", () => {
  it.effect("row 8: at 900 seconds left it does not renew, at 899 it does", () =>
    Effect.gen(function*() {
      const token = tokenWith(900)
      assert.deepStrictEqual(yield* asked(token, "r-0"), [`Bearer ${token}`, 0])
      assert.deepStrictEqual(yield* asked(tokenWith(899), "r-0"), [again, 1])
    }))

  it.effect("row 8: the bound is that of the millisecond, also for an exp with a fraction", () =>
    Effect.gen(function*() {
      const token = tokenWith(900.5)
      const { auth, seen } = yield* bare()
      yield* auth.import({ token, refreshToken: "r-0" })
      yield* TestClock.adjust(500)
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [`Bearer ${token}`, 0])
      assert.strictEqual(Redacted.value((yield* auth.tokenFor({})).accessToken), token)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [again, 1])
    }))

  it.effect("row 8: a token that the IAM gave here grows old to the same second", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated()
      const { auth } = yield* client(simulator)
      yield* auth.login(passwordLogin())
      const first = yield* bearer(auth)
      yield* TestClock.adjust("2700 seconds")
      assert.strictEqual(yield* bearer(auth), first)
      assert.strictEqual(yield* simulator.refreshes, 0)
      yield* TestClock.adjust("1 second")
      assert.notStrictEqual(yield* bearer(auth), first)
      assert.strictEqual(yield* simulator.refreshes, 1)
    }))

  it.effect("row 8: an expired token is renewed", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* asked(tokenWith(-10), "r-0"), [again, 1])
    }))

  it.effect("row 8: a new token of under 15 minutes is handed out after one request, and again without one", () =>
    Effect.gen(function*() {
      const token = jwt({ exp: T + 600 })
      const { auth, seen } = yield* bare(() => json(201, { token, refreshToken: "r-1" }))
      yield* auth.import({ token: tokenWith(100), refreshToken: "r-0" })
      for (const _ of [1, 2, 3]) assert.strictEqual(yield* bearer(auth), `Bearer ${token}`)
      assert.strictEqual(seen.length, 1)
      // a fifth of its life is its window
      yield* TestClock.adjust("480 seconds")
      yield* bearer(auth)
      assert.strictEqual(seen.length, 1)
      yield* TestClock.adjust("1 second")
      yield* bearer(auth)
      assert.strictEqual(seen.length, 2)
    }))

  it.effect("row 8: without exp, or unreadable, it is the token as it stands, for ever", () =>
    Effect.gen(function*() {
      for (const token of [jwt({ sub: "1", iat: T }), "garbage", "a.b.c"]) {
        const { auth, seen } = yield* bare()
        yield* auth.import({ token, refreshToken: "r-0" })
        yield* TestClock.adjust("400 days")
        assert.deepStrictEqual([yield* bearer(auth), seen.length], [`Bearer ${token}`, 0])
      }
    }))

  it.effect("row 8: fifty at once are one request, and one answer for all", () =>
    Effect.gen(function*() {
      for (const left of [899, -10]) {
        const { auth, seen } = yield* bare()
        yield* auth.import({ token: tokenWith(left), refreshToken: "r-0" })
        const all = yield* Effect.all(Array.from({ length: 50 }, () => bearer(auth)), { concurrency: "unbounded" })
        assert.deepStrictEqual([...new Set(all)], [again])
        assert.strictEqual(seen.length, 1)
      }
    }))

  it.effect("row 8: after a failure the next call tries again", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare((request, index) =>
        index === 0 ? json(400, { message: "no" }) : renewing(request, 0)
      )
      yield* auth.import({ token: tokenWith(-10), refreshToken: "r-0" })
      const error = yield* Effect.flip(auth.bearer)
      assert.strictEqual(error._tag === "IamError" && error.reason._tag, "Misconfigured")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [again, 2])
    }))

  it.effect("row 8: the project that was asked for last is named again", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import({ token: tokenWith(3600), refreshToken: "r-0" })
      yield* auth.refresh({ project: "FD2" })
      yield* TestClock.adjust("2701 seconds")
      yield* bearer(auth)
      assert.deepStrictEqual(bodies(seen).map(({ project, refreshToken }) => [project, refreshToken]), [
        ["FD2", "r-0"],
        ["FD2", "r-1"]
      ])
    }))

  it.effect("row 8: without a refresh token a valid token is handed out to its end, and nothing is sent", () =>
    Effect.gen(function*() {
      const token = tokenWith(1)
      assert.deepStrictEqual(yield* asked(token), [`Bearer ${token}`, 0])
    }))
})

describe("row 8 bearer: failure", () => {
  it.effect("row 8: nobody signed in is NotAuthenticated, and nothing is sent", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      assert.strictEqual((yield* Effect.flip(auth.bearer))._tag, "NotAuthenticated")
      assert.strictEqual(seen.length, 0)
    }))

  it.effect("row 8: expired and without a refresh token is ReauthenticationRequired, and nothing is sent", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import({ token: tokenWith(0) })
      assert.strictEqual((yield* Effect.flip(auth.bearer))._tag, "ReauthenticationRequired")
      assert.strictEqual(seen.length, 0)
    }))

  it.effect("row 8: a refused renewal ends the session when its token ends, not before, and is sent once", () =>
    Effect.gen(function*() {
      const token = tokenWith(300)
      const { auth, seen } = yield* bare(() => json(401, { message: "the session is over" }))
      yield* auth.import({ token, refreshToken: "r-0", project: "FD1" })
      assert.strictEqual(yield* bearer(auth), `Bearer ${token}`)
      const session = Option.getOrThrow(yield* auth.session)
      assert.strictEqual(session.current.project, "FD1")
      yield* TestClock.adjust("299 seconds")
      assert.strictEqual(yield* bearer(auth), `Bearer ${token}`)
      yield* TestClock.adjust("1 second")
      const error = yield* Effect.flip(auth.bearer)
      assert.strictEqual(error._tag, "ReauthenticationRequired")
      assert.include(error.message, "the session is over")
      assert.strictEqual(seen.length, 1)
    }))

  it.effect("row 8: a refused renewal of an expired token is ReauthenticationRequired", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare(() => json(401, { message: "the session is over" }))
      yield* auth.import({ token: tokenWith(-10), refreshToken: "r-0" })
      for (const _ of [1, 2]) {
        assert.strictEqual((yield* Effect.flip(auth.bearer))._tag, "ReauthenticationRequired")
      }
      assert.strictEqual(seen.length, 1)
    }))

  it.effect("row 8: with 300 seconds left a 503 costs nothing, and the renewal is tried again after a pause", () =>
    Effect.gen(function*() {
      const token = tokenWith(300)
      const { auth, seen } = yield* bare((request, index) => index === 0 ? html(503) : renewing(request, 0))
      yield* auth.import({ token, refreshToken: "r-0" })
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [`Bearer ${token}`, 1])
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [`Bearer ${token}`, 1])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [again, 2])
    }))

  it.effect("row 8: with 300 seconds left a 500 costs nothing; what may have been spent is not sent before the end", () =>
    Effect.gen(function*() {
      const token = tokenWith(300)
      const { auth, seen } = yield* bare((request, index) => index === 0 ? answer(500, "", {}) : renewing(request, 0))
      yield* auth.import({ token, refreshToken: "r-0" })
      assert.strictEqual(yield* bearer(auth), `Bearer ${token}`)
      yield* TestClock.adjust("299 seconds")
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [`Bearer ${token}`, 1])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([yield* bearer(auth), seen.length], [again, 2])
    }))

  it.effect("row 8: an exp that is no number is no known end: the token is presented, a schema names the claim", () =>
    Effect.gen(function*() {
      const token = jwt({ sub: "1", exp: "soon" })
      assert.deepStrictEqual(yield* asked(token, "r-0"), [`Bearer ${token}`, 0])
      const error = yield* Effect.flip(
        Effect.provide(JwtCodec.JwtCodec.use((codec) => codec.decode(secret(token))), JwtCodec.layer)
      )
      assert.strictEqual(error.reason._tag, "InvalidClaims")
      assert.include(error.message, "exp")
    }))

  it.effect("row 8: a token type of the set-up stands before the token", () =>
    Effect.gen(function*() {
      const token = tokenWith(3600)
      const { auth, iam } = yield* bare(renewing, { tokenType: "JWT" })
      yield* auth.import({ token, refreshToken: "r-0" })
      assert.strictEqual(Redacted.value(yield* auth.bearer), `JWT ${token}`)
      assert.deepStrictEqual([iam.policy.window, iam.policy.renewFirst], [Duration.minutes(15), true])
    }))
})
