import { Selection, Session, SessionKey, TokenSet, TokenStorage, User } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, DateTime, Effect, Option, Redacted, Result } from "effect"
import { inspect } from "node:util"

const canary = "canary-3f2a9c"
const at = (millis: number) => DateTime.makeUnsafe(millis)

const tokensOf = (expiresAt: number | undefined, text = canary) =>
  TokenSet.TokenSet.make({
    accessToken: Redacted.make(text, { label: "access_token" }),
    tokenType: "Bearer",
    issuedAt: at(0),
    expiresAt: Option.map(Option.fromUndefinedOr(expiresAt), at),
    idToken: Option.some(Redacted.make(canary, { label: "id_token" })),
    scope: Option.none()
  })

const sessionOf = (fields: Partial<Session.Session> = {}) =>
  Session.update(
    Session.fromResponse(
      SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "web", account: "default" }),
      {
        tokens: tokensOf(1000),
        grant: { _tag: "RefreshToken", refreshToken: Redacted.make(canary, { label: "refresh_token" }) },
        user: Option.some(User.User.make({
          id: "1",
          handle: Option.some("ada"),
          displayName: Option.none(),
          firstName: Option.none(),
          lastName: Option.none(),
          email: Option.none(),
          avatarUrl: Option.none(),
          roles: [],
          profile: Redacted.make({ secret: canary }, { label: "profile" })
        }))
      },
      { strategy: "password", selection: Selection.none }
    ),
    fields
  )

describe("SessionKey", () => {
  it("has one name for people and another one for maps, which no parts can confuse", () => {
    const key = (issuer: string, client: string, account: string) =>
      SessionKey.SessionKey.make({ issuer, clientId: client, account })
    assert.strictEqual(key("https://iam.example", "web", "work").label, "work at https://iam.example")
    assert.notStrictEqual(key("a", "b\",\"c", "d").id, key("a", "b", "c\",\"d").id)
    assert.strictEqual(key("a", "b", "c").id, key("a", "b", "c").id)
  })
})

describe("a session", () => {
  it("shows no secret, however it is printed", () => {
    const session = sessionOf({
      dead: Option.some(Session.Tombstone.make({ at: at(1), cause: "invalid_grant", answerLost: false }))
    })
    const shown = [
      String(session),
      `${session}`,
      JSON.stringify(session),
      inspect(session),
      inspect(session, { depth: Infinity, showHidden: true }),
      inspect({ nested: [session] }, { depth: Infinity, showHidden: true, customInspect: false, getters: true }),
      JSON.stringify(session.tokens),
      JSON.stringify(session.grant),
      String(session.user)
    ]
    for (const text of shown) assert.notInclude(text, canary)
    // and yet it is there
    assert.include(TokenStorage.encode(session), canary)
    assert.include(inspect(session, { depth: Infinity }), "<redacted:refresh_token>")
  })

  it.effect("survives its document, whatever is in it", () =>
    Effect.gen(function*() {
      const samples = yield* Arbitrary.sampleEffect(Arbitrary.schema(Session.Session), { count: 100 })
      for (const session of samples) {
        const text = TokenStorage.encode(session)
        const again = yield* Effect.fromResult(TokenStorage.decode(text, "here"))
        assert.strictEqual(TokenStorage.encode(again), text)
        assert.deepStrictEqual(again.key, session.key)
        assert.strictEqual(again.generation, session.generation)
      }
    }))

  it("that was just obtained has no generation, and the tokens of its selection", () => {
    const session = sessionOf()
    assert.strictEqual(session.generation, 0)
    assert.isTrue(session.durable)
    assert.isTrue(Option.isSome(Session.currentToken(session)))
    assert.isTrue(Option.isNone(Session.tokenFor(session, Selection.make({ project: "apollo" }))))
  })

  it("updated keeps what was not named", () => {
    const session = Session.update(sessionOf(), { generation: 7 })
    assert.strictEqual(session.generation, 7)
    assert.strictEqual(session.strategy, "password")
    assert.isTrue(Result.isSuccess(TokenStorage.decode(TokenStorage.encode(session), "here")))
  })
})

describe("the generation", () => {
  it("only grows, also across a removal and a clock that jumps back", () => {
    assert.strictEqual(Session.nextGeneration(0, at(1_000)), 1_000)
    assert.strictEqual(Session.nextGeneration(1_000, at(1_000)), 1_001)
    assert.strictEqual(Session.nextGeneration(5_000, at(1_000)), 5_001)
    assert.strictEqual(Session.nextGeneration(5, at(1_000)), 1_000)
  })
})

describe("whether a session can go on", () => {
  const dead = Option.some(Session.Tombstone.make({ at: at(1), cause: "invalid_grant", answerLost: false }))
  const cases: ReadonlyArray<readonly [string, Session.Session, number, { canRenew: boolean; isAlive: boolean }]> = [
    ["a refresh token, valid", sessionOf(), 999, { canRenew: true, isAlive: true }],
    ["a refresh token, expired", sessionOf(), 1000, { canRenew: true, isAlive: true }],
    ["a re-issue, expired", sessionOf({ grant: { _tag: "Reissue" } }), 1000, { canRenew: true, isAlive: true }],
    ["an exchange, valid", sessionOf({ grant: { _tag: "ExchangeAccessToken" } }), 999, {
      canRenew: true,
      isAlive: true
    }],
    ["an exchange, expired", sessionOf({ grant: { _tag: "ExchangeAccessToken" } }), 1000, {
      canRenew: false,
      isAlive: false
    }],
    ["nothing, valid", sessionOf({ grant: { _tag: "None" } }), 999, { canRenew: false, isAlive: true }],
    ["nothing, expired", sessionOf({ grant: { _tag: "None" } }), 1000, { canRenew: false, isAlive: false }],
    ["a tombstone, valid", sessionOf({ dead }), 999, { canRenew: false, isAlive: true }],
    ["a tombstone, expired", sessionOf({ dead }), 1000, { canRenew: false, isAlive: false }],
    ["no end known", sessionOf({ grant: { _tag: "None" }, tokens: { "": tokensOf(undefined) } }), 1e12, {
      canRenew: false,
      isAlive: true
    }],
    ["no token for the selection", sessionOf({ grant: { _tag: "None" }, tokens: {} }), 0, {
      canRenew: false,
      isAlive: false
    }]
  ]
  for (const [name, session, now, expected] of cases) {
    it(`with ${name}`, () => {
      assert.deepStrictEqual(
        { canRenew: Session.canRenew(session, at(now)), isAlive: Session.isAlive(session, at(now)) },
        expected
      )
    })
  }
})

describe("the number of a login", () => {
  it("has a million values in each second, beyond those of imports and within what a number tells apart", () => {
    const now = at(Date.UTC(2030, 0) + 999)
    const drawn = Array.from({ length: 10_000 }, (_, index) => Session.loginNumber(now, index / 10_000))
    assert.strictEqual(new Set(drawn).size, drawn.length)
    assert.isBelow(Session.loginNumber(now, 1 - Number.EPSILON), Session.loginNumber(at(Date.UTC(2030, 0) + 1000), 0))
    assert.isAbove(drawn[0]!, 2 ** 48)
    assert.isTrue(Number.isSafeInteger(Session.loginNumber(at(Date.UTC(2200, 0)), 1 - Number.EPSILON)))
  })
})
