/**
 * What the command was told: flags over the environment over what a login left behind over the user's file.
 */
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as Variable from "@effect-authn/core/Variable"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as ByteSize from "effect/ByteSize"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Toml from "effect/encoding/Toml"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as UserDirectories from "effect/persistence/UserDirectories"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import * as Account from "./Account.ts"
import * as Belonging from "./Belonging.ts"
import * as EnvironmentToken from "./EnvironmentToken.ts"
import { failed, Failure, usage } from "./Failure.ts"

/**
 * `--account NAME`, at every command.
 */
export const AccountFlag = GlobalFlag.Setting("account")({
  flag: Flag.String("account").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Which login; else AUTHN_ACCOUNT, then accounts use"),
    Flag.optional
  )
})

/**
 * `--json`, at every command.
 */
export const JsonFlag = GlobalFlag.Setting("json")({
  flag: Flag.Boolean("json").pipe(Flag.withDescription("Print data as JSON"), Flag.withDefault(false))
})

/**
 * What can be set.
 */
export const names = [
  "dialect",
  "issuer",
  "client_id",
  "scope",
  "organization",
  "project",
  "audience",
  "resource",
  "prompt",
  "parameter",
  "client_auth",
  "dpop",
  "callback_port",
  "callback_host",
  "callback_path",
  "workload_audience",
  "storage"
] as const

export type Name = typeof names[number]

/**
 * A value and where it came from, in words.
 */
export interface Value {
  readonly value: string
  readonly source: string
}

/**
 * All values that are set.
 */
export type Values = { readonly [N in Name]?: Value }

/**
 * What flags say.
 */
export type Flags = { readonly [N in Name]?: Option.Option<string> }

const variable = (name: Name): string => `AUTHN_${name.toUpperCase()}`

/**
 * The user's file, whether or not there is one.
 */
export const filePath: Effect.Effect<string, Failure> = UserDirectories.make().config("effect-authn").pipe(
  Effect.filterOrFail((place) => Path.isAbsolute(place)),
  Effect.map((directory) => Path.join(directory, "config.toml")),
  Effect.mapError(() => failed("there is no place for the configuration: set HOME, or XDG_CONFIG_HOME"))
)

const readFile = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const place = yield* Effect.option(filePath)
  if (Option.isNone(place)) return {}
  const path = place.value
  const text = yield* fs.stat(path).pipe(
    Effect.filterOrFail(
      ({ size, type }) => type === "File" && ByteSize.isLessThan(size, ByteSize.mebibytes(1)),
      () => failed(`${path} is no file of settings (it is larger than 1 MiB, or no file at all): move it away`)
    ),
    Effect.andThen(fs.readFileString(path)),
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed("")),
    Effect.catchTag(
      "PlatformError",
      (error) => Effect.fail(failed(`${path} cannot be read: ${PrivateFile.reasonOf(error)}`))
    )
  )
  const parsed = Toml.parse(text)
  if (Result.isFailure(parsed)) return yield* usage(`${path} is not TOML: ${parsed.failure.message}`)
  const values: { -readonly [N in Name]?: Value } = {}
  for (const [key, value] of Object.entries(parsed.success)) {
    const name = names.find((name) => name === key)
    if (name === undefined) return yield* usage(`${path}: "${key}" is no setting; there are ${names.join(", ")}`)
    if (typeof value !== "string") return yield* usage(`${path}: "${key}" must be a text in quotes`)
    if (value !== "") values[name] = { value, source: path }
  }
  return values
})

const fromEnvironment = Effect.gen(function*() {
  const values: { -readonly [N in Name]?: Value } = {}
  const storage = yield* Variable.nameOf(variable("storage"), "EFFECT_AUTHN_STORAGE")
  for (const name of names) {
    const source = name === "storage" ? storage : variable(name)
    const value = yield* EnvironmentToken.setIn(source)
    if (Option.isSome(value)) values[name] = { value: value.value, source }
  }
  return values
})

const fromFlags = (flags: Flags): Values => {
  const values: { -readonly [N in Name]?: Value } = {}
  for (const name of names) {
    const value = flags[name]
    if (value !== undefined && Option.isSome(value)) {
      values[name] = { value: value.value, source: `--${name.replaceAll("_", "-")}` }
    }
  }
  return values
}

const fromAccount = (account: Option.Option<Account.Account>): Values => {
  if (Option.isNone(account)) return {}
  const { callback, client, dialect, issuer, name, place, provider, scopes } = account.value
  const source = `the login of "${name}"`
  return {
    dialect: { value: dialect, source },
    issuer: { value: issuer, source },
    ...(dialect === "oidc" ? { client_id: { value: client, source } } : {}),
    ...(scopes === undefined ? {} : { scope: { value: scopes.join(" "), source } }),
    ...(callback?.ports === undefined ? {} : { callback_port: { value: callback.ports.join(" "), source } }),
    ...(callback?.host === undefined ? {} : { callback_host: { value: callback.host, source } }),
    ...(callback?.path === undefined ? {} : { callback_path: { value: callback.path, source } }),
    ...(provider?.audience === undefined ? {} : { audience: { value: provider.audience, source } }),
    ...(provider?.resource === undefined ? {} : { resource: { value: provider.resource, source } }),
    ...(provider?.prompt === undefined ? {} : { prompt: { value: provider.prompt, source } }),
    ...(provider?.parameters === undefined
      ? {}
      : { parameter: { value: new URLSearchParams(provider.parameters).toString(), source } }),
    ...(provider?.clientAuth === undefined ? {} : { client_auth: { value: provider.clientAuth, source } }),
    ...(provider?.dpop === undefined ? {} : { dpop: { value: String(provider.dpop), source } }),
    ...(provider?.workload === undefined
      ? {}
      : { workload_audience: { value: provider.workload.audience, source } }),
    storage: { value: place, source }
  }
}

const literal = <
  S extends
    | typeof Account.Dialect
    | typeof Account.CallbackHost
    | typeof Account.ClientAuth
    | typeof Account.Toggle
    | typeof StoragePolicy.Policy
>(schema: S) => {
  const is = Schema.is(schema)
  return (given: Value | undefined): Effect.Effect<S["Type"] | undefined, Failure> =>
    given === undefined
      ? Effect.undefined
      : is(given.value)
      ? Effect.succeed(given.value)
      : Effect.fail(usage(`${given.source} says "${given.value}", but it is one of ${schema.literals.join(", ")}`))
}
const dialectOf = literal(Account.Dialect)
const policyOf = literal(StoragePolicy.Policy)
const hostOf = literal(Account.CallbackHost)
const clientAuthOf = literal(Account.ClientAuth)
const toggleOf = literal(Account.Toggle)

const decodePorts = Schema.decodeUnknownEffect(Account.CallbackPorts)

const portsOf = (given: Value | undefined): Effect.Effect<typeof Account.CallbackPorts.Type | undefined, Failure> =>
  given === undefined
    ? Effect.undefined
    : Effect.mapError(
      decodePorts(given.value.trim().split(/[\s,]+/).map(Number)),
      () => usage(`${given.source} says "${given.value}", but ports are numbers from 1 to 65535, separated by spaces`)
    )

const pathOf = (given: Value | undefined): Effect.Effect<`/${string}` | undefined, Failure> => {
  if (given === undefined) return Effect.undefined
  const { source, value } = given
  const isPath = (text: string): text is `/${string}` =>
    URL.parse(`http://127.0.0.1${text}`)?.pathname === text && text.startsWith("/")
  return isPath(value)
    ? Effect.succeed(value)
    : Effect.fail(usage(`${source} says "${value}", but it is the path of an address, such as /callback`))
}

const callbackOf = Effect.fnUntraced(function*(values: Values): Effect.fn.Return<Account.Callback, Failure> {
  const ports = yield* portsOf(values.callback_port)
  const host = yield* hostOf(values.callback_host)
  const path = yield* pathOf(values.callback_path)
  return {
    ...(ports === undefined ? {} : { ports }),
    ...(host === undefined ? {} : { host }),
    ...(path === undefined ? {} : { path })
  }
})

const ownFlags = new Set(["scope", "audience", "resource", "prompt", "client_id"])
const ofTheProtocol = new Set([
  "response_type",
  "response_mode",
  "redirect_uri",
  "state",
  "nonce",
  "code_challenge",
  "code_challenge_method"
])

/** What else the provider is asked with, written as in the query of an address. */
const parametersOf = Effect.fnUntraced(function*(given: Value | undefined) {
  if (given === undefined) return undefined
  const parameters = Object.fromEntries(new URLSearchParams(given.value))
  for (const [name, value] of Object.entries(parameters)) {
    const problem = name === "" || (value === "" && !given.value.includes("="))
      ? "is not of the form name=value"
      : ownFlags.has(name)
      ? `names ${name}, which has a flag of its own: --${name.replace("_", "-")}`
      : ofTheProtocol.has(name)
      ? `names ${name}, which the login itself sets`
      : undefined
    if (problem !== undefined) return yield* usage(`${given.source} ${problem}`)
  }
  return parameters
})

/**
 * Whom the command speaks to, as far as it is told.
 */
export const asked = ({ client_id, issuer }: Values): Belonging.Asked => {
  const ofFlag = (value: Value | undefined) => value?.source.startsWith("--") === true ? value.value : undefined
  return {
    issuer: issuer?.value,
    client: client_id?.value,
    byFlags: { issuer: ofFlag(issuer), client: ofFlag(client_id) }
  }
}

/** Why the audience of a variable or of the user's file is not of this IAM, to which it would send the platform's token. */
const audienceObjection = Effect.fnUntraced(function*(
  values: Values,
  file: Values,
  account: Option.Option<Account.Account>
) {
  const { workload_audience: told } = values
  if (told === undefined || told.value === Option.getOrUndefined(account)?.provider?.workload?.audience) {
    return undefined
  }
  if (told.source === variable("workload_audience")) {
    return Belonging.objection(told.source, asked(values), yield* Belonging.ofVariables)
  }
  if (told.source !== file.workload_audience?.source) return undefined
  const beside = { issuer: file.issuer?.value, client: file.client_id?.value }
  return Belonging.objection(`workload_audience in ${told.source}`, asked(values), beside)
})

const providerOf = Effect.fnUntraced(function*(
  values: Values,
  account: Option.Option<Account.Account>,
  isAudienceTheirs: boolean
): Effect.fn.Return<Account.Provider, Failure> {
  const { audience, client_auth, dpop, parameter, prompt, resource } = values
  const clientAuth = yield* clientAuthOf(client_auth)
  const isBound = (yield* toggleOf(dpop)) === "true"
  const parameters = yield* parametersOf(parameter)
  const metadata = Option.getOrUndefined(account)?.provider?.metadata
  const workload = values.workload_audience === undefined
    ? undefined
    : isAudienceTheirs
    ? { audience: values.workload_audience.value }
    : Option.getOrUndefined(account)?.provider?.workload
  return {
    ...(audience === undefined ? {} : { audience: audience.value }),
    ...(resource === undefined ? {} : { resource: resource.value }),
    ...(prompt === undefined ? {} : { prompt: prompt.value }),
    ...(parameters === undefined ? {} : { parameters }),
    ...(clientAuth === undefined ? {} : { clientAuth }),
    ...(isBound ? { dpop: true } : {}),
    ...(workload === undefined ? {} : { workload }),
    ...(metadata === undefined ? {} : { metadata })
  }
})

/** Settings of which an empty text says that there is to be none, whatever a login left behind. */
const mayBeEmpty: ReadonlySet<Name> = new Set([
  "scope",
  "audience",
  "resource",
  "prompt",
  "parameter",
  "client_auth",
  "callback_port",
  "callback_host",
  "callback_path",
  "workload_audience"
])
// Here the empty text is a value: no scope, no prompt.
const isValueWhenEmpty: ReadonlySet<Name> = new Set(["scope", "prompt"])

/** The values without those that an empty text takes away; an empty text where something has to be is a mistake. */
const withoutEmpty = Effect.fnUntraced(function*(values: Values): Effect.fn.Return<Values, Failure> {
  const kept: { -readonly [N in Name]?: Value } = {}
  for (const name of names) {
    const value = values[name]
    if (value === undefined) continue
    if (value.value.trim() === "" && !mayBeEmpty.has(name)) {
      return yield* usage(`${value.source} is empty: is a variable empty there?`)
    }
    if (value.value !== "" || isValueWhenEmpty.has(name)) kept[name] = value
  }
  return kept
})

/**
 * The provider of an account as this invocation asks it: a variable that names another API than the login did asks for a
 * token for that one.
 */
export const providerAsked = (account: Account.Account, { audience, resource }: Values): Account.Provider => {
  const { provider = {} } = account
  const told = (value: Value | undefined) => value?.source.startsWith("AUTHN_") === true ? value.value : undefined
  const asked = { audience: told(audience), resource: told(resource) }
  const isOther = (["audience", "resource"] as const).some((name) =>
    asked[name] !== undefined && asked[name] !== provider[name]
  )
  if (!isOther) return provider
  const { audience: _audience, resource: _resource, ...rest } = provider
  return {
    ...rest,
    ...(asked.audience === undefined ? {} : { audience: asked.audience }),
    ...(asked.resource === undefined ? {} : { resource: asked.resource })
  }
}

/**
 * The account that is meant where nothing is said.
 */
export const current = Effect.map(Account.current, Option.getOrElse(() => "default"))

/**
 * The account that is meant by who names none.
 */
const unnamed = Effect.gen(function*() {
  const environment = yield* EnvironmentToken.setIn("AUTHN_ACCOUNT")
  return Option.isSome(environment) ? environment.value : yield* current
})

/**
 * What a hint adds to a command that is for this account: nothing where that is the one which is meant anyway.
 */
export const flagFor = Effect.fnUntraced(function*(name: string) {
  return name === (yield* Effect.orElseSucceed(unnamed, () => undefined)) ? "" : ` --account ${name}`
})

/**
 * Which account is meant, and why; `isTold` when this very invocation names it.
 */
export const account = Effect.gen(function*() {
  const flag = yield* AccountFlag
  const environment = yield* EnvironmentToken.setIn("AUTHN_ACCOUNT")
  const used = Effect.map(
    Account.current,
    Option.match({ onNone: () => ["default", "default"], onSome: (name) => [name, "authn accounts use"] })
  )
  const [name = "", source = ""] = Option.isSome(flag)
    ? [flag.value, "--account"]
    : Option.isSome(environment)
    ? [environment.value, "AUTHN_ACCOUNT"]
    : yield* used
  return { name: yield* Account.checkName(name), source, isTold: Option.isSome(flag) }
})

/**
 * Everything that is known before an IAM is spoken to.
 */
export interface Settings {
  readonly name: string
  readonly nameSource: string
  readonly isTold: boolean
  readonly account: Option.Option<Account.Account>
  readonly dialect: Account.Dialect | undefined
  readonly policy: StoragePolicy.Policy | undefined
  readonly callback: Account.Callback
  readonly provider: Account.Provider
  /** Why the audience that is set for the platform's token is not of this IAM, and not in `provider`. */
  readonly audienceObjection: string | undefined
  readonly values: Values
}

/**
 * Puts all sources together, as far as they can be read, and tells what is wrong with the others.
 */
export const survey = Effect.fnUntraced(function*(flags?: Flags) {
  const problems: Array<Failure> = []
  const or = <A, B, R>(part: Effect.Effect<A, Failure, R>, instead: B) =>
    Effect.catch(part, (problem) => {
      problems.push(problem)
      return Effect.succeed(instead)
    })
  const named = yield* Effect.result(account)
  const { isTold, name, source: nameSource } = Result.getOrElse(
    named,
    () => ({ isTold: false, name: "default", source: "default" })
  )
  const found = Result.isSuccess(named) ? yield* Effect.result(Account.get(name)) : Result.fail(named.failure)
  const known = Option.flatten(Result.getSuccess(found))
  const told: Values = { ...(yield* fromEnvironment), ...fromFlags(flags ?? {}) }
  const file: Values = yield* or(readFile, {})
  const below: Values = { ...file, ...fromAccount(known) }
  const iamUrl = yield* EnvironmentToken.setIn("DATALAYER_IAM_URL")
  const ambient = "DATALAYER_IAM_URL"
  const isDatalayer = Option.isSome(iamUrl) && Option.isNone(known) &&
    ["datalayer", undefined].includes((told.dialect ?? below.dialect)?.value)
  const all: Values = {
    ...below,
    ...(isDatalayer
      ? { dialect: { value: "datalayer", source: ambient }, issuer: { value: iamUrl.value, source: ambient } }
      : {}),
    ...told
  }
  const values = yield* or(withoutEmpty(all), all)
  const objection = yield* audienceObjection(values, file, known)
  const settings: Settings = {
    name,
    nameSource,
    isTold,
    account: known,
    dialect: yield* or(dialectOf(values.dialect), undefined),
    policy: yield* or(policyOf(values.storage), undefined),
    callback: yield* or(callbackOf(values), {}),
    provider: yield* or(providerOf(values, known, objection === undefined), {}),
    audienceObjection: objection,
    values
  }
  yield* or(agree(settings), undefined)
  // A token of the environment needs no account, and no home to have one in; who gives flags is about to write one.
  const isNeeded = flags !== undefined || Option.isNone(yield* EnvironmentToken.givenToken(settings))
  if (Result.isFailure(found) && (isNeeded || found.failure.exitCode === 2)) problems.unshift(found.failure)
  return { problems, settings }
})

/**
 * Puts all sources together.
 */
export const make = Effect.fnUntraced(function*(flags?: Flags) {
  const { problems: [problem], settings } = yield* survey(flags)
  return problem === undefined ? settings : yield* problem
})

/**
 * Whether an address is that of an IAM. The names of issuers are compared to the letter (RFC 8414, section 3.3), except
 * where the dialect has one way to write what people write in several.
 */
const isIssuer = Effect.fnUntraced(function*(dialect: Account.Dialect, address: string, issuer: string) {
  if (address === issuer) return true
  switch (dialect) {
    case "datalayer": {
      const { canonicalIssuer } = yield* Effect.promise(() => import("@effect-authn/iam-datalayer/DatalayerOptions"))
      return Option.contains(Result.getSuccess(canonicalIssuer(address)), issuer)
    }
    case "genomcore": {
      const { origin } = yield* Effect.promise(() => import("@effect-authn/iam-genomcore/GenomcoreOptions"))
      return Option.contains(origin(address), issuer)
    }
    case "oidc":
      return false
  }
})

/** A session goes to no other IAM than the one that it is of, whatever the environment says. */
const agree = Effect.fnUntraced(function*({ account, name, values }: Settings) {
  if (Option.isNone(account)) return
  const { client, dialect, issuer } = account.value
  const told: ReadonlyArray<readonly [Value | undefined, string, boolean]> = [
    [values.dialect, dialect, values.dialect?.value === dialect],
    [values.issuer, issuer, yield* isIssuer(dialect, values.issuer?.value ?? "", issuer)],
    [values.client_id, client, dialect !== "oidc" || values.client_id?.value === client]
  ]
  for (const [value, remembered, isSame] of told) {
    if (isSame || value === undefined) continue
    return yield* usage(
      `${value.source} says "${SecureUrl.shown(value.value)}", but the account "${name}" is of "${remembered}": ` +
        `give that login a name of its own with --account NAME, or forget this one with: authn accounts remove ${name}`
    )
  }
})

/**
 * Nobody signed in to that account; the others are named.
 */
export const notSignedIn = Effect.fnUntraced(function*(name: string) {
  const others = (yield* Account.names).filter((other) => other !== name)
  const login = `authn login${yield* flagFor(name)}`
  const known = others.length === 0
    ? `Sign in with: ${login} --dialect DIALECT --issuer URL`
    : `There ${others.length === 1 ? "is" : "are"} ${
      others.map((other) => `"${other}"`).join(", ")
    }: choose with --account, or sign in with: ${login}`
  return yield* new Failure({
    exitCode: 3,
    detail: `not signed in: there is no account "${name}"\n${known}`,
    unknownAccount: name
  })
})
