// A dialect for an IAM with four routes: sign in, exchange a token for a new one, say whose it is, end it.
import { IamClient, IamError, IamHttp, RefreshPolicy, Selection, Session, SessionDocument, TokenSet, User } from "@effect-authn/core"
import { DateTime, Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"

const Signed = Schema.Struct({ token: Schema.RedactedFromValue(Schema.NonEmptyString) })
const Known = Schema.Struct({ profile: Schema.Struct({ uid: Schema.NonEmptyString, handle_s: Schema.NonEmptyString }) })

const grantOf = () => Session.Grant.cases.ExchangeAccessToken.make({})

const make = Effect.fnUntraced(function*(options: { readonly issuer: string }) {
  // https, or http to this machine: anything else is Misconfigured
  const issuer = (yield* Effect.fromResult(IamHttp.endpoint(options.issuer))).origin
  const http = yield* HttpClient.HttpClient
  const policy = RefreshPolicy.standard
  const fail = (method: string, reason: IamError.IamErrorReason) => IamHttp.error({ issuer, method }, reason)

  // What goes wrong on the way is sorted by `execute`; what the IAM's own answer means is the dialect's business.
  const ask = <S extends Schema.ConstraintDecoder<unknown>>(asked: {
    readonly method: string
    readonly request: HttpClientRequest.HttpClientRequest
    readonly secret: Redacted.Redacted
    readonly refused: (detail: string) => IamError.IamErrorReason
    readonly answer: S
  }) =>
    Effect.gen(function*() {
      const call: IamHttp.Call = { issuer, method: asked.method, secrets: [asked.secret] }
      const answer = yield* IamHttp.execute(asked.request, call)
      if (answer.status === 401 && Option.isSome(answer.body)) {
        return yield* IamHttp.error(call, asked.refused(Option.getOrElse(answer.message, () => answer.shape)))
      }
      const body = Option.flatMap(answer.body, Schema.decodeUnknownOption(asked.answer))
      if (answer.status >= 300 || Option.isNone(body)) return yield* IamHttp.unexpected(answer, call)
      return { ...answer, body: body.value }
    }).pipe(Effect.provideService(HttpClient.HttpClient, http))

  const post = (body: Schema.JsonObject) =>
    HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(`${issuer}/api/iam/v1/login`), body)
  const get = (route: string, token: Redacted.Redacted) =>
    HttpClientRequest.bearerToken(HttpClientRequest.get(`${issuer}/api/iam/v1${route}`), token)

  const credentialsRefused = (detail: string) => new IamError.CredentialsRefused({ detail })
  const unselected = (method: string, selection: Selection.Selection) =>
    Selection.id(selection) === ""
      ? Effect.void
      : fail(method, new IamError.Unsupported({ detail: "this IAM has no selections: leave it out" }))
  const accessToken = (session: Session.Session) =>
    Effect.fromOption(
      Option.map(Session.currentToken(session), (tokens) => tokens.accessToken),
      () => fail("token", new IamError.Unsupported({ detail: "the session has no token: sign in again" }))
    )

  const issued = (
    token: Redacted.Redacted,
    receivedAt: DateTime.Utc,
    serverTime: Option.Option<DateTime.Utc>
  ): Session.TokenResponse => ({
    tokens: TokenSet.fromAnswer({
      accessToken: token,
      receivedAt,
      serverTime,
      defaultLifetime: policy.defaultLifetime
    }),
    grant: grantOf(),
    user: Option.none()
  })

  return IamClient.IamClient.of({
    issuer,
    clientId: "tiny",
    policy,
    environment: ["TINY_TOKEN"],

    login: Effect.fnUntraced(function*(credentials, selection) {
      yield* unselected("login", selection)
      const answer = yield* ask({
        method: "login",
        request: post({ handle: credentials.handle, password: Redacted.value(credentials.password) }),
        secret: credentials.password,
        refused: credentialsRefused,
        answer: Signed
      })
      return issued(answer.body.token, answer.receivedAt, answer.serverTime)
    }),

    adopt: IamClient.adoptBearer({ issuer, grantOf }),

    renew: Effect.fnUntraced(function*(session, target) {
      yield* unselected("renew", target)
      const secret = yield* accessToken(session)
      const answer = yield* ask({
        method: "renew",
        request: post({ token: Redacted.value(secret) }),
        secret,
        // never sent again: say so only when the IAM itself did
        refused: (detail) => new IamError.GrantDead({ detail }),
        answer: Signed
      })
      return issued(answer.body.token, answer.receivedAt, answer.serverTime)
    }),

    whoami: Effect.fnUntraced(function*(session) {
      const secret = yield* accessToken(session)
      const request = get("/whoami", secret)
      const answer = yield* ask({ method: "whoami", request, secret, refused: credentialsRefused, answer: Known })
      const { profile } = answer.body
      return User.User.make({
        id: profile.uid,
        handle: Option.some(profile.handle_s),
        displayName: Option.none(),
        firstName: Option.none(),
        lastName: Option.none(),
        email: Option.none(),
        avatarUrl: Option.none(),
        roles: [],
        profile: Redacted.make(profile)
      })
    }),

    revoke: Effect.fnUntraced(function*(session) {
      const secret = yield* accessToken(session)
      const request = get("/logout", secret)
      yield* ask({ method: "revoke", request, secret, refused: credentialsRefused, answer: Schema.JsonObject })
      return IamClient.Revocation.cases.Revoked.make({})
    }),

    present: IamClient.presentBearer,

    document: SessionDocument.make({ issuer, grantOf })
  })
})

/** The IAM at an address. */
export const layer = (options: {
  readonly issuer: string
}): Layer.Layer<IamClient.IamClient, IamError.IamError, HttpClient.HttpClient> =>
  Layer.effect(IamClient.IamClient, make(options))
