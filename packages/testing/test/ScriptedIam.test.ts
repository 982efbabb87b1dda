import { IamClient, IamError, JwtCodec, Selection, Session, SessionKey } from "@effect-authn/core"
import * as IamClientSuite from "@effect-authn/testing/IamClientSuite"
import * as ScriptedIam from "@effect-authn/testing/ScriptedIam"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Fiber, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"

const credentials = (handle: string, password: Redacted.Redacted): IamClient.Credentials => ({
  _tag: "Password",
  handle,
  password
})

const harness: IamClientSuite.Harness<ScriptedIam.ScriptedIam> = {
  credentials: credentials("ada", ScriptedIam.password),
  handle: "ada",
  refused: [credentials("ada", Redacted.make("canary-41c9")), credentials("eve", Redacted.make("canary-09ab"))],
  whoami: "route",
  fail: (fault) =>
    ScriptedIam.ScriptedIam.use((iam) =>
      Effect.forEach(["login", "renew"] as const, (method) =>
        iam.failNext(method, {
          reason: new IamError.Unavailable({ sent: fault === "drop" ? "maybe" : "no", detail: fault })
        }), { discard: true })
    ),
  forget: ScriptedIam.ScriptedIam.use((iam) => iam.revokeAll),
  requests: ScriptedIam.ScriptedIam.use((iam) => Effect.map(iam.calls, (calls) => calls.length))
}

IamClientSuite.suite("scripted, refresh tokens", ScriptedIam.layer({ rotation: "strict" }), harness)
IamClientSuite.suite("scripted, exchange", ScriptedIam.layer({ grant: "ExchangeAccessToken" }), harness)

const signIn = Effect.fnUntraced(function*(handle = "ada", selection = Selection.none) {
  const iam = yield* IamClient.IamClient
  return sessionOf(yield* iam.login(credentials(handle, ScriptedIam.password), selection), selection)
})

const sessionOf = (issued: Session.TokenResponse, selection = Selection.none): Session.Session =>
  Session.Session.make({
    key: SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "scripted", account: "default" }),
    generation: 1,
    durable: true,
    strategy: "password",
    user: issued.user,
    grant: issued.grant,
    tokens: { [Selection.id(selection)]: issued.tokens },
    current: selection,
    dead: Option.none(),
    intent: Option.none()
  })

const renew = Effect.fnUntraced(function*(session: Session.Session) {
  const iam = yield* IamClient.IamClient
  return sessionOf(yield* iam.renew(session, session.current), session.current)
})

const reason = <A, R>(effect: Effect.Effect<A, IamError.IamError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const refreshToken = (session: Session.Session): string =>
  session.grant._tag === "RefreshToken" ? Redacted.value(session.grant.refreshToken) : ""

describe("ScriptedIam", () => {
  it.effect("tokens live as long as told, by Effect's clock; JWTs say so in their claims", () =>
    Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      yield* TestClock.setTime(5_000)
      const session = yield* signIn("ada", Selection.make({ project: "apollo" }))
      const tokens = yield* Effect.fromOption(Session.currentToken(session))
      assert.deepStrictEqual(Option.map(tokens.expiresAt, DateTime.toEpochMillis), Option.some(65_000))
      const { claims } = yield* Effect.fromResult(JwtCodec.decodeUnverified(Redacted.value(tokens.accessToken)))
      assert.deepInclude(claims, { iss: "https://iam.example", iat: 5, exp: 65, project: "apollo" })
      yield* TestClock.adjust("59 seconds")
      yield* iam.whoami(session)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* reason(iam.whoami(session)), "CredentialsRefused")
    }).pipe(Effect.provide(ScriptedIam.layer({ lifetime: "1 minute" }))))

  it.effect("two people, and a ledger that tells their logins and tokens apart", () =>
    Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      const scripted = yield* ScriptedIam.ScriptedIam
      const ada = yield* signIn("ada")
      const bob = yield* signIn("bob")
      assert.strictEqual((yield* iam.whoami(bob)).id, "01J0BOB")
      yield* renew(ada)
      assert.strictEqual(yield* reason(renew(ada)), "GrantDead")
      assert.deepStrictEqual(
        (yield* scripted.calls).map((
          { familyRevoked, issued, login, subject }
        ) => [subject, login, issued, familyRevoked]),
        [
          ["01J0ADA", 2, { accessToken: 1, refreshToken: 2 }, false],
          ["01J0BOB", 4, { accessToken: 3, refreshToken: 4 }, false],
          ["01J0BOB", 4, undefined, false],
          ["01J0ADA", 2, { accessToken: 5, refreshToken: 6 }, false],
          ["01J0ADA", 2, undefined, true]
        ]
      )
    }).pipe(Effect.provide(ScriptedIam.layer({ rotation: "strict" }))))

  it.effect("a grace answers a spent refresh token with the one that it was spent for", () =>
    Effect.gen(function*() {
      const before = yield* signIn()
      const after = yield* renew(before)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(refreshToken(yield* renew(before)), refreshToken(after))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* reason(renew(before)), "GrantDead")
    }).pipe(Effect.provide(ScriptedIam.layer({ rotation: "strict", grace: "10 seconds" }))))

  it.effect("opaque tokens, and tokens without an end", () =>
    Effect.gen(function*() {
      const tokens = yield* Effect.fromOption(Session.currentToken(yield* signIn()))
      assert.notInclude(Redacted.value(tokens.accessToken), ".")
      assert.isTrue(Option.isNone(tokens.expiresAt))
    }).pipe(Effect.provide(ScriptedIam.layer({ tokens: "opaque", lifetime: "Infinity" }))))

  it.effect("rotation none keeps the refresh token", () =>
    Effect.gen(function*() {
      const first = yield* signIn()
      assert.strictEqual(refreshToken(yield* renew(first)), refreshToken(first))
    }).pipe(Effect.provide(ScriptedIam.layer({ rotation: "none" }))))

  it.effect("rotation rotate refuses the spent one and spares its successor", () =>
    Effect.gen(function*() {
      const first = yield* signIn()
      const second = yield* renew(first)
      assert.strictEqual(yield* reason(renew(first)), "GrantDead")
      yield* renew(second)
    }).pipe(Effect.provide(ScriptedIam.layer({ rotation: "rotate" }))))

  it.effect("rotation strict revokes the family on reuse, and the calls tell which refresh token was presented", () =>
    Effect.gen(function*() {
      const script = yield* ScriptedIam.ScriptedIam
      const first = yield* signIn()
      const second = yield* renew(first)
      assert.strictEqual(yield* reason(renew(first)), "GrantDead")
      assert.strictEqual(yield* reason(renew(second)), "GrantDead")
      const calls = (yield* script.calls).filter(({ method }) => method === "renew")
      assert.deepStrictEqual(calls.map(({ outcome }) => outcome), ["answered", "GrantDead", "GrantDead"])
      assert.strictEqual(calls[0]!.refreshToken, calls[1]!.refreshToken)
      assert.isUndefined(calls[2]!.refreshToken)
      assert.strictEqual(yield* script.count("renew"), 3)
    }).pipe(Effect.provide(ScriptedIam.layer({ rotation: "strict" }))))

  it.effect("an exchange works while the token is good; a session without a grant does not renew", () =>
    Effect.gen(function*() {
      const first = yield* signIn()
      yield* renew(first)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* reason(renew(first)), "GrantDead")
      assert.strictEqual(yield* reason(renew(Session.update(first, { grant: { _tag: "None" } }))), "Unsupported")
    }).pipe(Effect.provide(ScriptedIam.layer({ grant: "ExchangeAccessToken" }))))

  it.effect("failures are played in order; with the answer lost the IAM has acted all the same", () =>
    Effect.gen(function*() {
      const script = yield* ScriptedIam.ScriptedIam
      const first = yield* signIn()
      const down = new IamError.Unavailable({ sent: "no", detail: "down" })
      yield* script.failNext("renew", { reason: down, times: 2 })
      yield* script.failNext("renew", {
        reason: new IamError.Unavailable({ sent: "maybe", detail: "reset" }),
        answerLost: true
      })
      assert.strictEqual(yield* reason(renew(first)), "Unavailable")
      assert.strictEqual(yield* reason(renew(first)), "Unavailable")
      assert.strictEqual(yield* reason(renew(first)), "Unavailable")
      assert.strictEqual(yield* reason(renew(first)), "GrantDead")
      const outcomes = (yield* script.calls).map(({ outcome }) => outcome)
      assert.deepStrictEqual(outcomes, ["answered", "Unavailable", "Unavailable", "lost", "GrantDead"])
    }).pipe(Effect.provide(ScriptedIam.layer())))

  it.effect("the IAM acts when a call comes in and answers after its latency; who gave up has lost the answer", () =>
    Effect.gen(function*() {
      const script = yield* ScriptedIam.ScriptedIam
      const first = yield* signIn()
      yield* script.set({ latency: Duration.seconds(10) })
      const renewal = yield* Effect.forkChild(renew(first), { startImmediately: true })
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(renewal.pollUnsafe())
      yield* Fiber.interrupt(renewal)
      yield* script.set({ latency: Duration.zero })
      assert.strictEqual(yield* reason(renew(first)), "GrantDead")
      const [, lost, late] = yield* script.calls
      assert.deepStrictEqual([lost!.at, lost!.answeredAt, late!.at, late!.answeredAt], [0, undefined, 9_000, 9_000])
    }).pipe(Effect.provide(ScriptedIam.layer())))

  it.effect("issue, revokeAll and reset", () =>
    Effect.gen(function*() {
      const iam = yield* IamClient.IamClient
      const script = yield* ScriptedIam.ScriptedIam
      const adopted = sessionOf(yield* iam.adopt(yield* script.issue))
      yield* iam.whoami(adopted)
      yield* script.revokeAll
      assert.strictEqual(yield* reason(iam.whoami(adopted)), "CredentialsRefused")
      yield* script.set({ lifetime: Duration.seconds(1) })
      yield* script.failNext("login", { reason: new IamError.Misconfigured({ detail: "x" }) })
      yield* script.reset
      assert.deepStrictEqual(yield* script.calls, [])
      const tokens = yield* Effect.fromOption(Session.currentToken(yield* signIn()))
      assert.deepStrictEqual(Option.map(tokens.expiresAt, DateTime.toEpochMillis), Option.some(3_600_000))
    }).pipe(Effect.provide(ScriptedIam.layer())))
})
