import { IamError, WorkloadIdentity } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"

const json = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
const jwt = (claims: object) => `${json({ alg: "RS256" })}.${json(claims)}.signature-canary`

const { WorkloadAbsent, WorkloadBroken, WorkloadError, WorkloadUnavailable } = WorkloadIdentity

const failing = (reason: WorkloadIdentity.WorkloadError["reason"], source = "a pod") => ({
  description: source,
  token: () => Effect.fail(new WorkloadError({ source, reason }))
})
const working = { description: "a job", token: () => WorkloadIdentity.accept("a job", jwt({ aud: "iam" }), "iam") }

describe("firstOf", () => {
  it.effect("takes the first platform that is there", () =>
    Effect.gen(function*() {
      const absent = failing(new WorkloadAbsent({ detail: "no variable" }))
      const asked = WorkloadIdentity.firstOf(absent, working, failing(new WorkloadBroken({ detail: "not reached" })))
      assert.strictEqual(asked.description, "a pod, a job, a pod")
      assert.strictEqual((yield* asked.token("iam")).source, "a job")
    }))

  it.effect("goes past none that is there and broken, or that does not answer", () =>
    Effect.gen(function*() {
      for (
        const [reason, says, isRetryable] of [
          [new WorkloadBroken({ detail: "an empty file" }), "a pod: an empty file", false],
          [new WorkloadUnavailable({ detail: "no answer" }), "a pod: no answer; try again later", true]
        ] as const
      ) {
        const error = yield* Effect.flip(WorkloadIdentity.firstOf(failing(reason), working).token("iam"))
        assert.deepStrictEqual([error.message, error.isRetryable], [says, isRetryable])
      }
    }))

  it.effect("says of each why it is not there", () =>
    Effect.gen(function*() {
      const nowhere = WorkloadIdentity.firstOf(
        failing(new WorkloadAbsent({ detail: "no variable" }), "a job"),
        failing(new WorkloadAbsent({ detail: "no file" }), "a pod")
      )
      const error = yield* Effect.flip(nowhere.token("iam"))
      assert.strictEqual(error.reason._tag, "WorkloadAbsent")
      assert.isFalse(error.isRetryable)
      assert.include(error.message, "a job: no variable; a pod: no file")
      assert.include((yield* Effect.flip(WorkloadIdentity.firstOf().token("iam"))).message, "no platform is known")
    }))
})

describe("accept", () => {
  it.effect("takes a token for the audience that has not ended, blanks around it dropped", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_000_000)
      for (const claims of [{ aud: "iam" }, { aud: ["other", "iam"], exp: 1001 }, { aud: "iam", exp: 4_000_000_000 }]) {
        const text = jwt(claims)
        const { source, token } = yield* WorkloadIdentity.accept("a pod", ` ${text}\n`, "iam")
        assert.deepStrictEqual([source, Redacted.value(token)], ["a pod", text])
      }
    }))

  it.effect("tells what is wrong with any other, and shows nothing of it", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_000_000)
      const cases: ReadonlyArray<readonly [text: string, says: string]> = [
        ["", "it is empty"],
        [" \n", "it is empty"],
        ["signature-canary", "no JWT"],
        ["{\"token\":\"signature-canary\"}", "no JWT"],
        [
          jwt({ aud: "iam", exp: 1000 }),
          "expired at 1970-01-01T00:16:40.000Z, and it is 1970-01-01T00:16:40.000Z here"
        ],
        [`${jwt({ aud: "iam" })}\n# its end`, "something behind it"],
        [`${jwt({ aud: "iam" })}\0\0`, "something behind it"],
        [`${jwt({ aud: "iam" })}&client_id=other`, "something behind it"],
        [`${jwt({ aud: "iam" })}==`, "something behind it"],
        [jwt({ aud: "one\u001b[31m\nnext" }), "for \"one [31m next\", not for \"iam\""],
        [jwt({}), "for no audience"],
        [jwt({ aud: [1, null] }), "for no audience"],
        [jwt({ aud: "other" }), "for \"other\", not for \"iam\""],
        [jwt({ aud: ["one", "x".repeat(500)] }), `for "one", "${"x".repeat(100)}", not for "iam"`]
      ]
      for (const [text, says] of cases) {
        const error = yield* Effect.flip(WorkloadIdentity.accept("a pod", text, "iam"))
        assert.strictEqual(error.reason._tag, "WorkloadBroken", says)
        assert.include(error.message, says)
        assert.notInclude(`${error.message} ${JSON.stringify(error)}`, "signature-canary")
      }
    }))

  it.effect("that others get as well, for another audience, is not ours", () =>
    Effect.gen(function*() {
      for (const claims of [{ aud: "other" }, { aud: "other", exp: -1 }]) {
        const shared = WorkloadIdentity.accept("a pod", jwt(claims), "iam", { isForOthersToo: true })
        assert.strictEqual((yield* Effect.flip(shared)).reason._tag, "WorkloadAbsent")
      }
      const ended = WorkloadIdentity.accept("a pod", jwt({ aud: "iam", exp: -1 }), "iam", { isForOthersToo: true })
      assert.strictEqual((yield* Effect.flip(ended)).reason._tag, "WorkloadBroken")
    }))
})

it("is told as the IAM's: away where asking again may help, else wrongly set up", () => {
  const call = { issuer: "https://idp.example", method: "login" }
  const told = (reason: WorkloadIdentity.WorkloadError["reason"]) =>
    WorkloadIdentity.toIamError(call, new WorkloadError({ source: "a pod", reason }))
  const away = told(new WorkloadUnavailable({ detail: "no answer" }))
  assert.deepInclude(away.reason, { _tag: "Unavailable", sent: "no", detail: "a pod: no answer" })
  const broken = told(new WorkloadBroken({ detail: "an empty file" }))
  assert.instanceOf(broken, IamError.IamError)
  assert.deepInclude(broken.reason, { _tag: "Misconfigured", detail: "a pod: an empty file" })
})
