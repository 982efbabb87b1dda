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
import * as PubSub from "effect/PubSub"
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
 * The places, from the safest to the least safe, and the one that keeps nothing. `sqlite` is one encrypted file for all
 * sessions.
 *
 * @category models
 * @since 0.1.0
 */
export const Place = Schema.Literals(["keyring", "encrypted-file", "sqlite", "plain-file", "memory"])

/**
 * The type of the schema `Place`.
 *
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
 * The type of the schema `Policy`.
 *
 * @category models
 * @since 0.1.0
 */
export type Policy = typeof Policy.Type

/**
 * A place that a program can use. `offer` finds out, by using it and within a few seconds, whether it works, and gives its
 * storage, or says in words for people why not; `isThere` where the place exists and only does not answer now. `has` tells,
 * without opening the place, whether a session of that key lies there (default: it does not).
 *
 * @category models
 * @since 0.1.0
 */
export interface Candidate {
  readonly place: Place
  readonly offer: Effect.Effect<
    Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock>,
    { readonly message: string; readonly isThere?: boolean | undefined }
  >
  readonly has?: ((key: SessionKey) => Effect.Effect<boolean>) | undefined
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
 * is asked for; then the choice stands until the program ends. Under `auto` a session that lies in another place already is
 * used there: a place that does not answer today is never the reason to begin a second session elsewhere.
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
  /** The choice for one session: where it lies already, else `choice`. */
  readonly choiceFor: (key: SessionKey) => Effect.Effect<Choice, TokenStorageError>
  /** Emits the first choice once it was made, and ends. It makes none. */
  readonly announced: Stream.Stream<Choice>
}>()("@effect-authn/core/storage/StoragePolicy") {}

interface Chosen {
  readonly choice: Choice
  readonly storage: TokenStorage.TokenStorage["Service"]
  readonly lock: SessionLock.SessionLock["Service"]
}

/**
 * The storage that the policy chooses among the candidates, which are tried in the order given. Under `auto` a session that
 * lies in one of them already (`has`) stays there, and fails where none of those can be opened. What else `auto` has done is
 * logged as a warning: each new session that is stored in plain files, and that it passed over a place which is there.
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
    const opened = yield* PubSub.unbounded<TokenStorage.TokenStorage["Service"]>({ replay: candidates.length })
    const description = `storage by the policy "${policy}"`
    let standing: Chosen | undefined
    const places = new Map<Place, Chosen>()
    const homes = new Map<string, Chosen>()

    const take = Effect.fnUntraced(function*(place: Place, storage: Storage, passedOver: PassedOver) {
      const built = yield* Layer.buildWithScope(storage, scope)
      const inner = Context.get(built, TokenStorage.TokenStorage)
      const choice = Choice.make({ policy, place, description: inner.description, passedOver })
      const chosen = { choice, storage: inner, lock: Context.get(built, SessionLock.SessionLock) }
      places.set(place, chosen)
      yield* PubSub.publish(opened, inner)
      yield* Deferred.succeed(announced, choice)
      return chosen
    }, Effect.uninterruptible)

    /** The first of the places that can be opened. */
    const first = Effect.fnUntraced(function*(among: ReadonlyArray<Candidate>, what: string) {
      const tried: Array<PassedOver[number]> = []
      let isPassedOver = false
      for (const { offer, place } of among) {
        const known = places.get(place)
        if (known !== undefined) return known
        const offered = yield* Effect.result(offer)
        if (Result.isFailure(offered)) {
          isPassedOver ||= offered.failure.isThere === true
          tried.push({ place, reason: offered.failure.message })
          continue
        }
        const chosen = yield* take(place, offered.success, tried)
        if (isPassedOver) yield* warn(chosen.choice.message)
        return chosen
      }
      const reasons = tried.map(({ place, reason }) => `${place}: ${reason}`).join("; ")
      return yield* new TokenStorageError({
        storage: description,
        method: "choose",
        reason: new StorageUnavailable({
          detail: `${what}: ${reasons === "" ? "this program knows none of that name" : reasons}`,
          written: "no",
          tried
        })
      })
    })

    const allowed = candidates.filter(({ place }) =>
      policy === "auto" ? place !== "memory" && place !== "sqlite" : place === policy
    )

    const choose = Effect.gen(function*() {
      return standing ??= yield* first(allowed, "no place can keep sessions")
    })

    const chooseFor = Effect.fnUntraced(function*(key: SessionKey) {
      const holding = policy === "auto"
        ? yield* Effect.filter(allowed, ({ has }) => has?.(key) ?? Effect.succeed(false))
        : []
      const home = holding.length === 0
        ? yield* choose
        : yield* first(
          holding,
          `the session of ${key.label} lies where it cannot be read now, and no other place is taken instead ` +
            "(to sign in to another one, name it in the policy)"
        )
      homes.set(key.id, home)
      return home
    })

    const alone = <A>(choosing: Effect.Effect<A, TokenStorageError>) =>
      Effect.provideContext(turn.withPermit(choosing), context)
    const ready = Effect.suspend(() => standing === undefined ? alone(choose) : Effect.succeed(standing))
    const readyFor = (key: SessionKey): Effect.Effect<Chosen, TokenStorageError> =>
      Effect.suspend(() => {
        const home = homes.get(key.id)
        return home === undefined ? alone(chooseFor(key)) : Effect.succeed(home)
      })

    return Context.empty().pipe(
      Context.add(StoragePolicy, {
        choice: Effect.map(ready, ({ choice }) => choice),
        choiceFor: (key) => Effect.map(readyFor(key), ({ choice }) => choice),
        announced: Stream.fromEffect(Deferred.await(announced))
      }),
      Context.add(TokenStorage.TokenStorage, {
        description,
        guarantees,
        get: (key) => Effect.flatMap(readyFor(key), ({ storage }) => storage.get(key)),
        put: (key, next, expected) =>
          Effect.flatMap(
            readyFor(key),
            ({ choice, storage }) =>
              policy === "auto" && storage.guarantees.atRest === "plain" && expected === 0
                ? Effect.andThen(warn(choice.message), storage.put(key, next, expected))
                : storage.put(key, next, expected)
          ),
        remove: (key, expected) => Effect.flatMap(readyFor(key), ({ storage }) => storage.remove(key, expected)),
        keys: Effect.flatMap(ready, ({ storage }) => storage.keys),
        scan: Stream.unwrap(Effect.map(ready, ({ storage }) => TokenStorage.scan(storage))),
        // who only listens makes no choice, or listening alone could make a keychain ask its user for a password
        changes: Stream.flatMap(Stream.fromPubSub(opened), ({ changes }) => changes, { concurrency: "unbounded" })
      }),
      Context.add(SessionLock.SessionLock, {
        withLock: (key, purpose) => (effect) =>
          Effect.flatMap(
            Effect.mapError(readyFor(key), ({ message }) => new SessionLockError({ key, purpose, detail: message })),
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
