import { FaultProxy } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { createServer, type IncomingMessage } from "node:http"
import { text } from "node:stream/consumers"
import { send } from "./fixtures.ts"

interface Seen {
  readonly method: string
  readonly url: string
  readonly host: string
  readonly body: string
}

const seenOf = async (request: IncomingMessage): Promise<Seen> => ({
  method: request.method ?? "",
  url: request.url ?? "",
  host: request.headers.host ?? "",
  body: await text(request)
})

/** An honest server, which says what it was asked, and counts. */
const honest = Effect.acquireRelease(
  Effect.callback<{ readonly address: string; readonly seen: ReadonlyArray<Seen>; readonly stop: () => void }>(
    (resume) => {
      const seen: Array<Seen> = []
      const server = createServer((request, response) => {
        void seenOf(request).then((one) => {
          seen.push(one)
          response.writeHead(201, { "content-type": "application/json", date: "Thu, 01 Jan 1970 00:00:00 GMT" })
          response.end(JSON.stringify({ asked: one.body, interval: 5 }))
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({
          address: `http://127.0.0.1:${port}`,
          seen,
          stop: () => {
            server.close()
            server.closeAllConnections()
          }
        }))
      })
    }
  ),
  ({ stop }) => Effect.sync(stop)
)

const routes = { "/token": "token", "/device": "device" }

const proxied = (knobs: FaultProxy.Knobs = {}) =>
  Effect.gen(function*() {
    const { address, seen } = yield* honest
    const proxy = yield* FaultProxy.make({ routes })
    yield* proxy.forwardTo(address)
    yield* proxy.setKnobs(knobs)
    return { proxy, seen, at: (path: string) => `${proxy.address}${path}` }
  })

const form = "grant_type=refresh_token&refresh_token=rt"
const ask = (url: string) => send(url, { method: "POST", body: new URLSearchParams(form) })

describe("without a fault", () => {
  it.live("requests go through as they are, and are written down", () =>
    Effect.gen(function*() {
      const { at, proxy, seen } = yield* proxied()
      const answer = yield* ask(at("/token?x=1"))
      assert.deepStrictEqual([answer.status, answer.json], [201, { asked: form, interval: 5 }])
      assert.deepStrictEqual(seen, [{
        method: "POST",
        url: "/token?x=1",
        host: new URL(proxy.address).host,
        body: form
      }])
      yield* send(at("/elsewhere"), { headers: { authorization: "Bearer x" } })
      const ledger = yield* proxy.ledger
      assert.deepStrictEqual(
        ledger.map((
          { authorization, grant, method, note, path, route, status }
        ) => [method, path, route, status, authorization, grant, note]),
        [
          ["POST", "/token", "token", 201, false, "refresh_token", undefined],
          ["GET", "/elsewhere", "page", 201, true, undefined, undefined]
        ]
      )
      yield* proxy.forget
      assert.deepStrictEqual(yield* proxy.ledger, [])
    }))

  it.live("a proxy before its server is there is not available", () =>
    Effect.gen(function*() {
      const proxy = yield* FaultProxy.make()
      assert.strictEqual((yield* ask(proxy.address)).status, 503)
    }))

  it.live("a server that has gone is a connection that breaks", () =>
    Effect.gen(function*() {
      const proxy = yield* FaultProxy.make()
      yield* proxy.forwardTo((yield* Effect.scoped(honest)).address)
      assert.strictEqual((yield* ask(proxy.address)).status, 0)
    }))
})

describe("a fault", () => {
  /** What the client sees (status 0: a broken connection), and whether the server was asked. */
  const faults: ReadonlyArray<{
    readonly what: number | FaultProxy.FaultKind
    readonly note: string
    readonly status: number
    readonly type?: string
    readonly body?: RegExp
    readonly acts?: boolean
  }> = [
    { what: 400, note: "fault 400", status: 400, type: "application/json", body: /^\{"error":"server_error"/ },
    { what: 503, note: "fault 503", status: 503, type: "application/json", body: /^\{"error":"server_error"/ },
    { what: "empty400", note: "empty400", status: 400, body: /^$/ },
    { what: "html", note: "html", status: 200, type: "text/html", body: /^<!doctype html>/ },
    { what: "html502", note: "html502", status: 502, type: "text/html", body: /^<!doctype html>/ },
    { what: "slow_down", note: "slow_down", status: 400, type: "application/json", body: /^\{"error":"slow_down"\}$/ },
    { what: "drop", note: "drop", status: 0 },
    { what: "lost", note: "lost", status: 0, acts: true }
  ]
  for (const { acts = false, body = /^$/, note, status, type = null, what } of faults) {
    it.live(`${what}: as often as told, on its route alone`, () =>
      Effect.gen(function*() {
        const { at, proxy, seen } = yield* proxied({ fail: [`token:${what}:2`] })
        assert.strictEqual((yield* ask(at("/device"))).status, 201)
        for (let time = 1; time <= 2; time++) {
          const answer = yield* ask(at("/token"))
          assert.strictEqual(answer.status, status)
          assert.match(answer.text, body)
          assert.strictEqual(answer.headers.get("content-type"), type)
          assert.lengthOf(seen, acts ? 1 + time : 1)
        }
        assert.strictEqual((yield* ask(at("/token"))).status, 201)
        assert.deepStrictEqual((yield* proxy.ledger).map((entry) => entry.note), [undefined, note, note, undefined])
      }))
  }

  it.live("hang: no answer, until the client goes away", () =>
    Effect.gen(function*() {
      const { at, proxy, seen } = yield* proxied({ fail: ["token:hang:1"] })
      const hanging = yield* Effect.forkChild(ask(at("/token")))
      yield* Effect.repeat(Effect.delay(proxy.ledger, "10 millis"), { until: (asked) => asked.length === 1 })
      yield* Effect.sleep("300 millis")
      assert.isUndefined(hanging.pollUnsafe())
      yield* Fiber.interrupt(hanging)
      assert.lengthOf(seen, 0)
      assert.deepStrictEqual((yield* proxy.ledger).map(({ note, status }) => [note, status]), [["hang", 0]])
      assert.strictEqual((yield* ask(at("/token"))).status, 201)
    }))

  it.live("one after the other, and none is left when they are taken back", () =>
    Effect.gen(function*() {
      const { at, proxy } = yield* proxied({ fail: ["token:500:1", "device:502:1", "token:503:1", "token:504:9"] })
      assert.strictEqual((yield* ask(at("/token"))).status, 500)
      assert.strictEqual((yield* ask(at("/token"))).status, 503)
      assert.strictEqual((yield* ask(at("/device"))).status, 502)
      yield* proxy.setKnobs({ latency: 0 })
      assert.strictEqual((yield* ask(at("/token"))).status, 504, "other knobs are left alone")
      yield* proxy.setKnobs({ fail: [] })
      assert.strictEqual((yield* ask(at("/token"))).status, 201)
    }))
})

describe("a knob", () => {
  it.live("latency: the server acts at once, and its answer waits", () =>
    Effect.gen(function*() {
      const { at, seen } = yield* proxied({ latency: "3 seconds" })
      const asking = yield* Effect.forkChild(Effect.timed(ask(at("/token"))))
      yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => seen.length === 1 })
      assert.isUndefined(asking.pollUnsafe())
      const [taken, answer] = yield* Fiber.join(asking)
      assert.strictEqual(answer.status, 201)
      assert.isAtLeast(Duration.toMillis(taken), 2990)
    }))

  for (const skew of [Duration.hours(2), Duration.hours(-2)]) {
    it.live(`clockSkew: the Date of every answer is ${Duration.toHours(skew)} hours ahead`, () =>
      Effect.gen(function*() {
        const { at } = yield* proxied({ clockSkew: skew, fail: ["token:500:1"] })
        for (const status of [500, 201]) {
          const answer = yield* ask(at("/token"))
          assert.strictEqual(answer.status, status)
          const ahead = Date.parse(answer.headers.get("date") ?? "") - Date.now()
          assert.isBelow(Math.abs(ahead - Duration.toMillis(skew)), 5000)
        }
      }))
  }

  it.live("interval: of a device's answer, and of no other", () =>
    Effect.gen(function*() {
      const { at } = yield* proxied({ interval: 1 })
      assert.strictEqual((yield* ask(at("/device"))).json.interval, 1)
      assert.strictEqual((yield* ask(at("/token"))).json.interval, 5)
    }))
})
