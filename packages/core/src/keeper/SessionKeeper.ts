/**
 * The one place that renews, writes and drops sessions.
 *
 * A caller is handed a token from memory as long as it is fresh. Otherwise it joins the one renewal of its grant, which
 * belongs to the keeper, not to the caller: it takes the lock of the session, reads the storage again, uses what a
 * sibling made in the meantime, and only else asks the IAM. What the IAM answers is written before it is handed out.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { IamClient } from "../iam/IamClient.ts"
import * as ProofKeys from "../iam/ProofKeys.ts"
import type { SessionKey } from "../session/SessionKey.ts"
import type { SessionState } from "../session/SessionState.ts"
import { Holder, SessionLock } from "../storage/SessionLock.ts"
import { TokenStorage } from "../storage/TokenStorage.ts"
import { BackgroundSleep } from "./BackgroundSleep.ts"
import * as Caller from "./internal/caller.ts"
import * as Change from "./internal/change.ts"
import * as Entry from "./internal/entry.ts"
import * as Kept from "./internal/keptSession.ts"
import * as Persistence from "./internal/persistence.ts"
import * as Renewal from "./internal/renewal.ts"
import * as Revocations from "./internal/revocation.ts"
import * as Scheduler from "./internal/scheduler.ts"
import * as SingleFlight from "./internal/singleFlight.ts"
import type { KeptSession } from "./KeptSession.ts"

/**
 * Keeps any number of sessions of one IAM, with one scheduler fiber and one watcher of the storage.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionKeeper extends Context.Service<SessionKeeper, {
  /** The session of a key. It reads nothing; one key has one session, however often it is opened. */
  readonly open: (key: SessionKey) => KeptSession
}>()("@effect-authn/core/keeper/SessionKeeper") {}

/**
 * Is told of the state of every session of a keeper whenever it changes, at once and in order, before whoever waits for
 * the change hears of it. It must not fail, and does nothing unless a program gives another one; a keeper takes it when
 * it is built. A program that follows one session has `KeptSession.changes`.
 *
 * @category references
 * @since 0.1.0
 */
export const Observer = Context.Reference<(key: SessionKey, state: SessionState) => void>(
  "@effect-authn/core/keeper/SessionKeeper/Observer",
  { defaultValue: () => () => {} }
)

/**
 * Builds the keeper. It reads and sends nothing before the first call. When its scope closes it waits for a renewal under
 * way, at most the policy's `timeLimit`, and writes what is in memory only.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const iam = yield* IamClient
  const storage = yield* TokenStorage
  const lock = yield* SessionLock
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const nap = yield* BackgroundSleep
  const holder = yield* Holder
  const observer = yield* Observer
  const scope = yield* Effect.scope
  const digest = yield* Digest.Digest
  const fork = Effect.runForkWith(yield* Effect.context())
  const feed = yield* PubSub.sliding<{ readonly id: string; readonly state: SessionState }>(1024)
  const proofKeys = yield* ProofKeys.ProofKeys
  const { policy } = iam
  const lease = Duration.toMillis(lock.lease ?? Duration.zero)

  const scheduler = Scheduler.make({ clock, nap })
  const entries = Entry.make({
    policy,
    clock,
    random,
    changed: (entry, state, dueAt) => {
      observer(entry.key, state)
      PubSub.publishUnsafe(feed, { id: entry.key.id, state })
      if (!entry.forgotten) scheduler.arm(entry, dueAt)
    },
    forgot: scheduler.disarm
  })
  const revocations = Revocations.make(iam)
  const revoke = revocations.once
  const dropKey = ProofKeys.dropper(proofKeys)
  const persistence = Persistence.make({ storage, digest, entries, revoke, dropKey, fork })
  const { renew } = Renewal.make({ iam, policy, random, entries, persistence, revoke, holder, lease })
  const flights = SingleFlight.make({
    entries,
    persistence,
    renew,
    changes: storage.changes,
    lock,
    policy,
    scope,
    fork
  })
  const callers = Caller.make({ policy, entries, persistence, flights })
  const changes = Change.make({
    entries,
    persistence,
    flights,
    random,
    revocations
  })
  yield* Effect.addFinalizer(() => flights.saveAll)
  flights.start(scheduler.run({ due: callers.renewIfDue, setBack: entries.settleAll }))
  return SessionKeeper.of({
    open: Kept.make({ entries, callers, changes, feed: Stream.fromPubSub(feed) })
  })
})

/**
 * The keeper of the sessions of one IAM. Wherever it is provided it is another one: shared between two IAMs, it would send
 * the grants of one to the other.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SessionKeeper, never, IamClient | TokenStorage | SessionLock> = Layer.fresh(
  Layer.provide(Layer.effect(SessionKeeper, make), Digest.layerWebCrypto)
)
