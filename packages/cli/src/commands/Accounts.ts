/**
 * `authn accounts` and `authn logout`.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import { SessionKey } from "@effect-authn/core/session/SessionKey"
import { SessionLock } from "@effect-authn/core/storage/SessionLock"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import * as FileSessionLock from "@effect-authn/platform-node/FileSessionLock"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Path from "node:path"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { failed, type Failure, usage } from "../Failure.ts"
import * as Host from "../Host.ts"
import * as LeftBehind from "../LeftBehind.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

const checkAsked = ({ local, revoke }: LeftBehind.Asked) =>
  local && revoke ? usage("--local does not tell the IAM, and --revoke does: give one of them") : Effect.void

/** Ends a session that can be read. A copy leaves the original alone, unless its end is asked for. */
const ended = Effect.fnUntraced(function*(account: Account.Account, { local, revoke }: LeftBehind.Asked) {
  const services = yield* AccountServices.open(account, AccountServices.storage(account.place))
  const auth = Context.get(services, AuthManager)
  const session = yield* auth.session
  const { asides, isThere } = yield* LeftBehind.filesOf(account)
  const short = yield* Output.short
  const along = asides.length === 0
    ? ""
    : `; what was damaged went along (${short(asides.join(", "))}), and the tokens in it work until the IAM ends them`
  if (Option.isNone(session)) {
    if (isThere || asides.length > 0) {
      yield* Effect.catchReason(
        Context.get(services, TokenStorage).remove(auth.key, 0),
        "TokenStorageError",
        "StorageConflict",
        () => Effect.void
      )
    }
    return `was not signed in${along}`
  }
  const isCopy = session.value.strategy === "import"
  yield* Effect.forkScoped(Effect.delay(
    Output.say(
      `authn: still at it: ${account.issuer} does not answer and is asked again, or another program has the session ` +
        "(authn logout --local does not tell the IAM)"
    ),
    "2 seconds"
  ))
  const revocation = local || (isCopy && !revoke) ? undefined : yield* auth.logout
  if (revocation === undefined) yield* auth.clearStoredToken
  return (revocation === undefined
    ? `is forgotten here; ${LeftBehind.notTold(local)}`
    : revocation._tag === "Revoked"
    ? "is signed out, and the IAM ended the session"
    : `is signed out here: ${revocation.reason}`) + along
}, Effect.scoped)

/** Ends the session of an account, and tells how; without its key it can only be forgotten. */
const end = (account: Account.Account, asked: LeftBehind.Asked) =>
  LeftBehind.removing(account, AccountServices.sessionKeys(account).slice(0, 1), asked, ended(account, asked))

const forgetSecret = Effect.fnUntraced(function*(account: Account.Account) {
  if (account.dialect !== "oidc") return
  yield* AccountServices.dropClientSecret(yield* AccountServices.open(account, AccountServices.storage(account.place)))
}, Effect.scoped)

/** An account that must be there. */
const existing = Effect.fnUntraced(function*(name: string) {
  const account = yield* Account.get(yield* Account.checkName(name))
  return Option.isSome(account) ? account.value : yield* Settings.notSignedIn(name)
})

const local = Flag.Boolean("local").pipe(
  Flag.withDescription("Only forget the session: do not tell the IAM"),
  Flag.withDefault(false)
)

const revoke = Flag.Boolean("revoke").pipe(
  Flag.withDescription("End the session at the IAM also where it is an imported copy, and with it the original"),
  Flag.withDefault(false)
)

/**
 * Signs out.
 */
export const logout = Command.make("logout", {
  all: Flag.Boolean("all").pipe(Flag.withDescription("Sign out of every account"), Flag.withDefault(false)),
  file: Flag.String("file").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("End the session in a file that no account lists: authn doctor names them"),
    Flag.optional
  ),
  local,
  revoke
}, (given) =>
  Effect.gen(function*() {
    yield* checkAsked(given)
    if (Option.isSome(given.file)) {
      if (given.all) return yield* usage("--file is of one session, and --all is of every account: give one of them")
      const outcome = yield* LeftBehind.end(yield* LeftBehind.at(given.file.value), given)
      return yield* (yield* Settings.JsonFlag)
        ? Output.json([{ file: given.file.value, outcome, isDone: true }])
        : Output.say(`${(yield* Output.paint("stderr")).green("✓")} ${given.file.value}: ${outcome}.`)
    }
    const { name, dialect } = given.all ? (yield* Settings.survey()).settings : yield* Settings.make()
    const names = given.all ? yield* Account.names : [(yield* existing(name)).name]
    const outcomes: Array<{ readonly account: string; readonly outcome: string; readonly isDone: boolean }> = []
    for (const name of names) {
      // One that cannot be signed out must not keep the others signed in.
      const outcome = yield* Effect.result(Effect.flatMap(existing(name), (account) => end(account, given)))
      outcomes.push(
        outcome._tag === "Success"
          ? { account: name, outcome: outcome.success, isDone: true }
          : { account: name, outcome: outcome.failure.message, isDone: false }
      )
    }
    const shadow = yield* EnvironmentToken.givenToken({ dialect, isTold: false })
    if (yield* Settings.JsonFlag) yield* Output.json(outcomes)
    else {
      const { green, red } = yield* Output.paint("stderr")
      if (outcomes.length === 0) yield* Output.say("There is no account.")
      for (const { account, isDone, outcome } of outcomes) {
        yield* Output.say(
          `${isDone ? green("✓") : red("✗")} "${account}" ${isDone ? "" : "could not be signed out: "}${outcome}`
        )
      }
      if (Option.isSome(shadow)) yield* Output.say(`${shadow.value.variable} is still set, and its token still works.`)
    }
    if (outcomes.some(({ isDone }) => !isDone)) return yield* failed("not everything was signed out")
  })).pipe(Command.withDescription("Sign out, here and at the IAM"))

const list = Effect.gen(function*() {
  const names = yield* Account.names
  const current = yield* Settings.current
  const accounts = yield* Effect.forEach(names, (name) =>
    Effect.map(Effect.result(existing(name)), (found) => ({
      name,
      problem: Result.isFailure(found) ? found.failure.message : null,
      account: Result.isSuccess(found) ? found.success : undefined
    })))
  if (yield* Settings.JsonFlag) {
    return yield* Output.json(accounts.map(({ account, name, problem }) => ({
      account: name,
      current: name === current,
      dialect: account?.dialect ?? null,
      issuer: account?.issuer ?? null,
      client: account?.client ?? null,
      storage: account?.place ?? null,
      problem
    })))
  }
  if (accounts.length === 0) {
    const { name } = yield* Settings.account
    return yield* Output.say(`There is no account yet. Sign in with: authn login${yield* Settings.flagFor(name)}`)
  }
  const { bold, red } = yield* Output.paint("stdout")
  const short = yield* Output.short
  yield* Output.out(...Output.table(
    accounts.map(({ account, name, problem }) => [
      name === current ? "*" : " ",
      name === current ? bold(name) : name,
      account?.dialect ?? red("cannot be read"),
      Output.plain(account?.issuer ?? short(problem ?? ""))
    ]),
    yield* Output.columns
  ))
})

const listNames = Effect.flatMap(
  Account.names,
  Effect.fnUntraced(function*(names) {
    if (yield* Settings.JsonFlag) return yield* Output.json(names)
    yield* Output.out(...names)
  })
)

const nameArgument = Argument.String("name").pipe(Argument.withDescription("The account"))

const use = Command.make("use", { name: nameArgument }, ({ name }) =>
  Effect.gen(function*() {
    const account = yield* existing(name)
    yield* Account.use(account.name)
    yield* Output.say(`"${name}" is the account of every authn that starts from now on, where nothing else is said.`)
  })).pipe(Command.withDescription("Choose the account that is used where nothing else is said"))

const remove = Command.make(
  "remove",
  { name: nameArgument, local, revoke },
  ({ name, ...asked }) =>
    Effect.gen(function*() {
      const account = yield* existing(name)
      yield* checkAsked(asked)
      const outcome = yield* end(account, asked)
      yield* LeftBehind.removing(account, AccountServices.sessionKeys(account).slice(1), asked, forgetSecret(account))
      const isCurrent = Option.contains(Option.flatten(yield* Effect.option(Account.current)), name)
      yield* Account.remove(name)
      yield* Output.say(`"${name}" ${outcome}; the account is forgotten.`)
      const others = yield* Account.names
      if (isCurrent && others.length > 0) {
        const known = others.map((other) => `"${other}"`).join(", ")
        yield* Output.say(
          `It was the current one. There ${others.length === 1 ? "is" : "are"} ${known}: authn accounts use NAME`
        )
      }
    })
).pipe(Command.withDescription("Sign out of an account and forget it"))

const hostArgument = Argument.String("host").pipe(
  Argument.withDescription("The registry, with its port if it has one: registry.example.com:5000")
)

/** One command at a time, since what an account lists is read, changed and written. */
const alone = <A, R>(effect: Effect.Effect<A, Failure, R>) =>
  Effect.gen(function*() {
    yield* existing((yield* Settings.account).name)
    const directory = Path.join(yield* Account.directory, "accounts")
    const key = SessionKey.make({ issuer: "authn:accounts", clientId: "authn", account: "hosts" })
    const locks = yield* Layer.build(FileSessionLock.layer({ directory }))
    return yield* Context.get(locks, SessionLock).withLock(key, "renew")(effect)
  }).pipe(
    Effect.scoped,
    Effect.catchTag("SessionLockError", ({ message }) => Effect.fail(failed(message)))
  )

const addHost = Command.make("add", {
  host: hostArgument,
  username: Flag.String("username").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("The user name that goes with the token (default oauth2)"),
    Flag.withDefault("oauth2")
  )
}, ({ host, username }) =>
  Effect.gen(function*() {
    yield* Host.check(host)
    yield* Host.checkUser(username)
    const account = yield* existing((yield* Settings.account).name)
    const other = (yield* Account.listed).find((one) =>
      one.account.name !== account.name && Host.isSame(one.host, Host.parse("https", host) ?? "")
    )
    if (other !== undefined) {
      return yield* usage(
        `${host} is listed by the account "${other.account.name}": take it away there with ` +
          `authn accounts host remove ${host} --account ${other.account.name}`
      )
    }
    const hosts = (account.hosts ?? []).filter((one) => !Host.isSame(one.host, Host.parse("https", host) ?? ""))
    yield* Account.put(Account.withHosts(account, [...hosts, { host, username }]))
    yield* Output.say(
      `${host} may have the token of "${account.name}", as the password of "${username}".`,
      "Docker asks for it when ~/.docker/config.json says:",
      `  { "credHelpers": { "${host}": "authn" } }`
    )
  }).pipe(alone)).pipe(Command.withDescription("Let a container registry have the account's token"))

const removeHost = Command.make("remove", { host: hostArgument }, ({ host }) =>
  Effect.gen(function*() {
    const account = yield* existing((yield* Settings.account).name)
    const hosts = (account.hosts ?? []).filter((one) => !Host.isSame(one.host, Host.parse("https", host) ?? ""))
    if (hosts.length === (account.hosts ?? []).length) {
      return yield* usage(`the account "${account.name}" does not list ${SecureUrl.shown(host)}`)
    }
    yield* Account.put(Account.withHosts(account, hosts))
    yield* Output.say(`${host} gets no token any more.`)
  }).pipe(alone)).pipe(Command.withDescription("Keep the token from a container registry"))

const listHosts = Effect.gen(function*() {
  const listed = yield* Account.listed
  if (yield* Settings.JsonFlag) {
    return yield* Output.json(listed.map(({ account, host, username }) => ({ host, username, account: account.name })))
  }
  if (listed.length === 0) return yield* Output.say("No registry may have a token: authn accounts host add HOST")
  yield* Output.out(...Output.table(
    listed.map(({ account, host, username }) => [host, username, account.name].map(Output.plain)),
    yield* Output.columns
  ))
})

const host = Command.make("host", {}, () => listHosts).pipe(
  Command.withDescription("The container registries that may have a token"),
  Command.withSubcommands([
    Command.make("list", {}, () => listHosts).pipe(Command.withDescription("List them")),
    addHost,
    removeHost
  ])
)

/**
 * Lists, chooses and forgets accounts.
 */
export const accounts = Command.make("accounts", {}, () => list).pipe(
  Command.withDescription("List the accounts; choose one, forget one"),
  Command.withSubcommands([
    Command.make("list", {}, () => list).pipe(Command.withDescription("List the accounts")),
    Command.make("names", {}, () => listNames).pipe(Command.withDescription("Print their names, one a line")),
    use,
    remove,
    host
  ])
)
