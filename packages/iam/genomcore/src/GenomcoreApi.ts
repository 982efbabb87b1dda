/**
 * The exact contract of the Genomcore-style IAM, for a server. Our own client is tolerant, and does not use it.
 *
 * What is not publicly known of this protocol is our choice, under the default paths of the dialect. The route of
 * `Protected` wants a bearer token. How that is verified is the server's business: it adds its middleware to the group.
 *
 * @since 0.1.0
 */
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"

const failure = <const Status extends number>(statusCode: Status) => ({
  message: Schema.String,
  statusCode: Schema.Literal(statusCode),
  details: Schema.Array(Schema.String)
})

/**
 * 400: the request is not one of this contract; `details` has what is wrong with it.
 *
 * @category errors
 * @since 0.1.0
 */
export class BadRequest extends Schema.Error<BadRequest>("@effect-authn/iam-genomcore/GenomcoreApi/BadRequest")(
  failure(400),
  { httpApiStatus: 400 }
) {}

/**
 * 401: a wrong password, a refresh token that is unknown or spent, or a bearer token that is missing, unknown or expired.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends Schema.Error<Unauthorized>("@effect-authn/iam-genomcore/GenomcoreApi/Unauthorized")(
  failure(401),
  { httpApiStatus: 401 }
) {}

/**
 * 403: the user may not log in to this organization or project.
 *
 * @category errors
 * @since 0.1.0
 */
export class Forbidden extends Schema.Error<Forbidden>("@effect-authn/iam-genomcore/GenomcoreApi/Forbidden")(
  failure(403),
  { httpApiStatus: 403 }
) {}

/**
 * 404: at login an unknown user, at a refresh an unknown project.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends Schema.Error<NotFound>("@effect-authn/iam-genomcore/GenomcoreApi/NotFound")(
  failure(404),
  { httpApiStatus: 404 }
) {}

/**
 * What a login sends. Without a project the user's default one is meant.
 *
 * @category models
 * @since 0.1.0
 */
export const LoginPayload = Schema.Struct({
  username: Schema.NonEmptyString,
  password: Schema.RedactedFromValue(Schema.NonEmptyString, { label: "password" }),
  organization: Schema.NonEmptyString,
  project: Schema.optionalKey(Schema.NonEmptyString)
})

const token = Schema.RedactedFromValue(Schema.NonEmptyString, { label: "access_token" })
const refreshToken = Schema.RedactedFromValue(Schema.NonEmptyString, { label: "refresh_token" })

/**
 * What a refresh sends: the access token too, which may be expired.
 *
 * @category models
 * @since 0.1.0
 */
export const RefreshPayload = Schema.Struct({ token, refreshToken, project: Schema.optionalKey(Schema.NonEmptyString) })

/**
 * What a login and a refresh answer. A refresh may leave out the refresh token: then the old one stays.
 *
 * @category models
 * @since 0.1.0
 */
export const Pair = Schema.Struct({
  token,
  refreshToken: Schema.optionalKey(refreshToken),
  user: Schema.Struct({
    id: Schema.Int,
    email: Schema.String,
    platformId: Schema.Int,
    organizationId: Schema.Int
  })
})

/**
 * The routes that ask for no bearer token.
 *
 * @category contracts
 * @since 0.1.0
 */
export const Public = HttpApiGroup.make("public").add(
  HttpApiEndpoint.post("login", "/api/v1/auth/login", {
    payload: LoginPayload,
    success: Pair.pipe(HttpApiSchema.status(201)),
    error: [BadRequest, Unauthorized, Forbidden, NotFound]
  }),
  HttpApiEndpoint.post("refresh", "/api/v1/auth/refresh-token", {
    payload: RefreshPayload,
    success: Pair.pipe(HttpApiSchema.status(201)),
    error: [BadRequest, Unauthorized, Forbidden, NotFound]
  })
)

/**
 * A stand-in for any API behind this IAM: it answers with the `Authorization` header that it got.
 *
 * @category contracts
 * @since 0.1.0
 */
export const Protected = HttpApiGroup.make("protected").add(
  HttpApiEndpoint.get("echo", "/whoami", {
    success: Schema.Struct({
      authorization: Schema.RedactedFromValue(Schema.String, { label: "authorization" })
    }),
    error: Unauthorized
  })
)

/**
 * The Genomcore-style IAM.
 *
 * @category contracts
 * @since 0.1.0
 */
export const GenomcoreApi = HttpApi.make("genomcore").add(Public, Protected)
