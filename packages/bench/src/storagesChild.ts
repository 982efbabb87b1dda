// A process of its own over a session in a storage that it shares: it asks for a token when it is told to, and says what
// came of it.
import { AuthManager } from "@effect-authn/core/AuthManager"
import { Context, Effect, Layer, type Scope } from "effect"
import * as Caller from "./caller.ts"
import type { Place } from "./storagesOurs.ts"

export interface Orders {
  readonly kind: Place["kind"] | "SET NX PX worker, Redis" | "MSAL, distributed cache, Redis"
  readonly place: string
  readonly origin: string
}

const opener = (
  { kind, origin, place }: Orders
): Effect.Effect<Effect.Effect<unknown, unknown>, unknown, Scope.Scope> => {
  switch (kind) {
    case "SET NX PX worker, Redis":
      return Effect.promise(async () => {
        const Peers = await import("./storagesPeers.ts")
        const ask = Peers.worker(await Peers.redis(place), origin, "expired")
        return Effect.tryPromise(() => ask())
      })
    case "MSAL, distributed cache, Redis":
      return Effect.promise(async () => {
        const [Peers, { msalAccount, msalAsk }] = await Promise.all([
          import("./storagesPeers.ts"),
          import("./renewalPeers.ts")
        ])
        const client = Peers.msal(await Peers.redis(place), origin, "expired")
        const account = await msalAccount(client)
        return Effect.tryPromise(() => msalAsk(client, account))
      })
    default:
      return Effect.promise(() => Promise.all([import("./renewalOurs.ts"), import("./storagesOurs.ts")])).pipe(
        Effect.flatMap(([Ours, { storage }]) => Layer.build(Ours.program(origin, storage({ kind, place })))),
        Effect.map((context) => Context.get(context, AuthManager).token)
      )
  }
}

await Caller.run(opener(JSON.parse(process.argv[2]!)))
process.exit(0)
