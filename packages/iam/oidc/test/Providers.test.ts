// Refusals of real providers, each with the public place where its body stands. docs/providers.md is the same as a table.
import { DeviceLogin, IamClient, Selection } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { readFileSync } from "node:fs"
import { type Reply, serve, sessionOf } from "./rawProvider.ts"

interface Known {
  readonly provider: string
  readonly source: string
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body: object | string
  readonly meaning: "GrantDead" | "Misconfigured" | "Unavailable"
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
  },
  {
    provider: "Google, too many renewals",
    // Its status: https://github.com/googleapis/google-oauth-java-client/issues/57
    source: "https://github.com/tomwalder/php-gds/issues/19",
    status: 403,
    headers: { "content-type": "text/html" },
    body:
      "<html><head><title>Sorry...</title></head><body><h1>We're sorry...</h1><p>... but your computer or network " +
      "may be sending automated queries. To protect our users, we can't process your request right now.</p>",
    meaning: "Unavailable"
  },
  {
    provider: "Microsoft Entra, a wrong secret",
    source: "https://github.com/Azure/sap-automation/issues/418",
    status: 401,
    body: {
      error: "invalid_client",
      error_description: "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request " +
        "is the client secret value, not the client secret ID, for a secret added to app " +
        "'4d856d1f-8648-456c-9bb2-f36273bbe4e3'.\r\nTrace ID: 6bad8289-db4a-49da-8609-0848d8d71700\r\n" +
        "Correlation ID: 63b8bb61-5ca6-4ae3-8224-15a4de11cd87\r\nTimestamp: 2023-02-20 07:21:29Z",
      error_codes: [7_000_215],
      timestamp: "2023-02-20 07:21:29Z",
      trace_id: "6bad8289-db4a-49da-8609-0848d8d71700",
      correlation_id: "63b8bb61-5ca6-4ae3-8224-15a4de11cd87",
      error_uri: "https://login.microsoftonline.com/error?code=7000215"
    },
    meaning: "Misconfigured"
  },
  {
    provider: "Microsoft Entra, too many requests",
    source: "https://github.com/AzureAD/microsoft-authentication-library-for-dotnet/issues/2855",
    status: 429,
    headers: { "retry-after": "60" },
    body: "Too Many Requests",
    meaning: "Unavailable"
  },
  {
    provider: "Okta",
    source: "https://github.com/okta/okta-react-native/issues/287",
    status: 400,
    body: { error: "invalid_grant", error_description: "The refresh token is invalid or expired." },
    meaning: "GrantDead"
  },
  {
    provider: "Okta, a client that authenticates twice",
    source: "https://github.com/boylesoftware/tomcat-oidcauth/issues/6",
    status: 401,
    body: {
      error_description: "Cannot supply multiple client credentials. Use one of the following: credentials in the " +
        "Authorization header, credentials in the post body, or a client_assertion in the post body.",
      error: "invalid_request"
    },
    meaning: "Misconfigured"
  },
  {
    provider: "Okta, too many requests",
    // Its status: https://github.com/okta/terraform-provider-okta/issues/35
    source: "https://github.com/firezone/firezone/issues/6735",
    status: 429,
    body: { errorCode: "E0000047", errorSummary: "API call exceeded rate limit due to too many requests." },
    meaning: "Unavailable"
  },
  {
    provider: "Auth0",
    source: "https://community.auth0.com/t/" +
      "troubleshoot-refresh-token-unknown-or-invalid-before-expiry-403-unknown-or-invalid-refresh-token/120406",
    status: 403,
    body: { error: "invalid_grant", error_description: "Unknown or invalid refresh token." },
    meaning: "GrantDead"
  },
  {
    provider: "Auth0, a wrong client",
    source: "https://github.com/auth0-samples/auth0-angular-samples/issues/201",
    status: 401,
    body: { error: "access_denied", error_description: "Unauthorized" },
    meaning: "Misconfigured"
  },
  {
    provider: "Auth0, too many requests, as its management API says it",
    source: "https://github.com/auth0-extensions/auth0-reset-tenant/issues/31",
    status: 429,
    body: {
      statusCode: 429,
      error: "Too Many Requests",
      message: "Global limit has been reached",
      errorCode: "too_many_requests"
    },
    meaning: "Unavailable"
  },
  {
    provider: "Keycloak, a wrong secret",
    source: "https://github.com/Stirling-Tools/Stirling-PDF/issues/6567",
    status: 401,
    body: { error: "unauthorized_client", error_description: "Invalid client or Invalid client credentials" },
    meaning: "Misconfigured"
  },
  {
    provider: "Keycloak, a device that asks too often",
    source:
      "https://github.com/keycloak/keycloak/blob/02523d19ea6d64a0860f4abb4598b7b1c8033d79/services/src/main/java/" +
      "org/keycloak/protocol/oidc/grants/device/DeviceGrantType.java",
    status: 400,
    body: { error: "slow_down", error_description: "Slow down" },
    meaning: "Unavailable"
  },
  {
    provider: "Cognito",
    source: "https://github.com/aws/aws-sdk-js/issues/3836",
    status: 400,
    body: { error: "invalid_grant" },
    meaning: "GrantDead"
  },
  {
    provider: "Cognito, a wrong client",
    source: "https://github.com/amazon-archives/amazon-cognito-auth-js/issues/206",
    status: 400,
    body: { error: "invalid_client" },
    meaning: "Misconfigured"
  },
  {
    provider: "GitHub",
    source: "https://github.com/interlink-hq/interLink/pull/262",
    status: 200,
    body: {
      error: "bad_refresh_token",
      error_description: "The refresh token passed is incorrect or expired.",
      error_uri:
        "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/" +
        "#bad-verification-code"
    },
    meaning: "GrantDead"
  },
  {
    provider: "GitHub, too many requests",
    // Its status: https://github.com/coder/coder/issues/10853
    source: "https://github.com/microsoft/vscode/issues/179948",
    status: 429,
    headers: { "content-type": "text/html" },
    body: "<!DOCTYPE html>\n<html>\n  <head>\n    <meta http-equiv=\"Content-type\" content=\"text/html; " +
      "charset=utf-8\">\n    <title>Rate limit &middot; GitHub</title>",
    meaning: "Unavailable"
  },
  {
    provider: "GitLab, a wrong client",
    source: "https://github.com/hickford/git-credential-oauth/issues/74",
    status: 401,
    body: {
      error: "invalid_client",
      error_description: "Client authentication failed due to unknown client, no client authentication included, or " +
        "unsupported authentication method."
    },
    meaning: "Misconfigured"
  },
  {
    provider: "GitLab, too many requests",
    source: "https://gitlab.cn/docs/14.0/ee/user/admin_area/settings/user_and_ip_rate_limits.html",
    status: 429,
    headers: { "content-type": "text/plain", "retry-after": "30" },
    body: "Retry later\n",
    meaning: "Unavailable"
  },
  {
    provider: "Slack",
    source: "https://github.com/slackapi/node-slack-sdk/issues/2038",
    status: 200,
    body: { ok: false, error: "invalid_refresh_token" },
    meaning: "GrantDead"
  },
  {
    provider: "Slack, a wrong secret",
    source: "https://github.com/kmrshntr/omniauth-slack/issues/35",
    status: 200,
    body: { ok: false, error: "bad_client_secret" },
    meaning: "Misconfigured"
  },
  {
    provider: "Slack, too many requests",
    source: "https://github.com/beginner-corp/slack/issues/105",
    status: 429,
    headers: { "retry-after": "1" },
    body: { ok: false, error: "ratelimited" },
    meaning: "Unavailable"
  },
  {
    provider: "Salesforce",
    source: "https://help.salesforce.com/apex/HTViewHelpDoc?id=xcloud.remoteaccess_oauth_flow_errors.htm",
    status: 400,
    body: { error: "invalid_grant", error_description: "expired access/refresh token" },
    meaning: "GrantDead"
  },
  {
    provider: "Salesforce, a wrong client",
    source: "https://github.com/omniphx/forrest/issues/184",
    status: 400,
    body: { error: "invalid_client_id", error_description: "client identifier invalid" },
    meaning: "Misconfigured"
  },
  {
    provider: "Salesforce, two renewals at once",
    source: "https://github.com/segmentio/action-destinations/pull/2300",
    status: 400,
    body: { error: "invalid_grant", error_description: "expired authorization code" },
    meaning: "Unavailable"
  },
  {
    provider: "Hydra, a token that was used",
    source: "https://github.com/ory/hydra/blob/2c3ba1311e196d226dc2904ed7507481d9479cdd/fosite/handler/oauth2/" +
      "flow_refresh.go",
    status: 400,
    body: {
      error: "invalid_grant",
      error_description: "The provided authorization grant (e.g., authorization code, resource owner credentials) or " +
        "refresh token is invalid, expired, revoked, does not match the redirection URI used in the authorization " +
        "request, or was issued to another client. The refresh token was already used."
    },
    meaning: "GrantDead"
  },
  {
    provider: "Hydra, a wrong client",
    source: "https://github.com/ory/hydra/issues/2907",
    status: 401,
    body: {
      error: "invalid_client",
      error_description: "Client authentication failed (e.g., unknown client, no client authentication included, or " +
        "unsupported authentication method).",
      status_code: 401
    },
    meaning: "Misconfigured"
  },
  {
    provider: "Hydra, two renewals at once",
    source: "https://github.com/ory/hydra/blob/2c3ba1311e196d226dc2904ed7507481d9479cdd/fosite/handler/oauth2/" +
      "flow_refresh.go",
    status: 400,
    body: {
      error: "invalid_request",
      error_description: "The request is missing a required parameter, includes an invalid parameter value, includes " +
        "a parameter more than once, or is otherwise malformed. Failed to refresh token because of multiple " +
        "concurrent requests using the same token. Please retry the request."
    },
    meaning: "Unavailable"
  },
  {
    provider: "Supabase, a wrong key of the project",
    source: "https://github.com/nuxt-modules/supabase/issues/195",
    status: 401,
    body: {
      message: "Invalid API key",
      hint: "Double check your Supabase `anon` or `service_role` API key."
    },
    meaning: "Misconfigured"
  },
  {
    provider: "Supabase, a key that its gateway does not know",
    source: "https://github.com/supabase/cli/issues/24",
    status: 401,
    body: { message: "Invalid authentication credentials" },
    meaning: "Misconfigured"
  },
  {
    provider: "Supabase, too many requests",
    source: "https://github.com/supabase/auth/blob/0315ca7d2b6b9e20d1f3c1f65198b0ba466b2560/internal/api/middleware.go",
    status: 429,
    body: { code: 429, msg: "Rate limit exceeded" },
    meaning: "Unavailable"
  },
  {
    provider: "Supabase, two renewals at once",
    source: "https://github.com/supabase/auth/blob/0369c9386683216923bc60b6f1b76cabb517095e/internal/api/" +
      "token_refresh.go",
    status: 409,
    body: {
      code: 409,
      error_code: "conflict",
      msg: "Too many concurrent token refresh requests on the same session or refresh token"
    },
    meaning: "Unavailable"
  },
  {
    provider: "Zoom",
    source: "https://github.com/raycast/extensions/issues/10896",
    status: 400,
    body: { reason: "Invalid Token!", error: "invalid_grant" },
    meaning: "GrantDead"
  },
  {
    provider: "Zoom, a wrong secret",
    source: "https://github.com/JubaerHossain/zoom-laravel/issues/3",
    status: 400,
    body: { reason: "Invalid client_id or client_secret", error: "invalid_client" },
    meaning: "Misconfigured"
  },
  {
    provider: "Atlassian",
    source: "https://github.com/microsoft/generative-ai-for-beginners/issues/342",
    status: 403,
    body: { error: "invalid_grant", error_description: "Unknown or invalid refresh token." },
    meaning: "GrantDead"
  },
  {
    provider: "Bitbucket",
    source: "https://github.com/readthedocs/readthedocs.org/issues/2992",
    status: 400,
    body: { error_description: "Invalid refresh_token", error: "invalid_request" },
    meaning: "GrantDead"
  },
  {
    provider: "Dropbox",
    source: "https://github.com/nextcloud/integration_dropbox/issues/34",
    status: 400,
    body: { error: "invalid_grant", error_description: "refresh token is invalid or revoked" },
    meaning: "GrantDead"
  },
  {
    provider: "Spotify",
    source: "https://github.com/barmiro/SYSH/issues/8",
    status: 400,
    body: { error: "invalid_grant", error_description: "Refresh token revoked" },
    meaning: "GrantDead"
  },
  {
    provider: "Zoho",
    source: "https://github.com/Weble/ZohoBooksApi/issues/84",
    status: 200,
    body: { error: "invalid_code" },
    meaning: "GrantDead"
  },
  {
    provider: "Firebase",
    source: "https://github.com/awinogrodzki/next-firebase-auth-edge/issues/21",
    status: 400,
    body: { error: { code: 400, message: "TOKEN_EXPIRED", status: "INVALID_ARGUMENT" } },
    meaning: "GrantDead"
  },
  {
    provider: "Django OAuth Toolkit",
    source: "https://github.com/django-oauth/django-oauth-toolkit/issues/1342",
    status: 400,
    body: { error: "invalid_grant" },
    meaning: "GrantDead"
  },
  {
    provider: "better-auth, before it said invalid_grant",
    source: "https://github.com/better-auth/better-auth/issues/8099",
    status: 400,
    body: { error_description: "session not found", error: "invalid_request" },
    meaning: "GrantDead"
  },
  {
    provider: "DeviantArt",
    source: "https://github.com/wix-incubator/DeviantArt-API/issues/58",
    status: 400,
    body: { error: "invalid_request", error_description: "The refresh_token is invalid.", status: "error" },
    meaning: "GrantDead"
  }
]

interface Pending {
  readonly provider: string
  readonly source: string
  readonly status: number
  readonly body: object
}

// The answer to a device whose code nobody has entered yet.
const pending: ReadonlyArray<Pending> = [
  {
    provider: "Google",
    source: "https://github.com/anxdpanic/plugin.video.youtube/issues/696",
    status: 428,
    body: { error: "authorization_pending", error_description: "Precondition Required" }
  },
  {
    provider: "Microsoft Entra",
    source: "https://github.com/secureworks/squarephish/issues/3",
    status: 400,
    body: {
      error: "authorization_pending",
      error_description: "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending. Continue polling.\r\n" +
        "Trace ID: 342171d0-0d5b-42f7-8510-f64a57752400\r\nCorrelation ID: 2d132a74-e79d-43f6-a068-1f02e2c3fd19\r\n" +
        "Timestamp: 2023-01-05 20:36:23Z",
      error_codes: [70_016],
      timestamp: "2023-01-05 20:36:23Z",
      trace_id: "342171d0-0d5b-42f7-8510-f64a57752400",
      correlation_id: "2d132a74-e79d-43f6-a068-1f02e2c3fd19",
      error_uri: "https://login.microsoftonline.com/error?code=70016"
    }
  },
  {
    provider: "Okta",
    source: "https://github.com/okta/okta-developer-docs/pull/2397",
    status: 400,
    body: {
      error: "authorization_pending",
      error_description: "The device authorization is pending. Please try again later."
    }
  },
  {
    provider: "Auth0",
    source: "https://auth0-feat-authentication-api-migration.auth0-mintlify.app/docs/api/authentication/" +
      "device-authorization-flow/authorize-device",
    status: 403,
    body: { error: "authorization_pending", error_description: "User has yet to authorize device code." }
  },
  {
    provider: "Keycloak",
    source:
      "https://github.com/keycloak/keycloak/blob/02523d19ea6d64a0860f4abb4598b7b1c8033d79/services/src/main/java/" +
      "org/keycloak/protocol/oidc/grants/device/DeviceGrantType.java",
    status: 400,
    body: { error: "authorization_pending", error_description: "The authorization request is still pending" }
  },
  {
    provider: "GitHub",
    source: "https://github.com/ramosbugs/oauth2-rs/issues/218",
    status: 200,
    body: {
      error: "authorization_pending",
      error_description: "The authorization request is still pending.",
      error_uri: "https://docs.github.com/developers/apps/authorizing-oauth-apps#error-codes-for-the-device-flow"
    }
  },
  {
    provider: "Hydra",
    source: "https://github.com/ory/hydra/blob/4f36712834a249c1ba96809d4a8e73873aa3e783/fosite/errors.go",
    status: 400,
    body: {
      error: "authorization_pending",
      error_description: "The authorization request is still pending as the end user hasn't yet completed the " +
        "user-interaction steps."
    }
  },
  {
    provider: "Twitch",
    source: "https://github.com/twitchdev/issues/issues/975",
    status: 400,
    body: { status: 400, message: "authorization_pending" }
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
  for (const { meaning, provider, source, ...reply } of known) {
    it.live(`${provider}: ${meaning}`, () =>
      Effect.gen(function*() {
        const { asked, message, reason } = yield* renewed(reply)
        assert.strictEqual(reason._tag, meaning, source)
        const wait = reply.headers?.["retry-after"]
        assert.deepStrictEqual(
          reason._tag === "Unavailable" ? reason.retryAfter : undefined,
          wait === undefined ? undefined : Duration.seconds(Number(wait))
        )
        assert.lengthOf(asked.filter(({ path }) => path === "/token"), 1)
        assert.notMatch(message, /trace|correlation|timestamp|rt-0/i)
      }))
  }

  it.live("401 that asks for Basic is about the client, and ends no session", () =>
    Effect.gen(function*() {
      for (const challenge of ["Basic realm=\"idp\"", "Bearer, Basic", "basic"]) {
        const { reason } = yield* renewed({ status: 401, headers: { "www-authenticate": challenge } })
        assert.strictEqual(reason._tag === "Misconfigured" ? reason.refused : reason._tag, "client", challenge)
      }
      assert.strictEqual((yield* renewed({ status: 401 })).reason._tag, "Unavailable")
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
        { code: "refresh_token_not_found", message: "Not found" },
        { Error: "invalid_grant", ErrorDescription: "revoked" },
        { ERROR: "INVALID_GRANT" },
        { "error-code": "invalid_grant" },
        { errorMessage: "invalid_grant" },
        { Fault: { FaultString: "Invalid refresh token" } },
        { Message: "The refresh token is expired" },
        { error_description: "Refresh token has been revoked" }
      ]
      for (const body of bodies) {
        const { reason } = yield* renewed({ status: 400, body })
        assert.strictEqual(reason._tag, "GrantDead", JSON.stringify(body))
        assert.notInclude(reason.message, "with JSON")
      }
    }))

  it.live("words without a code say nothing of the grant in an outage", () =>
    Effect.gen(function*() {
      for (const status of [408, 425, 429, 500, 502, 503]) {
        for (const message of ["The refresh token is expired", "Refresh token has been revoked"]) {
          const { reason } = yield* renewed({ status, body: { message } })
          assert.strictEqual(reason._tag, "Unavailable", `${status}: ${message}`)
        }
      }
    }))

  it.live("without a body is what its challenge says, where that is about the grant or the client", () =>
    Effect.gen(function*() {
      const told = (challenge: string, status = 401) => renewed({ status, headers: { "www-authenticate": challenge } })
      const dead = yield* told("Bearer error=\"invalid_grant\", error_description=\"it was revoked\"", 400)
      assert.strictEqual(dead.reason._tag, "GrantDead")
      assert.include(dead.message, "invalid_grant: it was revoked")
      const client = yield* told("Bearer realm=\"idp\", error=\"invalid_client\"")
      assert.strictEqual(client.reason._tag, "Misconfigured")
      // A gateway that misses a token of its own.
      assert.strictEqual((yield* told("Bearer error=\"invalid_token\"")).reason._tag, "Unavailable")
    }))
})

it("the table of the guide names every source", () => {
  const guide = readFileSync(new URL("../../../../docs/providers.md", import.meta.url), "utf8")
  for (const { provider, source } of [...known, ...pending]) assert.include(guide, source, provider)
})

describe("a device login", () => {
  for (const { provider, source, ...reply } of pending) {
    it.live(`of ${provider} waits on while the person has not entered the code`, () =>
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
              ++polls < 3 ? reply : { body: { access_token: "at-1", token_type: "bearer", expires_in: 60 } }
          }
        })
        yield* Effect.gen(function*() {
          const device = yield* DeviceLogin.DeviceLogin
          yield* (yield* device.begin()).poll
          assert.strictEqual(polls, 3, source)
        }).pipe(Effect.provide(Layer.provide(
          OidcIam.layer({ issuer: server.issuer, clientId: "cli", scopes: ["read"] }),
          FetchHttpClient.layer
        )))
      }))
  }

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
