import type { IamError } from "@effect-authn/core"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { clients, goodToken, profile, requests, signedIn } from "./fixtures.ts"

const { answer, html, json, nobody, serve, serveAtOnce, serveTls } = BareServer

type Expected = string | readonly [reason: string, message: RegExp]

/** An answer, and the reason that each request makes of it: login, renewal, whoami. */
interface Row {
  readonly name: string
  readonly reply: BareServer.Reply
  readonly login: Expected
  readonly renew: Expected
  readonly whoami: Expected
}

const all = (name: string, reply: BareServer.Reply, expected: Expected): Row => ({
  name,
  reply,
  login: expected,
  renew: expected,
  whoami: expected
})

const both = { success: true, token: goodToken, user: profile, profile }

const rows: ReadonlyArray<Row> = [
  // Section 1.6 of the protocol's description, row by row.
  all("200 empty", answer(200, ""), ["Malformed", /status 200 with an empty body/]),
  all("200 HTML", html(200), ["Malformed", /status 200 with text\/html/]),
  all("204", { bytes: "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", after: "end" }, "Malformed"),
  all("200 without profile or token", json(200, { success: true, message: "ok" }), "Malformed"),
  all("200 with nulls", json(200, { success: true, profile: null, user: null, token: null }), "Malformed"),
  {
    name: "200 success:false with everything",
    reply: json(200, { ...both, success: false, message: "Account disabled" }),
    login: ["CredentialsRefused", /Account disabled/],
    renew: ["GrantDead", /Account disabled/],
    whoami: ["CredentialsRefused", /Account disabled/]
  },
  {
    name: "200 success:\"false\" with everything",
    reply: json(200, { ...both, success: "false" }),
    login: "CredentialsRefused",
    renew: "GrantDead",
    whoami: "CredentialsRefused"
  },
  {
    name: "401 detail",
    reply: json(401, { detail: "x" }),
    login: ["CredentialsRefused", /handle and the password: x/],
    renew: ["GrantDead", /exchange the token: x/],
    whoami: ["CredentialsRefused", /token: x/]
  },
  {
    name: "403 success:false",
    reply: json(403, { success: false, message: "Locked" }),
    login: ["CredentialsRefused", /Locked/],
    renew: ["GrantDead", /Locked/],
    whoami: "CredentialsRefused"
  },
  all("500", json(500, { success: false, message: "Solr is away" }), ["Unavailable maybe", /Solr is away/]),
  all("502 HTML", html(502), "Unavailable maybe"),
  all("504", answer(504, ""), "Unavailable maybe"),
  all("429", json(429, { detail: "slow down" }, { "retry-after": "7" }), "Unavailable no 7000"),
  all("503", html(503), "Unavailable no"),
  all(
    "503 with a date, in the server's own clock",
    json(503, {}, { date: "Thu, 01 Jan 2015 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2015 00:00:30 GMT" }),
    "Unavailable no 30000"
  ),
  all("429 with a wish that cannot be read", json(429, {}, { "retry-after": "-1" }), "Unavailable no"),
  all("422 as FastAPI says it", json(422, { detail: [{ loc: ["body"], msg: "field required", input: "y" }] }), [
    "Malformed",
    /field required/
  ]),

  // Whose word is it?
  {
    name: "403 of a gateway in JSON",
    reply: json(403, { message: "Forbidden" }),
    login: "CredentialsRefused",
    renew: "Malformed",
    whoami: "CredentialsRefused"
  },
  all("403 of a proxy", html(403), ["Unavailable maybe", /not the IAM's own answer/]),
  all("401 of a proxy", html(401), "Unavailable maybe"),
  {
    name: "401 empty",
    reply: answer(401, ""),
    login: "CredentialsRefused",
    renew: "Unavailable maybe",
    whoami: "CredentialsRefused"
  },
  {
    name: "400",
    reply: json(400, { detail: "Incorrect username or password" }),
    login: ["CredentialsRefused", /Incorrect username/],
    renew: "Malformed",
    whoami: "Malformed"
  },
  all("404 JSON", json(404, { detail: "Not Found" }), ["Misconfigured", /is the IAM's address/]),
  all("404 HTML", html(404), "Misconfigured"),
  all("405", json(405, { detail: "Method Not Allowed" }), "Misconfigured"),
  all("407 of a proxy", html(407), "Unavailable maybe"),
  all("418", json(418, { hello: "teapot" }), "Malformed"),

  // Bodies that are no object, or no JSON.
  all("a JSON list", json(200, [both]), ["Malformed", /JSON that is no object/]),
  all("a JSON text", json(200, "ok"), "Malformed"),
  all("null", json(200, null), "Malformed"),
  all("half of a JSON object", answer(200, `{"success":true,"tok`), "Malformed"),
  all(
    "a profile without a name and an empty token",
    json(200, { profile: { email_s: "a@b" }, token: "" }),
    "Malformed"
  ),
  all("a list for a profile, a number for a token", json(200, { profile: [], token: 7 }), "Malformed"),
  {
    name: "a token that is no header value",
    reply: json(200, { ...both, token: "a\r\nx-evil: 1" }),
    login: "Malformed",
    renew: "Malformed",
    whoami: "ok"
  },

  // Tolerance.
  all("200 where 201 is documented", json(200, both), "ok"),
  all("201", json(201, both), "ok"),
  all("success as text", json(200, { ...both, success: "true" }), "ok"),
  all("no success at all", json(200, { token: goodToken, profile }), "ok"),
  all("JSON under another type", answer(200, JSON.stringify(both), { "content-type": "text/plain" }), "ok"),

  // Connections that break.
  all("closed at once", { bytes: "", after: "end" }, "Unavailable maybe"),
  all("reset at once", { bytes: "", after: "reset" }, "Unavailable maybe"),
  all("half a head", { bytes: "HTTP/1.1 200 OK\r\ncontent-", after: "end" }, "Unavailable maybe"),
  all(
    "half a body",
    { bytes: `HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n${JSON.stringify(both)}`, after: "end" },
    "Unavailable maybe"
  ),
  all(
    "half a body, then a reset",
    { bytes: `HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n${JSON.stringify(both)}`, after: "reset" },
    "Unavailable maybe"
  ),
  all(
    "a chunk that is missing",
    { bytes: `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"suc\r\n`, after: "end" },
    "Unavailable maybe"
  ),
  all("no HTTP at all", { bytes: "220 smtp.example.com ESMTP ready\r\n", after: "end" }, "Malformed"),
  all("no answer", { bytes: "", after: "hang" }, ["Unavailable maybe", /no answer within 2s/]),
  all(
    "an answer that never ends",
    { bytes: "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{", after: "hang" },
    "Unavailable maybe"
  )
]

const outcome = Effect.fnUntraced(
  function*(attempt: Effect.Effect<void, IamError.IamError>) {
    const result = yield* Effect.result(attempt)
    if (result._tag === "Success") return { reason: "ok", message: "" }
    const { reason } = result.failure
    const detail = reason._tag === "Unavailable"
      ? ` ${reason.sent}${reason.retryAfter === undefined ? "" : ` ${Duration.toMillis(reason.retryAfter)}`}`
      : ""
    return { reason: `${reason._tag}${detail}`, message: result.failure.message }
  }
)

const check = Effect.fnUntraced(function*(
  name: string,
  attempt: Effect.Effect<void, IamError.IamError>,
  expected: Expected
) {
  const { message, reason } = yield* outcome(attempt)
  const [tag, pattern] = typeof expected === "string" ? [expected, /^/] : expected
  assert.strictEqual(reason, tag, `${name}: ${message}`)
  assert.match(message, pattern, name)
  assert.notInclude(message, "\n")
})

for (const [client, layer] of clients) {
  describe(`odd answers, with ${client}`, () => {
    for (const row of rows) {
      it.live(row.name, () =>
        Effect.gen(function*() {
          const server = yield* serve(() => row.reply)
          const timeLimit = Duration.seconds(row.reply.after === "hang" ? 2 : 60)
          const { iam, session } = yield* signedIn(server.origin, { timeLimit })
          const { login, renew, whoami } = requests(iam, session)
          yield* Effect.all([
            check("login", login, row.login),
            check("renew", renew, row.renew),
            check("whoami", whoami, row.whoami)
          ], { concurrency: "unbounded", discard: true })
        }).pipe(Effect.provide(layer)))
    }

    it.live("connection refused", () =>
      Effect.gen(function*() {
        const { iam, session } = yield* signedIn(yield* nobody)
        for (const [name, attempt] of Object.entries(requests(iam, session))) {
          yield* check(name, attempt, ["Unavailable no", /ECONNREFUSED/])
        }
      }).pipe(Effect.provide(layer)))

    it.live("both addresses of localhost refused", () =>
      Effect.gen(function*() {
        const { iam, session } = yield* signedIn((yield* nobody).replace("127.0.0.1", "localhost"))
        yield* check("login", requests(iam, session).login, "Unavailable no")
      }).pipe(Effect.provide(layer)))

    it.live("a certificate that nobody trusts", () =>
      Effect.gen(function*() {
        const server = yield* serveTls(() => json(200, both))
        const { iam, session } = yield* signedIn(server.origin)
        for (const [name, attempt] of Object.entries(requests(iam, session))) {
          yield* check(name, attempt, ["Misconfigured", /NODE_EXTRA_CA_CERTS.*--use-system-ca/])
        }
        assert.deepStrictEqual(server.seen, [])
      }).pipe(Effect.provide(layer)))

    it.live("https at a port that speaks http", () =>
      Effect.gen(function*() {
        const server = yield* serveAtOnce(json(400, {}).bytes)
        const { iam, session } = yield* signedIn(server.origin.replace("http:", "https:"))
        yield* check("login", requests(iam, session).login, ["Misconfigured", /does not speak TLS/])
      }).pipe(Effect.provide(layer)))

    for (const status of [301, 302, 303, 307, 308]) {
      it.live(`${status} on any request: no credential travels`, () =>
        Effect.gen(function*() {
          const elsewhere = yield* serve(() => json(200, both))
          for (const origin of [elsewhere.origin, ""]) {
            const server = yield* serve(() => answer(status, "", { location: `${origin}/api/iam/v1/new?token=x` }))
            const { iam, session } = yield* signedIn(server.origin)
            for (const [name, attempt] of Object.entries(requests(iam, session))) {
              yield* check(name, attempt, ["Misconfigured", new RegExp(`redirects to ${origin || server.origin} `)])
            }
            assert.strictEqual(server.seen.length, 4)
          }
          assert.deepStrictEqual(elsewhere.seen, [])
        }).pipe(Effect.provide(layer)))
    }

    it.live("a redirect to nowhere, and one whose body never ends", () =>
      Effect.gen(function*() {
        for (const head of ["", "location: http://[\r\n", "location: /x\r\ncontent-length: 99\r\n"]) {
          const server = yield* serve(() => ({
            bytes: `HTTP/1.1 307 Temporary Redirect\r\n${head}\r\n`,
            after: "hang"
          }))
          const { iam, session } = yield* signedIn(server.origin)
          yield* check("login", requests(iam, session).login, "Misconfigured")
        }
      }).pipe(Effect.provide(layer)))
  })
}

describe("odd answers that no server on this machine can give", () => {
  const failing = (cause: unknown) =>
    FetchHttpClient.layer.pipe(
      Layer.provide(
        Layer.succeed(FetchHttpClient.Fetch)(() => Promise.reject(new TypeError("fetch failed", { cause })))
      )
    )
  const coded = (code: string, more: object = {}) =>
    Object.assign(new Error(`a message with ${code}`), { code, ...more })

  for (
    const [cause, expected] of [
      [coded("ENOTFOUND"), ["Unavailable no", /no connection \(ENOTFOUND\)/]],
      [coded("EAI_AGAIN"), "Unavailable no"],
      [coded("ETIMEDOUT", { syscall: "connect" }), "Unavailable no"],
      [coded("ETIMEDOUT", { syscall: "read" }), "Unavailable maybe"],
      [coded("UND_ERR_CONNECT_TIMEOUT"), "Unavailable no"],
      [coded("UND_ERR_HEADERS_TIMEOUT"), "Unavailable maybe"],
      [coded("CERT_HAS_EXPIRED"), ["Misconfigured", /CERT_HAS_EXPIRED/]],
      [coded("ERR_TLS_CERT_ALTNAME_INVALID"), "Misconfigured"],
      [coded("ERR_SSL_WRONG_VERSION_NUMBER"), ["Misconfigured", /does not speak TLS/]],
      [new AggregateError([coded("ECONNREFUSED"), coded("ECONNREFUSED")]), "Unavailable no"],
      [undefined, "Unavailable maybe"],
      ["a text", "Unavailable maybe"],
      [Object.assign(new Error("loop"), { code: 7 }), "Unavailable maybe"]
    ] satisfies ReadonlyArray<[unknown, Expected]>
  ) {
    it.live(`${String(cause)} is ${String(expected)}`, () =>
      Effect.gen(function*() {
        const { iam, session } = yield* signedIn("https://iam.test")
        yield* check("login", requests(iam, session).login, expected)
      }).pipe(Effect.provide(failing(cause))))
  }

  it.live("a browser's opaque redirect", () =>
    Effect.gen(function*() {
      const { iam, session } = yield* signedIn("https://iam.test")
      yield* check("login", requests(iam, session).login, ["Misconfigured", /redirects elsewhere/])
    }).pipe(Effect.provide(
      FetchHttpClient.layer.pipe(
        Layer.provide(Layer.succeed(FetchHttpClient.Fetch)(() => Promise.resolve(Response.error())))
      )
    )))
})
