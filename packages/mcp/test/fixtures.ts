import { LoginPrompt, TokenStorage } from "@effect-authn/core"
import { NodeAuth, NodeCallbackServer } from "@effect-authn/platform-node"
import { ScriptedUserAgent } from "@effect-authn/testing"
import { Effect, Layer } from "effect"
import * as Strict from "./strict.ts"

export const prompt = Layer.succeed(LoginPrompt.LoginPrompt, {
  obstacle: Effect.succeedNone,
  show: () => Effect.void,
  ask: () => Effect.succeedNone
})

/** What a program on this machine has, with memory for sessions and a person who says yes. */
export const services = Layer.mergeAll(
  NodeAuth.layerHttpClient,
  NodeAuth.layerPublicHttpClient,
  TokenStorage.layerMemory,
  NodeCallbackServer.layer(),
  ScriptedUserAgent.layerBrowser({}),
  prompt
)

/** A strict server that ends with the test. */
export const strict = Effect.acquireRelease(
  Effect.promise(Strict.start),
  (server) => Effect.promise(server.close)
)
