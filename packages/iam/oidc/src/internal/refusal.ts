/** What a provider means by its refusals: which is a dead grant, which passes, which has to be put right. */
import * as Challenge from "@effect-authn/core/Challenge"
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
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"

/** What was asked for: with a refresh token, with a code or a device code, or with the client's own credentials. */
export type Purpose = "renew" | "code" | "client"

/**
 * - `grant`: it is spent, revoked, expired or unknown, or the person has to sign in again.
 * - `denied`: somebody said no.
 * - `selection`: not for this scope or resource.
 * - `client`, `request`: the set-up is wrong; asking again changes nothing.
 * - `proof`: not the client is wrong, but what it proves its key with (RFC 9449).
 * - `outage`: the provider may have acted; `busy`: it has not.
 * - `device`: a step of the device login.
 */
type Meaning = "grant" | "denied" | "selection" | "client" | "request" | "proof" | "outage" | "busy" | "device"

// The standard codes (RFC 6749, section 5.2; RFC 8628, section 3.5; RFC 8707; RFC 9449; OpenID Connect Core, section
// 3.1.2.6), and what real providers say instead; docs/providers.md has their sources.
const meanings: { readonly [code: string]: Meaning | undefined } = {
  invalid_grant: "grant",
  invalid_token: "grant",
  login_required: "grant",
  interaction_required: "grant",
  consent_required: "grant",
  mfa_required: "grant",
  bad_refresh_token: "grant",
  invalid_code: "grant",
  expired_refresh_token: "grant",
  invalid_refresh_token: "grant",
  revoked_refresh_token: "grant",
  refresh_token_already_used: "grant",
  refresh_token_expired: "grant",
  refresh_token_invalid: "grant",
  refresh_token_not_found: "grant",
  refresh_token_reused: "grant",
  refresh_token_revoked: "grant",
  token_expired: "grant",
  token_inactive: "grant",
  token_revoked: "grant",
  session_expired: "grant",
  session_not_found: "grant",
  session_terminated: "grant",
  user_disabled: "grant",
  access_denied: "denied",
  invalid_scope: "selection",
  invalid_target: "selection",
  invalid_client: "client",
  unauthorized_client: "client",
  bad_client_secret: "client",
  deleted_client: "client",
  disabled_client: "client",
  incorrect_client_credentials: "client",
  invalid_api_key: "client",
  invalid_authentication_credentials: "client",
  invalid_client_credentials: "client",
  invalid_client_id: "client",
  invalid_client_secret: "client",
  invalid_dpop_proof: "proof",
  no_api_key_found_in_request: "client",
  use_dpop_nonce: "proof",
  invalid_request: "request",
  unsupported_grant_type: "request",
  unsupported_response_type: "request",
  server_error: "outage",
  temporarily_unavailable: "busy",
  slow_down: "busy",
  authorization_pending: "device",
  expired_token: "device"
}

/** A text as a code of the table: in lower case, with underscores, and without what follows it. */
const asCode = (text: string): string =>
  (text.split(/[,:;.]/)[0] ?? "").trim().replaceAll(/(?<=[a-z])(?=[A-Z])/g, "_").toLowerCase().replaceAll(
    /[\s-]+/g,
    "_"
  )

const isObject = (value: Schema.Json | undefined): value is Schema.JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

// Where providers put their code, if not in `error`, in the order in which it is looked for: in any case, and with or
// without what parts the words of a name.
const names = ("error errorcode errortype code type name status reason title message errormessage msg errmsg " +
  "errordescription detail details description data result fault faultstring").split(" ")

const textsOf = (value: Schema.Json | undefined, depth = 0): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  if (depth > 3) return []
  if (Array.isArray(value)) return value.flatMap((item) => textsOf(item, depth + 1))
  if (!isObject(value)) return []
  // `{ "field": "refresh_token", "code": "invalid" }`
  const { code, field } = value
  const named = typeof code === "string" && typeof field === "string" ? [`${code} ${field}`] : []
  const members = IamHttp.membersOf(value)
  return [...named, ...names.flatMap((name) => textsOf(members.get(name), depth + 1))]
}

/**
 * The code of a refusal: `error` where that is a text, as RFC 6749 has it, else what says the same somewhere else. Some
 * providers send it with status 200. A code of the table is spelled as it is there.
 */
export const codeOf = ({ body, challenge, status }: IamHttp.Answer): string | undefined => {
  const fields = Option.getOrElse(body, (): Schema.JsonObject => ({}))
  const { error } = fields
  const isIssued = status < 300 && typeof fields["access_token"] === "string"
  if (typeof error === "string" && error !== "") {
    const known = asCode(error)
    if (meanings[known] !== undefined) return known
    if (!isIssued) return error
  }
  // Some say beside the tokens that there was no error.
  if (isIssued) return undefined
  const { errors, ...rest } = fields
  return [...textsOf(error), ...textsOf(errors), ...textsOf(rest)].map(asCode).find((code) =>
    meanings[code] !== undefined
  ) ?? (Option.isNone(body) ? refusalIn(challenge)?.code : undefined)
}

// An answer without a body may have its code in the header alone (RFC 6750, section 3). What a server before the provider
// says there of what it misses itself, such as `invalid_token`, is not about the grant.
const refusalIn = (challenge: string) =>
  Challenge.parse(challenge).map(({ parameters }) => ({
    code: asCode(parameters.get("error") ?? ""),
    description: parameters.get("error_description") ?? ""
  })).find(({ code }) => code === "invalid_grant" || meanings[code] === "client" || meanings[code] === "proof")

const wordsOf = ({ body, challenge, message, shape }: IamHttp.Answer, call: IamHttp.Call): string =>
  Option.getOrElse(message, () => {
    const refusal = Option.isNone(body) ? refusalIn(challenge) : undefined
    if (refusal === undefined) return shape
    const { code, description } = refusal
    return IamHttp.quote(description === "" ? code : `${code}: ${description}`, call.secrets)
  })

const reasonOf = (
  answer: IamHttp.Answer,
  call: IamHttp.Call,
  purpose: Purpose,
  spent: "no" | "maybe"
): IamErrorReason => {
  const code = codeOf(answer)
  const said = wordsOf(answer, call)
  if (purpose === "renew" && isPassing(answer)) {
    return new Unavailable({ sent: "maybe", detail: said, retryAfter: answer.retryAfter })
  }
  if (purpose === "renew" && isDead(code, said)) return new GrantDead({ detail: said })
  // Whoever asks for `Basic` did not accept the client (RFC 6749, section 5.2).
  if (code === undefined && answer.status === 401 && isBasic.test(answer.challenge)) return refusedClient(said)
  switch (code === undefined ? undefined : meanings[code]) {
    case "denied":
      // 401 is about the client (RFC 6749, section 5.2), by whatever name: Auth0 says so of a wrong secret.
      return answer.status === 401 ? refusedClient(said) : new CredentialsRefused({ detail: said })
    case "grant":
    case "device":
      return new CredentialsRefused({ detail: said })
    case "selection":
      return new SelectionRefused({ detail: said, spent })
    case "client":
      return refusedClient(said)
    case "proof":
      return new Misconfigured({
        detail: `the provider refuses the proof of the key (${said}): see whether this machine's clock is right, and ` +
          "whether a proxy changes addresses or headers"
      })
    case "request":
      return new Misconfigured({
        detail: `the provider refuses the request (${said}): check the client's set-up there`
      })
    case "outage":
      return new Unavailable({ sent: "maybe", detail: said, retryAfter: answer.retryAfter })
    case "busy":
      return new Unavailable({ sent: "no", detail: said, retryAfter: answer.retryAfter })
    default:
      // A gateway of the provider's own: nothing is wrong with what was asked.
      if (code === undefined && answer.status === 403 && Option.isSome(answer.body)) {
        return new Unavailable({ sent: "maybe", detail: `status 403: ${said}`, retryAfter: answer.retryAfter })
      }
      return code === undefined && (purpose !== "renew" || isOfOthers(answer) || answer.status < 400) ||
          isNoRoute(answer)
        ? IamHttp.unexpected(answer, call).reason
        : unknown(answer, said, purpose)
  }
}

/** `spent` is whether a refresh token may have been used up before a selection was refused. */
export const errorOf = (
  answer: IamHttp.Answer,
  call: IamHttp.Call,
  purpose: Purpose,
  spent: "no" | "maybe" = "no"
): IamError => IamHttp.error(call, reasonOf(answer, call, purpose, spent))

/**
 * Whether a refusal may be of the way in which the client authenticates: `invalid_client` by the standard (RFC 6749,
 * section 5.2); Keycloak says `unauthorized_client`, the router of the MCP SDK `invalid_request`, others 401 with a page
 * or nothing. Such an answer has used up neither code nor refresh token.
 */
export const isOfClient = (answer: IamHttp.Answer): boolean => {
  const code = codeOf(answer)
  return code === undefined
    ? answer.status === 401
    : code === "invalid_client" || (code === "access_denied" && answer.status === 401) ||
      ((code === "unauthorized_client" || code === "invalid_request") && !isSpent(answer))
}

const isSpent = ({ message }: IamHttp.Answer): boolean =>
  Option.exists(message, (said) => fatal.some((words) => words.test(said)) && !elsewhere.test(said))

/** Whether nobody is there who could refuse. Some say with it that there is no such tenant or realm. */
export const isNoRoute = ({ status }: IamHttp.Answer): boolean => status === 404 || status === 405 || status === 410

// A gateway's page. A provider that has nothing to say sends nothing.
const isOfOthers = ({ body, isEmpty }: IamHttp.Answer): boolean => Option.isNone(body) && !isEmpty

const isBasic = /(^|,)\s*basic\b/i

const refusedClient = (said: string) =>
  new Misconfigured({
    refused: "client",
    detail: `the provider refuses the client (${said}): check its id, its secret or key, how it authenticates, and ` +
      "what it may do"
  })

const unknown = ({ message, retryAfter, status }: IamHttp.Answer, said: string, purpose: Purpose): IamErrorReason => {
  switch (purpose) {
    case "renew":
      // A code that nobody knows is no reason to throw a session away.
      return new Unavailable({
        sent: "maybe",
        detail: `${Option.isSome(message) ? `status ${status}: ` : ""}${said}; if it stays so, sign in again`,
        retryAfter
      })
    case "client":
      return new Misconfigured({
        refused: "client",
        detail: `the provider refuses the client (${said}): check its set-up there`
      })
    default:
      return new CredentialsRefused({ detail: said })
  }
}

// The standard codes that some providers use for a dead refresh token: then, and only then, the words tell.
const misused = new Set(["invalid_request", "unauthorized_client", "access_denied"])
const fatal = [
  /\b(bad|expired|inactive|invalid|revoked|unknown)[\s"'…]+refresh[ _-]?token\b/i,
  /\brefresh[ _-]?token[\s"'…:]+((is|was|has|been|already) )*(expired|inactive|invalid|reused?|revoked|unknown)\b/i,
  /\brefresh[ _-]?token[\s"'…:]+((is|was|has|already) )*((been|already) used|(not|no longer) (active|found|valid))\b/i,
  /^unauthorized_client: token was already used$/,
  /^invalid_request: session not found$/
]
// Words about the request, or about what the client may do.
const elsewhere = /\b(grant[ _-]?type|parameter|for (this |the |your )?client)/i

// Some refuse two renewals at once with the code of a refusal that stays; the grant lives.
const passing = [/\bplease retry the request\b/i, /^expired authorization code$/i]

const isPassing = ({ body }: IamHttp.Answer): boolean => {
  const said = Option.getOrElse(body, (): Schema.JsonObject => ({}))["error_description"]
  return typeof said === "string" && passing.some((words) => words.test(said.trim()))
}

// Without any code there are only the words.
const isDead = (code: string | undefined, said: string): boolean =>
  code === undefined || misused.has(code)
    ? fatal.some((words) => words.test(said)) && !elsewhere.test(said)
    : meanings[code] === "grant" || code === "expired_token"

/**
 * Whether a refused renewal leaves in doubt what became of the grant: the provider's own answer, and no word of it that
 * anybody knows; or a refusal of whoever, which may stand for ever. The session is kept;
 * how often it is asked for again, `doubtful` says.
 */
export const isDoubtful = (answer: IamHttp.Answer, { reason }: IamError): boolean => {
  const code = codeOf(answer)
  return reason._tag === "Unavailable" && answer.status >= 400 &&
    (Option.isSome(answer.body) || answer.isEmpty || isRefusal(answer)) &&
    (code === undefined || meanings[code] === undefined) && !isPassing(answer)
}

const isRefusal = ({ status }: IamHttp.Answer): boolean => status < 500 && ![408, 425, 429].includes(status)

// As often in a row, a refusal may be a moment's; after that the pause doubles, from one minute to fifteen.
const moments = 5

/** The pause after the last of as many doubtful refusals in a row; nothing where the policy's own will do. */
export const doubtful = (inARow: number): Duration.Duration | undefined =>
  inARow <= moments ? undefined : Duration.minutes(Math.min(2 ** (inARow - moments - 1), 15))
