/** The table of service tokens. */
import * as ServiceTokens from "@effect-authn/core/storage/ServiceTokens"
import { StorageUnavailable, TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Database, Row } from "./database.ts"

export const make = (options: { readonly database: Database; readonly description: string }) => {
  const { database: { now, prefix, run }, description } = options
  const table = `${prefix}_service_tokens`
  const failed = (method: string) =>
    Effect.mapError((reason: TokenStorageError["reason"]) =>
      new TokenStorageError({ storage: description, method, reason })
    )

  // A token of a newer version may have what this one does not know.
  const read = (row: Row) =>
    Effect.mapError(
      decode(row["token"]),
      () =>
        new StorageUnavailable({
          detail:
            `the service token "${row["name"]}" in table ${table} cannot be read: update this program, or revoke ` +
            "that token and make another one",
          written: "no"
        })
    )
  // It does not hide the others.
  const readOrWarn = (row: Row) =>
    Effect.catch(
      Effect.asSome(read(row)),
      ({ message }) => Effect.as(Effect.logWarning(message), Option.none<ServiceTokens.ServiceToken>())
    )

  return ServiceTokens.make({
    // The same digest counts as inserted, so that a lost acknowledgement costs nothing.
    insert: (digest, token) =>
      run(
        `INSERT INTO ${table} AS held (name, digest, token, ends_at) VALUES ($1, $2, $3, CAST($4 AS BIGINT)) ` +
          `ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, token = excluded.token, ends_at = excluded.ends_at ` +
          `WHERE held.ends_at <= ${now} OR held.digest = excluded.digest RETURNING name`,
        [token.name, digest, encode(token), `${DateTime.toEpochMillis(token.endsAt)}`]
      ).pipe(Effect.map((rows) => rows.length > 0), failed("insert")),
    find: (digest) =>
      run(`SELECT name, token FROM ${table} WHERE digest = $1 AND ends_at > ${now}`, [digest]).pipe(
        Effect.flatMap(([row]) => row === undefined ? Effect.succeedNone : Effect.asSome(read(row))),
        failed("find")
      ),
    list: run(`SELECT name, token FROM ${table}`).pipe(
      Effect.flatMap(Effect.forEach(readOrWarn)),
      Effect.map((found) => found.flatMap(Option.toArray)),
      failed("list")
    ),
    remove: (name) =>
      Effect.map(
        run(`DELETE FROM ${table} WHERE name = $1 RETURNING name`, [name]),
        (rows) => rows.length > 0
      ).pipe(failed("remove"))
  })
}

const Document = Schema.fromJsonString(Schema.toCodecJson(ServiceTokens.ServiceToken))
const encode = Schema.encodeSync(Document)
const decode = Schema.decodeUnknownEffect(Document)
