/** @since 0.1.0 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import type { Adapter, AdapterFactory, AdapterPayload } from "oidc-provider"

/**
 * Where the provider keeps what it issued: in memory, and in one file where it is to outlive a restart.
 *
 * The rules of rotation are rules of what is found here: the provider itself takes every used token for a stolen one.
 */
export interface ProviderStore {
  readonly adapter: AdapterFactory
  /** A value that the first start made, and that later starts find again. */
  readonly remember: (
    name: string,
    make: Effect.Effect<Schema.Json>
  ) => Effect.Effect<Schema.Json, Cause.IllegalArgumentError>
  /** Forgets every session and token, and keeps what `remember` made. */
  readonly clear: () => void
}

/** What becomes of a refresh token that was used; see `OidcProvider.Options`. */
export interface Reuse {
  readonly rotation: "none" | "rotate" | "strict"
  readonly reuseGrace: Duration.Duration
}

const Contents = Schema.Struct({
  made: Schema.Record(Schema.String, Schema.Json),
  records: Schema.Record(
    Schema.String,
    Schema.Struct({ payload: Schema.JsonObject, expiresAt: Schema.NullOr(Schema.Finite) })
  )
})
const decodeContents = Schema.decodeEffect(Schema.fromJsonString(Contents))
const encodeContents = Schema.encodeSync(Schema.fromJsonString(Contents))

interface Held {
  payload: AdapterPayload
  readonly expiresAt: number | null
}

export const make = Effect.fnUntraced(function*(options: {
  readonly file: string | undefined
  readonly reuse: () => Reuse
}): Effect.fn.Return<ProviderStore, Cause.IllegalArgumentError> {
  const { file } = options
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const kept = file === undefined || !existsSync(file) ? undefined : yield* Effect.mapError(
    Effect.flatMap(
      Effect.try({
        try: () => readFileSync(file, "utf8"),
        catch: (cause) => new Cause.IllegalArgumentError(String(cause))
      }),
      decodeContents
    ),
    (error) => new Cause.IllegalArgumentError(`${file} holds no state of this simulator: ${error.message}`)
  )
  const made = new Map(Object.entries(kept?.made ?? {}))
  const records = new Map<string, Held>(
    Object.entries(kept?.records ?? {}).map(([key, held]) => [key, { ...held, payload: { ...held.payload } }])
  )

  // In the turn of the event loop that changed it: a kill loses nothing that was answered.
  const save = () => {
    if (file === undefined) return
    for (const [key, { expiresAt }] of records) if (expiresAt !== null && expiresAt <= now()) records.delete(key)
    const text = encodeContents({
      made: Object.fromEntries(made),
      records: Object.fromEntries([...records].map(([key, held]) => [key, { ...held, payload: json(held.payload) }]))
    })
    const beside = `${file}.${process.pid}`
    rmSync(beside, { force: true })
    writeFileSync(beside, text, { mode: 0o600, flag: "wx" })
    renameSync(beside, file)
  }

  const live = (key: string): AdapterPayload | undefined => {
    const held = records.get(key)
    return held === undefined || (held.expiresAt !== null && held.expiresAt <= now()) ? undefined : held.payload
  }

  const found = (model: string, payload: AdapterPayload | undefined): AdapterPayload | undefined => {
    if (model !== "RefreshToken" || typeof payload?.consumed !== "number") return payload
    const { reuseGrace, rotation } = options.reuse()
    const age = now() - payload.consumed * 1000
    if (rotation === "none" || age < Duration.toMillis(reuseGrace)) {
      const { consumed: _used, ...unused } = payload
      return unused
    }
    return rotation === "strict" ? payload : undefined
  }

  const adapter = (model: string): Adapter => {
    const key = (id: string) => `${model}:${id}`
    const first = (holds: (payload: AdapterPayload) => boolean) => {
      for (const [name, { payload }] of records) {
        if (name.startsWith(key("")) && live(name) !== undefined && holds(payload)) return Promise.resolve(payload)
      }
      return Promise.resolve(undefined)
    }
    // A disk that is full fails the request, not the simulator.
    const act = (change: () => void) => Promise.resolve().then(change).then(save)
    return {
      find: (id) => Promise.resolve(found(model, live(key(id)))),
      findByUid: (uid) => first((payload) => payload.uid === uid),
      findByUserCode: (code) => first((payload) => payload.userCode === code),
      upsert: (id, payload, expiresIn) =>
        act(() =>
          records.set(key(id), { payload, expiresAt: Predicate.isNumber(expiresIn) ? now() + expiresIn * 1000 : null })
        ),
      consume: (id) =>
        act(() => {
          const held = records.get(key(id))
          // The grace begins with the first use.
          if (held !== undefined) held.payload = { ...held.payload, consumed: held.payload.consumed ?? now() / 1000 }
        }),
      destroy: (id) => act(() => records.delete(key(id))),
      revokeByGrantId: (grantId) =>
        act(() => {
          for (const [name, { payload }] of records) if (payload.grantId === grantId) records.delete(name)
        })
    }
  }

  return {
    adapter,
    remember: (name, make) =>
      Effect.suspend(() => {
        const value = made.get(name)
        return value !== undefined ? Effect.succeed(value) : Effect.tap(make, (fresh) =>
          Effect.try({
            try: () => {
              made.set(name, fresh)
              save()
            },
            catch: (cause) => new Cause.IllegalArgumentError(`The state cannot be written: ${String(cause)}`)
          }))
      }),
    clear: () => {
      records.clear()
      save()
    }
  }
})

const decodePayload = Schema.decodeSync(Schema.fromJsonString(Schema.JsonObject))
// What is undefined in a payload is left out, as it would be in any database.
const json = (payload: AdapterPayload): Schema.JsonObject => decodePayload(JSON.stringify(payload))
