import { AuthHttpClient, AuthManager } from "@effect-authn/core"
import { Effect } from "effect"

/** Greets whoever is signed in, as an API behind the IAM does it. It says nothing of where it runs. */
export const greeting = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login()
  const api = yield* AuthHttpClient.make({ baseUrl: "https://api.example.com" })
  const response = yield* api.get("/greeting")
  return yield* response.text
})
