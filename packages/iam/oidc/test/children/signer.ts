// A program that signs in with a browser; a scripted user agent plays the person. It prints which token it got.
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as InteractiveStrategy from "@effect-authn/core/InteractiveStrategy"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeCallbackServer from "@effect-authn/platform-node/NodeCallbackServer"
import * as TerminalLoginPrompt from "@effect-authn/platform-node/TerminalLoginPrompt"
import * as ScriptedUserAgent from "@effect-authn/testing/ScriptedUserAgent"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

const [directory = "", issuer = ""] = process.argv.slice(2)

await Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* auth.login(InteractiveStrategy.browser())
  console.log(Redacted.value((yield* auth.token).accessToken))
}).pipe(
  Effect.provide([
    NodeAuth.layer(OidcIam.layer({ issuer, clientId: "cli" }), { storage: FileTokenStorage.layer({ directory }) }),
    NodeCallbackServer.layer(),
    ScriptedUserAgent.layerBrowser({ login: "ada", password: "any" }),
    TerminalLoginPrompt.layer
  ]),
  Effect.runPromise
)
