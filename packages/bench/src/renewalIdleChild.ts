// A process of its own, so that its heap holds nothing else: the memory of many idle sessions, and how often they wake it.
import { BackgroundSleep, IamClient, SessionKeeper, TokenSet, TokenStorage } from "@effect-authn/core"
import { Clock, Context, DateTime, Effect, Layer, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { type Found, type Library, sessions } from "./renewalIdle.ts"
import * as Ours from "./renewalOurs.ts"
import * as Peers from "./renewalPeers.ts"

const hours = 3_600_000
const origin = "http://127.0.0.1:9"

// 44 characters, as a token of 32 random bytes has.
const text = (kind: string, i: number) => `${kind}.${`${i}`.padStart(43 - kind.length, "0")}`

const settled = Effect.gen(function*() {
  for (let i = 0; i < 4; i++) {
    yield* Effect.sync(() => globalThis.gc!())
    yield* Effect.yieldNow
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
})

/** The bytes that each of the sessions holds after `make`, whose result has to be kept. */
const bytesOf = <A, E, R>(make: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* settled
    const made = yield* make
    const after = yield* settled
    return { bytes: (after - before) / sessions, made }
  })

const each = Array.from({ length: sessions }, (_, i) => i)

// The IAM of this measurement remembers nothing.
const forgetful = (iam: IamClient.IamClient["Service"]) => {
  let issued = 0
  return IamClient.IamClient.of({
    ...iam,
    renew: (session) =>
      Effect.map(DateTime.now, (now) => ({
        tokens: TokenSet.fromAnswer({
          accessToken: Redacted.make(text("access", issued += 1)),
          expiresIn: 36_000,
          receivedAt: now,
          serverTime: Option.none(),
          defaultLifetime: iam.policy.defaultLifetime
        }),
        grant: { _tag: "RefreshToken" as const, refreshToken: Redacted.make(text("refresh", issued)) },
        user: session.user,
        serverTime: Option.none()
      }))
  })
}

const ours = Effect.gen(function*() {
  let naps = 0
  const counted = (duration: Parameters<typeof Effect.sleep>[0]) =>
    Effect.andThen(Effect.sync(() => naps += 1), Effect.sleep(duration))
  const iam = Ours.program(origin, TokenStorage.layerMemory)
  const context = yield* Layer.build(
    SessionKeeper.layer.pipe(
      Layer.provide(Layer.succeed(BackgroundSleep.BackgroundSleep, counted)),
      Layer.provideMerge(Layer.effect(IamClient.IamClient, Effect.map(IamClient.IamClient, forgetful))),
      Layer.provide(iam),
      Layer.provideMerge(TokenStorage.layerMemory)
    )
  )
  const keeper = Context.get(context, SessionKeeper.SessionKeeper)
  const storage = Context.get(context, TokenStorage.TokenStorage)
  const loaded = yield* bytesOf(Effect.forEach(each, (i) =>
    Effect.gen(function*() {
      const session = yield* Ours.session({
        issuer: origin,
        account: `account-${i}`,
        accessToken: text("access", i),
        refreshToken: text("refresh", i),
        leftMillis: 10 * hours
      })
      yield* storage.put(session.key, session, 0)
      const kept = keeper.open(session.key)
      yield* kept.token
      return kept
    })))
  const renewed = yield* bytesOf(Effect.forEach(loaded.made, (kept) => kept.renew(), { discard: true }))
  const before = naps
  const minutes = 60
  yield* TestClock.adjust(`${minutes} minutes`)
  return { bytes: loaded.bytes, renewedBytes: loaded.bytes + renewed.bytes, wakeUps: (naps - before) / minutes }
}).pipe(Effect.scoped, Effect.provide(TestClock.layer()))

const google = bytesOf(Effect.sync(() =>
  each.map((i) => {
    const client = Peers.googleClient(origin)
    client.setCredentials({
      access_token: text("access", i),
      refresh_token: text("refresh", i),
      expiry_date: 4_000_000_000_000
    })
    return client
  })
))

const cycler = Effect.flatMap(Clock.Clock, (clock) =>
  bytesOf(Effect.promise(() =>
    Promise.all(each.map((i) => {
      const ask = Peers.cyclerClient(
        origin,
        { token: text("access", i), refreshToken: text("refresh", i), expiresOnTimestamp: 4_000_000_000_000 },
        () => clock.currentTimeMillisUnsafe()
      )
      return ask().then(() => ask)
    }))
  )))

const msal = bytesOf(Effect.sync(() => {
  const client = Peers.msalClient(origin)
  client.getTokenCache().deserialize(Peers.msalCache(each.map((i) => ({
    account: `account-${i}`,
    accessToken: text("access", i),
    refreshToken: text("refresh", i)
  }))))
  return client
}))

const measured: Record<Library, Effect.Effect<Partial<Found>, unknown>> = { ours, google, msal, cycler }

const found = await Effect.runPromise(measured[process.argv[2] as Library])
process.stdout.write(
  `${JSON.stringify({ bytes: found.bytes, renewedBytes: found.renewedBytes, wakeUps: found.wakeUps })}\n`
)
