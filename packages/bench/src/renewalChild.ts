// A process of its own: it opens the session that it shares with others, asks for a token when it is told to, and says
// what came of it. It imports what it needs and no more, as a small program would.
import { AuthManager } from "@effect-authn/core/AuthManager"
import { Context, Effect, Layer, type Scope } from "effect"
import { readFileSync, writeFileSync } from "node:fs"
import * as Caller from "./caller.ts"
import type { Orders } from "./renewalProcesses.ts"

const { library, origin, place, rehearsal }: Orders = JSON.parse(process.argv[2]!)

const openers: Record<Orders["library"], Effect.Effect<Effect.Effect<unknown, unknown>, unknown, Scope.Scope>> = {
  ours: Effect.gen(function*() {
    const Ours = yield* Effect.promise(() => import("./renewalOurs.ts"))
    const over = (place: string) =>
      Effect.map(
        Layer.build(Ours.program(origin, Ours.files(place))),
        (context) => Context.get(context, AuthManager).token
      )
    if (rehearsal !== undefined) yield* Effect.scoped(Effect.flatten(over(rehearsal)))
    return yield* over(place)
  }),
  google: Effect.map(Effect.promise(() => import("./renewalPeers.ts")), (Peers) => {
    const client = Peers.googleClient(origin)
    client.setCredentials(JSON.parse(readFileSync(place, "utf8")))
    client.on("tokens", (tokens) => writeFileSync(place, JSON.stringify(tokens)))
    return Effect.tryPromise(() => client.getAccessToken())
  }),
  msal: Effect.promise(() =>
    import("./renewalPeers.ts").then((Peers) => {
      const client = Peers.msalClient(origin, Peers.fileCache(place))
      return Peers.msalAccount(client).then((account) => Effect.tryPromise(() => Peers.msalAsk(client, account)))
    })
  )
}

await Caller.run(openers[library])
