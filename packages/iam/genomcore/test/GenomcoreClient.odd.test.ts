import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Option } from "effect"
import { against, jwt, layer, login, ok, pair, refusal, renew, token } from "./fixtures.ts"

const { answer, drop, hang, html, json, serve } = BareServer

describe("odd answers, to a login and to a renewal", () => {
  const odd: ReadonlyArray<readonly [title: string, script: BareServer.Script, expected: string]> = [
    ["200 with HTML", () => html(200), "Malformed"],
    ["201 with an empty body", () => answer(201, "", { "content-type": "application/json" }), "Malformed"],
    [
      "201 with half a document",
      () => answer(201, `{"token":"`, { "content-type": "application/json" }),
      "Malformed"
    ],
    ["201 with a list", () => json(201, [pair]), "Malformed"],
    ["201 with null", () => json(201, null), "Malformed"],
    ["201 with no token", () => json(201, { refreshToken: "r-1" }), "Malformed"],
    ["201 with an empty token", () => json(201, { ...pair, token: "" }), "Malformed"],
    ["201 with a number for a token", () => json(201, { ...pair, token: 42 }), "Malformed"],
    [
      "201 with a token that no header can carry",
      () => json(201, { ...pair, token: "a\r\nb: c" }),
      "Malformed"
    ],
    [
      "201 with a refresh token that is two lines",
      () => json(201, { ...pair, refreshToken: "r-1\nhost=evil.example" }),
      "Malformed"
    ],
    ["202 with a pair", () => json(202, pair), "Malformed"],
    ["204", () => answer(204, "", {}), "Malformed"],
    ["400 with details", () => json(400, { message: "no", details: ["x"] }), "Misconfigured"],
    ["401 with HTML", () => html(401), "Unavailable"],
    ["401 with text", () => answer(401, "no", { "content-type": "text/plain" }), "Unavailable"],
    ["403 with JSON", () => json(403, { message: "no" }), "SelectionRefused"],
    ["403 with HTML", () => html(403), "Unavailable"],
    ["404 with HTML", () => html(404), "Misconfigured"],
    ["405", () => json(405, { message: "no" }), "Misconfigured"],
    ["302", () => answer(302, "", { location: "https://elsewhere.example/" }), "Misconfigured"]
  ]
  for (const [title, script, expected] of odd) {
    it.live(`${title} is ${expected}, after one request, and the grant lives`, () =>
      against(script, ({ seen }) =>
        Effect.gen(function*() {
          for (const call of [login(), renew()]) {
            const reason = yield* refusal(call, "correct horse", token, "r-0", "r-1")
            assert.strictEqual(reason._tag, expected, reason.message)
          }
          assert.strictEqual(seen.length, 2)
        })))
  }

  const never: BareServer.Script = () => hang
  const unavailable: ReadonlyArray<
    readonly [title: string, script: BareServer.Script, sent: "no" | "maybe", retryAfter?: string]
  > = [
    [
      "429 with Retry-After",
      () => json(429, { message: "slow" }, { "retry-after": "7" }),
      "no",
      "7 seconds"
    ],
    ["503", () => html(503), "no"],
    ["500", () => json(500, { message: "oops" }), "maybe"],
    ["502 with HTML", () => html(502), "maybe"],
    ["504", () => answer(504, "", {}), "maybe"],
    ["a connection that is reset", () => drop, "maybe"],
    ["half an answer", () => ({ ...json(201, pair), bytes: json(201, pair).bytes.slice(0, -5) }), "maybe"],
    ["no answer in time", never, "maybe"]
  ]
  for (const [title, script, sent, retryAfter] of unavailable) {
    it.live(`${title} is Unavailable, sent: ${sent}, after one request`, () =>
      against(script, ({ seen }) =>
        Effect.gen(function*() {
          for (const call of [login(), renew()]) {
            const reason = yield* refusal(call, "correct horse", "r-0", token)
            assert.strictEqual(reason._tag, "Unavailable")
            if (reason._tag !== "Unavailable") return
            assert.strictEqual(reason.sent, sent)
            assert.deepStrictEqual(
              reason.retryAfter && Duration.toMillis(reason.retryAfter),
              retryAfter && Duration.toMillis(Duration.fromInputUnsafe("7 seconds"))
            )
          }
          assert.strictEqual(seen.length, 2)
        }), script === never ? { policy: { timeLimit: Duration.seconds(2) } } : {}))
  }

  it.live("nobody at that port is Unavailable and was not sent", () =>
    Effect.gen(function*() {
      const { origin } = yield* Effect.scoped(serve(ok))
      const reason = yield* Effect.provide(refusal(login(), "correct horse"), layer({ host: origin }))
      assert.isTrue(reason._tag === "Unavailable" && reason.sent === "no", reason.message)
    }))

  it.live("a 307 does not take the password along", () =>
    Effect.gen(function*() {
      const thief = yield* serve(ok)
      yield* against(
        () => answer(307, "", { location: `${thief.origin}/api/v1/auth/login` }),
        () =>
          Effect.gen(function*() {
            const reason = yield* refusal(login(), "correct horse")
            assert.strictEqual(reason._tag, "Misconfigured")
            assert.include(reason.message, thief.origin)
          })
      )
      assert.strictEqual(thief.seen.length, 0)
    }))

  it.live("the Date header tells the server's time, and an end is in our clock", () =>
    against(
      () =>
        json(201, { token: jwt({ exp: 1_000_003_600 }), refreshToken: "r" }, { date: "Sun, 09 Sep 2001 01:46:40 GMT" }),
      () =>
        Effect.gen(function*() {
          const before = yield* DateTime.now
          const { tokens } = yield* login()
          const left = Duration.toMillis(DateTime.distance(before, Option.getOrThrow(tokens.expiresAt)))
          assert.approximately(left, 3_600_000, 5000)
        })
    ))
})
