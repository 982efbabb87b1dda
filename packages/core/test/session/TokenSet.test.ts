import { TokenSet } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, DateTime, Duration, Effect, Option, Redacted, Schema } from "effect"
import { Base64Url } from "effect/encoding"

const receivedAt = DateTime.makeUnsafe("2026-03-01T12:00:00Z")
const hour = Duration.toMillis("1 hour")

const jwt = (claims: Record<string, unknown>) =>
  [{ alg: "RS256" }, claims].map((part) => Base64Url.encode(JSON.stringify(part))).join(".") + ".c2lnbmF0dXJl"

/** How many seconds after its receipt a token ends; nothing for one without an end. */
const lifeOf = (answer: {
  readonly expiresIn?: unknown
  readonly token?: string
  readonly serverTime?: DateTime.Utc
  readonly defaultLifetime?: Duration.Duration
}): number | undefined => {
  const tokens = TokenSet.fromAnswer({
    accessToken: Redacted.make(answer.token ?? "opaque"),
    expiresIn: answer.expiresIn,
    receivedAt,
    serverTime: Option.fromUndefinedOr(answer.serverTime),
    defaultLifetime: answer.defaultLifetime ?? Duration.minutes(20)
  })
  return Option.match(tokens.expiresAt, {
    onNone: () => undefined,
    onSome: (at) => (DateTime.toEpochMillis(at) - DateTime.toEpochMillis(receivedAt)) / 1000
  })
}
const exp = (secondsFromNow: number) => DateTime.toEpochMillis(receivedAt) / 1000 + secondsFromNow

describe("expires_in", () => {
  const good: ReadonlyArray<readonly [unknown, number]> = [
    [3600, 3600],
    ["3600", 3600],
    [1, 1],
    [0.5, 0.5],
    ["0.5", 0.5],
    [1799.999, 1799.999],
    // times are whole milliseconds, or they could not be stored
    [1.23456789, 1.235],
    [1e-320, 0.001],
    [1e300, 315_360_000],
    ["1e300", 315_360_000],
    [Number.MAX_SAFE_INTEGER, 315_360_000]
  ]
  for (const [value, seconds] of good) {
    it(`of ${JSON.stringify(value)} is a life of ${seconds} s`, () => {
      assert.strictEqual(lifeOf({ expiresIn: value }), seconds)
    })
  }

  const odd: ReadonlyArray<readonly [string, unknown]> = [
    ["missing", undefined],
    ["null", null],
    ["empty text", ""],
    ["blank text", " "],
    ["text", "abc"],
    ["a number and text", "3600 seconds"],
    ["zero", 0],
    ["zero as text", "0"],
    ["negative zero", -0],
    ["negative", -1],
    ["negative text", "-3600"],
    ["NaN", Number.NaN],
    ["NaN as text", "NaN"],
    ["Infinity", Number.POSITIVE_INFINITY],
    ["Infinity as text", "Infinity"],
    ["negative infinity", Number.NEGATIVE_INFINITY],
    ["true", true],
    ["an object", { seconds: 3600 }],
    ["a list", [3600]]
  ]
  for (const [name, value] of odd) {
    it(`that is ${name} counts as none: the token's own exp, else the default`, () => {
      assert.isTrue(Option.isNone(TokenSet.lifetimeFrom(value)))
      assert.strictEqual(lifeOf({ expiresIn: value, token: jwt({ exp: exp(900) }) }), 900)
      assert.strictEqual(lifeOf({ expiresIn: value }), 1200)
    })
  }

  it.prop(
    "of any kind gives a date that can be stored",
    [Schema.Union([Schema.Finite, Schema.String, Schema.Unknown])],
    ([value]) => {
      const millis = (lifeOf({ expiresIn: value }) ?? 0) * 1000
      assert.isTrue(millis >= 1 && Number.isInteger(Math.round(millis * 1000) / 1000))
    }
  )

  it("wins over the token's own exp", () => {
    assert.strictEqual(lifeOf({ expiresIn: 60, token: jwt({ exp: exp(900) }) }), 60)
  })
})

describe("the exp claim", () => {
  const odd: ReadonlyArray<readonly [string, string]> = [
    ["is missing", jwt({})],
    ["is text", jwt({ exp: "1772366400" })],
    ["is null", jwt({ exp: null })],
    ["is beyond every date", jwt({ exp: 1e300 })],
    ["is in a token of two parts", jwt({ exp: exp(1) }).split(".").slice(0, 2).join(".")],
    ["is in a token that is no JSON", "bm90.anNvbg.c2ln"],
    [
      "is in a token whose claims are a list",
      `${Base64Url.encode("{\"alg\":\"RS256\"}")}.${Base64Url.encode("[1]")}.c2ln`
    ]
  ]
  for (const [name, token] of odd) {
    it(`that ${name} counts as none: the default`, () => {
      assert.strictEqual(lifeOf({ token }), 1200)
    })
  }

  it("is seconds, also in parts of one", () => {
    assert.strictEqual(lifeOf({ token: jwt({ exp: exp(0.25) }) }), 0.25)
  })

  it("that is not after the receipt tells of another clock: the life is exp - iat, else the default", () => {
    for (const [begin, end] of [[-7230, -30], [-7200, 0], [-1, 0]] as const) {
      assert.strictEqual(lifeOf({ token: jwt({ iat: exp(begin), exp: exp(end) }) }), end - begin)
    }
    // corrected by the header it is past, too
    const serverTime = DateTime.addDuration(receivedAt, "1 hour")
    assert.strictEqual(lifeOf({ token: jwt({ iat: exp(0), exp: exp(900) }), serverTime }), 900)
    for (const claims of [{}, { iat: exp(-30) }, { iat: exp(-29) }, { iat: "yesterday" }]) {
      const token = jwt({ ...claims, exp: exp(-30) })
      assert.strictEqual(lifeOf({ token }), 1200)
      assert.isUndefined(lifeOf({ token, defaultLifetime: Duration.infinity }))
    }
  })

  const tenYears = 315_360_000
  it("gives a date that can be stored, whatever it says: ten years at most", () => {
    const behind = DateTime.subtractDuration(receivedAt, "1 hour")
    for (
      const claims of [{ iat: -8.64e12, exp: 0 }, { iat: 0, exp: exp(-7200) }, { exp: 8.64e15 }, { exp: exp(1e9) }]
    ) {
      for (const serverTime of [undefined, behind]) {
        assert.strictEqual(lifeOf({ token: jwt(claims), ...(serverTime && { serverTime }) }), tenYears)
      }
    }
  })

  it("is seen to be in milliseconds, and the last second of the year 9999 to be in seconds", () => {
    assert.strictEqual(lifeOf({ token: jwt({ exp: exp(900) * 1000 }) }), 900)
    assert.strictEqual(lifeOf({ token: jwt({ iat: exp(-1000) * 1000, exp: exp(-100) * 1000 }) }), 900)
    assert.strictEqual(lifeOf({ token: jwt({ exp: 253_402_300_799 }) }), tenYears)
  })

  it("is read with the issuer's clock where that is off, two hours both ways", () => {
    for (const hours of [2, -2]) {
      const serverTime = DateTime.makeUnsafe(DateTime.toEpochMillis(receivedAt) + hours * hour)
      const token = jwt({ exp: exp(hours * 3600 + 900) })
      assert.strictEqual(lifeOf({ token, serverTime }), 900)
      // without the header the claim is taken at its word, unless it is past
      assert.strictEqual(lifeOf({ token }), hours > 0 ? hours * 3600 + 900 : 1200)
      // a life in seconds needs no clock
      assert.strictEqual(lifeOf({ expiresIn: 60, token, serverTime }), 60)
    }
  })

  it("is not moved by the noise of a header that counts whole seconds", () => {
    for (const millis of [-4999, -1, 0, 999, 4999]) {
      const serverTime = DateTime.makeUnsafe(DateTime.toEpochMillis(receivedAt) + millis)
      assert.strictEqual(lifeOf({ token: jwt({ exp: exp(900) }), serverTime }), 900)
    }
    assert.strictEqual(
      lifeOf({ token: jwt({ exp: exp(900) }), serverTime: DateTime.addDuration(receivedAt, "5 seconds") }),
      895
    )
  })
})

describe("a token set", () => {
  const answer = { accessToken: Redacted.make("canary"), receivedAt, serverTime: Option.none() }

  it("without a known end is presented until it is refused", () => {
    const tokens = TokenSet.fromAnswer({ ...answer, defaultLifetime: Duration.infinity })
    assert.isTrue(Option.isNone(tokens.expiresAt))
    assert.isTrue(TokenSet.isValid(tokens, DateTime.makeUnsafe("2999-01-01")))
  })

  it("is valid up to its end, and not at it", () => {
    const tokens = TokenSet.fromAnswer({ ...answer, expiresIn: 60, defaultLifetime: Duration.infinity })
    assert.isTrue(TokenSet.isValid(tokens, DateTime.makeUnsafe(DateTime.toEpochMillis(receivedAt) + 59_999)))
    assert.isFalse(TokenSet.isValid(tokens, DateTime.makeUnsafe(DateTime.toEpochMillis(receivedAt) + 60_000)))
  })

  it("is a Bearer unless it is told otherwise, and keeps what else came with it", () => {
    const plain = TokenSet.fromAnswer({ ...answer, defaultLifetime: Duration.infinity })
    assert.strictEqual(Redacted.value(TokenSet.authorization(plain)), "Bearer canary")
    const other = TokenSet.fromAnswer({
      ...answer,
      tokenType: "DPoP",
      idToken: Redacted.make("id"),
      scope: "read",
      defaultLifetime: Duration.infinity
    })
    assert.strictEqual(Redacted.value(TokenSet.authorization(other)), "DPoP canary")
    assert.strictEqual(Redacted.value(Option.getOrThrow(other.idToken)), "id")
    assert.deepStrictEqual(other.scope, Option.some("read"))
  })

  it("is the same as another with the same access token", () => {
    const make = (text: string, expiresIn: number) =>
      TokenSet.fromAnswer({
        ...answer,
        accessToken: Redacted.make(text),
        expiresIn,
        defaultLifetime: Duration.infinity
      })
    assert.isTrue(TokenSet.isSame(make("a", 1), make("a", 2)))
    assert.isFalse(TokenSet.isSame(make("a", 1), make("b", 1)))
  })

  it.effect("survives its codec, whatever is in it", () =>
    Effect.gen(function*() {
      const codec = Schema.fromJsonString(Schema.toCodecJson(TokenSet.TokenSet))
      const equal = Schema.toEquivalence(Schema.toEncoded(TokenSet.TokenSet))
      const samples = yield* Arbitrary.sampleEffect(Arbitrary.schema(TokenSet.TokenSet), { count: 200 })
      for (const tokens of samples) {
        const again = yield* Schema.decodeEffect(codec)(yield* Schema.encodeEffect(codec)(tokens))
        assert.isTrue(equal(
          yield* Schema.encodeEffect(TokenSet.TokenSet)(again),
          yield* Schema.encodeEffect(TokenSet.TokenSet)(tokens)
        ))
      }
    }))
})

describe("a token as people hand it on", () => {
  it("ends at its exp, also where that is past, and without one has no known end", () => {
    const endOf = (token: string) =>
      TokenSet.adopted({ accessToken: Redacted.make(token), issuedAt: receivedAt }).expiresAt
    assert.deepStrictEqual(
      endOf(jwt({ iat: exp(-90), exp: exp(-30) })),
      Option.some(DateTime.subtractDuration(receivedAt, "30 seconds"))
    )
    assert.deepStrictEqual(endOf("opaque"), Option.none())
  })

  it("loses its scheme, and is none where no header can carry it", () => {
    const read = (text: string) => Option.map(TokenSet.accessTokenFrom(text), Redacted.value)
    assert.deepStrictEqual(read("abc.def"), Option.some("abc.def"))
    assert.deepStrictEqual(read("Bearer abc"), Option.some("abc"))
    assert.deepStrictEqual(read("bearer   abc"), Option.some("abc"))
    for (const bad of ["", " abc", "a b", "Bearer", "a\nb", "a\r\nx: y", "ü", "\u0000", "Bearer "]) {
      assert.isTrue(Option.isNone(read(bad)), JSON.stringify(bad))
    }
  })
})
