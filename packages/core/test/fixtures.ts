import {
  AuthManager,
  AuthStrategy,
  BackgroundSleep,
  IamClient,
  IamError,
  Session,
  SessionKeeper,
  type TokenSet,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { ConfigProvider, Context, Effect, Layer, Option, Redacted, Ref, Stream } from "effect"
import { WebCrypto } from "effect/crypto"
import { createHash } from "node:crypto"

/** A storage whose writes or reads can be made to fail, over the memory storage; two managers may share one. */
export class Faults extends Context.Service<Faults, {
  readonly failing: Ref.Ref<"nothing" | "writes" | "reads">
  readonly writes: Ref.Ref<number>
  readonly reads: Ref.Ref<number>
}>()("@effect-authn/core/test/fixtures/Faults") {}

const faulty = Layer.effectContext(Effect.gen(function*() {
  const inner = yield* TokenStorage.TokenStorage
  const failing = yield* Ref.make<"nothing" | "writes" | "reads">("nothing")
  const writes = yield* Ref.make(0)
  const reads = yield* Ref.make(0)
  const fail = (method: string): Effect.Effect<never, TokenStorageError.TokenStorageError> =>
    Effect.fail(
      new TokenStorageError.TokenStorageError({
        storage: "memory",
        method,
        reason: new TokenStorageError.StorageUnavailable({
          detail: "no space left on device: free some",
          written: "no"
        })
      })
    )
  const when =
    (mode: "writes" | "reads", method: string) => <A>(effect: Effect.Effect<A, TokenStorageError.TokenStorageError>) =>
      Effect.flatMap(Ref.get(failing), (now) => now === mode ? fail(method) : effect)
  const storage = TokenStorage.TokenStorage.of({
    ...inner,
    get: (key) => when("reads", "get")(Effect.andThen(Ref.update(reads, (n) => n + 1), inner.get(key))),
    put: (key, next, expected) =>
      when("writes", "put")(Effect.andThen(Ref.update(writes, (n) => n + 1), inner.put(key, next, expected))),
    remove: (key, expected) => when("writes", "remove")(inner.remove(key, expected))
  })
  return Context.make(TokenStorage.TokenStorage, storage).pipe(
    Context.add(Faults, Faults.of({ failing, writes, reads }))
  )
})).pipe(Layer.provideMerge(TokenStorage.layerMemory))

/** Digests that take no turn of the real event loop, which the test's clock would not wait for. */
const promptDigests = Layer.effect(
  WebCrypto.WebCrypto,
  Effect.map(WebCrypto.WebCrypto, (crypto) => {
    const subtle = replacing(
      crypto.subtle,
      "digest",
      (_: string, data: Uint8Array) =>
        Promise.resolve(new Uint8Array(createHash("sha256").update(data).digest()).buffer)
    )
    return replacing(crypto, "subtle", subtle)
  })
)

/** The same object but for one member. */
const replacing = <A extends object>(object: A, member: keyof A, replacement: unknown): A =>
  new Proxy(object, {
    get: (target, name) => {
      if (name === member) return replacement
      const value: unknown = Reflect.get(target, name)
      return typeof value === "function" ? value.bind(target) : value
    }
  })

/** One program: manager and keeper over whatever IAM and storage are there. */
export const program = Layer.fresh(AuthManager.layer()).pipe(
  Layer.provideMerge(Layer.fresh(SessionKeeper.layer)),
  Layer.provide(promptDigests)
)

/** An IAM, a storage that can fail, and one program with its scheduler. */
export const scheduledOver = <More = never>(
  iam: Layer.Layer<ScriptedIam.ScriptedIam | IamClient.IamClient | More>
) => program.pipe(Layer.provideMerge(Layer.mergeAll(iam, faulty)))

/** The same with a scripted IAM. */
export const scheduled = (options: ScriptedIam.Options = {}) => scheduledOver(ScriptedIam.layer(options))

const withoutScheduler = Layer.succeed(BackgroundSleep.BackgroundSleep, () => Effect.never)

/** The same without the scheduler: only callers renew. */
export const setup = (options: ScriptedIam.Options = {}) => scheduled(options).pipe(Layer.provide(withoutScheduler))

/** The same with an IAM that differs from the scripted one in a few members. */
export const altered = (
  change: (iam: IamClient.IamClient["Service"]) => Partial<IamClient.IamClient["Service"]>,
  options: ScriptedIam.Options = {}
) =>
  scheduledOver(
    Layer.effect(
      IamClient.IamClient,
      Effect.map(IamClient.IamClient, (iam) => IamClient.IamClient.of({ ...iam, ...change(iam) }))
    ).pipe(Layer.provideMerge(ScriptedIam.layer(options)))
  ).pipe(Layer.provide(withoutScheduler))

export const passwordLogin = AuthStrategy.password({ handle: "ada", password: ScriptedIam.password })

/** A second program over the same IAM and storage, as another process would be: fresh, or it would be the first one. */
export const sibling = Layer.fresh(program).pipe(
  Layer.provide(withoutScheduler),
  Layer.build,
  Effect.map((context) => Context.get(context, AuthManager.AuthManager))
)

/** What the program sees of its environment variables. */
export const variables = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))

/** What lies in the storage under the manager's key. */
export const stored = Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  return yield* storage.get((yield* AuthManager.AuthManager).key)
})

/** Puts whatever an earlier program or an accident could have left in the storage. */
export const leave = Effect.fnUntraced(function*(session: Session.Session) {
  const storage = yield* TokenStorage.TokenStorage
  const found = yield* storage.get(session.key)
  const expected = Option.match(found, { onNone: () => 0, onSome: ({ generation }) => generation })
  const next = Session.update(session, { generation: expected + 1 })
  yield* storage.put(session.key, next, expected)
  return next
})

/** Short words for what nearly every test of the manager asks, holds against another, or has fail. */
export const manager = AuthManager.AuthManager
export const iam = ScriptedIam.ScriptedIam
export const count = (method: ScriptedIam.Method) => iam.use((scripted) => scripted.count(method))
export const failNext = (method: ScriptedIam.Method, reason: IamError.IamErrorReason, times = 1) =>
  iam.use((scripted) => scripted.failNext(method, { reason, times }))
export const raw = (tokens: TokenSet.TokenSet) => Redacted.value(tokens.accessToken)
export const token = Effect.map(Effect.flatMap(manager, (auth) => auth.token), raw)
export const storedRaw = Effect.map(
  Effect.flatMap(manager, (auth) => auth.storedToken),
  Option.map((given) => Redacted.value(given))
)
export const document = Effect.map(stored, Option.map(TokenStorage.encode))
export const down = new IamError.Unavailable({ sent: "no", detail: "connection refused" })
export const refused = new IamError.CredentialsRefused({ detail: "invalid token" })
export const wrong = (handle: string) => AuthStrategy.password({ handle, password: Redacted.make("wrong") })
export const handle = (user: { readonly handle: Option.Option<string> }) => Option.getOrUndefined(user.handle)
export const nextState = Effect.flatMap(manager, (auth) => Effect.map(Stream.runHead(auth.changes), Option.getOrThrow))
