/** @since 0.1.0 */
import * as DatalayerApi from "@effect-authn/iam-datalayer/DatalayerApi"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Bearer } from "./bearer.ts"
import * as Contract from "./datalayerContract.ts"
import * as DatalayerTokens from "./datalayerTokens.ts"
import { claims, memberships, profile } from "./datalayerUsers.ts"
import { type Account, SimulatorState } from "./state.ts"

const providers = new Set(["github", "google", "linkedin", "okta"])

const PublicLayer = HttpApiBuilder.group(
  Contract.Api,
  "public",
  Effect.fnUntraced(function*(handlers) {
    const state = yield* SimulatorState

    const signIn = (request: HttpServerRequest, account: Account) =>
      Effect.gen(function*() {
        state.annotate(request, { subject: account.handle })
        const token = yield* state.issue({ account, project: undefined }, claims(account))
        return { ...Contract.done("Login successful"), user: profile(account), token }
      })

    const login = Effect.fnUntraced(function*({ payload, request }: {
      readonly payload: typeof DatalayerApi.LoginPayload.Type
      readonly request: HttpServerRequest
    }) {
      if (payload.token !== undefined) {
        const holder = yield* state.holder(payload.token)
        if (holder === undefined) {
          return yield* DatalayerApi.Unauthorized.make({ message: "The token is unknown, expired or revoked" })
        }
        return {
          ...(yield* signIn(request, holder.account)),
          provided_token: payload.token,
          provided_token_issuer: state.issuer,
          is_provided_token_external: false
        }
      }
      const account = state.account(payload.handle)
      if (account === undefined || Redacted.value(account.password) !== Redacted.value(payload.password)) {
        return yield* DatalayerApi.Unauthorized.make({ message: "Invalid credentials" })
      }
      return yield* signIn(request, account)
    })

    return handlers.handleAll({
      login,
      authenticationLogin: login,
      ping: () => Effect.succeed({ ...Contract.done("The IAM is healthy"), status: "OK" as const, version: "0.1.0" }),
      authorizationUrl: ({ query }) =>
        Effect.gen(function*() {
          if (!URL.canParse(query.callback_uri)) {
            return yield* DatalayerApi.BadRequest.make({
              message: "Invalid OAuth2 parameters: callback_uri is not a URL"
            })
          }
          if (!providers.has(query.provider)) {
            return yield* DatalayerApi.NotFound.make({
              message: `OAuth2 provider '${query.provider}' not found or not configured`
            })
          }
          const url = new URL(`/oauth2/providers/${query.provider}`, state.issuer)
          for (const [name, value] of Object.entries(query)) {
            if (name !== "provider" && value !== undefined) url.searchParams.set(name, value)
          }
          return { ...Contract.done("Continue in the browser"), loginURL: url.href, autorization_url: url.href }
        })
    })
  })
)

const ProtectedLayer = HttpApiBuilder.group(
  Contract.Api,
  "protected",
  Effect.fnUntraced(function*(handlers) {
    const state = yield* SimulatorState
    const account = Effect.map(Bearer, ({ account }) => account)
    const logout = () =>
      Effect.map(Bearer, ({ token }) => {
        state.kill(token)
        return Contract.done("Logout successful")
      })
    return handlers.handleAll({
      logout,
      authenticationLogout: logout,
      whoami: () =>
        Effect.map(account, (account) => ({ ...Contract.done("You are signed in"), profile: profile(account) })),
      me: () => Effect.map(account, (account) => ({ ...Contract.done("You are signed in"), me: profile(account) })),
      auth: () => Effect.succeed(Contract.done("The token is valid")),
      memberships: () => Effect.succeed({ ...Contract.done("Memberships"), memberships })
    })
  })
)

export const layer = HttpApiBuilder.layer(Contract.Api).pipe(
  Layer.provide([PublicLayer, ProtectedLayer, DatalayerTokens.layer]),
  Layer.provide(Contract.layer)
)
