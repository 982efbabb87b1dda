import { RefreshPolicy, TokenSet } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Option, Redacted, Schema } from "effect"

const lasting = (seconds: number | undefined) =>
  TokenSet.TokenSet.make({
    accessToken: Redacted.make("token"),
    tokenType: "Bearer",
    issuedAt: DateTime.makeUnsafe(0),
    expiresAt: Option.map(Option.fromUndefinedOr(seconds), (end) => DateTime.makeUnsafe(end * 1000)),
    idToken: Option.none(),
    scope: Option.none()
  })
const freshFor = (seconds: number | undefined, policy: Partial<RefreshPolicy.RefreshPolicy> = {}) =>
  RefreshPolicy.freshUntil({ ...RefreshPolicy.standard, ...policy }, lasting(seconds)) / 1000

describe("the window", () => {
  it("is exact to the millisecond: at 900 s left a token is fresh, one later it is due", () => {
    assert.strictEqual(freshFor(3600, { window: Duration.minutes(15) }), 3600 - 900)
  })

  it("is five minutes by default", () => {
    assert.strictEqual(freshFor(3600), 3300)
  })

  it("that is larger than half of the token's life shrinks to a part of it", () => {
    assert.strictEqual(freshFor(600), 300)
    assert.closeTo(freshFor(599), 599 * 0.8, 0.001)
    assert.strictEqual(freshFor(60), 48)
    assert.strictEqual(freshFor(1), 0.8)
    assert.strictEqual(freshFor(60, { shortLivedFraction: 0.5 }), 30)
  })

  it("of a token without a known end never comes", () => {
    assert.strictEqual(freshFor(undefined), Number.POSITIVE_INFINITY)
  })

  it("of a token that was born expired is there at once, and not before it was issued", () => {
    assert.strictEqual(freshFor(0), 0)
    assert.strictEqual(freshFor(-30), -30)
  })

  it.prop("lies within the token's life", [Schema.Int, Schema.Int], ([seconds, window]) => {
    const life = Math.abs(seconds % 100_000_000)
    const fresh = freshFor(life, { window: Duration.seconds(Math.abs(window % 1_000_000)) })
    assert.isTrue(fresh >= 0 && fresh <= life)
  })
})

describe("the backoff", () => {
  const wait = (failures: number, random = 0) =>
    RefreshPolicy.backoffMillis(RefreshPolicy.standard.backoff, failures, random)

  it("doubles from the first to the longest wait, however many failures there were", () => {
    assert.deepStrictEqual([1, 2, 3, 4].map((failures) => wait(failures)), [200, 400, 800, 1600])
    assert.strictEqual(wait(10), 60_000)
    assert.strictEqual(wait(1_000_000), 60_000)
  })

  it("is shortened by up to half", () => {
    assert.strictEqual(wait(1, 0.5), 150)
    assert.isAbove(wait(20, 0.999_999), 30_000)
  })
})
