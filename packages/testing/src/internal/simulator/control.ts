/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import * as SimulatorApi from "../../SimulatorApi.ts"
import { issues } from "./requests.ts"
import * as Signing from "./signing.ts"
import { SimulatorState } from "./state.ts"

class Strict extends HttpApiMiddleware.Service<Strict>()(
  "@effect-authn/testing/internal/simulator/control/Strict",
  { error: SimulatorApi.BadKnobs }
) {}

const Api = HttpApi.make("simulator").add(SimulatorApi.Control.middleware(Strict), SimulatorApi.Keys)

const StrictLayer = HttpApiMiddleware.layerSchemaErrorTransform(
  Strict,
  (error) =>
    Effect.fail(
      error.kind === "Body"
        ? error
        : SimulatorApi.BadKnobs.make({ success: false, message: "Invalid knobs", errors: issues(error) })
    )
)

const ControlLayer = HttpApiBuilder.group(
  Api,
  "control",
  Effect.fnUntraced(function*(handlers) {
    const state = yield* SimulatorState
    return handlers.handleAll({
      ledger: () => Effect.sync(state.ledger),
      knobs: ({ payload }) =>
        Effect.sync(() => {
          state.setKnobs(payload)
          return state.knobs()
        }),
      reset: () => Effect.sync(state.reset)
    })
  })
)

const KeysLayer = HttpApiBuilder.group(Api, "keys", (handlers) => handlers.handle("jwks", () => Signing.jwks))

export const layer = HttpApiBuilder.layer(Api).pipe(
  Layer.provide([ControlLayer, KeysLayer]),
  Layer.provide(StrictLayer)
)
