/**
 * What the command remembers of each login, without a secret: where, as whom, and how to renew.
 */
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as UserDirectories from "effect/persistence/UserDirectories"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import * as Util from "node:util"
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
  host: Schema.optionalKey(CallbackHost)
})

export type Callback = typeof Callback.Type

/**
 * A login: `place` is where its session lies, `file` the very file where that is a plain one. `unattended` says that the
 * client's secret was kept beside it, and is enough for another login. `window` (milliseconds) and `shortLivedFraction`
 * are the IAM's `RefreshPolicy`, so that `authn token` need not load it.
 */
export class Account extends Schema.Class<Account>("@effect-authn/cli/Account")({
  version: Schema.Literal(1),
  name: Schema.NonEmptyString,
  dialect: Dialect,
  issuer: Schema.NonEmptyString,
  client: Schema.NonEmptyString,
  scopes: Schema.optionalKey(Schema.Array(Schema.String)),
  callback: Schema.optionalKey(Callback),
  unattended: Schema.optionalKey(Schema.Boolean),
  place: StoragePolicy.Place,
  file: Schema.optionalKey(Schema.String),
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
  Effect.mapError(() => failed("there is no place for accounts: set HOME, or XDG_DATA_HOME to a directory of yours"))
)

/**
 * Refuses what cannot be the name of an account, since it names a file.
 */
export const checkName = (name: string): Effect.Effect<string, Failure> =>
  /^[\w@+-][\w.@+-]{0,63}$/.test(name) && name !== "current"
    ? Effect.succeed(name)
    : Effect.fail(usage(`"${name}" cannot be the name of an account: use letters, digits and . _ @ + - (at most 64)`))

const problem = (path: string) => ({ reason }: PlatformError.PlatformError): Failure => {
  const { cause } = reason
  const what = Predicate.hasProperty(cause, "errno") && Predicate.isNumber(cause.errno)
    ? Util.getSystemErrorMessage(cause.errno)
    : reason._tag
  return failed(`${path}: ${what}; make it yours to write, free some space, or set XDG_DATA_HOME to another directory`)
}

const below = (...names: ReadonlyArray<string>) =>
  Effect.map(directory, (data) => Path.join(data, "accounts", ...names))

/**
 * The account of that name, if there was such a login.
 */
export const get = Effect.fnUntraced(function*(name: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* below(`${name}.json`)
  const text = yield* fs.readFileString(path).pipe(
    Effect.asSome,
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeedNone),
    Effect.mapError(problem(path))
  )
  if (Option.isNone(text)) return Option.none<Account>()
  return yield* Effect.asSome(Effect.mapError(
    decode(text.value),
    () => failed(`${path} is not an account of this version of authn: update it, or remove the file and sign in again`)
  ))
})

const replace = Effect.fnUntraced(function*(path: string, text: string) {
  const fs = yield* FileSystem.FileSystem
  // Two logins at once must not write into one temporary file.
  const temporary = `${path}.${yield* Random.nextInt}.tmp`
  yield* fs.makeDirectory(Path.dirname(path), { recursive: true, mode: 0o700 }).pipe(
    Effect.andThen(fs.writeFileString(temporary, text, { mode: 0o600 })),
    Effect.andThen(fs.rename(temporary, path)),
    Effect.onError(() => Effect.ignore(fs.remove(temporary, { force: true }))),
    Effect.uninterruptible,
    Effect.mapError(problem(path))
  )
})

/**
 * Remembers an account. The first one becomes current.
 */
export const put = Effect.fnUntraced(function*(account: Account) {
  yield* replace(yield* below(`${account.name}.json`), yield* Effect.orDie(encode(account)))
  if (Option.isNone(yield* current)) yield* use(account.name)
})

/**
 * Forgets an account, and that it is current.
 */
export const remove = Effect.fnUntraced(function*(name: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* below(`${name}.json`)
  yield* Effect.mapError(fs.remove(path, { force: true }), problem(path))
  if (Option.contains(yield* current, name)) {
    const mark = yield* below("current")
    yield* Effect.mapError(fs.remove(mark, { force: true }), problem(mark))
  }
})

/**
 * The names of all accounts, in order.
 */
export const names = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* below()
  const files = yield* fs.readDirectory(path).pipe(
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed([])),
    Effect.mapError(problem(path))
  )
  return files.filter((file) => file.endsWith(".json")).map((file) => file.slice(0, -5)).sort()
})

/**
 * The account that `authn accounts use`, or the first login, made current.
 */
export const current = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.option(Effect.flatMap(below("current"), (path) => fs.readFileString(path)))
  return Option.filter(Option.map(text, (name) => name.trim()), (name) => name !== "")
})

/**
 * Makes an account current. Programs that run are not told.
 */
export const use = Effect.fnUntraced(function*(name: string) {
  yield* replace(yield* below("current"), `${name}\n`)
})
