// What every dialect stands on: which answers of a server reach it, and what becomes of the others.
import { IamError, IamHttp } from "@effect-authn/core"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Option, Redacted, Result } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientRequest } from "effect/http"

const { answer, drop, hang, html, json, nobody, serve, serveAtOnce, serveTls } = BareServer

const password = "correct horse \"battery\""
const secrets = [Redacted.make(password)]

const call = (issuer: string, timeLimit?: Duration.Duration): IamHttp.Call => ({
  issuer,
  method: "login",
  secrets,
  timeLimit
})

const ask = (issuer: string, timeLimit = Duration.minutes(1)) =>
  IamHttp.execute(HttpClientRequest.post(`${issuer}/login`), call(issuer, timeLimit)).pipe(
    Effect.provide(FetchHttpClient.layer)
  )

const answered = (reply: BareServer.Reply) => Effect.flatMap(serve(() => reply), ({ origin }) => ask(origin))

/** What a failure is, in words. */
const told = (error: IamError.IamError) => {
  const { reason } = error
  return [reason._tag, ...(reason._tag === "Unavailable" ? [reason.sent] : [])].join(" ")
}

describe("an address", () => {
  it("is https, or http to this machine", () => {
    const urls = ["https://iam.example/realm", "http://localhost:8080", "http://127.0.0.2", "http://[::1]:1"]
    for (const url of urls) assert.isTrue(Result.isSuccess(IamHttp.endpoint(url)), url)
  })

  for (
    const [issuer, said] of [
      ["iam.example", /is not the address of an IAM: write it as a URL/],
      ["ftp://iam.example", /is not the address of an IAM/],
      ["http://iam.example/x", /write https:\/\/iam\.example$/],
      ["https://ada:hunter2@iam.example/realm", /write https:\/\/iam\.example\/realm$/],
      ["https://iam.example/?tenant=1", /no user, query or fragment/],
      ["https://iam.example/#x", /no user, query or fragment/]
    ] as const
  ) {
    it(`is refused with what to write instead: ${issuer}`, () => {
      const refused = Result.flip(IamHttp.endpoint(issuer))
      assert.isTrue(Result.isSuccess(refused))
      if (Result.isSuccess(refused)) {
        assert.strictEqual(refused.success.reason._tag, "Misconfigured")
        assert.match(refused.success.message, said)
        assert.notInclude(refused.success.message, "hunter2")
      }
    })
  }
})

describe("an answer that is the IAM's to give", () => {
  it.live("is read: body, shape, message, both clocks", () =>
    Effect.gen(function*() {
      const date = "Sun, 09 Sep 2001 01:46:40 GMT"
      const one = yield* answered(json(401, { message: "no", details: [{ msg: "wrong password" }] }, { date }))
      assert.deepStrictEqual([one.status, one.isEmpty, one.shape], [401, false, "status 401 with JSON"])
      assert.deepStrictEqual(one.message, Option.some("no: wrong password"))
      assert.deepStrictEqual(Option.map(one.serverTime, DateTime.toEpochMillis), Option.some(1_000_000_000_000))
      assert.isTrue(Option.isSome(one.body))
    }))

  for (
    const [reply, shape] of [
      [answer(200, "", {}), "status 200 with an empty body"],
      [json(200, [1]), "status 200 with JSON that is no object"],
      [html(200), "status 200 with text/html"],
      [answer(200, "x", {}), "status 200 with no content type"]
    ] as const
  ) {
    it.live(`has no body that is its own word: ${shape}`, () =>
      Effect.map(answered(reply), (one) => {
        assert.strictEqual(one.shape, shape)
        assert.isTrue(Option.isNone(one.body))
        assert.isTrue(Option.isNone(one.message))
      }))
  }

  for (
    const [name, body, message] of [
      ["OAuth's own words", { error: "invalid_grant", error_description: "spent" }, "invalid_grant: spent"],
      ["a text twice", { message: "no", detail: "no" }, "no"],
      ["what is no text", { message: 1, errors: [{}, null, { message: "e" }] }, "e"],
      ["an echo of the password", { detail: password }, "…"],
      ["an echo as JSON", { detail: JSON.stringify({ password }) }, "{\"password\":\"…\"}"],
      ["an echo in an address", { detail: `?p=${encodeURIComponent(password)}` }, "?p=…"],
      ["an echo as a form", { detail: new URLSearchParams({ p: password }).toString() }, "p=…"],
      ["a token", { detail: "your eyJhbGciOiJSUzI1.eyJzdWI.abc" }, "your …"],
      [
        "the ids of the server's logs",
        { error_description: "No.\r\nTrace ID: a-1\r\nCorrelation ID: b-2\r\nTimestamp: 2023-05-25 13:21:24Z" },
        "No."
      ],
      ["several lines", { detail: "a\n\tb\u0007c" }, "a b c"],
      ["a long text", { detail: "x".repeat(300) }, `${"x".repeat(199)}…`]
    ] as const
  ) {
    it.live(`says something safe: ${name}`, () =>
      Effect.map(answered(json(400, body)), (one) => assert.deepStrictEqual(one.message, Option.some(message))))
  }
})

describe("a short secret", () => {
  for (
    const [secret, text, shown] of [
      ["d", "invalid_code: d, (d) and \"d\"", "invalid_code: …, (…) and \"…\""],
      ["a.b", "a.b axb a.bc", "… axb a.bc"],
      ["pw", "pwd pw_1 pw", "pwd pw_1 …"],
      ["[", "x [ y", "x … y"]
    ] as const
  ) {
    it(`is taken out as a word of its own, and other words stay whole: ${secret}`, () => {
      assert.strictEqual(IamHttp.quote(text, [Redacted.make(secret)]), shown)
    })
  }
})

describe("a number that is too large for this machine", () => {
  for (
    const body of [
      `{"message":"no","quota":1e400}`,
      `{"message":"no","deep":[{"n":[-1e999]}]}`
    ]
  ) {
    it.live(`spoils nothing: ${body}`, () =>
      Effect.map(answered(answer(400, body)), (one) => assert.deepStrictEqual(one.message, Option.some("no"))))
  }

  it.live("is the largest number there is", () =>
    Effect.map(
      answered(answer(200, `{"a":1e400,"b":-1e400,"c":7}`)),
      ({ body }) => assert.deepStrictEqual(body, Option.some({ a: Number.MAX_VALUE, b: -Number.MAX_VALUE, c: 7 }))
    ))
})

describe("an answer of an odd size or depth", () => {
  it.live("is whole with up to 1 MiB", () =>
    Effect.map(answered(json(200, { text: "x".repeat(1_000_000) })), ({ body }) => assert.isTrue(Option.isSome(body))))

  it.live("is Malformed with more, and the rest is not read", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(answered(json(200, { text: "x".repeat(5_000_000) })))
      assert.strictEqual(told(error), "Malformed")
      assert.include(error.message, "status 200 with more than 1 MiB")
    }))

  for (const depth of [100, 5_000, 400_000]) {
    it.live(`is no defect with ${depth} lists in each other`, () =>
      Effect.map(
        answered(answer(400, `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`)),
        ({ status }) => assert.strictEqual(status, 400)
      ))
  }
})

describe("a request", () => {
  it.live("tells no IAM the ids of our traces", () =>
    Effect.gen(function*() {
      const server = yield* serve(() => json(200, {}))
      yield* Effect.withSpan(ask(server.origin), "test")
      const { headers = {} } = server.seen[0] ?? {}
      assert.deepStrictEqual([headers["b3"], headers["traceparent"]], [undefined, undefined])
    }))
})

describe("an answer that says nothing", () => {
  for (
    const [reply, what] of [
      [json(408, {}), "Unavailable maybe"],
      [json(425, {}), "Unavailable no"],
      [json(429, {}), "Unavailable no"],
      [html(500), "Unavailable maybe"],
      [html(503), "Unavailable no"],
      [answer(302, "", { location: "https://elsewhere.example/x" }), "Misconfigured"],
      [answer(307, "", {}), "Misconfigured"],
      [drop, "Unavailable maybe"],
      [{ bytes: "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{", after: "end" }, "Unavailable maybe"],
      [{ bytes: "220 smtp.example.com ESMTP ready\r\n", after: "end" }, "Malformed"]
    ] satisfies ReadonlyArray<readonly [BareServer.Reply, string]>
  ) {
    it.live(`is ${what}: ${reply.bytes.split("\r\n")[0] || "a connection that breaks"}`, () =>
      Effect.map(Effect.flip(answered(reply)), (error) => assert.strictEqual(told(error), what)))
  }

  it.live("names where a redirect leads, and does not follow it", () =>
    Effect.gen(function*() {
      const thief = yield* serve(() => json(200, {}))
      const error = yield* Effect.flip(answered(answer(307, "", { location: `${thief.origin}/login` })))
      assert.include(error.message, `redirects to ${thief.origin} (status 307)`)
      assert.deepStrictEqual(thief.seen, [])
    }))

  it.live("tells when to come again, in the clock of the server that wrote it", () =>
    Effect.gen(function*() {
      const date = "Sun, 09 Sep 2001 01:46:40 GMT"
      for (const after of ["7", "Sun, 09 Sep 2001 01:46:47 GMT"]) {
        const { reason } = yield* Effect.flip(answered(json(503, { message: "later" }, { date, "retry-after": after })))
        assert.isTrue(reason._tag === "Unavailable")
        if (reason._tag === "Unavailable") {
          assert.strictEqual(reason.retryAfter === undefined ? 0 : Duration.toSeconds(reason.retryAfter), 7)
          assert.include(reason.detail, "later")
        }
      }
    }))

  it.live("does not come within its time", () =>
    Effect.gen(function*() {
      const { origin } = yield* serve(() => hang)
      const error = yield* Effect.flip(ask(origin, Duration.millis(50)))
      assert.strictEqual(told(error), "Unavailable maybe")
      assert.include(error.message, "no answer within 50ms")
    }))

  it.live("comes from nobody: nothing was sent", () =>
    Effect.map(Effect.flatMap(nobody, (issuer) => Effect.flip(ask(issuer))), (error) => {
      assert.strictEqual(told(error), "Unavailable no")
      assert.include(error.message, "ECONNREFUSED")
    }))

  it.live("is behind a certificate that nobody trusts, and was not asked", () =>
    Effect.gen(function*() {
      const server = yield* serveTls(() => json(200, {}))
      const error = yield* Effect.flip(ask(server.origin))
      assert.strictEqual(told(error), "Misconfigured")
      assert.include(error.message, "NODE_EXTRA_CA_CERTS")
      assert.deepStrictEqual(server.seen, [])
    }))

  it.live("is no TLS", () =>
    Effect.gen(function*() {
      const server = yield* serveAtOnce(json(400, {}).bytes)
      const error = yield* Effect.flip(ask(server.origin.replace("http:", "https:")))
      assert.strictEqual(told(error), "Misconfigured")
      assert.include(error.message, "does not speak TLS")
    }))
})

describe("a client that fails", () => {
  const failing = (reason: (request: HttpClientRequest.HttpClientRequest) => HttpClientError.HttpClientErrorReason) =>
    Effect.flip(
      IamHttp.execute(HttpClientRequest.get("https://iam.example"), call("https://iam.example")).pipe(
        Effect.provideService(
          HttpClient.HttpClient,
          HttpClient.make((request) => Effect.fail(new HttpClientError.HttpClientError({ reason: reason(request) })))
        )
      )
    )
  const broken = (cause: unknown) => failing((request) => new HttpClientError.TransportError({ request, cause }))

  for (
    const [name, cause, what] of [
      ["neither of two addresses answers", { errors: [{ code: "EHOSTUNREACH" }, { code: 1 }] }, "Unavailable no"],
      ["a code that is new, while it connects", { cause: { code: "ENEW", syscall: "connect" } }, "Unavailable no"],
      ["a code that is new, later", { cause: { code: "ENEW", syscall: "read" } }, "Unavailable maybe"],
      ["a code that is a text of others", { code: "Bearer secret in a message" }, "Unavailable maybe"],
      [
        "causes without an end",
        { cause: { cause: { cause: { cause: { cause: { code: "ECONNREFUSED" } } } } } },
        "Unavailable maybe"
      ],
      ["a parser's error", { name: "HTTPParserError" }, "Malformed"],
      [
        "an answer in chunks that ends early",
        { name: "HTTPParserError", code: "HPE_INVALID_EOF_STATE" },
        "Unavailable maybe"
      ],
      ["a header that cannot be sent", { name: "InvalidArgumentError", code: "UND_ERR_INVALID_ARG" }, "Misconfigured"],
      ["no cause at all", undefined, "Unavailable maybe"]
    ] as const
  ) {
    it.effect(`is ${what}: ${name}`, () =>
      Effect.map(broken(cause), (error) => {
        assert.strictEqual(told(error), what)
        assert.notInclude(error.message, "secret")
      }))
  }

  it.effect("because the request cannot be built, is Misconfigured", () =>
    Effect.map(
      failing((request) => new HttpClientError.InvalidUrlError({ request, cause: new Error("no") })),
      (error) => assert.strictEqual(told(error), "Misconfigured")
    ))
})

describe("an answer that a dialect has no use for", () => {
  it("asks for the address only where another server would explain it", () => {
    const detail = "the tokens are refused: no key of the provider fits"
    const error = IamHttp.error(call("https://id.example"), new IamError.Malformed({ detail }))
    assert.match(error.message, /no key of the provider fits$/)
  })

  for (
    const [reply, what, says] of [
      [json(404, { message: "Cannot POST" }), "Misconfigured", /no such route \(status 404 with JSON: Cannot POST\)/],
      [html(405), "Misconfigured", /check that http.* is the IAM's address/],
      [answer(410, "", {}), "Misconfigured", /no such route/],
      [html(403), "Unavailable maybe", /not the IAM's own answer/],
      [
        json(403, { detail: "no" }),
        "Malformed",
        /status 403 with JSON: no; is this the address of an IAM of this dialect\?$/
      ],
      [html(200), "Malformed", /status 200 with text\/html.*; is this the address of an IAM of this dialect\?$/]
    ] as const
  ) {
    it.live(`is ${what}: ${reply.bytes.split(" ")[1]} ${reply.bytes.includes("html") ? "HTML" : "JSON"}`, () =>
      Effect.gen(function*() {
        const { origin } = yield* serve(() => reply)
        const error = IamHttp.unexpected(yield* ask(origin), call(origin))
        assert.strictEqual(told(error), what)
        assert.match(error.message, says)
      }))
  }
})
