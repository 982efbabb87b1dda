/**
 * Sessions of many people at many IAMs, kept by a service that acts for them.
 *
 * @since 0.1.0
 */
import type * as AuthError from "@effect-authn/core/AuthError"
import { IamClient, type Revocation } from "@effect-authn/core/iam/IamClient"
import type { IamError } from "@effect-authn/core/iam/IamError"
import type { KeptSession } from "@effect-authn/core/keeper/KeptSession"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import { makeDigest, SessionKey } from "@effect-authn/core/session/SessionKey"
import type { SessionState } from "@effect-authn/core/session/SessionState"
import type * as TokenSet from "@effect-authn/core/session/TokenSet"
import { DueSessions } from "@effect-authn/core/storage/DueSessions"
import { SessionLock, type SessionLockError } from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Issuer from "./internal/issuer.ts"
import { IssuerRates, type Permit } from "./IssuerRate.ts"
import * as VaultMetrics from "./VaultMetrics.ts"

/**
 * The session's issuer and client are not in the vault's table.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProviderUnknown extends Schema.TaggedError<ProviderUnknown>("@effect-authn/vault/Vault/ProviderUnknown")(
  "ProviderUnknown",
  { key: SessionKey }
) {
  override get message(): string {
    const { account, clientId, issuer } = this.key
    return `the vault knows no IAM ${issuer} with the client ${clientId} (asked for ${account}): add it to its providers`
  }
}

/**
 * How a vault is at the moment, without a name or a secret.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  /** How many sessions this process has open. */
  readonly open: number
  /** How many stored sessions are due. */
  readonly due: number
  /** Since when the one waits that waits longest. */
  readonly oldest: Option.Option<DateTime.Utc>
  /** The IAMs of the table, as this process sees them. */
  readonly issuers: ReadonlyArray<IssuerHealth>
}

/**
 * How one IAM does, as a process sees it: it `answers`; it `pauses`, after five failures in a row (429, 503, time-outs), and is
 * not asked before `until`; or it `is tried` with one session after that.
 *
 * @category models
 * @since 0.1.0
 */
export interface IssuerHealth {
  readonly issuer: string
  readonly clientId: string
  readonly state: "answers" | "pauses" | "is tried"
  readonly until: Option.Option<DateTime.Utc>
  readonly lastFailure: Option.Option<{ readonly at: DateTime.Utc; readonly detail: string }>
}

/**
 * What happened to a session in this process, once each time:
 *
 * - `dead`: its IAM refused the grant for good, or its time is over. Its account has to be connected again.
 * - `unsaved`: its newest tokens could not be stored, and are lost if this process dies.
 * - `recovered`: one of both is over.
 *
 * `cause` says why, in words without a secret. What happened while nobody listened is found by `list`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Event {
  readonly key: SessionKey
  readonly kind: "dead" | "recovered" | "unsaved"
  readonly cause: string
  readonly at: DateTime.Utc
}

/**
 * What a list tells of a stored session: nothing secret.
 *
 * - `state`: `alive`, `renewing` (a renewal was begun, and its answer is not stored), `ended` (only a new login brings it
 *   back), or `unreadable` (damaged, of a newer version, or sealed with a key that is not there).
 * - `detail` is why it ended or cannot be read, `expiresAt` the end of its access token, and `renewedAt` when that was made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  readonly key: SessionKey
  readonly state: "alive" | "renewing" | "ended" | "unreadable"
  readonly detail: Option.Option<string>
  readonly expiresAt: Option.Option<DateTime.Utc>
  readonly renewedAt: Option.Option<DateTime.Utc>
}

/**
 * One page of a list, and where the next one begins; `None` after the last one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly sessions: ReadonlyArray<Summary>
  readonly next: Option.Option<string>
}

/**
 * How many IAMs there are, and how many sessions stay open.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E, R> {
  /** The table of IAMs: a layer of a dialect for each issuer and client. */
  readonly providers: ReadonlyArray<Layer.Layer<IamClient, E, R>>
  /** How long a session stays open after it was asked for, and is kept fresh. Default: 5 minutes. */
  readonly keepOpen?: Duration.Input
  /** How many sessions are open at most; above it those go first that were asked for longest ago. Default: 10,000. */
  readonly maxOpen?: number
}

/**
 * Any number of sessions at any number of IAMs, in a storage that processes and machines share: each of them serves every
 * session, and none owns one.
 *
 * **When to use**
 *
 * Use in a service that acts for its users at other people's APIs. A program that acts for one account has an
 * `AuthManager`.
 *
 * @category services
 * @since 0.1.0
 */
export class Vault extends Context.Service<Vault, {
  /** A token that is valid now, from memory, from the storage, or renewed. The session stays open for a while. */
  readonly token: (
    key: SessionKey,
    selection?: Selection.Input
  ) => Effect.Effect<TokenSet.TokenSet, AuthError.AuthError | ProviderUnknown>
  /** The same with the number of its login, for `rejected`. */
  readonly bearer: (
    key: SessionKey,
    selection?: Selection.Input
  ) => Effect.Effect<Session.Bearer, AuthError.AuthError | ProviderUnknown>
  /**
   * Another token in the place of one that an API refused, of the same login. It renews once, however many refuse the same
   * token, and not at all where another one stands already.
   */
  readonly rejected: (
    key: SessionKey,
    bearer: Session.Bearer,
    selection?: Selection.Input
  ) => Effect.Effect<Session.Bearer, AuthError.AuthError | ProviderUnknown>
  /** Says what an access token amounts to at the IAM of a key, and what can renew it, without a request. */
  readonly adopt: (
    key: SessionKey,
    accessToken: Redacted.Redacted
  ) => Effect.Effect<Session.TokenResponse, IamError | ProviderUnknown>
  /**
   * Puts what an IAM has issued in the place of the session of a key. A session that was there is not revoked, since the
   * IAM may count both as one.
   */
  readonly put: (
    key: SessionKey,
    response: Session.TokenResponse,
    selection?: Selection.Input
  ) => Effect.Effect<Session.Session, TokenStorageError | SessionLockError | ProviderUnknown>
  /** Removes a session and revokes it at its IAM. */
  readonly revoke: (
    key: SessionKey
  ) => Effect.Effect<Revocation, TokenStorageError | SessionLockError | ProviderUnknown>
  /**
   * Renews a session whose access token is due, or whose grant has to be used by the rule of the storage, waits for it, and
   * leaves it open only if it was. For a sweeper, which may have drawn its permit from the `IssuerRates` beforehand.
   */
  readonly freshen: (
    key: SessionKey,
    permit?: Permit
  ) => Effect.Effect<Session.Session, AuthError.AuthError | ProviderUnknown>
  /** The keys of all stored sessions, a page at a time where the storage can: of those that have ended, too. */
  readonly sessions: Stream.Stream<SessionKey, TokenStorageError>
  /**
   * At most `limit` stored sessions (100 unless told), behind the place that an earlier page gave. Those that were signed
   * out are left out, so that a page may be shorter, or empty, and not the last.
   */
  readonly page: (
    options?: { readonly after?: string | undefined; readonly limit?: number | undefined }
  ) => Effect.Effect<Page, TokenStorageError>
  /**
   * The stored sessions in a state, of an issuer, or both, read one by one: what became of them while nobody listened to
   * `events`. A million of them take minutes.
   */
  readonly list: (
    filter?: { readonly state?: Summary["state"] | undefined; readonly issuer?: string | undefined }
  ) => Stream.Stream<Summary, TokenStorageError>
  /** What happens to sessions in this process from now on. A listener that is late by more than 1024 loses the oldest. */
  readonly events: Stream.Stream<Event>
  /** How the IAMs of the table do, without asking them or the storage. */
  readonly issuers: Effect.Effect<ReadonlyArray<IssuerHealth>>
  /** How it is at the moment: one statement of the storage. */
  readonly health: Effect.Effect<Health, TokenStorageError>
}>()("@effect-authn/vault/Vault") {}

interface Open {
  readonly kept: KeptSession
  uses: number
  askedAt: number
}

/**
 * Builds the vault over the storage that its processes share.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<E, R>(options: Options<E, R>) {
  const storage = yield* TokenStorage.TokenStorage
  const lock = yield* SessionLock
  const dueSessions = yield* DueSessions
  const clock = yield* Clock.Clock
  const keepOpen = Duration.toMillis(options.keepOpen ?? "5 minutes")
  const maxOpen = options.maxOpen ?? 10_000

  const nameOf = (of: { readonly issuer: string; readonly clientId: string }) =>
    JSON.stringify([of.issuer, of.clientId])
  // Of a storage that tells nothing of other programs a keeper would hear its own writes only, and read after each.
  const heard = storage.guarantees.changes ? storage : { ...storage, changes: Stream.never }
  const shared = Context.make(TokenStorage.TokenStorage, heard).pipe(Context.add(SessionLock, lock))

  // -------------------------------------------------------------------------------------------------------------------
  // what happens to sessions
  // -------------------------------------------------------------------------------------------------------------------

  const feed = yield* PubSub.sliding<Event>(1024)
  // What was last seen of the sessions that are in memory now.
  const seen = new Map<string, "alive" | "dead" | "unsaved">()

  const tell = (key: SessionKey, kind: Event["kind"], cause: string) => {
    PubSub.publishUnsafe(feed, { key, kind, cause, at: DateTime.makeUnsafe(clock.currentTimeMillisUnsafe()) })
    Metric.withAttributes(VaultMetrics.events, { kind }).updateUnsafe(1, metrics)
  }

  const observe = (key: SessionKey, state: SessionState): void => {
    const before = seen.get(key.id)
    switch (state._tag) {
      case "ReauthenticationRequired":
        // One that was dead when it was read died before, and whoever saw it has told.
        if (before === "alive" || before === "unsaved") tell(key, "dead", state.detail)
        seen.set(key.id, "dead")
        break
      case "SignedIn":
        if (state.unsaved === undefined) {
          if (before === "dead") tell(key, "recovered", "it was connected again")
          if (before === "unsaved") tell(key, "recovered", "its tokens are stored")
        } else if (before !== "unsaved") tell(key, "unsaved", state.unsaved.cause)
        seen.set(key.id, state.unsaved === undefined ? "alive" : "unsaved")
        break
      case "Renewing":
      case "Stale":
        if (before === undefined) seen.set(key.id, "alive")
        break
      case "SignedOut":
        if (before !== "dead") seen.delete(key.id)
    }
  }

  const metrics = yield* Effect.context()
  // What somebody has drawn for the sessions that are being renewed.
  const permits = new Map<string, Permit>()
  /** The leave that was drawn for a session is for one request. */
  const permitOf = (id: string): Permit | undefined => {
    const permit = permits.get(id)
    permits.delete(id)
    return permit
  }
  const rates = yield* IssuerRates
  const breakers = yield* Layer.build(CircuitBreaker.layerStoreMemory())
  const keepers = new Map<
    string,
    {
      readonly iam: IamClient["Service"]
      readonly issuer: Issuer.Issuer
      readonly keeper: SessionKeeper.SessionKeeper["Service"]
    }
  >()
  for (const provider of options.providers) {
    const iam = Context.get(yield* Layer.build(provider), IamClient)
    const issuer = yield* Issuer.make({ iam, rates, permitOf }).pipe(
      Effect.provideContext(breakers)
    )
    if (keepers.has(nameOf(iam))) {
      return yield* Effect.die(
        new Error(`Vault: providers has ${iam.issuer} with the client ${iam.clientId} twice: leave one of them out`)
      )
    }
    const attributes = yield* Metric.CurrentMetricAttributes
    const built = yield* Layer.build(
      SessionKeeper.layer.pipe(Layer.provide([
        Layer.succeedContext(shared),
        Layer.succeed(IamClient, issuer.client),
        Layer.succeed(SessionKeeper.Observer, observe),
        Layer.succeed(Metric.CurrentMetricAttributes, { ...attributes, issuer: iam.issuer })
      ]))
    )
    keepers.set(nameOf(iam), { iam, issuer, keeper: Context.get(built, SessionKeeper.SessionKeeper) })
  }

  const provider = (key: SessionKey) => {
    const found = keepers.get(nameOf(key))
    return found === undefined ? Effect.fail(new ProviderUnknown({ key })) : Effect.succeed(found)
  }

  // In the order in which they were asked for, the longest ago first.
  const open = new Map<string, Open>()

  const opened = (key: SessionKey): Effect.Effect<Open, ProviderUnknown> =>
    Effect.suspend(() => {
      const found = open.get(key.id)
      if (found !== undefined) return Effect.succeed(found)
      return Effect.map(provider(key), ({ keeper }) => ({ kept: keeper.open(key), uses: 0, askedAt: 0 }))
    })

  /** Lets go of a session, unless somebody uses it, or something of it is in memory only. */
  const close = (id: string, { kept, uses }: Open) =>
    uses > 0 ? Effect.void : Effect.map(kept.forget, (isForgotten) => {
      if (isForgotten) {
        open.delete(id)
        seen.delete(id)
      }
    })

  const closeWhere = (isClosing: (session: Open, index: number) => boolean) =>
    Effect.suspend(() =>
      Effect.forEach(
        Array.from(open).filter(([, session], index) => isClosing(session, index)),
        ([id, session]) => close(id, session),
        { discard: true }
      )
    )

  const using = <A, E2>(key: SessionKey, use: (kept: KeptSession) => Effect.Effect<A, E2>) =>
    Effect.flatMap(opened(key), (session) =>
      Effect.suspend(() => {
        session.uses += 1
        session.askedAt = clock.currentTimeMillisUnsafe()
        open.delete(key.id)
        open.set(key.id, session)
        return use(session.kept)
      }).pipe(
        Effect.ensuring(Effect.suspend(() => {
          session.uses -= 1
          return open.size > maxOpen ? closeWhere((_, index) => index < open.size - maxOpen) : Effect.void
        }))
      ))

  yield* closeWhere(({ askedAt }) => askedAt + keepOpen <= clock.currentTimeMillisUnsafe()).pipe(
    Effect.repeat(Schedule.spaced(Duration.millis(Math.max(1000, keepOpen / 5)))),
    Effect.forkScoped
  )

  const placeOf = makeDigest(yield* Digest.Digest)

  // Where the storage has no pages, all keys are put in the order that its pages would have.
  const pageOf = Effect.fnUntraced(function*(after: string, limit: number) {
    if (storage.page !== undefined) return yield* storage.page(after, limit)
    const placed = yield* Effect.forEach(
      yield* Stream.runCollect(TokenStorage.scan(storage)),
      (key) => Effect.map(placeOf(key), (place) => ({ key, place }))
    )
    return placed.filter(({ place }) => place > after)
      .sort((one, other) => one.place < other.place ? -1 : 1)
      .slice(0, limit)
      .map(({ key }) => key)
  })

  const summary = (key: SessionKey) =>
    Effect.matchEffect(storage.get(key), {
      onFailure: (error) =>
        error.reason._tag === "StorageUnavailable" ? Effect.fail(error) : Effect.succeed([unreadable(key, error)]),
      onSuccess: (found) => Effect.map(DateTime.now, (now) => Option.toArray(found).flatMap(summaryOf(now)))
    })

  const issuers = Effect.forEach(Array.from(keepers.values()), ({ issuer }) => issuer.state)

  return Vault.of({
    bearer: (key, selection) => using(key, (kept) => selection === undefined ? kept.bearer : kept.bearerFor(selection)),
    rejected: (key, bearer, selection) => using(key, (kept) => kept.rejected(bearer, selection)),
    adopt: (key, accessToken) => Effect.flatMap(provider(key), ({ iam }) => iam.adopt(accessToken)),
    page: Effect.fnUntraced(function*(options) {
      const limit = options?.limit ?? 100
      const keys = yield* pageOf(options?.after ?? "", limit)
      const sessions = yield* Effect.forEach(keys, summary, { concurrency: 16 })
      const last = keys.length < limit ? undefined : keys.at(-1)
      return {
        sessions: sessions.flat(),
        next: last === undefined ? Option.none() : Option.some(yield* placeOf(last))
      }
    }),
    token: (key, selection) => using(key, (kept) => selection === undefined ? kept.token : kept.tokenFor(selection)),
    put: (key, response, selection) =>
      using(key, (kept) =>
        // read before, so that one that comes back to life is told of
        Effect.andThen(
          Effect.ignore(kept.session),
          kept.replace(
            Session.fromResponse(key, response, { strategy: "vault", selection: Selection.make(selection ?? {}) })
          )
        )),
    revoke: (key) => using(key, (kept) => kept.remove({ revoke: true })),
    freshen: (key, permit) =>
      Effect.flatMap(opened(key), ({ kept }) =>
        Effect.suspend(() => {
          if (permit !== undefined) permits.set(key.id, permit)
          // what is still fresh may have a grant that has to be used
          return kept.freshenWhen((session) =>
            Option.exists(dueSessions.rule(session), (at) => at <= clock.currentTimeMillisUnsafe())
          )
        }).pipe(
          // One whose grant was refused was written and is due no more. Of one whose time is over nothing was written.
          Effect.tapErrorTag("ReauthenticationRequired", () =>
            kept.session.pipe(
              Effect.flatMap((found) =>
                Option.exists(found, ({ dead }) => Option.isNone(dead))
                  ? Effect.flatMap(DateTime.now, (now) => dueSessions.putOff(key, DateTime.add(now, { days: 1 })))
                  : Effect.void
              ),
              Effect.ignore
            )),
          Effect.ensuring(Effect.suspend(() => {
            permits.delete(key.id)
            if (open.has(key.id)) return Effect.void
            return Effect.map(kept.forget, (isForgotten) => {
              if (isForgotten) seen.delete(key.id)
            })
          }))
        )),
    sessions: TokenStorage.scan(storage),
    list: (filter) =>
      TokenStorage.scan(storage).pipe(
        Stream.filter(({ issuer }) => filter?.issuer === undefined || filter.issuer === issuer),
        Stream.mapEffect(summary, { concurrency: 16 }),
        Stream.flatMap(Stream.fromIterable),
        Stream.filter(({ state }) => filter?.state === undefined || filter.state === state)
      ),
    events: Stream.fromPubSub(feed),
    issuers,
    health: Effect.gen(function*() {
      const backlog = yield* dueSessions.backlog
      yield* VaultMetrics.measure({ ...backlog, open: open.size })
      return { open: open.size, ...backlog, issuers: yield* issuers }
    })
  })
})

const unreadable = (key: SessionKey, { message }: TokenStorageError): Summary => ({
  key,
  state: "unreadable",
  detail: Option.some(message),
  expiresAt: Option.none(),
  renewedAt: Option.none()
})

const summaryOf = (now: DateTime.Utc) => (session: Session.Session): ReadonlyArray<Summary> => {
  if (Session.isSignedOut(session)) return []
  const current = Session.currentToken(session)
  const isOver = Option.isSome(session.dead) || !Session.isAlive(session, now)
  return [{
    key: session.key,
    state: isOver ? "ended" : Option.isSome(session.intent) ? "renewing" : "alive",
    detail: isOver ? Option.some(Session.ending(session, now).detail) : Option.none(),
    expiresAt: Option.flatMap(current, ({ expiresAt }) => expiresAt),
    renewedAt: Option.map(current, ({ issuedAt }) => issuedAt)
  }]
}

/**
 * The vault of a process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(
  options: Options<E, R>
): Layer.Layer<Vault, E, R | TokenStorage.TokenStorage | SessionLock | DueSessions> =>
  Layer.provide(Layer.effect(Vault, make(options)), Digest.layerWebCrypto)
