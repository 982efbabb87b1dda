import { type Session, SessionLock, TokenStorage, TokenStorageError } from "@effect-authn/core"
import { Effect, Layer, Option, Semaphore, Stream } from "effect"
import { KeyValueStore } from "effect/persistence"

type Failure = TokenStorageError.TokenStorageError["reason"] | KeyValueStore.KeyValueStoreError

const make = Effect.fnUntraced(function*(options: { readonly description: string; readonly durable: boolean }) {
  const store = yield* KeyValueStore.KeyValueStore
  const sessions = KeyValueStore.prefix(store, "session:")
  const damaged = KeyValueStore.prefix(store, "damaged:")
  // plain text, unless the program encrypts what its storages keep
  const codec = yield* TokenStorage.Codec
  // a KeyValueStore cannot compare and set, so this does: one operation at a time
  const turn = yield* Semaphore.make(1)

  const operate = (method: string) => <A>(effect: Effect.Effect<A, Failure>) =>
    turn.withPermit(effect).pipe(
      Effect.catchTag(
        "KeyValueStoreError",
        (error) => Effect.fail(new TokenStorageError.StorageUnavailable({ detail: error.message }))
      ),
      Effect.mapError((reason) => new TokenStorageError.TokenStorageError({ storage: options.description, method, reason }))
    )

  const read = Effect.fnUntraced(function*(id: string): Effect.fn.Return<Option.Option<Session.Session>, Failure> {
    const text = yield* sessions.get(id)
    if (text === undefined) return Option.none()
    return yield* codec.decode(text, `the session ${id}`).pipe(
      Effect.asSome,
      // the next one to look finds nothing, and what was there is not lost
      Effect.tapErrorTag("StorageCorrupt", () => Effect.andThen(damaged.set(id, text), sessions.remove(id)))
    )
  })

  // the generation of what is stored, 0 for nothing
  const generation = (id: string) =>
    read(id).pipe(
      Effect.map((found) => Option.isSome(found) ? found.value.generation : 0),
      Effect.catchTag("StorageCorrupt", () => Effect.succeed(0))
    )

  const compare = (found: number, expected: number) =>
    found === expected ? Effect.void : Effect.fail(new TokenStorageError.StorageConflict({ expected, found }))

  return TokenStorage.TokenStorage.of({
    description: options.description,
    guarantees: { durable: options.durable, exclusive: false, changes: false, atRest: codec.atRest },
    get: ({ id }) => operate("get")(read(id)),
    put: ({ id }, next, expected) =>
      Effect.gen(function*() {
        yield* compare(yield* generation(id), expected)
        yield* sessions.set(id, yield* codec.encode(next))
      }).pipe(operate("put")),
    remove: ({ id }, expected) =>
      Effect.gen(function*() {
        const found = yield* generation(id)
        if (found !== 0) yield* compare(found, expected)
        yield* sessions.remove(id)
      }).pipe(operate("remove")),
    keys: Effect.gen(function*() {
      const found = yield* Effect.forEach(
        yield* sessions.keys,
        (id) => Effect.catchTag(read(id), ["StorageCorrupt", "StorageNewerVersion"], () => Effect.succeedNone)
      )
      return found.flatMap(Option.toArray).map(({ key }) => key)
    }).pipe(operate("keys")),
    // nobody tells us of what other programs write
    changes: Stream.never
  })
})

/** Sessions in any KeyValueStore, for one program at a time: the lock that goes with them is this program's own. */
export const layer = (options: {
  readonly description: string
  readonly durable: boolean
}): Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock, never, KeyValueStore.KeyValueStore> =>
  Layer.merge(Layer.effect(TokenStorage.TokenStorage, make(options)), SessionLock.layerInProcess)
