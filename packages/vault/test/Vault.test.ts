import { DueSessions, IamClient, Selection, Session, SessionKey, TokenSet, TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { RestPolicy, Sweeper, Vault } from "@effect-authn/vault"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, type Duration, Effect, Exit, Layer, Option, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"

const issuers = ["https://one.example", "https://two.example"] as const

const keyOf = (issuer: string, account: string) => SessionKey.SessionKey.make({ issuer, clientId: "service", account })

/** Two IAMs and a storage that processes share; each vault that is built is a process. */
const world = Effect.gen(function*() {
  const iams = yield* Effect.forEach(
    issuers,
    (issuer) => Layer.build(ScriptedIam.layer({ issuer, clientId: "service", rotation: "strict", lifetime: "1 hour" }))
  )
  const storage = yield* Layer.build(
    Layer.provide(TokenStorage.layerMemory, RestPolicy.layer({ renewIdle: "6 hours", spread: 0 }))
  )
  const providers = iams.map((iam) => Layer.succeed(IamClient.IamClient, Context.get(iam, IamClient.IamClient)))
  const process = (options?: { readonly keepOpen?: Duration.Input; readonly maxOpen?: number }) =>
    Effect.map(
      Layer.build(Layer.fresh(Layer.provide(Vault.layer({ providers, ...options }), Layer.succeedContext(storage)))),
      (built) => Context.get(built, Vault.Vault)
    )
  const [one, two] = iams.map((iam) => Context.get(iam, ScriptedIam.ScriptedIam))
  /** What an IAM issues to a person who signs in. */
  const issued = (index: number) =>
    Effect.flatMap(
      Effect.succeed(Context.get(iams[index]!, IamClient.IamClient)),
      (iam) =>
        iam.login(
          { _tag: "Password", handle: "ada", password: ScriptedIam.password },
          Selection.none
        )
    )
  const due = Context.get(storage, DueSessions.DueSessions)
  return { process, one: one!, two: two!, issued, due, storage }
})

describe("a vault", () => {
  it.effect("keeps sessions of several IAMs apart, and any process serves them", () =>
    Effect.gen(function*() {
      const { issued, one, process, two } = yield* world
      const here = yield* process()
      const there = yield* process()
      for (const [index, issuer] of issuers.entries()) yield* here.put(keyOf(issuer, "ada"), yield* issued(index))
      const tokens = yield* Effect.forEach(issuers, (issuer) => there.token(keyOf(issuer, "ada")))
      assert.lengthOf(new Set(tokens.map(({ accessToken }) => Redacted.value(accessToken))), 2)

      yield* TestClock.adjust("61 minutes")
      yield* Effect.forEach([here, there, here, there], (vault) => vault.token(keyOf(issuers[0], "ada")), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual([yield* one.count("renew"), yield* two.count("renew")], [1, 0])
      const keys = yield* Stream.runCollect(here.sessions)
      assert.sameMembers(Array.from(keys, ({ issuer }) => issuer), [...issuers])
    }))

  it.effect("says which IAM it does not know", () =>
    Effect.gen(function*() {
      const { process } = yield* world
      const vault = yield* process()
      const error = yield* Effect.flip(vault.token(keyOf("https://three.example", "ada")))
      assert.strictEqual(error._tag, "ProviderUnknown")
      assert.include(error.message, "https://three.example")
    }))

  it.effect("refuses a table in which an IAM and client stand twice", () =>
    Effect.gen(function*() {
      const { storage } = yield* world
      const provider = ScriptedIam.layer({ issuer: issuers[0], clientId: "service" })
      const vault = Vault.layer({ providers: [provider, Layer.fresh(provider)] })
      const exit = yield* Effect.exit(Layer.build(Layer.provide(vault, Layer.succeedContext(storage))))
      assert.include(`${exit}`, `${issuers[0]} with the client service twice`)
    }))

  it.effect("lets go of what nobody asks for, and of the oldest above its limit", () =>
    Effect.gen(function*() {
      const { issued, process } = yield* world
      const vault = yield* process({ keepOpen: "5 minutes", maxOpen: 3 })
      for (const account of ["a", "b", "c", "d", "e"]) {
        yield* vault.put(keyOf(issuers[0], account), yield* issued(0))
        yield* TestClock.adjust("1 second")
      }
      assert.strictEqual((yield* vault.health).open, 3)
      yield* TestClock.adjust("7 minutes")
      assert.strictEqual((yield* vault.health).open, 0)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(vault.token(keyOf(issuers[0], "a")))))
      assert.strictEqual((yield* vault.health).open, 1)
    }))

  it.effect("revokes a session, and nobody gets a token of it again", () =>
    Effect.gen(function*() {
      const { issued, one, process } = yield* world
      const vault = yield* process()
      const key = keyOf(issuers[0], "ada")
      yield* vault.put(key, yield* issued(0))
      yield* vault.revoke(key)
      assert.strictEqual(yield* one.count("revoke"), 1)
      assert.strictEqual((yield* Effect.flip((yield* process()).token(key)))._tag, "NotAuthenticated")
    }))
})

describe("a list of a vault's sessions", () => {
  it.effect("comes in pages, each session once, and tells how it is", () =>
    Effect.gen(function*() {
      const { issued, one, process } = yield* world
      const vault = yield* process()
      const accounts = ["a", "b", "c", "d", "e"]
      for (const account of accounts) yield* vault.put(keyOf(issuers[0], account), yield* issued(0))
      yield* vault.revoke(keyOf(issuers[0], "c"))
      const summaries: Array<Vault.Summary> = []
      let after: string | undefined = ""
      for (let pages = 0; after !== undefined && pages < 10; pages++) {
        const page: Vault.Page = yield* vault.page({ after, limit: 2 })
        assert.isAtMost(page.sessions.length, 2)
        summaries.push(...page.sessions)
        after = Option.getOrUndefined(page.next)
      }
      assert.sameMembers(summaries.map(({ key }) => key.account), ["a", "b", "d", "e"])
      assert.isTrue(summaries.every(({ expiresAt, state }) => state === "alive" && Option.isSome(expiresAt)))

      yield* one.revokeAll
      yield* TestClock.adjust("61 minutes")
      yield* Effect.flip(vault.token(keyOf(issuers[0], "a")))
      const { next, sessions } = yield* vault.page()
      assert.isTrue(Option.isNone(next))
      const ended = sessions.filter(({ state }) => state === "ended")
      assert.deepStrictEqual(ended.map(({ key }) => key.account), ["a"])
      assert.isTrue(Option.isSome(ended[0]!.detail))
    }))
})

describe("a token that an API refused", () => {
  it.effect("is renewed once, whoever refuses it and wherever", () =>
    Effect.gen(function*() {
      const { issued, one, process } = yield* world
      const [here, there] = [yield* process(), yield* process()]
      const key = keyOf(issuers[0], "ada")
      yield* here.put(key, yield* issued(0))
      const bearer = yield* here.bearer(key)
      const same = yield* there.bearer(key)
      const made = yield* Effect.forEach(
        [here.rejected(key, bearer), here.rejected(key, bearer), there.rejected(key, same), there.rejected(key, same)],
        (effect) => effect,
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* one.count("renew"), 1)
      assert.lengthOf(new Set(made.map(({ tokens }) => Redacted.value(tokens.accessToken))), 1)
    }))
})

describe("a sweeper", () => {
  it.effect("renews what is due at rest once, however many processes sweep, and opens nothing", () =>
    Effect.gen(function*() {
      const { due, issued, one, process } = yield* world
      const vaults = [yield* process(), yield* process(), yield* process()]
      for (let index = 0; index < 20; index++) {
        yield* vaults[0]!.put(keyOf(issuers[0], `person ${index}`), yield* issued(0))
      }
      yield* TestClock.adjust("5 hours")
      assert.strictEqual((yield* due.backlog).due, 0)
      yield* TestClock.adjust("2 hours")
      assert.strictEqual((yield* vaults[0]!.health).due, 20)
      const swept = yield* Effect.forEach(vaults, (vault) =>
        Sweeper.sweep({ batch: 10 }).pipe(
          Effect.provideService(Vault.Vault, vault),
          Effect.provideService(DueSessions.DueSessions, due)
        ), { concurrency: "unbounded" })
      assert.deepStrictEqual(swept.toSorted((one, other) => one - other), [0, 10, 10])
      assert.strictEqual(yield* one.count("renew"), 20)
      const { due: left, open } = yield* vaults[0]!.health
      assert.deepStrictEqual([left, open], [0, 0])
    }))

  it.effect("goes on by itself, as a layer", () =>
    Effect.gen(function*() {
      const { due, issued, one, process } = yield* world
      const vault = yield* process()
      yield* vault.put(keyOf(issuers[0], "ada"), yield* issued(0))
      yield* Layer.build(
        Sweeper.layer({ rest: "1 minute" }).pipe(
          Layer.provide([Layer.succeed(Vault.Vault, vault), Layer.succeed(DueSessions.DueSessions, due)])
        )
      )
      yield* TestClock.adjust("370 minutes")
      assert.strictEqual(yield* one.count("renew"), 1)
      yield* TestClock.adjust("370 minutes")
      assert.strictEqual(yield* one.count("renew"), 2)
    }))
})

describe("RestPolicy", () => {
  const at = DateTime.makeUnsafe("2026-01-01T00:00:00Z")
  const start = DateTime.toEpochMillis(at)
  const sessionOf = (fields: Partial<Session.Session> = {}) =>
    Session.update(
      Session.fromResponse(keyOf(issuers[0], "ada"), {
        tokens: TokenSet.TokenSet.make({
          accessToken: Redacted.make("at"),
          tokenType: "Bearer",
          issuedAt: at,
          expiresAt: Option.some(DateTime.add(at, { hours: 1 })),
          idToken: Option.none(),
          scope: Option.none()
        }),
        grant: Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make("rt") }),
        user: Option.none()
      }, { strategy: "vault", selection: Selection.none }),
      fields
    )
  const grant = (fields: { readonly expiresAt?: DateTime.Utc }) => ({
    grant: Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make("rt"), ...fields })
  })
  const dueAt = RestPolicy.dueAt({ renewIdle: "7 days", margin: "1 day", lease: "45 seconds", spread: 0 })
  const days = (count: number) => Option.some(start + count * 86_400_000)

  it("follows the refresh token, not the access token", () => {
    assert.deepStrictEqual(dueAt(sessionOf()), days(7))
    assert.deepStrictEqual(dueAt(sessionOf(grant({ expiresAt: DateTime.add(at, { days: 3 }) }))), days(2))
    // one that lives shorter than the margin is not due as soon as it comes
    assert.deepStrictEqual(dueAt(sessionOf(grant({ expiresAt: DateTime.add(at, { hours: 12 }) }))), days(0.25))
    assert.deepStrictEqual(
      dueAt(sessionOf(grant({ expiresAt: DateTime.add(at, { seconds: 4 }) }))),
      Option.some(start + 60_000)
    )
  })

  it("is never for what has ended, and for what renews itself", () => {
    const dead = Option.some(Session.Tombstone.make({ at, cause: "revoked", answerLost: false }))
    assert.isTrue(Option.isNone(dueAt(sessionOf({ dead }))))
    assert.isTrue(Option.isNone(dueAt(sessionOf({ grant: Session.Grant.cases.Reissue.make({}) }))))
    assert.isTrue(Option.isNone(dueAt(sessionOf({ grant: Session.Grant.cases.None.make({}) }))))
    assert.isTrue(Option.isNone(dueAt(Session.signedOut(keyOf(issuers[0], "ada"), 5))))
  })

  it("waits for a renewal that was begun until its lease and the access token are over", () => {
    const intent = (minutes: number) =>
      Option.some(Session.Intent.make({
        at: DateTime.add(at, { minutes }),
        selection: Selection.none,
        holder: "a process"
      }))
    assert.deepStrictEqual(dueAt(sessionOf({ intent: intent(5) })), Option.some(start + 3_600_000))
    assert.deepStrictEqual(dueAt(sessionOf({ intent: intent(90) })), Option.some(start + 5_400_000 + 45_000))
    const graceful = (grace: Duration.Input) =>
      RestPolicy.dueAt({ lease: "15 seconds", reuseGrace: (issuer) => issuer === issuers[0] ? grace : 0 })
    assert.deepStrictEqual(
      graceful("30 seconds")(sessionOf({ intent: intent(5) })),
      Option.some(start + 300_000 + 15_000)
    )
    assert.deepStrictEqual(graceful("10 seconds")(sessionOf({ intent: intent(5) })), Option.some(start + 3_600_000))
  })

  it("spreads what was written together, each session to the same place each time", () => {
    const spread = RestPolicy.dueAt({ renewIdle: "10 days", spread: 0.2 })
    const times = Array.from({ length: 200 }, (_, index) => {
      const session = Session.update(sessionOf(), {})
      const named = Session.Session.make({ ...session, key: keyOf(issuers[0], `person ${index}`) })
      assert.deepStrictEqual(spread(named), spread(named))
      return Option.getOrThrow(spread(named)) - start
    })
    assert.isAtLeast(Math.min(...times), 8 * 86_400_000)
    assert.isAtMost(Math.max(...times), 10 * 86_400_000)
    assert.isAbove(new Set(times.map((time) => Math.floor(time / 3_600_000))).size, 30)
  })
})
