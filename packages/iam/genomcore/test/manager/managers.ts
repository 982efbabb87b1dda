/** Core's manager through this dialect: whole programs, with its keeper, a storage, and the HTTP client that speaks to a socket. */
import {
  AuthManager,
  AuthStrategy,
  BackgroundSleep,
  IamClient,
  SessionKeeper,
  type SessionLock,
  TokenStorage
} from "@effect-authn/core"
import { GenomcoreIam, type GenomcoreOptions } from "@effect-authn/iam-genomcore"
import { BareServer, IamSimulator } from "@effect-authn/testing"
import { Context, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { jwt, secret } from "../fixtures.ts"

const { json, serve } = BareServer

/** When the tests of the manager take place, in epoch seconds. */
export const T = 1_800_000_000

/** A token that was made long ago and has so many seconds left. */
export const tokenWith = (left: number, claims: object = {}): string =>
  jwt({ sub: "1", iat: T - 86_400, exp: T + left, ...claims })

/** A renewal's answer: a token for another hour that names its number and the project that was asked for. */
export const renewed = (index: number, claims: object = {}) => ({
  token: jwt({ sub: "1", iat: T, exp: T + 3600, number: index + 1, ...claims }),
  refreshToken: `r-${index + 1}`
})

export const renewing: BareServer.Script = (_, index) => json(201, renewed(index))

/** The layers of a program, without the scheduler: only callers renew. */
export const program = (
  options: GenomcoreOptions.GenomcoreOptions,
  settings: {
    readonly http?: Layer.Layer<HttpClient.HttpClient>
    readonly storage?: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock>
  } = {}
) =>
  Layer.fresh(
    AuthManager.layer().pipe(
      Layer.provideMerge(SessionKeeper.layer),
      Layer.provide(Layer.succeed(BackgroundSleep.BackgroundSleep, () => Effect.never)),
      Layer.provideMerge(settings.storage ?? TokenStorage.layerMemory),
      Layer.provideMerge(GenomcoreIam.layer(options)),
      Layer.provideMerge(settings.http ?? FetchHttpClient.layer)
    )
  )

/** A program with a memory of its own, as another process would have. */
export const client = (...args: Parameters<typeof program>) =>
  Effect.map(Layer.build(program(...args)), (context) => ({
    context,
    auth: Context.get(context, AuthManager.AuthManager),
    genomcore: Context.get(context, GenomcoreIam.GenomcoreIam),
    iam: Context.get(context, IamClient.IamClient)
  }))

/** A client of a bare server, at the time `T`. */
export const bare = Effect.fnUntraced(function*(
  script: BareServer.Script = renewing,
  options: GenomcoreOptions.GenomcoreOptions = {},
  settings: Parameters<typeof program>[1] = {}
) {
  yield* TestClock.setTime(T * 1000)
  const { origin, seen } = yield* serve(script)
  return { ...yield* client({ host: origin, ...options }, settings), origin, seen }
})

/** The simulator, whose tokens live for an hour of the test's clock unless told. */
export const simulated = Effect.fnUntraced(function*(options: IamSimulator.Options = {}) {
  const context = yield* Layer.build(IamSimulator.layer({ tokenLifetime: "1 hour", ...options }))
  const simulator = Context.get(context, IamSimulator.IamSimulator)
  const { issuer } = simulator
  return {
    ...simulator,
    environments: { prod: issuer },
    refreshes: Effect.map(simulator.ledger, (entries) => entries.filter(({ route }) => route === "refresh").length),
    notes: Effect.map(simulator.ledger, (entries) => entries.flatMap(({ note }) => note === undefined ? [] : [note]))
  }
})

export const passwordLogin = (project?: string) =>
  AuthStrategy.password({
    handle: "ada",
    password: secret("correct-horse-battery"),
    organization: "acme",
    ...(project === undefined ? {} : { project })
  })

type Auth = AuthManager.AuthManager["Service"]

export const bearer = (auth: Auth) => Effect.map(auth.bearer, Redacted.value)

export const projectId = ({ auth, genomcore }: {
  readonly auth: Auth
  readonly genomcore: GenomcoreIam.GenomcoreIam["Service"]
}) => Effect.flatMap(auth.token, ({ accessToken }) => genomcore.projectId(accessToken))

/** An HTTP client that waits with every request until `gate` lets it pass. */
export const gated = (gate: Effect.Effect<void>) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, HttpClient.transform((sending) => Effect.andThen(gate, sending)))
  ).pipe(Layer.provide(FetchHttpClient.layer))
