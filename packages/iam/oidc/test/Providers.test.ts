// Refusals of real providers, each with the public place where its body stands. docs/providers.md is the same as a table.
import { DeviceLogin, IamClient, Selection } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { type Reply, serve, sessionOf } from "./rawProvider.ts"

interface Known {
  readonly provider: string
  readonly source: string
  readonly status: number
  readonly body: object
  readonly meaning: "GrantDead" | "Misconfigured"
}

const known: ReadonlyArray<Known> = [
  {
    provider: "Google",
    source: "https://github.com/apache/opendal/issues/3901",
    status: 400,
    body: { error: "invalid_grant", error_description: "Token has been expired or revoked." },
    meaning: "GrantDead"
  },
  {
    provider: "Google, a client that was deleted",
    source: "https://github.com/googleapis/google-api-nodejs-client/issues/1256",
    status: 401,
    body: { error: "deleted_client", error_description: "The OAuth client was deleted." },
    meaning: "Misconfigured"
  },
  {
    provider: "Microsoft Entra",
    source: "https://learn.microsoft.com/en-us/answers/questions/1291600/request-access-token-times-wrong",
    status: 400,
    body: {
      error: "invalid_grant",
      error_description: "AADSTS9002313: Invalid request. Request is malformed or invalid.\r\n" +
        "Trace ID: ef1487dc-c64b-4add-9d01-6aae19bd4c00\r\nCorrelation ID: 0261c266-b0ab-49f2-87e5-e6f8438666f7\r\n" +
        "Timestamp: 2023-05-25 13:21:24Z",
      error_codes: [9002313],
      timestamp: "2023-05-25 13:21:24Z",
      trace_id: "ef1487dc-c64b-4add-9d01-6aae19bd4c00",
      correlation_id: "0261c266-b0ab-49f2-87e5-e6f8438666f7",
      error_uri: "https://login.microsoftonline.com/error?code=9002313"
    },
    meaning: "GrantDead"
  },
  {
    provider: "Keycloak",
    source: "https://github.com/openid/AppAuth-iOS/issues/843",
    status: 400,
    body: { error: "invalid_grant", error_description: "Token is not active" },
    meaning: "GrantDead"
  },
  {
    provider: "GitHub, a wrong secret",
    source: "https://docs.github.com/en/enterprise-server@3.10/apps/oauth-apps/maintaining-oauth-apps/" +
      "troubleshooting-oauth-app-access-token-request-errors",
    status: 200,
    body: {
      error: "incorrect_client_credentials",
      error_description: "The client_id and/or client_secret passed are incorrect."
    },
    meaning: "Misconfigured"
  },
  {
    provider: "GitLab",
    source: "https://github.com/Dynatrace/ace-box/issues/580",
    status: 400,
    body: {
      error: "invalid_grant",
      error_description: "The provided authorization grant is invalid, expired, revoked, does not match the " +
        "redirection URI used in the authorization request, or was issued to another client."
    },
    meaning: "GrantDead"
  },
  {
    provider: "Bitbucket, a wrong secret",
    source: "https://gist.github.com/ericchiang/6e82e497ec45ea2aedbf",
    status: 400,
    body: { error_description: "Invalid OAuth client credentials", error: "unauthorized_client" },
    meaning: "Misconfigured"
  },
  {
    provider: "Gitea",
    source: "https://github.com/go-gitea/gitea/blob/main/routers/web/auth/oauth2_provider.go",
    status: 400,
    body: { error: "unauthorized_client", error_description: "token was already used" },
    meaning: "GrantDead"
  },
  {
    provider: "Gitea, a wrong secret",
    source: "https://github.com/go-gitea/gitea/blob/main/routers/web/auth/oauth2_provider.go",
    status: 400,
    body: { error: "invalid_client", error_description: "invalid client secret" },
    meaning: "Misconfigured"
  },
  {
    provider: "Twitch",
    source: "https://github.com/twitchdev/issues/issues/1037",
    status: 400,
    body: { status: 400, message: "Invalid refresh token" },
    meaning: "GrantDead"
  },
  {
    provider: "Twitch, a public client with a code",
    source: "https://github.com/TheOrcDev/videorc/pull/185",
    status: 400,
    body: { status: 400, message: "Invalid client credentials" },
    meaning: "Misconfigured"
  },
  {
    provider: "Hydra, a token that is inactive",
    source: "https://github.com/ory/fosite/blob/master/errors.go",
    status: 401,
    body: {
      error: "token_inactive",
      error_description: "Token is inactive because it is malformed, expired or otherwise invalid."
    },
    meaning: "GrantDead"
  },
  {
    provider: "Supabase",
    source: "https://github.com/supabase/auth-py/issues/353",
    status: 400,
    body: { error: "invalid_grant", error_description: "Invalid Refresh Token: Refresh Token Not Found" },
    meaning: "GrantDead"
  },
  {
    provider: "Strava",
    source: "https://github.com/dreeveapp/dreeve/issues/1449",
    status: 400,
    body: { message: "Bad Request", errors: [{ resource: "RefreshToken", field: "refresh_token", code: "invalid" }] },
    meaning: "GrantDead"
  },
  {
    provider: "Strava, a client that is not there",
    source: "https://github.com/dreeveapp/dreeve/issues/372",
    status: 400,
    body: { message: "Bad Request", errors: [{ resource: "Application", field: "client_id", code: "invalid" }] },
    meaning: "Misconfigured"
  },
  {
    provider: "Fitbit",
    source: "https://github.com/lukasolson/fitbit-node/issues/14",
    status: 400,
    body: {
      errors: [{
        errorType: "invalid_grant",
        message: "Refresh token invalid: rt-0. Visit https://dev.fitbit.com/docs/oauth2 for more information"
      }],
      success: false
    },
    meaning: "GrantDead"
  },
  {
    provider: "Authlib",
    source: "https://github.com/authlib/authlib/issues/112",
    status: 400,
    body: { error: "invalid_request", error_description: "Invalid \"refresh_token\" in request." },
    meaning: "GrantDead"
  },
  {
    provider: "Azure AD B2C",
    source: "https://github.com/TA2k/ioBroker.ford/issues/38",
    status: 400,
    body: {
      error: "invalid_grant",
      error_description: "AADB2C90080: The provided grant has expired. Please re-authenticate and try again. Current " +
        "time: 1717837319, Grant issued time: 1716629330, Grant expiration time: 1716629630\r\nCorrelation ID: " +
        "cf4507aa-117f-4b01-ad83-8b9a557091c1\r\nTimestamp: 2024-06-08 09:01:59Z\r\n"
    },
    meaning: "GrantDead"
  }
]

const renewed = (reply: Reply) =>
  Effect.gen(function*() {
    const server = yield* serve({ routes: { "/token": reply } })
    const error = yield* Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      return yield* Effect.flip(iam.renew(yield* sessionOf(server.issuer), Selection.none))
    }).pipe(Effect.provide(Layer.provide(
      OidcIam.layer({ issuer: server.issuer, clientId: "cli" }),
      FetchHttpClient.layer
    )))
    return { reason: error.reason, message: error.message, asked: server.asked }
  })

describe("a refused renewal", () => {
  for (const { body, meaning, provider, source, status } of known) {
    it.live(`${provider}: ${meaning}`, () =>
      Effect.gen(function*() {
        const { asked, message, reason } = yield* renewed({ status, body })
        assert.strictEqual(reason._tag, meaning, source)
        assert.lengthOf(asked.filter(({ path }) => path === "/token"), 1)
        assert.notMatch(message, /trace|correlation|timestamp|rt-0/i)
      }))
  }

  it.live("401 that asks for Basic is about the client, and ends no session", () =>
    Effect.gen(function*() {
      for (const challenge of ["Basic realm=\"idp\"", "Bearer, Basic", "basic"]) {
        const { reason } = yield* renewed({ status: 401, headers: { "www-authenticate": challenge } })
        assert.strictEqual(reason._tag, "Misconfigured", challenge)
      }
      assert.strictEqual((yield* renewed({ status: 401 })).reason._tag, "GrantDead")
    }))

  it.live("404 whose JSON names no code is a provider that is not there", () =>
    Effect.gen(function*() {
      const { message, reason } = yield* renewed({ status: 404, body: { error: "Realm does not exist" } })
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.include(message, "Realm does not exist")
    }))

  it.live("what names no code passes, and is asked again when the provider says", () =>
    Effect.gen(function*() {
      for (
        const body of [{ message: "Forbidden" }, { error: { code: 403, message: "Forbidden" } }, { errors: [null] }]
      ) {
        const { reason } = yield* renewed({ status: 403, body, headers: { "retry-after": "7" } })
        assert.isTrue(reason._tag === "Unavailable" && reason.sent === "maybe")
        assert.deepStrictEqual(reason._tag === "Unavailable" ? reason.retryAfter : undefined, Duration.seconds(7))
      }
    }))

  it.live("the same words in another place, in another case, or nested mean the same", () =>
    Effect.gen(function*() {
      const bodies = [
        { error: "INVALID_GRANT" },
        { error: "invalid-grant" },
        { error: { code: "invalid_grant" } },
        { error: { type: "x", message: "invalid_grant" } },
        { errors: ["invalid_grant"] },
        { errors: [{ code: 7 }, { reason: "Invalid Grant" }] },
        { error_code: "refresh_token_already_used", msg: "Invalid Refresh Token: Already Used" },
        { code: "refresh_token_not_found", message: "Not found" }
      ]
      for (const body of bodies) {
        const { reason } = yield* renewed({ status: 400, body })
        assert.strictEqual(reason._tag, "GrantDead", JSON.stringify(body))
      }
    }))
})

describe("a device login", () => {
  // Twitch: https://github.com/twitchdev/issues/issues/975
  it.live("waits on while the person has not entered the code", () =>
    Effect.gen(function*() {
      let polls = 0
      const server = yield* serve({
        routes: {
          "/device": (_asked, base) => ({
            body: {
              device_code: "d",
              user_code: "U",
              verification_uri: `${base}/enter`,
              expires_in: 60,
              interval: 0.05
            }
          }),
          "/token": () =>
            ++polls < 3
              ? { status: 400, body: { status: 400, message: "authorization_pending" } }
              : { body: { access_token: "at-1", token_type: "bearer", expires_in: 60 } }
        }
      })
      yield* Effect.gen(function*() {
        const device = yield* DeviceLogin.DeviceLogin
        const { poll } = yield* device.begin()
        yield* poll
        assert.strictEqual(polls, 3)
      }).pipe(Effect.provide(Layer.provide(
        OidcIam.layer({ issuer: server.issuer, clientId: "cli", scopes: ["read"] }),
        FetchHttpClient.layer
      )))
    }))

  it.live("ends in the provider's words, where it refuses the person", () =>
    Effect.gen(function*() {
      const said = "this person may not use the application"
      const server = yield* serve({
        routes: {
          "/device": (_asked, base) => ({
            body: {
              device_code: "d",
              user_code: "U",
              verification_uri: `${base}/enter`,
              expires_in: 60,
              interval: 0.05
            }
          }),
          "/token": { status: 400, body: { error: "invalid_grant", error_description: said } }
        }
      })
      const error = yield* Effect.gen(function*() {
        const device = yield* DeviceLogin.DeviceLogin
        return yield* Effect.flip((yield* device.begin()).poll)
      }).pipe(Effect.provide(Layer.provide(
        OidcIam.layer({ issuer: server.issuer, clientId: "cli", scopes: ["read"] }),
        FetchHttpClient.layer
      )))
      assert.strictEqual(error.reason._tag, "CredentialsRefused")
      assert.include(error.message, said)
    }))
})
