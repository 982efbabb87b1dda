// A dialect for an IAM with four routes: sign in, exchange a token for a new one, say whose it is, end it.
import { IamClient, IamError, IamHttp, RefreshPolicy, Session, ExportDocument, TokenSet, User } from "@effect-authn/core"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpClientRequest } from "effect/http"

const Signed = Schema.Struct({ token: Schema.RedactedFromValue(Schema.NonEmptyString) })
const Known = Schema.Struct({ profile: Schema.Struct({ uid: Schema.NonEmptyString, handle_s: Schema.NonEmptyString }) })

const grantOf = () => Session.Grant.cases.ExchangeAccessToken.make({})

// What a 401 of the IAM means depends on what it was asked.
const wrongCredentials = { 401: (detail: string) => new IamError.CredentialsRefused({ detail }) }
// never sent again: say so only when the IAM itself did
const deadGrant = { 401: (detail: string) => new IamError.GrantDead({ detail }) }

const make = Effect.fnUntraced(function*(options: { readonly issuer: string }) {
  // https, or http to this machine: anything else is Misconfigured
  const { ask, issuer } = yield* IamHttp.routes(options.issuer)

  const signIn = (method: string, secret: Redacted.Redacted, body: Schema.JsonObject, refusals: IamHttp.Refusals) =>
    HttpClientRequest.post("/api/iam/v1/login").pipe(
      HttpClientRequest.bodyJsonUnsafe(body),
      (request) => ask(request, { method, secrets: [secret] }, { answer: Signed, refusals }),
      Effect.map((answer): Session.TokenResponse => ({
        tokens: TokenSet.fromAnswer({
          ...answer,
          accessToken: answer.body.token,
          defaultLifetime: RefreshPolicy.standard.defaultLifetime
        }),
        grant: grantOf(),
        user: Option.none()
      }))
    )

  const get = Effect.fnUntraced(function*<S extends Schema.ConstraintDecoder<unknown>>(
    method: string,
    route: string,
    session: Session.Session,
    answer: S
  ) {
    const token = yield* IamClient.accessToken({ issuer, method }, session)
    const request = HttpClientRequest.bearerToken(HttpClientRequest.get(`/api/iam/v1${route}`), token)
    return yield* ask(request, { method, secrets: [token] }, { answer, refusals: wrongCredentials })
  })

  return IamClient.IamClient.of({
    issuer,
    clientId: "tiny",
    policy: RefreshPolicy.standard,
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
    document: ExportDocument.make({ issuer, grantOf })
  })
})

/** The IAM at an address. */
export const layer = (options: { readonly issuer: string }) => Layer.effect(IamClient.IamClient, make(options))
