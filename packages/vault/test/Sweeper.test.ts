import {
  DueSessions,
  IamClient,
  IamError,
  Selection,
  type Session,
  SessionKey,
  type SessionLock,
  TokenStorage
} from "@effect-authn/core"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { ScriptedIam } from "@effect-authn/testing"
import { IssuerRate, RestPolicy, Sweeper, Vault } from "@effect-authn/vault"
import { assert, describe, it, vi } from "@effect/vitest"
import { Context, DateTime, Duration, Effect, Layer, Metric, Option, type Scope, Stream } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { OtlpMetrics, OtlpSerialization, PrometheusMetrics } from "effect/observability"
import { RateLimiter } from "effect/persistence"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { sqlite } from "./sqlite.ts"

const issuers = ["https://one.example", "https://two.example"] as const
const keyOf = (index: number, account: string) =>
  SessionKey.SessionKey.make({ issuer: issuers[index]!, clientId: "service", account })

const login = { _tag: "Password", handle: "ada", password: ScriptedIam.password } as const

interface World {
  readonly scripts: ReadonlyArray<ScriptedIam.ScriptedIam["Service"]>
  readonly put: (index: number, account: string) => Effect.Effect<Session.Session>
  readonly vault: Vault.Vault["Service"]
  readonly due: DueSessions.DueSessions["Service"]
  /** A sweeper in the process of `vault`, or in one of its own. */
  readonly sweeping: (options?: Sweeper.Options, isAnother?: boolean) => Effect.Effect<void, never, Scope.Scope>
  /** One sweep of a process that has nothing open. */
  readonly sweep: Effect.Effect<number>
}

const rest = RestPolicy.layer({ renewIdle: "6 hours", spread: 0 })
const memory = Layer.provide(TokenStorage.layerMemory, rest)

/** A vault of two IAMs, and as many sweeping processes as are asked for. */
const world = <A, E>(
  test: (world: World) => Effect.Effect<A, E, Scope.Scope>,
  options: {
    readonly storage?: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock | DueSessions.DueSessions>
    readonly rates?: IssuerRate.Options | IssuerRate.Rates
    readonly iam?: ScriptedIam.Options
  } = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const iams = yield* Effect.forEach(issuers, (issuer) =>
      Layer.build(
        ScriptedIam.layer({ issuer, clientId: "service", rotation: "strict", lifetime: "1 hour", ...options.iam })
      ))
    const storage = yield* Layer.build(options.storage ?? memory)
    const rates = options.rates === undefined ? Layer.empty : yield* Effect.map(
      Layer.build(
        "draw" in options.rates
          ? Layer.succeed(IssuerRate.IssuerRates, options.rates)
          : IssuerRate.layer(options.rates).pipe(Layer.provide(RateLimiter.layerStoreMemory))
      ),
      Layer.succeedContext
    )
    const process = Layer.fresh(
      Vault.layer({
        providers: iams.map((iam) => Layer.succeed(IamClient.IamClient, Context.get(iam, IamClient.IamClient)))
      }).pipe(Layer.provideMerge(Layer.succeedContext(storage)), Layer.provideMerge(rates))
    )
    const built = yield* Layer.build(process)
    const vault = Context.get(built, Vault.Vault)
    return yield* test({
      vault,
      due: Context.get(storage, DueSessions.DueSessions),
      scripts: iams.map((iam) => Context.get(iam, ScriptedIam.ScriptedIam)),
      put: (index, account) =>
        Context.get(iams[index]!, IamClient.IamClient).login(login, Selection.none).pipe(
          Effect.flatMap((issued) => vault.put(keyOf(index, account), issued)),
          Effect.orDie
        ),
      sweep: Effect.scoped(
        Effect.flatMap(Layer.build(process), (other) => Effect.orDie(Effect.provideContext(Sweeper.sweep(), other)))
      ),
      sweeping: (sweep, isAnother = false) => {
        const here = isAnother ? process : Layer.succeedContext(built)
        return Effect.asVoid(Layer.build(Layer.fresh(Layer.provide(Sweeper.layer(sweep), here))))
      }
    })
  }))

const people = (count: number) => Array.from({ length: count }, (_, index) => `person ${index}`)

const timesOf = (script: ScriptedIam.ScriptedIam["Service"]) =>
  Effect.map(script.calls, (calls) => calls.filter(({ method }) => method === "renew").map(({ at }) => at))

/** The most calls that any span of this length has. */
const most = (times: ReadonlyArray<number>, span: number) =>
  Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + span).length))

describe("a sweeper", () => {
  it.effect("renews evenly, in the order of expiry", () =>
    world(({ put, scripts, sweeping }) =>
      Effect.gen(function*() {
        for (const account of people(60)) {
          yield* put(0, account)
          yield* TestClock.adjust("1 second")
        }
        yield* TestClock.adjust("7 hours")
        yield* sweeping({ batch: 20 })
        yield* TestClock.adjust("10 seconds")
        const calls = (yield* scripts[0]!.calls).filter(({ method }) => method === "renew")
        assert.lengthOf(calls, 60)
        // refresh tokens are numbered as they were issued
        assert.deepStrictEqual(calls.map(({ login }) => login), calls.map(({ login }) => login).sort((a, b) => a! - b!))
        assert.isAtMost(most(calls.map(({ at }) => at), 1000), 21)
      })
    ))

  it.effect("three processes keep the rate of the fleet, and a caller goes first", () =>
    world(({ put, scripts, sweeping, vault }) =>
      Effect.gen(function*() {
        for (const account of people(200)) yield* put(0, account)
        yield* put(0, "asked for")
        yield* TestClock.adjust("7 hours")
        for (const isAnother of [false, true, true]) yield* sweeping({}, isAnother)
        yield* TestClock.adjust("3 seconds")
        const before = yield* scripts[0]!.count("renew")
        const asked = yield* Effect.forkChild(vault.token(keyOf(0, "asked for")))
        yield* TestClock.adjust("200 millis")
        assert.isDefined(asked.pollUnsafe(), "the caller waits behind the sweep")
        yield* TestClock.adjust("10 seconds")
        const times = yield* timesOf(scripts[0]!)
        assert.lengthOf(times, 201)
        assert.isAtMost(most(times, 1000), 40)
        // and it is used
        assert.isAtLeast(before, 3 * 36 - 40)
      }), { rates: { perSecond: 40 } }))

  it.effect("a session whose turn has passed keeps its place in the order", () => {
    let drawn = 0
    const good = { wait: () => 0, isOver: () => false }
    const draw: IssuerRate.Rates["draw"] = () =>
      Effect.map(DateTime.now, (now) => {
        drawn += 1
        const isLate = drawn === 1
        // then the store of rates has none, for longer than anybody waits
        const isNone = DateTime.toEpochMillis(now) < 7 * 3_600_000 + 6500
        return {
          permits: isLate ? [{ ...good, isOver: () => true }] : isNone ? [] : [good],
          apart: Duration.zero,
          again: Duration.millis(isLate ? 0 : 200)
        }
      })
    return world(({ put, scripts, sweeping }) =>
      Effect.gen(function*() {
        for (const account of people(5)) {
          yield* put(0, account)
          yield* TestClock.adjust("100 millis")
        }
        yield* TestClock.adjust(7 * 3_600_000 - 500)
        yield* sweeping()
        yield* TestClock.adjust("20 seconds")
        const calls = (yield* scripts[0]!.calls).filter(({ method }) => method === "renew")
        assert.deepStrictEqual(calls.map(({ login }) => login), calls.map(({ login }) => login).sort((a, b) => a! - b!))

        assert.lengthOf(calls, 5)
      }), { rates: { draw }, iam: { lifetime: "1 day" } })
  })

  it.effect("a rate under one a second is kept over its longer time", () =>
    world(({ put, scripts, sweeping }) =>
      Effect.gen(function*() {
        for (const account of people(30)) yield* put(0, account)
        yield* TestClock.adjust("7 hours")
        yield* sweeping({ lease: "20 seconds" })
        yield* sweeping({ lease: "20 seconds" }, true)
        yield* TestClock.adjust("1 minute")
        const times = yield* timesOf(scripts[0]!)
        assert.isAtMost(most(times, 20_000), 10)
        assert.isAtLeast(times.length, 20)
        // what waits for longer than its claim is claimed again, and renewed once
        yield* TestClock.adjust("3 minutes")
        assert.strictEqual(yield* scripts[0]!.count("renew"), 30)
      }), { rates: { perSecond: (issuer) => issuer === issuers[0] ? 0.5 : undefined } }))

  it.effect("one IAM that is slow or silent holds up no other one, and keeps the order of its sessions", () =>
    world(({ put, scripts, sweeping, vault }) =>
      Effect.gen(function*() {
        for (const account of people(100)) yield* put(0, account)
        yield* TestClock.adjust("1 minute")
        for (const account of people(10)) yield* put(1, account)
        yield* TestClock.adjust("7 hours")
        const busy = new IamError.Unavailable({ sent: "no", detail: "429", retryAfter: Duration.minutes(2) })
        yield* scripts[0]!.failNext("renew", { reason: busy, times: 12 })
        yield* sweeping({ concurrency: 4 })
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual(yield* scripts[1]!.count("renew"), 10)
        const asked = yield* scripts[0]!.count("renew")
        // five in a row, and what was on its way
        assert.isAtMost(asked, 5 + 4)
        const [one, two] = yield* vault.issuers
        assert.deepStrictEqual([one?.state, two?.state], ["pauses", "answers"])
        assert.strictEqual(Option.getOrThrow(one!.lastFailure).detail, "429")
        yield* TestClock.adjust("90 seconds")
        assert.strictEqual(yield* scripts[0]!.count("renew"), asked)
        // then it is tried with one session at a time until it answers
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual(yield* scripts[0]!.count("renew"), asked + 1)
        yield* TestClock.adjust("15 minutes")
        assert.strictEqual((yield* vault.health).due, 0)
        assert.strictEqual((yield* vault.issuers)[0]?.state, "answers")
        assert.isAtMost(yield* scripts[0]!.count("renew"), 100 + 20)
      })
    ))

  it.effect("uses a grant in time although its access token is fresh", () =>
    world(({ put, scripts, sweeping }) =>
      Effect.gen(function*() {
        yield* put(0, "ada")
        yield* sweeping({ rest: "30 seconds" })
        yield* TestClock.adjust("359 minutes")
        assert.strictEqual(yield* scripts[0]!.count("renew"), 0)
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual(yield* scripts[0]!.count("renew"), 1)
        yield* TestClock.adjust("6 hours")
        assert.strictEqual(yield* scripts[0]!.count("renew"), 2)
      }), { iam: { lifetime: "30 days" } }))

  it.effect("an access token that is its own grant is exchanged before it ends", () =>
    world(({ put, scripts, sweeping, vault }) =>
      Effect.gen(function*() {
        yield* put(0, "ada")
        yield* sweeping({ rest: "30 seconds" })
        yield* TestClock.adjust("130 minutes")
        assert.isAtLeast(yield* scripts[0]!.count("renew"), 2)
        yield* vault.token(keyOf(0, "ada"))
      }), { iam: { lifetime: "1 hour", grant: "ExchangeAccessToken" } }))

  it.live("sends five statements for a renewal, the claim apart, and one a second when nothing is due", () =>
    Effect.gen(function*() {
      const statements: Array<string> = []
      const digests = vi.spyOn(globalThis.crypto.subtle, "digest")
      yield* Effect.addFinalizer(() => Effect.sync(() => digests.mockRestore()))
      const counted = Layer.effect(
        SqlClient.SqlClient,
        Effect.map(SqlClient.SqlClient, (sql) => {
          const reserve = Effect.map(sql.reserve, (connection) => ({
            ...connection,
            execute: (...call: Parameters<typeof connection.execute>) => {
              statements.push(call[0])
              return connection.execute(...call)
            }
          }))
          return new Proxy(sql, { get: (target, name) => name === "reserve" ? reserve : Reflect.get(target, name) })
        })
      ).pipe(Layer.provide(sqlite))
      const storage = SqlTokenStorage.layer({ changes: "none" }).pipe(
        Layer.provide(counted),
        Layer.provide(RestPolicy.layer({ renewIdle: "1 second", spread: 0 }))
      )
      yield* world(({ due, put, sweep, sweeping }) =>
        Effect.gen(function*() {
          for (const account of people(3)) yield* put(0, account)
          for (const account of people(3)) yield* due.putOff(keyOf(0, account), DateTime.makeUnsafe(0))
          yield* Effect.sleep("1 second")
          statements.length = 0
          digests.mockClear()
          assert.strictEqual(yield* sweep, 3)
          assert.lengthOf(statements, 1 + 3 * 5)
          // each goes to another thread and back; the names of these rows are known
          assert.strictEqual(digests.mock.calls.length, 0)
          for (const account of people(3)) yield* due.putOff(keyOf(0, account), DateTime.makeUnsafe(4e12))
          statements.length = 0
          yield* sweeping({}, true)
          yield* Effect.sleep("1400 millis")
          assert.isAtMost(statements.length, 2)
          assert.isAtLeast(statements.length, 1)
        }), { storage })
    }))
})

describe("events", () => {
  const watched = (vault: Vault.Vault["Service"]) =>
    Effect.gen(function*() {
      const heard: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(vault.events, ({ cause, key, kind }) =>
          Effect.sync(() => heard.push(`${key.account} ${kind}: ${cause}`))),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      return heard
    })

  it.effect("a session that dies at rest is told of once, found later by list, and comes back", () =>
    world(({ put, scripts, sweeping, vault }) =>
      Effect.gen(function*() {
        const heard = yield* watched(vault)
        yield* put(0, "ada")
        yield* put(0, "bob")
        yield* TestClock.adjust("5 hours")
        yield* scripts[0]!.failNext("renew", { reason: new IamError.GrantDead({ detail: "consent was withdrawn" }) })
        yield* sweeping({ concurrency: 1, rest: "5 minutes" })
        yield* TestClock.adjust("90 minutes")
        yield* Effect.ignore(vault.token(keyOf(0, "ada")))
        yield* TestClock.adjust("2 days")
        assert.deepStrictEqual(heard, ["ada dead: consent was withdrawn"])
        const dead = Array.from(yield* Stream.runCollect(vault.list({ state: "ended" })))
        assert.deepStrictEqual(dead.map(({ detail, key }) => [key.account, Option.getOrNull(detail)]), [
          ["ada", "consent was withdrawn"]
        ])
        assert.lengthOf(yield* Stream.runCollect(vault.list({ issuer: issuers[1] })), 0)
        yield* put(0, "ada")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(heard.slice(1), ["ada recovered: it was connected again"])
      })
    ))

  it.effect("metrics name issuers and outcomes, have units, and no account", () =>
    Effect.gen(function*() {
      yield* world(({ put, vault }) =>
        Effect.gen(function*() {
          yield* put(0, "someone's account")
          yield* TestClock.adjust("7 hours")
          yield* vault.token(keyOf(0, "someone's account"))
          yield* TestClock.adjust("7 hours")
          yield* vault.health
        })
      )
      const found = yield* Metric.snapshot
      const renewals = found.find(({ attributes, id }) =>
        id === "effect_authn_renewals" && attributes?.["issuer"] === issuers[0]
      )
      assert.strictEqual(renewals?.attributes?.["outcome"], "renewed")
      const gauges = Object.fromEntries(
        found.filter(({ type }) => type === "Gauge").map(({ attributes, id, state }) => [
          id,
          [attributes?.["unit"], "value" in state ? Number(state.value) : 0]
        ])
      )
      assert.deepStrictEqual(gauges["effect_authn_vault_due"], ["{session}", 1])
      assert.deepStrictEqual(gauges["effect_authn_vault_oldest_due"], ["s", 3600])
      assert.notInclude(
        JSON.stringify(found, (_, value) => typeof value === "bigint" ? `${value}` : value),
        "someone's"
      )
      // as Prometheus reads them
      const text = yield* PrometheusMetrics.format()
      assert.include(text, "effect_authn_vault_oldest_due 3600")
      assert.match(text, /effect_authn_renewals(_total)?\{[^}]*issuer="https:\/\/one\.example"[^}]*\} 1/)
      assert.notInclude(text, "someone")
      // and as they leave with OTLP
      const sent: Array<string> = []
      const client = HttpClient.make((request) =>
        Effect.sync(() => {
          if (request.body._tag === "Uint8Array") sent.push(new TextDecoder().decode(request.body.body))
          return HttpClientResponse.fromWeb(request, new Response("{}"))
        })
      )
      yield* Effect.scoped(Layer.build(
        OtlpMetrics.layer({
          url: "https://collector.example/v1/metrics",
          compression: "none",
          resource: { serviceName: "vault" }
        }).pipe(
          Layer.provide([OtlpSerialization.layerJson, Layer.succeed(HttpClient.HttpClient, client)])
        )
      ))
      assert.match(sent.join(""), /"name":"effect_authn_vault_due"[^{]*"unit":"\{session\}"/)
      assert.match(sent.join(""), /"name":"effect_authn_renewal_duration"[^{]*"unit":"ms"/)
      assert.notInclude(sent.join(""), "someone")
      for (const { attributes, id } of found.filter(({ id }) => id.startsWith("effect_authn"))) {
        assert.isString(attributes?.["unit"], id)
      }
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
