/**
 * `authn status`.
 *
 * @since 0.1.0
 */
import * as RefreshPolicy from "@effect-authn/core/RefreshPolicy"
import * as Session from "@effect-authn/core/Session"
import { TokenStorage } from "@effect-authn/core/TokenStorage"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Account from "../Account.ts"
import * as Dialect from "../Dialect.ts"
import { usage } from "../Failure.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Span from "../Span.ts"

type State = "valid" | "due" | "expired" | "ended" | "signed out" | "unreadable"

/**
 * What can be told of an account without asking anybody. Times are epoch milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface View {
  readonly account: Account.Account
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
}

const renewal: { readonly [G in Session.Grant["_tag"]]: string | undefined } = {
  RefreshToken: "refresh token",
  ExchangeAccessToken: "exchange of the token, while it is valid",
  Reissue: "client credentials",
  None: undefined
}

/**
 * Looks at an account's session in its storage.
 *
 * @category constructors
 * @since 0.1.0
 */
export const view = Effect.fnUntraced(function*(
  account: Account.Account,
  storage: TokenStorage["Service"],
  current: string
): Effect.fn.Return<View> {
  const found = yield* Effect.result(storage.get(Session.SessionKey.make({
    issuer: account.issuer,
    client: account.client,
    account: account.name
  })))
  const blank = {
    account,
    isCurrent: account.name === current,
    detail: undefined,
    storage: storage.description,
    user: undefined,
    strategy: undefined,
    renewedBy: undefined,
    issuedAt: undefined,
    expiresAt: undefined,
    dueAt: undefined,
    scope: account.scopes?.join(" "),
    selection: undefined
  }
  if (Result.isFailure(found)) return { ...blank, state: "unreadable", detail: found.failure.message }
  if (Option.isNone(found.success)) return { ...blank, state: "signed out" }
  const session = found.success.value
  const now = DateTime.toEpochMillis(yield* DateTime.now)
  const tokens = Option.getOrUndefined(Session.currentToken(session))
  const expiresAt = tokens && Option.getOrUndefined(Option.map(tokens.expiresAt, DateTime.toEpochMillis))
  const dueAt = tokens && RefreshPolicy.freshUntil({
    ...RefreshPolicy.standard,
    window: Duration.millis(account.window),
    shortLivedFraction: account.shortLivedFraction
  }, tokens)
  const { current: selection, dead, grant, strategy, user } = session
  const isValid = tokens !== undefined && (expiresAt === undefined || now < expiresAt)
  return {
    ...blank,
    state: Option.isSome(dead)
      ? "ended"
      : !isValid
      ? "expired"
      : grant._tag !== "None" && dueAt !== undefined && now > dueAt
      ? "due"
      : "valid",
    detail: Option.getOrUndefined(Option.map(dead, ({ cause }) => cause)),
    user: Option.getOrUndefined(Option.map(user, (user) => Option.getOrElse(user.handle, () => user.id))),
    strategy,
    renewedBy: Option.isSome(dead) ? undefined : renewal[grant._tag],
    issuedAt: tokens && DateTime.toEpochMillis(tokens.issuedAt),
    expiresAt,
    dueAt: dueAt !== undefined && Number.isFinite(dueAt) ? dueAt : undefined,
    scope: (tokens && Option.getOrUndefined(tokens.scope)) ?? account.scopes?.join(" "),
    selection: Object.entries(selection).flatMap(([name, value]) =>
      typeof value === "string" && name !== "scope" ? [`${name} ${value}`] : []
    ).join(", ") || undefined
  }
})

const iso = (at: number | undefined): string | null =>
  at === undefined ? null : Option.getOrNull(Option.map(DateTime.make(at), DateTime.formatIso))

const toJson = (view: View): Schema.JsonObject => ({
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
  selection: view.selection ?? null
})

const bar = (part: number, width: number): string => {
  const full = Math.max(0, Math.min(width, Math.round(part * width)))
  return "█".repeat(full) + "░".repeat(width - full)
}

const clock = (at: number): string =>
  Option.match(DateTime.make(at), {
    onNone: () => "?",
    onSome: (at) => DateTime.formatLocal(at, { dateStyle: "medium", timeStyle: "medium" })
  })

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
 *
 * @category formatting
 * @since 0.1.0
 */
export const lines = (view: View, now: number, width: number, paint: Output.Paint): ReadonlyArray<string> => {
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
    ? `${colour(bar(left / life, 20))} ${Span.format(left)} left of ${Span.format(life)}`
    : `${colour(bar(0, 20))} expired ${Span.distance(expiresAt, now)}`
  const isOver = state === "expired" && view.renewedBy?.startsWith("exchange") === true
  const renewal = state === "signed out" || state === "unreadable"
    ? undefined
    : state === "ended" || isOver
    ? again
    : view.renewedBy === undefined
    ? expiresAt === undefined ? "never: it is presented until the IAM refuses it" : `none, then ${again}`
    : state === "valid" && view.dueAt !== undefined
    ? `${Span.distance(view.dueAt, now)}, by ${view.renewedBy}`
    : `at the next call, by ${view.renewedBy}`
  const rows: ReadonlyArray<readonly [string, string | undefined]> = [
    ["token", token],
    ["expires", expiresAt === undefined ? undefined : clock(expiresAt)],
    ["renewal", renewal],
    ["why", view.detail === undefined ? undefined : Output.plain(view.detail)],
    ["next", state === "signed out" ? `authn login --account ${account.name}` : undefined],
    [
      "issuer",
      `${account.issuer} (${account.dialect}${account.dialect === "oidc" ? `, client ${account.client}` : ""})`
    ],
    ["for", view.selection],
    ["scopes", view.scope],
    ["storage", `${account.place}: ${Output.short(view.storage)}`],
    ["source", view.strategy === undefined ? undefined : `stored session of a login by ${view.strategy}`]
  ]
  return [
    `${colour("●")} ${paint.bold(account.name)}${view.isCurrent ? " (current)" : ""}  ${
      view.user === undefined ? "" : `${Output.plain(view.user)}, `
    }${colour(heading[state])}`,
    ...Output.table(
      rows.flatMap(([name, value]) => value === undefined ? [] : [[paint.dim(name), value]]),
      width,
      "  "
    )
  ]
}

const storages = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const built = new Map<string, TokenStorage["Service"]>()
  return Effect.fnUntraced(function*(place: Account.Account["place"]) {
    const known = built.get(place)
    if (known !== undefined) return known
    const storage = Context.get(yield* Layer.buildWithScope(Dialect.storage(place), scope), TokenStorage)
    built.set(place, storage)
    return storage
  })
})

const command = Command.make("status", {
  watch: Flag.Boolean("watch").pipe(
    Flag.withAlias("w"),
    Flag.withDescription("Keep showing it, until Ctrl-C"),
    Flag.withDefault(false)
  )
}, ({ watch }) =>
  Effect.gen(function*() {
    const storageOf = yield* storages
    const isTold = Option.isSome(yield* Settings.AccountFlag)
    const views = Effect.gen(function*() {
      const { name: current } = yield* Settings.account
      const names = isTold ? [current] : yield* Account.names
      const accounts = (yield* Effect.forEach(names, Account.get)).flatMap(Option.toArray)
      return yield* Effect.forEach(accounts, (account) =>
        Effect.flatMap(storageOf(account.place), (storage) => view(account, storage, current)))
    })
    const given = yield* Settings.givenToken(yield* Settings.make())
    if (yield* Settings.JsonFlag) {
      if (watch) {
        return yield* usage("--watch is for people: ask for --json as often as you like")
      }
      return yield* Output.json({
        environment: Option.getOrNull(Option.map(given, ({ variable }) =>
          variable)),
        accounts: (yield* views).map(toJson)
      })
    }
    const paint = yield* Output.paint("stdout")
    const screen = Effect.gen(function*() {
      const found = yield* views
      const now = DateTime.toEpochMillis(yield* DateTime.now)
      const width = Output.columns("stdout")
      const shadow = Option.isSome(given)
        ? [
          ...Output.table([[
            `${
              paint.yellow("!")
            } ${given.value.variable} is set: its token goes before every stored session, unless --account is given.`
          ]], width),
          ""
        ]
        : []
      const blocks = found.flatMap((view, at) => [...(at === 0 ? [] : [""]), ...lines(view, now, width, paint)])
      return [...shadow, ...(found.length === 0 ? ["Nobody is signed in. Sign in with: authn login"] : blocks)]
    })
    if (!watch) return yield* Output.out(...(yield* screen))
    if (!process.stdout.isTTY) return yield* usage("--watch needs a terminal")
    yield* Output.raw("\x1b[?25l")
    yield* Effect.addFinalizer(() => Effect.ignore(Output.raw("\x1b[?25h")))
    let height = 0
    const draw = Effect.gen(function*() {
      const rows = Math.max(4, (process.stdout.rows || 24) - 1)
      const all = [
        ...(yield* screen),
        "",
        paint.dim(`${clock(DateTime.toEpochMillis(yield* DateTime.now))}, Ctrl-C ends`)
      ]
      const shown = all.length <= rows
        ? all
        : [...all.slice(0, rows - 1), paint.dim(`… ${all.length - rows + 1} more lines`)]
      // Up to where it began, and everything below is new.
      yield* Output.raw(`${height === 0 ? "" : `\x1b[${height}A\r\x1b[J`}${shown.join("\n")}\n`)
      height = shown.length
    })
    return yield* Effect.andThen(draw, Effect.sleep("1 second")).pipe(Effect.forever)
  }).pipe(Effect.scoped)).pipe(Command.withDescription("Show every account, and how long its token lasts"))

export {
  /**
   * Shows every account.
   *
   * @category commands
   * @since 0.1.0
   */
  command
}
