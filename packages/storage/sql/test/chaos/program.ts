/** What a worker is made of, with the faults that it is told to have. */
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeSqlite from "@effect-authn/platform-node/NodeSqlite"
import * as RedisTokenStorage from "@effect-authn/storage-redis/RedisTokenStorage"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { RedisError } from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import type { SqlError } from "effect/sql/SqlError"
import * as Fs from "node:fs"
import { pool } from "../postgres.ts"
import * as Fleet from "./fleet.ts"
import { intendedAt } from "./strictIam.ts"

/** The steps of a renewal at which a worker can be stopped, in their order. */
export const steps = [
  "the lease is taken",
  "the intent is written",
  "the request is about to go",
  "the request is on its way",
  "the answer has come",
  "the answer is written"
] as const

export type Step = typeof steps[number]

/** What a worker is told. Times are in milliseconds. */
export interface Orders {
  readonly issuer: string
  /** Where its requests for tokens go: a line of its own. */
  readonly line: string
  readonly store: "sqlite" | "postgres" | "redis"
  /** The address of the server, or the name of the file. */
  readonly address: string
  readonly sessions: number
  /** At which of them it begins its round, and how many it goes on each time. */
  readonly first: number
  readonly stride: number
  readonly lease: number
  readonly timeLimit: number
  readonly grace: number
  readonly replicas: number
  /** How long each of the worker's eight fibers rests between two sessions. */
  readonly pace: number
  /** What is taken out, to see that the ledger would show it. */
  readonly without?: "lock" | "compare and set"
  /** Where it stops itself, one after the other, each time until it is woken. */
  readonly halts: ReadonlyArray<Step>
}

type Shared = TokenStorage.TokenStorage | SessionLock.SessionLock

const shared = ({ address, lease, replicas, store }: Orders): Layer.Layer<
  Shared,
  SqlError | RedisError | TokenStorageError
> => {
  const duration = Duration.millis(lease)
  if (store === "redis") {
    return Layer.provide(
      RedisTokenStorage.layer({ lease: duration, replicas }),
      NodeRedis.layer({ url: address })
    )
  }
  const client = store === "sqlite" ? NodeSqlite.layer({ filename: address }) : pool(address)
  return Layer.provide(SqlTokenStorage.layer({ changes: "none", lease: duration }), client)
}

const over = (
  change: (storage: TokenStorage.TokenStorage["Service"]) => Partial<TokenStorage.TokenStorage["Service"]>
) =>
  Layer.effect(
    TokenStorage.TokenStorage,
    Effect.map(
      TokenStorage.TokenStorage,
      (storage) => TokenStorage.TokenStorage.of({ ...storage, ...change(storage) })
    )
  )

/** No lock, with the lease that the keeper counts on all the same. */
const noLock = ({ lease }: Orders) =>
  Layer.succeed(
    SessionLock.SessionLock,
    SessionLock.SessionLock.of({ lease: Duration.millis(lease), withLock: () => (effect) => effect })
  )

/** A storage whose answers come late, so that several programs decide by the same one. */
const late = over((storage) => ({ get: (key) => Effect.tap(storage.get(key), Effect.sleep("300 millis")) }))

/** A storage in which whoever writes is right. */
const always = over((storage) => ({
  put: (key, next) =>
    Effect.flatMap(
      storage.get(key),
      (found) =>
        storage.put(key, next, Option.match(found, { onNone: () => 0, onSome: ({ generation }) => generation }))
    )
}))

/** Stops the whole process when its turn comes, and says where. */
const halting = (orders: Orders) => {
  const left = [...orders.halts]
  // who was just started or woken works for a while
  let notBefore = Date.now() + 2000
  return (step: Step) =>
    Effect.sync(() => {
      if (left[0] !== step || Date.now() < notBefore) return
      left.shift()
      Fs.writeSync(1, `${step}\n`)
      process.kill(process.pid, "SIGSTOP")
      notBefore = Date.now() + 2000
    })
}

type Halt = ReturnType<typeof halting>

/** When an intent was written, by the refresh token that it is for. */
type Intents = Map<string, number>

const haltingStorage = (halt: Halt, intents: Intents) =>
  over((storage) => ({
    put: (key, next, expected) => {
      const isIntent = Option.isSome(next.intent)
      if (isIntent && next.grant._tag === "RefreshToken") {
        intents.set(Redacted.value(next.grant.refreshToken), DateTime.toEpochMillis(next.intent.value.at))
      }
      return (isIntent ? Effect.void : halt("the answer has come")).pipe(
        Effect.andThen(storage.put(key, next, expected)),
        Effect.tap(halt(isIntent ? "the intent is written" : "the answer is written"))
      )
    }
  }))

const haltingLock = (halt: Halt) =>
  Layer.effect(
    SessionLock.SessionLock,
    Effect.map(SessionLock.SessionLock, (lock) =>
      SessionLock.SessionLock.of({
        ...lock,
        withLock: (key, purpose) => (effect) =>
          lock.withLock(key, purpose)(Effect.andThen(halt("the lease is taken"), effect))
      }))
  )

/** The refresh token that a request presents. */
const presented = ({ body }: HttpClientRequest.HttpClientRequest): string =>
  body._tag === "Uint8Array" ? new URLSearchParams(new TextDecoder().decode(body.body)).get("refresh_token") ?? "" : ""

const client = ({ line }: Orders, halt: Halt, intents: Intents) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) =>
      client.pipe(
        HttpClient.mapRequestEffect((request) =>
          Effect.as(
            halt("the request is about to go"),
            request.pipe(
              HttpClientRequest.setUrl(line),
              HttpClientRequest.setHeader(intendedAt, `${intents.get(presented(request)) ?? Date.now()}`)
            )
          )
        ),
        HttpClient.transform((sent) =>
          // the IAM takes longer than that
          Effect.andThen(Effect.forkChild(Effect.delay(halt("the request is on its way"), "100 millis")), sent)
        )
      ))
  )

/** The storage of a worker, with the fault that it is told to have. */
export const storage = (orders: Orders) => {
  const built = Layer.fresh(shared(orders))
  if (orders.without === undefined) return built
  const unlocked = Layer.provideMerge(late, Layer.merge(built, noLock(orders)))
  return orders.without === "lock" ? unlocked : Layer.provideMerge(always, unlocked)
}

export const keeper = (orders: Orders) => {
  const halt = halting(orders)
  const intents: Intents = new Map()
  return SessionKeeper.layer.pipe(
    Layer.provide(Layer.merge(haltingStorage(halt, intents), haltingLock(halt))),
    Layer.provideMerge(storage(orders)),
    Layer.provide(Layer.provide(Fleet.iam(orders), client(orders, halt, intents))),
    Layer.provide(NodeAuth.layerHttpClient)
  )
}
