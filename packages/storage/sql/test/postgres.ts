import { PgClient } from "@effect/sql-pg"
import * as Redacted from "effect/Redacted"

/** A pool of a database, through the port of a proxy where one is given. */
export const pool = (url: string, options?: { readonly maxConnections?: number }) =>
  PgClient.layer({ url: Redacted.make(url), maxConnections: 4, ...options })
