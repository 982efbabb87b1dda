/** The stores that a fleet shares, each of its members by a line of its own, and how they die. */
import { PostgresServer, RedisServer, type TcpFaultProxy } from "@effect-authn/testing"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Orders } from "./program.ts"

type Unavailable = PostgresServer.PostgresUnavailable | RedisServer.RedisUnavailable

type Line = TcpFaultProxy.TcpFaultProxy

export interface Store {
  readonly store: Orders["store"]
  readonly replicas: number
  /** The address by a line, or the name of a file. */
  readonly by: (line: Line) => string
  /** Leads a line to the server. */
  readonly connect: (line: Line) => Effect.Effect<void>
  /** Kills the server, and brings it back after some milliseconds. */
  readonly away?: (millis: number) => Effect.Effect<void, Unavailable>
  /** Kills the server half a second after its replica has heard the last of it, and lets the replica take its place. */
  readonly failOver?: (lines: ReadonlyArray<Line>) => Effect.Effect<void, Unavailable>
}

export type Kind = "SQLite" | "PostgreSQL" | "Redis, one replica" | "Redis"

const sqlite = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-chaos-"))),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory): Store => ({
    store: "sqlite",
    replicas: 0,
    by: () => Path.join(directory, "private", "sessions.sqlite"),
    connect: () => Effect.void
  })
)

const postgres = Effect.map(PostgresServer.make({ isDurable: true }), (server): Store => ({
  store: "postgres",
  replicas: 0,
  by: ({ port }) => server.url({ port }),
  connect: (line) => line.forwardTo(server),
  away: (millis) => server.crash.pipe(Effect.andThen(Effect.sleep(millis)), Effect.andThen(server.start))
}))

const isUp = (replica: RedisServer.RedisServer["Service"]) =>
  Effect.repeat(Effect.andThen(Effect.sleep("50 millis"), replica.cli("info", "replication")), {
    until: (said) => said.includes("master_link_status:up")
  })

/** Two servers, one of which follows the other over a line that can be stalled. */
const redis = (link: Line, replicas: number) =>
  Effect.gen(function*() {
    let primary = yield* RedisServer.make({ settings: { appendfsync: "always" } })
    let replica = yield* RedisServer.make({ settings: { appendfsync: "always" } })
    const follow = Effect.gen(function*() {
      yield* link.forwardTo(primary)
      yield* link.set("open")
      yield* replica.cli("replicaof", "127.0.0.1", `${link.port}`)
      yield* isUp(replica)
    })
    yield* follow
    const store: Store = {
      store: "redis",
      replicas,
      by: ({ port }) => primary.url({ port }),
      connect: (line) => Effect.suspend(() => line.forwardTo(primary)),
      failOver: (lines) =>
        Effect.gen(function*() {
          yield* link.set("stalled-to-client")
          yield* Effect.sleep("500 millis")
          yield* primary.crash
          yield* link.reset
          yield* replica.cli("replicaof", "no", "one")
          const old = primary
          primary = replica
          replica = old
          for (const line of lines) {
            yield* line.forwardTo(primary)
            yield* line.reset
          }
          yield* replica.start
          yield* follow
        })
    }
    return store
  })

export const make = (kind: Kind, link: Line): Effect.Effect<Store, Unavailable, Scope.Scope> => {
  switch (kind) {
    case "SQLite":
      return sqlite
    case "PostgreSQL":
      return postgres
    case "Redis, one replica":
      return redis(link, 1)
    case "Redis":
      return redis(link, 0)
  }
}

/** Whether this machine has the server. */
export const isThere = (kind: Kind): boolean =>
  kind === "SQLite" || (kind === "PostgreSQL" ? PostgresServer.isThere : RedisServer.isThere)
