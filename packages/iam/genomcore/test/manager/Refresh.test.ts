/** Rows 9 and 12 of the conformance table, as a manager does them: `login` and `refresh`, and which project they are for. */
import { type AuthError, type AuthManager, AuthStrategy, Session } from "@effect-authn/core"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { bodies, jwt, refreshTokenOf, secret, shown } from "../fixtures.ts"
import {
  bare,
  bearer,
  client,
  gated,
  passwordLogin,
  projectId,
  renewed,
  renewing,
  simulated,
  tokenWith
} from "./managers.ts"

const { drop, html, json } = BareServer

type Auth = AuthManager.AuthManager["Service"]

const imported = { token: tokenWith(3600), refresh_token: "r-0", organization: "acme", project: "FD1" }

const held = (auth: Auth) =>
  Effect.map(auth.session, (session) => {
    const { current, grant, tokens } = Option.getOrThrow(session)
    return { current, grant, tokens }
  })

const tagOf = (error: AuthError.AuthError) => error._tag === "IamError" ? error.reason._tag : error._tag

const sentOf = (seen: Parameters<typeof bodies>[0]) =>
  bodies(seen).map(({ project, refreshToken }) => [refreshToken, project])

describe("row 9 login, by a strategy", () => {
  it.effect("row 9: the session is for the project that was asked for, else for the user's default one", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated()
      for (const [project, id] of [[undefined, 1], ["borealis", 2], ["2", 2]] as const) {
        const here = yield* client(simulator)
        const session = yield* here.auth.login(passwordLogin(project))
        assert.strictEqual(yield* projectId(here), id)
        assert.strictEqual(session.current.project, project)
      }
    }))

  it.effect("row 9: a refused login is one kind for all, shows no password, and leaves the session there was", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated()
      const { auth } = yield* client(simulator)
      yield* auth.login(passwordLogin())
      const before = yield* held(auth)
      const login = (handle: string, password: string) =>
        AuthStrategy.password({ handle, password: secret(password), organization: "acme" })
      const said = new Set<string>()
      for (const strategy of [login("ada", "canary-password"), login("eve", "canary-password")]) {
        const error = yield* Effect.flip(auth.login(strategy))
        assert.strictEqual(error._tag, "InvalidCredentials")
        assert.notInclude(shown(error), "canary")
        said.add(error.message.replace(/ as (ada|eve) at /, " at "))
      }
      assert.strictEqual(said.size, 1)
      const elsewhere = yield* Effect.flip(auth.login(passwordLogin("nowhere")))
      assert.strictEqual(tagOf(elsewhere), "SelectionRefused")
      assert.deepStrictEqual(yield* held(auth), before)
    }))
})

describe("row 12 refresh: normal", () => {
  it.effect("row 12: sends the pair, and both tokens are new", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import({ token: imported.token, refresh_token: "r-0" })
      const session = yield* auth.refresh()
      assert.deepStrictEqual(bodies(seen), [{ token: imported.token, refreshToken: "r-0" }])
      const tokens = Option.getOrThrow(Session.currentToken(session))
      assert.deepStrictEqual([Redacted.value(tokens.accessToken), refreshTokenOf(session)], [
        renewed(0).token,
        "r-1"
      ])
    }))
})

describe("row 12 refresh: edge", () => {
  it.effect("row 12: a project that was asked for is named again by bare refreshes, until none is asked for", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import({ ...imported, project: undefined })
      for (const selection of [{ project: "FD2" }, undefined, {}, undefined]) yield* auth.refresh(selection)
      assert.deepStrictEqual(sentOf(seen), [["r-0", "FD2"], ["r-1", "FD2"], ["r-2", undefined], ["r-3", undefined]])
    }))

  it.effect("row 12: stickyProject: false leaves it to the IAM to keep the project", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare(renewing, { stickyProject: false })
      yield* auth.import(imported)
      yield* auth.refresh({ project: "FD2" })
      yield* auth.refresh()
      assert.deepStrictEqual(sentOf(seen), [["r-0", "FD2"], ["r-1", undefined]])
    }))

  it.effect("row 12: an expired access token is sent all the same", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      const token = tokenWith(-3600)
      yield* auth.import({ token, refresh_token: "r-0" })
      yield* auth.refresh()
      assert.deepStrictEqual(bodies(seen), [{ token, refreshToken: "r-0" }])
    }))

  it.effect("row 12: an answer without a refresh token keeps the old one", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare((_, index) => json(200, { token: renewed(index).token }))
      yield* auth.import(imported)
      for (const _ of [1, 2]) yield* auth.refresh()
      assert.deepStrictEqual(sentOf(seen), [["r-0", "FD1"], ["r-0", "FD1"]])
    }))

  it.effect("row 12: during an automatic renewal a refresh waits, and sends the rotated pair", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const { auth, seen } = yield* bare(renewing, {}, { http: gated(gate.await) })
      yield* auth.import({ ...imported, token: tokenWith(100) })
      const automatic = yield* Effect.forkChild(bearer(auth), { startImmediately: true })
      const explicit = yield* Effect.forkChild(auth.refresh({ project: "FD2" }), { startImmediately: true })
      yield* gate.open
      assert.strictEqual(yield* Fiber.join(automatic), `Bearer ${renewed(0).token}`)
      yield* Fiber.join(explicit)
      assert.deepStrictEqual(bodies(seen).map(({ project, refreshToken, token }) => [project, refreshToken, token]), [
        ["FD1", "r-0", tokenWith(100)],
        ["FD2", "r-1", renewed(0).token]
      ])
      assert.strictEqual(yield* bearer(auth), `Bearer ${renewed(1).token}`)
    }))

  it.effect("row 12: during an automatic renewal for the same project a refresh is that renewal", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const { auth, seen } = yield* bare(renewing, {}, { http: gated(gate.await) })
      yield* auth.import({ ...imported, token: tokenWith(100) })
      const automatic = yield* Effect.forkChild(auth.token, { startImmediately: true })
      const explicit = yield* Effect.forkChild(auth.refresh(), { startImmediately: true })
      yield* gate.open
      const token = yield* Fiber.join(automatic)
      assert.strictEqual(Option.getOrThrow(Session.currentToken(yield* Fiber.join(explicit))), token)
      assert.deepStrictEqual(sentOf(seen), [["r-0", "FD1"]])
    }))

  it.effect("row 12: two for different projects run in the order of the calls, and the last one stays", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import(imported)
      yield* Effect.all([auth.refresh({ project: "FD2" }), auth.refresh({ project: "FD3" })], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(sentOf(seen), [["r-0", "FD2"], ["r-1", "FD3"]])
      assert.strictEqual((yield* held(auth)).current.project, "FD3")
      assert.strictEqual(yield* bearer(auth), `Bearer ${renewed(1).token}`)
    }))

  it.effect("row 12: each project of a session has its token, and one refresh token serves them all, one after another", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated({ rotation: "strict" })
      const { auth, genomcore } = yield* client(simulator)
      yield* auth.login(passwordLogin("apollo"))
      const ids = yield* Effect.forEach(
        ["borealis", "apollo", "2", "borealis"],
        (project) => Effect.flatMap(auth.tokenFor({ project }), ({ accessToken }) => genomcore.projectId(accessToken)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(ids, [2, 1, 2, 2])
      assert.strictEqual((yield* held(auth)).current.project, "apollo")
      // the one for `apollo` was there, and `borealis` was asked for once by each of its names
      assert.deepStrictEqual([yield* simulator.refreshes, yield* simulator.notes], [2, []])
    }))
})

describe("row 12 refresh: failure", () => {
  it.effect("row 12: without a refresh token nothing is sent", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import({ token: imported.token })
      for (const selection of [undefined, { project: "FD2" }]) {
        assert.strictEqual((yield* Effect.flip(auth.refresh(selection)))._tag, "ReauthenticationRequired")
      }
      assert.strictEqual(seen.length, 0)
    }))

  it.effect("row 12: without an access token there is no session to refresh", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      assert.strictEqual(tagOf(yield* Effect.flip(auth.import({ refresh_token: "r-0" }))), "Misconfigured")
      assert.strictEqual((yield* Effect.flip(auth.refresh()))._tag, "NotAuthenticated")
      assert.strictEqual(seen.length, 0)
    }))

  it.effect("row 12: 401 is ReauthenticationRequired, and the dead grant is not sent again", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare(() => json(401, { message: "the session is over" }))
      yield* auth.import(imported)
      for (const _ of [1, 2]) {
        const error = yield* Effect.flip(auth.refresh())
        assert.strictEqual(error._tag, "ReauthenticationRequired")
        assert.include(error.message, "the session is over")
      }
      assert.strictEqual(seen.length, 1)
    }))

  it.effect("row 12: a project that is refused leaves the project, the pair and its memory as they were", () =>
    Effect.gen(function*() {
      for (
        const refusal of [
          json(403, { message: "not yours" }),
          json(404, { message: "no such project" })
        ]
      ) {
        const { auth, seen } = yield* bare((request, index) => index === 0 ? refusal : renewing(request, index))
        yield* auth.import(imported)
        const before = yield* held(auth)
        assert.strictEqual(tagOf(yield* Effect.flip(auth.refresh({ project: "FD2" }))), "SelectionRefused")
        assert.deepStrictEqual(yield* held(auth), before)
        yield* auth.refresh()
        assert.deepStrictEqual(sentOf(seen), [["r-0", "FD2"], ["r-0", "FD1"]])
      }
    }))

  it.effect("row 12: a malformed answer, a cut connection or a refused form leaves the session as it was", () =>
    Effect.gen(function*() {
      const scripts: ReadonlyArray<readonly [BareServer.Script, string]> = [
        [() => json(201, { refreshToken: "r-1" }), "Malformed"],
        [() => html(200), "Malformed"],
        [() => drop, "Unavailable"],
        [() => json(422, { message: "no", details: ["x"] }), "Misconfigured"]
      ]
      for (const [script, expected] of scripts) {
        const { auth, seen } = yield* bare(script)
        yield* auth.import(imported)
        const before = yield* held(auth)
        assert.strictEqual(tagOf(yield* Effect.flip(auth.refresh())), expected)
        assert.deepStrictEqual(yield* held(auth), before)
        assert.strictEqual(yield* bearer(auth), `Bearer ${imported.token}`)
        assert.strictEqual(seen.length, 1)
      }
    }))

  it.effect("row 12: a pair whose answer was lost is sent again when the token has ended, and a refusal then says so", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated({ fail: ["refresh:lost:1"], rotation: "rotate" })
      const { auth } = yield* client(simulator)
      yield* auth.login(passwordLogin())
      assert.strictEqual(tagOf(yield* Effect.flip(auth.refresh())), "Unavailable")
      yield* bearer(auth)
      assert.strictEqual(yield* simulator.refreshes, 1)
      yield* TestClock.adjust("1 hour")
      const error = yield* Effect.flip(auth.bearer)
      assert.isTrue(error._tag === "ReauthenticationRequired" && error.answerLost)
      assert.strictEqual(yield* simulator.refreshes, 2)
    }))

  it.effect("row 12: a refresh for a project makes it the current one, also while a token for it is under way", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const { auth } = yield* bare(renewing, {}, { http: gated(gate.await) })
      yield* auth.import(imported)
      const reading = yield* Effect.forkChild(auth.tokenFor({ project: "FD2" }), { startImmediately: true })
      const moving = yield* Effect.forkChild(auth.refresh({ project: "FD2" }), { startImmediately: true })
      yield* gate.open
      yield* Fiber.join(reading)
      assert.strictEqual((yield* Fiber.join(moving)).current.project, "FD2")
    }))

  it.effect("row 12: of several refreshes for projects the last one asked for wins", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const { auth } = yield* bare(renewing, {}, { http: gated(gate.await) })
      yield* auth.import(imported)
      const fibers = yield* Effect.forEach(["A", "B", "A"], (project) =>
        Effect.forkChild(auth.refresh({ project }), { startImmediately: true }))
      yield* gate.open
      yield* Effect.forEach(fibers, (fiber) =>
        Fiber.join(fiber))
      assert.strictEqual(Option.getOrThrow(yield* auth.session).current.project, "A")
    }))

  it.effect("row 12: no failure shows a token", () =>
    Effect.gen(function*() {
      const token = jwt({ sub: "canary" })
      const echo: BareServer.Script = ({ body }) => json(400, { message: body, details: [body] })
      const { auth } = yield* bare(echo)
      yield* auth.import({ token, refresh_token: "canary-refresh" })
      const error = yield* Effect.flip(auth.refresh())
      for (const text of [token, "canary-refresh"]) assert.notInclude(`${error.stack}${shown(error)}`, text)
    }))
})
