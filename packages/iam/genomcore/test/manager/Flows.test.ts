/** The whole flows A to D of the conformance table, against the simulator, over a real socket. E is in ManagerModel. */
import { AuthHttpClient } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { TestClock } from "effect/testing"
import { bearer, client, passwordLogin, projectId, simulated } from "./managers.ts"

const both = ["keep", "reset"] as const

describe("flow A: login without a project", () => {
  it.effect("flow A: the token is for the user's default project, and stays so", () =>
    Effect.gen(function*() {
      for (const bareRefresh of both) {
        const simulator = yield* simulated({ bareRefresh })
        const here = yield* client(simulator)
        const session = yield* here.auth.login(passwordLogin())
        assert.isUndefined(session.current.project)
        assert.strictEqual(yield* projectId(here), 1)
        yield* TestClock.adjust("50 minutes")
        assert.strictEqual(yield* projectId(here), 1)
        assert.deepStrictEqual((yield* simulator.ledger).map(({ route, status }) => [route, status]), [
          ["login", 201],
          ["refresh", 201]
        ])
      }
    }))
})

describe("flow B: login, re-scope, export, restore elsewhere", () => {
  it.effect("flow B: the second client is for the same project, also after a bare renewal, whatever the IAM does", () =>
    Effect.gen(function*() {
      for (const bareRefresh of both) {
        const simulator = yield* simulated({ bareRefresh, rotation: "strict" })
        const here = yield* client(simulator)
        yield* here.auth.login(passwordLogin())
        const api = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: simulator.issuer }), here.context)
        // the list of projects has no known route: any route that wants the token stands for it
        assert.strictEqual((yield* api.get("/whoami")).status, 200)
        assert.strictEqual(yield* projectId(here), 1)
        yield* here.auth.refresh({ project: "borealis" })
        assert.strictEqual(yield* projectId(here), 2)

        const document: unknown = JSON.parse(JSON.stringify(yield* here.auth.export))
        yield* here.auth.clearStoredToken
        const there = yield* client(simulator)
        yield* there.auth.import(document)
        const restored = yield* bearer(there.auth)
        assert.strictEqual(yield* simulator.refreshes, 1)
        const other = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: simulator.issuer }), there.context)
        assert.deepStrictEqual(yield* Effect.flatMap(other.get("/whoami"), ({ json }) => json), {
          authorization: restored
        })

        for (let renewals = 2; renewals <= 3; renewals++) {
          yield* TestClock.adjust("50 minutes")
          assert.notStrictEqual(yield* bearer(there.auth), restored)
          assert.strictEqual(yield* projectId(there), 2)
          assert.strictEqual(yield* simulator.refreshes, renewals)
        }
        assert.deepStrictEqual(yield* simulator.notes, [])
      }
    }))
})

describe("flow C: single-use refresh tokens, with many callers", () => {
  it.effect("flow C: fifty bearers and one refresh to another project: no reuse, and the project is the new one", () =>
    Effect.gen(function*() {
      for (const bareRefresh of both) {
        for (const age of ["46 minutes", "2 hours"] as const) {
          const simulator = yield* simulated({ bareRefresh, rotation: "strict" })
          const here = yield* client(simulator)
          yield* here.auth.login(passwordLogin("apollo"))
          yield* TestClock.adjust(age)
          const callers = Array.from({ length: 50 }, () => bearer(here.auth))
          yield* Effect.all(
            [...callers.slice(25), here.auth.refresh({ project: "borealis" }), ...callers.slice(0, 25)],
            {
              concurrency: "unbounded"
            }
          )
          assert.strictEqual(yield* projectId(here), 2)
          assert.strictEqual(Option.getOrThrow(yield* here.auth.session).current.project, "borealis")
          // one for all the bearers, one for the project
          assert.deepStrictEqual([yield* simulator.refreshes, yield* simulator.notes], [2, []])
        }
      }
    }))
})

describe("flow D: two clients that share a single-use refresh token", () => {
  for (
    const [title, rotation, survives] of [
      ["flow D: the one who comes too late must sign in again, and knows it", "rotate", true],
      ["flow D: where the IAM takes that for theft, both must", "strict", false]
    ] as const
  ) {
    it.effect(title, () =>
      Effect.gen(function*() {
        const simulator = yield* simulated({ rotation })
        const origin = yield* client(simulator)
        yield* origin.auth.login(passwordLogin("borealis"))
        const document = yield* origin.auth.export
        const [winner, loser] = [yield* client(simulator), yield* client(simulator)]
        for (const { auth } of [winner, loser]) yield* auth.import(document)

        yield* TestClock.adjust("50 minutes")
        const held = `Bearer ${String(document["token"])}`
        assert.notStrictEqual(yield* bearer(winner.auth), held)
        // its grant is dead, its token still good for ten minutes
        assert.strictEqual(yield* bearer(loser.auth), held)
        yield* TestClock.adjust("10 minutes")
        for (const _ of [1, 2]) {
          const error = yield* Effect.flip(loser.auth.bearer)
          assert.strictEqual(error._tag, "ReauthenticationRequired")
          assert.include(error.message, "used before")
        }
        assert.strictEqual(yield* simulator.refreshes, 2)
        assert.deepStrictEqual(yield* simulator.notes, survives ? [] : ["reuse"])

        yield* TestClock.adjust("50 minutes")
        const after = yield* Effect.exit(winner.auth.bearer)
        assert.strictEqual(after._tag, survives ? "Success" : "Failure")
        yield* loser.auth.login(passwordLogin("borealis"))
        assert.strictEqual(yield* projectId(loser), 2)
      }))
  }
})
