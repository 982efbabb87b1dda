/**
 * A Datalayer-style IAM, as an `IamClient`.
 *
 * Its sessions are one access token, a JWT, that is exchanged for a new one while it is still valid; once it has
 * expired, only a new login helps. API keys and other tokens that are no JWT are presented as they are, and never
 * exchanged or revoked. It has no selections: asking for one is `Unsupported`.
 *
 * @since 0.1.0
 */
import type { BrowserLogin } from "@effect-authn/core/iam/BrowserLogin"
import { adoptBearer, type Credentials, IamClient, presentBearer, Revocation } from "@effect-authn/core/iam/IamClient"
import { GrantDead, type IamError, type IamErrorReason, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as SessionDocument from "@effect-authn/core/iam/SessionDocument"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Selection from "@effect-authn/core/session/Selection"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Config from "effect/Config"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as DatalayerBrowserLogin from "./DatalayerBrowserLogin.ts"
import * as DatalayerClient from "./DatalayerClient.ts"

export {
  /**
   * The one way to write the address of an IAM.
   *
   * @category constructors
   * @since 0.1.0
   */
  canonicalIssuer
} from "./DatalayerClient.ts"

/**
 * - `issuer`: the IAM's address, with or without `/api/iam/v1`; https, or http to this machine.
 * - `policy`: what differs from the dialect's `policy`. `timeLimit` bounds every request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly issuer: string
  readonly policy?: Partial<RefreshPolicy.RefreshPolicy> | undefined
}

/**
 * The standard policy, except that a token without `exp` has no known end: it is presented until the IAM refuses it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const policy: RefreshPolicy.RefreshPolicy = { ...RefreshPolicy.standard, defaultLifetime: Duration.infinity }

/**
 * The variables in which the existing clients look for a token, in their order. `DATALAYER_EXTERNAL_TOKEN` is not among
 * them: it holds a token of another issuer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const environment: ReadonlyArray<string> = ["DATALAYER_API_KEY", "DATALAYER_ACCESS_TOKEN"]

/**
 * Makes the `IamClient`. An address that cannot be used is `Misconfigured`; nothing is sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<IamClient["Service"], IamError, HttpClient.HttpClient> {
  const issuer = yield* Effect.fromResult(DatalayerClient.canonicalIssuer(options.issuer))
  const merged = { ...policy, ...options.policy }
  const client = yield* DatalayerClient.make({ issuer, timeLimit: merged.timeLimit })

  const fail = (method: string, reason: IamErrorReason) => IamHttp.error({ issuer, method }, reason)

  const unselected = (method: string, selection: Selection.Selection) =>
    Selection.id(selection) === ""
      ? Effect.void
      : fail(
        method,
        new Unsupported({ detail: "a Datalayer-style IAM has one token for everything: leave the selection out" })
      )

  const issued = (login: DatalayerClient.Login): TokenResponse => ({
    tokens: TokenSet.fromAnswer({
      accessToken: login.token,
      receivedAt: login.receivedAt,
      serverTime: login.serverTime,
      defaultLifetime: merged.defaultLifetime
    }),
    grant: grantOf(login.token),
    user: login.user
  })

  const accessToken = (session: Session.Session, method: string) =>
    Effect.fromOption(
      Session.currentToken(session),
      () => fail(method, new Unsupported({ detail: "the session holds no access token" }))
    )

  return {
    issuer,
    clientId: "datalayer",
    policy: merged,
    environment,

    login: Effect.fn("DatalayerIam.login")(
      function*({ handle, password }: Credentials, selection: Selection.Selection) {
        yield* unselected("login", selection)
        return issued(yield* client.login({ handle, password }))
      }
    ),

    adopt: adoptBearer({ issuer, grantOf }),

    renew: Effect.fn("DatalayerIam.renew")(function*(session: Session.Session, target: Selection.Selection) {
      yield* unselected("renew", target)
      if (session.grant._tag !== "ExchangeAccessToken") {
        return yield* fail(
          "renew",
          new Unsupported({ detail: "an API key is not exchanged: make a new one at the IAM" })
        )
      }
      const tokens = yield* accessToken(session, "renew")
      if (!TokenSet.isValid(tokens, yield* DateTime.now)) {
        return yield* fail("renew", new GrantDead({ detail: "the token expired before it was exchanged" }))
      }
      return issued(yield* client.exchange(tokens.accessToken))
    }),

    whoami: Effect.fn("DatalayerIam.whoami")(function*(session: Session.Session) {
      return yield* client.whoami((yield* accessToken(session, "whoami")).accessToken)
    }),

    revoke: Effect.fn("DatalayerIam.revoke")(function*(session: Session.Session) {
      const kept = (reason: string) => Revocation.cases.NotRevoked.make({ reason })
      if (session.grant._tag !== "ExchangeAccessToken") {
        return kept("an API key does not end with a session: delete it at the IAM if it must end")
      }
      const tokens = yield* accessToken(session, "revoke")
      return TokenSet.isValid(tokens, yield* DateTime.now)
        ? yield* client.logout(tokens.accessToken)
        : kept("the token had already expired")
    }),

    present: presentBearer,

    document: SessionDocument.make({
      issuer,
      isHost: (host) => Option.contains(Result.getSuccess(DatalayerClient.canonicalIssuer(host)), issuer),
      grantOf
    })
  }
})

/**
 * The IAM at an address, with its browser login.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<IamClient | BrowserLogin, IamError, HttpClient.HttpClient> =>
  Layer.provideMerge(DatalayerBrowserLogin.layer, Layer.effect(IamClient, make(options)))

/**
 * The IAM that the configuration names; unless told otherwise, `DATALAYER_IAM_URL` has its address.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = { issuer: Config.NonEmptyString("DATALAYER_IAM_URL") }
): Layer.Layer<IamClient | BrowserLogin, IamError | Config.ConfigError, HttpClient.HttpClient> =>
  Layer.provideMerge(
    DatalayerBrowserLogin.layer,
    Layer.effect(IamClient, Effect.flatMap(Config.unwrap(options), make))
  )

const isJwt = (token: Redacted.Redacted): boolean => Result.isSuccess(JwtCodec.decodeUnverified(Redacted.value(token)))

const grantOf = (token: Redacted.Redacted): Session.Grant =>
  isJwt(token) ? Session.Grant.cases.ExchangeAccessToken.make({}) : Session.Grant.cases.None.make({})
