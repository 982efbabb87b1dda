/** The lock of a session as a row that expires by the clock of the store. */
import * as LeaseLock from "@effect-authn/core/storage/LeaseLock"
import { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Database } from "./database.ts"
import type { Names } from "./names.ts"

export const make = (options: {
  readonly database: Database
  readonly names: Names
  readonly description: string
  readonly lease: Duration.Duration
}) => {
  const { database: { now, prefix, run }, description, lease, names } = options
  const table = `${prefix}_leases`

  const nameOf = ({ key, purpose }: LeaseLock.Lease) => Effect.map(names.ofSession(key), (id) => `${purpose} ${id}`)
  const length = ({ duration }: LeaseLock.Lease) => `${Duration.toMillis(duration)}`
  const failed = Effect.mapError((reason: TokenStorageError["reason"]) =>
    new TokenStorageError({ storage: description, method: "withLock", reason })
  )

  return LeaseLock.make({
    lease,
    leases: {
      // The same nonce takes it again, so that a lost acknowledgement costs nothing.
      take: (wanted) =>
        Effect.gen(function*() {
          const name = yield* nameOf(wanted)
          const taken = yield* run(
            `INSERT INTO ${table} AS held (name, holder, nonce, expires_at) ` +
              `VALUES ($1, $2, $3, ${now} + CAST($4 AS BIGINT)) ON CONFLICT (name) DO UPDATE SET ` +
              `holder = excluded.holder, nonce = excluded.nonce, expires_at = excluded.expires_at ` +
              `WHERE held.expires_at <= ${now} OR held.nonce = excluded.nonce RETURNING nonce`,
            [name, wanted.holder, wanted.nonce, length(wanted)]
          )
          if (taken.length > 0) return Option.none()
          const [found] = yield* run(`SELECT holder FROM ${table} WHERE name = $1`, [name])
          return Option.some(typeof found?.["holder"] === "string" ? found["holder"] : "another program")
        }).pipe(failed),
      prolong: (held) =>
        Effect.gen(function*() {
          const prolonged = yield* run(
            `UPDATE ${table} SET expires_at = ${now} + CAST($3 AS BIGINT) WHERE name = $1 AND nonce = $2 RETURNING nonce`,
            [yield* nameOf(held), held.nonce, length(held)]
          )
          return prolonged.length > 0
        }).pipe(failed),
      release: (held) =>
        Effect.gen(function*() {
          yield* run(`DELETE FROM ${table} WHERE name = $1 AND nonce = $2`, [yield* nameOf(held), held.nonce])
        }).pipe(failed)
    }
  })
}
