import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Option } from "effect"
import { drop, hang, html, json, raw, type Script, serve } from "./bareServer.ts"
import { against, jwt, layer, login, ok, pair, refusal, renew, token } from "./fixtures.ts"

describe("odd answers, to a login and to a renewal", () => {
  const odd: ReadonlyArray<readonly [title: string, script: Script, expected: string]> = [
    ["200 with HTML", () => html("200 OK"), "Malformed"],
    ["201 with an empty body", () => raw("201 Created", ["Content-Type: application/json"], ""), "Malformed"],
    [
      "201 with half a document",
      () => raw("201 Created", ["Content-Type: application/json"], `{"token":"`),
      "Malformed"
    ],
    ["201 with a list", () => json("201 Created", [pair]), "Malformed"],
    ["201 with null", () => json("201 Created", null), "Malformed"],
    ["201 with no token", () => json("201 Created", { refreshToken: "r-1" }), "Malformed"],
    ["201 with an empty token", () => json("201 Created", { ...pair, token: "" }), "Malformed"],
    ["201 with a number for a token", () => json("201 Created", { ...pair, token: 42 }), "Malformed"],
    [
      "201 with a token that no header can carry",
      () => json("201 Created", { ...pair, token: "a\r\nb: c" }),
      "Malformed"
    ],
    ["202 with a pair", () => json("202 Accepted", pair), "Malformed"],
    ["204", () => raw("204 No Content", [], ""), "Malformed"],
    ["400 with details", () => json("400 Bad Request", { message: "no", details: ["x"] }), "Misconfigured"],
    ["401 with HTML", () => html("401 Unauthorized"), "Unavailable"],
    ["401 with text", () => raw("401 Unauthorized", ["Content-Type: text/plain"], "no"), "Unavailable"],
    ["403 with JSON", () => json("403 Forbidden", { message: "no" }), "SelectionRefused"],
    ["403 with HTML", () => html("403 Forbidden"), "Unavailable"],
    ["404 with HTML", () => html("404 Not Found"), "Misconfigured"],
    ["405", () => json("405 Method Not Allowed", { message: "no" }), "Misconfigured"],
    ["302", () => raw("302 Found", ["Location: https://elsewhere.example/"], ""), "Misconfigured"]
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

  const never: Script = () => hang
  const unavailable: ReadonlyArray<
    readonly [title: string, script: Script, sent: "no" | "maybe", retryAfter?: string]
  > = [
    [
      "429 with Retry-After",
      () => json("429 Too Many Requests", { message: "slow" }, "Retry-After: 7"),
      "no",
      "7 seconds"
    ],
    ["503", () => html("503 Service Unavailable"), "no"],
    ["500", () => json("500 Internal Server Error", { message: "oops" }), "maybe"],
    ["502 with HTML", () => html("502 Bad Gateway"), "maybe"],
    ["504", () => raw("504 Gateway Timeout", [], ""), "maybe"],
    ["a connection that is reset", () => drop, "maybe"],
    ["half an answer", () => json("201 Created", pair).slice(0, -5), "maybe"],
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
        () => raw("307 Temporary Redirect", [`Location: ${thief.origin}/api/v1/auth/login`], ""),
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
        json(
          "201 Created",
          { token: jwt({ exp: 1_000_003_600 }), refreshToken: "r" },
          "Date: Sun, 09 Sep 2001 01:46:40 GMT"
        ),
      () =>
        Effect.gen(function*() {
          const before = yield* DateTime.now
          const { tokens } = yield* login()
          const left = Duration.toMillis(DateTime.distance(before, Option.getOrThrow(tokens.expiresAt)))
          assert.approximately(left, 3_600_000, 5000)
        })
    ))
})
