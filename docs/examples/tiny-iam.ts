// A dialect for an IAM with four routes: sign in, exchange a token for a new one, say whose it is, end it.
import { IamClient, IamError, IamHttp, RefreshPolicy, Session, SessionDocument, TokenSet, User } from "@effect-authn/core"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"

const Signed = Schema.Struct({ token: Schema.RedactedFromValue(Schema.NonEmptyString) })
const Known = Schema.Struct({ profile: Schema.Struct({ uid: Schema.NonEmptyString, handle_s: Schema.NonEmptyString }) })

const grantOf = () => Session.Grant.cases.ExchangeAccessToken.make({})

// What a 401 of the IAM means depends on what it was asked.
const wrongCredentials = { 401: (detail: string) => new IamError.CredentialsRefused({ detail }) }
// never sent again: say so only when the IAM itself did
const deadGrant = { 401: (detail: string) => new IamError.GrantDead({ detail }) }

const make = Effect.fnUntraced(function*(options: { readonly issuer: string }) {
  // https, or http to this machine: anything else is Misconfigured
  const issuer = (yield* Effect.fromResult(IamHttp.endpoint(options.issuer))).origin
  const http = yield* HttpClient.HttpClient
  const policy = RefreshPolicy.standard

  const signIn = (method: string, secret: Redacted.Redacted, body: Schema.JsonObject, refusals: IamHttp.Refusals) =>
    HttpClientRequest.post(`${issuer}/api/iam/v1/login`).pipe(
      HttpClientRequest.bodyJsonUnsafe(body),
      (request) => IamHttp.ask(request, { issuer, method, secrets: [secret] }, { answer: Signed, refusals }),
      Effect.map((answer): Session.TokenResponse => ({
        tokens: TokenSet.fromAnswer({
          ...answer,
          accessToken: answer.body.token,
          defaultLifetime: policy.defaultLifetime
        }),
        grant: grantOf(),
        user: Option.none()
      })),
      Effect.provideService(HttpClient.HttpClient, http)
    )

  const get = <S extends Schema.ConstraintDecoder<unknown>>(
    method: string,
    route: string,
    session: Session.Session,
    answer: S
  ) =>
    Effect.gen(function*() {
      const token = yield* IamClient.accessToken({ issuer, method }, session)
      const request = HttpClientRequest.bearerToken(HttpClientRequest.get(`${issuer}/api/iam/v1${route}`), token)
      const call = { issuer, method, secrets: [token] }
      return yield* IamHttp.ask(request, call, { answer, refusals: wrongCredentials })
    }).pipe(Effect.provideService(HttpClient.HttpClient, http))

  return IamClient.IamClient.of({
    issuer,
    clientId: "tiny",
    policy,
    environment: ["TINY_TOKEN"],

    login: Effect.fnUntraced(function*({ handle, password }, selection) {
      yield* IamClient.unselected({ issuer, method: "login" }, selection)
      return yield* signIn("login", password, { handle, password: Redacted.value(password) }, wrongCredentials)
    }),
    renew: Effect.fnUntraced(function*(session, target) {
      yield* IamClient.unselected({ issuer, method: "renew" }, target)
      const token = yield* IamClient.accessToken({ issuer, method: "renew" }, session)
      return yield* signIn("renew", token, { token: Redacted.value(token) }, deadGrant)
    }),
    whoami: (session) =>
      Effect.map(get("whoami", "/whoami", session, Known), ({ body: { profile } }) =>
        User.User.make({
          id: profile.uid,
          handle: Option.some(profile.handle_s),
          profile: Redacted.make(profile)
        })),
    revoke: (session) =>
      Effect.as(get("revoke", "/logout", session, Schema.JsonObject), IamClient.Revocation.cases.Revoked.make({})),

    adopt: IamClient.adoptBearer({ issuer, grantOf }),
    present: IamClient.presentBearer,
    document: SessionDocument.make({ issuer, grantOf })
  })
})

/** The IAM at an address. */
export const layer = (options: {
  readonly issuer: string
}): Layer.Layer<IamClient.IamClient, IamError.IamError, HttpClient.HttpClient> =>
  Layer.effect(IamClient.IamClient, make(options))
