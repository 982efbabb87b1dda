// What a library is to its callers.
import { Effect, type Scope } from "effect"
import type { TokenServer } from "./renewalServer.ts"

/** A session in the hands of a library. */
export interface Client {
  /** A caller: it gets a token, or why there is none. */
  readonly ask: Effect.Effect<string, unknown>
  /** As many callers as that at once; how many of them got a token. */
  readonly askAtOnce: (callers: number) => Effect.Effect<number>
}

/** Opens a session whose access token has `leftMillis` of its life. */
export type Open = (server: TokenServer, leftMillis: number) => Effect.Effect<Client, never, Scope.Scope>

/** The name of each of these programs at the IAM. */
export const clientId = "bench"

export const fromPromise = (ask: () => Promise<string>): Client => ({
  ask: Effect.tryPromise(ask),
  askAtOnce: (callers) =>
    Effect.promise(() =>
      Promise.allSettled(Array.from({ length: callers }, ask)).then((settled) =>
        settled.filter(({ status }) => status === "fulfilled").length
      )
    )
})
