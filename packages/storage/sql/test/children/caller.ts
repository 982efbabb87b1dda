/** A program of a fleet: says that it is ready, waits for the file `go`, asks for a token, and tells what it got. */
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Fs from "node:fs"
import { program, type Setup } from "../fleet.ts"

const orders: Setup & { readonly go: string } = JSON.parse(process.argv[2] ?? "")

const main = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  console.log("ready")
  yield* Effect.sync(() => Fs.existsSync(orders.go)).pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: (isThere) => isThere })
  )
  const tokens = yield* auth.token
  return { token: Redacted.value(tokens.accessToken) }
}).pipe(
  Effect.provide(program(orders)),
  Effect.catch((error) => Effect.succeed({ error: error.message }))
)

console.log(JSON.stringify(await Effect.runPromise(main)))
