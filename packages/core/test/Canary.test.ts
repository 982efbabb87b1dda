import {
  type AuthError,
  AuthHttpClient,
  AuthManager,
  AuthStrategy,
  ExportDocument,
  IamClient,
  IamError,
  RefreshPolicy,
  type Session,
  SessionKeeper,
  SessionLock,
  type SessionState,
  TokenSet,
  TokenStorage,
  TokenStorageError,
  User
} from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  DateTime,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Redacted,
  Ref,
  References,
  Result,
  Stream,
  Tracer
} from "effect"
import { FetchHttpClient, type HttpClientError, type HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { nobody, serve } from "./bareApi.ts"
import { variables } from "./fixtures.ts"

const canary = "canary-9d41"
const secret = (name: string) => Redacted.make(`${canary}-${name}`, { label: name })
const password = secret("password")

/** What can go wrong next: at the IAM by method, or in the storage. */
class Trouble extends Context.Service<Trouble, {
  readonly iam: Ref.Ref<Partial<Record<string, IamError.IamErrorReason | "defect">>>
  readonly storage: Ref.Ref<"nothing" | "reads" | "writes" | "damaged" | "newer">
  readonly lock: Ref.Ref<boolean>
}>()("@effect-authn/core/test/Canary.test/Trouble") {}

const layerTrouble = Layer.effect(
  Trouble,
  Effect.gen(function*() {
    return Trouble.of({
      iam: yield* Ref.make<Partial<Record<string, IamError.IamErrorReason | "defect">>>({}),
      storage: yield* Ref.make<"nothing" | "reads" | "writes" | "damaged" | "newer">("nothing"),
      lock: yield* Ref.make(false)
    })
  })
)

const issuer = "https://iam.example"
const ada = User.User.make({
  id: "1",
  handle: Option.some("ada"),
  displayName: Option.none(),
  firstName: Option.none(),
  lastName: Option.none(),
  email: Option.none(),
  avatarUrl: Option.none(),
  roles: [],
  profile: Redacted.make({ apiKey: `${canary}-profile` }, { label: "profile" })
})

/** An IAM whose every answer is full of secrets. */
const layerIam = Layer.effect(
  IamClient.IamClient,
  Effect.gen(function*() {
    const trouble = yield* Trouble
    const issued = (accessToken: Redacted.Redacted): Effect.Effect<Session.TokenResponse> =>
      Effect.map(DateTime.now, (receivedAt) => ({
        tokens: TokenSet.fromAnswer({
          accessToken,
          expiresIn: 3600,
          idToken: secret("id_token"),
          receivedAt,
          serverTime: Option.none(),
          defaultLifetime: Duration.hours(1)
        }),
        grant: { _tag: "RefreshToken", refreshToken: secret("refresh_token") },
        user: Option.none()
      }))
    const call = <A>(method: string, answer: Effect.Effect<A>) =>
      Effect.gen(function*() {
        const failure = (yield* Ref.get(trouble.iam))[method]
        if (failure === "defect") return yield* Effect.die(new TypeError("not a function"))
        if (failure !== undefined) return yield* new IamError.IamError({ issuer, method, reason: failure })
        return yield* answer
      })
    return IamClient.IamClient.of({
      issuer,
      clientId: "canary",
      policy: RefreshPolicy.standard,
      environment: ["CANARY_TOKEN"],
      document: ExportDocument.make({ issuer }),
      login: () => call("login", issued(secret("access_token"))),
      adopt: (given) => call("adopt", issued(given)),
      renew: () => call("renew", issued(secret("renewed_token"))),
      whoami: () => call("whoami", Effect.succeed(ada)),
      revoke: () => call("revoke", Effect.succeed(IamClient.Revocation.cases.Revoked.make({}))),
      present: IamClient.presentBearer
    })
  })
)

const layerStorage = Layer.effect(
  TokenStorage.TokenStorage,
  Effect.gen(function*() {
    const trouble = yield* Trouble
    const inner = yield* TokenStorage.TokenStorage
    const fail = (method: string, reason: TokenStorageError.TokenStorageError["reason"]) =>
      Effect.fail(new TokenStorageError.TokenStorageError({ storage: "files", method, reason }))
    const full = new TokenStorageError.StorageUnavailable({ detail: "no space left on device" })
    const decoded = (method: string, text: string) =>
      Effect.catch(
        Effect.fromResult(Result.map(TokenStorage.decode(text, "a.json"), Option.some)),
        (reason) => fail(method, reason)
      )
    const written = <A>(effect: Effect.Effect<A, TokenStorageError.TokenStorageError>) =>
      Effect.flatMap(Ref.get(trouble.storage), (now) => now === "writes" ? fail("put", full) : effect)
    return TokenStorage.TokenStorage.of({
      ...inner,
      get: (key) =>
        Effect.flatMap(Ref.get(trouble.storage), (now) => {
          if (now === "reads") return fail("get", full)
          if (now === "damaged") return decoded("get", `{"version":1,"session":{"token":"${canary}"`)
          if (now === "newer") return decoded("get", `{"version":3,"token":"${canary}"}`)
          return inner.get(key)
        }),
      put: (key, next, expected) => written(inner.put(key, next, expected)),
      remove: (key, expected) => written(inner.remove(key, expected))
    })
  })
)

const layerLock = Layer.effect(
  SessionLock.SessionLock,
  Effect.gen(function*() {
    const trouble = yield* Trouble
    const inner = yield* SessionLock.SessionLock
    return SessionLock.SessionLock.of({
      withLock: (key, purpose) => (effect) =>
        Effect.flatMap(Ref.get(trouble.lock), (held) =>
          held
            ? Effect.fail(new SessionLock.SessionLockError({ key, purpose, holder: "pid 1", detail: "waited 60s" }))
            : inner.withLock(key, purpose)(effect))
    })
  })
)

const program = AuthManager.layer().pipe(
  Layer.provideMerge(SessionKeeper.layer),
  Layer.provideMerge(Layer.mergeAll(layerIam, layerStorage, layerLock)),
  Layer.provideMerge(Layer.merge(layerTrouble, TokenStorage.layerMemory)),
  Layer.provideMerge(FetchHttpClient.layer)
)

/** Every way in which a program or a person could come to see a value. */
const shown = (value: unknown): string => {
  const texts = [
    String(value),
    inspect(value, { depth: Infinity, showHidden: true }),
    JSON.stringify(value, (_name, one) => typeof one === "bigint" ? String(one) : one)
  ]
  if (value instanceof Error) texts.push(value.message, value.stack ?? "")
  if (Exit.isExit(value) && Exit.isFailure(value)) {
    texts.push(Cause.pretty(value.cause), shown(Cause.squash(value.cause)))
    for (const error of Cause.prettyErrors(value.cause)) texts.push(shown(error))
  }
  return texts.join("\n")
}

interface Watched {
  readonly logs: Array<string>
  readonly spans: Array<Tracer.Span>
  readonly states: Array<SessionState.SessionState>
}

/** Runs a scenario under a captured logger and tracer, watching the session, and shows all that came out of it. */
const watch = <A, E, R>(scenario: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const watched: Watched = { logs: [], spans: [], states: [] }
    const logger = Logger.make((options) => {
      watched.logs.push(shown(options.message), shown(options.cause), Cause.pretty(options.cause))
      watched.logs.push(String(Logger.formatLogFmt.log(options)), String(Logger.formatJson.log(options)))
    })
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        watched.spans.push(span)
        return span
      }
    })
    const observed = Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const keeper = yield* SessionKeeper.SessionKeeper
      const watcher = yield* Effect.forkChild(
        Stream.runForEach(auth.changes, (state) => Effect.sync(() => watched.states.push(state))),
        { startImmediately: true }
      )
      const exit = yield* Effect.exit(Effect.withSpan(scenario, "scenario"))
      yield* TestClock.adjust("1 milli")
      yield* Fiber.interrupt(watcher)
      return { exit, kept: keeper.open(auth.key) }
    })
    const { exit, kept } = yield* observed.pipe(
      Effect.provide(program.pipe(Layer.provideMerge(Layer.mergeAll(
        Logger.layer([logger]),
        Layer.succeed(Tracer.Tracer, tracer),
        Layer.succeed(References.MinimumLogLevel, "All")
      ))))
    )
    const spans = watched.spans.map((span) => [span.name, span.attributes, span.status, span.links])
    const text = [shown(exit), shown(kept), ...watched.logs, ...watched.states.map(shown), ...spans.map(shown)].join(
      "\n"
    )
    // What our own values hold even for one who looks behind their printed form.
    const bare = inspect([exit, kept, watched.states], { depth: Infinity, customInspect: false })
    return { bare, exit, text, watched }
  })

const auth = AuthManager.AuthManager
const login = auth.use((manager) => manager.login(AuthStrategy.password({ handle: "ada", password })))
const iamFails = (method: string, reason: IamError.IamErrorReason | "defect") =>
  Effect.flatMap(Trouble, (trouble) => Ref.set(trouble.iam, { [method]: reason }))
const storageFails = (mode: "reads" | "writes" | "damaged" | "newer") =>
  Effect.flatMap(Trouble, (trouble) => Ref.set(trouble.storage, mode))
const expire = TestClock.setTime(Duration.toMillis("2 hours"))
const token = auth.use((manager) => manager.token)

const reasons: ReadonlyArray<IamError.IamErrorReason> = [
  new IamError.GrantDead({ detail: "invalid_grant" }),
  new IamError.CredentialsRefused({ detail: "invalid credentials" }),
  new IamError.SelectionRefused({ detail: "no such project" }),
  new IamError.Unavailable({ sent: "no", detail: "connection refused", retryAfter: Duration.hours(1) }),
  new IamError.Unavailable({ sent: "maybe", detail: "time-out" }),
  new IamError.Misconfigured({ detail: "invalid_client" }),
  new IamError.Malformed({ detail: "no token in it" }),
  new IamError.Unsupported({ detail: "no such route" })
]

type Scenario = Effect.Effect<
  object | string | void,
  AuthError.AuthError | IamError.GrantDead | HttpClientError.HttpClientError | HttpClientResponse.HttpClientResponse,
  Layer.Success<typeof program>
>

const scenarios: Array<readonly [string, Scenario]> = [
  [
    "a good login, a renewal and a logout",
    Effect.gen(function*() {
      yield* login
      yield* auth.use((manager) => manager.refreshUser)
      yield* expire
      yield* token
      yield* auth.use((manager) => manager.tokenFor({ project: "apollo" }))
      yield* auth.use((manager) => manager.logout)
      return yield* token
    })
  ],
  ["half a credential", auth.use((manager) => manager.login(AuthStrategy.password({ handle: "", password })))],
  ["nothing to log in with", auth.use((manager) => manager.login())],
  [
    "a dialect that breaks while renewing",
    Effect.andThen(login, Effect.andThen(iamFails("renew", "defect"), Effect.andThen(expire, token)))
  ],
  ["claims of a token that is no JWT", Effect.andThen(login, auth.use((manager) => manager.claims))],
  ["a storage that cannot be written at login", Effect.andThen(storageFails("writes"), login)],
  [
    "a storage that cannot be written at logout",
    Effect.gen(function*() {
      yield* login
      yield* storageFails("writes")
      return yield* auth.use((manager) => manager.logout)
    })
  ],
  [
    "a storage that cannot be written at a renewal",
    Effect.gen(function*() {
      yield* login
      yield* storageFails("writes")
      yield* expire
      yield* token
      return yield* auth.use((manager) => manager.refresh())
    })
  ],
  ["a storage that cannot be read", Effect.andThen(storageFails("reads"), token)],
  ["a damaged document", Effect.andThen(storageFails("damaged"), token)],
  ["a damaged document at login", Effect.andThen(storageFails("damaged"), auth.use((manager) => manager.login()))],
  ["a newer document", Effect.andThen(storageFails("newer"), login)],
  [
    "a lock that is held",
    Effect.gen(function*() {
      yield* login
      yield* Ref.set((yield* Trouble).lock, true)
      yield* Effect.ignore(auth.use((manager) => manager.logout))
      yield* expire
      return yield* token
    })
  ],
  [
    "a stored token that cannot be taken",
    Effect.gen(function*() {
      yield* iamFails("adopt", new IamError.CredentialsRefused({ detail: "the token expired" }))
      return yield* auth.use((manager) => manager.storeToken(secret("given")))
    })
  ],
  [
    "a token that is found invalid",
    Effect.gen(function*() {
      yield* iamFails("whoami", new IamError.CredentialsRefused({ detail: "invalid token" }))
      yield* Effect.log(yield* auth.use((manager) => manager.validate(secret("given"))))
      return yield* auth.use((manager) => manager.login(AuthStrategy.token(secret("given"))))
    })
  ],
  [
    "a token of the environment that is refused",
    Effect.gen(function*() {
      yield* iamFails("whoami", new IamError.CredentialsRefused({ detail: "invalid token" }))
      return yield* auth.use((manager) => manager.login()).pipe(
        Effect.provide(variables({ CANARY_TOKEN: `${canary}-environment` }))
      )
    })
  ],
  ...["login", "whoami", "renew", "revoke"].flatMap((method) =>
    reasons.map((reason): readonly [string, Scenario] => [
      `${method} fails: ${reason._tag} ${reason._tag === "Unavailable" ? reason.sent : ""}`,
      Effect.gen(function*() {
        if (method !== "login") yield* login
        yield* iamFails(method, reason)
        if (method === "login") return yield* login
        if (method === "whoami") return yield* auth.use((manager) => manager.refreshUser)
        if (method === "revoke") {
          const logout = yield* Effect.forkChild(auth.use((manager) => manager.logout))
          yield* TestClock.adjust("10 seconds")
          yield* Effect.log(yield* Fiber.join(logout))
          return yield* token
        }
        yield* TestClock.setTime(Duration.toMillis("56 minutes"))
        yield* token
        yield* expire
        return yield* auth.use((manager) => manager.refresh())
      })
    ])
  ),
  ...([
    ["text", canary],
    ["a newer version", { version: 2, token: canary, refresh_token: canary }],
    ["another host", { token: canary, refresh_token: canary, host: "https://other.example" }],
    ["no token", { refresh_token: canary }],
    ["a token that no header carries", { token: `${canary}\r\nx: y`, refresh_token: canary }],
    ["a token of the wrong type", { token: { value: canary }, refresh_token: [canary] }],
    ["a refresh token of the wrong type", { token: canary, refresh_token: { [canary]: canary } }],
    ["a version that is text", { version: canary, token: canary }],
    ["a token type that is no word", { token: canary, token_type: `${canary} ${canary}` }]
  ] as const).map(([name, document]): readonly [string, Scenario] => [
    `an import of ${name}`,
    auth.use((manager) => manager.import(document))
  ])
]

// A request holds the header that it sends in plain: only its printed form is free of it.
const requests: ReadonlyArray<readonly [string, Scenario]> = [
  [
    "an API that is down",
    Effect.gen(function*() {
      yield* login
      const client = yield* AuthHttpClient.make({ baseUrl: yield* nobody })
      return yield* client.get("/me")
    })
  ],
  [
    "an API that refuses",
    Effect.scoped(Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve(() => ({ status: 401 }))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const response = yield* client.get("/me")
      // the canary does go where it should
      assert.include(seen[0]?.authorization, canary)
      yield* Effect.log(response)
      return yield* Effect.fail(response)
    }))
  ]
]

describe("no secret is shown", () => {
  for (const [name, scenario] of [...scenarios, ...requests]) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const { bare, exit, text, watched } = yield* watch(scenario)
        assert.isTrue(Exit.isFailure(exit), "the scenario fails in the end")
        assert.isAbove(watched.spans.length, 0)
        assert.notInclude(text, canary)
        if (!requests.some(([request]) => request === name)) assert.notInclude(bare, canary)
      }))
  }

  it.effect("and the watch would see one, in a log, a span, an error and a state", () =>
    Effect.gen(function*() {
      const leaks: ReadonlyArray<Scenario> = [
        Effect.log(canary),
        Effect.logError("failed", Cause.fail(canary)),
        Effect.annotateCurrentSpan("token", canary),
        Effect.fail(new IamError.GrantDead({ detail: canary })),
        Effect.die(new Error(canary)),
        Effect.annotateLogs(Effect.log("x"), { canary }),
        Effect.andThen(login, auth.use((manager) => manager.import({ token: "x", account: "a", project: canary })))
      ]
      for (const leak of leaks) assert.include((yield* watch(leak)).text, canary)
      const { watched } = yield* watch(login)
      assert.deepStrictEqual(watched.states.map((state) => state._tag), ["SignedOut", "SignedIn"])
    }))
})
