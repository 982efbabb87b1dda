/**
 * Where sessions live.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { StorageConflict, StorageCorrupt, StorageNewerVersion, TokenStorageError } from "./AuthError.ts"
import { Session, type SessionKey } from "./Session.ts"
import * as SessionLock from "./SessionLock.ts"

/**
 * What a storage promises:
 *
 * - `durable`: a session survives the program.
 * - `exclusive`: its `SessionLock` excludes every other process that shares the storage.
 * - `changes`: other processes' writes show up in the change feed.
 * - `atRest`: how a session lies there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Guarantees {
  readonly durable: boolean
  readonly exclusive: boolean
  readonly changes: boolean
  readonly atRest: "memory" | "plain" | "encrypted" | "keychain"
}

/**
 * A store of sessions with compare and set.
 *
 * - `put` and `remove` take the generation that the caller read (0: absent) and fail with `StorageConflict` when the
 *   stored one is another: the fence where a lock is a lease. Removing what is absent succeeds.
 * - `get` fails with `StorageCorrupt` for a document that is no session, after moving it aside where it can (the next
 *   `get` finds nothing), and with `StorageNewerVersion` for one of a newer version, which nothing overwrites.
 * - `changes` are hints, and may be lost or doubled: whoever hears one reads again.
 * - `description` is for people: `macOS Keychain`, `files in …`.
 *
 * @category services
 * @since 0.1.0
 */
export class TokenStorage extends Context.Service<TokenStorage, {
  readonly description: string
  readonly guarantees: Guarantees
  readonly get: (key: SessionKey) => Effect.Effect<Option.Option<Session>, TokenStorageError>
  readonly put: (key: SessionKey, next: Session, expected: number) => Effect.Effect<void, TokenStorageError>
  readonly remove: (key: SessionKey, expected: number) => Effect.Effect<void, TokenStorageError>
  readonly keys: Effect.Effect<ReadonlyArray<SessionKey>, TokenStorageError>
  readonly changes: Stream.Stream<SessionKey>
}>()("@effect-authn/core/TokenStorage") {}

/**
 * The version of the document that this library writes.
 *
 * @category documents
 * @since 0.1.0
 */
export const documentVersion = 1

const Document = Schema.fromJsonString(
  Schema.toCodecJson(Schema.Struct({ version: Schema.Literal(documentVersion), session: Session }))
)
const encodeDocument = Schema.encodeSync(Document)
const decodeDocument = Schema.decodeUnknownResult(Document)
const decodeVersion = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ version: Schema.Natural.check(Schema.isGreaterThan(documentVersion)) }))
)

/**
 * The text under which a storage keeps a session. It reveals the secrets of the session, on purpose.
 *
 * @category documents
 * @since 0.1.0
 */
export const encode = (session: Session): string => encodeDocument({ version: documentVersion, session })

/**
 * Reads what `encode` wrote: the session, or why it is none. `place` names the document in the error.
 *
 * @category documents
 * @since 0.1.0
 */
export const decode = (
  text: string,
  place: string
): Result.Result<Session, StorageNewerVersion | StorageCorrupt> => {
  const decoded = decodeDocument(text)
  if (Result.isSuccess(decoded)) return Result.succeed(decoded.success.session)
  const newer = decodeVersion(text)
  return Result.fail(
    Option.isSome(newer)
      ? new StorageNewerVersion({ found: newer.value.version, supported: documentVersion, place })
      : new StorageCorrupt({ detail: `${place} is not a session document` })
  )
}

/**
 * Sessions in this process's memory, with the lock that goes with them. They end with the layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<TokenStorage | SessionLock.SessionLock> = Layer.effect(
  TokenStorage,
  Effect.gen(function*() {
    const description = "memory"
    const sessions = new Map<string, Session>()
    const feed = yield* PubSub.unbounded<SessionKey>()

    const compareAndSet = (method: string, key: SessionKey, expected: number, set: (id: string) => void) =>
      Effect.suspend(() => {
        const found = sessions.get(key.id)?.generation ?? 0
        if (found !== expected) {
          return Effect.fail(
            new TokenStorageError({ storage: description, method, reason: new StorageConflict({ expected, found }) })
          )
        }
        set(key.id)
        return Effect.asVoid(PubSub.publish(feed, key))
      })

    return TokenStorage.of({
      description,
      guarantees: { durable: false, exclusive: true, changes: true, atRest: "memory" },
      get: (key) => Effect.sync(() => Option.fromNullishOr(sessions.get(key.id))),
      put: (key, next, expected) => compareAndSet("put", key, expected, (id) => sessions.set(id, next)),
      remove: (key, expected) =>
        Effect.suspend(() =>
          sessions.has(key.id) ? compareAndSet("remove", key, expected, (id) => sessions.delete(id)) : Effect.void
        ),
      keys: Effect.sync(() => Array.from(sessions.values(), (session) => session.key)),
      changes: Stream.fromPubSub(feed)
    })
  })
).pipe(Layer.merge(SessionLock.layerInProcess))
