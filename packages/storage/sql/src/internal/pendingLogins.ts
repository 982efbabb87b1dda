/** The table of pending logins. */
import * as PendingLogins from "@effect-authn/core/storage/PendingLogins"
import { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { Database } from "./database.ts"
import type { Names } from "./names.ts"

export const make = (options: {
  readonly database: Database
  readonly names: Names
  readonly description: string
}): PendingLogins.PendingLogins["Service"] => {
  const { database: { now, prefix, run }, description, names } = options
  const table = `${prefix}_pending_logins`
  const failed = (method: string) => (reason: TokenStorageError["reason"]) =>
    new TokenStorageError({ storage: description, method, reason })
  return PendingLogins.PendingLogins.of({
    put: (id, login, timeToLive) =>
      Effect.gen(function*() {
        yield* run(
          `INSERT INTO ${table} (id, login, ends_at) VALUES ($1, $2, ${now} + CAST($3 AS BIGINT)) ` +
            `ON CONFLICT (id) DO UPDATE SET login = excluded.login, ends_at = excluded.ends_at`,
          [yield* names.of(Redacted.value(id)), Redacted.value(login), `${Duration.toMillis(timeToLive)}`]
        )
        yield* run(`DELETE FROM ${table} WHERE ends_at <= ${now}`)
      }).pipe(Effect.mapError(failed("put"))),
    // Whoever gets the row back is the one who removed it. A repetition after a lost acknowledgement finds nothing: the person
    // begins again.
    take: (id) =>
      Effect.gen(function*() {
        const [row] = yield* run(
          `DELETE FROM ${table} WHERE id = $1 RETURNING login, CASE WHEN ends_at > ${now} THEN 'yes' ELSE 'no' END AS valid`,
          [yield* names.of(Redacted.value(id))]
        )
        return row?.["valid"] === "yes" && Predicate.isString(row["login"])
          ? Option.some(Redacted.make(row["login"]))
          : Option.none()
      }).pipe(Effect.mapError(failed("take")))
  })
}
