// A program that signs in with a browser when a line arrives on its standard input; a scripted user agent plays the
// person, who takes their time. It prints which token it got.
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as Browser from "@effect-authn/core/login/Browser"
import * as InteractiveStrategy from "@effect-authn/core/login/InteractiveStrategy"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeCallbackServer from "@effect-authn/platform-node/NodeCallbackServer"
import * as TerminalLoginPrompt from "@effect-authn/platform-node/TerminalLoginPrompt"
import * as ScriptedUserAgent from "@effect-authn/testing/ScriptedUserAgent"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { once } from "node:events"

const [directory = "", issuer = ""] = process.argv.slice(2)

const person = Layer.effect(
  Browser.Browser,
  Effect.map(
    Browser.Browser,
    ({ obstacle, open }) => Browser.Browser.of({ obstacle, open: (url) => Effect.delay(open(url), "2 seconds") })
  )
).pipe(Layer.provide(ScriptedUserAgent.layerBrowser({ login: "ada", password: "any" })))

await Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  console.log("ready")
  yield* Effect.promise(() => once(process.stdin, "data"))
  yield* auth.login(InteractiveStrategy.browser())
  console.log(Redacted.value((yield* auth.token).accessToken))
}).pipe(
  Effect.provide([
    NodeAuth.layer(OidcIam.layer({ issuer, clientId: "cli" }), { storage: FileTokenStorage.layer({ directory }) }),
    NodeCallbackServer.layer(),
    person,
    TerminalLoginPrompt.layer
  ]),
  Effect.runPromise
)
process.stdin.destroy()
