/**
 * The platform that runs this program: who it says this is.
 */
import { WorkloadIdentity } from "@effect-authn/core/login/WorkloadIdentity"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeWorkloadIdentity from "@effect-authn/platform-node/NodeWorkloadIdentity"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * The platform's token for an audience, or why there is none. It is asked, and what it gives goes nowhere.
 */
export const ask = Effect.fnUntraced(function*(audience: string) {
  const built = yield* Layer.build(Layer.provide(NodeWorkloadIdentity.layer(), NodeAuth.layerHttpClient))
  return yield* Effect.result(Context.get(built, WorkloadIdentity).token(audience))
}, Effect.scoped)
