import * as DatalayerApi from "@effect-authn/iam-datalayer/DatalayerApi"
import * as GenomcoreApi from "@effect-authn/iam-genomcore/GenomcoreApi"
import * as IamSimulator from "@effect-authn/testing/IamSimulator"
import * as SimulatorApi from "@effect-authn/testing/SimulatorApi"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Net from "node:net"
import { datalayer, genomcore, post, send } from "./fixtures.ts"

const onSimulator = <A, E>(
  options: IamSimulator.Options,
  use: (simulator: IamSimulator.IamSimulator["Service"]) => Effect.Effect<A, E>
) => Effect.flatMap(IamSimulator.IamSimulator, use).pipe(Effect.provide(IamSimulator.layer(options)))

const knobs = (simulator: IamSimulator.IamSimulator["Service"], changes: unknown) =>
  post(`${simulator.issuer}/__simulator/knobs`, changes)

describe("IamSimulator, knobs and ledger", () => {
  it.effect("a status fault answers so often as told, and then no more", () =>
    onSimulator({ fail: ["login:503:2", "login:500:1"] }, (simulator) =>
      Effect.gen(function*() {
        const { login } = datalayer(simulator)
        const statuses = []
        for (let i = 0; i < 4; i++) statuses.push((yield* login()).status)
        assert.deepStrictEqual(statuses, [503, 503, 500, 201])
        assert.deepStrictEqual((yield* simulator.knobs).fail, [])
        const notes = (yield* simulator.ledger).map(({ note }) => note)
        assert.deepStrictEqual(notes, ["fault 503", "fault 503", "fault 500", undefined])
      })))

  it.effect("a fault means every path of its route, in both dialects, and no other route", () =>
    onSimulator({ fail: ["login:503:3"] }, (simulator) =>
      Effect.gen(function*() {
        const { base, login } = datalayer(simulator)
        assert.strictEqual((yield* send(`${base}/ping`)).status, 200)
        assert.strictEqual((yield* login()).status, 503)
        assert.strictEqual((yield* post(`${base}/authentication/login`, {})).status, 503)
        assert.strictEqual((yield* genomcore(simulator).login()).status, 503)
        assert.strictEqual((yield* login()).status, 201)
      })))

  it.effect("drop cuts the connection and does nothing; lost does what was asked, and then cuts", () =>
    onSimulator({ rotation: "rotate" }, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const pair = (yield* login()).json
        yield* simulator.setKnobs({ fail: ["refresh:drop:1"] })
        assert.strictEqual((yield* refresh(pair)).status, 0)
        const second = (yield* refresh(pair)).json
        yield* simulator.setKnobs({ fail: ["refresh:lost:1"] })
        assert.strictEqual((yield* refresh(second)).status, 0)
        assert.strictEqual((yield* refresh(second)).status, 401)
        const seen = (yield* simulator.ledger).slice(1).map(({ note, status }) => [note, status])
        assert.deepStrictEqual(seen, [["drop", 0], [undefined, 201], ["lost", 0], [undefined, 401]])
      })))

  it.effect("html answers 200 with a page", () =>
    onSimulator({ fail: ["whoami:html:1"] }, (simulator) =>
      Effect.gen(function*() {
        const answer = yield* send(`${datalayer(simulator).base}/whoami`)
        assert.strictEqual(answer.status, 200)
        assert.include(answer.headers.get("content-type")!, "text/html")
        assert.include(answer.text, "<!doctype html>")
      })))

  it.live("hang never answers, holds up nobody else, and does not hold the simulator's end", () =>
    Effect.gen(function*() {
      const started = performance.now()
      yield* onSimulator({ fail: ["ping:hang:1"] }, (simulator) =>
        Effect.gen(function*() {
          const { base } = datalayer(simulator)
          const hanging = yield* Effect.forkDetach(send(`${base}/ping`), { startImmediately: true })
          yield* Effect.repeat(Effect.delay(simulator.ledger, "10 millis"), { until: (seen) => seen.length === 1 })
          assert.isUndefined(hanging.pollUnsafe())
          assert.strictEqual((yield* send(`${base}/ping`)).status, 200)
          const [first] = yield* simulator.ledger
          assert.deepStrictEqual([first!.note, first!.status], ["hang", 0])
        }))
      // A server that waits for its connections gives them twenty seconds.
      assert.isBelow(performance.now() - started, 15_000)
    }))

  it.live("its end cuts every connection, also one with half a request", () =>
    Effect.gen(function*() {
      let half: Net.Socket | undefined
      yield* onSimulator({}, (simulator) =>
        Effect.gen(function*() {
          half = Net.connect({ host: "127.0.0.1", port: Number(new URL(simulator.issuer).port) })
          half.on("error", () => {})
          half.write("POST /api/iam/v1/login HTTP/1.1\r\nhost: x\r\n")
          yield* Effect.sleep("100 millis")
          assert.isFalse(half.closed)
        }))
      yield* Effect.sleep("100 millis")
      assert.isTrue(half?.closed)
    }))

  it.effect("latency passes by Effect's clock", () =>
    onSimulator({ latency: "10 seconds" }, (simulator) =>
      Effect.gen(function*() {
        const answer = yield* Effect.forkChild(send(`${datalayer(simulator).base}/ping`), { startImmediately: true })
        yield* TestClock.withLive(Effect.sleep("200 millis"))
        yield* TestClock.adjust("9 seconds")
        yield* TestClock.withLive(Effect.sleep("50 millis"))
        assert.isUndefined(answer.pollUnsafe())
        assert.strictEqual((yield* simulator.ledger)[0]!.status, 0)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(answer)).status, 200)
      })))

  it.effect("knobs change over HTTP, and are answered whole", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const answer = yield* knobs(simulator, {
          tokenLifetime: "5 seconds",
          clockSkew: "-1 minute",
          fail: ["login:drop:1"],
          rotation: "strict",
          successStatus: 200
        })
        assert.strictEqual(answer.status, 200)
        const told = yield* Schema.decodeUnknownEffect(SimulatorApi.Knobs)(answer.json)
        assert.deepStrictEqual(told, yield* simulator.knobs)
        assert.deepStrictEqual(told.fail, [{ route: "login", what: "drop", count: 1 }])
        assert.strictEqual((yield* datalayer(simulator).login()).status, 0)
        assert.strictEqual((yield* datalayer(simulator).login()).status, 200)
      })))

  it.effect("wrong knobs are refused with what is wrong, and change nothing", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const before = yield* simulator.knobs
        for (
          const [changes, expected] of [
            [{ fail: ["nope:503:1"] }, "one of login, logout"],
            [{ fail: ["login:200:1"] }, "400 to 599"],
            [{ fail: ["login:503:0"] }, "a count at least 1"],
            [{ fail: ["login:503"] }, "<route>:<status|drop|html|hang|lost>:<count>"],
            [{ tokenLifetime: "soon" }, "Duration"],
            [{ rotation: "sometimes" }, "rotation"],
            ["{", "JSON"]
          ] as const
        ) {
          const answer = yield* knobs(simulator, changes)
          assert.strictEqual(answer.status, 400)
          assert.include(answer.text, expected)
        }
        assert.deepStrictEqual(yield* simulator.knobs, before)
      })))

  it.effect("reset forgets tokens, ledger and changed knobs", () =>
    onSimulator({ tokenLifetime: "5 minutes" }, (simulator) =>
      Effect.gen(function*() {
        const { get, login } = datalayer(simulator)
        const { token } = (yield* login()).json
        yield* knobs(simulator, { tokenLifetime: "1 second" })
        assert.strictEqual((yield* post(`${simulator.issuer}/__simulator/reset`, {})).status, 204)
        assert.deepStrictEqual(yield* simulator.ledger, [])
        assert.strictEqual((yield* get("/whoami", token)).status, 401)
        assert.strictEqual(Duration.toMinutes((yield* simulator.knobs).tokenLifetime), 5)
      })))

  it.effect("revokeAll kills every token", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { login, refresh } = genomcore(simulator)
        const pair = (yield* login()).json
        yield* simulator.revokeAll
        assert.strictEqual((yield* refresh(pair)).status, 401)
        assert.strictEqual((yield* genomcore(simulator).echo(pair.token)).status, 401)
      })))

  it.effect("the ledger has every request in order, with its route and its user, and is not in itself", () =>
    onSimulator({ users: ["ada:a", "bob:b:c"] }, (simulator) =>
      Effect.gen(function*() {
        const { base, get, login } = datalayer(simulator)
        const { token } = (yield* login("bob", "b:c")).json
        yield* get("/whoami", token)
        yield* login("ada", "wrong")
        yield* send(`${base}/nowhere?token=canary`)
        const { json } = yield* send(`${simulator.issuer}/__simulator/ledger`)
        const at = "1970-01-01T00:00:00.000Z"
        const path = "/api/iam/v1"
        assert.deepStrictEqual(json, [
          {
            at,
            method: "POST",
            path: `${path}/login`,
            route: "login",
            subject: "bob",
            status: 201,
            authorization: false
          },
          {
            at,
            method: "GET",
            path: `${path}/whoami`,
            route: "whoami",
            subject: "bob",
            status: 200,
            authorization: true
          },
          { at, method: "POST", path: `${path}/login`, route: "login", status: 401, authorization: false },
          { at, method: "GET", path: `${path}/nowhere`, route: "unknown", status: 404, authorization: false }
        ])
        const decoded = yield* Schema.decodeUnknownEffect(Schema.Array(SimulatorApi.LedgerEntry))(json)
        assert.deepStrictEqual(decoded, yield* simulator.ledger)
      })))

  it.effect("the ledger shows no secret, whatever was sent", () =>
    onSimulator({ users: ["ada:canary-right"], rotation: "strict" }, (simulator) =>
      Effect.gen(function*() {
        const { base, exchange, get, login } = datalayer(simulator)
        const iam = genomcore(simulator)
        const { token } = (yield* login("ada", "canary-right")).json
        const pair = (yield* iam.login({ password: "canary-right" })).json
        yield* login("canary-handle", "canary-wrong")
        yield* iam.login({ username: "canary-handle", password: "canary-wrong" })
        yield* exchange(token)
        yield* exchange("canary-token")
        yield* get("/whoami", "canary-token")
        yield* get(`/whoami?token=${token}`, token)
        yield* get("/logout", token)
        yield* iam.refresh(pair)
        yield* iam.refresh(pair)
        yield* send(`${base}/oauth2/authz/url?provider=canary&callback_uri=http://canary.example`)
        const { text } = yield* send(`${simulator.issuer}/__simulator/ledger`)
        for (const secret of ["canary", token, pair.token, pair.refreshToken]) assert.notInclude(text, secret)
        assert.include(text, "reuse")
      })))

  it.effect("every route of both contracts has a name in the ledger", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        for (const api of [DatalayerApi.DatalayerApi, GenomcoreApi.GenomcoreApi]) {
          for (const group of Object.values(api.groups)) {
            for (const { method, path } of Object.values<{ method: string; path: string }>(group.endpoints)) {
              yield* send(`${simulator.issuer}${path}`, { method })
            }
          }
        }
        const routes = (yield* simulator.ledger).map(({ route }) => route)
        assert.isAbove(routes.length, 10)
        assert.notInclude(routes, "unknown")
      })))

  it.effect("two simulators take no token of each other", () =>
    onSimulator({}, (one) =>
      onSimulator({}, (other) =>
        Effect.gen(function*() {
          assert.notStrictEqual(one.issuer, other.issuer)
          const pair = (yield* genomcore(one).login()).json
          const { token } = (yield* genomcore(other).login()).json
          assert.strictEqual((yield* datalayer(other).get("/whoami", pair.token)).status, 401)
          assert.strictEqual((yield* genomcore(other).refresh({ ...pair, token })).status, 401)
        }))))

  it.effect("a port that is taken is a failure, not a defect", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const port = Number(new URL(simulator.issuer).port)
        const error = yield* Effect.flip(onSimulator({ port }, () => Effect.void))
        assert.strictEqual(error._tag, "ServeError")
      })))

  it("a fault's text and its value are the same thing", () => {
    const decode = Schema.decodeUnknownOption(SimulatorApi.Fault)
    const encode = Schema.encodeSync(SimulatorApi.Fault)
    for (const text of ["login:503:1", "refresh:lost:3", "whoami:hang:10"]) {
      assert.strictEqual(Option.getOrThrow(Option.map(decode(text), encode)), text)
    }
  })
})
