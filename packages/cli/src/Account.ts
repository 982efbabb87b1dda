/**
 * What the command remembers of each login, without a secret: where, as whom, and how to renew.
 */
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as UserDirectories from "effect/persistence/UserDirectories"
import type * as PlatformError from "effect/PlatformError"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Path from "node:path"
import { isName } from "./AccountName.ts"
import { failed, type Failure, usage } from "./Failure.ts"

/**
 * How an IAM speaks.
 */
export const Dialect = Schema.Literals(["datalayer", "genomcore", "oidc"])

export type Dialect = typeof Dialect.Type

/**
 * The ports that the browser of a login may come back to, in the order in which they are tried.
 */
export const CallbackPorts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_535 })))

/**
 * The names of this machine that a browser can come back to.
 */
export const CallbackHost = Schema.Literals(["127.0.0.1", "localhost", "[::1]"])

/**
 * Where the browser of a login comes back to, for an IAM that knows certain ports or one name only.
 */
export const Callback = Schema.Struct({
  ports: Schema.optionalKey(CallbackPorts),
  host: Schema.optionalKey(CallbackHost),
  path: Schema.optionalKey(Schema.TemplateLiteral(["/", Schema.String]))
})

export type Callback = typeof Callback.Type

/**
 * A container registry that may have the account's token, as the password of a user.
 */
export const Registry = Schema.Struct({ host: Schema.NonEmptyString, username: Schema.NonEmptyString })

/**
 * How a client shows its secret to an OpenID provider: `ClientAuthentication` of the dialect.
 */
export const ClientAuth = Schema.Literals(["none", "client_secret", "client_secret_basic", "client_secret_post"])

/**
 * How a setting that is on or off is written.
 */
export const Toggle = Schema.Literals(["true", "false"])

/**
 * The endpoints of a provider that publishes none: `OidcMetadata` of the dialect.
 */
export const Metadata = Schema.Struct({
  authorization_endpoint: Schema.optionalKey(Schema.String),
  token_endpoint: Schema.String,
  device_authorization_endpoint: Schema.optionalKey(Schema.String),
  userinfo_endpoint: Schema.optionalKey(Schema.String),
  revocation_endpoint: Schema.optionalKey(Schema.String),
  end_session_endpoint: Schema.optionalKey(Schema.String),
  jwks_uri: Schema.optionalKey(Schema.String),
  authorization_response_iss_parameter_supported: Schema.optionalKey(Schema.Boolean),
  token_endpoint_auth_methods_supported: Schema.optionalKey(Schema.Array(Schema.String))
})

/**
 * What an OpenID provider is told and asked besides the client and its scopes: `OidcOptions` of the dialect.
 */
export const Provider = Schema.Struct({
  audience: Schema.optionalKey(Schema.String),
  resource: Schema.optionalKey(Schema.String),
  prompt: Schema.optionalKey(Schema.String),
  parameters: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  clientAuth: Schema.optionalKey(ClientAuth),
  dpop: Schema.optionalKey(Schema.Boolean),
  workload: Schema.optionalKey(Schema.Struct({ audience: Schema.String })),
  metadata: Schema.optionalKey(Metadata)
})

export type Provider = typeof Provider.Type

/**
 * What was answered at a login, to be suggested at the next one.
 */
export const Answers = Schema.Struct({
  way: Schema.String,
  handle: Schema.optionalKey(Schema.String),
  organization: Schema.optionalKey(Schema.String)
})

export type Answers = typeof Answers.Type

/**
 * A login: `place` is where its session lies. `unattended` says that the client's secret was kept beside it, and is enough
 * for another login. `window` (milliseconds) and `shortLivedFraction` are the IAM's `RefreshPolicy`, so that `authn token`
 * need not load it.
 */
export class Account extends Schema.Class<Account>("@effect-authn/cli/Account")({
  version: Schema.Literal(1),
  name: Schema.NonEmptyString,
  dialect: Dialect,
  issuer: Schema.NonEmptyString,
  client: Schema.NonEmptyString,
  scopes: Schema.optionalKey(Schema.Array(Schema.String)),
  callback: Schema.optionalKey(Callback),
  provider: Schema.optionalKey(Provider),
  answers: Schema.optionalKey(Answers),
  unattended: Schema.optionalKey(Schema.Boolean),
  place: StoragePolicy.Place,
  hosts: Schema.optionalKey(Schema.Array(Registry)),
  window: Schema.Finite,
  shortLivedFraction: Schema.Finite
}) {}

const Document = Schema.fromJsonString(Account, { space: 2 })
const encode = Schema.encodeEffect(Document)
const decode = Schema.decodeUnknownEffect(Document)

/**
 * Where accounts and sessions are.
 */
export const directory: Effect.Effect<string, Failure> = UserDirectories.make().data("effect-authn").pipe(
  // One that is relative is wherever the command happens to start, such as in a repository of somebody else.
  Effect.filterOrFail((place) => Path.isAbsolute(place)),
  Effect.mapError(() =>
    failed("there is no place for accounts: set HOME, or XDG_DATA_HOME, to a directory of yours (an absolute path)")
  )
)

/**
 * Refuses what cannot be the name of an account, since it names a file.
 */
export const checkName = (name: string): Effect.Effect<string, Failure> =>
  isName(name)
    ? Effect.succeed(name)
    : Effect.fail(
      usage(
        `"${name}" cannot be the name of an account: use letters, digits and . _ @ + - (at most 64, and no . or - in front)`
      )
    )

const problem = ({ detail }: PrivateFile.PrivateFileError): Failure => failed(detail)

const below = (...names: ReadonlyArray<string>) =>
  Effect.map(directory, (data) => Path.join(data, "accounts", ...names))

/**
 * The account of that name, if there was such a login.
 */
export const get = Effect.fnUntraced(function*(name: string) {
  const path = yield* below(`${name}.json`)
  const text = yield* Effect.mapError(PrivateFile.read(path), problem)
  if (Option.isNone(text)) return Option.none<Account>()
  return yield* Effect.asSome(Effect.mapError(
    decode(text.value),
    () => failed(`${path} is not an account of this version of authn: update it, or remove the file and sign in again`)
  ))
})

// Two logins can be at once.
const replace = (path: string, text: string) =>
  PrivateFile.makeDirectory(Path.dirname(path)).pipe(
    Effect.andThen(PrivateFile.replace(path, text, { isLocked: false })),
    Effect.mapError(problem)
  )

/**
 * Remembers an account. One that is the only one becomes current; beside others, that is for `accounts use` to say.
 */
export const put = Effect.fnUntraced(function*(account: Account) {
  const isOnly = (yield* names).every((name) => name === account.name)
  yield* replace(yield* below(`${account.name}.json`), yield* Effect.orDie(encode(account)))
  if (isOnly && Option.isNone(yield* current)) yield* use(account.name)
})

const removal = (path: string) => (error: PlatformError.PlatformError) => problem(PrivateFile.fromPlatform(path)(error))

/**
 * Forgets an account, and that it is current.
 */
export const remove = Effect.fnUntraced(function*(name: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* below(`${name}.json`)
  yield* Effect.mapError(fs.remove(path, { force: true }), removal(path))
  if (Option.contains(Option.flatten(yield* Effect.option(current)), name)) {
    const mark = yield* below("current")
    yield* Effect.mapError(fs.remove(mark, { force: true }), removal(mark))
  }
})

/**
 * The names of all accounts, in order.
 */
export const names = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* below()
  const files = yield* PrivateFile.checkDirectory(path).pipe(
    Effect.andThen(fs.readDirectory(path)),
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed([])),
    Effect.catchTag("PlatformError", (error) => Effect.fail(PrivateFile.fromPlatform(path)(error))),
    Effect.mapError(problem)
  )
  // What cannot be the name of an account is none: a shell that completes names would take some for commands.
  return files.filter((file) => file.endsWith(".json")).map((file) => file.slice(0, -5)).filter(isName).sort()
})

/**
 * An account that lists other registries.
 */
export const withHosts = (account: Account, hosts: ReadonlyArray<typeof Registry.Type>): Account =>
  Account.make(Struct.assign({ hosts })(account))

/**
 * The registries that accounts list, and whose they are. An account that cannot be read lists none.
 */
export const listed = Effect.gen(function*() {
  const accounts = yield* Effect.forEach(yield* names, (name) => Effect.option(get(name)))
  return accounts.flatMap((account) =>
    Option.match(Option.flatten(account), {
      onNone: () => [],
      onSome: (account) => (account.hosts ?? []).map(({ host, username }) => ({ account, host, username }))
    })
  )
})

/**
 * The account that `authn accounts use`, or the first login, made current.
 */
export const current = Effect.gen(function*() {
  const path = yield* below("current")
  // One that cannot be read names an account all the same: another one in its place would be a surprise.
  const text = yield* Effect.mapError(PrivateFile.read(path), problem)
  const name = Option.filter(Option.map(text, (name) => name.trim()), (name) => name !== "")
  return Option.isNone(name) || isName(name.value)
    ? name
    : yield* failed(`${path} names no account: say which one it is with authn accounts use NAME`)
})

/**
 * Makes an account current. Programs that run are not told.
 */
export const use = Effect.fnUntraced(function*(name: string) {
  yield* replace(yield* below("current"), `${name}\n`)
})
