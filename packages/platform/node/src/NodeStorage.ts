/**
 * Where sessions live on Node: the choice between a keychain, encrypted files, one SQLite file, plain files and memory.
 *
 * @since 0.1.0
 */
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import { SessionLock, SessionLockError } from "@effect-authn/core/storage/SessionLock"
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import {
  StorageKeyUnavailable,
  StorageUnavailable,
  TokenStorageError
} from "@effect-authn/core/storage/TokenStorageError"
import * as Variable from "@effect-authn/core/Variable"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import { existsSync } from "node:fs"
import * as Path from "node:path"
import * as FileTokenStorage from "./FileTokenStorage.ts"
import * as SessionFiles from "./internal/sessionFiles.ts"
import * as NodeSqlite from "./NodeSqlite.ts"

/**
 * Which places a program can use, and which of them it takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Which place is used. Default: what `AUTHN_STORAGE` says, else `auto`. */
  readonly policy?: StoragePolicy.Policy | undefined
  /**
   * The files are in `keychain`, `encrypted` and `sessions` below this directory. Default: `effect-authn` in the user's
   * data directory (`XDG_DATA_HOME` first, on every system).
   */
  readonly directory?: string | undefined
  /**
   * Makes the key for a place out of the keychain: `KeychainKeySource.layer` of `storage-keyring`. Without it there is no
   * `keyring`.
   */
  readonly keychain?:
    | ((options: { readonly name: string }) => Layer.Layer<EncryptionKeys.EncryptionKeys, never, SessionLock>)
    | undefined
  /**
   * Makes the sessions of the policy `sqlite`: `SqlTokenStorage.layer()` of `storage-sql`, which gets the client of one file
   * (`sessions.sqlite` in `sqlite` below the directory), and the key of encrypted files. Without it there is no `sqlite`.
   */
  readonly sql?: Layer.Layer<TokenStorage.TokenStorage | SessionLock, never, SqlClient> | undefined
  /** The key of encrypted files, and of the SQLite file. Default: `AUTHN_KEY`, else `AUTHN_PASSPHRASE`, else none. */
  readonly key?: Layer.Layer<EncryptionKeys.EncryptionKeys> | undefined
  /**
   * Whether `auto` may store sessions in plain text when nothing better works; asked only then. Default: no. The policy
   * `plain-file` needs no permission.
   */
  readonly plainFiles?: Effect.Effect<boolean> | undefined
  /**
   * Whether under `auto` a session stays in the place where its file lies already, also when a better place works by now,
   * and fails where that place does not answer. Default: yes. No is for a program that remembers places by itself.
   */
  readonly remembers?: boolean | undefined
}

interface Refusal {
  readonly message: string
  readonly isThere?: boolean | undefined
}

/** The directories of the places. What `authn` knows of them has these names, too. */
const directories = { "keyring": "keychain", "encrypted-file": "encrypted", "plain-file": "sessions" } as const

type Offer = StoragePolicy.Candidate["offer"]

const refuse = (message: string): Effect.Effect<never, Refusal> => Effect.fail({ message })

const keyOfEnvironment = Effect.gen(function*() {
  const isSet = (name: string) => Effect.map(Effect.option(Config.NonEmptyString(name)), Option.isSome)
  const key = yield* Variable.nameOf("AUTHN_KEY", "EFFECT_AUTHN_KEY")
  if (yield* isSet(key)) return EncryptionKeys.layerEnvironment(key)
  const passphrase = yield* Variable.nameOf("AUTHN_PASSPHRASE", "EFFECT_AUTHN_PASSPHRASE")
  return (yield* isSet(passphrase)) ? EncryptionKeys.layerPassphrase(Variable.secret(passphrase)) : undefined
})

const noKey = refuse("there is no key: set AUTHN_KEY or AUTHN_PASSPHRASE")

// One source for the question and for the storage, so that nobody is asked twice.
const encrypted = (
  open: Offer,
  key: Layer.Layer<EncryptionKeys.EncryptionKeys>
): Effect.Effect<Offer, never, Scope.Scope> =>
  Effect.map(Layer.build(key), (built) => {
    const source = Context.get(built, EncryptionKeys.EncryptionKeys)
    return Effect.andThen(
      Effect.mapError(source.available, ({ detail, isThere }) => ({ message: detail, isThere })),
      Effect.map(open, (storage) =>
        Layer.provide(EncryptedTokenStorage.layer(storage), Layer.succeed(EncryptionKeys.EncryptionKeys, source)))
    )
  })

/** The sessions in one SQLite file, which is opened to be offered. */
const database = (
  sql: Layer.Layer<TokenStorage.TokenStorage | SessionLock, never, SqlClient>,
  directory: string | undefined
): Effect.Effect<Offer, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) =>
    directory === undefined
      ? refuse("there is no directory for sessions: set XDG_DATA_HOME, or the `directory` option")
      : NodeSqlite.layer({ filename: Path.join(directory, "sessions.sqlite") }).pipe(
        Layer.buildWithScope(scope),
        Effect.map((client) => Layer.provide(sql, Layer.succeedContext(client)))
      ))

const offers = Effect.fnUntraced(function*(options?: Options) {
  const sessions = yield* SessionFiles.directory(
    options?.directory === undefined ? undefined : { directory: Path.join(options.directory, "sessions") }
  )
  // where there is no such directory, the files themselves say so when they are used
  const below = (name: string) => Exit.isSuccess(sessions) ? Path.join(Path.dirname(sessions.value), name) : undefined
  const filesIn = (name: string) => FileTokenStorage.layer({ directory: below(name) })
  const has = (place: keyof typeof directories, key: SessionKey) => {
    const directory = below(directories[place])
    return directory === undefined
      ? Effect.succeed(false)
      // a link that leads to nothing holds nothing
      : Effect.sync(() => existsSync(Path.join(directory, FileTokenStorage.fileOf(key))))
  }

  const keychained = filesIn(directories.keyring)
  const key = options?.key ?? (yield* keyOfEnvironment)
  return {
    "keyring": options?.keychain === undefined
      ? refuse("this program does not use the keychain")
      : yield* encrypted(
        Effect.succeed(keychained),
        Layer.provide(options.keychain({ name: `sessions in ${below(directories.keyring)}` }), keychained)
      ),
    "encrypted-file": key === undefined
      ? noKey
      : yield* encrypted(Effect.succeed(filesIn(directories["encrypted-file"])), key),
    "sqlite": options?.sql === undefined
      ? refuse("this program does not use SQLite")
      : key === undefined
      ? noKey
      : yield* encrypted(yield* database(options.sql, below("sqlite")), key),
    "plain-file": Effect.succeed(filesIn(directories["plain-file"])),
    has
  }
})

const decodePolicy = Schema.decodeUnknownEffect(StoragePolicy.Policy)

const policyOf = Effect.fnUntraced(function*(options?: Options) {
  if (options?.policy !== undefined) return options.policy
  const variable = yield* Variable.nameOf("AUTHN_STORAGE", "EFFECT_AUTHN_STORAGE")
  return yield* Config.withDefault(Variable.text(variable), "auto").pipe(
    Effect.flatMap(decodePolicy),
    Effect.mapError(() => ({
      variable,
      message: `${variable} is none of ${StoragePolicy.Policy.literals.join(", ")}: set it to one of them, or unset it`
    }))
  )
})

/** Without a policy there is no storage, and each use says so: building a layer fails for nobody who does not use it. */
const misconfigured = ({ message, variable }: Refusal & { readonly variable: string }) => {
  const description = `storage by ${variable}`
  const fails = (method: string) =>
    Effect.fail(
      new TokenStorageError({ storage: description, method, reason: new StorageUnavailable({ detail: message }) })
    )
  return Layer.mergeAll(
    Layer.succeed(TokenStorage.TokenStorage, {
      description,
      guarantees: { durable: false, exclusive: false, changes: false, atRest: "memory" },
      get: () => fails("get"),
      put: () => fails("put"),
      remove: () => fails("remove"),
      keys: fails("keys"),
      changes: Stream.empty
    }),
    Layer.succeed(SessionLock, {
      withLock: (key, purpose) => () => Effect.fail(new SessionLockError({ key, purpose, detail: message }))
    }),
    Layer.succeed(StoragePolicy.StoragePolicy, {
      choice: fails("choose"),
      choiceFor: () => fails("choose"),
      announced: Stream.never
    })
  )
}

/**
 * The storage of a Node program, by a policy, with the lock that goes with it. Building it asks, reads and starts nothing;
 * the first use of a session makes the choice, and `StoragePolicy` tells it. Each call makes a new layer: call it once.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<TokenStorage.TokenStorage | SessionLock | StoragePolicy.StoragePolicy> =>
  Layer.unwrap(Effect.gen(function*() {
    const policy = yield* Effect.result(policyOf(options))
    if (Result.isFailure(policy)) return misconfigured(policy.failure)
    const known = yield* offers(options)
    const plain = policy.success === "auto"
      ? Effect.flatMap(
        options?.plainFiles ?? Effect.succeed(false),
        (isAllowed) => isAllowed ? known["plain-file"] : refuse("this program does not store sessions in plain text")
      )
      : known["plain-file"]
    const has = (place: keyof typeof directories) => (key: SessionKey) =>
      options?.remembers === false ? Effect.succeed(false) : known.has(place, key)
    return StoragePolicy.layer(policy.success, [
      { place: "keyring", offer: known.keyring, has: has("keyring") },
      { place: "encrypted-file", offer: known["encrypted-file"], has: has("encrypted-file") },
      {
        place: "plain-file",
        offer: plain,
        // one that this program may not use is none of its sessions
        has: (key) =>
          Effect.flatMap(has("plain-file")(key), (isThere) => isThere ? Effect.isSuccess(plain) : Effect.succeed(false))
      },
      { place: "sqlite", offer: known.sqlite },
      { place: "memory", offer: Effect.succeed(TokenStorage.layerMemory) }
    ])
  }))

/**
 * Moves every session from one place of these options to another, as `StoragePolicy.migrate` does, and tells which. It fails
 * with `StorageKeyUnavailable` when one of the two is unavailable.
 *
 * @category combinators
 * @since 0.1.0
 */
export const migrate = Effect.fnUntraced(function*(
  options: Options & { readonly from: FilePlace; readonly to: FilePlace }
): Effect.fn.Return<ReadonlyArray<SessionKey>, TokenStorageError | SessionLockError, Scope.Scope> {
  const known = yield* offers(options)
  const open = (place: FilePlace) =>
    Effect.mapError(
      known[place],
      ({ message }) =>
        new TokenStorageError({
          storage: place,
          method: "migrate",
          reason: new StorageKeyUnavailable({ detail: message })
        })
    )
  return yield* StoragePolicy.migrate({ from: yield* open(options.from), to: yield* open(options.to) })
}, Effect.scoped)

type FilePlace = Exclude<StoragePolicy.Place, "memory">
