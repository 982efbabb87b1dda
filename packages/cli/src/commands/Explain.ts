/**
 * `authn explain` and `authn config`: what is used, and why.
 */
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Command from "effect/cli/Command"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as AccountServices from "../AccountServices.ts"
import * as CurrentToken from "../CurrentToken.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import * as Output from "../Output.ts"
import * as Platform from "../Platform.ts"
import * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"
import * as Status from "./Status.ts"

interface Step {
  readonly source: string
  readonly verdict: "used" | "refused" | "skipped" | "not set"
  readonly reason: string
  readonly exitCode?: number
}

const environmentSteps = Effect.fnUntraced(function*({ dialect, isTold }: Settings.Settings) {
  const given = yield* EnvironmentToken.givenTokens(dialect)
  const now = yield* DateTime.now
  return yield* Effect.forEach(
    EnvironmentToken.tokenVariables(dialect),
    Effect.fnUntraced(function*(source): Effect.fn.Return<Step> {
      const own = given.find(({ variable }) => variable === source)
      if (own === undefined) {
        return Option.isSome(yield* EnvironmentToken.setIn(source))
          ? { source, verdict: "skipped", reason: "set, but authn exec took it from the session, which renews it" }
          : { source, verdict: "not set", reason: "not set" }
      }
      if (isTold) return { source, verdict: "skipped", reason: "set, but --account names a login" }
      const [first] = given
      if (first !== undefined && first !== own) {
        return { source, verdict: "skipped", reason: `set, but ${first.variable} goes first` }
      }
      const tokens = yield* Effect.result(CurrentToken.fromEnvironment(own))
      if (Result.isFailure(tokens)) {
        const { detail, exitCode } = tokens.failure
        return { source, verdict: "refused", reason: detail, exitCode }
      }
      const left = CurrentToken.millisLeft(tokens.success, now)
      const end = Number.isFinite(left) ? `${TimeSpan.format(left)} left` : "no known end"
      return { source, verdict: "used", reason: `set, and goes before every stored session; ${end}` }
    })
  )
})

const storedStep = Effect.fnUntraced(function*(settings: Settings.Settings, isTaken: boolean) {
  const source = `stored session of "${settings.name}"`
  const login = `authn login${yield* Settings.flagFor(settings.name)}`
  if (Option.isNone(settings.account)) {
    return { source, verdict: "skipped", reason: `there was no login: ${login}` } satisfies Step
  }
  const account = settings.account.value
  const storage = yield* Layer.build(AccountServices.storage(account.place))
  const view = yield* Status.view(account, storage, settings.name)
  const short = yield* Output.short
  const now = DateTime.toEpochMillis(yield* DateTime.now)
  const left = view.expiresAt === undefined ? "no known end" : `${TimeSpan.format(view.expiresAt - now)} left`
  const place = `in ${short(view.storage)}`
  const [isGood, state] = view.state === "valid"
    ? [true, `${left}, ${place}`]
    : view.state === "due"
    ? [true, `${left}, and it will be renewed first or meanwhile; ${place}`]
    : view.state === "expired" && view.renewedBy !== undefined && !view.renewedBy.startsWith("exchange")
    ? [true, `its token expired and will be renewed by ${view.renewedBy}; ${place}`]
    : view.state === "signed out"
    ? [false, `signed out; nothing ${place}: ${login}`]
    : [
      false,
      `${
        view.state === "ended"
          ? "the IAM ended it"
          : view.state === "expired"
          ? "expired, and nothing can renew it"
          : "it cannot be read"
      }${view.detail === undefined ? "" : ` (${Output.plain(view.detail)})`}; ${place}: ${login}`
    ]
  const step: Step = {
    source,
    verdict: isGood && !isTaken ? "used" : "skipped",
    reason: isTaken ? `not looked at, since a variable goes first (${state})` : state
  }
  return step
}, Effect.scoped)

/** The platform that runs this program, where an audience is set for it. It is asked, and what it gives goes nowhere. */
const workloadSteps = Effect.fnUntraced(function*(settings: Settings.Settings, isTaken: boolean) {
  const audience = settings.provider.workload?.audience
  const isOther = settings.dialect !== "oidc" || Option.isSome(settings.account)
  if (audience === undefined && settings.audienceObjection === undefined && isOther) return []
  const source = "workload identity"
  const skipped = (reason: string): Step => ({ source, verdict: "skipped", reason })
  if (isTaken) return [skipped("not looked at, since another source goes first")]
  if (Option.isSome(settings.account)) return [skipped("not looked at, since there is a login")]
  if (audience === undefined) {
    const none = "not asked, since no audience is set for it (AUTHN_WORKLOAD_AUDIENCE)"
    return [skipped(Output.plain(settings.audienceObjection ?? none))]
  }
  const asked = yield* Platform.ask(audience)
  if (Result.isSuccess(asked)) {
    const step: Step = { source, verdict: "used", reason: `${asked.success.source}, for ${audience}` }
    return [step]
  }
  const { message, reason } = asked.failure
  const step: Step = reason._tag === "WorkloadAbsent"
    ? skipped(Output.plain(reason.detail))
    : { source, verdict: "refused", reason: Output.plain(message), exitCode: 1 }
  return [step]
})

/**
 * Tells which source of a token is used, and why not the others. It sends nothing to an IAM.
 */
export const explain = Command.make("explain", {}, () =>
  Effect.gen(function*() {
    const settings = yield* Settings.make()
    const variables = yield* environmentSteps(settings)
    const refused = variables.find(({ verdict }) => verdict === "refused")
    const isTaken = refused !== undefined || variables.some(({ verdict }) => verdict === "used")
    const stored = yield* storedStep(settings, isTaken)
    const steps = [
      ...variables,
      stored,
      ...(yield* workloadSteps(settings, isTaken || stored.verdict === "used"))
    ]
    const used = steps.find(({ verdict }) => verdict === "used")
    if (yield* Settings.JsonFlag) {
      return yield* Output.json({
        account: settings.name,
        accountFrom: settings.nameSource,
        used: used?.source ?? null,
        tried: steps.map((step) => ({ ...step }))
      })
    }
    const { bold, dim, green } = yield* Output.paint("stdout")
    const width = yield* Output.columns
    const flag = yield* Settings.flagFor(settings.name)
    yield* Output.out(
      ...Output.table([[
        `The account is ${bold(settings.name)}, ${
          settings.nameSource === "default" ? "since nothing names another" : `from ${settings.nameSource}`
        }. Sources of a token, in order:`
      ]], width),
      "",
      ...Output.table(
        steps.map(({ reason, source, verdict }) => [
          verdict === "used" ? green("→") : " ",
          verdict === "used" ? bold(source) : dim(source),
          verdict === "used" ? green(verdict) : dim(verdict),
          verdict === "not set" ? "" : reason
        ]),
        width
      ),
      "",
      ...Output.table([[
        used !== undefined
          ? `authn token${flag} prints that of: ${used.source}`
          : refused === undefined
          ? `No token can be had. Sign in with: authn login${flag}`
          : `authn token ends with ${refused.exitCode}, as long as ${refused.source} is set to that.`
      ]], width)
    )
  })).pipe(Command.withDescription("Tell which token would be used, what was skipped, and why"))

/**
 * Shows every setting and where it comes from.
 */
export const config = Command.make("config", {}, () =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const settings = yield* Settings.make()
    const path = yield* Settings.filePath
    const exists = yield* Effect.orElseSucceed(fs.exists(path), () => false)
    const given = yield* EnvironmentToken.givenToken(settings)
    const rows: ReadonlyArray<readonly [string, string | undefined, string]> = [
      ["account", settings.name, settings.nameSource],
      ...Settings.names.map((name) => {
        const { source, value } = settings.values[name] ?? { source: "not set", value: undefined }
        return [name, value === undefined ? undefined : Output.plain(SecureUrl.shown(value)), source] as const
      }),
      ...(settings.provider.metadata === undefined
        ? []
        : [["metadata", "(read at the login)", `the login of "${settings.name}"`] as const]),
      [
        "token",
        Option.isSome(given) ? "(set, not shown)" : undefined,
        Option.isSome(given) ? given.value.variable : "not set"
      ]
    ]
    if (yield* Settings.JsonFlag) {
      return yield* Output.json({
        file: path,
        settings: Object.fromEntries(rows.map(([name, value, source]) => [name, { value: value ?? null, source }]))
      })
    }
    const { bold, dim } = yield* Output.paint("stdout")
    const width = yield* Output.columns
    const short = yield* Output.short
    yield* Output.out(
      ...Output.table(
        rows.map(([name, value, source]) => [name, value === undefined ? dim("-") : bold(value), dim(short(source))]),
        width
      ),
      "",
      ...Output.table([[
        dim(
          `Flags go before AUTHN_… variables, these before what a login left, that before ${short(path)}${
            exists ? "" : " (which is not there)"
          }.`
        )
      ]], width)
    )
  })).pipe(Command.withDescription("Show every setting, and where it comes from"))
