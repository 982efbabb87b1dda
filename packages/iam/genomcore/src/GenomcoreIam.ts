/**
 * A Genomcore-style IAM as an `IamClient`, and what this dialect has besides: its environment, project ids, and the bare
 * pair of a login. No host of the vendor is built in, and no compatibility with its service is claimed.
 *
 * @since 0.1.0
 */
import * as IamClient from "@effect-authn/core/iam/IamClient"
import * as IamError from "@effect-authn/core/iam/IamError"
import type * as JwtError from "@effect-authn/core/jwt/JwtError"
import type * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as User from "@effect-authn/core/session/User"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Struct from "effect/Struct"
import * as GenomcoreClaims from "./GenomcoreClaims.ts"
import * as GenomcoreClient from "./GenomcoreClient.ts"
import * as GenomcoreOptions from "./GenomcoreOptions.ts"
import * as GenomcoreDocument from "./internal/document.ts"

/**
 * What `GenomcoreIam.login` takes. Numeric ids are sent as text; an absent, null or empty project is the user's default.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoginInput {
  readonly username: string
  readonly password: Redacted.Redacted
  readonly organizationId: string | number
  readonly projectId?: string | number | null | undefined
}

/**
 * What this dialect has besides an `IamClient`.
 *
 * @category services
 * @since 0.1.0
 */
export class GenomcoreIam extends Context.Service<GenomcoreIam, {
  /** The name of the environment, for example `prod`. */
  readonly env: string
  /** Its auth origin, which names its sessions. */
  readonly host: string
  /** The word that stands before the token in an `Authorization` header. */
  readonly tokenType: string
  /**
   * The integer project id that the current token of a session, or a token, names. No request, nothing verified; it need
   * not resemble the name by which the project was asked for.
   */
  readonly projectId: (
    of: Session.Session | Redacted.Redacted
  ) => Effect.Effect<number, JwtError.JwtError | GenomcoreClaims.ProjectIdError>
  /** Answers with the bare pair of tokens. It touches no session: to stay signed in, use `AuthManager.login`. */
  readonly login: (input: LoginInput) => Effect.Effect<GenomcoreClient.Pair, IamError.IamError>
}>()("@effect-authn/iam-genomcore/GenomcoreIam") {}

/**
 * Makes the services of one IAM. Nothing is sent; what is wrong with the options is `Misconfigured`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: GenomcoreOptions.GenomcoreOptions
): Effect.fn.Return<
  Context.Context<IamClient.IamClient | GenomcoreIam>,
  IamError.IamError,
  HttpClient.HttpClient
> {
  const settings = yield* GenomcoreOptions.complete(options)
  const client = yield* GenomcoreClient.make(settings)
  const fail = (method: string, reason: IamError.IamErrorReason) =>
    Effect.fail(new IamError.IamError({ issuer: settings.host, method, reason }))

  const login = Effect.fn("GenomcoreIam.login")(function*(input: GenomcoreClient.Login) {
    if (input.username.trim() === "") {
      return yield* fail("login", new IamError.CredentialsRefused({ detail: "the username is blank: give one" }))
    }
    if (Redacted.value(input.password) === "") {
      return yield* fail("login", new IamError.CredentialsRefused({ detail: "the password is empty: give one" }))
    }
    if (input.organization.trim() === "") {
      return yield* fail(
        "login",
        new IamError.Misconfigured({
          detail: `this IAM signs in to an organization: name it in the selection, { organization: "…" }`
        })
      )
    }
    return yield* client.login(input)
  })

  const tokenSet = (accessToken: Redacted.Redacted, answer: {
    readonly tokenType: string
    readonly receivedAt: DateTime.Utc
    readonly serverTime: Option.Option<DateTime.Utc>
  }) => TokenSet.fromAnswer({ ...answer, accessToken, defaultLifetime: settings.policy.defaultLifetime })

  const iam = IamClient.IamClient.of({
    issuer: settings.host,
    clientId: "genomcore",
    policy: settings.policy,
    // The known programs read `TOKEN`: too common a name to send what it holds to somebody.
    environment: [],

    login: ({ handle, password }, { organization = "", project }) =>
      Effect.map(login({ username: handle, password, organization, project }), (answer) => ({
        tokens: tokenSet(answer.token, { ...answer, tokenType: settings.tokenType }),
        grant: grantOf(answer.refreshToken),
        user: answer.user.pipe(
          Option.orElse(() => GenomcoreClaims.userOf(answer.token)),
          withHandle(Option.some(handle)),
          Option.orElse(() => GenomcoreClaims.userFrom({ username: handle }))
        ),
        serverTime: answer.serverTime
      })),

    adopt: IamClient.adoptBearer({ issuer: settings.host, tokenType: settings.tokenType }),

    renew: Effect.fn("GenomcoreIam.renew")(function*(session: Session.Session, target: Selection.Selection) {
      const { grant } = session
      if (grant._tag !== "RefreshToken") {
        return yield* fail(
          "renew",
          new IamError.Unsupported({ detail: "the session has no refresh token: sign in again" })
        )
      }
      const named = settings.stickyProject || target.project !== session.current.project ? target.project : undefined
      // An IAM that is not told the project may take it from the token that is sent.
      const own = named === undefined ? Session.tokenFor(session, target) : Option.none()
      const sent = Option.getOrUndefined(Option.orElse(own, () => newest(session)))
      if (sent === undefined) {
        return yield* fail(
          "renew",
          new IamError.Unsupported({
            detail: "the session has no access token, which a renewal must send: sign in again"
          })
        )
      }
      const answer = yield* client.refresh({
        token: sent.accessToken,
        refreshToken: grant.refreshToken,
        project: named
      })
      return {
        tokens: tokenSet(answer.token, { ...answer, tokenType: sent.tokenType }),
        grant: answer.refreshToken === undefined ? grant : grantOf(answer.refreshToken),
        user: answer.user.pipe(
          withHandle(Option.flatMap(session.user, (user) => user.handle)),
          Option.orElse(() => session.user)
        ),
        serverTime: answer.serverTime
      }
    }),

    whoami: (session) =>
      Option.match(
        Option.orElse(session.user, () =>
          Option.flatMap(Session.currentToken(session), (tokens) => GenomcoreClaims.userOf(tokens.accessToken))),
        {
          onNone: () =>
            fail(
              "whoami",
              new IamError.Unsupported({
                detail: "this IAM has no known route that says who a token belongs to, and the token names nobody"
              })
            ),
          onSome: Effect.succeed
        }
      ),

    revoke: () =>
      Effect.succeed(IamClient.Revocation.make({
        _tag: "NotRevoked",
        reason:
          "this IAM has no known route to sign out: only this side forgot the session, its tokens live until they expire"
      })),

    document: GenomcoreDocument.make(settings),

    present: IamClient.presentBearer
  })

  const genomcore = GenomcoreIam.of({
    env: settings.env,
    host: settings.host,
    tokenType: settings.tokenType,
    projectId: (of) => {
      const token = Redacted.isRedacted(of)
        ? Option.some(of)
        : Option.map(Session.currentToken(of), (tokens) => tokens.accessToken)
      return Option.isSome(token)
        ? GenomcoreClaims.projectId(token.value, settings.projectIdClaims)
        : Effect.fail(
          new GenomcoreClaims.ProjectIdError({
            reason: "MissingToken",
            detail: "the session has no access token for its current selection: sign in first"
          })
        )
    },
    login: ({ organizationId, password, projectId, username }) =>
      Effect.map(
        login({ username, password, organization: `${organizationId}`, project: `${projectId ?? ""}` }),
        ({ refreshToken, token }) => ({ token, refreshToken })
      )
  })

  return Context.make(IamClient.IamClient, iam).pipe(Context.add(GenomcoreIam, genomcore))
})

/**
 * The services of one IAM. Its sessions are named by its auth origin and the client `genomcore`.
 *
 * **Example** (Signing in to an organization)
 *
 * ```ts
 * import { AuthManager, AuthStrategy } from "@effect-authn/core"
 * import { GenomcoreIam } from "@effect-authn/iam-genomcore"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { Config, Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   const password = yield* Config.Redacted("PASSWORD")
 *   return yield* auth.login(AuthStrategy.password({ handle: "ada", password, organization: "acme" }))
 * }).pipe(Effect.provide(NodeAuth.layer(GenomcoreIam.layer({ host: "https://auth.example.com" }))))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: GenomcoreOptions.GenomcoreOptions
): Layer.Layer<IamClient.IamClient | GenomcoreIam, IamError.IamError, HttpClient.HttpClient> =>
  Layer.effectContext(make(options))

/**
 * The services of the IAM that the configuration names; `GenomcoreOptions.fromEnvironment` unless told otherwise.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<GenomcoreOptions.GenomcoreOptions> = GenomcoreOptions.fromEnvironment
): Layer.Layer<
  IamClient.IamClient | GenomcoreIam,
  IamError.IamError | Config.ConfigError,
  HttpClient.HttpClient
> => Layer.effectContext(Effect.flatMap(Config.unwrap(options), make))

const grantOf = (refreshToken: Redacted.Redacted): Session.Grant =>
  Session.Grant.make({ _tag: "RefreshToken", refreshToken })

// The answers of this IAM name people by number and e-mail address only.
const withHandle = (handle: Option.Option<string>) =>
  Option.map((user: User.User) => Option.isSome(user.handle) ? user : User.User.make(Struct.assign(user, { handle })))

const newest = (session: Session.Session): Option.Option<TokenSet.TokenSet> =>
  Object.values(session.tokens).reduce(
    (newest, tokens) =>
      Option.exists(newest, (found) => !DateTime.isLessThan(found.issuedAt, tokens.issuedAt))
        ? newest
        : Option.some(tokens),
    Session.currentToken(session)
  )
