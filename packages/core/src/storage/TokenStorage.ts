/**
 * Where sessions live.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Session } from "../session/Session.ts"
import type { SessionKey } from "../session/SessionKey.ts"
import { DueAt, DueSessions } from "./DueSessions.ts"
import * as SessionLock from "./SessionLock.ts"
import {
  StorageConflict,
  StorageCorrupt,
  StorageKeyMismatch,
  type StorageKeyUnavailable,
  StorageNewerVersion,
  TokenStorageError
} from "./TokenStorageError.ts"

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
 * **When to use**
 *
 * Use when you write a storage: `docs/extending.md` makes one over a key-value store, and `TokenStorageSuite` of
 * `@effect-authn/testing` tries it. A program takes a layer: `layerMemory`, or `NodeStorage.layer`.
 *
 * **Gotchas**
 *
 * Where sessions are encrypted, everything can also fail with `StorageKeyUnavailable` (no key now) and
 * `StorageKeyMismatch` (another key), and then changes nothing. A storage that keeps text writes and reads it with
 * `Codec`.
 *
 * @category services
 * @since 0.1.0
 */
export class TokenStorage extends Context.Service<TokenStorage, {
  /** Where the sessions are, for people: `memory`, `files in …`. */
  readonly description: string
  /** What this storage promises. */
  readonly guarantees: Guarantees
  /**
   * Reads a session; `None` where there is none. Fails with `StorageCorrupt` for a document that is no session, after
   * moving it aside where it can (the next `get` finds nothing), and with `StorageNewerVersion` for one of a newer
   * version, which nothing overwrites.
   */
  readonly get: (key: SessionKey) => Effect.Effect<Option.Option<Session>, TokenStorageError>
  /**
   * Writes `next` if the stored generation is `expected`, the one that the caller read (0: absent). Fails with
   * `StorageConflict` when it is another: the fence where a lock is a lease. A failure says in `written` whether the write
   * may have happened all the same: "no" is a promise.
   *
   * `next` may be a mark, `Session.signedOut`. It is a document as others are: `get` reads it, `keys` names it, and it has a
   * generation that the next login expects. Whoever reads it takes it for nobody, by `Session.isSignedOut`.
   */
  readonly put: (key: SessionKey, next: Session, expected: number) => Effect.Effect<void, TokenStorageError>
  /** Removes a session if its generation is `expected`, as `put` writes one. Removing what is absent succeeds. */
  readonly remove: (key: SessionKey, expected: number) => Effect.Effect<void, TokenStorageError>
  /** The keys of all documents that are stored, for people: of marks, too. */
  readonly keys: Effect.Effect<ReadonlyArray<SessionKey>, TokenStorageError>
  /**
   * The same keys, a page at a time, for a storage of a million sessions. Sessions that are written or removed meanwhile
   * may be missed; each of the others comes once. Without it, `scan` reads `keys`.
   */
  readonly scan?: Stream.Stream<SessionKey, TokenStorageError>
  /**
   * At most `limit` of the same keys, in the order of the SHA-256 of their `id` in hexadecimal, behind the one that is given
   * ("" for the first page): for lists that people turn the pages of. Where it is absent, all keys are read for each page.
   */
  readonly page?: (after: string, limit: number) => Effect.Effect<ReadonlyArray<SessionKey>, TokenStorageError>
  /** The keys of sessions that were written or removed, as hints, which may be lost or doubled: read again. */
  readonly changes: Stream.Stream<SessionKey>
}>()("@effect-authn/core/storage/TokenStorage") {}

/**
 * The keys of all documents of a storage, a page at a time where the storage can, for work on every session.
 *
 * **Example** (What to do with every session)
 *
 * ```ts
 * import { Session, TokenStorage } from "@effect-authn/core"
 * import { Effect, Option, Stream } from "effect"
 *
 * const signedIn = Effect.gen(function*() {
 *   const storage = yield* TokenStorage.TokenStorage
 *   return yield* TokenStorage.scan(storage).pipe(
 *     Stream.mapEffect(storage.get, { concurrency: 16 }),
 *     Stream.filter(Option.exists((session) => !Session.isSignedOut(session))),
 *     Stream.runCount
 *   )
 * })
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const scan = (storage: TokenStorage["Service"]): Stream.Stream<SessionKey, TokenStorageError> =>
  storage.scan ?? Stream.fromIterableEffect(storage.keys)

/**
 * The newest version of the document that this library reads and writes. Version 2 is written for a session with a
 * `proofKey` or with a named source of its grant, which a program that knows only version 1 would lose; for all others it
 * is version 1.
 *
 * @category documents
 * @since 0.1.0
 */
export const documentVersion = 2

/** The version of the envelope around an encrypted document, which has a version of its own. @internal */
export const envelopeVersion = 1

const Versioned = Schema.fromJsonString(
  Schema.toCodecJson(Schema.Struct({ version: Schema.Literals([1, documentVersion]), session: Session }))
)
const encodeDocument = Schema.encodeSync(Versioned)
const decodeDocument = Schema.decodeUnknownResult(Versioned)
const decodeSealed = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ version: Schema.Literal(envelopeVersion), sealed: Schema.JsonObject }))
)
const newerThan = (version: number) => Schema.Natural.check(Schema.isGreaterThan(version))
const decodeVersion = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Union([
    Schema.Struct({ version: newerThan(documentVersion) }),
    Schema.Struct({ version: newerThan(envelopeVersion), sealed: Schema.Unknown })
  ]))
)

/**
 * The text under which a storage keeps a session. It reveals the secrets of the session, on purpose.
 *
 * @category documents
 * @since 0.1.0
 */
export const encode = (session: Session): string => {
  const isNew = session.proofKey !== undefined ||
    (session.grant._tag === "Reissue" && session.grant.source !== undefined)
  return encodeDocument({ version: isNew ? documentVersion : 1, session })
}

/**
 * Reads what `encode` wrote: the session, or why it is none. `place` names the document in the error.
 *
 * **Example** (A document of a newer version)
 *
 * ```ts import.meta.vitest
 * import { TokenStorage } from "@effect-authn/core"
 * import { Result } from "effect"
 *
 * const read = TokenStorage.decode('{ "version": 3 }', "session.json")
 * Result.getOrThrow(Result.flip(read))._tag // => "StorageNewerVersion"
 * ```
 *
 * @category documents
 * @since 0.1.0
 */
export const decode = (
  text: string,
  place: string
): Result.Result<Session, StorageNewerVersion | StorageCorrupt | StorageKeyMismatch> => {
  const decoded = decodeDocument(text)
  if (Result.isSuccess(decoded)) return Result.succeed(decoded.success.session)
  const newer = decodeVersion(text)
  return Result.fail(
    Option.isSome(newer)
      ? new StorageNewerVersion({ found: newer.value.version, supported: documentVersion, place })
      : Option.isSome(decodeSealed(text))
      ? new StorageKeyMismatch({ place, detail: "is encrypted, and this program has no key: give it one" })
      : new StorageCorrupt({ detail: `${place} is not a session document` })
  )
}

/**
 * How a storage turns a session into the text that it keeps, and back. `atRest` is what the storage then says of itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Codec {
  readonly atRest: Exclude<Guarantees["atRest"], "memory">
  readonly encode: (session: Session) => Effect.Effect<string, StorageKeyUnavailable>
  readonly decode: (
    text: string,
    place: string
  ) => Effect.Effect<Session, StorageCorrupt | StorageNewerVersion | StorageKeyUnavailable | StorageKeyMismatch>
}

/**
 * The codec of the storages that are built under it: plain text, unless `EncryptedTokenStorage` gives another one. A
 * storage that keeps text takes it when it is built.
 *
 * @category references
 * @since 0.1.0
 */
export const Codec = Context.Reference<Codec>("@effect-authn/core/storage/TokenStorage/Codec", {
  defaultValue: () => ({
    atRest: "plain",
    encode: (session) => Effect.sync(() => encode(session)),
    decode: (text, place) => Effect.suspend(() => Effect.fromResult(decode(text, place)))
  })
})

/**
 * Sessions in this process's memory, with their lock and their index of due sessions. They end with the layer.
 *
 * **When to use**
 *
 * Use in services that sign in at each start, and in tests. It does not outlive the program, and no other program sees it.
 *
 * **Example** (A manager whose sessions end with the program)
 *
 * ```ts
 * import { AuthManager, SessionKeeper, TokenStorage } from "@effect-authn/core"
 * import { OidcIam } from "@effect-authn/iam-oidc"
 * import { Layer } from "effect"
 * import { FetchHttpClient } from "effect/http"
 *
 * const iam = OidcIam.layer({ issuer: "https://idp.example.com", clientId: "my-app" })
 *
 * export const layer = AuthManager.layer().pipe(
 *   Layer.provideMerge(SessionKeeper.layer),
 *   Layer.provideMerge([iam, TokenStorage.layerMemory]),
 *   Layer.provideMerge(FetchHttpClient.layer)
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<TokenStorage | SessionLock.SessionLock | DueSessions> = Layer.effectContext(
  Effect.gen(function*() {
    const description = "memory"
    const codec = yield* Codec
    const dueAt = yield* DueAt
    const isPlain = codec.atRest === "plain"
    const documents = new Map<string, Document>()
    const feed = yield* PubSub.unbounded<SessionKey>()

    const failed = (method: string) => (reason: TokenStorageError["reason"]) =>
      new TokenStorageError({ storage: description, method, reason })

    const compareAndSet = (key: SessionKey, expected: number, set: (id: string) => void) =>
      Effect.suspend(() => {
        const found = documents.get(key.id)?.generation ?? 0
        if (found !== expected) return Effect.fail(new StorageConflict({ expected, found }))
        set(key.id)
        return Effect.asVoid(PubSub.publish(feed, key))
      })

    const open = ({ held, key }: Document) =>
      typeof held === "string" ? codec.decode(held, `the session of ${key.account}`) : Effect.succeed(held)

    const encoded = (session: Session): Effect.Effect<Document["held"], StorageKeyUnavailable> =>
      isPlain ? Effect.succeed(session) : codec.encode(session)

    // A session that cannot be read is not replaced either.
    const legible = (key: SessionKey) =>
      Effect.suspend(() => {
        const document = documents.get(key.id)
        return document === undefined || isPlain ? Effect.void : Effect.asVoid(open(document))
      })

    const storage = TokenStorage.of({
      description,
      guarantees: {
        durable: false,
        exclusive: true,
        changes: true,
        atRest: codec.atRest === "plain" ? "memory" : codec.atRest
      },
      get: (key) =>
        Effect.suspend(() => {
          const document = documents.get(key.id)
          return document === undefined ? Effect.succeedNone : Effect.asSome(open(document))
        }).pipe(Effect.mapError(failed("get"))),
      put: (key, next, expected) =>
        legible(key).pipe(
          Effect.andThen(encoded(next)),
          Effect.flatMap((held) =>
            compareAndSet(
              key,
              expected,
              (id) => documents.set(id, { key, generation: next.generation, held, dueAt: dueAt(next) })
            )
          ),
          Effect.mapError(failed("put"))
        ),
      remove: (key, expected) =>
        legible(key).pipe(
          Effect.andThen(Effect.suspend(() =>
            documents.has(key.id) ? compareAndSet(key, expected, (id) => documents.delete(id)) : Effect.void
          )),
          Effect.mapError(failed("remove"))
        ),
      keys: Effect.sync(() => Array.from(documents.values(), ({ key }) => key)),
      scan: Stream.suspend(() => Stream.fromIterable(documents.values())).pipe(Stream.map(({ key }) => key)),
      changes: Stream.fromPubSub(feed)
    })

    // what is due, the earliest first
    const due = Effect.map(Clock.currentTimeMillis, (now) =>
      Array.from(documents.values())
        .flatMap((document) =>
          Option.match(document.dueAt, { onNone: () => [], onSome: (at) => at <= now ? [{ document, at }] : [] })
        )
        .sort((one, other) => one.at - other.at))

    const dueSessions = DueSessions.of({
      claim: ({ except = [], lease, limit }) =>
        Effect.zipWith(
          due,
          Clock.currentTimeMillis,
          (found, now) =>
            found.filter(({ document: { key } }) =>
              !except.some(({ clientId, issuer }) => issuer === key.issuer && clientId === key.clientId)
            ).slice(0, limit).map(({ document }) => {
              document.dueAt = Option.some(now + Duration.toMillis(lease))
              return document.key
            })
        ),
      putOff: (key, until) =>
        Effect.sync(() => {
          const document = documents.get(key.id)
          if (document !== undefined) document.dueAt = Option.some(DateTime.toEpochMillis(until))
        }),
      rule: dueAt,
      backlog: Effect.map(due, (found) => ({
        due: found.length,
        oldest: Option.map(Option.fromUndefinedOr(found[0]), ({ at }) => DateTime.makeUnsafe(at))
      }))
    })

    return Context.make(TokenStorage, storage).pipe(Context.add(DueSessions, dueSessions))
  })
).pipe(Layer.merge(SessionLock.layerInProcess))

interface Document {
  readonly key: SessionKey
  readonly generation: number
  /** A session as it is, or the text of an encrypted one. */
  readonly held: Session | string
  dueAt: Option.Option<number>
}
