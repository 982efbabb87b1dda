/**
 * Logins that began in a browser and have not come back yet.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { TokenStorageError } from "./TokenStorageError.ts"

/**
 * What a server must remember between sending a browser to the IAM and the browser's return: the PKCE verifier, the nonce,
 * who asked. Any machine that shares the storage can finish what another one began.
 *
 * **Gotchas**
 *
 * The identifier is the `state` of the request (RFC 6749, section 10.12) or something as hard to guess: whoever knows it
 * takes the login.
 *
 * @category services
 * @since 0.1.0
 */
export class PendingLogins extends Context.Service<PendingLogins, {
  /** Keeps a login for `timeToLive`, by the clock of the storage. It replaces an earlier one of the same identifier. */
  readonly put: (
    id: Redacted.Redacted,
    login: Redacted.Redacted,
    timeToLive: Duration.Duration
  ) => Effect.Effect<void, TokenStorageError>
  /** Gives a login and removes it, so that of many who ask one gets it. `None`: unknown, taken, or past its end. */
  readonly take: (id: Redacted.Redacted) => Effect.Effect<Option.Option<Redacted.Redacted>, TokenStorageError>
}>()("@effect-authn/core/storage/PendingLogins") {}

/**
 * Pending logins in this process's memory. They end with the layer.
 *
 * **Example** (Once and never again)
 *
 * ```ts import.meta.vitest
 * import { PendingLogins } from "@effect-authn/core"
 * import { Duration, Effect, Redacted } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const pending = yield* PendingLogins.PendingLogins
 *   const state = Redacted.make("state-of-the-request")
 *   yield* pending.put(state, Redacted.make("the verifier"), Duration.minutes(10))
 *   return [(yield* pending.take(state))._tag, (yield* pending.take(state))._tag]
 * })
 *
 * await Effect.runPromise(Effect.provide(program, PendingLogins.layerMemory)) // => ["Some", "None"]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<PendingLogins> = Layer.sync(PendingLogins, () => {
  const held = new Map<string, { readonly login: Redacted.Redacted; readonly endsAt: number }>()
  return PendingLogins.of({
    put: (id, login, timeToLive) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        for (const [other, { endsAt }] of held) if (endsAt <= now) held.delete(other)
        held.set(Redacted.value(id), { login, endsAt: now + Duration.toMillis(timeToLive) })
      }),
    take: (id) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const found = held.get(Redacted.value(id))
        held.delete(Redacted.value(id))
        return found === undefined || found.endsAt <= now ? Option.none() : Option.some(found.login)
      })
  })
})
