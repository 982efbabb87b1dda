import { AuthHttpClient, Session, type TokenSet } from "@effect-authn/core"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Duration, Effect, Option } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Timers from "node:timers"
import { measured } from "./measures.ts"
import { isTaken, open, refreshes, simulated } from "./processes.ts"
import { accessToken, ada, noLock, program, type Setup, signIn } from "./program.ts"

const expired = Duration.seconds(-1)
const dialects = ["genomcore", "datalayer"] as const

/** How often the IAM was asked for another token: the Datalayer-style one is asked by a login with a token. */
const renewals = (simulator: Parameters<typeof refreshes>[0], { dialect }: Setup) =>
  Effect.map(simulator.ledger, (ledger) =>
    dialect === "datalayer"
      ? ledger.filter(({ route }) => route === "login").slice(1)
      : ledger.filter(({ route }) => route === "refresh"))

/** An API that no longer takes one token, and says so later and later, over half a second. */
const apiThatRefuses = (stale: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly origin: string; readonly refused: () => number; readonly stop: () => void }>(
      (resume) => {
        let refused = 0
        const server = createServer((request, response) => {
          const isStale = request.headers.authorization === `Bearer ${stale}`
          const delay = isStale ? refused++ * 2.5 : 0
          Timers.setTimeout(() => response.writeHead(isStale ? 401 : 200).end(), delay)
        })
        server.listen(0, "127.0.0.1", () => {
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an address
          const { port } = server.address() as AddressInfo
          const stop = () => {
            server.close()
            server.closeAllConnections()
          }
          resume(Effect.succeed({ origin: `http://127.0.0.1:${port}`, refused: () => refused, stop }))
        })
      }
    ),
    ({ stop }) => Effect.sync(stop)
  )

layer(NodeFileSystem.layer, { excludeTestServices: true })("renewal among fibers", (it) => {
  it.effect("10,000 fibers at expiry are one request", () =>
    simulated({}, (simulator, setup) =>
      Effect.gen(function*() {
        yield* signIn(setup, expired)
        const { token } = yield* open(setup)
        const began = performance.now()
        const tokens = yield* Effect.all(Array.from({ length: 10_000 }, () => token), { concurrency: "unbounded" })
        const took = performance.now() - began
        assert.strictEqual(new Set(tokens.map(accessToken)).size, 1)
        assert.isTrue(yield* isTaken(setup.issuer, accessToken(tokens[0]!)))
        const requests = (yield* refreshes(simulator)).length
        yield* measured({
          case: "10,000 fibers at expiry",
          bar: "1 request",
          measured: `${requests} request, ${Math.round(took)} ms in all`,
          met: requests === 1
        })
        assert.strictEqual(requests, 1)
      })))

  describe("three selections of one expired session at once, strict rotation", { concurrent: false }, () => {
    const latency = 50
    const play = (lock: "lock" | "no lock") =>
      simulated({ latency: Duration.millis(latency) }, (simulator, setup) =>
        Effect.gen(function*() {
          yield* signIn(setup, expired)
          const one = yield* open(setup, lock === "lock" ? {} : { lock: noLock })
          // Fibers of one program take turns without the lock, too: it is what programs have.
          const [two, three] = lock === "lock"
            ? [one, one]
            : [yield* open(setup, { lock: noLock }), yield* open(setup, { lock: noLock })]
          const calls = [one.token, two.tokenFor({ project: "apollo" }), three.tokenFor({ project: "borealis" })]
          const tokens = yield* Effect.forEach(calls, Effect.option, { concurrency: "unbounded" })
          const ledger = yield* refreshes(simulator)
          const arrivals = ledger.map(({ at }) => DateTime.toEpochMillis(at))
          return {
            served: tokens.filter(Option.isSome).length,
            projects: tokens.flatMap(Option.toArray).map((tokens) =>
              JSON.parse(Buffer.from(accessToken(tokens).split(".")[1]!, "base64url").toString()).projectId
            ),
            requests: ledger.length,
            reused: ledger.filter(({ note }) => note === "reuse").length,
            gaps: arrivals.slice(1).map((at, index) => at - arrivals[index]!)
          }
        }))

    it.effect("are three requests, one after the other", () =>
      Effect.gen(function*() {
        const { gaps, projects, requests, reused } = yield* play("lock")
        yield* measured({
          case: "one session, 3 selections at once, strict rotation",
          bar: "3 requests one after the other, 0 reuse",
          measured: `${requests} requests, ${
            gaps.map((gap) => `${gap} ms`).join(" and ")
          } apart (the IAM takes ${latency}), ${reused} reuse`,
          met: requests === 3 && reused === 0 && gaps.every((gap) => gap >= latency)
        })
        assert.deepStrictEqual({ requests, reused, projects }, { requests: 3, reused: 0, projects: [1, 1, 2] })
        for (const gap of gaps) assert.isAtLeast(gap, latency)
      }))

    it.effect("show that it is the lock: without it, a spent token is sent again", () =>
      Effect.gen(function*() {
        const { reused, served } = yield* play("no lock")
        assert.isAbove(reused, 0)
        assert.isBelow(served, 3)
      }))
  })

  for (const dialect of dialects) {
    it.effect(`200 calls whose 401s arrive over 500 ms are one renewal (${dialect})`, () =>
      simulated({}, (simulator, { directory, issuer }) =>
        Effect.gen(function*() {
          const setup: Setup = { directory, issuer, dialect }
          const session = yield* signIn(setup, Duration.minutes(50))
          const stale = accessToken(Option.getOrThrow(Session.currentToken(session)))
          const api = yield* apiThatRefuses(stale)
          const statuses = yield* Effect.gen(function*() {
            const client = yield* AuthHttpClient.make({ baseUrl: api.origin })
            return yield* Effect.all(
              Array.from({ length: 200 }, (_, call) => Effect.map(client.get(`/${call}`), ({ status }) => status)),
              { concurrency: "unbounded" }
            )
          }).pipe(Effect.provide(program(setup)))
          const requests = (yield* renewals(simulator, setup)).length
          yield* measured({
            case: `200 calls whose 401s arrive over 500 ms (${dialect})`,
            bar: "1 renewal",
            measured: `${requests} renewal after ${api.refused()} refusals`,
            met: requests === 1
          })
          assert.deepStrictEqual([...new Set(statuses)], [200])
          assert.isAbove(api.refused(), 100)
          assert.strictEqual(requests, 1)
        })))

    it.effect(`60 seconds left, and the IAM answers 500: the valid token, no error (${dialect})`, () =>
      simulated({ fail: ["refresh:500:1000"] }, (simulator, { directory, issuer }) =>
        Effect.gen(function*() {
          const setup: Setup = { directory, issuer, dialect }
          const session = yield* signIn(setup, Duration.seconds(60))
          if (dialect === "datalayer") yield* simulator.setKnobs({ fail: ["login:500:1000"] })
          const valid = accessToken(Option.getOrThrow(Session.currentToken(session)))
          const { token } = yield* open(setup)
          const calls = Array.from({ length: 40 }, () => Effect.delay(token, "10 millis"))
          const handed = yield* Effect.all([...calls, Effect.all(calls, { concurrency: "unbounded" })])
          assert.deepStrictEqual([...new Set(handed.flat().map(accessToken))], [valid])
          const requests = (yield* renewals(simulator, setup)).length
          yield* measured({
            case: `60 s left, IAM answers 500 (${dialect})`,
            bar: "the valid token, no error",
            measured: `80 calls, 80 times the valid token, ${requests} requests`,
            met: true
          })
          assert.isAbove(requests, 0)
          // A refresh token that may have been spent is not sent again while there is something to lose.
          if (dialect === "genomcore") assert.strictEqual(requests, 1)
        })))

    for (const skew of ["2 hours", "-2 hours"] as const) {
      it.effect(`an IAM whose clock is ${skew} off: signed in, the end is right, no loop (${dialect})`, () =>
        simulated(
          { clockSkew: skew, tokenLifetime: "40 minutes" },
          (simulator, { directory, issuer }) =>
            Effect.gen(function*() {
              const setup: Setup = { directory, issuer, dialect }
              const auth = yield* open(setup)
              yield* auth.login(ada, dialect === "genomcore" ? { selection: { organization: "acme" } } : {})
              const isRight = Effect.fnUntraced(function*(tokens: TokenSet.TokenSet) {
                const left = DateTime.distance(yield* DateTime.now, Option.getOrThrow(tokens.expiresAt))
                assert.approximately(Duration.toMinutes(left), 40, 0.1)
              })
              yield* isRight(yield* auth.token)
              yield* Effect.all(Array.from({ length: 100 }, () => auth.token))
              assert.isTrue(yield* auth.isAuthenticated)
              assert.lengthOf(yield* renewals(simulator, setup), 0)
              yield* auth.refresh()
              yield* isRight(yield* auth.token)
              const requests = (yield* renewals(simulator, setup)).length
              yield* measured({
                case: `IAM's clock ${skew} off (${dialect})`,
                bar: "login works, expiry right, no loop",
                measured: `100 calls, ${requests - 1} renewals but the one asked for`,
                met: requests === 1
              })
              assert.strictEqual(requests, 1)
            })
        ))
    }
  }
})
