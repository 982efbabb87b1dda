/** Row 15 of the conformance table: other controllers use the session through `AuthHttpClient`. */
import { AuthHttpClient } from "@effect-authn/core"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpClientRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { bare, bearer, client, passwordLogin, renewed, renewing, simulated, tokenWith } from "./managers.ts"

const { answer, json, serve } = BareServer

/** A session with a token for another hour, and an API behind it that answers as told. */
const signedIn = Effect.fnUntraced(function*(status: (attempt: number) => number) {
  const here = yield* bare()
  yield* here.auth.import({ token: tokenWith(3600), refresh_token: "r-0" })
  const api = yield* serve((_, index) => json(status(index), {}))
  const http = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: api.origin }), here.context)
  return { ...here, http, api, sent: () => api.seen.map(({ headers }) => headers["authorization"]) }
})

const unauthorized = 401
const fine = 200
const [first, second] = [`Bearer ${tokenWith(3600)}`, `Bearer ${renewed(0).token}`]

describe("row 15 use by other controllers: normal", () => {
  it.effect("row 15: every request carries what bearer says, and nothing is renewed for it", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated()
      const { auth, context } = yield* client(simulator)
      yield* auth.login(passwordLogin())
      const http = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: simulator.issuer }), context)
      const response = yield* http.get("/whoami")
      assert.deepStrictEqual(yield* response.json, { authorization: yield* bearer(auth) })
      assert.strictEqual(yield* simulator.refreshes, 0)
    }))
})

describe("row 15 use by other controllers: edge", () => {
  it.effect("row 15: a long loop across the end of a token renews once for each token's life", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated({ rotation: "strict" })
      const { auth, context } = yield* client(simulator)
      yield* auth.login(passwordLogin("borealis"))
      const http = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: simulator.issuer }), context)
      const used = new Set<string>()
      // two hours, in steps of three minutes: 45 minutes of each token are used
      for (let step = 0; step < 40; step++) {
        const response = yield* http.get("/whoami")
        assert.strictEqual(response.status, 200)
        used.add(yield* response.text)
        yield* TestClock.adjust("3 minutes")
      }
      assert.deepStrictEqual([used.size, yield* simulator.refreshes, yield* simulator.notes], [3, 2, []])
    }))

  it.effect("row 15: a 401 renews once and sends the request once more, with its body", () =>
    Effect.gen(function*() {
      const { api, http, seen, sent } = yield* signedIn((attempt) => attempt === 0 ? unauthorized : fine)
      const request = HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post("/records"), { name: "x" })
      assert.strictEqual((yield* http.execute(request)).status, 200)
      assert.deepStrictEqual(sent(), [first, second])
      assert.deepStrictEqual(api.seen.map(({ body }) => body), [`{"name":"x"}`, `{"name":"x"}`])
      assert.strictEqual(seen.length, 1)
    }))
})

describe("row 15 use by other controllers: failure", () => {
  it.effect("row 15: a second 401 is the answer: no third request, no second renewal", () =>
    Effect.gen(function*() {
      const { http, seen, sent } = yield* signedIn(() => unauthorized)
      assert.strictEqual((yield* http.get("/records")).status, 401)
      assert.deepStrictEqual(sent(), [first, second])
      assert.strictEqual(seen.length, 1)
    }))

  it.effect("row 15: a 401 stands where the renewal is refused, and the token is not sent again", () =>
    Effect.gen(function*() {
      const here = yield* bare(() => json(401, { message: "over" }))
      yield* here.auth.import({ token: tokenWith(3600), refresh_token: "r-0" })
      const api = yield* serve(() => json(unauthorized, {}))
      const http = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: api.origin }), here.context)
      assert.strictEqual((yield* http.get("/records")).status, 401)
      assert.deepStrictEqual([api.seen.length, here.seen.length], [1, 1])
    }))

  it.effect("row 15: another origin, asked or led to, gets no token", () =>
    Effect.gen(function*() {
      const here = yield* bare(renewing)
      yield* here.auth.import({ token: tokenWith(3600), refresh_token: "r-0" })
      const other = yield* serve(() => json(fine, {}))
      const api = yield* serve(() => answer(302, "", { location: `${other.origin}/led` }))
      const http = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: api.origin }), here.context)
      yield* http.get("/records")
      yield* http.get(`${other.origin}/asked`)
      assert.strictEqual(api.seen[0]?.headers["authorization"], first)
      assert.deepStrictEqual(
        other.seen.map(({ headers, line }) => [line.split(" ")[1], headers["authorization"]]),
        [["/led", undefined], ["/asked", undefined]]
      )
    }))

  it.effect("row 15: nobody signed in sends nothing", () =>
    Effect.gen(function*() {
      const here = yield* bare(renewing)
      const api = yield* serve(() => json(fine, {}))
      const http = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: api.origin }), here.context)
      assert.strictEqual((yield* Effect.flip(http.get("/records")))._tag, "NotAuthenticated")
      assert.deepStrictEqual([api.seen.length, here.seen.length], [0, 0])
    }))
})
