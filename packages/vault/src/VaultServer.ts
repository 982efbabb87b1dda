/**
 * Serves a vault over HTTP: who may ask for whose token, what they get, and a note of it.
 *
 * @since 0.1.0
 */
import * as BearerAuth from "@effect-authn/core/BearerAuth"
import { Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as ServiceTokens from "@effect-authn/core/storage/ServiceTokens"
import * as ByteSize from "effect/ByteSize"
import * as Digest from "effect/crypto/Digest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { FileSystem } from "effect/FileSystem"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as OpenApi from "effect/http-api/OpenApi"
import type * as Etag from "effect/http/Etag"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import type { HttpPlatform } from "effect/http/HttpPlatform"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Option from "effect/Option"
import type { Path } from "effect/Path"
import * as Answers from "./internal/answers.ts"
import * as Callers from "./internal/callers.ts"
import * as Patience from "./internal/patience.ts"
import * as PutIn from "./internal/putIn.ts"
import * as Vault from "./Vault.ts"
import * as Api from "./VaultApi.ts"

/**
 * Somebody was given a token: who, of which session, for which selection, and whether it replaces a refused one. It never
 * has the token.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandedOut {
  readonly at: DateTime.Utc
  /** `service NAME` for a service token, `bearer SUBJECT` for a JWT. */
  readonly caller: string
  readonly key: SessionKey
  readonly selection: Selection.Selection
  readonly isReplacement: boolean
}

/**
 * Who is served.
 *
 * - `bearer`: which tokens are taken besides service tokens, JWTs or what the program's `verifier` takes, and `allow`, its rule
 *   of who may do what. Without it nobody passes but service tokens, each within its rights.
 * - `audit`: what happens with the note of each token that was handed out. It comes before the answer. Default: a line of the
 *   log, at `Info`.
 * - `patience`: how long a caller waits before `Retry-After`; what was begun goes on behind it. Default: 8 seconds.
 * - `openapiPath`: where the OpenAPI document is, for every known caller. Default: nowhere.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R = never> {
  readonly bearer?:
    | ((BearerAuth.JwtOptions | { readonly verifier: BearerAuth.TokenVerifier }) & {
      readonly allow: (ask: Api.Ask) => Effect.Effect<boolean, never, R>
    })
    | undefined
  readonly audit?: ((event: HandedOut) => Effect.Effect<void, never, R>) | undefined
  readonly patience?: Duration.Input | undefined
  readonly openapiPath?: `/${string}` | undefined
}

// Three tokens of the largest kind that are known fit into it.
const mostBytes = ByteSize.kibibytes(256)

/** The log of who was given which token. */
const log = ({ caller, isReplacement, key, selection }: HandedOut) =>
  Effect.annotateLogs(Effect.logInfo("a token was handed out"), {
    caller,
    issuer: key.issuer,
    client: key.clientId,
    account: key.account,
    selection: Selection.id(selection),
    replacement: isReplacement
  })

const summaryOf = (summary: Vault.Summary): typeof Api.SessionSummary.Type => ({
  issuer: summary.key.issuer,
  client: summary.key.clientId,
  account: summary.key.account,
  state: summary.state,
  detail: summary.detail,
  expires_at: summary.expiresAt,
  renewed_at: summary.renewedAt
})

// How many sessions are looked at for one page of a list that is filtered.
const mostLooks = 1_000

const make = <R>(options: Options<R>) =>
  Effect.gen(function*() {
    const vault = yield* Vault.Vault
    const { bearer } = options
    const digest = yield* Digest.Digest
    const services = yield* Effect.context<R>()
    const patience = Duration.fromInputUnsafe(options.patience ?? "8 seconds")
    const within = Patience.within(patience)
    const audit = (event: HandedOut) => Effect.provideContext((options.audit ?? log)(event), services)
    const { authorized, callerOf, mayDo, verifier } = Callers.make({
      serviceTokens: yield* ServiceTokens.ServiceTokens,
      others: bearer === undefined
        ? undefined
        : "verifier" in bearer
        ? bearer.verifier
        : yield* BearerAuth.jwt(bearer),
      within,
      allow: (ask) => bearer === undefined ? Effect.succeed(false) : Effect.provideContext(bearer.allow(ask), services)
    })
    const healthNow = yield* Effect.cachedWithTTL(vault.health, "1 second")

    const inTime = within(() =>
      Answers.unavailable(`no answer within ${Duration.format(patience)}; what was begun goes on: ask again`)
    )

    const handedOut = Effect.fnUntraced(function*(asked: typeof Api.TokenRequest.Type) {
      const key = PutIn.keyOf(asked)
      const selection = asked.selection !== undefined && Object.keys(asked.selection).length > 0
        ? asked.selection
        : undefined
      const caller = yield* authorized("token", key)
      const { isReplacement, tokens } = yield* Answers.answered(Effect.gen(function*() {
        const bearer = yield* vault.bearer(key, selection)
        if (bearer.proofKey !== undefined) {
          const detail =
            "the tokens of this session are bound to a key that stays here (DPoP), and are worth nothing " +
            "without it: sign in to a client whose tokens are not bound"
          return yield* IamHttp.error({ issuer: key.issuer, method: "token" }, new Unsupported({ detail }))
        }
        const held = asked.refused === undefined
          ? undefined
          : yield* Effect.provideService(Api.digestOf(bearer.tokens.accessToken), Digest.Digest, digest)
        return held === undefined || held !== asked.refused
          ? { tokens: bearer.tokens, isReplacement: false }
          : { tokens: (yield* vault.rejected(key, bearer, selection)).tokens, isReplacement: true }
      })).pipe(inTime)
      const at = yield* DateTime.now
      yield* audit({
        at,
        caller: Callers.nameOf(caller),
        key,
        selection: Selection.make(selection ?? {}),
        isReplacement
      })
      return {
        access_token: tokens.accessToken,
        token_type: tokens.tokenType,
        // less than a second is no life, and to none of a token's readers is 0
        expires_in: Option.map(
          tokens.expiresAt,
          (end) => Math.max(1, Math.floor(Duration.toSeconds(DateTime.distance(at, end))))
        ),
        expires_at: tokens.expiresAt,
        scope: tokens.scope
      }
    })

    const sessions = HttpApiBuilder.group(Api.VaultApi, "sessions", (handlers) =>
      handlers.handleAll({
        token: ({ payload }) => handedOut(payload),

        put: Effect.fnUntraced(function*({ payload }) {
          const key = PutIn.keyOf(payload)
          yield* authorized("sessions:write", key)
          const session = yield* Effect.flatMap(
            PutIn.responseOf(vault, payload),
            (response) => vault.put(key, response, payload.selection)
          ).pipe(
            Effect.catchTag(["ProviderUnknown", "TokenStorageError", "SessionLockError"], (error) =>
              Effect.fail(
                error._tag === "ProviderUnknown"
                  ? new Api.NotFound({ error: "provider_unknown", error_description: error.message })
                  : Answers.unavailable(error.message)
              )),
            inTime
          )
          const current = Session.currentToken(session)
          return summaryOf({
            key,
            state: "alive",
            detail: Option.none(),
            expiresAt: Option.flatMap(current, ({ expiresAt }) => expiresAt),
            renewedAt: Option.map(current, ({ issuedAt }) => issuedAt)
          })
        }),

        remove: Effect.fnUntraced(function*({ query }) {
          const key = PutIn.keyOf(query)
          yield* authorized("sessions:write", key)
          const revocation = yield* vault.revoke(key).pipe(
            Effect.mapError((error) =>
              error._tag === "ProviderUnknown"
                ? new Api.NotFound({ error: "provider_unknown", error_description: error.message })
                : Answers.unavailable(error.message)
            ),
            inTime
          )
          return revocation._tag === "Revoked"
            ? { revoked: true, reason: Option.none() }
            : { revoked: false, reason: Option.some(revocation.reason) }
        }),

        metrics: () => Effect.andThen(authorized("sessions:read"), PrometheusMetrics.format()),

        list: Effect.fnUntraced(function*({ query }) {
          const caller = yield* authorized("sessions:read")
          const limit = query.limit ?? 100
          const isAskedFor = ({ key, state }: Vault.Summary): boolean =>
            (query.issuer === undefined || key.issuer === query.issuer) &&
            (query.client === undefined || key.clientId === query.client) &&
            (query.state === undefined || state === query.state) &&
            key.account.startsWith(query.accounts ?? "")
          const pages = Effect.gen(function*() {
            let after = query.after
            for (let looks = 0; looks < mostLooks; looks += limit) {
              const page = yield* vault.page({ after, limit })
              const found = yield* Effect.filter(
                page.sessions.filter(isAskedFor),
                ({ key }) => mayDo(caller, "sessions:read", key)
              )
              if (found.length > 0 || Option.isNone(page.next)) {
                return { sessions: found.map(summaryOf), next: page.next }
              }
              after = page.next.value
            }
            return { sessions: [], next: Option.fromUndefinedOr(after) }
          })
          return yield* Effect.mapError(pages, ({ message }) => Answers.unavailable(message)).pipe(inTime)
        })
      }))

    const state = HttpApiBuilder.group(Api.VaultApi, "state", (handlers) =>
      handlers.handle("health", () =>
        Effect.gen(function*() {
          const { due, oldest, open } = yield* Effect.mapError(
            within(() =>
              undefined
            )(healthNow),
            () => "unavailable" as const
          )
          const caller = yield* Effect.option(callerOf)
          const isTold = Option.isSome(caller) && (yield* mayDo(caller.value, "sessions:read"))
          return isTold ? { status: "ok" as const, open, due, oldest_due: oldest } : "ok" as const
        })))

    const auth = BearerAuth.layerFor(Api.VaultAuth, Api.Caller, {
      realm: Callers.realm,
      verifier,
      identify: ({ claims }) => Effect.succeed(claims)
    })

    const api = HttpApiBuilder.layer(Api.VaultApi).pipe(
      Layer.provide([sessions, state]),
      Layer.provide([auth, readable])
    )
    return Layer.provide(
      options.openapiPath === undefined ? api : Layer.merge(api, document(options.openapiPath, callerOf)),
      guarded
    )
  })

const readable = HttpApiMiddleware.layerSchemaErrorTransform(
  Api.Readable,
  (error) =>
    error.kind === "Body" || error.kind === "ResponseHeaders"
      ? Effect.fail(error)
      : Effect.fail(
        new Api.InvalidRequest({
          error: "invalid_request",
          error_description: IamHttp.quote(`${error.kind.toLowerCase()}: ${error.cause.message}`)
        })
      )
)

/** The OpenAPI document, for whoever is known. */
const document = <R>(
  path: `/${string}`,
  caller: Effect.Effect<Api.Identity, BearerAuth.Unauthorized | BearerAuth.KeysUnavailable, R>
) =>
  HttpRouter.add(
    "GET",
    path,
    Effect.match(caller, {
      onSuccess: () => HttpServerResponse.jsonUnsafe(OpenApi.fromApi(Api.VaultApi)),
      onFailure: (error) =>
        error._tag === "Unauthorized"
          ? HttpServerResponse.jsonUnsafe({ error: "invalid_token", error_description: error.message }, {
            status: 401,
            headers: {
              "www-authenticate": BearerAuth.challenge(
                new BearerAuth.Unauthorized({ realm: Callers.realm, description: error.description })
              )
            }
          })
          : HttpServerResponse.jsonUnsafe({ error: "unavailable", error_description: error.message }, { status: 503 })
    })
  )

// What the router says of a body in a status alone.
const unread: { readonly [status: number]: string } = {
  400: "the body is no JSON",
  413: `the body is larger than ${ByteSize.format(mostBytes)}`,
  415: "the body is sent as something else than JSON: say content-type: application/json"
}

const explained = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const error_description = unread[response.status]
  return error_description === undefined || response.headers["content-type"]?.startsWith("application/json") === true
    ? response
    : HttpServerResponse.jsonUnsafe({ error: "invalid_request", error_description }, { status: response.status })
}

const failed = ({ method, url }: HttpServerRequest.HttpServerRequest) =>
  Effect.logError(`an answer could not be made: ${method} ${url.split("?")[0]}`)

/** Nothing of this is for a cache, no body is larger than a session, and what nobody expected is in the log. */
const guarded = HttpRouter.middleware((answer) =>
  Effect.andThen(
    HttpEffect.appendPreResponseHandler((request, response) =>
      Effect.as(
        response.status === 500 ? failed(request) : Effect.void,
        HttpServerResponse.setHeader(explained(response), "cache-control", "no-store")
      )
    ),
    Patience.counted(Effect.provideService(answer, HttpIncomingMessage.MaxBodySize, mostBytes))
  )
).layer

/**
 * The routes of `VaultApi` on the program's router: `POST /token`, `PUT`, `DELETE` and `GET /sessions`, `GET /metrics`,
 * `GET /health`.
 *
 * Every answer is `no-store`, none has a header that lets another origin read it, and a body is 256 KiB at most. A caller
 * waits for 8 seconds, and is then told when to ask again. Serve it by https, or on loopback.
 *
 * **Example** (A vault on a port of this machine)
 *
 * ```ts
 * import { Vault, VaultServer } from "@effect-authn/vault"
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { HttpRouter } from "effect/http"
 * import { createServer } from "node:http"
 *
 * export const server = HttpRouter.serve(VaultServer.layer()).pipe(
 *   Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 4701 }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(options?: Options<R>): Layer.Layer<
  never,
  never,
  | Vault.Vault
  | ServiceTokens.ServiceTokens
  | HttpRouter.HttpRouter
  | Etag.Generator
  | FileSystem
  | HttpPlatform
  | Path
  | R
> => Layer.unwrap(make<R>(options ?? {})).pipe(Layer.provide([JwtCodec.layer, Digest.layerWebCrypto]))
