/** Hints about what other programs wrote. */
import { SessionKey } from "@effect-authn/core/session/SessionKey"
import type { StorageUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { Database } from "./database.ts"

/** The channel of one set of tables. A name has 63 bytes at most. */
export const channelOf = (prefix: string): string => `${prefix.slice(0, 50)}_changes`

interface Listening {
  readonly listen: (
    channel: string
  ) => Effect.Effect<Queue.Dequeue<{ readonly payload: string }, SqlError>, SqlError, Scope.Scope>
}

const canListen = (sql: object): sql is Listening => Predicate.hasProperty(sql, "listen")

const again = Schedule.spaced("1 second")

/** What other programs wrote, as long as somebody listens. It survives a connection that dies. */
export const make = Effect.fnUntraced(function*(database: Database, mode: "notify" | "poll" | "none") {
  if (mode === "none") return Stream.empty
  const { sql } = database
  const heard: Stream.Stream<string, SqlError | StorageUnavailable> = mode === "notify" && canListen(sql)
    ? Stream.map(
      Stream.unwrap(Effect.map(sql.listen(channelOf(database.prefix)), Stream.fromQueue)),
      ({ payload }) => payload
    )
    : polled(database)
  return yield* heard.pipe(
    Stream.flatMap((text) => Stream.fromIterable(keysOf(text))),
    Stream.retry(again),
    Stream.orDie,
    Stream.share({ capacity: 1024, strategy: "sliding" })
  )
})

const Key = Schema.fromJsonString(Schema.Tuple([Schema.NonEmptyString, Schema.NonEmptyString, Schema.NonEmptyString]))
const decodeKey = Schema.decodeUnknownOption(Key)

/** The key that a row or a hint names. */
export const keysOf = (text: string | undefined): ReadonlyArray<SessionKey> =>
  Option.match(decodeKey(text), {
    onNone: () => [],
    onSome: ([issuer, clientId, account]) => [SessionKey.make({ issuer, clientId, account })]
  })

// Every second, and only where something was written, all generations are compared with those of the last time.
const polled = ({ dialect, prefix, run }: Database) => {
  let version = ""
  let known: ReadonlyMap<string, string> | undefined
  const look = Effect.gen(function*() {
    if (dialect === "sqlite") {
      const [row] = yield* run("PRAGMA data_version")
      const current = `${row?.["data_version"]}`
      if (current === version) return []
      version = current
    }
    const rows = yield* run(`SELECT key, CAST(generation AS TEXT) AS generation FROM ${prefix}_sessions`)
    const found = new Map(rows.map((row) => [row["key"] ?? "", row["generation"] ?? ""]))
    const before = known
    known = found
    if (before === undefined) return []
    return [
      ...[...found].flatMap(([key, generation]) => before.get(key) === generation ? [] : [key]),
      ...[...before.keys()].filter((key) => !found.has(key))
    ]
  })
  return Stream.fromEffectSchedule(look, again).pipe(Stream.flatMap((keys) => Stream.fromIterable(keys)))
}
