/**
 * The exact contract of the Datalayer-style IAM, for a server: what its clients, in several languages, insist on. Our own
 * client is tolerant, and does not use it.
 *
 * The routes of `Protected` want a bearer token. How that is verified is the server's business: it adds its middleware
 * to the group.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"

const failure = {
  success: Schema.Literal(false).pipe(Schema.withConstructorDefault(Effect.succeed(false as const))),
  message: Schema.String,
  errors: Schema.Array(Schema.String).pipe(Schema.withConstructorDefault(Effect.succeed([])))
}

/**
 * 400: the request is not one of this contract; `errors` has what is wrong with it.
 *
 * @category errors
 * @since 0.1.0
 */
export class BadRequest extends Schema.Error<BadRequest>("@effect-authn/iam-datalayer/DatalayerApi/BadRequest")(
  failure,
  { httpApiStatus: 400 }
) {}

/**
 * 401: wrong credentials, or a token that is missing, unknown, expired or logged out.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends Schema.Error<Unauthorized>("@effect-authn/iam-datalayer/DatalayerApi/Unauthorized")(
  failure,
  { httpApiStatus: 401 }
) {}

/**
 * 404: there is no such thing.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends Schema.Error<NotFound>("@effect-authn/iam-datalayer/DatalayerApi/NotFound")(
  failure,
  { httpApiStatus: 404 }
) {}

/**
 * A user, with the suffixed names of the wire (`_s` string, `_t` text, `_ss` strings, `_ts_dt` time stamp, `_b` boolean,
 * `_i` integer).
 *
 * @category models
 * @since 0.1.0
 */
export const Profile = Schema.Struct({
  id: Schema.String,
  uid: Schema.String,
  handle_s: Schema.String,
  email_s: Schema.String,
  first_name_t: Schema.String,
  last_name_t: Schema.String,
  avatar_url_s: Schema.String,
  avatar_icon_s: Schema.String,
  banner_s: Schema.String,
  roles_ss: Schema.Array(Schema.String),
  type_s: Schema.String,
  origin_s: Schema.String,
  creation_ts_dt: Schema.String,
  last_update_ts_dt: Schema.String,
  join_request_ts_dt: Schema.NullOr(Schema.String),
  join_ts_dt: Schema.String,
  credits_i: Schema.Int,
  customer_uid: Schema.String,
  stripe_customer_id_s: Schema.String,
  linked_contact_uid: Schema.String,
  subscription: Schema.Json,
  events: Schema.Array(Schema.Json),
  settings: Schema.Struct({ aiagents_url_s: Schema.String, can_invite_b: Schema.Boolean }),
  unsubscribed_from_outbounds_b: Schema.Boolean,
  mfa_url_s: Schema.String,
  mfa_secret_s: Schema.String,
  onboarding_s: Schema.String,
  email_token_s: Schema.String,
  email_update_s: Schema.String,
  new_password_request_ts_dt: Schema.String,
  new_password_confirm_ts_dt: Schema.String,
  iam_providers: Schema.Array(Schema.Struct({
    iam_provider_name_s: Schema.String,
    linked_account_id_s: Schema.String,
    linked_account_url_s: Schema.String
  }))
})

/**
 * The type of the schema `Profile`.
 *
 * @category models
 * @since 0.1.0
 */
export type Profile = typeof Profile.Type

/**
 * An organization or a team that a user belongs to.
 *
 * @category models
 * @since 0.1.0
 */
export const Membership = Schema.Struct({
  type: Schema.Literals(["organization", "team"]),
  id: Schema.String,
  uid: Schema.String,
  handle: Schema.String,
  name: Schema.String,
  description: Schema.String,
  organization_uid: Schema.String,
  public: Schema.Boolean,
  members: Schema.Int,
  roles_ss: Schema.Array(Schema.String)
})

/**
 * What a login sends: a handle (or an e-mail address) and a password, or a token to exchange, never both.
 *
 * @category models
 * @since 0.1.0
 */
export const LoginPayload = Schema.Union([
  Schema.Struct({
    handle: Schema.NonEmptyString,
    password: Schema.RedactedFromValue(Schema.NonEmptyString, { label: "password" }),
    token: Schema.optionalKey(Schema.Never)
  }),
  Schema.Struct({
    token: Schema.RedactedFromValue(Schema.NonEmptyString, { label: "access_token" }),
    handle: Schema.optionalKey(Schema.Never),
    password: Schema.optionalKey(Schema.Never)
  })
])

const answer = { success: Schema.Literal(true), message: Schema.String }

const Done = Schema.Struct(answer)

const token = Schema.RedactedFromValue(Schema.String, { label: "access_token" })

const LoginAnswer = Schema.Struct({
  ...answer,
  user: Profile,
  token,
  provided_token: Schema.optionalKey(token),
  provided_token_issuer: Schema.optionalKey(Schema.String),
  is_provided_token_external: Schema.optionalKey(Schema.Boolean)
}).pipe(HttpApiSchema.status(201))

const login = { payload: LoginPayload, success: LoginAnswer, error: [BadRequest, Unauthorized] } as const

const logout = { success: Done, error: Unauthorized } as const

/**
 * The routes that ask for no token. Both paths to log in are in use by clients.
 *
 * @category contracts
 * @since 0.1.0
 */
export const Public = HttpApiGroup.make("public").add(
  HttpApiEndpoint.post("login", "/login", login),
  HttpApiEndpoint.post("authenticationLogin", "/authentication/login", login),
  HttpApiEndpoint.get("ping", "/ping", {
    success: Schema.Struct({ ...answer, status: Schema.Literal("OK"), version: Schema.String })
  }),
  HttpApiEndpoint.get("authorizationUrl", "/oauth2/authz/url", {
    query: {
      provider: Schema.NonEmptyString,
      callback_uri: Schema.NonEmptyString,
      nonce: Schema.optionalKey(Schema.String),
      post_auth_redirect: Schema.optionalKey(Schema.String)
    },
    // Clients read the one or the other; the second is spelt like this by all of them.
    success: Schema.Struct({ ...answer, loginURL: Schema.String, autorization_url: Schema.String }),
    error: [BadRequest, NotFound]
  })
).prefix("/api/iam/v1")

/**
 * The routes that ask for a bearer token. Both paths to log out are in use by clients.
 *
 * @category contracts
 * @since 0.1.0
 */
export const Protected = HttpApiGroup.make("protected").add(
  HttpApiEndpoint.get("logout", "/logout", logout),
  HttpApiEndpoint.get("authenticationLogout", "/authentication/logout", logout),
  HttpApiEndpoint.get("whoami", "/whoami", {
    success: Schema.Struct({ ...answer, profile: Profile }),
    error: Unauthorized
  }),
  HttpApiEndpoint.get("me", "/me", { success: Schema.Struct({ ...answer, me: Profile }), error: Unauthorized }),
  HttpApiEndpoint.get("auth", "/auth", { success: Done, error: Unauthorized }),
  HttpApiEndpoint.get("memberships", "/memberships", {
    success: Schema.Struct({ ...answer, memberships: Schema.Array(Membership) }),
    error: Unauthorized
  })
).prefix("/api/iam/v1")

/**
 * A long-lived token that a user made, as it is listed: only the answer to its creation holds the token itself.
 *
 * @category models
 * @since 0.1.0
 */
export const ApiToken = Schema.Struct({
  id: Schema.String,
  uid: Schema.String,
  variant_s: Schema.String,
  name_s: Schema.String,
  description_t: Schema.String,
  expiration_ts_dt: Schema.optionalKey(Schema.String)
})

/**
 * The type of the schema `ApiToken`.
 *
 * @category models
 * @since 0.1.0
 */
export type ApiToken = typeof ApiToken.Type

/**
 * What the creation of a token sends. One client names the end in epoch seconds (`expiration_date`, 0 for none), another
 * in epoch milliseconds (`expirationDate`).
 *
 * @category models
 * @since 0.1.0
 */
export const ApiTokenPayload = Schema.Struct({
  name: Schema.NonEmptyString,
  description: Schema.optionalKey(Schema.String),
  variant: Schema.optionalKey(Schema.String),
  expiration_date: Schema.optionalKey(Schema.Finite),
  expirationDate: Schema.optionalKey(Schema.Finite)
})

const oneApiToken = { ...answer, token: ApiToken }

const apiTokens = <const Name extends string, const Path extends `/${string}`>(name: Name, path: Path) =>
  HttpApiGroup.make(name).add(
    HttpApiEndpoint.get("list", path, {
      success: Schema.Struct({ ...answer, tokens: Schema.Array(ApiToken) }),
      error: Unauthorized
    }),
    HttpApiEndpoint.post("create", path, {
      payload: ApiTokenPayload,
      success: Schema.Struct({
        ...answer,
        token: Schema.Struct({ ...ApiToken.fields, value_s: token }),
        access_token: token
      }).pipe(HttpApiSchema.status(201)),
      error: [BadRequest, Unauthorized]
    }),
    HttpApiEndpoint.get("get", `${path}/:uid`, {
      params: { uid: Schema.String },
      success: Schema.Struct(oneApiToken),
      error: [Unauthorized, NotFound]
    }),
    HttpApiEndpoint.put("update", `${path}/:uid`, {
      params: { uid: Schema.String },
      payload: Schema.Struct({
        name_s: Schema.optionalKey(Schema.NonEmptyString),
        description_t: Schema.optionalKey(Schema.String)
      }),
      success: Schema.Struct(oneApiToken),
      error: [BadRequest, Unauthorized, NotFound]
    }),
    HttpApiEndpoint.delete("remove", `${path}/:uid`, {
      params: { uid: Schema.String },
      success: Done,
      error: [Unauthorized, NotFound]
    })
  ).prefix("/api/iam/v1")

/**
 * The tokens that a user made; they ask for a bearer token.
 *
 * @category contracts
 * @since 0.1.0
 */
export const Tokens = apiTokens("tokens", "/tokens")

/**
 * The same under the path that newer clients use.
 *
 * @category contracts
 * @since 0.1.0
 */
export const ApiKeys = apiTokens("apiKeys", "/api-keys")

/**
 * The Datalayer-style IAM under its base path `/api/iam/v1`.
 *
 * @category contracts
 * @since 0.1.0
 */
export const DatalayerApi = HttpApi.make("datalayer").add(Public, Protected, Tokens, ApiKeys)
