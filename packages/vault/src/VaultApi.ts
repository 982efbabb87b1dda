/**
 * What a vault is asked over HTTP: the contract, for its server (`VaultServer`), for a typed client and as an OpenAPI
 * document. Programs take tokens with `VaultClient`; anything that sends JSON can.
 *
 * @since 0.1.0
 */
import * as BearerAuth from "@effect-authn/core/BearerAuth"
import type * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as Selection from "@effect-authn/core/session/Selection"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import type { Right, ServiceToken } from "@effect-authn/core/storage/ServiceTokens"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import type * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/**
 * The request is not as the contract has it: 400. The description says what to change.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidRequest extends Schema.Error<InvalidRequest>("@effect-authn/vault/VaultApi/InvalidRequest")({
  error: Schema.Literal("invalid_request"),
  error_description: Schema.String
}, { httpApiStatus: 400 }) {
  override get message(): string {
    return this.error_description
  }
}

/**
 * There is no such session (`no_session`), or no such IAM in the vault's table (`provider_unknown`): 404.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends Schema.Error<NotFound>("@effect-authn/vault/VaultApi/NotFound")({
  error: Schema.Literals(["no_session", "provider_unknown"]),
  error_description: Schema.String
}, { httpApiStatus: 404 }) {
  override get message(): string {
    return this.error_description
  }
}

/**
 * The session ended, and only a new login can bring it back: 409.
 *
 * @category errors
 * @since 0.1.0
 */
export class Ended extends Schema.Error<Ended>("@effect-authn/vault/VaultApi/Ended")({
  error: Schema.Literal("reauthentication_required"),
  error_description: Schema.String
}, { httpApiStatus: 409 }) {
  override get message(): string {
    return this.error_description
  }
}

/**
 * The IAM gives no token for that selection: 422. The session is as it was.
 *
 * @category errors
 * @since 0.1.0
 */
export class SelectionRefused extends Schema.Error<SelectionRefused>("@effect-authn/vault/VaultApi/SelectionRefused")({
  error: Schema.Literal("selection_refused"),
  error_description: Schema.String
}, { httpApiStatus: 422 }) {
  override get message(): string {
    return this.error_description
  }
}

/**
 * The IAM answered something that no vault can work with, or refuses the vault's client: 502. Trying again changes nothing
 * before somebody has changed what the description names.
 *
 * @category errors
 * @since 0.1.0
 */
export class IamFailed extends Schema.Error<IamFailed>("@effect-authn/vault/VaultApi/IamFailed")({
  error: Schema.Literal("iam_failed"),
  error_description: Schema.String
}, { httpApiStatus: 502 }) {
  override get message(): string {
    return this.error_description
  }
}

/**
 * The IAM, the store or the lock of the session is not available at the moment: 503, with `Retry-After` in seconds, which is
 * also `retry_after`.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.Error<Unavailable>("@effect-authn/vault/VaultApi/Unavailable")({
  error: Schema.Literal("unavailable"),
  error_description: Schema.String,
  retry_after: Schema.Natural
}) {
  override get message(): string {
    return this.error_description
  }
}

const unavailable = Unavailable.pipe(HttpApiSchema.encodeToWithHeaders({
  body: Schema.Struct(Unavailable.fields).pipe(HttpApiSchema.status(503)),
  headers: { "retry-after": Schema.optionalKey(Schema.String) }
}, {
  decode: ({ body }) => new Unavailable(body),
  encode: (error) => ({ body: error, headers: { "retry-after": `${error.retry_after}` } })
}))

const refusalOf = { error: Schema.String, error_description: Schema.String }

// The errors of bearer tokens, in the same words as the others (RFC 6750, section 3).
const unauthorized = BearerAuth.Unauthorized.pipe(HttpApiSchema.encodeToWithHeaders({
  body: Schema.Struct(refusalOf).pipe(HttpApiSchema.status(401)),
  headers: { "www-authenticate": Schema.optionalKey(Schema.String) }
}, {
  decode: ({ body }) => new BearerAuth.Unauthorized({ description: body.error_description }),
  encode: (error) => ({
    body: { error: "invalid_token", error_description: error.message },
    headers: { "www-authenticate": BearerAuth.challenge(error) }
  })
}))

const forbidden = BearerAuth.InsufficientScope.pipe(HttpApiSchema.encodeToWithHeaders({
  body: Schema.Struct(refusalOf).pipe(HttpApiSchema.status(403)),
  headers: { "www-authenticate": Schema.optionalKey(Schema.String) }
}, {
  decode: ({ body }) => new BearerAuth.InsufficientScope({ description: body.error_description }),
  encode: (error) => ({
    body: { error: "insufficient_scope", error_description: error.message },
    headers: { "www-authenticate": BearerAuth.challenge(error) }
  })
}))

// A store that is away knows of no service token, as a server without keys of no JWT.
const unknowable = BearerAuth.KeysUnavailable.pipe(HttpApiSchema.encodeToWithHeaders({
  body: Schema.Struct(refusalOf).pipe(HttpApiSchema.status(503)),
  headers: { "retry-after": Schema.optionalKey(Schema.String) }
}, {
  decode: () => new BearerAuth.KeysUnavailable({}),
  encode: (error) => ({
    body: { error: "unavailable", error_description: error.message },
    headers: { "retry-after": `${error.retryAfter ?? 1}` }
  })
}))

/**
 * Who calls: a service, by a token of the vault's, or a program or person, by a JWT that the program's own rule lets pass.
 *
 * @category models
 * @since 0.1.0
 */
export type Identity =
  | { readonly _tag: "Service"; readonly token: ServiceToken }
  | { readonly _tag: "Bearer"; readonly bearer: BearerAuth.Caller<JwtCodec.Claims> }

/**
 * What a caller without a service token wants to do, for the program's rule: with the right `token` it wants a token of
 * `key`'s session. A list asks without a key first, whether the caller may list at all, then for each session that it would
 * show; metrics and the details of `GET /health` have no key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ask {
  readonly caller: BearerAuth.Caller<JwtCodec.Claims>
  readonly right: Right
  readonly key: Option.Option<SessionKey>
}

/**
 * Who calls the handler.
 *
 * @category services
 * @since 0.1.0
 */
export class Caller extends Context.Service<Caller, Identity>()("@effect-authn/vault/VaultApi/Caller") {}

/**
 * Lets only callers pass who are known, and gives the handlers a `Caller`.
 *
 * @category services
 * @since 0.1.0
 */
export class VaultAuth extends HttpApiMiddleware.Service<VaultAuth, { provides: Caller }>()(
  "@effect-authn/vault/VaultApi/VaultAuth",
  { security: BearerAuth.security, error: [unauthorized, forbidden, unknowable] }
) {}

/**
 * Answers a request that cannot be read with what is wrong with it.
 *
 * @category services
 * @since 0.1.0
 */
export class Readable extends HttpApiMiddleware.Service<Readable>()("@effect-authn/vault/VaultApi/Readable", {
  error: InvalidRequest
}) {}

// Half a character could be put in by JSON, and be named by no address.
const Name = Schema.NonEmptyString.check(
  Schema.isMaxLength(2048),
  Schema.makeFilter((name: string) => name.isWellFormed() || "a text of whole characters")
)

/**
 * Which session: the issuer's exact name, the client that the session is of, and the account.
 *
 * @category models
 * @since 0.1.0
 */
export const key = { issuer: Name, client: Name, account: Name }

const selection = Schema.optionalKey(Schema.Struct(Selection.Selection.fields))

/**
 * What `POST /token` is asked: which session, for which organization, project, resource or scope; the session's own unless
 * told. `refused` is the SHA-256 of an access token that an API refused, in base64url, as the `ath` of RFC 9449: the answer is
 * then another one, renewed once however many ask.
 *
 * @category models
 * @since 0.1.0
 */
export const TokenRequest = Schema.Struct({
  ...key,
  selection,
  refused: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w-]{43}$/)))
})

/**
 * A token that is valid now. `expires_in` is what is left of it in seconds, and `expires_at` its end by the vault's clock;
 * both are absent for one that is good until it is refused.
 *
 * @category models
 * @since 0.1.0
 */
export const TokenAnswer = Schema.Struct({
  access_token: Schema.RedactedFromValue(Schema.String),
  token_type: Schema.String,
  expires_in: Schema.OptionFromOptionalKey(Schema.Natural),
  expires_at: Schema.OptionFromOptionalKey(Schema.DateTimeUtcFromString),
  scope: Schema.OptionFromOptionalKey(Schema.String)
})

/**
 * A session to keep: which one, and what the IAM answered (RFC 6749, section 5.1), member by member. `refresh_expires_in` (or
 * `refresh_token_expires_in`) is the life of the refresh token in seconds.
 *
 * @category models
 * @since 0.1.0
 */
export const SessionRequest = Schema.Struct({
  ...key,
  selection,
  access_token: Schema.RedactedFromValue(Schema.String),
  token_type: Schema.optionalKey(Schema.String),
  expires_in: Schema.optionalKey(Schema.Union([Schema.Finite, Schema.String])),
  refresh_token: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)),
  refresh_expires_in: Schema.optionalKey(Schema.Union([Schema.Finite, Schema.String])),
  refresh_token_expires_in: Schema.optionalKey(Schema.Union([Schema.Finite, Schema.String])),
  id_token: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)),
  scope: Schema.optionalKey(Schema.String)
})

/**
 * A stored session, without a secret. What the members mean says `Vault.Summary`.
 *
 * @category models
 * @since 0.1.0
 */
export const SessionSummary = Schema.Struct({
  ...key,
  state: Schema.Literals(["alive", "renewing", "ended", "unreadable"]),
  detail: Schema.OptionFromOptionalKey(Schema.String),
  expires_at: Schema.OptionFromOptionalKey(Schema.DateTimeUtcFromString),
  renewed_at: Schema.OptionFromOptionalKey(Schema.DateTimeUtcFromString)
})

/**
 * Which sessions `GET /sessions` lists: those of an `issuer`, a `client`, whose account begins with `accounts`, in a `state`;
 * all of them unless told. `limit` (100 unless told, 500 at most) bounds a page, and `after` is the `next` of the page before.
 *
 * @category models
 * @since 0.1.0
 */
export const ListQuery = {
  issuer: Schema.optionalKey(Schema.String),
  client: Schema.optionalKey(Schema.String),
  accounts: Schema.optionalKey(Schema.String),
  state: Schema.optionalKey(SessionSummary.fields.state),
  after: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))),
  limit: Schema.optionalKey(
    Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 500 }))
  )
}

/**
 * How the vault is, for a caller with the right `sessions:read`. What the members mean says `Vault.Health`.
 *
 * @category models
 * @since 0.1.0
 */
export const Health = Schema.Struct({
  status: Schema.Literal("ok"),
  open: Schema.Natural,
  due: Schema.Natural,
  oldest_due: Schema.OptionFromOptionalKey(Schema.DateTimeUtcFromString)
})

const token = HttpApiEndpoint.post("token", "/token", {
  payload: TokenRequest,
  success: TokenAnswer,
  error: [NotFound, Ended, SelectionRefused, IamFailed, unavailable]
}).annotate(OpenApi.Description, "Gives an access token that is valid now. Right: token.")
  // a member that is misspelled would be a token for something else
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error" })

const put = HttpApiEndpoint.put("put", "/sessions", {
  payload: SessionRequest,
  success: SessionSummary,
  error: [InvalidRequest, NotFound, unavailable]
}).annotate(
  OpenApi.Description,
  "Keeps a session, in the place of the one of that key, which is not revoked. Right: sessions:write."
)

const remove = HttpApiEndpoint.delete("remove", "/sessions", {
  query: key,
  success: Schema.Struct({ revoked: Schema.Boolean, reason: Schema.OptionFromOptionalKey(Schema.String) }),
  error: [NotFound, unavailable]
}).annotate(
  OpenApi.Description,
  "Forgets a session, revokes it at its IAM, and tells whether that was done or why not. Right: sessions:write."
)

const list = HttpApiEndpoint.get("list", "/sessions", {
  query: ListQuery,
  success: Schema.Struct({ sessions: Schema.Array(SessionSummary), next: Schema.OptionFromOptionalKey(Schema.String) }),
  error: unavailable
}).annotate(
  OpenApi.Description,
  "Lists sessions without their secrets, a page at a time; a page may be short, and not the last while it has `next`. Right: sessions:read."
)
  // and a filter, a list of something else
  .annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error" })

const metrics = HttpApiEndpoint.get("metrics", "/metrics", {
  success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/plain; version=0.0.4; charset=utf-8" }))
}).annotate(
  OpenApi.Description,
  "Tells the metrics of this process as Prometheus reads them: issuers are named, accounts are not. Right: sessions:read."
)

const health = HttpApiEndpoint.get("health", "/health", {
  success: [Schema.Literal("ok").pipe(HttpApiSchema.asText()), Health],
  error: Schema.Literal("unavailable").pipe(HttpApiSchema.asText(), HttpApiSchema.status(503))
}).annotate(
  OpenApi.Description,
  "Tells in one word whether the vault serves: \"ok\", or \"unavailable\" with 503. A caller with the right sessions:read is told more."
)

/**
 * The contract.
 *
 * **Example** (Its OpenAPI document)
 *
 * ```ts import.meta.vitest
 * import { VaultApi } from "@effect-authn/vault"
 * import { OpenApi } from "effect/http-api"
 *
 * Object.keys(OpenApi.fromApi(VaultApi.VaultApi).paths) // => ["/token", "/sessions", "/metrics", "/health"]
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class VaultApi extends HttpApi.make("vault")
  .add(
    HttpApiGroup.make("sessions", { topLevel: true }).add(token, put, remove, list, metrics)
      .middleware(VaultAuth).middleware(Readable)
  )
  .add(HttpApiGroup.make("state", { topLevel: true }).add(health))
  .annotate(OpenApi.Title, "effect-authn vault")
  .annotate(OpenApi.Version, "1")
{}

/**
 * The SHA-256 of an access token in base64url, without padding: what `refused` takes.
 *
 * @category accessors
 * @since 0.1.0
 */
export const digestOf = (accessToken: Redacted.Redacted): Effect.Effect<string, never, Digest.Digest> =>
  Effect.flatMap(
    Digest.Digest,
    (digest) =>
      Effect.map(digest.digest(Digest.sha256, new TextEncoder().encode(Redacted.value(accessToken))), Base64Url.encode)
  )
