/**
 * An IAM for tests and demonstrations: a real HTTP server on loopback that speaks the Datalayer-style and the
 * Genomcore-style REST dialects over one table of users.
 *
 * It runs as a layer in a test, and from a shell (`npm run simulator -- --help`). It is no IAM to rely on: passwords are
 * in plain view, and everyone who reaches its port can steer it.
 *
 * @since 0.1.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import type { ServeError } from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import * as Control from "./internal/simulator/control.ts"
import * as Datalayer from "./internal/simulator/datalayer.ts"
import * as Genomcore from "./internal/simulator/genomcore.ts"
import { around } from "./internal/simulator/pipeline.ts"
import * as ProviderPage from "./internal/simulator/providerPage.ts"
import * as State from "./internal/simulator/state.ts"
import { Fault, type Knobs, type LedgerEntry } from "./SimulatorApi.ts"

/**
 * The knobs as a caller writes them: durations like `"3 seconds"`, faults like `"login:503:1"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface KnobsInput {
  readonly tokenLifetime?: Duration.Input
  readonly latency?: Duration.Input
  readonly clockSkew?: Duration.Input
  readonly fail?: ReadonlyArray<string | Fault>
  readonly rotation?: Knobs["rotation"]
  readonly bareRefresh?: Knobs["bareRefresh"]
  readonly omitRefreshToken?: boolean
  readonly successStatus?: Knobs["successStatus"]
}

/**
 * How the simulator starts. `port` 0, the default, is one that is free; `users` are written `handle:password`, and the
 * default is `ada:correct-horse-battery`. The knobs start at a lifetime of 60 seconds, no latency, no skew, no faults,
 * rotation, kept scope, and 201.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends KnobsInput {
  readonly port?: number
  readonly users?: ReadonlyArray<string>
}

/**
 * A running simulator.
 *
 * @category services
 * @since 0.1.0
 */
export class IamSimulator extends Context.Service<IamSimulator, {
  /** Its address, `http://127.0.0.1:PORT`, which both dialects take as their issuer. */
  readonly issuer: string
  /** Every request in order of arrival, except those that steer the simulator. */
  readonly ledger: Effect.Effect<ReadonlyArray<LedgerEntry>>
  /** The knobs as they stand; `fail` has the faults still to come. */
  readonly knobs: Effect.Effect<Knobs>
  /** Changes the named knobs and leaves the others; `fail` replaces the faults still to come. */
  readonly setKnobs: (knobs: KnobsInput) => Effect.Effect<void>
  /** Kills every access and refresh token, as if the users had been signed out everywhere. */
  readonly revokeAll: Effect.Effect<void>
  /** Starts afresh: no tokens, an empty ledger, the knobs of the options. */
  readonly reset: Effect.Effect<void>
}>()("@effect-authn/testing/IamSimulator") {}

const decodeFault = Schema.decodeUnknownSync(Fault)

const decodeKnobs = ({ clockSkew, fail, latency, tokenLifetime, ...rest }: KnobsInput): Partial<Knobs> => ({
  ...rest,
  ...(tokenLifetime === undefined ? {} : { tokenLifetime: Duration.fromInputUnsafe(tokenLifetime) }),
  ...(latency === undefined ? {} : { latency: Duration.fromInputUnsafe(latency) }),
  ...(clockSkew === undefined ? {} : { clockSkew: Duration.fromInputUnsafe(clockSkew) }),
  ...(fail === undefined ? {} : { fail: fail.map((fault) => typeof fault === "string" ? decodeFault(fault) : fault) })
})

const initialKnobs: Knobs = {
  tokenLifetime: Duration.seconds(60),
  latency: Duration.zero,
  clockSkew: Duration.zero,
  fail: [],
  rotation: "rotate",
  bareRefresh: "keep",
  omitRefreshToken: false,
  successStatus: 201
}

/**
 * A user of the simulator, written `handle:password`; the password may hold colons.
 *
 * @category models
 * @since 0.1.0
 */
export const User = Schema.String.check(
  Schema.isPattern(/^[^:]+:.+$/s, { message: `Expected a user as "<handle>:<password>", both not empty` })
)

const decodeUser = Schema.decodeUnknownSync(User)

const accountsFrom = (users: ReadonlyArray<string>): ReadonlyArray<State.Account> =>
  users.map((user, index) => {
    const colon = decodeUser(user).indexOf(":")
    return {
      number: index + 1,
      handle: user.slice(0, colon),
      password: Redacted.make(user.slice(colon + 1), { label: "password" })
    }
  })

/**
 * A simulator that runs as long as the layer lives, and stops at once with it. Its clock is Effect's; so under a
 * `TestClock` its tokens age, and its latency passes, as the test says. It fails if the port is in use.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<IamSimulator, ServeError> =>
  Layer.effect(
    IamSimulator,
    Effect.gen(function*() {
      const server = createServer()
      const http = yield* NodeHttpServer.make(() => server, {
        host: "127.0.0.1",
        port: options.port ?? 0,
        disablePreemptiveShutdown: true
      })
      const state = State.make({
        issuer: HttpServer.formatAddress(http.address),
        clock: yield* Clock.Clock,
        accounts: accountsFrom(options.users ?? ["ada:correct-horse-battery"]),
        knobs: { ...initialKnobs, ...decodeKnobs(options) }
      })
      const app = yield* HttpRouter.toHttpEffect(
        Layer.mergeAll(Datalayer.layer, Genomcore.layer, Control.layer, ProviderPage.layer)
      ).pipe(
        Effect.provideService(State.SimulatorState, state),
        Effect.provideService(Clock.Clock, state.clock)
      )
      yield* http.serve(around(state, app))
      // Runs first: requests that hang, and connections kept alive, would hold the server otherwise.
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
      )
      return IamSimulator.of({
        issuer: state.issuer,
        ledger: Effect.sync(state.ledger),
        knobs: Effect.sync(state.knobs),
        setKnobs: (knobs) => Effect.sync(() => state.setKnobs(decodeKnobs(knobs))),
        revokeAll: Effect.sync(state.killAll),
        reset: Effect.sync(state.reset)
      })
    })
  ).pipe(Layer.provide(NodeHttpServer.layerHttpServices))
