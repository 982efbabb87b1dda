// A program in the middle of a browser login: nobody comes. Its prompt shows the address.
import * as AuthManager from "@effect-authn/core/AuthManager"
import { Browser } from "@effect-authn/core/login/Browser"
import * as InteractiveStrategy from "@effect-authn/core/login/InteractiveStrategy"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeCallbackServer from "@effect-authn/platform-node/NodeCallbackServer"
import * as TerminalLoginPrompt from "@effect-authn/platform-node/TerminalLoginPrompt"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const [directory = "", issuer = ""] = process.argv.slice(2)

const nobody = Layer.succeed(Browser, { obstacle: Effect.succeedNone, open: () => Effect.void })

Effect.flatMap(AuthManager.AuthManager, (auth) => auth.login(InteractiveStrategy.browser())).pipe(
  Effect.provide(
    NodeAuth.layer(OidcIam.layer({ issuer, clientId: "cli" }), { storage: FileTokenStorage.layer({ directory }) })
  ),
  Effect.provide([nobody, NodeCallbackServer.layer(), TerminalLoginPrompt.layer]),
  NodeRuntime.runMain
)
