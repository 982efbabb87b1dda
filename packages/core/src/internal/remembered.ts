import * as Cache from "effect/Cache"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Jwt } from "../jwt/JwtCodec.ts"
import { TokenDigest } from "../jwt/TokenDigest.ts"

interface Remembered<A> {
  readonly known: A
  readonly life: Duration.Duration
}

/**
 * What is known of good tokens, by their digest, until a time (epoch milliseconds): of so many tokens, and of those that were
 * seen last. Everybody who asks gets the same value, so it cannot be changed.
 */
export const make = Effect.fnUntraced(function*<A extends Jwt<unknown>>(capacity: number) {
  const digest = yield* TokenDigest
  const remembered = yield* Cache.makeWith((_digest: string): Effect.Effect<Remembered<A>> => Effect.never, {
    capacity,
    timeToLive: (exit) => exit._tag === "Success" ? exit.value.life : Duration.zero
  })
  return {
    digest: (token: Redacted.Redacted) => digest(Redacted.value(token)),
    recall: (digest: string): Effect.Effect<Option.Option<A>> =>
      Effect.map(Cache.getOption(remembered, digest), Option.map(({ known }) => known)),
    remember: (digest: string, known: A, until: number) =>
      Effect.clockWith((clock) => {
        const life = until - clock.currentTimeMillisUnsafe()
        return life > 0
          ? Cache.set(remembered, digest, { known: frozen(known), life: Duration.millis(life) })
          : Effect.void
      }),
    forget: Cache.invalidateAll(remembered)
  }
})

// Values of classes are their own business.
const frozen = <A>(value: A): A => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null) return value
  Object.freeze(value)
  for (const member of Object.values(value)) frozen(member)
  return value
}
