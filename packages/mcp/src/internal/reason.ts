/** What can go wrong with the authorization, how an error of HTTP carries it, and what the person types next. */
import { type AuthError, NoCredentials, NotAuthenticated, ReauthenticationRequired } from "@effect-authn/core/AuthError"
import { IamError, Misconfigured, Unavailable } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as Effect from "effect/Effect"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/**
 * The server wants scopes that no sign-in brought: it was asked for them as often as it may be. `required` are those that
 * it named last.
 *
 * @category errors
 * @since 0.1.0
 */
export class ScopeRefused extends Schema.TaggedError<ScopeRefused>("@effect-authn/mcp/McpAuth/ScopeRefused")(
  "ScopeRefused",
  { url: Schema.String, required: Schema.Array(Schema.String), account: Schema.optional(Schema.String) }
) {
  override get message(): string {
    return `${this.url} still wants the scopes "${
      this.required.join(" ")
    }" after signing in for them: ask who runs the ` +
      `server which account may have them, then type: ${command(this.url, this.account)}`
  }
}

/**
 * Every failure of a request or a sign-in.
 *
 * @category errors
 * @since 0.1.0
 */
export type McpAuthError = AuthError | ScopeRefused

const tags: ReadonlySet<string> = new Set([
  "NotAuthenticated",
  "ReauthenticationRequired",
  "InvalidCredentials",
  "NoCredentials",
  "LoginTimedOut",
  "StepUpRequired",
  "IamError",
  "TokenStorageError",
  "SessionLockError",
  "JwtError",
  "ScopeRefused"
])

const isOurs = (error: unknown): error is McpAuthError =>
  Predicate.isError(error) && Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" &&
  tags.has(error._tag)

/**
 * What went wrong with the authorization, of an error in which it arrives: an `HttpClientError`, or whatever a client of
 * MCP makes of one. `None` where it is about something else.
 *
 * @category errors
 * @since 0.1.0
 */
export const reasonOf = (error: unknown): Option.Option<McpAuthError> => {
  const seen = new Set<unknown>()
  const waiting = [error]
  for (const one of waiting) {
    if (isOurs(one)) return Option.some(one)
    if (!Predicate.isObject(one) || seen.has(one)) continue
    seen.add(one)
    for (const name of ["cause", "reason", "error", "failure"]) {
      if (Predicate.hasProperty(one, name)) waiting.push(one[name])
    }
  }
  return Option.none()
}

const isReauthentication = Schema.is(ReauthenticationRequired)

/** Whether nobody is signed in. */
export const isNotAuthenticated = Schema.is(NotAuthenticated)

/** Whether there was no way to ask a person. */
export const isWithoutWay = Schema.is(NoCredentials)

/** Whether only a new sign-in helps. */
export const isEnded = (error: AuthError | ScopeRefused): boolean =>
  isReauthentication(error) || isNotAuthenticated(error)

/** Whether the authorization server does not know the client any more. */
export const isRefusedClient = (error: AuthError | ScopeRefused): boolean =>
  error._tag === "IamError" && error.reason._tag === "Misconfigured" && error.reason.refused === "client"

/** An error of HTTP in which one of ours arrives. */
export const carried = (
  request: HttpClientRequest.HttpClientRequest,
  cause: McpAuthError | HttpClientError.HttpClientError
) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, cause, description: cause.message })
  })

/** Nobody is signed in to a server, and what the person types. */
export const signedOut = (server: Named, { clientId, detail, issuer }: {
  readonly issuer: string
  readonly clientId: string
  readonly detail: string
}): NotAuthenticated =>
  new NotAuthenticated({
    key: SessionKey.SessionKey.make({ issuer, clientId, account: nameOf(server) }),
    detail: `${detail}; type: ${typed(server)}`
  })

/** A server, and which of several sessions there. */
export interface Named {
  readonly canonical: string
  readonly account: string
}

/** What the sessions of a resource are called. */
export const nameOf = ({ account, canonical }: Named): string =>
  account === "default" ? `mcp ${canonical}` : `mcp ${canonical} ${account}`

// An address may hold what a shell takes for its own, and it is pasted.
const word = (text: string) => /^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

const typed = ({ account, canonical }: Named) => command(canonical, account)

const command = (server: string, account = "default") =>
  `authn mcp login ${word(server)}${account === "default" ? "" : ` --account ${word(account)}`}`

/** Errors that only a new sign-in at a server mends name the command. */
export const withCommand = (server: Named) => <A, E, R>(effect: Effect.Effect<A, E | AuthError, R>) =>
  Effect.mapError(
    effect,
    (error) =>
      Predicate.isTagged(error, "ReauthenticationRequired") && isReauthentication(error)
        ? new ReauthenticationRequired({
          key: error.key,
          answerLost: error.answerLost,
          detail: error.detail.includes(typed(server)) ? error.detail : `${error.detail}; type: ${typed(server)}`
        })
        : Predicate.isTagged(error, "NotAuthenticated") && isNotAuthenticated(error) && error.detail === undefined
        ? signedOut(server, {
          issuer: error.key.issuer,
          clientId: error.key.clientId,
          detail: "nobody has signed in"
        })
        : error
  )

/** Trying again changes nothing before somebody has changed what `detail` names. */
export const misconfigured = (issuer: string, method: string, detail: string): IamError =>
  new IamError({ issuer, method, reason: new Misconfigured({ detail }) })

/** The server gives no answer that says anything. */
export const unavailable = (issuer: string, detail: string): IamError =>
  new IamError({ issuer, method: "connect", reason: new Unavailable({ sent: "maybe", detail }) })

/** A server that was asked by somebody who comes with nothing, and did not say where to sign in. */
export const noSignIn = (issuer: string, response: HttpClientResponse.HttpClientResponse): IamError => {
  const { headers, status } = response
  const type = (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? ""
  const because = (detail: string) => misconfigured(issuer, "login", `${detail} (status ${status})`)
  if (status >= 500 || status === 429) return unavailable(issuer, `the server answers with status ${status}`)
  if (status === 401 || status === 403) {
    return because(
      "the server does not say where to sign in, so it wants something else than a token of OAuth: ask who runs it what " +
        "to send"
    )
  }
  if (status >= 300 && status < 400) {
    const to = IamHttp.quote(SecureUrl.shown(headers["location"] ?? "elsewhere"))
    return because(`the server redirects to ${to}, and nothing follows: give the address of the MCP server itself`)
  }
  return status < 300 && (type === "application/json" || type === "text/event-stream")
    ? because("the server answers without a sign-in: nothing has to be done")
    : because(
      `there is no MCP server at that address, which answers with ${type === "" ? "nothing" : IamHttp.quote(type)}`
    )
}
