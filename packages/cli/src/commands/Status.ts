/**
 * `authn status`.
 */
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as User from "@effect-authn/core/session/User"
import { StoragePolicy } from "@effect-authn/core/storage/StoragePolicy"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
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
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { usage } from "../Failure.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"

type State = "valid" | "due" | "expired" | "ended" | "signed out" | "unreadable"

/**
 * What can be told of an account without asking anybody. Times are epoch milliseconds.
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

type Where = Context.Context<TokenStorage | StoragePolicy>

const renewal = (grant: Session.Grant): string | undefined => {
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

/**
 * Looks at an account's session in its storage.
 */
export const view = Effect.fnUntraced(function*(
  account: Account.Account,
  where: Where,
  current: string
): Effect.fn.Return<View> {
  const storage = Context.get(where, TokenStorage)
  const found = yield* Effect.result(storage.get(SessionKey.SessionKey.make({
    issuer: account.issuer,
    clientId: account.client,
    account: account.name
  })))
  const description = yield* Context.get(where, StoragePolicy).choice.pipe(
    Effect.map((choice) => choice.description),
    Effect.orElseSucceed(() => storage.description)
  )
  const blank = {
    account,
    isCurrent: account.name === current,
    detail: undefined,
    storage: description,
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
    user: Option.getOrUndefined(Option.map(user, User.label)),
    strategy,
    renewedBy: Option.isSome(dead) ? undefined : renewal(grant),
    issuedAt: tokens && DateTime.toEpochMillis(tokens.issuedAt),
    expiresAt,
    dueAt: dueAt !== undefined && Number.isFinite(dueAt) ? dueAt : undefined,
    scope: (tokens && Option.getOrUndefined(tokens.scope)) ?? account.scopes?.join(" "),
    selection: Object.entries(selection).flatMap(([name, value]) =>
      typeof value === "string" && name !== "scope" ? [`${name} ${value}`] : []
    ).join(", ") || undefined
  }
})

/** An account whose own file cannot be read. */
interface Damaged {
  readonly name: string
  readonly isCurrent: boolean
  readonly detail: string
}

const iso = (at: number | undefined): string | null =>
  at === undefined ? null : Option.getOrNull(Option.map(DateTime.make(at), DateTime.formatIso))

const damagedToJson = ({ detail, isCurrent, name }: Damaged): Schema.JsonObject => ({
  account: name,
  current: isCurrent,
  state: "unreadable",
  detail
})

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

const clock = (at: number): string => Option.match(DateTime.make(at), { onNone: () => "?", onSome: Output.time })

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
const lines = (view: View, now: number, width: number, paint: Output.Paint): ReadonlyArray<string> => {
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
    ["expires", expiresAt === undefined ? undefined : clock(expiresAt)],
    ["renewal", renewal],
    ["why", view.detail],
    ["next", state === "signed out" ? `authn login --account ${account.name}` : undefined],
    [
      "issuer",
      `${account.issuer} (${account.dialect}${account.dialect === "oidc" ? `, client ${account.client}` : ""})`
    ],
    ["for", view.selection],
    ["scopes", view.scope],
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
      view.user === undefined ? "" : `${Output.plain(view.user)}, `
    }${colour(heading[state])}`,
    ...Output.table(
      [
        ...(token === undefined ? [] : [[paint.dim("token"), token]]),
        // Selections, scopes and causes are in the words of the IAM.
        ...rows.flatMap(([name, value]) => value === undefined ? [] : [[paint.dim(name), Output.plain(value)]])
      ],
      width,
      "  "
    )
  ]
}

const damagedLines = ({ detail, isCurrent, name }: Damaged, width: number, paint: Output.Paint) => [
  `${paint.red("●")} ${paint.bold(name)}${isCurrent ? " (current)" : ""}  ${paint.red(heading.unreadable)}`,
  ...Output.table([[paint.dim("why"), detail]], width, "  ")
]

const storages = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const built = new Map<string, Where>()
  return Effect.fnUntraced(function*(place: Account.Account["place"]) {
    const known = built.get(place)
    if (known !== undefined) return known
    const storage = yield* Layer.buildWithScope(AccountServices.storage(place), scope)
    built.set(place, storage)
    return storage
  })
})

/** Shows every account. */
export const command = Command.make("status", {
  watch: Flag.Boolean("watch").pipe(
    Flag.withAlias("w"),
    Flag.withDescription("Keep showing it, until Ctrl-C"),
    Flag.withDefault(false)
  )
}, ({ watch }) =>
  Effect.gen(function*() {
    const stdio = yield* Stdio.Stdio
    const terminal = yield* Terminal.Terminal
    const short = yield* Output.short
    const storageOf = yield* storages
    const { isTold, name: told } = yield* Settings.account
    const look = Effect.fnUntraced(function*(name: string, current: string) {
      const found = yield* Effect.result(Account.get(name))
      if (Result.isFailure(found)) return { name, isCurrent: name === current, detail: found.failure.message }
      if (Option.isNone(found.success)) return isTold ? yield* Settings.notSignedIn(name) : undefined
      const account = found.success.value
      return yield* view(account, yield* storageOf(account.place), current)
    })
    const views = Effect.gen(function*() {
      const current = yield* Settings.current
      const names = isTold ? [told] : yield* Account.names
      return (yield* Effect.forEach(names, (name) => look(name, current))).filter((found) => found !== undefined)
    })
    const { problems, settings } = yield* Settings.survey()
    const mistake = problems.find(({ exitCode }) => exitCode === 2)
    if (mistake !== undefined) return yield* mistake
    const given = yield* EnvironmentToken.givenToken(settings)
    if (yield* Settings.JsonFlag) {
      if (watch) {
        return yield* usage("--watch is for people: ask for --json as often as you like")
      }
      return yield* Output.json({
        environment: Option.getOrNull(Option.map(given, ({ variable }) => variable)),
        accounts: (yield* views).map((found) => "account" in found ? toJson(found) : damagedToJson(found))
      })
    }
    const paint = yield* Output.paint("stdout")
    const shadow = Option.map(given, ({ variable }) =>
      `${paint.yellow("!")} ${variable} is set: its token goes before every stored session, unless --account is given.`)
    const nobody = `Nobody is signed in. Sign in with: authn login${yield* Settings.flagFor(told)}`
    const screen = Effect.gen(function*() {
      const now = DateTime.toEpochMillis(yield* DateTime.now)
      const width = yield* Output.columns
      const blocks = [
        ...Option.toArray(Option.map(shadow, (text) =>
          Output.table([[text]], width))),
        ...(yield* views).map((found) =>
          "account" in found
            ? lines({ ...found, storage: short(found.storage) }, now, width, paint)
            : damagedLines({ ...found, detail: short(found.detail) }, width, paint)
        )
      ]
      return {
        isEmpty: blocks.length === Option.toArray(shadow).length,
        text: blocks.flatMap((block, at) =>
          at === 0 ? block : [""].concat(block)
        )
      }
    })
    if (!watch) {
      const { isEmpty, text } = yield* screen
      if (text.length > 0) yield* Output.out(...text)
      return yield* isEmpty ? Output.say(nobody) : Effect.void
    }
    if (!(yield* stdio.stdoutIsTerminal)) return yield* usage("--watch needs a terminal")
    if (yield* Output.isDumb) return yield* usage("--watch needs a terminal that can move its cursor, and TERM is dumb")
    yield* Output.raw("\x1b[?25l")
    yield* Effect.addFinalizer(() => Effect.ignore(Output.raw("\x1b[?25h")))
    let drawn: ReadonlyArray<string> = []
    const draw = Effect.gen(function*() {
      const columns = (yield* terminal.columns) || 80
      const rows = (yield* terminal.rows) || 24
      // A line that is wider than the terminal takes several of its rows.
      const height = (lines: ReadonlyArray<string>) => lines.reduce((sum, line) => sum + Output.rows(line, columns), 0)
      const { isEmpty, text } = yield* screen
      const all = [...text, ...(isEmpty ? [nobody] : [])]
      const end = ["", paint.dim(`${clock(DateTime.toEpochMillis(yield* DateTime.now))}, Ctrl-C ends`)]
      const room = Math.max(3, rows - 1) - end.length
      let count = all.length
      while (height(all.slice(0, count)) + (count < all.length ? 1 : 0) > room) count -= 1
      const cut = count < all.length ? [paint.dim(`… ${all.length - count} more lines`)] : []
      const shown = [...all.slice(0, count), ...cut, ...end]
      // Up to where it began, and everything below is new.
      yield* Output.raw(`${drawn.length === 0 ? "" : `\x1b[${height(drawn)}A\r\x1b[J`}${shown.join("\n")}\n`)
      drawn = shown
    })
    return yield* Effect.andThen(draw, Effect.sleep("1 second")).pipe(Effect.forever)
  }).pipe(Effect.scoped)).pipe(Command.withDescription("Show every account, and how long its token lasts"))
