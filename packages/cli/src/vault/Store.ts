/**
 * Where a vault keeps its sessions, and the key that it encrypts them with.
 */
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as Keys from "@effect-authn/core/storage/EncryptionKeys"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeSqlite from "@effect-authn/platform-node/NodeSqlite"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as SqlRateLimiterStore from "@effect-authn/storage-sql/SqlRateLimiterStore"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as RestPolicy from "@effect-authn/vault/RestPolicy"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import * as Account from "../Account.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { failed, type Failure, usage } from "../Failure.ts"
import * as Output from "../Output.ts"

// Longer than the time limit of a renewal and two writes; and short enough that within the 30 seconds of grace which IAMs
// give a third vault comes in time, where a second one is killed as well.
const lease = "13 seconds"

/** Where a vault of this user has its files. */
export const directory = Effect.map(Account.directory, (data) => Path.join(data, "vault"))

/** A place for sessions that is not opened yet. */
export interface Store {
  readonly client: Layer.Layer<SqlClient, SqlError>
  /** Its file; none for a database that machines share. */
  readonly file: string | undefined
}

/** What `--store` means. */
export const find = Effect.fnUntraced(function*(
  told: Option.Option<string>
): Effect.fn.Return<Store, Failure, Stdio.Stdio> {
  const variable = yield* EnvironmentToken.setIn("AUTHN_VAULT_STORE")
  const place = Option.getOrUndefined(Option.orElse(told, () => variable))
  if (place !== undefined && /^[a-z][a-z0-9+.-]+:/i.test(place) && !/^[a-z]:[\\/]/i.test(place)) {
    if (!/^postgres(ql)?:\/\/[^/]/i.test(place)) {
      return yield* usage("--store takes a file, or an address as postgres://user@host/database")
    }
    if (Option.isSome(told) && URL.parse(place)?.password) {
      yield* Output.say("authn: every program here can read the password in --store: set AUTHN_VAULT_STORE instead")
    }
    const { layer } = yield* Effect.promise(() => import("@effect/sql-pg/PgClient"))
    return {
      client: layer({ url: Redacted.make(place), applicationName: "authn vault", maxConnections: 8 }),
      file: undefined
    }
  }
  const file = Path.resolve(place ?? Path.join(yield* directory, "sessions.sqlite"))
  return { client: NodeSqlite.layer({ filename: file }), file }
})

/** Writes a file that only this user may read, in the place of an earlier one, all at once. */
export const writePrivate = (path: string, text: string) =>
  PrivateFile.makeDirectory(Path.dirname(path)).pipe(
    Effect.andThen(PrivateFile.replace(path, text, { isLocked: false })),
    Effect.mapError(({ detail }) => failed(detail))
  )

/** Says of a file with a secret that every user of this machine can read it. */
export const warnIfOpen = Effect.fnUntraced(function*(path: string, place = "") {
  const fs = yield* FileSystem.FileSystem
  const isOpen = yield* Effect.match(fs.stat(path), {
    onFailure: () => false,
    onSuccess: ({ mode }) => process.platform !== "win32" && (mode & 0o004) !== 0
  })
  if (isOpen) yield* Output.say(`authn: ${place}every user of this machine can read ${path}: chmod 600 ${path}`)
})

/** Whether there are sessions in a store already, which some key has encrypted. */
const hasSessions = Effect.fnUntraced(function*(store: Store) {
  const fs = yield* FileSystem.FileSystem
  if (store.file === undefined) return true
  if (!(yield* Effect.orElseSucceed(fs.exists(store.file), () => false))) return false
  const built = yield* Layer.build(Layer.fresh(serviceTokens(store)))
  return Option.isSome(yield* Stream.runHead(TokenStorage.scan(Context.get(built, TokenStorage.TokenStorage))))
}, Effect.scoped)

/** A key in a file, made there where there is none and nothing that it could be missing for. */
const made = Effect.fnUntraced(function*(path: string, store: Store) {
  const fs = yield* FileSystem.FileSystem
  if (!(yield* Effect.orElseSucceed(fs.exists(path), () => false))) {
    if (yield* hasSessions(store)) {
      return yield* usage(
        store.file === undefined
          ? `there is no key in ${path}: make one for all machines with: openssl rand -base64 32`
          : `there is no key in ${path}, and sessions that were encrypted with one: put the key back, or move the sessions away`
      )
    }
    const key = Base64.encode(SecureRandom.randomBytesUnsafe(Keys.keyLength))
    // Of two that start at once, one makes it.
    yield* Effect.mapError(PrivateFile.makeDirectory(Path.dirname(path)), ({ detail }) => failed(detail))
    yield* fs.writeFileString(path, `${key}\n`, { mode: 0o600, flag: "wx" }).pipe(
      Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.void),
      Effect.mapError((error) => failed(PrivateFile.fromPlatform(path)(error).detail))
    )
  }
  yield* warnIfOpen(path)
  return Keys.layerFile(path)
})

/** The key: of the file that is named, of the environment, of the keychain, else of a file beside the sessions. */
const found = Effect.fnUntraced(function*(store: Store, file: Option.Option<string>) {
  const fs = yield* FileSystem.FileSystem
  if (Option.isSome(file)) return yield* made(Path.resolve(file.value), store)
  const variables = yield* Effect.forEach(EnvironmentToken.namesOf("AUTHN_KEY"), EnvironmentToken.setIn)
  if (variables.some(Option.isSome)) return Keys.layerEnvironment()
  if (store.file === undefined) {
    return yield* usage(
      "no key: machines that share a store share its key, so give each the same --key-file (openssl rand -base64 32)"
    )
  }
  const directory = Path.dirname(store.file)
  const beside = Path.join(directory, "vault.key")
  if (yield* Effect.orElseSucceed(fs.exists(beside), () => false)) return Keys.layerFile(beside)
  const Keychain = yield* Effect.promise(() => import("@effect-authn/storage-keyring/KeychainKeySource"))
  const inKeychain = yield* Layer.build(
    Layer.provide(
      Keychain.layer({ name: `vault in ${directory}` }),
      FileTokenStorage.layer({ directory: Path.join(directory, "locks") })
    )
  )
  const isThere = yield* Effect.result(Context.get(inKeychain, Keys.EncryptionKeys).available)
  if (Result.isSuccess(isThere)) return Layer.succeedContext(inKeychain)
  if (yield* hasSessions(store)) {
    return yield* usage(
      `there are sessions in ${directory}, and their key is neither in ${beside} nor to be had from the keychain ` +
        `(${isThere.failure.detail}): put the key back, unlock the keychain, or move the sessions away`
    )
  }
  return yield* made(beside, store)
})

/** The key that sessions are encrypted with. What is none is said before anybody is served. */
export const keys = Effect.fnUntraced(function*(store: Store, file: Option.Option<string>) {
  const key: Layer.Layer<Keys.EncryptionKeys, never, FileSystem.FileSystem> = yield* found(store, file)
  const built = yield* Layer.build(key)
  yield* Effect.mapError(Context.get(built, Keys.EncryptionKeys).available, ({ detail }) => usage(detail))
  return Layer.succeedContext(built)
})

/** What SQLite says of a file does not name it. */
const naming = ({ file }: Store) => <A, E, R>(layer: Layer.Layer<A, E | SqlError, R>) =>
  Layer.effectContext(
    Effect.mapError(
      Layer.build(layer),
      (error) =>
        file !== undefined && isSqlError(error) ? failed(`the store ${file} cannot be used: ${error.message}`) : error
    )
  )

/**
 * Opens the store, with its sessions encrypted, and says how they lie there. What a machine that died has begun falls due while
 * its IAM would still answer it again: `reuseGrace`, in seconds by issuer.
 */
export const layer = (
  store: Store,
  key: Layer.Layer<Keys.EncryptionKeys>,
  reuseGrace: ReadonlyMap<string, number>
) =>
  EncryptedTokenStorage.layer(
    SqlTokenStorage.layer({ lease, changes: "none" }).pipe(
      Layer.provide(RestPolicy.layer({ lease, reuseGrace: (issuer) => Duration.seconds(reuseGrace.get(issuer) ?? 0) })),
      Layer.merge(SqlRateLimiterStore.layer()),
      // With the other tables, so that their owner makes them all by starting it once. Who may not hears of it at a draw.
      Layer.merge(Layer.effectDiscard(Effect.ignore(SqlRateLimiterStore.migrate()))),
      Layer.provide(store.client)
    )
  ).pipe(Layer.provide(key), naming(store))

/** Opens the store for its service tokens only, which need no key. */
export const serviceTokens = (store: Store) =>
  Layer.provide(SqlTokenStorage.layer({ changes: "none" }), store.client).pipe(naming(store))
