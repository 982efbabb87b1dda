/**
 * An honest choice between the places where sessions can live.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Session from "../session/Session.ts"
import type { SessionKey } from "../session/SessionKey.ts"
import { SessionLockError } from "./SessionLock.ts"
import * as SessionLock from "./SessionLock.ts"
import * as TokenStorage from "./TokenStorage.ts"
import { StorageUnavailable, TokenStorageError } from "./TokenStorageError.ts"

/**
 * The places, from the safest to the least safe, and the one that keeps nothing.
 *
 * @category models
 * @since 0.1.0
 */
export const Place = Schema.Literals(["keyring", "encrypted-file", "plain-file", "memory"])

/**
 * @category models
 * @since 0.1.0
 */
export type Place = typeof Place.Type

/**
 * A place, or `auto`: the first of `keyring`, `encrypted-file` and `plain-file` that works. A place that is named is
 * used or fails; nothing takes its place.
 *
 * @category models
 * @since 0.1.0
 */
export const Policy = Schema.Literals(["auto", ...Place.literals])

/**
 * @category models
 * @since 0.1.0
 */
export type Policy = typeof Policy.Type

/**
 * A place that a program can use. `offer` finds out, by using it and within a few seconds, whether it works, and gives its
 * storage, or says in words for people why not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Candidate {
  readonly place: Place
  readonly offer: Effect.Effect<
    Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock>,
    { readonly message: string }
  >
}

/**
 * What was chosen, and what was not, with the reasons.
 *
 * @category models
 * @since 0.1.0
 */
export class Choice extends Schema.Class<Choice>("@effect-authn/core/storage/StoragePolicy/Choice")({
  policy: Policy,
  place: Place,
  description: Schema.String,
  passedOver: Schema.Array(Schema.Struct({ place: Place, reason: Schema.String }))
}) {
  /** For people, on one line. */
  get message(): string {
    const why = this.policy === "auto"
      ? this.passedOver.map(({ place, reason }) => `${place} was passed over: ${reason}`)
      : ["it was asked for"]
    return `sessions are kept in ${this.description} (${[this.place, ...why].join("; ")})`
  }
}

/**
 * Tells where the sessions of this program live. Nothing is tried before a session is first read or written, or `choice`
 * is asked for; then the choice stands until the program ends.
 *
 * The `TokenStorage` of a policy keeps one `description` (it names the policy) and one set of `guarantees` (what every
 * place of the policy promises at the least), whatever is chosen later: `choice` tells the place.
 *
 * @category services
 * @since 0.1.0
 */
export class StoragePolicy extends Context.Service<StoragePolicy, {
  /**
   * Makes the choice, if it was not made yet. It fails with `StorageUnavailable` where no place can keep sessions, and
   * tries again when it is next asked.
   */
  readonly choice: Effect.Effect<Choice, TokenStorageError>
  /** Emits the choice once it was made, and ends. It makes none. */
  readonly announced: Stream.Stream<Choice>
}>()("@effect-authn/core/storage/StoragePolicy") {}

interface Chosen {
  readonly choice: Choice
  readonly storage: TokenStorage.TokenStorage["Service"]
  readonly lock: SessionLock.SessionLock["Service"]
}

/**
 * The storage that the policy chooses among the candidates, which are tried in the order given. When `auto` has chosen
 * plain files, each new session that is stored there is also logged as a warning.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  policy: Policy,
  candidates: ReadonlyArray<Candidate>
): Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock | StoragePolicy> =>
  Layer.effectContext(Effect.gen(function*() {
    const scope = yield* Effect.scope
    // the first caller's configuration is not the program's
    const context = yield* Effect.context()
    const turn = yield* Semaphore.make(1)
    const announced = yield* Deferred.make<Choice>()
    const description = `storage by the policy "${policy}"`
    let chosen: Chosen | undefined

    const take = Effect.fnUntraced(function*(place: Place, storage: Storage, passedOver: PassedOver) {
      const built = yield* Layer.buildWithScope(storage, scope)
      const inner = Context.get(built, TokenStorage.TokenStorage)
      const choice = Choice.make({ policy, place, description: inner.description, passedOver })
      chosen = { choice, storage: inner, lock: Context.get(built, SessionLock.SessionLock) }
      yield* Deferred.succeed(announced, choice)
      return chosen
    }, Effect.uninterruptible)

    const choose = Effect.gen(function*() {
      if (chosen !== undefined) return chosen
      const tried: Array<PassedOver[number]> = []
      for (const { offer, place } of candidates) {
        if (policy === "auto" ? place === "memory" : place !== policy) continue
        const offered = yield* Effect.result(offer)
        if (Result.isSuccess(offered)) return yield* take(place, offered.success, tried)
        tried.push({ place, reason: offered.failure.message })
      }
      const reasons = tried.map(({ place, reason }) => `${place}: ${reason}`).join("; ")
      return yield* new TokenStorageError({
        storage: description,
        method: "choose",
        reason: new StorageUnavailable({
          detail: `no place can keep sessions: ${reasons === "" ? "this program knows none of that name" : reasons}`,
          written: "no",
          tried
        })
      })
    }).pipe((choosing) => turn.withPermit(choosing), Effect.provideContext(context))

    const ready: Effect.Effect<Chosen, TokenStorageError> = Effect.suspend(() =>
      chosen === undefined ? choose : Effect.succeed(chosen)
    )

    return Context.empty().pipe(
      Context.add(StoragePolicy, {
        choice: Effect.map(ready, ({ choice }) => choice),
        announced: Stream.fromEffect(Deferred.await(announced))
      }),
      Context.add(TokenStorage.TokenStorage, {
        description,
        guarantees,
        get: (key) => Effect.flatMap(ready, ({ storage }) => storage.get(key)),
        put: (key, next, expected) =>
          Effect.flatMap(
            ready,
            ({ choice, storage }) =>
              policy === "auto" && storage.guarantees.atRest === "plain" && expected === 0
                ? Effect.andThen(warn(choice.message), storage.put(key, next, expected))
                : storage.put(key, next, expected)
          ),
        remove: (key, expected) => Effect.flatMap(ready, ({ storage }) => storage.remove(key, expected)),
        keys: Effect.flatMap(ready, ({ storage }) => storage.keys),
        scan: Stream.unwrap(Effect.map(ready, ({ storage }) => TokenStorage.scan(storage))),
        // who only listens makes no choice, or listening alone could make a keychain ask its user for a password
        changes: Stream.unwrap(Effect.map(Deferred.await(announced), () => chosen?.storage.changes ?? Stream.empty))
      }),
      Context.add(SessionLock.SessionLock, {
        withLock: (key, purpose) => (effect) =>
          Effect.flatMap(
            Effect.mapError(ready, ({ message }) => new SessionLockError({ key, purpose, detail: message })),
            ({ lock }) => lock.withLock(key, purpose)(effect)
          )
      })
    )
  }))

// What a program prints on stdout is its data.
const warn = (message: string) => Effect.provideService(Effect.logWarning(message), References.LogToStderr, true)

type Storage = Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock>

type PassedOver = Choice["passedOver"]

// the least of the places
const guarantees: TokenStorage.Guarantees = { durable: false, exclusive: true, changes: true, atRest: "plain" }

/**
 * Moves every session from one storage to another, and tells which. Both are locked for each session, so that nobody renews
 * it on either side meanwhile. It is written to the new place, read back and compared before it is removed from the old
 * one; where both have it, the higher generation stays. It can be broken off at any point, and then be done again. What is
 * damaged or of a newer version stays where it is. So does a mark that stands for "signed out"; one in the new place gives
 * way to the session.
 *
 * The two are different places with locks of their own: two directories, not one directory with two ways to write.
 *
 * @category combinators
 * @since 0.1.0
 */
export const migrate = <E1, R1, E2, R2>(options: {
  readonly from: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock, E1, R1>
  readonly to: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock, E2, R2>
}): Effect.Effect<ReadonlyArray<SessionKey>, TokenStorageError | SessionLockError | E1 | E2, R1 | R2> =>
  Effect.scoped(Effect.gen(function*() {
    const from = yield* Layer.build(Layer.fresh(options.from))
    const to = yield* Layer.build(Layer.fresh(options.to))
    const source = Context.get(from, TokenStorage.TokenStorage)
    const target = Context.get(to, TokenStorage.TokenStorage)

    const move = Effect.fnUntraced(function*(key: SessionKey) {
      const stored = Option.filter(yield* source.get(key), isSomebody)
      if (Option.isNone(stored)) return false
      const found = yield* target.get(key)
      const generation = Option.match(found, { onNone: () => 0, onSome: (held) => held.generation })
      if (generation < stored.value.generation || !Option.exists(found, isSomebody)) {
        // of a higher generation than a mark, which fences off what is written late
        const session = Session.update(stored.value, { generation: Math.max(stored.value.generation, generation + 1) })
        yield* target.put(key, session, generation)
        const written = TokenStorage.encode(session)
        yield* target.get(key).pipe(Effect.filterOrFail(
          Option.exists((kept) => TokenStorage.encode(kept) === written),
          () =>
            new TokenStorageError({
              storage: target.description,
              method: "migrate",
              reason: new StorageUnavailable({ detail: "it did not keep the session; the old place still has it" })
            })
        ))
      }
      yield* source.remove(key, stored.value.generation)
      return true
    })

    return yield* Effect.filter(yield* source.keys, (key) =>
      move(key).pipe(
        Context.get(to, SessionLock.SessionLock).withLock(key, "renew"),
        Context.get(from, SessionLock.SessionLock).withLock(key, "renew")
      ))
  }))

const isSomebody = (session: Session.Session): boolean => !Session.isSignedOut(session)
