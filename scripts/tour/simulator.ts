// The IAM simulator in a process of its own, and its ledger as the tour's witness.
import { SimulatorApi } from "@effect-authn/testing"
import { Effect, Schema, Stream } from "effect"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import { ChildProcess } from "effect/process"
import * as path from "node:path"

const Announcement = Schema.fromJsonString(Schema.Struct({ issuer: Schema.String, pid: Schema.Int }))
const bin = path.join(import.meta.dirname, "../../packages/testing/src/bin/simulator.ts")

/** Starts the simulator; it ends with the scope. */
export const start = Effect.fn(function*(flags: ReadonlyArray<string>) {
  const child = yield* ChildProcess.make(process.execPath, [bin, ...flags], { stdout: "pipe", stderr: "ignore" })
  const line = yield* child.stdout.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.runHead,
    Effect.flatMap(Effect.fromOption)
  )
  return yield* Schema.decodeEffect(Announcement)(line)
})

/** Every request that the simulator has seen, in order. */
export const ledger = Effect.fn(function*(issuer: string) {
  const response = yield* HttpClient.get(`${issuer}/__simulator/ledger`)
  return yield* HttpClientResponse.schemaBodyJson(Schema.Array(SimulatorApi.LedgerEntry))(response)
})

/** How many requests a route has seen. */
export const count = (issuer: string, route: SimulatorApi.LedgerEntry["route"]) =>
  Effect.map(ledger(issuer), (entries) => entries.filter((entry) => entry.route === route).length)

/** From now on, tokens live that long. */
export const setTokenLifetime = Effect.fn(function*(issuer: string, tokenLifetime: string) {
  yield* HttpClient.execute(
    HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(`${issuer}/__simulator/knobs`), { tokenLifetime })
  )
})
