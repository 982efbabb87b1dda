import * as IamSimulator from "@effect-authn/testing/IamSimulator"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { claimsOf, genomcore, post, send } from "./fixtures.ts"

const onSimulator = <A, E>(
  options: IamSimulator.Options,
  use: (simulator: IamSimulator.IamSimulator["Service"]) => Effect.Effect<A, E>
) => Effect.flatMap(IamSimulator.IamSimulator, use).pipe(Effect.provide(IamSimulator.layer(options)))

const projectOf = (answer: { readonly json: any }): number => claimsOf(answer.json.token).projectId

const isError = (answer: { readonly status: number; readonly json: any }): boolean =>
  answer.json.statusCode === answer.status && typeof answer.json.message === "string" &&
  Array.isArray(answer.json.details)

describe("IamSimulator, Genomcore-style", () => {
  it.effect("login answers a pair and a user, scoped to the default project or the one asked for", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { login } = genomcore(simulator)
        const byDefault = yield* login()
        assert.strictEqual(byDefault.status, 201)
        assert.deepStrictEqual(byDefault.json.user, {
          id: 1,
          email: "ada@example.org",
          platformId: 1,
          organizationId: 1
        })
        assert.strictEqual(projectOf(byDefault), 1)
        assert.strictEqual(projectOf(yield* login({ project: "borealis" })), 2)
        assert.strictEqual(projectOf(yield* login({ project: "2" })), 2)
      })))

  it.effect("login tells an unknown user (404) from a wrong password (401), and refuses foreign scopes (403)", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { login } = genomcore(simulator)
        const refused = [
          yield* login({ username: "eve" }),
          yield* login({ password: "nope" }),
          yield* login({ organization: "other" }),
          yield* login({ project: "nowhere" }),
          yield* login({ organization: "" }),
          yield* login({ username: undefined })
        ]
        assert.deepStrictEqual(refused.map(({ status }) => status), [404, 401, 403, 403, 400, 400])
        for (const answer of refused) assert.isTrue(isError(answer), answer.text)
        assert.isAbove(refused[4]!.json.details.length, 0)
      })))

  it.effect("a refresh takes an expired access token, and answers another pair", () =>
    onSimulator({ tokenLifetime: "60 seconds" }, (simulator) =>
      Effect.gen(function*() {
        const { echo, login, refresh } = genomcore(simulator)
        const first = (yield* login()).json
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual((yield* echo(first.token)).status, 401)
        const second = yield* refresh(first)
        assert.strictEqual(second.status, 201)
        assert.notStrictEqual(second.json.token, first.token)
        assert.notStrictEqual(second.json.refreshToken, first.refreshToken)
        const echoed = yield* echo(second.json.token)
        assert.deepStrictEqual([echoed.status, echoed.json.authorization], [200, `Bearer ${second.json.token}`])
      })))

  it.effect("a refresh re-scopes; a bare one keeps the scope, or resets it, as told", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const scoped = yield* refresh((yield* login()).json, { project: "borealis" })
        assert.strictEqual(projectOf(scoped), 2)
        const kept = yield* refresh(scoped.json)
        assert.strictEqual(projectOf(kept), 2)
        yield* simulator.setKnobs({ bareRefresh: "reset" })
        assert.strictEqual(projectOf(yield* refresh(kept.json)), 1)
      })))

  it.effect("an unknown project is 404 and spends nothing", () =>
    onSimulator({ rotation: "strict" }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const pair = (yield* login()).json
        const refused = yield* refresh(pair, { project: "nowhere" })
        assert.strictEqual(refused.status, 404)
        assert.isTrue(isError(refused))
        assert.strictEqual((yield* refresh(pair)).status, 201)
      })))

  it.effect("rotation none: the refresh token stays", () =>
    onSimulator({ rotation: "none" }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const pair = (yield* login()).json
        for (const _ of [1, 2]) assert.strictEqual((yield* refresh(pair)).json.refreshToken, pair.refreshToken)
      })))

  it.effect("rotation rotate: a spent refresh token is refused, its successor lives", () =>
    onSimulator({ rotation: "rotate" }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const first = (yield* login()).json
        const second = (yield* refresh(first)).json
        const reused = yield* refresh(first)
        assert.strictEqual(reused.status, 401)
        assert.isTrue(isError(reused))
        assert.strictEqual((yield* refresh(second)).status, 201)
      })))

  it.effect("rotation strict: reuse revokes the family, is noted, and leaves other families alone", () =>
    onSimulator({ rotation: "strict" }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const other = (yield* login()).json
        const first = (yield* login()).json
        const second = (yield* refresh(first)).json
        assert.strictEqual((yield* refresh(first)).status, 401)
        assert.strictEqual((yield* refresh(second)).status, 401)
        assert.strictEqual((yield* refresh(other)).status, 201)
        const notes = (yield* simulator.ledger).filter(({ route }) => route === "refresh").map(({ note }) => note)
        assert.deepStrictEqual(notes, [undefined, "reuse", undefined, undefined])
      })))

  it.effect("of many refreshes at once with one refresh token, one succeeds", () =>
    onSimulator({ rotation: "rotate" }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const pair = (yield* login()).json
        const answers = yield* Effect.forEach(Array.from({ length: 10 }), () => refresh(pair), {
          concurrency: "unbounded"
        })
        assert.strictEqual(answers.filter(({ status }) => status === 201).length, 1)
      })))

  it.effect("an omitted refresh token means that the old one stays good", () =>
    onSimulator({ rotation: "strict", omitRefreshToken: true }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const pair = (yield* login()).json
        const renewed = (yield* refresh(pair)).json
        assert.notProperty(renewed, "refreshToken")
        assert.strictEqual((yield* refresh({ ...pair, token: renewed.token })).status, 201)
      })))

  it.effect("a refresh wants both tokens, of one user", () =>
    onSimulator({ users: ["ada:correct-horse-battery", "bob:b"] }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const ada = (yield* login()).json
        const bob = (yield* login({ username: "bob", password: "b" })).json
        const url = `${simulator.issuer}/api/v1/auth/refresh-token`
        assert.strictEqual((yield* post(url, { refreshToken: ada.refreshToken })).status, 400)
        assert.strictEqual((yield* post(url, { token: ada.token })).status, 400)
        assert.strictEqual((yield* refresh({ token: bob.token, refreshToken: ada.refreshToken })).status, 401)
        assert.strictEqual((yield* refresh({ token: "x", refreshToken: ada.refreshToken })).status, 401)
        assert.strictEqual((yield* refresh({ token: ada.token, refreshToken: "x" })).status, 401)
        assert.strictEqual((yield* refresh(ada)).status, 201)
      })))

  it.effect("successes are 200 when told so", () =>
    onSimulator({ successStatus: 200 }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const pair = yield* login()
        assert.deepStrictEqual([pair.status, (yield* refresh(pair.json)).status], [200, 200])
      })))

  it.effect("errors, also played ones, have this dialect's shape", () =>
    onSimulator({ fail: ["refresh:429:1"] }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const played = yield* refresh((yield* login()).json)
        assert.strictEqual(played.status, 429)
        assert.isTrue(isError(played))
        const unauthorized = yield* send(`${simulator.issuer}/whoami`)
        assert.strictEqual(unauthorized.status, 401)
        assert.match(unauthorized.headers.get("www-authenticate")!, /^Bearer realm="simulator"/)
        assert.isTrue(isError(unauthorized))
      })))
})
