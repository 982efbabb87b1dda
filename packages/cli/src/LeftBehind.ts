/**
 * What lies beside the sessions of the accounts: damaged files that were put aside, and sessions that no account lists.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import type * as SessionKey from "@effect-authn/core/session/SessionKey"
import { SessionLock } from "@effect-authn/core/storage/SessionLock"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as FileSessionLock from "@effect-authn/platform-node/FileSessionLock"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import * as Account from "./Account.ts"
import * as AccountServices from "./AccountServices.ts"
import { failed, usage } from "./Failure.ts"

const directories = { "plain-file": "sessions", "encrypted-file": "encrypted", "keyring": "keychain" } as const

type FilePlace = keyof typeof directories
type Place = FilePlace | "sqlite"

const isFilePlace = (place: Account.Account["place"]): place is FilePlace => place in directories

/** The file of a session, where it has one of its own; the keychain has only the key of its files. */
export const fileOf = Effect.fnUntraced(function*(place: Account.Account["place"], key: SessionKey.SessionKey) {
  return isFilePlace(place)
    ? Option.some(Path.join(yield* Account.directory, directories[place], FileTokenStorage.fileOf(key)))
    : Option.none<string>()
})

/** The files of an account that can hold tokens: of its session, and what was damaged and put aside. */
export const filesOf = Effect.fnUntraced(function*(account: Account.Account) {
  const [key] = AccountServices.sessionKeys(account)
  const file = Option.getOrUndefined(yield* fileOf(account.place, key))
  // who keeps sessions in one file for all knows by itself what is there
  if (file === undefined) return { isThere: account.place === "sqlite", asides: [] }
  return yield* Effect.all({ isThere: PrivateFile.exists(file), asides: PrivateFile.asides(file) }).pipe(
    Effect.mapError(({ detail }) => failed(detail))
  )
})

/** Whether a failure is for want of a key, which may be lost for ever. */
const isWithoutKey = (error: unknown): error is TokenStorageError =>
  isStorageError(error) && (error.reason._tag === "StorageKeyUnavailable" ||
    error.reason._tag === "StorageKeyMismatch" ||
    (error.reason._tag === "StorageUnavailable" && error.reason.tried !== undefined))

const isStorageError = Schema.is(TokenStorageError)

/**
 * Removes what is stored under keys of an account by `removal`; where that fails for want of an encryption key and the IAM
 * is not to be told anyway, unread. Tells whether it was unread.
 */
export const removing = <A, E, R>(
  account: Account.Account,
  keys: ReadonlyArray<SessionKey.SessionKey>,
  { local }: Asked,
  removal: Effect.Effect<A, E, R>
) =>
  Effect.catchIf(
    removal,
    (error) => local && account.place !== "sqlite" && isWithoutKey(error),
    () =>
      Effect.gen(function*() {
        for (const key of keys) {
          const file = yield* fileOf(account.place, key)
          if (Option.isNone(file)) continue
          const locks = yield* Layer.build(FileSessionLock.layer({ directory: Path.dirname(file.value) }))
          yield* Effect.andThen(PrivateFile.removeAsides(file.value), PrivateFile.remove(file.value)).pipe(
            Context.get(locks, SessionLock).withLock(key, "renew"),
            Effect.mapError(({ message }) => failed(message))
          )
        }
        return unread
      }).pipe(Effect.scoped)
  )

const unread = "is forgotten here, unread, since its key is not there; its tokens work until the IAM ends them"

/** The file that has all sessions of the place `sqlite`. */
const database = Effect.map(Account.directory, (data) => Path.join(data, "sqlite", "sessions.sqlite"))

/** What a session in that file is called, behind the file: as its own file would be elsewhere. */
const inDatabase = (file: string, key: SessionKey.SessionKey): string =>
  `${file}#${Path.basename(FileTokenStorage.fileOf(key), ".json")}`

/** Where a session lies, in words that no other one has. */
const pathOf = Effect.fnUntraced(function*(place: Account.Account["place"], key: SessionKey.SessionKey) {
  return place === "sqlite" ? Option.some(inDatabase(yield* database, key)) : yield* fileOf(place, key)
})

/** The keys of the sessions in a SQLite file. They are not encrypted, so that this needs no key and changes nothing. */
const keysIn = Effect.fnUntraced(function*(file: string) {
  const [NodeSqlite, SqlTokenStorage] = yield* Effect.promise(() =>
    Promise.all([
      import("@effect-authn/platform-node/NodeSqlite"),
      import("@effect-authn/storage-sql/SqlTokenStorage")
    ])
  )
  const built = yield* Layer.build(
    Layer.provide(SqlTokenStorage.layerStorage({ changes: "none" }), NodeSqlite.layer({ filename: file }))
  )
  return yield* Context.get(built, TokenStorage).keys
}, Effect.scoped)

/**
 * What holds tokens and no command uses, by the name of its file: a session that no account lists, or what was damaged and
 * put aside, with the account whose it was. A session in SQLite is called `FILE#NAME`.
 */
export interface Leftover {
  readonly path: string
  readonly place: Place
  readonly kind: "session" | "damaged"
  readonly account: string | undefined
}

const mark = /\.corrupt-\d+$/

/** Everything that is left behind, in all places. */
export const find = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const data = yield* Account.directory
  const names = yield* Account.names
  const read = yield* Effect.forEach(names, (name) => Effect.option(Account.get(name)))
  const accounts = read.flatMap((one) => Option.toArray(Option.flatten(one)))
  // An account that cannot be read may list any of them.
  const isComplete = accounts.length === names.length
  const listed = new Map<string, string>()
  for (const account of accounts) {
    for (const key of AccountServices.sessionKeys(account)) {
      const path = yield* pathOf(account.place, key)
      if (Option.isSome(path)) listed.set(path.value, account.name)
    }
  }
  const found: Array<Leftover> = []
  for (const place of ["plain-file", "encrypted-file", "keyring"] as const) {
    const directory = Path.join(data, directories[place])
    for (const name of yield* Effect.orElseSucceed(fs.readDirectory(directory), () => [])) {
      const path = Path.join(directory, name)
      const account = listed.get(path.replace(mark, ""))
      if (/\.json\.corrupt-\d+$/.test(name)) found.push({ path, place, kind: "damaged", account })
      else if (/-[0-9a-f]{16}\.json$/.test(name) && isComplete && account === undefined) {
        found.push({ path, place, kind: "session", account })
      }
    }
  }
  const file = yield* database
  if (isComplete && (yield* Effect.orElseSucceed(fs.exists(file), () => false))) {
    // what cannot be opened says so where it is used
    for (const key of yield* Effect.orElseSucceed(keysIn(file), () => [])) {
      const path = inDatabase(file, key)
      if (!listed.has(path)) found.push({ path, place: "sqlite", kind: "session", account: undefined })
    }
  }
  return found
})

/** Why the IAM was not told. */
export const notTold = (local: boolean): string =>
  local
    ? "the IAM was not told, as you asked"
    : "it is a copy that was imported, and the IAM was not told, since that ends the original, too (--revoke tells it)"

/** The IAM of a session that no account describes: the client's name tells its dialect. */
const targetOf = ({ account, clientId, issuer }: SessionKey.SessionKey): AccountServices.Target => ({
  name: account,
  dialect: clientId === "datalayer" || clientId === "genomcore" ? clientId : "oidc",
  issuer,
  client: clientId
})

/** What a person says of the IAM: do not tell it, or tell it also of a copy that was imported. */
export interface Asked {
  readonly local: boolean
  readonly revoke: boolean
}

const endSession = Effect.fnUntraced(function*({ path, place }: Leftover, { local, revoke }: Asked) {
  const services = yield* Layer.build(AccountServices.storage(place))
  const keys = yield* Context.get(services, TokenStorage).keys
  const paths = yield* Effect.forEach(keys, (key) => pathOf(place, key))
  const key = keys.find((_, index) => Option.contains(paths[index] ?? Option.none(), path))
  if (key === undefined) {
    return yield* failed(
      `${path} cannot be read as a session: it is damaged, of a newer version, or encrypted with another key. ` +
        "It is left as it is; remove it where nobody needs it"
    )
  }
  const opened = yield* AccountServices.open(targetOf(key), Layer.succeedContext(services))
  if (AccountServices.isSecretKey(key)) {
    yield* Context.get(opened, SessionKeeper.SessionKeeper).open(key).remove({ revoke: false })
    return "the secret of a client is removed"
  }
  const auth = Context.get(opened, AuthManager)
  const isCopy = Option.exists(yield* auth.session, ({ strategy }) => strategy === "import")
  if (local || (isCopy && !revoke)) {
    yield* auth.clearStoredToken
    return `the session at ${key.issuer} is forgotten here; ${notTold(local)}`
  }
  const revocation = yield* auth.logout
  return revocation._tag === "Revoked"
    ? `${key.issuer} ended the session`
    : `the session at ${key.issuer} is removed here: ${revocation.reason}`
}, Effect.scoped)

/** Ends what is left behind in a file, and tells how. A copy leaves the original alone, unless its end is asked for. */
export const end = Effect.fnUntraced(function*(leftover: Leftover, asked: Asked) {
  if (leftover.kind === "session") return yield* endSession(leftover, asked)
  const fs = yield* FileSystem.FileSystem
  yield* Effect.mapError(
    fs.remove(leftover.path),
    (error) => failed(PrivateFile.fromPlatform(leftover.path)(error).detail)
  )
  return "what was damaged is removed; the tokens in it work until the IAM ends them"
})

/** What is left behind in the file of that name. A file that an account uses is not: that account signs out. */
export const at = Effect.fnUntraced(function*(path: string) {
  const asked = Path.resolve(path)
  const leftover = (yield* find).find(({ path }) => path === asked)
  return leftover ?? (yield* usage(
    `${asked} is not among the sessions that no account lists: authn doctor names those, ` +
      "and authn logout --account NAME ends the session of an account"
  ))
})
