/**
 * Sessions in Redis.
 *
 * @since 0.1.0
 */
import { makeDigest, SessionKey } from "@effect-authn/core/session/SessionKey"
import { DueAt, DueSessions } from "@effect-authn/core/storage/DueSessions"
import * as LeaseLock from "@effect-authn/core/storage/LeaseLock"
import * as PendingLogins from "@effect-authn/core/storage/PendingLogins"
import { SessionLock } from "@effect-authn/core/storage/SessionLock"
import { Codec, TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import {
  StorageConflict,
  StorageCorrupt,
  StorageUnavailable,
  TokenStorageError
} from "@effect-authn/core/storage/TokenStorageError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Aead from "effect/crypto/Aead"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Failure from "./internal/failure.ts"
import * as Scripts from "./internal/scripts.ts"

/**
 * How the sessions lie in Redis.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What every key and the channel begin with. Default: `effect-authn`. */
  readonly prefix?: string
  /**
   * How long the lock of a renewal outlives a holder that died, by the clock of Redis. It has to be longer than a renewal
   * may take (`RefreshPolicy.timeLimit`, 30 seconds), with five seconds to write. Default: 45 seconds.
   */
  readonly lease?: Duration.Input
  /**
   * How many replicas must have a write within 250 milliseconds, as `WAIT` counts them. With fewer the outcome of the write
   * counts as unknown. Default: 0, so that a failover may take the last writes.
   */
  readonly replicas?: number
  /** Over how many hash slots the sessions are spread. All programs must say the same. Default: 16. */
  readonly partitions?: number
}

// How long a command may take: a client that has lost its connection keeps commands back until it has another one.
const timeLimit = Duration.seconds(5)
const replication = Duration.millis(250)
// A document that could not be read is kept for who wants to look at it.
const quarantined = Duration.days(30)
// As many keys are read at once.
const page = 256

const KeyText = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String, Schema.String]))
const decodeKey = Schema.decodeUnknownOption(KeyText)

const keyOf = (text: string): Option.Option<SessionKey> =>
  Option.flatMap(
    decodeKey(text),
    ([issuer, clientId, account]) => SessionKey.makeOption({ issuer, clientId, account })
  )

/** A field of what `INFO` says. */
const infoField = (info: string, name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? ""

const isOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major < 6 || (major === 6 && minor < 2)
}

const make = Effect.fnUntraced(function*(options: Options | undefined) {
  const { partitions = 16, prefix = "effect-authn", replicas = 0 } = options ?? {}
  const lease = Duration.fromInputUnsafe(options?.lease ?? "45 seconds")
  if (!(Number.isInteger(partitions) && partitions >= 1)) {
    return yield* Effect.die(new Error(`RedisTokenStorage: partitions is a number from 1 (it is ${partitions})`))
  }
  if (!(Number.isInteger(replicas) && replicas >= 0)) {
    return yield* Effect.die(new Error(`RedisTokenStorage: replicas is a number from 0 (it is ${replicas})`))
  }
  const redis = yield* Redis.Redis
  const digest = yield* Digest.Digest
  const codec = yield* Codec
  const dueAt = yield* DueAt
  const description = `Redis, keys that begin with ${prefix}`
  const channel = `${prefix}:changes`

  const failed = (method: string) => (reason: TokenStorageError["reason"]) =>
    new TokenStorageError({ storage: description, method, reason })

  const inTime = <A, R>(effect: Effect.Effect<A, Redis.RedisError, R>) =>
    Effect.timeoutOrElse(effect, {
      duration: timeLimit,
      orElse: () =>
        Effect.fail(new Redis.RedisError({ cause: new Error(`no answer within ${Duration.format(timeLimit)}`) }))
    })
  const reading = <A>(effect: Effect.Effect<A, Redis.RedisError>) => Effect.mapError(inTime(effect), Failure.ofRead)

  const info = yield* reading(redis.send<string>("INFO")).pipe(Effect.mapError(failed("layer")))
  const version = infoField(info, "redis_version")
  if (isOld(version)) {
    return yield* failed("layer")(
      new StorageUnavailable({ detail: `Redis ${version} is too old: sessions need 6.2 or newer`, written: "no" })
    )
  }
  const eviction = infoField(info, "maxmemory_policy")
  const losses = [
    ...(infoField(info, "aof_enabled") === "1" ? [] : ["appendonly is off, so a restart loses sessions"]),
    ...(eviction === "noeviction" ? [] : [`maxmemory-policy is ${eviction}, so a full server drops sessions`])
  ]
  if (losses.length > 0) yield* Effect.logWarning(`Redis keeps no session for sure: ${losses.join("; ")}`)

  // Names are hashed: they are bounded, and an issuer may hold a secret of its own.
  const inSlot = (hash: string) => ({
    id: hash,
    slot: `{${prefix}:${Number.parseInt(hash.slice(0, 8), 16) % partitions}}`
  })
  const hashed = (text: string) => Effect.map(digest.digestHex(Digest.sha256, new TextEncoder().encode(text)), inSlot)
  const nameOf = makeDigest(digest)
  const duesOf = (partition: number) => `{${prefix}:${partition}}:dues`
  const allDues = Array.from({ length: partitions }, (_, partition) => duesOf(partition))
  const namesOf = (dues: string) => `${dues.slice(0, -"dues".length)}names`
  const sessionOf = (dues: string, id: string) => `${dues.slice(0, -"dues".length)}s:${id}`
  const placeOf = (key: SessionKey) =>
    Effect.map(Effect.map(nameOf(key), inSlot), ({ id, slot }): Scripts.Place & { readonly slot: string } => {
      const dues = `${slot}:dues`
      return { slot, dues, names: namesOf(dues), id, session: sessionOf(dues, id) }
    })

  /** Runs a write; what was not acknowledged is tried once more, since the script knows its own work again. */
  const writing = <A>(write: (connection: Redis.Connection) => Effect.Effect<A, Redis.RedisError>) => {
    const once = replicas === 0
      ? inTime(write(redis)).pipe(Effect.mapError(Failure.ofWrite))
      : Effect.scoped(Effect.gen(function*() {
        const connection = yield* inTime(redis.reserve).pipe(Effect.mapError(Failure.ofRead))
        const written = yield* inTime(write(connection)).pipe(Effect.mapError(Failure.ofWrite))
        const reached = yield* inTime(
          connection.send<number>("WAIT", `${replicas}`, `${Duration.toMillis(replication)}`)
        ).pipe(Effect.mapError(Failure.ofWrite))
        if (reached >= replicas) return written
        return yield* new StorageUnavailable({
          detail: `${reached} of ${replicas} replicas have the write: a failover might lose it`,
          written: "maybe"
        })
      }))
    return Effect.retry(once, { times: 1, while: ({ written }) => written === "maybe" })
  }

  // What could not be read as a session would keep everybody from signing in again.
  const setAside = (place: Scripts.Place, document: string) => {
    const aside = `${place.session}:damaged`
    return reading(redis.eval(Scripts.quarantine)(place, aside, document, Duration.toMillis(quarantined))).pipe(
      Effect.map((isMoved) => isMoved === 1 ? { quarantine: aside } : {}),
      Effect.orElseSucceed(() => ({}))
    )
  }

  const open = (key: SessionKey, place: Scripts.Place, document: string) =>
    codec.decode(document, `the session of ${key.account} in Redis`).pipe(
      Effect.filterOrFail(
        (session) => session.key.id === key.id,
        () => new StorageCorrupt({ detail: `the session of ${key.account} in Redis belongs to another key` })
      ),
      Effect.catchTag("StorageCorrupt", ({ detail }) =>
        Effect.flatMap(
          setAside(place, document),
          (moved) => Effect.fail(new StorageCorrupt({ detail, ...moved }))
        ))
    )

  /** What a refused write means: an answer that was lost, a session that nobody can read, or somebody who was first. */
  const refused = Effect.fnUntraced(function*(
    key: SessionKey,
    place: Scripts.Place,
    expected: number,
    found: { readonly generation: string; readonly document: string },
    ours?: string
  ) {
    if (found.document === ours) return
    if (found.document !== "") yield* open(key, place, found.document)
    return yield* new StorageConflict({ expected, found: Number(found.generation) })
  })

  /** At most `limit` names of a partition, behind the one that is given. */
  const idsOf = (dues: string, after: string, limit: number) =>
    Effect.map(
      reading(
        redis.send<ReadonlyArray<string>>(
          "ZRANGE",
          namesOf(dues),
          after === "" ? "-" : `(${after}`,
          "+",
          "BYLEX",
          "LIMIT",
          "0",
          `${limit}`
        )
      ),
      (ids) => ids.map((id) => ({ dues, id }))
    )

  /** The key of the session of a name; without one, as after an eviction, the name goes, too. */
  const keyAt = ({ dues, id }: { readonly dues: string; readonly id: string }) => {
    const place = { dues, id, names: namesOf(dues), session: sessionOf(dues, id) }
    return Effect.gen(function*() {
      const text = yield* reading(redis.send<string | null>("HGET", place.session, "k"))
      if (text !== null) return Option.toArray(keyOf(text))
      yield* Effect.ignore(reading(redis.eval(Scripts.forget)(place)))
      return []
    })
  }
  const keysOf = (found: ReadonlyArray<{ readonly dues: string; readonly id: string }>) =>
    Effect.map(Effect.forEach(found, keyAt, { concurrency: "unbounded" }), (keys) => keys.flat())

  const indexed = (dues: string, isSure: boolean) => reading(redis.eval(Scripts.index)(dues, namesOf(dues), isSure))

  const scan = Stream.fromIterable(allDues).pipe(
    Stream.flatMap((dues) =>
      Stream.paginate("", (after: string) =>
        Effect.gen(function*() {
          if (after === "") yield* indexed(dues, true)
          const found = yield* idsOf(dues, after, page)
          const last = found.length < page ? Option.none<string>() : Option.fromUndefinedOr(found.at(-1)?.id)
          return [yield* keysOf(found), last] as const
        }))
    ),
    Stream.mapError(failed("scan"))
  )

  const storage = TokenStorage.of({
    description,
    guarantees: { durable: losses.length === 0, exclusive: true, changes: true, atRest: codec.atRest },
    get: (key) =>
      Effect.gen(function*() {
        const place = yield* placeOf(key)
        const document = yield* reading(redis.send<string | null>("HGET", place.session, "d"))
        return document === null ? Option.none() : Option.some(yield* open(key, place, document))
      }).pipe(Effect.mapError(failed("get"))),
    put: (key, next, expected) =>
      Effect.gen(function*() {
        const place = yield* placeOf(key)
        const document = yield* codec.encode(next)
        const now = yield* Clock.currentTimeMillis
        const [isWritten, generation, found] = yield* writing((connection) =>
          connection.eval(Scripts.put)(place, {
            expected,
            generation: next.generation,
            document,
            key: key.id,
            dueAt: Option.match(dueAt(next), { onNone: () => "+inf", onSome: String }),
            now,
            channel
          })
        )
        if (isWritten !== 1) yield* refused(key, place, expected, { generation, document: found }, document)
      }).pipe(Effect.mapError(failed("put"))),
    remove: (key, expected) =>
      Effect.gen(function*() {
        const place = yield* placeOf(key)
        const [isRemoved, generation, document] = yield* writing((connection) =>
          connection.eval(Scripts.remove)(place, expected, key.id, channel)
        )
        if (isRemoved !== 1) yield* refused(key, place, expected, { generation, document })
      }).pipe(Effect.mapError(failed("remove"))),
    keys: Stream.runCollect(scan),
    scan,
    page: (after, limit) =>
      Effect.gen(function*() {
        if (after === "") {
          yield* Effect.forEach(allDues, (dues) => indexed(dues, false), { concurrency: "unbounded", discard: true })
        }
        const keys: Array<SessionKey> = []
        // fewer keys than were asked for would be the end of the list
        for (let behind = after, size = limit; keys.length < limit; size = Math.max(limit, page)) {
          const found = yield* Effect.forEach(allDues, (dues) => idsOf(dues, behind, size), {
            concurrency: "unbounded"
          })
          const first = found.flat().sort((one, other) => one.id < other.id ? -1 : 1).slice(0, size)
          keys.push(...(yield* keysOf(first)))
          const last = first.at(-1)
          if (first.length < size || last === undefined) break
          behind = last.id
        }
        return keys.slice(0, limit)
      }).pipe(Effect.mapError(failed("page"))),
    changes: Stream.unwrap(Effect.map(redis.subscribe(channel), Stream.fromQueue)).pipe(
      // A subscriber that lost its connection for good begins again; what it missed was a hint.
      Stream.retry(Schedule.spaced("1 second")),
      Stream.map(({ message }) => Option.toArray(keyOf(message))),
      Stream.flattenIterable,
      Stream.catchCause(() => Stream.empty)
    )
  })

  const leaseOf = ({ holder, key, nonce, purpose }: LeaseLock.Lease) =>
    Effect.map(placeOf(key), ({ id, slot }) => ({ name: `${slot}:l:${purpose}:${id}`, value: `${nonce} ${holder}` }))
  const lock = yield* LeaseLock.make({
    lease,
    leases: {
      take: (wanted) =>
        Effect.gen(function*() {
          const { name, value } = yield* leaseOf(wanted)
          const found = yield* writing((connection) =>
            connection.eval(Scripts.take)(name, value, Duration.toMillis(wanted.duration))
          )
          // one that is ours was taken by an attempt whose answer was lost
          return found === "" || found === value ? Option.none() : Option.some(found.slice(found.indexOf(" ") + 1))
        }).pipe(Effect.mapError(failed("withLock"))),
      prolong: (held) =>
        Effect.gen(function*() {
          const { name, value } = yield* leaseOf(held)
          return (yield* reading(redis.eval(Scripts.prolong)(name, value, Duration.toMillis(held.duration)))) === 1
        }).pipe(Effect.mapError(failed("withLock"))),
      release: (held) =>
        Effect.gen(function*() {
          const { name, value } = yield* leaseOf(held)
          yield* reading(redis.eval(Scripts.release)(name, value))
        }).pipe(Effect.mapError(failed("withLock")))
    }
  })

  /** The members that are due in all partitions, the earliest first. */
  const firstDue = (limit: number, except: ReadonlyArray<string>) =>
    Effect.map(
      Effect.forEach(
        allDues,
        (dues) =>
          Effect.map(reading(redis.eval(Scripts.due)(dues, limit, except)), (found) =>
            Array.from({ length: found.length / 2 }, (_, index) => ({
              dues,
              id: found[2 * index]!,
              at: Number(found[2 * index + 1])
            }))),
        { concurrency: "unbounded" }
      ),
      (found) =>
        found.flat().sort((one, other) =>
          one.at - other.at
        ).slice(0, limit)
    )

  const claimOf = (found: ReadonlyArray<{ readonly dues: string; readonly id: string }>, duration: Duration.Duration) =>
    Effect.forEach(
      Map.groupBy(found, ({ dues }) => dues),
      ([dues, members]) => {
        const places = members.map(({ id }) => ({ dues, id, session: sessionOf(dues, id) }))
        return reading(redis.eval(Scripts.claim)(dues, Duration.toMillis(duration), places))
      },
      { concurrency: "unbounded" }
    )

  const dueSessions = DueSessions.of({
    claim: ({ except = [], lease: duration, limit }) =>
      Effect.gen(function*() {
        // the text of a key is a JSON array of three
        const beginnings = except.map(({ clientId, issuer }) => `${JSON.stringify([issuer, clientId]).slice(0, -1)},`)
        const claimed: Array<SessionKey> = []
        // what another one claimed in between is looked for again
        while (claimed.length < limit) {
          const found = yield* firstDue(limit - claimed.length, beginnings)
          if (found.length === 0) break
          const order = new Map(found.map(({ id }, index) => [id, index]))
          const taken = (yield* claimOf(found, duration)).flat().flatMap((text) => Option.toArray(keyOf(text)))
          const ranked = yield* Effect.forEach(taken, (key) => Effect.map(nameOf(key), (id) => ({ key, id })))
          ranked.sort((one, other) => (order.get(one.id) ?? 0) - (order.get(other.id) ?? 0))
          claimed.push(...ranked.map(({ key }) => key))
        }
        return claimed
      }).pipe(Effect.mapError(failed("claim"))),
    putOff: (key, until) =>
      Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        yield* reading(redis.eval(Scripts.putOff)(yield* placeOf(key), DateTime.toEpochMillis(until), now))
      }).pipe(Effect.mapError(failed("putOff"))),
    rule: dueAt,
    backlog: Effect.flatMap(
      Clock.currentTimeMillis,
      (now) =>
        Effect.forEach(allDues, (dues) => reading(redis.eval(Scripts.backlog)(dues, now)), {
          concurrency: "unbounded"
        })
    ).pipe(
      Effect.map((found) => {
        const firsts = found.flatMap(([, first]) => first === "" ? [] : [Number(first)])
        return {
          due: found.reduce((sum, [count]) => sum + count, 0),
          oldest: firsts.length === 0 ? Option.none() : Option.some(DateTime.makeUnsafe(Math.min(...firsts)))
        }
      }),
      Effect.mapError(failed("backlog"))
    )
  })

  const pendingOf = (id: Redacted.Redacted) =>
    Effect.map(hashed(Redacted.value(id)), ({ id: hash, slot }) => `${slot}:p:${hash}`)
  const pendingLogins = yield* PendingLogins.sealed({
    put: (id, login, timeToLive) =>
      Effect.gen(function*() {
        const name = yield* pendingOf(id)
        yield* writing((connection) =>
          connection.send("SET", name, Redacted.value(login), "PX", `${Math.max(1, Duration.toMillis(timeToLive))}`)
        )
      }).pipe(Effect.mapError(failed("put"))),
    take: (id) =>
      Effect.gen(function*() {
        const name = yield* pendingOf(id)
        const found = yield* reading(redis.send<string | null>("GETDEL", name))
        return found === null ? Option.none() : Option.some(Redacted.make(found))
      }).pipe(Effect.mapError(failed("take")))
  })

  return Context.make(TokenStorage, storage).pipe(
    Context.add(SessionLock, lock),
    Context.add(DueSessions, dueSessions),
    Context.add(PendingLogins.PendingLogins, pendingLogins)
  )
})

/**
 * Sessions, their lock, their index of due sessions and pending logins in a Redis server (6.2 or newer) that programs on
 * many machines share. Fails with `TokenStorageError` where the server cannot be used.
 *
 * **When to use**
 *
 * Use for an IAM whose refresh tokens may be used again for a while, or do not rotate. For one with strict rotation take a
 * SQL storage: Redis answers before a write is on a disk or on a replica, so a failover can bring back a refresh token that
 * was spent. `replicas` narrows that.
 *
 * **Gotchas**
 *
 * It calls itself durable only where `appendonly` is on and `maxmemory-policy` is `noeviction`. A document that cannot be
 * read is moved aside for 30 days.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<
  TokenStorage | SessionLock | DueSessions | PendingLogins.PendingLogins,
  TokenStorageError,
  Redis.Redis
> =>
  Layer.effectContext(make(options)).pipe(
    Layer.provide([
      Digest.layerWebCrypto,
      Kdf.layerWebCrypto,
      Layer.provideMerge(Aead.layerWebCrypto, SecureRandom.layerWebCrypto)
    ])
  )
