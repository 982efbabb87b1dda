/** The table of sessions: compare and set in one statement, the index of due ones, and hints about changes. */
import * as Session from "@effect-authn/core/session/Session"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import { DueAt, DueSessions } from "@effect-authn/core/storage/DueSessions"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import { StorageConflict, StorageCorrupt, TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Changes from "./changes.ts"
import * as Database from "./database.ts"
import type { Names } from "./names.ts"

/** A row that was moved aside keeps its place under a name that no session has. */
const isSession = "id NOT LIKE '%.%'"

const pageLength = 500

export interface Options {
  readonly database: Database.Database
  readonly names: Names
  readonly description: string
  readonly changes: "notify" | "poll" | "none"
}

export const make = Effect.fnUntraced(function*(options: Options) {
  const { changes, database, description, names } = options
  const { dialect, now, prefix, run } = database
  const table = `${prefix}_sessions`
  const codec = yield* TokenStorage.Codec
  const dueAt = yield* DueAt
  const feed = yield* PubSub.unbounded<SessionKey>()
  const remote = yield* Changes.make(database, changes)

  const failed = (method: string) => (reason: TokenStorageError["reason"]) =>
    new TokenStorageError({ storage: description, method, reason })

  const ahead = (parameter: number) => Database.aheadOf(now, parameter)
  const placeOf = (key: SessionKey) => `the session of ${key.account} in table ${table}`

  // On PostgreSQL the hint goes out with the write, in the same statement. A payload has 8000 bytes at most.
  const hinted = (statement: string, channel: string) =>
    changes === "notify" && dialect === "pg"
      ? `WITH written AS (${statement} RETURNING id, key) SELECT id, ` +
        `CAST(pg_notify('${channel}', CASE WHEN octet_length(key) < 7000 THEN key ELSE '' END) AS TEXT) AS sent FROM written`
      : `${statement} RETURNING id`
  const channel = Changes.channelOf(prefix)

  const rowOf = (id: string) =>
    Effect.map(
      run(`SELECT CAST(generation AS TEXT) AS generation, document FROM ${table} WHERE id = $1`, [id]),
      (rows): Database.Row | undefined => rows[0]
    )

  const asideOf = (id: string) => `${id}.damaged-`

  // What was moved aside can hold tokens that still work, so that it goes with its session. By a range of the index.
  const removeAsides = (id: string) =>
    run(
      `DELETE FROM ${table} WHERE id > $1 AND id < $2 AND substr(id, 1, length(CAST($1 AS TEXT))) = $1 RETURNING id`,
      [asideOf(id), `${asideOf(id)}${"9".repeat(16)}`]
    )

  // A damaged document is moved aside under the name that it had when it was read, so that no newer one is.
  const open = (id: string, key: SessionKey, row: Database.Row) => {
    const document = row["document"] ?? ""
    return codec.decode(document, placeOf(key)).pipe(
      // the column decides who may write, the document what is written: they are of one write
      Effect.filterOrFail(
        ({ generation }) => `${generation}` === row["generation"],
        () => new StorageCorrupt({ detail: `${placeOf(key)} is of another generation than its document` })
      ),
      Effect.catchTag("StorageCorrupt", ({ detail }) =>
        Effect.gen(function*() {
          const aside = `${asideOf(id)}${yield* Clock.currentTimeMillis}`
          const moved = yield* run(
            `UPDATE ${table} SET id = $2, due_at = NULL WHERE id = $1 AND document = $3 RETURNING id`,
            [id, aside, document]
          )
          return yield* new StorageCorrupt({
            detail,
            ...(moved.length > 0 ? { quarantine: `row ${aside} of table ${table}` } : {})
          })
        }))
    )
  }

  // Why nothing was written: what stands there says so itself if it is illegible; if it is ours, the acknowledgement of an
  // earlier try was lost.
  const refused = Effect.fnUntraced(function*(key: SessionKey, id: string, expected: number, ours?: Session.Session) {
    const row = yield* rowOf(id)
    if (row === undefined) {
      return ours === undefined ? undefined : yield* new StorageConflict({ expected, found: 0 })
    }
    const stored = yield* open(id, key, row)
    if (ours !== undefined && TokenStorage.encode(stored) === TokenStorage.encode(ours)) return undefined
    return yield* new StorageConflict({ expected, found: Number(row["generation"]) })
  })

  // SQLite keeps what was overwritten in its log until the log is emptied.
  const empty = dialect === "pg"
    ? Effect.void
    : Effect.ignore(
      run("PRAGMA wal_checkpoint(TRUNCATE)").pipe(
        Effect.filterOrFail((rows) => Number(rows[0]?.["busy"] ?? 0) === 0),
        Effect.retry({ times: 10, schedule: Schedule.spaced("20 millis") })
      )
    )

  const storage = TokenStorage.TokenStorage.of({
    description,
    guarantees: { durable: true, exclusive: true, changes: changes !== "none", atRest: codec.atRest },

    get: Effect.fn("SqlTokenStorage.get")(function*(key) {
      const id = yield* names.ofSession(key)
      const row = yield* rowOf(id)
      if (row === undefined) return Option.none()
      return Option.some(yield* open(id, key, row))
    }, Effect.mapError(failed("get"))),

    put: Effect.fn("SqlTokenStorage.put")(function*(key, next, expected) {
      const id = yield* names.ofSession(key)
      const document = yield* codec.encode(next)
      const due = Option.match(dueAt(next), { onNone: () => "", onSome: (at) => `${Math.trunc(at)}` })
      const ours = `${yield* Clock.currentTimeMillis}`
      const dueColumn = (parameter: number) => `CAST(NULLIF($5, '') AS BIGINT) + ${ahead(parameter)}`
      const written = expected === 0
        ? yield* run(
          hinted(
            `INSERT INTO ${table} (id, key, generation, document, due_at) ` +
              `VALUES ($1, $2, CAST($3 AS BIGINT), $4, ${dueColumn(6)}) ON CONFLICT (id) DO NOTHING`,
            channel
          ),
          [id, key.id, `${next.generation}`, document, due, ours]
        )
        : yield* run(
          hinted(
            `UPDATE ${table} SET generation = CAST($3 AS BIGINT), document = $4, due_at = ${dueColumn(7)} ` +
              `WHERE id = $1 AND key = $2 AND generation = CAST($6 AS BIGINT)`,
            channel
          ),
          [id, key.id, `${next.generation}`, document, due, `${expected}`, ours]
        )
      if (written.length === 0) yield* refused(key, id, expected, next)
      if (Session.isSignedOut(next)) yield* empty
      yield* PubSub.publish(feed, key)
    }, Effect.mapError(failed("put"))),

    remove: Effect.fn("SqlTokenStorage.remove")(function*(key, expected) {
      const id = yield* names.ofSession(key)
      const removed = yield* run(
        hinted(`DELETE FROM ${table} WHERE id = $1 AND generation = CAST($2 AS BIGINT)`, channel),
        [id, `${expected}`]
      )
      if (removed.length === 0) yield* refused(key, id, expected)
      yield* removeAsides(id)
      yield* empty
      yield* PubSub.publish(feed, key)
    }, Effect.mapError(failed("remove"))),

    keys: Effect.suspend(() => Stream.runCollect(scan)),
    scan: Stream.suspend(() => scan),
    page: (after, limit) =>
      Effect.map(
        Effect.mapError(pageOf(after, limit), failed("page")),
        (rows) => rows.flatMap((row) => Changes.keysOf(row["key"]))
      ),
    changes: Stream.merge(Stream.fromPubSub(feed), remote)
  })

  // the name of a row is the SHA-256 of its key
  const pageOf = (after: string, limit: number) =>
    run(
      `SELECT id, key FROM ${table} WHERE id > $1 AND ${isSession} ORDER BY id LIMIT CAST($2 AS INTEGER)`,
      [after, `${limit}`]
    )

  const scan: Stream.Stream<SessionKey, TokenStorageError> = Stream.paginate("", (after: string) =>
    Effect.map(
      Effect.mapError(pageOf(after, pageLength), failed("scan")),
      (rows) =>
        [
          rows.flatMap((row) => Changes.keysOf(row["key"])),
          rows.length < pageLength ? Option.none() : Option.fromUndefinedOr(rows.at(-1)?.["id"])
        ] as const
    ))

  // the text of a key is a JSON array of three
  const beginningOf = ({ clientId, issuer }: Pick<SessionKey, "issuer" | "clientId">) =>
    `${JSON.stringify([issuer, clientId]).slice(0, -1)},`
  const otherThan = (parameter: number) =>
    ` AND substr(key, 1, length(CAST($${parameter} AS TEXT))) <> CAST($${parameter} AS TEXT)`
  const skipping = dialect === "pg" ? " FOR UPDATE SKIP LOCKED" : ""
  const dueSessions = DueSessions.of({
    claim: ({ except = [], lease, limit }) =>
      run(
        `UPDATE ${table} SET was_due_at = due_at, due_at = ${now} + CAST($1 AS BIGINT) WHERE id IN (SELECT id FROM ${table} ` +
          `WHERE due_at <= ${now}${except.map((_, index) => otherThan(index + 3)).join("")} ORDER BY due_at ` +
          `LIMIT CAST($2 AS INTEGER)${skipping}) RETURNING key, CAST(was_due_at AS TEXT) AS was_due_at`,
        [`${Duration.toMillis(lease)}`, `${limit}`, ...except.map(beginningOf)]
      ).pipe(
        // the rows of an update come in no order
        Effect.map((rows) =>
          [...rows]
            .sort((one, other) => Number(one["was_due_at"]) - Number(other["was_due_at"]))
            .flatMap((row) => Changes.keysOf(row["key"]))
        ),
        Effect.mapError(failed("claim"))
      ),
    putOff: (key, until) =>
      Effect.gen(function*() {
        yield* run(
          `UPDATE ${table} SET due_at = CAST($2 AS BIGINT) + ${ahead(3)} WHERE id = $1 RETURNING id`,
          [yield* names.ofSession(key), `${DateTime.toEpochMillis(until)}`, `${yield* Clock.currentTimeMillis}`]
        )
      }).pipe(Effect.mapError(failed("putOff"))),
    rule: dueAt,
    backlog: Effect.flatMap(Clock.currentTimeMillis, (ours) =>
      run(
        `SELECT CAST(count(*) AS TEXT) AS due, CAST(min(due_at) - ${ahead(1)} AS TEXT) AS oldest FROM ${table} ` +
          `WHERE due_at <= ${now}`,
        [`${ours}`]
      )).pipe(
        Effect.map(([row]) => ({
          due: Number(row?.["due"] ?? 0),
          oldest: Option.map(Option.fromNullishOr(row?.["oldest"]), (at) => DateTime.makeUnsafe(Number(at)))
        })),
        Effect.mapError(failed("backlog"))
      )
  })

  return { storage, dueSessions }
})
