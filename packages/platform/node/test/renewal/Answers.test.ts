import { type AuthError, AuthManager } from "@effect-authn/core"
import { BareServer } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Agent } from "@effect/platform-node/Undici"
import { afterAll, assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Layer, Result, type Scope } from "effect"
import * as Fs from "node:fs"
import { temporary } from "../children.ts"
import { sessionFile } from "../files.ts"
import { measured } from "./measures.ts"
import { open } from "./processes.ts"
import { accessToken, age, type Changes, type Dialect, program, type Setup } from "./program.ts"
import { shown } from "./shown.ts"
import * as Witness from "./witness.ts"

const { answer, html, json, nobody, serve, serveAtOnce, serveTls } = BareServer

/** What an answer amounts to: another token, the end of the grant, or why the IAM could not say. */
type Kind =
  | "renewed"
  | "ReauthenticationRequired"
  | "SelectionRefused"
  | "Malformed"
  | "Misconfigured"
  | "Unavailable, not sent"
  | "Unavailable, maybe sent"

/** Who answers a renewal, and what that is for each dialect, or for both. */
interface Row {
  readonly name: string
  readonly iam: Effect.Effect<{ readonly issuer: string; readonly http?: Changes["http"] }, never, Scope.Scope>
  readonly kinds: Readonly<Record<Dialect, Kind>>
}

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
const jwt = (jti: string) =>
  `${part({ alg: "RS256", typ: "JWT" })}.${part({ exp: 4_000_000_000, jti })}.${"s".repeat(86)}`
const old = { token: jwt("canary old"), refreshToken: "canary-old-refresh-token" }
const pair = { token: jwt("canary new"), refreshToken: "canary-new-refresh-token" }

const row = (name: string, iam: () => Row["iam"], kinds: Kind | readonly [Kind, Kind]): Row => ({
  name,
  iam: Effect.suspend(iam),
  kinds: typeof kinds === "string"
    ? { genomcore: kinds, datalayer: kinds }
    : { genomcore: kinds[0], datalayer: kinds[1] }
})

const answered = (
  name: string,
  reply: BareServer.Reply | ((seen: BareServer.Seen) => BareServer.Reply),
  kinds: Kind | readonly [Kind, Kind]
) =>
  row(
    name,
    () => Effect.map(serve(typeof reply === "function" ? reply : () => reply), ({ origin }) => ({ issuer: origin })),
    kinds
  )

const broken = (
  name: string,
  bytes: string,
  after: BareServer.Reply["after"],
  kind: Kind = "Unavailable, maybe sent"
) => answered(name, { bytes, after }, kind)

/** A client of which no host name leads anywhere. */
const lost = (code: string): NonNullable<Changes["http"]> =>
  NodeHttpClient.layerUndiciNoDispatcher.pipe(
    Layer.provide(
      Layer.effect(
        NodeHttpClient.Dispatcher,
        Effect.acquireRelease(
          Effect.sync(() =>
            new Agent({
              connect: {
                lookup: (host, _options, callback) =>
                  callback(
                    Object.assign(new Error(`getaddrinfo ${code} ${host}`), { code, syscall: "getaddrinfo" }),
                    ""
                  )
              }
            })
          ),
          (agent) => Effect.promise(() => agent.destroy())
        )
      )
    )
  )

/** Says everything back that it was sent, wherever an answer has room for it. */
const echo = (status: number) => ({ body, headers }: BareServer.Seen): BareServer.Reply => {
  const text = `${headers["authorization"] ?? ""} ${body} ${Object.values(JSON.parse(body)).join(" ")}`
  const line = encodeURIComponent(text)
  return json(
    status,
    { message: text, detail: [{ msg: text, input: text }], errors: [text], details: [text], error: text, [text]: text },
    { location: `https://host.test/${line}`, "retry-after": line, date: line, "x-echo": line }
  )
}

const rows: ReadonlyArray<Row> = [
  answered("200 with a pair", json(200, pair), "renewed"),
  answered("201 with a pair", json(201, { success: true, ...pair }), "renewed"),
  answered("200 with a pair, success as text", json(200, { success: "true", ...pair }), "renewed"),
  answered("200 without a refresh token", json(200, { token: pair.token }), "renewed"),
  answered(
    "200 with a pair under another type",
    answer(200, JSON.stringify(pair), { "content-type": "text/plain" }),
    "renewed"
  ),

  answered("401 with a message", json(401, { message: "this token was used before" }), "ReauthenticationRequired"),
  answered(
    "401 with a detail and success: false",
    json(401, { success: false, detail: "no" }),
    "ReauthenticationRequired"
  ),
  answered("200 with success: false", json(200, { success: false, message: "disabled" }), [
    "Malformed",
    "ReauthenticationRequired"
  ]),
  answered("401 with an OAuth error", json(401, { error: "invalid_grant" }), ["ReauthenticationRequired", "Malformed"]),
  answered("401 with an empty body", answer(401, ""), ["ReauthenticationRequired", "Unavailable, maybe sent"]),
  answered("401 with a proxy's page", html(401), "Unavailable, maybe sent"),
  answered("401 with text", answer(401, "no", { "content-type": "text/plain" }), "Unavailable, maybe sent"),
  answered("401 with everything said back", echo(401), "ReauthenticationRequired"),

  answered("200 with an empty body", answer(200, ""), "Malformed"),
  answered("200 with a page", html(200), "Malformed"),
  broken("204", "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", "end", "Malformed"),
  answered("200 with half an object", answer(200, `{"token":"`), "Malformed"),
  answered("200 with a list", json(200, [pair]), "Malformed"),
  answered("200 with null", json(200, null), "Malformed"),
  answered("200 with a text", json(200, "ok"), "Malformed"),
  answered("200 without a token", json(200, { success: true, message: "ok" }), "Malformed"),
  answered("200 with an empty token", json(200, { ...pair, token: "" }), "Malformed"),
  answered("200 with a number for a token", json(200, { ...pair, token: 7 }), "Malformed"),
  answered("200 with a token that no header can carry", json(200, { ...pair, token: "canary\r\nx: y" }), "Malformed"),
  answered("200 with everything said back", echo(200), "Malformed"),

  answered("302", answer(302, "", { location: "https://elsewhere.test/" }), "Misconfigured"),
  answered("307", answer(307, "", { location: "/elsewhere" }), "Misconfigured"),
  answered("307 with everything said back", echo(307), "Misconfigured"),

  answered("400 invalid_grant", json(400, { error: "invalid_grant" }), ["Misconfigured", "Malformed"]),
  answered("400 invalid_client", json(400, { error: "invalid_client" }), ["Misconfigured", "Malformed"]),
  answered("400 invalid_request with a description", json(400, { error: "invalid_request", error_description: "x" }), [
    "Misconfigured",
    "Malformed"
  ]),
  answered("400 with a page", html(400), "Unavailable, maybe sent"),
  answered("400 with everything said back", echo(400), ["Misconfigured", "Malformed"]),
  answered("403 with a message", json(403, { message: "no" }), ["SelectionRefused", "Malformed"]),
  answered("403 with a proxy's page", html(403), "Unavailable, maybe sent"),
  answered("404 with a message", json(404, { message: "Not Found" }), "Misconfigured"),
  answered("404 with a page", html(404), "Misconfigured"),
  answered("405", json(405, { message: "Method Not Allowed" }), "Misconfigured"),
  answered("407 of a proxy", html(407), "Unavailable, maybe sent"),
  answered("409", json(409, { message: "conflict" }), "Malformed"),
  answered("418", json(418, { hello: "teapot" }), "Malformed"),
  answered("422", json(422, { detail: [{ loc: ["body"], msg: "field required", input: "y" }] }), [
    "Misconfigured",
    "Malformed"
  ]),

  answered("408", answer(408, ""), "Unavailable, maybe sent"),
  answered("425", json(425, { message: "too early" }), "Unavailable, not sent"),
  answered("429 with seconds to wait", json(429, {}, { "retry-after": "7" }), "Unavailable, not sent"),
  answered("429 with a page", html(429), "Unavailable, not sent"),
  answered("500 with a message", json(500, { success: false, message: "oops" }), "Unavailable, maybe sent"),
  answered("500 with an empty body", answer(500, ""), "Unavailable, maybe sent"),
  answered("500 with everything said back", echo(500), "Unavailable, maybe sent"),
  answered("502 with a page", html(502), "Unavailable, maybe sent"),
  answered("503 with a page", html(503), "Unavailable, not sent"),
  answered(
    "503 with a date to wait for",
    json(503, {}, { "retry-after": "Thu, 01 Jan 2099 00:00:00 GMT" }),
    "Unavailable, not sent"
  ),
  answered("504", answer(504, ""), "Unavailable, maybe sent"),
  answered("511 of a hotel", html(511), "Unavailable, maybe sent"),

  broken("closed at once", "", "end"),
  broken("reset at once", "", "reset"),
  broken("half a head", "HTTP/1.1 200 OK\r\ncontent-", "end"),
  broken("half a body", `HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n${JSON.stringify(pair)}`, "end"),
  broken(
    "half a body, then a reset",
    `HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n${JSON.stringify(pair)}`,
    "reset"
  ),
  broken("a chunk that is missing", `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"tok\r\n`, "end"),
  broken("no answer", "", "hang"),
  broken("an answer that never ends", "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{", "hang"),
  broken("no HTTP at all", "220 smtp.example.com ESMTP ready\r\n", "end", "Malformed"),

  row("nobody listens", () => Effect.map(nobody, (issuer) => ({ issuer })), "Unavailable, not sent"),
  row(
    "a certificate that nobody trusts",
    () => Effect.map(serveTls(() => json(200, pair)), ({ origin }) => ({ issuer: origin })),
    "Misconfigured"
  ),
  row(
    "https at a port that speaks http",
    () => Effect.map(serveAtOnce(json(400, {}).bytes), ({ origin }) => ({ issuer: origin.replace("http:", "https:") })),
    "Misconfigured"
  ),
  row(
    "no such host",
    () => Effect.succeed({ issuer: "https://iam.test", http: lost("ENOTFOUND") }),
    "Unavailable, not sent"
  ),
  row(
    "no answer of the DNS",
    () => Effect.succeed({ issuer: "https://iam.test", http: lost("EAI_AGAIN") }),
    "Unavailable, not sent"
  )
]

/** Leaves a session in the files without asking anybody. */
const seed = Effect.fnUntraced(function*(setup: Setup, left: Duration.Duration) {
  const document = setup.dialect === "genomcore"
    ? { token: old.token, refresh_token: old.refreshToken, organization: "acme" }
    : { token: old.token }
  const { key } = yield* AuthManager.AuthManager.use((auth) => auth.import(document)).pipe(
    Effect.provide(program(setup)),
    Effect.scoped
  )
  yield* age(setup, key, left)
})

const kindOf = (error: AuthError.AuthError): string => {
  if (error._tag !== "IamError") return error._tag
  const { reason } = error
  return reason._tag === "Unavailable" ? `Unavailable, ${reason.sent === "no" ? "not" : "maybe"} sent` : reason._tag
}

interface Document {
  readonly session: {
    readonly generation: number
    readonly grant: { readonly _tag: string; readonly refreshToken?: string }
    readonly tokens: unknown
    readonly intent?: unknown
    readonly dead?: unknown
  }
}

/** A session as it lies on the disk, without the mark that a renewal was sent and without what counts such marks. */
const unmarked = (text: string) => {
  const { session: { generation: _, intent: __, ...session } }: Document = JSON.parse(text)
  return session
}

const hold = Effect.fnUntraced(function*(row: Row, dialect: Dialect, left: Duration.Duration) {
  const { http, issuer } = yield* row.iam
  const setup: Setup = { issuer, dialect, directory: yield* temporary, timeLimit: 300 }
  yield* seed(setup, left)
  const read = () => Fs.readFileSync(sessionFile(setup.directory), "utf8")
  return { auth: open(setup, http === undefined ? {} : { http }), before: read(), read }
})

layer(NodeFileSystem.layer, { excludeTestServices: true })("whatever an IAM answers", (it) => {
  for (const dialect of ["genomcore", "datalayer"] as const) {
    describe(`from a ${dialect}-style IAM`, () => {
      let passed = 0
      afterAll(() =>
        measured({
          case: `${rows.length} answers as raw bytes, through the whole stack (${dialect})`,
          bar: "told apart; file unchanged unless dead; valid token",
          measured: `${passed} of ${rows.length}`,
          met: passed === rows.length
        }).pipe(Effect.runPromise)
      )

      for (const row of rows) {
        const kind = row.kinds[dialect]
        it.effect(`${row.name}: ${kind}, and no valid token is withheld`, () =>
          Effect.gen(function*() {
            const witness = Witness.make()
            const { auth, before, read } = yield* hold(row, dialect, Duration.seconds(60))
            const { refused, served } = yield* Effect.gen(function*() {
              const { refresh, session, token } = yield* auth
              const refused = yield* Effect.result(refresh())
              const served = yield* Effect.all(Array.from({ length: 10 }, () => token))
              yield* Effect.logDebug("what came of it", refused, yield* session)
              return { refused, served: [...new Set(served.map(accessToken))] }
            }).pipe(Effect.scoped, witness.watch)
            witness.assertNoSecret()
            assert.isAbove(witness.spans.length, 0)
            const after = read()

            if (Result.isSuccess(refused)) {
              assert.strictEqual(kind, "renewed")
              assert.deepStrictEqual(served, [pair.token])
              assert.include(after, pair.token)
              const { refreshToken } = unmarked(after).grant
              const kept = row.name.includes("without a refresh token") ? old.refreshToken : pair.refreshToken
              assert.strictEqual(refreshToken, dialect === "genomcore" ? kept : undefined)
            } else {
              Witness.assertNoSecret(shown(refused.failure), "in the error")
              assert.strictEqual(kindOf(refused.failure), kind, refused.failure.message)
              assert.deepStrictEqual(served, [old.token])
              assertUntouched(dialect, kind, before, after)
            }
            passed += 1
          }))

        // The other dialect cannot renew what has expired, and asks nobody.
        if (dialect === "genomcore" && kind !== "renewed") {
          it.effect(`${row.name}: ${kind}, told to who has no valid token`, () =>
            Effect.gen(function*() {
              const witness = Witness.make()
              const { auth, before, read } = yield* hold(row, dialect, Duration.seconds(-1))
              const error = yield* Effect.flatMap(auth, ({ token }) => Effect.flip(token)).pipe(
                Effect.scoped,
                witness.watch
              )
              witness.assertNoSecret()
              Witness.assertNoSecret(shown(error), "in the error")
              assert.strictEqual(kindOf(error), kind, error.message)
              assertUntouched(dialect, kind, before, read())
            }))
        }
      }
    })
  }
})

const assertUntouched = (dialect: Dialect, kind: Kind, before: string, after: string): void => {
  if (kind === "ReauthenticationRequired") {
    assert.strictEqual(unmarked(after).grant._tag, "None")
    assert.isTrue("dead" in unmarked(after))
    assert.deepStrictEqual(unmarked(after).tokens, unmarked(before).tokens)
    assert.notInclude(after, old.refreshToken)
  } else if (dialect === "datalayer") {
    // To send the token of this dialect again does no harm, so nothing is marked.
    assert.strictEqual(after, before)
  } else {
    assert.deepStrictEqual(unmarked(after), unmarked(before))
    const { session }: Document = JSON.parse(after)
    assert.strictEqual("intent" in session, kind === "Malformed" || kind === "Unavailable, maybe sent")
  }
}
