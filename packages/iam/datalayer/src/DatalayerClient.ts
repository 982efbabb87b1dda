/**
 * The authentication routes of a Datalayer-style IAM, read tolerantly: 200 where 201 is documented, `"true"` for `true`,
 * fields that come and go. What cannot be understood is an `IamError`, never a guess.
 *
 * @since 0.1.0
 */
import { Revocation } from "@effect-authn/core/iam/IamClient"
import {
  CredentialsRefused,
  GrantDead,
  type IamError,
  type IamErrorReason,
  Malformed
} from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as User from "@effect-authn/core/session/User"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as DatalayerOptions from "./DatalayerOptions.ts"
import * as DatalayerProfile from "./DatalayerProfile.ts"
import * as Lenient from "./internal/lenient.ts"

/**
 * The answer to a login or a token exchange. `user` is there if the answer had one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Login {
  readonly token: Redacted.Redacted
  readonly user: Option.Option<User.User>
  readonly serverTime: Option.Option<DateTime.Utc>
  readonly receivedAt: DateTime.Utc
}

/**
 * The IAM's word on its own health.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  readonly status: Option.Option<string>
  readonly message: Option.Option<string>
  readonly version: Option.Option<string>
}

/**
 * A user's place in an organization or a team.
 *
 * @category models
 * @since 0.1.0
 */
export interface Membership {
  readonly type: Option.Option<string>
  readonly id: Option.Option<string>
  readonly uid: Option.Option<string>
  readonly handle: Option.Option<string>
  readonly name: Option.Option<string>
  readonly description: Option.Option<string>
  readonly organizationUid: Option.Option<string>
  readonly public: Option.Option<boolean>
  readonly members: ReadonlyArray<Schema.Json>
  readonly roles: ReadonlyArray<string>
}

/**
 * The routes. Each request goes to the issuer's origin, is sent once, and follows no redirect.
 *
 * - `login` and `exchange` are `POST /login` with a password and with a token. A refused password is
 *   `CredentialsRefused`, a refused token `GrantDead`.
 * - `whoami`, `me`, `auth` and `memberships` fail with `CredentialsRefused` when the IAM refuses the token.
 * - `logout` says whether the IAM ended the token. Only an IAM that cannot be asked is a failure.
 *
 * @category models
 * @since 0.1.0
 */
export interface DatalayerClient {
  readonly login: (credentials: {
    readonly handle: string
    readonly password: Redacted.Redacted
  }) => Effect.Effect<Login, IamError>
  readonly exchange: (token: Redacted.Redacted) => Effect.Effect<Login, IamError>
  readonly logout: (token: Redacted.Redacted) => Effect.Effect<Revocation, IamError>
  readonly whoami: (token: Redacted.Redacted) => Effect.Effect<User.User, IamError>
  readonly me: (token: Redacted.Redacted) => Effect.Effect<User.User, IamError>
  readonly auth: (token: Redacted.Redacted) => Effect.Effect<void, IamError>
  readonly memberships: (token: Redacted.Redacted) => Effect.Effect<ReadonlyArray<Membership>, IamError>
  readonly ping: Effect.Effect<Health, IamError>
}

/**
 * Makes a client of an IAM, whose address may be written in any of its ways. Each request may take the policy's
 * `timeLimit`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: DatalayerOptions.DatalayerOptions
): Effect.fn.Return<DatalayerClient, IamError, HttpClient.HttpClient> {
  const http = yield* HttpClient.HttpClient
  const { issuer, policy } = yield* DatalayerOptions.complete(options)

  const send = (
    request: HttpClientRequest.HttpClientRequest,
    path: string,
    call: IamHttp.Call
  ): Effect.Effect<IamHttp.Answer, IamError> =>
    IamHttp.execute(
      request.pipe(HttpClientRequest.setUrl(`${issuer}/api/iam/v1${path}`), HttpClientRequest.acceptJson),
      call
    ).pipe(Effect.provideService(HttpClient.HttpClient, http))

  // The clients in the field use two paths for one route, and a server may have either.
  const sendEither = (request: HttpClientRequest.HttpClientRequest, path: string, call: IamHttp.Call) =>
    Effect.filterOrElse(
      send(request, path, call),
      (answer) => !hasNoRoute(answer),
      () => send(request, `/authentication${path}`, call)
    )

  const call = (method: string, ...secrets: ReadonlyArray<Redacted.Redacted>): IamHttp.Call => ({
    issuer,
    method,
    secrets,
    timeLimit: policy.timeLimit
  })

  const signIn = (
    call: IamHttp.Call,
    body: { readonly [name: string]: string },
    refusal: (answer: IamHttp.Answer) => Option.Option<IamErrorReason>
  ) =>
    Effect.gen(function*() {
      const request = HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(""), body)
      const answer = yield* sendEither(request, "/login", call)
      const refused = refusal(answer)
      if (Option.isSome(refused)) return yield* IamHttp.error(call, refused.value)
      return yield* issued(yield* success(answer, call), answer, call)
    })

  const get = (method: string, path: string, token: Redacted.Redacted) =>
    Effect.gen(function*() {
      const route = call(method, token)
      const answer = yield* send(HttpClientRequest.bearerToken(HttpClientRequest.get(""), token), path, route)
      if (isRefusal(answer)) {
        const detail = `the IAM refused the token${because(answer)}; sign in again, or use another token`
        return yield* IamHttp.error(route, new CredentialsRefused({ detail }))
      }
      return { answer, route }
    })

  const profile = (method: string, path: string, name: string) => (token: Redacted.Redacted) =>
    Effect.gen(function*() {
      const { answer, route } = yield* get(method, path, token)
      const body = yield* success(answer, route)
      return yield* Effect.mapError(
        Effect.fromResult(DatalayerProfile.toUser(body[name])),
        (reason) => IamHttp.error(route, reason)
      )
    })

  return {
    login: ({ handle, password }) =>
      signIn(
        call("login", password),
        { handle, password: Redacted.value(password) },
        (answer) =>
          isRefusal(answer) || (answer.status === 400 && isOwn(answer))
            ? Option.some(
              new CredentialsRefused({ detail: `the IAM refused the handle and the password${because(answer)}` })
            )
            : Option.none()
      ),

    // Nothing but the IAM's own word ends a grant: a gateway's 403 can look much like it.
    exchange: (token) =>
      signIn(
        call("renew", token),
        { token: Redacted.value(token) },
        (answer) =>
          saysNo(answer) || (answer.status === 401 && isOwn(answer))
            ? Option.some(new GrantDead({ detail: `the IAM refused to exchange the token${because(answer)}` }))
            : Option.none()
      ),

    logout: (token) =>
      Effect.gen(function*() {
        const request = HttpClientRequest.bearerToken(HttpClientRequest.get(""), token)
        const answer = yield* sendEither(request, "/logout", call("revoke", token))
        return revocation(answer)
      }),

    whoami: profile("whoami", "/whoami", "profile"),
    me: profile("me", "/me", "me"),

    auth: (token) =>
      Effect.flatMap(
        get("auth", "/auth", token),
        ({ answer, route }) => isSuccess(answer) ? Effect.void : Effect.fail(IamHttp.unexpected(answer, route))
      ),

    memberships: (token) =>
      Effect.gen(function*() {
        const { answer, route } = yield* get("memberships", "/memberships", token)
        const body = yield* success(answer, route)
        if (!Array.isArray(body["memberships"])) return yield* IamHttp.unexpected(answer, route)
        return Lenient.objects(body, "memberships").map(membership)
      }),

    ping: Effect.gen(function*() {
      const route = call("ping")
      const body = yield* success(yield* send(HttpClientRequest.get(""), "/ping", route), route)
      const nested = Option.getOrElse(Lenient.object(body, "status"), () => ({}))
      return {
        status: Option.orElse(Lenient.text(body, "status"), () => Lenient.text(nested, "status")),
        message: Lenient.text(body, "message"),
        version: Lenient.text(body, "version")
      }
    })
  }
})

const isSuccess = ({ status }: IamHttp.Answer): boolean => status >= 200 && status < 300

// What only the IAM itself answers, as far as that can be told.
const isOwn = ({ body }: IamHttp.Answer): boolean =>
  Option.exists(body, (body) => ["success", "message", "detail", "errors"].some((name) => name in body))

// A refusal, whatever the status: some servers say it with 200.
const saysNo = ({ body }: IamHttp.Answer): boolean =>
  Option.exists(body, (body) => Option.contains(Lenient.flag(body, "success"), false))

// A proxy's page is no refusal.
const isRefusal = (answer: IamHttp.Answer): boolean =>
  saysNo(answer) || (answer.status === 401 && (isOwn(answer) || answer.isEmpty)) ||
  (answer.status === 403 && isOwn(answer))

const hasNoRoute = (answer: IamHttp.Answer): boolean =>
  (answer.status === 404 || answer.status === 405) && !saysNo(answer)

const because = ({ message, status }: IamHttp.Answer): string =>
  `: ${Option.getOrElse(message, () => `status ${status}`)}`

const success = (answer: IamHttp.Answer, call: IamHttp.Call): Effect.Effect<Schema.JsonObject, IamError> =>
  isSuccess(answer) && Option.isSome(answer.body)
    ? Effect.succeed(answer.body.value)
    : Effect.fail(IamHttp.unexpected(answer, call))

const issued = (
  body: Schema.JsonObject,
  answer: IamHttp.Answer,
  call: IamHttp.Call
): Effect.Effect<Login, IamError> => {
  const token = Option.flatMap(Lenient.text(body, "token"), TokenSet.accessTokenFrom)
  if (Option.isNone(token)) {
    return Effect.fail(IamHttp.error(call, new Malformed({ detail: `${answer.shape}, but no token in it` })))
  }
  return Effect.succeed({
    token: token.value,
    user: Result.getSuccess(DatalayerProfile.toUser(body["user"])),
    serverTime: answer.serverTime,
    receivedAt: answer.receivedAt
  })
}

const revocation = (answer: IamHttp.Answer): Revocation => {
  const kept = (reason: string) => Revocation.cases.NotRevoked.make({ reason })
  if (hasNoRoute(answer)) return kept("the IAM has no logout route")
  if (isSuccess(answer) && !saysNo(answer) && (Option.isSome(answer.body) || answer.isEmpty)) {
    return Revocation.cases.Revoked.make({})
  }
  return kept(
    answer.status === 401
      ? "the IAM no longer accepts the token"
      : `the IAM did not end the session: ${Option.getOrElse(answer.message, () => answer.shape)}`
  )
}

const membership = (raw: Schema.JsonObject): Membership => ({
  type: Lenient.text(raw, "type"),
  id: Lenient.text(raw, "id"),
  uid: Lenient.text(raw, "uid"),
  handle: Lenient.text(raw, "handle"),
  name: Lenient.text(raw, "name"),
  description: Lenient.text(raw, "description"),
  organizationUid: Lenient.text(raw, "organization_uid"),
  public: Lenient.flag(raw, "public"),
  members: Lenient.list(raw, "members"),
  roles: Lenient.texts(raw, "roles_ss")
})
