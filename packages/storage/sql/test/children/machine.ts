/** A program on a machine of its own: it signs in where it is told to, then asks for a token again and again, and tells each. */
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { program, type Setup } from "../fleet.ts"

const orders: Setup & { readonly signsIn: boolean } = JSON.parse(process.argv[2] ?? "")

const main = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  if (orders.signsIn) {
    yield* auth.login(AuthStrategy.password({ handle: "ada", password: Redacted.make("correct-horse-battery") }), {
      selection: { organization: "acme" }
    })
  }
  return yield* Effect.result(auth.token).pipe(
    Effect.map((asked) => asked._tag === "Success" ? Redacted.value(asked.success.accessToken) : asked.failure.message),
    Effect.tap((line) => Effect.sync(() => console.log(line))),
    Effect.delay("200 millis"),
    Effect.forever
  )
})

await Effect.runPromise(Effect.provide(main, program(orders)))
