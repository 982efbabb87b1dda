/**
 * A session that a vault keeps, for a program that keeps nothing: a dialect whose renewal is a question to the vault.
 *
 * @since 0.1.0
 */
import { adoptBearer, IamClient, presentBearer, Revocation } from "@effect-authn/core/iam/IamClient"
import {
  GrantDead,
  type IamError,
  type IamErrorReason,
  Malformed,
  Misconfigured,
  SelectionRefused,
  Unsupported
} from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as VaultApi from "./VaultApi.ts"

/**
 * Which vault, and whose session.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The address of the vault, or those of its machines: https, or http to this machine. They are asked in turn, beginning
   * with the one that answered last: the next one where one cannot be reached, says that it is not available or is no vault,
   * and beside it where it has not answered within a second. The first answer of a vault counts.
   */
  readonly url: string | readonly [string, ...ReadonlyArray<string>]
  /** A service token of the vault with the right `token`. */
  readonly token: Redacted.Redacted
  /** The issuer of the session, as the vault's table has it. */
  readonly issuer: string
  /** The client of the session, as the vault's table has it. */
  readonly clientId: string
  /**
   * Members that differ from `RefreshPolicy.standard`. The window is a minute unless told: it begins when the vault has
   * renewed already, so that a client asks for a new token and gets one.
   */
  readonly policy?: Partial<RefreshPolicy.RefreshPolicy> | undefined
}

/**
 * What this dialect has besides an `IamClient`.
 *
 * @category services
 * @since 0.1.0
 */
export class VaultClient extends Context.Service<VaultClient, {
  /** Takes a token of an account's session, for `strategy`. `GrantDead` where the vault has no such session, or it ended. */
  readonly take: (
    account: string,
    selection: Selection.Selection
  ) => Effect.Effect<Session.TokenResponse, IamError>
}>()("@effect-authn/vault/VaultClient") {}

// The vault answers within its patience of 8 seconds.
const timeLimit = Duration.seconds(10)

const decodeAnswer = Schema.decodeUnknownOption(Schema.toCodecJson(VaultApi.TokenAnswer))
const decodeRefusal = Schema.decodeUnknownOption(
  Schema.Struct({ error: Schema.String, error_description: Schema.String })
)

/** What a refusal of the vault means for a session that it keeps. */
const reasonOf = (status: number, refusal: { readonly error: string; readonly error_description: string }) => {
  const detail = IamHttp.quote(refusal.error_description)
  switch (refusal.error) {
    case "no_session":
    case "reauthentication_required":
      return new GrantDead({ detail: `the vault says: ${detail}` })
    case "selection_refused":
      return new SelectionRefused({ detail })
    case "invalid_token":
    case "insufficient_scope":
      return new Misconfigured({ detail: `the vault refuses the service token: ${detail}`, refused: "client" })
    case "provider_unknown":
      return new Misconfigured({ detail })
    default:
      return new Malformed({ detail: `status ${status}: ${detail}` })
  }
}

/**
 * Makes the dialect. Nothing is sent before the first use; an address that may carry no secret is `Misconfigured`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Context.Context<IamClient | VaultClient>, IamError, HttpClient.HttpClient | Digest.Digest> {
  const http = yield* HttpClient.HttpClient
  const digest = yield* Digest.Digest
  const given = typeof options.url === "string" ? [options.url] : options.url
  const addresses = yield* Effect.forEach(given, (url) => Effect.fromResult(IamHttp.endpoint(url)))
  const { clientId, issuer, token } = options
  const policy: RefreshPolicy.RefreshPolicy = {
    ...RefreshPolicy.standard,
    window: Duration.minutes(1),
    ...options.policy
  }
  let first = 0

  const unsupported = (method: string, detail: string) =>
    Effect.fail(IamHttp.error({ issuer, method }, new Unsupported({ detail })))

  /** What the vault at an address says, a refusal as well. It fails where no vault answers. */
  const ask = Effect.fnUntraced(function*(
    address: URL,
    body: typeof VaultApi.TokenRequest.Encoded
  ): Effect.fn.Return<Result.Result<Session.TokenResponse, IamError>, IamError> {
    const call: IamHttp.Call = { issuer: address.origin, method: "renew", secrets: [token], timeLimit }
    const fail = (reason: IamErrorReason) => IamHttp.error(call, reason)
    const answer = yield* HttpClientRequest.post(new URL("token", directoryOf(address))).pipe(
      HttpClientRequest.acceptJson,
      HttpClientRequest.bearerToken(token),
      HttpClientRequest.bodyJsonUnsafe(body),
      (request) => IamHttp.execute(request, call),
      Effect.provideService(HttpClient.HttpClient, http)
    )
    if (answer.status >= 300) {
      const refusal = Option.flatMap(answer.body, decodeRefusal)
      return yield* Option.isNone(refusal)
        ? IamHttp.unexpected(answer, call)
        : Effect.succeed(Result.fail(fail(reasonOf(answer.status, refusal.value))))
    }
    const read = Option.flatMap(answer.body, decodeAnswer)
    if (Option.isNone(read) || !TokenSet.isTokenType(read.value.token_type)) {
      return yield* IamHttp.unexpected(answer, call)
    }
    const tokens = Option.map(
      readToken(read.value.access_token),
      (accessToken) =>
        TokenSet.fromAnswer({
          accessToken,
          tokenType: read.value.token_type,
          expiresIn: Option.getOrUndefined(read.value.expires_in),
          scope: Option.getOrUndefined(read.value.scope),
          receivedAt: answer.receivedAt,
          serverTime: answer.serverTime,
          defaultLifetime: Duration.infinity
        })
    )
    return Option.isSome(tokens)
      ? Result.succeed({ tokens: tokens.value, grant: Session.Grant.cases.Reissue.make({}), user: Option.none() })
      : yield* fail(new Malformed({ detail: "the vault's token has a character that no token has" }))
  })

  type Attempt = Effect.Effect<Result.Result<Session.TokenResponse, IamError>, IamError>

  const fromAny = (attempts: ReadonlyArray<Attempt>): Attempt => {
    const [one = Effect.die(new Error("VaultClient: url is empty")), ...others] = attempts
    if (others.length === 0) return one
    return Effect.gen(function*() {
      const isAway = yield* Deferred.make<void>()
      const next = Deferred.await(isAway).pipe(
        Effect.timeoutOption("1 second"),
        Effect.andThen(Effect.suspend(() => fromAny(others)))
      )
      return yield* Effect.race(Effect.tapError(one, () => Deferred.succeed(isAway, undefined)), next)
    })
  }

  // Where no vault answers there may be one machine of several; what a vault says is the answer of all.
  const take = (account: string, selection: Selection.Selection, refused?: string) =>
    Effect.suspend(() => {
      const body = {
        issuer,
        client: clientId,
        account,
        ...(Selection.id(selection) === "" ? {} : { selection: membersOf(selection) }),
        ...(refused === undefined ? {} : { refused })
      }
      const failures: Array<IamError> = []
      const attempts = addresses.map((_, offset) => {
        const index = (first + offset) % addresses.length
        return Effect.tap(
          Effect.tapError(ask(addresses[index]!, body), (error) => Effect.sync(() => failures.push(error))),
          (result) =>
            Effect.sync(() => {
              if (Result.isSuccess(result)) first = index
            })
        )
      })
      return fromAny(attempts).pipe(
        // one that is away may come back, one that is no vault will not be one
        Effect.mapError((error) => failures.find(({ reason }) => reason._tag === "Unavailable") ?? error),
        Effect.flatMap(Effect.fromResult)
      )
    })

  const iam = IamClient.of({
    issuer,
    clientId,
    policy,
    environment: [],
    login: () =>
      unsupported("login", "a vault signs nobody in: put the session into it, then sign in with VaultClient.strategy"),
    adopt: adoptBearer({ issuer }),
    renew: Effect.fn("VaultClient.renew")(function*(session, target) {
      const held = Session.tokenFor(session, target)
      const refused = Option.isNone(held)
        ? undefined
        : yield* Effect.provideService(VaultApi.digestOf(held.value.accessToken), Digest.Digest, digest)
      // Whoever asks for another one has no use for this one.
      return yield* take(session.key.account, target, refused)
    }),
    whoami: () => unsupported("whoami", "the vault does not tell whose session it is"),
    revoke: () =>
      Effect.succeed(
        Revocation.cases.NotRevoked.make({ reason: "the session stays in the vault: end it there (DELETE /sessions)" })
      ),
    present: presentBearer,
    document: {
      unsupported: "the vault keeps the session, and this program has an access token only",
      encode: () => ({}),
      decode: () => unsupported("import", "a vault takes sessions by PUT /sessions: put it in there")
    }
  })
  return Context.make(IamClient, iam).pipe(
    Context.add(VaultClient, VaultClient.of({ take: (account, selection) => take(account, selection) }))
  )
})

const readToken = (token: Redacted.Redacted): Option.Option<Redacted.Redacted> =>
  TokenSet.accessTokenFrom(Redacted.value(token))

/** The address as the place of its routes, whether or not it was written with a slash at its end. */
const directoryOf = (address: URL): URL =>
  address.pathname.endsWith("/") ? address : new URL(`${address.pathname}/`, address)

const membersOf = ({ organization, project, resource, scope }: Selection.Selection): Selection.Input =>
  Object.fromEntries(
    Object.entries({ organization, project, resource, scope }).filter(([, value]) => value !== undefined)
  )

/**
 * The dialect of a vault, in the place of that of the IAM: `AuthManager`, `AuthHttpClient` and the renewal after a 401 are as
 * ever. Sign in with `strategy`.
 *
 * **Example** (A program that keeps nothing)
 *
 * ```ts
 * import { AuthHttpClient, AuthManager } from "@effect-authn/core"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { VaultClient } from "@effect-authn/vault"
 * import { Config, Effect, Layer } from "effect"
 *
 * const vault = Layer.unwrap(Config.map(Config.Redacted("AUTHN_VAULT_TOKEN"), (token) =>
 *   VaultClient.layer({
 *     url: ["https://vault-1.example.com", "https://vault-2.example.com"],
 *     token,
 *     issuer: "https://idp.example.com",
 *     clientId: "my-service"
 *   })))
 *
 * export const program = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   yield* auth.login(VaultClient.strategy(), { store: false })
 *   const calendar = yield* AuthHttpClient.make({ baseUrl: "https://calendar.example.com" })
 *   return yield* calendar.get("/events/today")
 * }).pipe(Effect.provide(NodeAuth.layer(vault, { account: "ada" })))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<IamClient | VaultClient, IamError, HttpClient.HttpClient> =>
  Layer.provide(Layer.effectContext(make(options)), Digest.layerWebCrypto)

/**
 * Takes the account's session from the vault: `NoCredentials` where it has none, or one that ended.
 *
 * @category strategies
 * @since 0.1.0
 */
export const strategy = (): AuthStrategy.AuthStrategy<VaultClient> => ({
  name: "vault",
  obtain: (context) =>
    VaultClient.use(({ take }) => take(context.key.account, context.selection)).pipe(
      Effect.catchReason(
        "IamError",
        "GrantDead",
        ({ detail }) => Effect.fail(AuthStrategy.noCredentials(context, "vault", detail))
      ),
      Effect.map((issued) =>
        Session.fromResponse(context.key, issued, { strategy: "vault", selection: context.selection })
      )
    )
})
