/** What a provider means by its refusals: which is a dead grant, which passes, which has to be put right. */
import {
  CredentialsRefused,
  GrantDead,
  type IamError,
  type IamErrorReason,
  Misconfigured,
  SelectionRefused,
  Unavailable
} from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Option from "effect/Option"

/** What was asked for: with a refresh token, with a code or a device code, or with the client's own credentials. */
export type Purpose = "renew" | "code" | "client"

/** The `error` of an answer (RFC 6749, section 5.2). Some providers send it with status 200. */
export const codeOf = ({ body }: IamHttp.Answer): string | undefined => {
  const code = Option.getOrUndefined(body)?.["error"]
  return typeof code === "string" && code !== "" ? code : undefined
}

const reasonOf = (answer: IamHttp.Answer, call: IamHttp.Call, purpose: Purpose): IamErrorReason => {
  const code = codeOf(answer)
  const said = Option.getOrElse(answer.message, () => answer.shape)
  if (purpose === "renew" && isDead(code, said, answer)) return new GrantDead({ detail: said })
  switch (code) {
    case undefined:
      return IamHttp.unexpected(answer, call).reason
    case "invalid_grant":
    case "access_denied":
    case "login_required":
    case "interaction_required":
    case "consent_required":
      return new CredentialsRefused({ detail: said })
    case "invalid_scope":
    case "invalid_target":
      return new SelectionRefused({ detail: said })
    case "invalid_client":
    case "unauthorized_client":
      return new Misconfigured({
        detail:
          `the provider refuses the client (${said}): check its id, its secret or key, how it authenticates, and ` +
          "what it may do"
      })
    case "invalid_request":
    case "unsupported_grant_type":
    case "unsupported_response_type":
      return new Misconfigured({
        detail: `the provider refuses the request (${said}): check the client's set-up there`
      })
    case "server_error":
      return new Unavailable({ sent: "maybe", detail: said })
    case "temporarily_unavailable":
    case "slow_down":
      return new Unavailable({ sent: "no", detail: said })
    default:
      return unknown(answer.status, said, purpose)
  }
}

export const errorOf = (answer: IamHttp.Answer, call: IamHttp.Call, purpose: Purpose): IamError =>
  IamHttp.error(call, reasonOf(answer, call, purpose))

const unknown = (status: number, said: string, purpose: Purpose): IamErrorReason => {
  switch (purpose) {
    case "renew":
      // A code that nobody knows is no reason to throw a session away.
      return new Unavailable({ sent: "maybe", detail: `status ${status}: ${said}; if it stays so, sign in again` })
    case "client":
      return new Misconfigured({ detail: `the provider refuses the client (${said}): check its set-up there` })
    default:
      return new CredentialsRefused({ detail: said })
  }
}

const dead = new Set([
  "invalid_grant",
  "invalid_token",
  "login_required",
  "interaction_required",
  "consent_required",
  "mfa_required",
  // What some providers say instead.
  "bad_refresh_token",
  "expired_refresh_token",
  "invalid_refresh_token",
  "revoked_refresh_token",
  "refresh_token_already_used",
  "refresh_token_expired",
  "refresh_token_invalid",
  "refresh_token_not_found",
  "refresh_token_reused",
  "refresh_token_revoked",
  "expired_token",
  "token_expired",
  "token_revoked",
  "session_terminated"
])
// The standard codes that some providers use for a dead refresh token: then, and only then, the words tell.
const misused = new Set(["invalid_request", "unauthorized_client", "access_denied"])
const fatal = [
  /\b(bad|expired|inactive|invalid|revoked|unknown)[\s"'…]+refresh[ _-]?token\b/i,
  /\brefresh[ _-]?token[\s"'…:]+((is|was|has|been|already) )*(expired|inactive|invalid|reused?|revoked|unknown)\b/i,
  /\brefresh[ _-]?token[\s"'…:]+((is|was|has|already) )*((been|already) used|(not|no longer) (active|found|valid))\b/i
]
// Words about the request, or about what the client may do.
const elsewhere = /\b(grant[ _-]?type|parameter|for (this |the |your )?client)/i

const isDead = (code: string | undefined, said: string, { isEmpty, status }: IamHttp.Answer): boolean => {
  // No proxy answers a form with an empty 400 or 401; a provider that has nothing more to say does.
  if (code === undefined) return isEmpty && (status === 400 || status === 401)
  const name = code.toLowerCase().replaceAll("-", "_")
  return dead.has(name) ||
    (misused.has(name) && fatal.some((words) => words.test(said)) && !elsewhere.test(said))
}
