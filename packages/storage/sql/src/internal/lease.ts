/** The lock of a session as a row that expires by the clock of the store. */
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as Clock from "effect/Clock"
import type { SecureRandom } from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Database } from "./database.ts"
import type { Names } from "./names.ts"

const naps = Schedule.min([Schedule.exponential("5 millis", 1.6), Schedule.spaced("250 millis")]).pipe(
  Schedule.jittered
)

/** How long before the end of the lease its holder stops sending. */
const margin = (lease: Duration.Duration): number => Math.min(500, Duration.toMillis(lease) / 10)

export const make = (options: {
  readonly database: Database
  readonly names: Names
  readonly random: SecureRandom["Service"]
  readonly lease: Duration.Duration
}): SessionLock.SessionLock["Service"] => {
  const { database: { now, prefix, run }, lease, names, random } = options
  const table = `${prefix}_leases`
  const length = `${Duration.toMillis(lease)}`
  const patience: Record<SessionLock.Purpose, Duration.Duration> = {
    // longer than a holder that died keeps it
    renew: Duration.sum(lease, Duration.seconds(15)),
    login: Duration.minutes(31)
  }
  const monotonicMillis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

  // The same nonce takes it again, so that a lost acknowledgement costs nothing.
  const take = (name: string, holder: string, nonce: string) =>
    Effect.map(
      run(
        `INSERT INTO ${table} AS held (name, holder, nonce, expires_at) ` +
          `VALUES ($1, $2, $3, ${now} + CAST($4 AS BIGINT)) ON CONFLICT (name) DO UPDATE SET ` +
          `holder = excluded.holder, nonce = excluded.nonce, expires_at = excluded.expires_at ` +
          `WHERE held.expires_at <= ${now} OR held.nonce = excluded.nonce RETURNING nonce`,
        [name, holder, nonce, length]
      ),
      (rows) => rows.length > 0
    )

  const release = (name: string, nonce: string) =>
    Effect.ignore(run(`DELETE FROM ${table} WHERE name = $1 AND nonce = $2`, [name, nonce]))

  const holderOf = (name: string) =>
    Effect.orElseSucceed(
      Effect.map(run(`SELECT holder FROM ${table} WHERE name = $1`, [name]), (rows) => rows[0]?.["holder"]),
      () => undefined
    )

  const enter = Effect.fnUntraced(function*(key: SessionKey, purpose: SessionLock.Purpose) {
    const id = yield* names.of(key.id)
    const name = `${purpose} ${id}`
    const nonce = Hex.encode(yield* random.randomBytes(16))
    const holder = yield* SessionLock.Holder
    let until = 0
    const attempt = Effect.gen(function*() {
      const before = yield* monotonicMillis
      const isTaken = yield* take(name, holder, nonce)
      if (isTaken) until = before + Duration.toMillis(lease) - margin(lease)
      return isTaken
    })
    yield* Effect.addFinalizer(() => release(name, nonce))
    yield* attempt.pipe(
      Effect.repeat({ until: (isTaken) => isTaken, schedule: naps }),
      Effect.mapError(({ detail }) => new SessionLock.SessionLockError({ key, purpose, detail })),
      Effect.timeoutOrElse({
        duration: patience[purpose],
        orElse: () =>
          Effect.flatMap(holderOf(name), (other) =>
            Effect.fail(
              new SessionLock.SessionLockError({
                key,
                purpose,
                holder: other ?? "another program",
                detail: `gave up after ${Duration.format(patience[purpose])}; end that program, or try again`
              })
            ))
      }),
      // what was taken while an interruption came, the finalizer gives back
      Effect.interruptible
    )
    // A person takes longer than a lease to log in, so that this lease is prolonged as long as its holder lives.
    if (purpose === "login") {
      yield* Effect.ignore(attempt).pipe(
        Effect.repeat(Schedule.spaced(Duration.times(lease, 1 / 3))),
        Effect.delay(Duration.times(lease, 1 / 3)),
        Effect.forkScoped
      )
    }
    const clock = yield* Clock.Clock
    return () => until - Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }, Effect.uninterruptible)

  return SessionLock.SessionLock.of({
    lease,
    withLock: (key, purpose) => (effect) =>
      Effect.scopedWith((scope) =>
        Effect.flatMap(
          Effect.provideService(enter(key, purpose), Scope.Scope, scope),
          (deadline) => Effect.provideService(effect, SessionLock.Deadline, deadline)
        )
      )
  })
}
