/**
 * Everything that an interactive login needs of Node, in one line.
 *
 * @since 0.1.0
 */
import type { Browser } from "@effect-authn/core/login/Browser"
import type { CallbackServer } from "@effect-authn/core/login/CallbackServer"
import type { LoginPrompt } from "@effect-authn/core/login/LoginPrompt"
import * as Layer from "effect/Layer"
import * as NodeBrowser from "./NodeBrowser.ts"
import * as NodeCallbackServer from "./NodeCallbackServer.ts"
import * as TerminalLoginPrompt from "./TerminalLoginPrompt.ts"

/**
 * The browser of this machine, a place on loopback for it to come back to, and the person at the terminal. The options
 * are for IAMs that know only some redirect URIs.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: NodeCallbackServer.Options
): Layer.Layer<Browser | CallbackServer | LoginPrompt> =>
  Layer.mergeAll(NodeBrowser.layer, NodeCallbackServer.layer(options), TerminalLoginPrompt.layer)
