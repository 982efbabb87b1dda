// A program that asks for a token when it is told to, and prints which one it got.
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { once } from "node:events"

const [directory = "", issuer = ""] = process.argv.slice(2)

await Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  console.log("ready")
  yield* Effect.promise(() => once(process.stdin, "data"))
  const { accessToken } = yield* auth.token
  console.log(Redacted.value(accessToken))
}).pipe(
  Effect.provide(
    NodeAuth.layer(OidcIam.layer({ issuer, clientId: "cli" }), { storage: FileTokenStorage.layer({ directory }) })
  ),
  Effect.runPromise
)
process.stdin.destroy()
