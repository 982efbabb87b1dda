/**
 * Flows C and E of the conformance table as properties: random starts and latencies, a real socket, single-use refresh
 * tokens, and a model of what each caller may be handed. The time by which tokens age stands still; what takes time is
 * the network, and that is real.
 */
import { type AuthError, JwtCodec, Session, TokenSet, TokenStorage } from "@effect-authn/core"
import { assert, it } from "@effect/vitest"
import { Arbitrary, DateTime, Effect, Exit, Layer, Option, Redacted, Result, Schema } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { client, passwordLogin, simulated } from "./managers.ts"

const Delay = Schema.Literals([0, 0, 1, 2, 4, 7])
const who = Schema.Literals([0, 1])
const project = Schema.Literals(["apollo", "borealis"])

const Call = Schema.Union([
  Schema.TaggedStruct("Bearer", { who, at: Delay }),
  Schema.TaggedStruct("TokenFor", { who, at: Delay, project }),
  Schema.TaggedStruct("Refresh", { who, at: Delay, project: Schema.optionalKey(project) })
])
type Call = typeof Call.Type

/** `delays` are those of requests and of answers, in their order; `left` is what the token has left. In milliseconds. */
const setting = {
  bareRefresh: Schema.Literals(["keep", "reset"]),
  delays: Schema.Array(Delay).check(Schema.isMinLength(1), Schema.isMaxLength(6))
}

interface Setting {
  readonly bareRefresh: "keep" | "reset"
  readonly delays: ReadonlyArray<number>
  readonly left: number
}

const pass = (milliseconds: number) =>
  milliseconds === 0 ? Effect.yieldNow : TestClock.withLive(Effect.sleep(milliseconds))

const saidBy = ({ accessToken }: TokenSet.TokenSet) => {
  const { claims } = Result.getOrThrow(JwtCodec.decodeUnverified(Redacted.value(accessToken)))
  return { number: Number(claims["jti"]), project: claims["projectId"] === 1 ? "apollo" : "borealis" }
}

/** Plays the calls against a session for `apollo`. What is left of the promises is judged by the caller. */
const play = Effect.fnUntraced(function*(
  simulator: Effect.Success<ReturnType<typeof simulated>>,
  { bareRefresh, delays, left }: Setting,
  calls: ReadonlyArray<Call>
) {
  const broken = new Set<string>()
  yield* simulator.reset
  yield* simulator.setKnobs({ bareRefresh })

  let [passed, underWay] = [0, 0]
  const delay = Effect.suspend(() => pass(delays[passed++ % delays.length] ?? 0))
  const http = Layer.effect(
    HttpClient.HttpClient,
    Effect.map(
      HttpClient.HttpClient,
      HttpClient.transform((sending) =>
        Effect.suspend(() => {
          if (++underWay > 1) broken.add("two requests were under way")
          return Effect.andThen(delay, sending)
        }).pipe(Effect.tap(() => delay), Effect.ensuring(Effect.sync(() => underWay--)))
      )
    )
  ).pipe(Layer.provide(FetchHttpClient.layer))
  const storage = Layer.succeedContext(yield* Layer.build(Layer.fresh(TokenStorage.layerMemory)))
  const programs = [yield* client(simulator, { http, storage }), yield* client(simulator, { http, storage })] as const
  const { auth } = programs[0]
  yield* auth.login(passwordLogin("apollo"))
  const { expiresAt } = yield* programs[1].auth.token
  yield* TestClock.setTime(DateTime.toEpochMillis(Option.getOrThrow(expiresAt)) - left)

  const ask = (call: Call): Effect.Effect<TokenSet.TokenSet, AuthError.AuthError> => {
    const { auth } = programs[call.who]
    switch (call._tag) {
      case "Bearer":
        return auth.token
      case "TokenFor":
        return auth.tokenFor({ project: call.project })
      case "Refresh":
        return Effect.map(
          auth.refresh(call.project === undefined ? undefined : { project: call.project }),
          (session) => Option.getOrThrow(Session.currentToken(session))
        )
    }
  }
  let moments = 0
  const answers = yield* Effect.forEach(
    calls,
    (call) =>
      Effect.gen(function*() {
        yield* pass(call.at)
        const began = ++moments
        const exit = yield* Effect.exit(ask(call))
        return { call, began, ended: ++moments, exit }
      }),
    { concurrency: "unbounded" }
  )

  const now = yield* DateTime.now
  const handed = answers.flatMap(({ began, call, ended, exit }) => {
    if (Exit.isFailure(exit)) {
      broken.add(`${call._tag} failed`)
      return []
    }
    if (!TokenSet.isValid(exit.value, now)) broken.add("a token that has expired was handed out")
    return [{ call, began, ended, ...saidBy(exit.value) }]
  })
  for (const one of handed) {
    if ("project" in one.call && one.call.project !== one.project) {
      broken.add(`${one.call._tag} answered with a token for another project`)
    }
    const before = handed.filter(({ call, ended, project }) =>
      ended < one.began && call.who === one.call.who && project === one.project
    )
    if (before.some(({ number }) => number > one.number)) broken.add("a token older than one before was handed out")
  }
  const refreshes = yield* simulator.refreshes
  if ((yield* simulator.notes).includes("reuse")) broken.add("a spent refresh token was sent")
  if ((yield* simulator.ledger).some(({ status }) => status !== 201)) broken.add("a request was refused")
  return { auth, broken, handed, refreshes }
})

const runs = Number(process.env["EFFECT_AUTHN_MODEL_RUNS"] ?? 30)

const Fifty = Schema.Struct({
  ...setting,
  left: Schema.Literals([-3_600_000, 1, 300_000, 899_999]),
  bearers: Schema.Array(Delay).check(Schema.isMinLength(50), Schema.isMaxLength(50)),
  place: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
  at: Delay
})

it.effect(
  "flow C: fifty bearers and one refresh to another project, whatever the interleaving",
  () =>
    Effect.gen(function*() {
      const simulator = yield* simulated({ rotation: "strict" })
      const result = yield* Arbitrary.checkEffect(
        Arbitrary.schema(Fifty),
        ({ at, bearers, place, ...setting }) =>
          Effect.gen(function*() {
            const calls: Array<Call> = bearers.map((at) => ({ _tag: "Bearer", who: 0, at }))
            calls.splice(place, 0, { _tag: "Refresh", who: 0, at, project: "borealis" })
            const { auth, broken, handed, refreshes } = yield* play(simulator, setting, calls)

            const refresh = handed.find(({ call }) => call._tag === "Refresh")
            for (const one of handed) {
              if (refresh === undefined || one === refresh) continue
              if (one.ended < refresh.began && one.project !== "apollo") broken.add("the new project came too early")
              if (one.began > refresh.ended && one.number !== refresh.number) broken.add("the new project did not stay")
            }
            if (refreshes > 2) broken.add("more was sent than one for all bearers and one for the project")
            const final = saidBy(yield* auth.token)
            if (final.project !== "borealis" || final.number !== refresh?.number) broken.add("the project is another")
            if (Option.getOrThrow(yield* auth.session).current.project !== "borealis") broken.add("the session is not")
            if ((yield* simulator.refreshes) !== refreshes) broken.add("there was something left to renew")
            return broken.size === 0 ? true : yield* Effect.fail([...broken].join("; "))
          }).pipe(Effect.scoped),
        { runs }
      )
      assert.isUndefined(Arbitrary.formatCheckFailure(result))
    })
)

const Around900 = Schema.Struct({
  ...setting,
  left: Schema.Int.check(Schema.isBetween({ minimum: 898_000, maximum: 902_000 })),
  calls: Schema.Array(Call).check(Schema.isMinLength(1), Schema.isMaxLength(12))
})

it.effect(
  "flow E: around 900 seconds, one renewal at a time, and no token older than the last one",
  () =>
    Effect.gen(function*() {
      const simulator = yield* simulated({ rotation: "strict" })
      const result = yield* Arbitrary.checkEffect(
        Arbitrary.schema(Around900),
        ({ calls, ...setting }) =>
          Effect.gen(function*() {
            const { broken, refreshes } = yield* play(simulator, setting, calls)
            if (calls.every(({ _tag }) => _tag === "Bearer") && refreshes !== (setting.left < 900_000 ? 1 : 0)) {
              broken.add(`${refreshes} renewals`)
            }
            return broken.size === 0 ? true : yield* Effect.fail([...broken].join("; "))
          }).pipe(Effect.scoped),
        { runs: runs * 2 }
      )
      assert.isUndefined(Arbitrary.formatCheckFailure(result))
    })
)
