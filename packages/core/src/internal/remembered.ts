import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Jwt } from "../jwt/JwtCodec.ts"
import { TokenDigest } from "../jwt/TokenDigest.ts"

/**
 * What is known of good tokens, by their digest, until a time (epoch milliseconds): of so many tokens, and of those that were
 * seen last. Everybody who asks gets the same value, so it cannot be changed. Nothing here waits: a token is looked up with
 * every request.
 */
export const make = Effect.fnUntraced(function*<A extends Jwt<unknown>>(capacity: number) {
  const digest = yield* TokenDigest
  // In the order in which they were seen.
  const known = new Map<string, { readonly value: A; readonly until: number }>()

  const recall = (digest: string, now: number): A | undefined => {
    const found = known.get(digest)
    if (found === undefined) return undefined
    known.delete(digest)
    if (found.until <= now) return undefined
    known.set(digest, found)
    return found.value
  }

  return {
    /** Calls `f` with the digest of a token and what is known of it. */
    withKnown: <B, E, R>(
      token: Redacted.Redacted,
      f: (known: A | undefined, digest: string) => Effect.Effect<B, E, R>
    ): Effect.Effect<B, E, R> =>
      Effect.clockWith((clock) => {
        const made = digest(Redacted.value(token))
        return typeof made === "string"
          ? f(recall(made, clock.currentTimeMillisUnsafe()), made)
          : Effect.flatMap(
            Effect.promise(() => made),
            (digest) => f(recall(digest, clock.currentTimeMillisUnsafe()), digest)
          )
      }),
    remember: (digest: string, value: A, until: number): void => {
      known.delete(digest)
      known.set(digest, { value: frozen(value), until })
      const [oldest] = known.keys()
      if (known.size > capacity && oldest !== undefined) known.delete(oldest)
    },
    forget: (): void => known.clear()
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
