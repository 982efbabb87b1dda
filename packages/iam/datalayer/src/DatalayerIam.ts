/**
 * A Datalayer-style IAM, as an `IamClient`.
 *
 * Its sessions are one access token, a JWT, that is exchanged for a new one while it is still valid; once it has
 * expired, only a new login helps. API keys and other tokens that are no JWT are presented as they are, and never
 * exchanged or revoked. It has no selections: asking for one is `Unsupported`.
 *
 * @since 0.1.0
 */
import { BrowserLogin } from "@effect-authn/core/iam/BrowserLogin"
import * as ExportDocument from "@effect-authn/core/iam/ExportDocument"
import {
  accessToken,
  adoptBearer,
  type Credentials,
  IamClient,
  presentBearer,
  Revocation,
  unselected
} from "@effect-authn/core/iam/IamClient"
import { GrantDead, type IamError, type IamErrorReason, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import type * as Selection from "@effect-authn/core/session/Selection"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as DatalayerClient from "./DatalayerClient.ts"
import * as DatalayerOptions from "./DatalayerOptions.ts"
import * as DatalayerBrowserLogin from "./internal/browserLogin.ts"

/**
 * Makes the services of one IAM. An address that cannot be used is `Misconfigured`; nothing is sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: DatalayerOptions.DatalayerOptions
): Effect.fn.Return<Context.Context<IamClient | BrowserLogin>, IamError, HttpClient.HttpClient> {
  const settings = yield* DatalayerOptions.complete(options)
  const { issuer, policy } = settings
  const client = yield* DatalayerClient.make(settings)
  const http = yield* HttpClient.HttpClient

  const fail = (method: string, reason: IamErrorReason) => IamHttp.error({ issuer, method }, reason)

  const issued = (login: DatalayerClient.Login): TokenResponse => ({
    tokens: TokenSet.fromAnswer({
      accessToken: login.token,
      receivedAt: login.receivedAt,
      serverTime: login.serverTime,
      defaultLifetime: policy.defaultLifetime
    }),
    grant: grantOf(login.token),
    user: login.user
  })

  const iam = IamClient.of({
    issuer,
    clientId: "datalayer",
    policy,
    environment: DatalayerOptions.environment,

    login: Effect.fn("DatalayerIam.login")(
      function*({ handle, password }: Credentials, selection: Selection.Selection) {
        yield* unselected({ issuer, method: "login" }, selection)
        return issued(yield* client.login({ handle, password }))
      }
    ),

    adopt: adoptBearer({ issuer, grantOf }),

    renew: Effect.fn("DatalayerIam.renew")(function*(session: Session.Session, target: Selection.Selection) {
      yield* unselected({ issuer, method: "renew" }, target)
      if (session.grant._tag !== "ExchangeAccessToken") {
        return yield* fail(
          "renew",
          new Unsupported({ detail: "an API key is not exchanged: make a new one at the IAM" })
        )
      }
      const token = yield* accessToken({ issuer, method: "renew" }, session)
      if (!Session.canRenew(session, yield* DateTime.now)) {
        return yield* fail("renew", new GrantDead({ detail: "the token expired before it was exchanged" }))
      }
      return issued(yield* client.exchange(token))
    }),

    whoami: Effect.fn("DatalayerIam.whoami")(function*(session: Session.Session) {
      return yield* client.whoami(yield* accessToken({ issuer, method: "whoami" }, session))
    }),

    revoke: Effect.fn("DatalayerIam.revoke")(function*(session: Session.Session) {
      const kept = (reason: string) => Revocation.cases.NotRevoked.make({ reason })
      if (session.grant._tag !== "ExchangeAccessToken") {
        return kept("an API key does not end with a session: delete it at the IAM if it must end")
      }
      const token = yield* accessToken({ issuer, method: "revoke" }, session)
      return Session.isAlive(session, yield* DateTime.now)
        ? yield* client.logout(token)
        : kept("the token had already expired")
    }),

    present: presentBearer,

    document: ExportDocument.make({
      issuer,
      isHost: (host) => Option.contains(Result.getSuccess(DatalayerOptions.canonicalIssuer(host)), issuer),
      grantOf
    })
  })

  return Context.make(IamClient, iam).pipe(Context.add(BrowserLogin, DatalayerBrowserLogin.make(iam, http)))
})

/**
 * The services of one IAM. Its sessions are named by the issuer and the client `datalayer`.
 *
 * **Example** (Signing in with a password)
 *
 * ```ts
 * import { AuthManager, AuthStrategy } from "@effect-authn/core"
 * import { DatalayerIam } from "@effect-authn/iam-datalayer"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { Config, Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(AuthStrategy.password({ handle: "ada", password: yield* Config.Redacted("PASSWORD") }))
 * }).pipe(Effect.provide(NodeAuth.layer(DatalayerIam.layer({ issuer: "https://iam.example.com" }))))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: DatalayerOptions.DatalayerOptions
): Layer.Layer<IamClient | BrowserLogin, IamError, HttpClient.HttpClient> => Layer.effectContext(make(options))

/**
 * The services of the IAM that the configuration names; `DatalayerOptions.fromEnvironment` unless told otherwise.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<DatalayerOptions.DatalayerOptions> = DatalayerOptions.fromEnvironment
): Layer.Layer<IamClient | BrowserLogin, IamError | Config.ConfigError, HttpClient.HttpClient> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(options), make))

const isJwt = (token: Redacted.Redacted): boolean => Result.isSuccess(JwtCodec.decodeUnverified(Redacted.value(token)))

const grantOf = (token: Redacted.Redacted): Session.Grant =>
  isJwt(token) ? Session.Grant.cases.ExchangeAccessToken.make({}) : Session.Grant.cases.None.make({})
