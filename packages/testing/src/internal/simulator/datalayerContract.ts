/** @since 0.1.0 */
import * as BearerAuth from "@effect-authn/core/BearerAuth"
import * as DatalayerApi from "@effect-authn/iam-datalayer/DatalayerApi"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import * as Bearer from "./bearer.ts"
import { issues } from "./requests.ts"

class Authorization extends HttpApiMiddleware.Service<Authorization, { provides: Bearer.Bearer }>()(
  "@effect-authn/testing/internal/simulator/datalayerContract/Authorization",
  {
    security: BearerAuth.security,
    error: Bearer.refusals((_, message) => ({ success: false, message, errors: [message] }))
  }
) {}

class Strict extends HttpApiMiddleware.Service<Strict>()(
  "@effect-authn/testing/internal/simulator/datalayerContract/Strict",
  { error: DatalayerApi.BadRequest }
) {}

export const Api = HttpApi.make("datalayer").add(
  DatalayerApi.Public.middleware(Strict),
  DatalayerApi.Protected.middleware(Strict).middleware(Authorization),
  DatalayerApi.Tokens.middleware(Strict).middleware(Authorization),
  DatalayerApi.ApiKeys.middleware(Strict).middleware(Authorization)
)

const StrictLayer = HttpApiMiddleware.layerSchemaErrorTransform(
  Strict,
  (error) =>
    error.kind === "Body" ? Effect.fail(error) : Effect.fail(
      DatalayerApi.BadRequest.make({
        message: error.kind === "Query" ? "Invalid OAuth2 parameters" : "Invalid request",
        errors: issues(error)
      })
    )
)

export const layer = Layer.merge(Bearer.layerFor(Authorization), StrictLayer)

export const done = (message: string) => ({ success: true as const, message })
