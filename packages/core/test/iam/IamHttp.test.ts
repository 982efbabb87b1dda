import { IamError, IamHttp } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { FetchHttpClient, HttpClientRequest } from "effect/http"

const secret = "hunter2"
const call: IamHttp.Call = { issuer: "https://iam.example", method: "renew", secrets: [Redacted.make(secret)] }
const options = {
  answer: Schema.Struct({ token: Schema.NonEmptyString }),
  refusals: { 401: (detail: string) => new IamError.GrantDead({ detail }) }
}

const asked = (response: Response) =>
  IamHttp.ask(HttpClientRequest.post("https://iam.example/login"), call, options).pipe(
    Effect.provide(
      Layer.provide(
        FetchHttpClient.layer,
        Layer.succeed(FetchHttpClient.Fetch, () => Promise.resolve(response))
      )
    )
  )

const refusal = (response: Response) => Effect.map(Effect.flip(asked(response)), ({ reason }) => reason)

describe("ask", () => {
  it.effect("answers with the decoded body, and with what the answer says besides", () =>
    Effect.gen(function*() {
      const answer = yield* asked(Response.json({ token: "t", more: 1 }, { status: 201 }))
      assert.deepStrictEqual([answer.status, answer.body], [201, { token: "t" }])
    }))

  it.effect("takes a refusal in JSON for the IAM's own word, without the secret that was sent", () =>
    Effect.gen(function*() {
      const reason = yield* refusal(Response.json({ message: `${secret} is spent` }, { status: 401 }))
      assert.deepStrictEqual([reason._tag, reason.detail], ["GrantDead", "… is spent"])
    }))

  for (
    const [title, response, expected] of [
      ["a proxy's page", new Response("<html>", { status: 401 }), "Unavailable"],
      ["an empty refusal", new Response(null, { status: 401 }), "Unavailable"],
      ["a refusal that nothing was said about", Response.json({}, { status: 403 }), "Malformed"],
      ["a route that is not there", Response.json({ message: "Not Found" }, { status: 404 }), "Misconfigured"],
      ["a success without what was asked for", Response.json({ token: "" }), "Malformed"],
      ["a success that is a page", new Response("<html>"), "Malformed"]
    ] as const
  ) {
    it.effect(`${title} is ${expected}, and ends no grant`, () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* refusal(response))._tag, expected)
      }))
  }

  it.effect("only an IAM that is not available may be asked the same again", () =>
    Effect.gen(function*() {
      const busy = yield* Effect.flip(asked(new Response("busy", { status: 503 })))
      assert.deepStrictEqual([busy.isRetryable, busy.reason._tag], [true, "Unavailable"])
      const dead = yield* Effect.flip(asked(Response.json({}, { status: 401 })))
      assert.deepStrictEqual([dead.isRetryable, dead.reason._tag], [false, "GrantDead"])
    }))
})

describe("routes", () => {
  const sentTo: Array<string> = []
  const recording = Layer.provide(
    FetchHttpClient.layer,
    Layer.succeed(FetchHttpClient.Fetch, (input: string | URL | Request) => {
      sentTo.push(input instanceof Request ? input.url : String(input))
      return Promise.resolve(Response.json({ token: "t" }))
    })
  )

  it.effect("are at the address of the IAM, which names its errors", () =>
    Effect.gen(function*() {
      const { ask, issuer } = yield* IamHttp.routes("https://iam.example/")
      assert.strictEqual(issuer, "https://iam.example")
      const { body } = yield* ask(HttpClientRequest.post("/login"), { method: "login", secrets: [] }, options)
      assert.deepStrictEqual([body, sentTo], [{ token: "t" }, ["https://iam.example/login"]])
      const other = { ...options, answer: Schema.Struct({ other: Schema.String }) }
      const error = yield* Effect.flip(
        ask(HttpClientRequest.post("/login"), { method: "login", secrets: [] }, other)
      )
      assert.deepStrictEqual([error.issuer, error.method, error.reason._tag], [issuer, "login", "Malformed"])
    }).pipe(Effect.provide(recording)))

  it.effect("are not at an address that would show secrets on the way", () =>
    Effect.gen(function*() {
      const { reason } = yield* Effect.flip(IamHttp.routes("http://iam.example"))
      assert.strictEqual(reason._tag, "Misconfigured")
    }).pipe(Effect.provide(recording)))
})
