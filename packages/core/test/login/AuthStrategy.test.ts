import {
  AuthError,
  AuthManager,
  AuthStrategy,
  IamClient,
  IamError,
  Selection,
  Session,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Duration, Effect, Layer, Option, Redacted, Ref } from "effect"
import { TestClock } from "effect/testing"
import { altered, Faults, leave, passwordLogin, setup, sibling, variables } from "../fixtures.ts"

const iam = ScriptedIam.ScriptedIam
const failNext = (method: ScriptedIam.Method, reason: IamError.IamErrorReason) =>
  iam.use((scripted) => scripted.failNext(method, { reason }))
const refused = new IamError.CredentialsRefused({ detail: "invalid token" })
const down = new IamError.Unavailable({ sent: "no", detail: "connection refused" })

/** What the manager would hand to a strategy. */
const obtain = <R, E extends AuthError.AuthError>(
  strategy: AuthStrategy.AuthStrategy<R, E>,
  selection?: Selection.Input
) =>
  Effect.gen(function*() {
    const { key } = yield* AuthManager.AuthManager
    return yield* strategy.obtain({
      key,
      selection: Selection.make(selection ?? {}),
      iam: yield* IamClient.IamClient,
      storage: yield* TokenStorage.TokenStorage
    })
  })

const current = (session: Session.Session) =>
  Redacted.value(Option.getOrThrow(Session.currentToken(session)).accessToken)

/** An IAM that answers a login without saying whose it is. */
const anonymous = altered((scripted) => ({
  login: (credentials, selection) =>
    Effect.map(scripted.login(credentials, selection), (issued) => ({ ...issued, user: Option.none() }))
}))

describe("password", () => {
  it.effect("writes nothing: that is the manager's part", () =>
    Effect.gen(function*() {
      const session = yield* obtain(passwordLogin)
      assert.strictEqual(session.generation, 0)
      assert.isTrue(session.durable)
      assert.strictEqual(session.grant._tag, "RefreshToken")
      assert.strictEqual(yield* Ref.get((yield* Faults).writes), 0)
    }).pipe(Effect.provide(setup())))

  it.effect("narrows the login's selection by its organization and project", () =>
    Effect.gen(function*() {
      const strategy = (scope: { readonly organization?: string; readonly project?: string }) =>
        AuthStrategy.password({ handle: "ada", password: ScriptedIam.password, ...scope })
      const ids = yield* Effect.forEach([
        obtain(strategy({ organization: "acme", project: "apollo" })),
        obtain(strategy({ project: "apollo" }), { organization: "acme", scope: "read" }),
        obtain(strategy({}), { organization: "acme" }),
        obtain(strategy({ organization: "other" }), { organization: "acme" })
      ], Effect.map((session) => Selection.id(session.current)))
      assert.deepStrictEqual(ids, [
        "organization=acme&project=apollo",
        "organization=acme&project=apollo&scope=read",
        "organization=acme",
        "organization=other"
      ])
    }).pipe(Effect.provide(setup())))

  it.effect("of half a credential is refused before anybody is asked", () =>
    Effect.gen(function*() {
      for (
        const [handle, password, missing] of [["", "x", "handle"], ["ada", "", "password"], ["", "", "handle"]] as const
      ) {
        const error = yield* Effect.flip(obtain(AuthStrategy.password({ handle, password: Redacted.make(password) })))
        assert.strictEqual(error._tag, "InvalidCredentials")
        assert.include(error.message, `the ${missing} is empty`)
      }
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
    }).pipe(Effect.provide(setup())))

  it.effect("is sent once, whatever the IAM answers", () =>
    Effect.gen(function*() {
      for (const reason of [down, new IamError.Unavailable({ sent: "maybe", detail: "time-out" })]) {
        yield* iam.use((scripted) => scripted.reset)
        yield* failNext("login", reason)
        const error = yield* Effect.flip(obtain(passwordLogin))
        assert.strictEqual(error._tag, "IamError")
        assert.include(error.message, "https://iam.example")
        assert.strictEqual(yield* iam.use((scripted) => scripted.count("login")), 1)
      }
    }).pipe(Effect.provide(setup())))

  it.effect("asks whose session it is when the answer does not say", () =>
    Effect.gen(function*() {
      const session = yield* obtain(passwordLogin)
      assert.deepStrictEqual(Option.flatMap(session.user, (user) => user.handle), Option.some("ada"))
      assert.strictEqual(yield* iam.use((scripted) => scripted.count("whoami")), 1)
    }).pipe(Effect.provide(anonymous)))

  it.effect("keeps the session whose user it could not learn", () =>
    Effect.gen(function*() {
      for (const reason of [down, refused, new IamError.Unsupported({ detail: "no such route" })]) {
        yield* failNext("whoami", reason)
        assert.isTrue(Option.isNone((yield* obtain(passwordLogin)).user))
      }
    }).pipe(Effect.provide(anonymous)))
})

describe("token", () => {
  it.effect("is checked by asking whose it is, and kept as it was given", () =>
    Effect.gen(function*() {
      const given = yield* iam.use((scripted) => scripted.issue)
      const session = yield* obtain(AuthStrategy.token(given), { project: "apollo" })
      assert.strictEqual(current(session), Redacted.value(given))
      assert.strictEqual(session.strategy, "token")
      assert.isTrue(session.durable)
      assert.deepStrictEqual(Option.flatMap(session.user, (user) => user.handle), Option.some("ada"))
      assert.deepStrictEqual((yield* iam.use((scripted) => scripted.calls)).map((call) => call.method), ["whoami"])
    }).pipe(Effect.provide(setup())))

  it.effect("that the IAM does not know, or that can be seen to be none, is refused", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      for (const text of ["unknown", "a b", "a\r\nb", "", "  "]) {
        const error = yield* Effect.flip(auth.login(AuthStrategy.token(Redacted.make(text))))
        assert.strictEqual(error._tag, "InvalidCredentials", JSON.stringify(text))
      }
      assert.strictEqual(yield* iam.use((scripted) => scripted.count("whoami")), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("cannot be judged while the IAM is down", () =>
    Effect.gen(function*() {
      yield* failNext("whoami", down)
      const error = yield* Effect.flip(obtain(AuthStrategy.token(yield* iam.use((scripted) => scripted.issue))))
      assert.strictEqual(error._tag, "IamError")
    }).pipe(Effect.provide(setup())))

  it.effect("goes without a user where the IAM has no way to tell", () =>
    Effect.gen(function*() {
      yield* failNext("whoami", new IamError.Unsupported({ detail: "no such route" }))
      const session = yield* obtain(AuthStrategy.token(yield* iam.use((scripted) => scripted.issue)))
      assert.isTrue(Option.isNone(session.user))
    }).pipe(Effect.provide(setup())))
})

describe("stored", () => {
  it.effect("is the session of an earlier login, as it is", () =>
    Effect.gen(function*() {
      const before = yield* Effect.flatMap(sibling, (other) => other.login(passwordLogin))
      const session = yield* obtain(AuthStrategy.stored())
      assert.strictEqual(TokenStorage.encode(session), TokenStorage.encode(before))
      assert.strictEqual((yield* iam.use((scripted) => scripted.calls)).length, 1)
    }).pipe(Effect.provide(setup())))

  it.effect("is nothing where nothing is stored, or nothing that can still produce a token", () =>
    Effect.gen(function*() {
      const reasonOf = Effect.map(Effect.flip(obtain(AuthStrategy.stored())), (error) => {
        assert.strictEqual(error._tag, "NoCredentials")
        return error._tag === "NoCredentials" ? error.tried[0]?.reason : undefined
      })
      assert.strictEqual(yield* reasonOf, "no session in memory")
      const session = yield* obtain(passwordLogin)
      const exchangeable = yield* leave(Session.update(session, { grant: { _tag: "ExchangeAccessToken" } }))
      assert.strictEqual((yield* obtain(AuthStrategy.stored())).generation, exchangeable.generation)
      yield* TestClock.setTime(Duration.toMillis("1 hour"))
      assert.match(
        (yield* reasonOf) ?? "",
        /^the session in memory ended: its token expired at 1970-01-01T01:00:00\.000Z/
      )
      yield* leave(Session.update(session, { grant: { _tag: "None" } }))
      assert.include(yield* reasonOf, "nothing can renew it")
      yield* leave(session)
      assert.strictEqual((yield* obtain(AuthStrategy.stored())).grant._tag, "RefreshToken")
    }).pipe(Effect.provide(setup())))

  it.effect("is nothing where the document is damaged, and an error where it is newer or cannot be read", () =>
    Effect.gen(function*() {
      const { key } = yield* AuthManager.AuthManager
      const failing = (reason: TokenStorageError.TokenStorageError["reason"]) =>
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          return yield* Effect.flip(
            AuthStrategy.stored().obtain({
              key,
              selection: Selection.none,
              iam: yield* IamClient.IamClient,
              storage: {
                ...storage,
                get: () =>
                  Effect.fail(new TokenStorageError.TokenStorageError({ storage: "files", method: "get", reason }))
              }
            })
          )
        })
      const corrupt = yield* failing(
        new TokenStorageError.StorageCorrupt({ detail: "a.json is not a session document" })
      )
      assert.strictEqual(corrupt._tag, "NoCredentials")
      assert.include(corrupt.message, "a.json is not a session document")
      const newer = yield* failing(
        new TokenStorageError.StorageNewerVersion({ found: 2, supported: 1, place: "a.json" })
      )
      assert.strictEqual(newer._tag, "TokenStorageError")
      const unreadable = yield* failing(new TokenStorageError.StorageUnavailable({ detail: "permission denied" }))
      assert.strictEqual(unreadable._tag, "TokenStorageError")
    }).pipe(Effect.provide(setup())))
})

describe("environment", () => {
  const names = { environment: ["FIRST_TOKEN", "SECOND_TOKEN"] }

  it.effect("takes the first variable that is set; what is blank is not set", () =>
    Effect.gen(function*() {
      const one = yield* iam.use((scripted) => scripted.issue)
      const two = yield* iam.use((scripted) => scripted.issue)
      const from = (env: Record<string, string>) =>
        Effect.map(obtain(AuthStrategy.environment()), current).pipe(Effect.provide(variables(env)))
      const [first, second] = [Redacted.value(one), Redacted.value(two)]
      assert.strictEqual(yield* from({ FIRST_TOKEN: first, SECOND_TOKEN: second }), first)
      assert.strictEqual(yield* from({ SECOND_TOKEN: second }), second)
      assert.strictEqual(yield* from({ FIRST_TOKEN: "", SECOND_TOKEN: second }), second)
      assert.strictEqual(yield* from({ FIRST_TOKEN: " \n", SECOND_TOKEN: second }), second)
    }).pipe(Effect.provide(setup(names))))

  it.effect("reads no variable but those that the dialect names", () =>
    Effect.gen(function*() {
      const given = Redacted.value(yield* iam.use((scripted) => scripted.issue))
      const env = variables({ access_token: given, ACCESS_TOKEN: given, TOKEN: given, DATALAYER_ACCESS_TOKEN: given })
      const error = yield* Effect.flip(Effect.provide(obtain(AuthStrategy.environment()), env))
      assert.strictEqual(error._tag, "NoCredentials")
      assert.include(error.message, "environment: FIRST_TOKEN and SECOND_TOKEN are not set")
    }).pipe(Effect.provide(setup(names))))

  it.effect("has nothing to try where the dialect names none", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(obtain(AuthStrategy.environment()))
      assert.include(error.message, "environment: this IAM names no variables")
    }).pipe(Effect.provide(setup({ environment: [] }))))

  it.effect("makes a session that is not stored and that nothing renews, whatever the dialect could do", () =>
    Effect.gen(function*() {
      const given = yield* iam.use((scripted) => scripted.issue)
      const session = yield* Effect.provide(
        obtain(AuthStrategy.environment()),
        variables({ FIRST_TOKEN: Redacted.value(given) })
      )
      assert.isFalse(session.durable)
      assert.strictEqual(session.grant._tag, "None")
      assert.strictEqual(session.strategy, "environment")
    }).pipe(Effect.provide(setup({ ...names, grant: "ExchangeAccessToken" }))))

  it.effect("names the variable whose token is refused, and does not go on to the next", () =>
    Effect.gen(function*() {
      const good = Redacted.value(yield* iam.use((scripted) => scripted.issue))
      const error = yield* Effect.flip(Effect.provide(
        obtain(AuthStrategy.environment()),
        variables({ FIRST_TOKEN: "bad", SECOND_TOKEN: good })
      ))
      assert.strictEqual(error._tag, "InvalidCredentials")
      assert.include(error.message, "the token in FIRST_TOKEN: invalid token")
    }).pipe(Effect.provide(setup(names))))

  it.effect("tells an environment that cannot be read", () =>
    Effect.gen(function*() {
      const broken = ConfigProvider.make(() => Effect.fail(new ConfigProvider.SourceError({ message: "no access" })))
      const error = yield* Effect.flip(Effect.provide(obtain(AuthStrategy.environment()), ConfigProvider.layer(broken)))
      assert.strictEqual(error._tag, "InvalidCredentials")
      assert.include(error.message, "FIRST_TOKEN cannot be read")
    }).pipe(Effect.provide(setup(names))))
})

describe("chain", () => {
  const way = (name: string, isThere: () => boolean) => {
    let asked = 0
    const strategy: AuthStrategy.AuthStrategy = {
      name,
      obtain: (context) =>
        Effect.suspend(() => {
          asked += 1
          return isThere()
            ? passwordLogin.obtain(context)
            : Effect.fail(AuthStrategy.noCredentials(context, name, `no ${name} here`))
        })
    }
    return { strategy, asked: () => asked }
  }

  it.effect("with nothing there asks each way once, sends nothing, and says why of each", () =>
    Effect.gen(function*() {
      const [cloud, people] = [way("cloud", () => false), way("people", () => false)]
      const error = yield* Effect.flip(
        obtain(AuthStrategy.chain({ unattended: [cloud.strategy], people: people.strategy }))
      )
      assert.deepStrictEqual(
        error._tag === "NoCredentials" ? error.tried.map(({ strategy }) => strategy) : error._tag,
        ["environment", "stored", "cloud", "people"]
      )
      assert.deepStrictEqual([cloud.asked(), people.asked()], [1, 1])
      assert.deepStrictEqual(yield* iam.use((scripted) => scripted.calls), [])
      assert.strictEqual(yield* Ref.get((yield* Faults).writes), 0)
    }).pipe(Effect.provide(setup())))

  it.effect("asks first what signed in last, of each IAM for itself, and the others again where it has nothing", () =>
    Effect.gen(function*() {
      let isThere = true
      const [first, second, third] = [way("first", () => false), way("second", () => isThere), way("third", () => true)]
      const login = obtain(
        AuthStrategy.chain({ unattended: [first.strategy, second.strategy, third.strategy] })
      )
      const asked = () => [first.asked(), second.asked(), third.asked()]
      yield* login
      assert.deepStrictEqual(asked(), [1, 1, 0])
      yield* login
      assert.deepStrictEqual(asked(), [1, 2, 0])
      yield* Effect.provide(login, Layer.fresh(setup()))
      assert.deepStrictEqual(asked(), [2, 3, 0])
      isThere = false
      yield* login
      assert.deepStrictEqual(asked(), [3, 4, 1])
      yield* login
      assert.deepStrictEqual(asked(), [3, 4, 2])
    }).pipe(Effect.provide(setup())))
})

describe("firstOf", () => {
  const failing = (name: string, error: (context: AuthStrategy.StrategyContext) => AuthError.AuthError) => ({
    name,
    obtain: (context: AuthStrategy.StrategyContext) => Effect.fail(error(context))
  })
  const nothing = (name: string) =>
    failing(name, (context) => AuthStrategy.noCredentials(context, name, `no ${name} here`))

  it.effect("moves on only where there is nothing to try", () =>
    Effect.gen(function*() {
      const session = yield* obtain(AuthStrategy.firstOf(nothing("cloud"), passwordLogin, nothing("never")))
      assert.strictEqual(session.strategy, "password")
      const strict = failing("strict", ({ key }) => new AuthError.InvalidCredentials({ key, detail: "wrong" }))
      const error = yield* Effect.flip(obtain(AuthStrategy.firstOf(strict, passwordLogin)))
      assert.strictEqual(error._tag, "InvalidCredentials")
      yield* failNext("login", down)
      const unavailable = yield* Effect.flip(obtain(AuthStrategy.firstOf(passwordLogin, passwordLogin)))
      assert.strictEqual(unavailable._tag, "IamError")
      assert.strictEqual(yield* iam.use((scripted) => scripted.count("login")), 2)
    }).pipe(Effect.provide(setup())))

  it.effect("with something to do between two says what was skipped and what is next, and fails with it", () =>
    Effect.gen(function*() {
      const said: Array<string> = []
      const saying = AuthStrategy.firstOfWith({
        onSkipped: ({ tried }, next) =>
          Effect.sync(() => {
            said.push(...tried.map(({ reason }) => `${reason}: ${next.name}`))
          })
      })
      yield* obtain(saying(nothing("file"), nothing("cloud"), passwordLogin, nothing("never")))
      assert.deepStrictEqual(said, ["no file here: cloud", "no cloud here: password"])
      const stopped = AuthStrategy.firstOfWith({
        onSkipped: ({ key }) => Effect.fail(new AuthError.NotAuthenticated({ key }))
      })
      const error = yield* Effect.flip(obtain(stopped(nothing("file"), passwordLogin)))
      assert.strictEqual(error._tag, "NotAuthenticated")
    }).pipe(Effect.provide(setup())))

  it.effect("lists each strategy with its reason when none has anything, also nested ones", () =>
    Effect.gen(function*() {
      const strategy = AuthStrategy.firstOf(
        nothing("cloud"),
        AuthStrategy.firstOf(nothing("file"), AuthStrategy.stored())
      )
      assert.strictEqual(strategy.name, "cloud, file, stored")
      const error = yield* Effect.flip(obtain(strategy))
      assert.deepStrictEqual(error._tag === "NoCredentials" ? error.tried : [], [
        { strategy: "cloud", reason: "no cloud here" },
        { strategy: "file", reason: "no file here" },
        { strategy: "stored", reason: "no session in memory" }
      ])
      assert.include(error.message, "\n  cloud: no cloud here\n  file: no file here\n  stored: no session in memory\n")
    }).pipe(Effect.provide(setup())))
})

describe("a program's own strategy", () => {
  class Vault extends Context.Service<Vault, { readonly token: Effect.Effect<Redacted.Redacted> }>()(
    "@effect-authn/core/test/login/AuthStrategy.test/Vault"
  ) {}

  const fromVault: AuthStrategy.AuthStrategy<Vault> = {
    name: "vault",
    obtain: (context) =>
      Effect.flatMap(
        Vault,
        (vault) => Effect.flatMap(vault.token, (given) => AuthStrategy.token(given).obtain(context))
      )
  }

  it.effect("is as good as ours, and needs its service at compile time", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const scripted = yield* ScriptedIam.ScriptedIam
      const login = auth.login(AuthStrategy.firstOf(fromVault, passwordLogin))
      const isVaultNeeded: Vault extends Effect.Services<typeof login> ? true : false = true
      assert.isTrue(isVaultNeeded)
      const session = yield* Effect.provideService(login, Vault, { token: scripted.issue })
      assert.strictEqual(session.strategy, "token")
      assert.isTrue(yield* auth.isAuthenticated)
    }).pipe(Effect.provide(setup())))

  it.effect("whose credentials the IAM refuses fails as ours do, and ends a combination", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const own: AuthStrategy.AuthStrategy = {
        name: "own",
        obtain: ({ iam }) => Effect.fail(new IamError.IamError({ issuer: iam.issuer, method: "own", reason: refused }))
      }
      for (const strategy of [own, AuthStrategy.firstOf(own, passwordLogin)]) {
        const error = yield* Effect.flip(auth.login(strategy))
        assert.strictEqual(error._tag, "InvalidCredentials")
        assert.include(error.message, refused.detail)
      }
    }).pipe(Effect.provide(setup())))

  it.effect("may read its own configuration", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const configured: AuthStrategy.AuthStrategy = {
        name: "configured",
        obtain: (context) =>
          Effect.matchEffect(Config.Redacted("MY_PASSWORD"), {
            onFailure: () => Effect.fail(AuthStrategy.noCredentials(context, "configured", "MY_PASSWORD is not set")),
            onSuccess: (password) => AuthStrategy.password({ handle: "ada", password }).obtain(context)
          })
      }
      const env = variables({ MY_PASSWORD: Redacted.value(ScriptedIam.password) })
      assert.include((yield* Effect.flip(auth.login(configured))).message, "MY_PASSWORD is not set")
      assert.strictEqual((yield* Effect.provide(auth.login(configured), env)).strategy, "password")
    }).pipe(Effect.provide(setup())))
})
