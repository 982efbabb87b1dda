/**
 * The two known requests of a Genomcore-style IAM, read tolerantly: fields may be added, spelled otherwise or missing.
 *
 * @since 0.1.0
 */
import * as IamError from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as User from "@effect-authn/core/session/User"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as GenomcoreClaims from "./GenomcoreClaims.ts"
import * as GenomcoreOptions from "./GenomcoreOptions.ts"

/**
 * What a login sends. An absent project is the user's default project.
 *
 * @category models
 * @since 0.1.0
 */
export interface Login {
  readonly username: string
  readonly password: Redacted.Redacted
  readonly organization: string
  readonly project?: string | undefined
}

/**
 * What a renewal sends: the current pair, of which the access token may have expired, and the project to go to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refresh {
  readonly token: Redacted.Redacted
  readonly refreshToken: Redacted.Redacted
  readonly project?: string | undefined
}

/**
 * What the IAM answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly token: Redacted.Redacted
  readonly refreshToken: Redacted.Redacted | undefined
  readonly user: Option.Option<User.User>
  readonly serverTime: Option.Option<DateTime.Utc>
  readonly receivedAt: DateTime.Utc
}

/**
 * An access token and the refresh token that came with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pair {
  readonly token: Redacted.Redacted
  readonly refreshToken: Redacted.Redacted
}

/**
 * The two requests. Each is sent once: a second login could lock the account, and a renewal whose answer was lost may
 * have spent the refresh token.
 *
 * @category models
 * @since 0.1.0
 */
export interface GenomcoreClient {
  readonly login: (input: Login) => Effect.Effect<Answer & Pair, IamError.IamError>
  readonly refresh: (input: Refresh) => Effect.Effect<Answer, IamError.IamError>
}

/**
 * Makes a client of an IAM. Wrong options are `Misconfigured`.
 *
 * A refusal counts as the IAM's own word only when it is JSON or empty. Then, on a login, 401 and 404 are
 * `CredentialsRefused`, in the same words, so that nobody learns which accounts exist; on a renewal, 401 is `GrantDead`
 * and 404 `SelectionRefused`, where a project was asked for. 403 is `SelectionRefused`, 400 and 422 are `Misconfigured`
 * with the IAM's details. A 200 or 201 without a usable token is `Malformed`, as is any other 2xx.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: GenomcoreOptions.GenomcoreOptions
): Effect.fn.Return<GenomcoreClient, IamError.IamError, HttpClient.HttpClient> {
  const settings = yield* GenomcoreOptions.complete(options)
  const http = yield* HttpClient.HttpClient
  const post = (path: string, call: IamHttp.Call, body: { readonly [name: string]: string }) =>
    HttpClientRequest.post(`${settings.host}${path}`).pipe(
      HttpClientRequest.acceptJson,
      HttpClientRequest.bodyJsonUnsafe(body),
      (request) => IamHttp.execute(request, call),
      Effect.provideService(HttpClient.HttpClient, http)
    )

  return {
    login: Effect.fnUntraced(function*({ organization, password, project, username }: Login) {
      const path = settings.paths.login
      const call = callOf(settings, "login", [password])
      const answer = yield* post(path, call, {
        username,
        password: Redacted.value(password),
        organization,
        ...(project && { project })
      })
      if (!isSuccess(answer)) return yield* refusal(answer, call, path, loginRefusals)
      const { refreshToken, ...rest } = yield* read(answer, call)
      if (refreshToken !== undefined) return { ...rest, refreshToken }
      return yield* IamHttp.error(call, new IamError.Malformed({ detail: `${answer.shape} but no refresh token` }))
    }),

    refresh: Effect.fnUntraced(function*({ project, refreshToken, token }: Refresh) {
      const path = settings.paths.refresh
      const call = callOf(settings, "renew", [token, refreshToken])
      const answer = yield* post(path, call, {
        token: Redacted.value(token),
        refreshToken: Redacted.value(refreshToken),
        ...(project && { project })
      })
      if (isSuccess(answer)) return yield* read(answer, call)
      return yield* refusal(answer, call, path, project ? scopedRefreshRefusals : refreshRefusals)
    })
  }
})

const callOf = (
  settings: GenomcoreOptions.Settings,
  method: string,
  secrets: ReadonlyArray<Redacted.Redacted>
): IamHttp.Call => ({ issuer: settings.host, method, secrets, timeLimit: settings.policy.timeLimit })

const isSuccess = ({ body, status }: IamHttp.Answer): boolean =>
  (status === 200 || status === 201) && Option.isSome(body)

const read = Effect.fnUntraced(function*(
  answer: IamHttp.Answer,
  call: IamHttp.Call
): Effect.fn.Return<Answer, IamError.IamError> {
  const body: { readonly [name: string]: unknown } = Option.getOrElse(answer.body, () => ({}))
  const token = TokenSet.accessTokenFrom(first(body, ["token", "accessToken", "access_token"]))
  if (Option.isNone(token)) {
    return yield* IamHttp.error(call, new IamError.Malformed({ detail: `${answer.shape} but no usable token` }))
  }
  const sent = first(body, ["refreshToken", "refresh_token"])
  const refreshToken = TokenSet.refreshTokenFrom(sent)
  if (sent !== "" && Option.isNone(refreshToken)) {
    const detail = "the tokens are refused: the refresh token has a character that no such token has"
    return yield* IamHttp.error(call, new IamError.Malformed({ detail }))
  }
  return {
    token: token.value,
    refreshToken: Option.getOrUndefined(refreshToken),
    user: GenomcoreClaims.userFrom(body["user"]),
    serverTime: answer.serverTime,
    receivedAt: answer.receivedAt
  }
})

const first = (body: { readonly [name: string]: unknown }, names: ReadonlyArray<string>): string =>
  names.map((name) => body[name]).filter(Predicate.isString).find((value) => value !== "") ?? ""

const selectionRefused = (detail: string) => new IamError.SelectionRefused({ detail })
const formRefused = (detail: string) =>
  new IamError.Misconfigured({ detail: `the IAM does not accept the form of the request: ${detail}` })
const credentialsRefused = () =>
  new IamError.CredentialsRefused({ detail: "the username, the password or the organization is wrong" })

const refusals: IamHttp.Refusals = { 400: formRefused, 403: selectionRefused, 422: formRefused }
const loginRefusals: IamHttp.Refusals = { ...refusals, 401: credentialsRefused, 404: credentialsRefused }
const refreshRefusals: IamHttp.Refusals = { ...refusals, 401: (detail) => new IamError.GrantDead({ detail }) }
const scopedRefreshRefusals: IamHttp.Refusals = { ...refreshRefusals, 404: selectionRefused }

const refusal = (
  answer: IamHttp.Answer,
  call: IamHttp.Call,
  path: string,
  refusals: IamHttp.Refusals
): IamError.IamError => {
  // A web framework that has no such route names it: that says nothing about the user or the project.
  const isNoRoute = answer.status === 404 && Option.exists(answer.message, (message) => message.includes(path))
  if (isNoRoute) return IamHttp.unexpected(answer, call)
  // Without a body, too, this IAM refuses: a proxy would send a page.
  return IamHttp.refused(answer.isEmpty ? { ...answer, body: Option.some({}) } : answer, call, refusals)
}
