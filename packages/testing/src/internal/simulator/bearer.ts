/** @since 0.1.0 */
import * as BearerAuth from "@effect-authn/core/BearerAuth"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Signing from "./signing.ts"
import { type Account, SimulatorState } from "./state.ts"

/** Who presented the bearer token, and the token. */
export class Bearer extends Context.Service<Bearer, { readonly account: Account; readonly token: Redacted.Redacted }>()(
  "@effect-authn/testing/internal/simulator/bearer"
) {}

const headers = { "www-authenticate": Schema.optionalKey(Schema.String) }

const Body = Schema.Record(Schema.String, Schema.Json)

/** The refusals of `BearerAuth`, with the bodies of a dialect. */
export const refusals = (body: (status: number, message: string) => typeof Body.Type) =>
  [
    BearerAuth.Unauthorized.pipe(HttpApiSchema.encodeToWithHeaders({
      body: Body.pipe(HttpApiSchema.status(401)),
      headers
    }, {
      decode: () => new BearerAuth.Unauthorized({}),
      encode: (error) => ({
        body: body(401, error.message),
        headers: { "www-authenticate": BearerAuth.challenge(error) }
      })
    })),
    BearerAuth.InsufficientScope.pipe(HttpApiSchema.encodeToWithHeaders({
      body: Body.pipe(HttpApiSchema.status(403)),
      headers
    }, {
      decode: () => new BearerAuth.InsufficientScope({ description: "" }),
      encode: (error) => ({
        body: body(403, error.message),
        headers: { "www-authenticate": BearerAuth.challenge(error) }
      })
    })),
    BearerAuth.KeysUnavailable
  ] as const

/** Takes the tokens that this simulator signed, as long as it has not killed them. */
export const layerFor = <Id>(
  middleware: Context.Service<Id, BearerAuth.Implementation<Bearer>>
): Layer.Layer<Id, never, SimulatorState> =>
  Layer.unwrap(Effect.gen(function*() {
    const state = yield* SimulatorState
    return BearerAuth.layerFor(middleware, Bearer, {
      realm: "simulator",
      key: yield* Signing.publicKey,
      algorithms: [Signing.algorithm],
      issuer: state.issuer,
      // It knows its tokens, and so when each of them ends and what it is for.
      anyAudience: true,
      endless: true,
      identify: ({ token }) => {
        const holder = state.known(token)
        return holder === undefined
          ? Effect.fail(new BearerAuth.Unauthorized({ description: "the token is unknown, or was revoked" }))
          : Effect.succeed({ account: holder.account, token })
      }
    })
  })).pipe(Layer.provide(JwtCodec.layer))
