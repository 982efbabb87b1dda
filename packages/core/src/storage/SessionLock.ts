/**
 * Who may change a session now.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import { SessionKey } from "../session/SessionKey.ts"

/**
 * The lock of a session could not be taken: not in time, because `holder` has it, or not at all.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionLockError
  extends Schema.TaggedError<SessionLockError>("@effect-authn/core/storage/SessionLock/SessionLockError")(
    "SessionLockError",
    {
      key: SessionKey,
      purpose: Schema.Literals(["renew", "login"]),
      holder: Schema.optional(Schema.String),
      detail: Schema.String
    }
  )
{
  override get message(): string {
    const why = this.holder === undefined ? "cannot be taken" : `is held by ${this.holder}`
    return `the "${this.purpose}" lock of ${this.key.label} ${why}: ${this.detail}`
  }
}

/**
 * What the lock is held for. The two do not exclude each other, so that a login of five minutes does not block a
 * renewal; who needs both takes `login` first.
 *
 * @category models
 * @since 0.1.0
 */
export type Purpose = "renew" | "login"

/**
 * How long a lock that programs share is waited for: longer than its holder may take. A renewal ends within 30 seconds, a
 * person at a browser within five minutes, the code of another device within half an hour.
 *
 * @category models
 * @since 0.1.0
 */
export const patience: { readonly [_ in Purpose]: Duration.Duration } = {
  renew: Duration.seconds(60),
  login: Duration.minutes(31)
}

/**
 * Mutual exclusion per session and purpose among all that share a storage: a kernel lock, Web Locks, a lease or a
 * semaphore.
 *
 * **Gotchas**
 *
 * It is not re-entrant: whoever holds a lock and asks for it again waits for themselves.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionLock extends Context.Service<SessionLock, {
  /**
   * How long the lock outlives a holder that died. Absent (zero) where the operating system, the browser or this
   * process's memory ends it with its holder.
   */
  readonly lease?: Duration.Duration
  /**
   * Runs an effect while this fiber alone holds the lock. Waiting for it is bounded and longer than a request may take;
   * then it fails with `SessionLockError`, which names the holder where it is known.
   */
  readonly withLock: (
    key: SessionKey,
    purpose: Purpose
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SessionLockError, R>
}>()("@effect-authn/core/storage/SessionLock") {}

/**
 * How this process calls itself to others that wait for it, or that find its unfinished work.
 *
 * @category references
 * @since 0.1.0
 */
export const Holder = Context.Reference<string>("@effect-authn/core/storage/SessionLock/Holder", {
  defaultValue: () => "this program"
})

/**
 * A lock that somebody else has, and that is waited for: whose session, what for, who has it, as far as that is known, and how
 * long it is waited for. `message` says so for people, with what ends the waiting.
 *
 * @category models
 * @since 0.1.0
 */
export class Wait extends Schema.Class<Wait>("@effect-authn/core/storage/SessionLock/Wait")({
  key: SessionKey,
  purpose: Schema.Literals(["renew", "login"]),
  holder: Schema.String,
  patience: Schema.Duration
}) {
  /** For people, on one line. */
  get message(): string {
    const what = this.purpose === "login"
      ? "is signing in already, and what it signs in is used here, too: finish that login, or end that program"
      : "renews the session: it is waited for; end that program if it hangs"
    return `${this.key.label}: ${this.holder} ${what} (waiting ${Duration.format(this.patience)} at most)`
  }
}

/**
 * What is done when a lock is waited for, once for each wait and before a second is over. Default: a warning on the standard
 * error where somebody signs in, since a person waits there, and nothing where a session is renewed.
 *
 * @category references
 * @since 0.1.0
 */
export const OnWait = Context.Reference<(wait: Wait) => Effect.Effect<void>>(
  "@effect-authn/core/storage/SessionLock/OnWait",
  {
    defaultValue: () => ({ message, purpose }) =>
      purpose === "login"
        ? Effect.provideService(Effect.logWarning(message), References.LogToStderr, true)
        : Effect.void
  }
)

/**
 * How long a lock is waited for before `OnWait` is told.
 *
 * @category constants
 * @since 0.1.0
 */
export const silence = Duration.millis(500)

/**
 * How many milliseconds are left for what only the holder of the lock may do, as `withLock` provides it around its effect:
 * infinite where a lock ends only with its holder. Around `IamClient.renew` it is the rest of the renewal's time limit, if
 * that ends sooner. Whoever is about to send looks at it last: a client whose connection stands too late sends nothing.
 *
 * @category references
 * @since 0.1.0
 */
export const Deadline = Context.Reference<() => number>("@effect-authn/core/storage/SessionLock/Deadline", {
  defaultValue: () => () => Number.POSITIVE_INFINITY
})

/**
 * A lock among the fibers of this process: for storages that no other process shares.
 *
 * **Example** (One fiber at a time)
 *
 * ```ts import.meta.vitest
 * import { SessionKey, SessionLock } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * const key = SessionKey.SessionKey.make({ issuer: "https://idp.example.com", clientId: "my-app", account: "default" })
 * const order: Array<string> = []
 * const step = (name: string) =>
 *   Effect.gen(function*() {
 *     order.push(`${name} begins`)
 *     yield* Effect.yieldNow
 *     order.push(`${name} ends`)
 *   })
 *
 * const program = Effect.gen(function*() {
 *   const { withLock } = yield* SessionLock.SessionLock
 *   yield* Effect.forEach(["a", "b"], (name) => withLock(key, "renew")(step(name)), { concurrency: "unbounded" })
 * })
 *
 * await Effect.runPromise(Effect.provide(program, SessionLock.layerInProcess))
 * order // => ["a begins", "a ends", "b begins", "b ends"]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerInProcess: Layer.Layer<SessionLock> = Layer.sync(SessionLock, () => {
  const held = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()
  return SessionLock.of({
    withLock: (key, purpose) => (effect) =>
      Effect.suspend(() => {
        const id = `${purpose} ${key.id}`
        const entry = held.get(id) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        entry.users += 1
        held.set(id, entry)
        return entry.semaphore.withPermit(effect).pipe(
          Effect.ensuring(Effect.sync(() => {
            entry.users -= 1
            if (entry.users === 0) held.delete(id)
          }))
        )
      })
  })
})
