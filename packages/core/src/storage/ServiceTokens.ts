/**
 * Tokens by which other services call a vault.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { TokenStorageError } from "./TokenStorageError.ts"

/**
 * What a service token is for: `token` takes access tokens out, `sessions:write` puts sessions in and ends them, and
 * `sessions:read` tells which there are, without their secrets.
 *
 * @category models
 * @since 0.1.0
 */
export const Right = Schema.Literals(["token", "sessions:write", "sessions:read"])

/**
 * The type of the schema `Right`.
 *
 * @category models
 * @since 0.1.0
 */
export type Right = typeof Right.Type

/**
 * The name of a service token: 1 to 64 letters, digits and `. _ @ + -`.
 *
 * @category models
 * @since 0.1.0
 */
export const Name = Schema.String.check(Schema.isPattern(/^[\w.@+-]{1,64}$/))

/**
 * A service token without its secret.
 *
 * - `accounts`: how the accounts begin that it is for; all of them unless told.
 * - `endsAt`: when it ends. A token always has an end.
 *
 * @category models
 * @since 0.1.0
 */
export class ServiceToken extends Schema.Class<ServiceToken>("@effect-authn/core/storage/ServiceTokens/ServiceToken")({
  name: Name,
  rights: Schema.NonEmptyArray(Right),
  accounts: Schema.optionalKey(Schema.NonEmptyString),
  createdAt: Schema.DateTimeUtcFromMillis,
  endsAt: Schema.DateTimeUtcFromMillis
}) {}

/**
 * What a token is made for. `lifetime` is 365 days unless told, and ten years at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly name: string
  readonly rights: readonly [Right, ...ReadonlyArray<Right>]
  readonly accounts?: string | undefined
  readonly lifetime?: Duration.Input | undefined
}

/**
 * There is a token of that name which has not ended.
 *
 * @category errors
 * @since 0.1.0
 */
export class ServiceTokenExists
  extends Schema.TaggedError<ServiceTokenExists>("@effect-authn/core/storage/ServiceTokens/ServiceTokenExists")(
    "ServiceTokenExists",
    { name: Schema.String }
  )
{
  override get message(): string {
    return `there is a service token "${this.name}": choose another name, or revoke that one first`
  }
}

/**
 * The tokens by which services call a vault: random, several, each with a name, rights and an end. The store has only their
 * SHA-256 (a guess among 2^256 needs no salt), so that every machine knows them and none can tell them.
 *
 * **Gotchas**
 *
 * A token that was found is known to a process for five seconds, and while the store is away for five minutes: as long does
 * one that another process has revoked go on.
 *
 * @category services
 * @since 0.1.0
 */
export class ServiceTokens extends Context.Service<ServiceTokens, {
  /** Makes a token. It is told this once. */
  readonly create: (options: Options) => Effect.Effect<Redacted.Redacted, ServiceTokenExists | TokenStorageError>
  /** The token that this is, if it has not ended and was not revoked. */
  readonly find: (token: Redacted.Redacted) => Effect.Effect<Option.Option<ServiceToken>, TokenStorageError>
  /** All tokens, in the order of their names, also those that have ended. */
  readonly list: Effect.Effect<ReadonlyArray<ServiceToken>, TokenStorageError>
  /** Ends a token, and says whether there was one of that name. */
  readonly revoke: (name: string) => Effect.Effect<boolean, TokenStorageError>
}>()("@effect-authn/core/storage/ServiceTokens") {}

/**
 * What keeps the tokens of a `ServiceTokens`, each under the SHA-256 of its text.
 *
 * @category models
 * @since 0.1.0
 */
export interface Store {
  /** Keeps a token, in the place of one of that name that has ended; `false` where one has not. */
  readonly insert: (digest: string, token: ServiceToken) => Effect.Effect<boolean, TokenStorageError>
  /** The token of a digest that has not ended. */
  readonly find: (digest: string) => Effect.Effect<Option.Option<ServiceToken>, TokenStorageError>
  /** All tokens, in any order. */
  readonly list: Effect.Effect<ReadonlyArray<ServiceToken>, TokenStorageError>
  /** Removes a token, and says whether there was one of that name. */
  readonly remove: (name: string) => Effect.Effect<boolean, TokenStorageError>
}

/**
 * Whether a text has the form of a service token, so that it is told from a JWT without a question.
 *
 * @category guards
 * @since 0.1.0
 */
export const isServiceToken = (text: string): boolean => /^authn_[\w-]{43}$/.test(text)

const longest = Duration.days(3650)

// How long what the store said is taken for true: while it answers, and while it does not.
const knownFor = 5_000
const knownWithoutStore = 300_000
const mostKnown = 10_000
const patience = Duration.seconds(1)

/**
 * Makes the service over a store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  store: Store
): Effect.fn.Return<ServiceTokens["Service"], never, Digest.Digest | SecureRandom.SecureRandom> {
  const digest = yield* Digest.Digest
  const random = yield* SecureRandom.SecureRandom
  const digestOf = (text: string) => digest.digestHex(Digest.sha256, new TextEncoder().encode(text))
  const known = new Map<string, { readonly token: ServiceToken; readonly at: number; readonly askedAt: number }>()

  return ServiceTokens.of({
    create: Effect.fnUntraced(function*({ accounts, lifetime, name, rights }) {
      const text = `authn_${Base64Url.encode(yield* random.randomBytes(32))}`
      const createdAt = yield* DateTime.now
      const token = ServiceToken.make({
        name,
        rights,
        ...(accounts === undefined ? {} : { accounts }),
        createdAt,
        endsAt: DateTime.addDuration(createdAt, Duration.min(Duration.fromInputUnsafe(lifetime ?? "365 days"), longest))
      })
      if (!(yield* store.insert(yield* digestOf(text), token))) return yield* new ServiceTokenExists({ name })
      return Redacted.make(text, { label: "service_token" })
    }),
    find: Effect.fnUntraced(function*(given) {
      const text = Redacted.value(given)
      if (!isServiceToken(text)) return Option.none()
      const id = yield* digestOf(text)
      const now = yield* Clock.currentTimeMillis
      const isAlive = ({ endsAt }: ServiceToken) => DateTime.toEpochMillis(endsAt) > now
      const seen = known.get(id)
      if (seen !== undefined && !isAlive(seen.token)) return Option.none()
      const isYoung = (since: number, span: number) => now >= since && now - since < span
      const held = seen !== undefined && isYoung(seen.at, knownWithoutStore) ? seen : undefined
      if (held !== undefined && isYoung(held.askedAt, knownFor)) return Option.some(held.token)
      // Whoever is known does not wait for a store that is silent.
      const asked = yield* Effect.result(
        held === undefined
          ? store.find(id)
          // nor for the end of a question that cannot be interrupted
          : Effect.flatMap(
            Effect.forkDetach(store.find(id), { startImmediately: true }),
            (asking) => Effect.timeoutOrElse(Fiber.join(asking), { duration: patience, orElse: () => Effect.undefined })
          )
      )
      if (held !== undefined && (Result.isFailure(asked) || asked.success === undefined)) {
        known.set(id, { ...held, askedAt: now })
        return Option.some(held.token)
      }
      const answer = yield* Effect.fromResult(asked)
      const found = Option.filter(answer ?? Option.none(), isAlive)
      known.delete(id)
      if (known.size >= mostKnown) known.clear()
      if (Option.isSome(found)) known.set(id, { token: found.value, at: now, askedAt: now })
      return found
    }),
    list: Effect.map(store.list, (tokens) => tokens.toSorted((one, other) => one.name < other.name ? -1 : 1)),
    revoke: (name) =>
      Effect.tap(store.remove(name), () =>
        Effect.sync(() => {
          for (const [id, { token }] of known) if (token.name === name) known.delete(id)
        }))
  })
})

/**
 * Service tokens in this process's memory. They end with the layer.
 *
 * **Example** (A token that may only read)
 *
 * ```ts import.meta.vitest
 * import { ServiceTokens } from "@effect-authn/core"
 * import { Effect, Option } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tokens = yield* ServiceTokens.ServiceTokens
 *   const token = yield* tokens.create({ name: "reports", rights: ["sessions:read"] })
 *   return Option.map(yield* tokens.find(token), ({ rights }) => rights.join(" "))
 * })
 *
 * await Effect.runPromise(Effect.provide(program, ServiceTokens.layerMemory)) // => Option.some("sessions:read")
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<ServiceTokens> = Layer.effect(
  ServiceTokens,
  Effect.suspend(() => {
    const held = new Map<string, ServiceToken>()
    const idOf = (name: string) => [...held].find(([, token]) => token.name === name)?.[0]
    const isAlive = ({ endsAt }: ServiceToken) =>
      Effect.map(Clock.currentTimeMillis, (now) => DateTime.toEpochMillis(endsAt) > now)
    return make({
      insert: Effect.fnUntraced(function*(digest, token) {
        const before = idOf(token.name)
        if (before !== undefined) {
          if (yield* isAlive(held.get(before)!)) return false
          held.delete(before)
        }
        held.set(digest, token)
        return true
      }),
      find: (digest) => {
        const token = held.get(digest)
        return token === undefined
          ? Effect.succeedNone
          : Effect.map(isAlive(token), (isAlive) => isAlive ? Option.some(token) : Option.none())
      },
      list: Effect.sync(() => [...held.values()]),
      remove: (name) =>
        Effect.sync(() => {
          const id = idOf(name)
          return id !== undefined && held.delete(id)
        })
    })
  })
).pipe(Layer.provide([Digest.layerWebCrypto, SecureRandom.layerWebCrypto]))
