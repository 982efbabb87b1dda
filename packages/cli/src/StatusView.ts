/**
 * What can be told of an account without asking anybody, and how it is shown. It loads nothing of Effect: `authn status` of
 * sessions in files is answered without it.
 */
import type * as Session from "@effect-authn/core/session/Session"
import type { JsonObject } from "effect/Schema"
import type * as AccountModule from "./Account.ts"
import * as Text from "./Text.ts"
import * as TimeSpan from "./TimeSpan.ts"

/** What of an account is looked at. */
export type Account = Pick<
  AccountModule.Account,
  "name" | "dialect" | "issuer" | "client" | "scopes" | "place" | "window" | "shortLivedFraction"
>

/** The document of a session. */
export type Stored = typeof Session.Session["Encoded"]

type State = "valid" | "due" | "expired" | "ended" | "signed out" | "unreadable"

/**
 * What can be told of an account without asking anybody. Times are epoch milliseconds.
 */
export interface View {
  readonly account: Account
  readonly isCurrent: boolean
  readonly state: State
  readonly detail: string | undefined
  readonly storage: string
  readonly user: string | undefined
  readonly strategy: string | undefined
  readonly renewedBy: string | undefined
  readonly issuedAt: number | undefined
  readonly expiresAt: number | undefined
  readonly dueAt: number | undefined
  readonly scope: string | undefined
  readonly selection: string | undefined
  /** Where the key is to which its tokens are bound. */
  readonly boundTo: string | undefined
}

const renewal = (grant: Stored["grant"]): string | undefined => {
  switch (grant._tag) {
    case "RefreshToken":
      return "refresh token"
    case "ExchangeAccessToken":
      return "exchange of the token, while it is valid"
    case "Reissue":
      return grant.source ?? "client credentials"
    case "None":
      return undefined
  }
}

const unknown = {
  detail: undefined,
  user: undefined,
  strategy: undefined,
  renewedBy: undefined,
  issuedAt: undefined,
  expiresAt: undefined,
  dueAt: undefined,
  selection: undefined,
  boundTo: undefined
}

const members = ["organization", "project", "resource", "scope"] as const

/** `Selection.id` of a document. */
export const selectionId = (current: Stored["current"]): string =>
  members.flatMap((member) => {
    const value = current[member]
    return value === undefined ? [] : [`${member}=${encodeURIComponent(value.toWellFormed())}`]
  }).join("&")

/** `RefreshPolicy.freshUntil` of a document, in epoch milliseconds; `undefined` for a token without an end. */
export const freshUntil = (
  { shortLivedFraction, window }: Account,
  { expiresAt, issuedAt }: Stored["tokens"][string]
): number | undefined => {
  if (expiresAt === undefined) return undefined
  const life = expiresAt - issuedAt
  return expiresAt - (window <= life / 2 ? window : Math.max(0, life) * shortLivedFraction)
}

/** Where the key of a session is, for people. */
export const keeperOf = (
  key: { readonly _tag: "Enclosed" } | { readonly _tag: "Held"; readonly keeper: string }
): string => key._tag === "Held" ? key.keeper : "the session's document"

/**
 * What a stored session says of an account at `now`: `session` is its document, which there is not where nobody is signed
 * in.
 */
export const make = (account: Account, session: Stored | undefined, { isCurrent, now, storage }: {
  readonly isCurrent: boolean
  readonly now: number
  readonly storage: string
}): View => {
  const blank = { ...unknown, account, isCurrent, storage, scope: account.scopes?.join(" ") }
  if (session === undefined) return { ...blank, state: "signed out" }
  const { current, dead, grant, proofKey, strategy, user } = session
  const tokens = session.tokens[selectionId(current)]
  const expiresAt = tokens?.expiresAt
  const dueAt = tokens && freshUntil(account, tokens)
  return {
    ...blank,
    state: dead !== undefined
      ? "ended"
      : tokens === undefined || (expiresAt !== undefined && now >= expiresAt)
      ? "expired"
      : grant._tag !== "None" && dueAt !== undefined && now > dueAt
      ? "due"
      : "valid",
    detail: dead?.cause,
    user: user?.handle ?? user?.email ?? user?.displayName ?? user?.id,
    strategy,
    renewedBy: dead === undefined ? renewal(grant) : undefined,
    issuedAt: tokens?.issuedAt,
    expiresAt,
    dueAt,
    scope: tokens?.scope ?? blank.scope,
    selection:
      members.flatMap((member) =>
        current[member] === undefined || member === "scope" ? [] : [`${member} ${current[member]}`]
      ).join(", ") || undefined,
    boundTo: proofKey === undefined ? undefined : keeperOf(proofKey)
  }
}

/**
 * An account whose session cannot be read.
 */
export const unreadable = (account: Account, { detail, isCurrent, storage }: {
  readonly detail: string
  readonly isCurrent: boolean
  readonly storage: string
}): View => ({ ...unknown, account, isCurrent, storage, scope: account.scopes?.join(" "), state: "unreadable", detail })

/** An account whose own file cannot be read. */
export interface Damaged {
  readonly name: string
  readonly isCurrent: boolean
  readonly detail: string
}

// Effect is not loaded here.
// oxlint-disable-next-line effecttsgo/global-date
const iso = (at: number | undefined): string | null => at === undefined ? null : new Date(at).toISOString()

const damagedToJson = ({ detail, isCurrent, name }: Damaged): JsonObject => ({
  account: name,
  current: isCurrent,
  state: "unreadable",
  detail
})

const viewToJson = (view: View): JsonObject => ({
  account: view.account.name,
  current: view.isCurrent,
  state: view.state,
  detail: view.detail ?? null,
  dialect: view.account.dialect,
  issuer: view.account.issuer,
  client: view.account.client,
  user: view.user ?? null,
  storage: { place: view.account.place, description: view.storage },
  source: view.strategy ?? null,
  renewedBy: view.renewedBy ?? null,
  expiresAt: iso(view.expiresAt),
  renewalDueAt: iso(view.dueAt),
  scope: view.scope ?? null,
  selection: view.selection ?? null,
  boundTo: view.boundTo ?? null
})

const bar = (part: number, width: number): string => {
  const full = Math.max(0, Math.min(width, Math.round(part * width)))
  return "█".repeat(full) + "░".repeat(width - full)
}

const heading: { readonly [S in State]: string } = {
  "valid": "signed in",
  "due": "signed in, renewal due",
  "expired": "token expired",
  "ended": "session ended",
  "signed out": "signed out",
  "unreadable": "cannot be read"
}

/**
 * A view as lines for people.
 */
const lines = (view: View, now: number, width: number, paint: Text.Paint): ReadonlyArray<string> => {
  const { account, expiresAt, issuedAt, state } = view
  const colour = state === "valid"
    ? paint.green
    : state === "due"
    ? paint.yellow
    : state === "signed out"
    ? paint.dim
    : paint.red
  const life = expiresAt === undefined || issuedAt === undefined ? 0 : expiresAt - issuedAt
  const left = expiresAt === undefined ? 0 : expiresAt - now
  const again = `sign in again: authn login --account ${account.name}`
  const token = expiresAt === undefined
    ? view.issuedAt === undefined ? undefined : "no known end"
    : left > 0
    ? `${colour(bar(left / life, 20))} ${TimeSpan.format(left)} left of ${TimeSpan.format(life)}`
    : `${colour(bar(0, 20))} expired ${TimeSpan.distance(expiresAt, now)}`
  const isOver = state === "expired" && view.renewedBy?.startsWith("exchange") === true
  const renewal = state === "signed out" || state === "unreadable"
    ? undefined
    : state === "ended" || isOver
    ? again
    : view.renewedBy === undefined
    ? expiresAt === undefined ? "never: it is presented until the IAM refuses it" : `none, then ${again}`
    : state === "valid" && view.dueAt !== undefined
    ? `${TimeSpan.distance(view.dueAt, now)}, by ${view.renewedBy}`
    : `at the next call, by ${view.renewedBy}`
  const rows: ReadonlyArray<readonly [string, string | undefined]> = [
    ["expires", expiresAt === undefined ? undefined : Text.time(expiresAt)],
    ["renewal", renewal],
    ["why", view.detail],
    ["next", state === "signed out" ? `authn login --account ${account.name}` : undefined],
    [
      "issuer",
      `${account.issuer} (${account.dialect}${account.dialect === "oidc" ? `, client ${account.client}` : ""})`
    ],
    ["for", view.selection],
    ["scopes", view.scope],
    [
      "bound to",
      view.boundTo === undefined ? undefined : `a key in ${view.boundTo}: worth nothing to other programs`
    ],
    ["storage", `${account.place}: ${view.storage}`],
    [
      "source",
      view.strategy === undefined
        ? undefined
        : view.strategy === "import"
        ? "an imported copy: renewing it may end the original, and the other way round"
        : `stored session of a login by ${view.strategy}`
    ]
  ]
  return [
    `${colour("●")} ${paint.bold(account.name)}${view.isCurrent ? " (current)" : ""}  ${
      view.user === undefined ? "" : `${Text.plain(view.user)}, `
    }${colour(heading[state])}`,
    ...Text.table(
      [
        ...(token === undefined ? [] : [[paint.dim("token"), token]]),
        // Selections, scopes and causes are in the words of the IAM.
        ...rows.flatMap(([name, value]) => value === undefined ? [] : [[paint.dim(name), Text.plain(value)]])
      ],
      width,
      "  "
    )
  ]
}

const damagedLines = ({ detail, isCurrent, name }: Damaged, width: number, paint: Text.Paint) => [
  `${paint.red("●")} ${paint.bold(name)}${isCurrent ? " (current)" : ""}  ${paint.red(heading.unreadable)}`,
  ...Text.table([[paint.dim("why"), detail]], width, "  ")
]

/** All accounts as data; `variable` is that of a token which goes before them. */
export const toJson = (found: ReadonlyArray<View | Damaged>, variable: string | undefined): JsonObject => ({
  environment: variable ?? null,
  accounts: found.map((one) => "account" in one ? viewToJson(one) : damagedToJson(one))
})

/** All accounts as lines for people, with their paths below `home`. */
export const toLines = (found: ReadonlyArray<View | Damaged>, { now, paint, short, variable, width }: {
  readonly now: number
  readonly paint: Text.Paint
  readonly short: (text: string) => string
  readonly variable: string | undefined
  readonly width: number
}): ReadonlyArray<string> => {
  const blocks = [
    ...(variable === undefined ? [] : [Text.table([[
      `${paint.yellow("!")} ${variable} is set: its token goes before every stored session, unless --account is given.`
    ]], width)]),
    ...found.map((one) =>
      "account" in one
        ? lines({ ...one, storage: short(one.storage) }, now, width, paint)
        : damagedLines({ ...one, detail: short(one.detail) }, width, paint)
    )
  ]
  return blocks.flatMap((block, at) => at === 0 ? block : [""].concat(block))
}
