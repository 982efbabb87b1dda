/**
 * Rates that machines share, in PostgreSQL or SQLite.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schedule from "effect/Schedule"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Adaptive from "./internal/adaptiveRate.ts"
import * as Database from "./internal/database.ts"

/**
 * What the table is called.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How the name of the table begins: letters, digits and underscores. Default: `effect_authn`. */
  readonly prefix?: string
}

type Row = Readonly<Record<string, string | null>>

/** The client, and what the table is called there. */
const place = Effect.fnUntraced(function*(options: Options | undefined) {
  const prefix = options?.prefix ?? "effect_authn"
  if (!/^[a-z_][a-z0-9_]{0,39}$/.test(prefix)) {
    return yield* Effect.die(
      new Error("SqlRateLimiterStore: prefix is 1 to 40 lower-case letters, digits and underscores")
    )
  }
  const sql = yield* SqlClient
  const dialect = sql.onDialectOrElse({
    pg: (): Database.Database["dialect"] | undefined => "pg",
    sqlite: (): Database.Database["dialect"] | undefined => "sqlite",
    orElse: () => undefined
  })
  if (dialect === undefined) {
    return yield* Effect.die(new Error("SqlRateLimiterStore is for PostgreSQL and SQLite"))
  }
  const table = `${prefix}_rates`
  const real = dialect === "pg" ? "DOUBLE PRECISION" : "REAL"
  const failed = (error: SqlError) =>
    new RateLimiter.RateLimiterError({
      reason: new RateLimiter.RateLimitStoreError({
        message:
          Database.unavailable(error, { named: `table ${table}`, migrate: "SqlRateLimiterStore.migrate" }).message,
        cause: error
      })
    })
  const statement = (text: string, parameters: ReadonlyArray<string>) =>
    sql.unsafe<Row>(dialect === "pg" ? text : text.replace(/\$(\d+)/g, "?$1"), parameters).withoutTransform
  // Of many programs that create it at once, PostgreSQL lets one succeed and may fail the others.
  const create = statement(
    `CREATE TABLE IF NOT EXISTS ${table} (name TEXT PRIMARY KEY, tokens ${real} NOT NULL, at ${real} NOT NULL, ` +
      `taken ${real} NOT NULL, state TEXT NOT NULL, ends_at ${real} NOT NULL)`,
    []
  ).pipe(
    Effect.retry({
      times: 3,
      schedule: Schedule.spaced("50 millis"),
      while: (error) => !isForbidden(error)
    })
  )
  return { sql, dialect, table, real, statement, create, failed }
})

const isForbidden = ({ reason }: SqlError): boolean => reason._tag === "AuthorizationError"

const make = Effect.fnUntraced(function*(options: Options | undefined) {
  const { create, dialect, failed, real, sql, statement, table } = yield* place(options)
  const now = Database.nowOf(dialect)
  const [least, greatest, floor] = dialect === "pg"
    ? ["LEAST", "GREATEST", (text: string) => `FLOOR(${text})`] as const
    // what is rounded is never negative
    : ["MIN", "MAX", (text: string) => `CAST(${text} AS INTEGER)`] as const

  // A row that has ended says what no row says.
  const clean = statement(`DELETE FROM ${table} WHERE ends_at <= ${now}`, [])

  let isCreated = false
  let cleanedAt = 0
  const run = (text: string, parameters: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      // who may not create tables has one that was made before, or hears of it from the statement
      if (!isCreated) yield* Effect.catchIf(create, isForbidden, () => Effect.void)
      isCreated = true
      const at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      if (at - cleanedAt >= 60_000) {
        cleanedAt = at
        yield* clean
      }
      return yield* statement(text, parameters)
    }).pipe(Database.outside(sql), Effect.mapError(failed))

  /** Steps a state that no expression of SQL holds: whoever finds another one than was read begins again. */
  const stepped = <A>(
    name: string,
    step: (state: Adaptive.State | undefined, now: number) => Adaptive.Step<A>
  ): Effect.Effect<A, RateLimiter.RateLimiterError> =>
    Effect.gen(function*() {
      for (;;) {
        const [row] = yield* run(
          `SELECT CAST(${now} AS TEXT) AS now, (SELECT state FROM ${table} WHERE name = $1 AND ends_at > ${now}) AS state`,
          [name]
        )
        const held = row?.["state"] ?? ""
        const { answer, endsAt, next } = step(Option.getOrUndefined(Adaptive.decode(held)), Number(row?.["now"]))
        if (next === undefined) return answer
        const written = yield* run(
          `INSERT INTO ${table} AS held (name, tokens, at, taken, state, ends_at) ` +
            `VALUES ($1, 0, 0, 0, $2, CAST($3 AS ${real})) ON CONFLICT (name) DO UPDATE SET state = excluded.state, ` +
            `ends_at = excluded.ends_at WHERE held.state = $4 OR held.ends_at <= ${now} RETURNING name`,
          [name, Adaptive.encode(next), `${endsAt}`, held]
        )
        if (written.length > 0) return answer
      }
    })

  // What was in the bucket before the draw: refilled in whole steps, and full at most.
  const steps = floor(`${greatest}(0, excluded.at - held.at) / CAST($4 AS ${real})`)
  const filled = `${least}(CAST($3 AS ${real}), held.tokens + ${steps})`
  const since = `CASE WHEN ${filled} >= CAST($3 AS ${real}) THEN excluded.at ` +
    `ELSE held.at + ${steps} * CAST($4 AS ${real}) END`
  const isTaken = (tokens: string) => `CAST($5 AS INTEGER) = 1 OR ${tokens} - CAST($2 AS ${real}) >= 0`

  return RateLimiter.RateLimiterStore.of({
    fixedWindow: ({ key, limit, refillRate, tokens }) =>
      Effect.gen(function*() {
        const held = `CASE WHEN held.ends_at <= excluded.at THEN 0 ELSE held.tokens END`
        const end = `CASE WHEN held.ends_at <= excluded.at THEN excluded.at ELSE held.ends_at END`
        const fits = (count: string) => `$4 = '' OR ${count} + CAST($2 AS ${real}) <= CAST($5 AS ${real})`
        const add = (condition: string, count: string, end: string) => ({
          tokens: `CASE WHEN ${condition} THEN ${count} + CAST($2 AS ${real}) ELSE ${count} END`,
          end: `CASE WHEN ${condition} THEN ${end} + CAST($2 AS ${real}) * CAST($3 AS ${real}) ELSE ${end} END`,
          taken: `CASE WHEN ${condition} THEN CAST($2 AS ${real}) ELSE 0 END`
        })
        const first = add(fits("0"), "0", "clock.at")
        const later = add(fits(held), held, end)
        const [row] = yield* run(
          `WITH clock AS (SELECT CAST(${now} AS ${real}) AS at) ` +
            `INSERT INTO ${table} AS held (name, tokens, at, taken, state, ends_at) ` +
            `SELECT $1, ${first.tokens}, clock.at, ${first.taken}, '', ${first.end} FROM clock WHERE true ` +
            `ON CONFLICT (name) DO UPDATE SET tokens = ${later.tokens}, taken = ${later.taken}, ` +
            `at = excluded.at, ends_at = ${later.end} ` +
            `RETURNING CAST(tokens AS TEXT) AS tokens, CAST(taken AS TEXT) AS taken, CAST(ends_at - at AS TEXT) AS ttl`,
          [
            `window ${key}`,
            `${tokens}`,
            `${Duration.toMillis(refillRate)}`,
            limit === undefined ? "" : "limited",
            `${limit ?? 0}`
          ]
        )
        const isRefused = Number(row?.["taken"]) === 0 && tokens > 0
        return [Number(row?.["tokens"]) + (isRefused ? tokens : 0), Number(row?.["ttl"])] as const
      }),

    tokenBucket: ({ allowOverflow, key, limit, refillRate, tokens }) =>
      Effect.gen(function*() {
        const [row] = yield* run(
          `INSERT INTO ${table} AS held (name, tokens, at, taken, state, ends_at) ` +
            `SELECT $1, CAST($3 AS ${real}) - taken, at, taken, '', at + taken * CAST($4 AS ${real}) FROM ` +
            `(SELECT CASE WHEN ${isTaken(`CAST($3 AS ${real})`)} THEN CAST($2 AS ${real}) ELSE 0 END AS taken, ` +
            `CAST(${now} AS ${real}) AS at) AS first WHERE true ` +
            `ON CONFLICT (name) DO UPDATE SET ` +
            `tokens = ${filled} - CASE WHEN ${isTaken(filled)} THEN CAST($2 AS ${real}) ELSE 0 END, ` +
            `taken = CASE WHEN ${isTaken(filled)} THEN CAST($2 AS ${real}) ELSE 0 END, at = ${since}, ` +
            // full again
            `ends_at = excluded.at + (CAST($3 AS ${real}) - ${filled} + CAST($2 AS ${real}) + 1) * CAST($4 AS ${real}) ` +
            `RETURNING CAST(tokens AS TEXT) AS tokens, CAST(taken AS TEXT) AS taken, ` +
            `CAST(${greatest}(0, CAST(${now} AS ${real}) - at) AS TEXT) AS elapsed`,
          [`bucket ${key}`, `${tokens}`, `${limit}`, `${Duration.toMillis(refillRate)}`, allowOverflow ? "1" : "0"]
        )
        const left = Number(row?.["tokens"]) - (Number(row?.["taken"]) === 0 ? tokens : 0)
        return [left, Math.min(Number(row?.["elapsed"]), Duration.toMillis(refillRate))] as const
      }),

    adaptiveConsume: (options) =>
      stepped(`adaptive ${options.key}`, (state, now) => Adaptive.consume(state, now, options)),
    adaptiveFeedback: (options) =>
      stepped(`adaptive ${options.key}`, (state, now) => Adaptive.feedback(state, now, options))
  })
})

/**
 * A store for effect's `RateLimiter` in the database of the `SqlClient`: what is drawn on one machine is gone on all. Each
 * draw is one statement, by the clock of the database. It creates its table, `PREFIX_rates`, at the first draw, and removes
 * rows that have ended.
 *
 * **When to use**
 *
 * Use for a limit that a fleet shares, such as `IssuerRate` of `@effect-authn/vault`, where there is a database already.
 *
 * **Gotchas**
 *
 * A user who may not create tables needs that one made before, by `migrate`, and `SELECT, INSERT, UPDATE, DELETE` on it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<RateLimiter.RateLimiterStore, never, SqlClient> =>
  Layer.effect(RateLimiter.RateLimiterStore, make(options))

/**
 * Creates the table, for a step of the deployment that runs as its owner. Many may run it at once.
 *
 * @category combinators
 * @since 0.1.0
 */
export const migrate = (options?: Options): Effect.Effect<void, RateLimiter.RateLimiterError, SqlClient> =>
  Effect.flatMap(
    place(options),
    ({ create, failed, sql }) => Effect.asVoid(Effect.mapError(Database.outside(sql)(create), failed))
  )
