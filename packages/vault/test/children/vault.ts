/** A process of a fleet: sweeps, and gives the token of a session for each line that names one. */
import * as Vault from "@effect-authn/vault/Vault"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Readline from "node:readline"
import { keyOf } from "../../../storage/sql/test/chaos/fleet.ts"
import { type Orders, process as vault } from "../chaos/program.ts"

const orders: Orders = JSON.parse(process.argv[2] ?? "")

const main = Effect.gen(function*() {
  const { token } = Context.get(yield* Layer.build(vault(orders)), Vault.Vault)
  const run = Effect.runForkWith(yield* Effect.context())
  console.log("ready")
  Readline.createInterface(process.stdin).on("line", (family) => {
    run(
      Effect.matchEffect(token(keyOf(orders, family)), {
        onFailure: (error) => Effect.sync(() => console.log(`${family} ${error._tag}`)),
        onSuccess: () => Effect.sync(() => console.log(`${family} ok`))
      })
    )
  })
  process.stdin.on("end", () => process.exit(0))
  return yield* Effect.never
}).pipe(Effect.scoped)

Effect.runFork(main)
