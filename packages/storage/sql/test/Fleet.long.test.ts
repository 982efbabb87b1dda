import { IamSimulator } from "@effect-authn/testing"
import * as PostgresServer from "@effect-authn/testing/PostgresServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { child, type Setup, signInExpired } from "./fleet.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-fleet-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

const play = (place: (directory: string) => Effect.Effect<Omit<Setup, "issuer">>, count: number) =>
  Effect.gen(function*() {
    const simulator = yield* IamSimulator.IamSimulator
    const directory = yield* temporary
    const setup = { issuer: simulator.issuer, ...(yield* place(directory)) }
    yield* signInExpired(setup)
    const go = Path.join(directory, "go")
    const children = yield* Effect.forEach(
      Array.from({ length: count }),
      () =>
        Effect.tap(
          child("caller", { ...setup, go }),
          (line) => Effect.map(line, (_) => assert.strictEqual(_, "ready"))
        ),
      { concurrency: 8 }
    )
    Fs.writeFileSync(go, "")
    const outcomes = yield* Effect.forEach(children, (line) => line, { concurrency: "unbounded" })
    const ledger = yield* simulator.ledger
    return {
      requests: ledger.filter(({ route }) => route === "refresh").length,
      tokens: new Set(outcomes).size,
      failures: outcomes.filter((line) => !line.includes("\"token\"")).length
    }
  }).pipe(
    Effect.provide(Layer.fresh(IamSimulator.layer({
      tokenLifetime: "1 hour",
      rotation: "strict",
      latency: "50 millis"
    }))),
    Effect.scoped
  )

describe("64 processes that share one expired session, strict rotation", { concurrent: false }, () => {
  it.live("on one SQLite file send one request, and all get its token", () =>
    Effect.gen(function*() {
      const seen = yield* play(
        (directory) => Effect.succeed({ filename: Path.join(directory, "private", "sessions.sqlite") }),
        64
      )
      assert.deepStrictEqual(seen, { requests: 1, tokens: 1, failures: 0 })
    }))

  it.live.runIf(PostgresServer.isThere)(
    "on PostgreSQL send one request, and all get its token",
    () =>
      Effect.gen(function*() {
        const server = yield* PostgresServer.PostgresServer
        const seen = yield* play(() => Effect.succeed({ url: server.url() }), 64)
        assert.deepStrictEqual(seen, { requests: 1, tokens: 1, failures: 0 })
      }).pipe(Effect.provide(PostgresServer.layer({ settings: { max_connections: "200" } })))
  )
})
