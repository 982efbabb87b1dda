/** The simulator, directories and processes of a renewal test. */
import { AuthManager, type SessionKey, TokenStorage } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { IamSimulator } from "@effect-authn/testing"
import { Effect, Layer, Option } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { start, temporary } from "../children.ts"
import { type Changes, program, type Setup } from "./program.ts"
import * as Witness from "./witness.ts"

/** A process of its own that runs one of the programs in `renewal/children/`. It may show no secret. */
export const child = (name: "caller" | "watcher" | "ender" | "teller" | "operator", orders: object) =>
  Effect.map(start(`../renewal/children/${name}`, JSON.stringify(orders)), (process) => ({
    ...process,
    line: Effect.tap(process.line, (line) => Effect.sync(() => Witness.assertNoSecret(line, `${name}'s stdout`))),
    ended: Effect.tap(
      process.ended,
      ({ stderr }) => Effect.sync(() => Witness.assertNoSecret(stderr, `${name}'s stderr`))
    )
  }))

/** What came of an order: the answer of the manager, or its error. */
export interface Outcome {
  readonly order: string
  readonly answer?: {
    readonly sub?: string
    readonly token?: string
    readonly id?: string
    readonly revocation?: string
  }
  readonly error?: string
  readonly message?: string
}

/** A process that does what it is told; one order at a time where `ask` is used. */
export const operator = (orders: object) =>
  Effect.map(child("operator", orders), (process) => {
    const outcome = Effect.map(process.line, (line): Outcome => JSON.parse(line))
    return { ...process, outcome, ask: (order: string) => Effect.andThen(process.tell(order), outcome) }
  })

/** Runs a test with a simulator of its own, and an empty directory. No log and no span may show a secret. */
export const simulated = <A, E, R>(
  options: IamSimulator.Options,
  test: (simulator: IamSimulator.IamSimulator["Service"], setup: Setup) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const simulator = yield* IamSimulator.IamSimulator
    const witness = Witness.make()
    const result = yield* test(simulator, { issuer: simulator.issuer, directory: yield* temporary }).pipe(
      Effect.scoped,
      witness.watch
    )
    witness.assertNoSecret()
    return result
  }).pipe(
    Effect.provide(Layer.fresh(IamSimulator.layer({ tokenLifetime: "1 hour", rotation: "strict", ...options }))),
    Effect.scoped
  )

/** The manager of another program in this process, for as long as the scope lives. */
export const open = (setup: Setup, changes?: Changes) =>
  Effect.flatMap(Layer.build(program(setup, changes)), (context) => Effect.provide(AuthManager.AuthManager, context))

/** What lies in the files. */
export const stored = (setup: Setup, key: SessionKey.SessionKey) =>
  Effect.flatMap(TokenStorage.TokenStorage, (storage) => storage.get(key)).pipe(
    Effect.provide(FileTokenStorage.layer({ directory: setup.directory })),
    Effect.map(Option.getOrThrow)
  )

export const refreshes = (simulator: IamSimulator.IamSimulator["Service"]) =>
  Effect.map(simulator.ledger, (ledger) => ledger.filter(({ route }) => route === "refresh"))

/** Whether the IAM takes this access token. */
export const isTaken = (issuer: string, token: string) =>
  HttpClient.get(`${issuer}/whoami`, { headers: { authorization: `Bearer ${token}` } }).pipe(
    Effect.map(({ status }) => status === 200),
    Effect.provide(FetchHttpClient.layer)
  )
