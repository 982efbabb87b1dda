/**
 * `authn status`.
 */
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import { StoragePolicy } from "@effect-authn/core/storage/StoragePolicy"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { usage } from "../Failure.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as StatusView from "../StatusView.ts"

type Where = Context.Context<TokenStorage | StoragePolicy>

const encode = Schema.encodeEffect(Session.Session)

/**
 * Looks at an account's session in its storage.
 */
export const view = Effect.fnUntraced(function*(
  account: Account.Account,
  where: Where,
  current: string
): Effect.fn.Return<StatusView.View> {
  const storage = Context.get(where, TokenStorage)
  const choice = yield* Effect.result(Context.get(where, StoragePolicy).choice)
  // Where there is no place, nothing is asked twice: a keychain may be asking a person for a password.
  const found = Result.isFailure(choice)
    ? Result.fail(choice.failure)
    : yield* storage.get(SessionKey.SessionKey.make({
      issuer: account.issuer,
      clientId: account.client,
      account: account.name
    })).pipe(
      Effect.flatMap(
        Option.match({
          onNone: () => Effect.succeedNone,
          onSome: (session) => Effect.asSome(Effect.orDie(encode(session)))
        })
      ),
      Effect.result
    )
  const description = Result.isFailure(choice) ? storage.description : choice.success.description
  const about = { isCurrent: account.name === current, storage: description }
  return Result.isFailure(found)
    ? StatusView.unreadable(account, { ...about, detail: found.failure.message })
    : StatusView.make(account, Option.getOrUndefined(found.success), {
      ...about,
      now: DateTime.toEpochMillis(yield* DateTime.now)
    })
})

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
    const variable = Option.getOrUndefined(Option.map(given, ({ variable }) => variable))
    if (yield* Settings.JsonFlag) {
      if (watch) {
        return yield* usage("--watch is for people: ask for --json as often as you like")
      }
      return yield* Output.json(StatusView.toJson(yield* views, variable))
    }
    const paint = yield* Output.paint("stdout")
    const nobody = `Nobody is signed in. Sign in with: authn login${yield* Settings.flagFor(told)}`
    const screen = Effect.gen(function*() {
      const now = DateTime.toEpochMillis(yield* DateTime.now)
      const width = yield* Output.columns
      const found = yield* views
      return {
        isEmpty: found.length === 0,
        text: StatusView.toLines(found, { now, paint, short, variable, width })
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
      const end = ["", paint.dim(`${Output.time(yield* DateTime.now)}, Ctrl-C ends`)]
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
