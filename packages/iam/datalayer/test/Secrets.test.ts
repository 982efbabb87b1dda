import type { IamError } from "@effect-authn/core"
import { BareServer, Witness } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Formatter } from "effect"
import { inspect } from "node:util"
import { clients, jwt, requests, signedIn } from "./fixtures.ts"

const { answer, json, nobody, serve, serveTls } = BareServer

const canary = `canary-9b1f with spaces & "signs" \\ / %`
const token = jwt({ exp: 4_000_000_000, jti: "0123456789" })
const foreign = jwt({ sub: "somebody else" })
const opaque = "dla_canary-key"
/** No part of a secret may be seen, cut or escaped as it may be. */
const parts = ["canary", ...[token, foreign].flatMap((jwt) => jwt.split(".")).map((part) => part.slice(0, 40))]

/** Everything that a client sent, said back, as it came and decoded. */
const echo = ({ body, headers }: BareServer.Seen) =>
  `${headers["authorization"] ?? ""} ${body} ${body === "" ? "" : Object.values(JSON.parse(body)).join(" ")}`

const everywhere = (status: number) => (seen: BareServer.Seen): BareServer.Reply => {
  const text = echo(seen)
  const line = encodeURIComponent(text)
  return json(status, {
    success: false,
    message: text,
    detail: [{ loc: [text], msg: text, input: text }],
    errors: [text, { message: text }],
    details: [text],
    traceback: text,
    [text]: text,
    token: text
  }, {
    location: `https://host.test/${line}`,
    "retry-after": line,
    date: line,
    "x-echo": line,
    "www-authenticate": line
  })
}

const shown = (error: IamError.IamError): string =>
  [
    String(error),
    error.message,
    error.stack ?? "",
    JSON.stringify(error),
    JSON.stringify(error.reason),
    inspect(error, { depth: null, showHidden: true, getters: true }),
    Formatter.format(error),
    Formatter.formatJson(error),
    Cause.pretty(Cause.fail(error)),
    inspect(Exit.fail(error), { depth: null, showHidden: true })
  ].join("\n")

const scripts: ReadonlyArray<[string, (seen: BareServer.Seen) => BareServer.Reply]> = [
  ...[200, 201, 302, 307, 400, 401, 403, 404, 405, 409, 422, 429, 500, 503].map((status) =>
    [`${status} with an echo`, everywhere(status)] as [string, (seen: BareServer.Seen) => BareServer.Reply]
  ),
  ["an echo that is no JSON", (seen) => answer(200, echo(seen), { "content-type": encodeURIComponent(echo(seen)) })],
  ["somebody else's token", () => json(401, { detail: `use "${foreign}"` })],
  ["an encoded echo", (seen) => json(401, { detail: encodeURIComponent(echo(seen)) })],
  ["an echo at the limit of a message", (seen) => json(401, { detail: `${"x".repeat(190)}${echo(seen).trim()}` })],
  [
    "a redirect to a host with the echo",
    ({ headers }) => answer(307, "", { location: `https://${headers["authorization"]?.slice(7) ?? "x"}.test/` })
  ],
  ["an echo that is no HTTP", (seen) => ({ bytes: `${echo(seen)}\r\n\r\n`, after: "end" })],
  ["half an echo", (seen) => ({ bytes: `HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n${echo(seen)}`, after: "end" })],
  ["a profile with an echo", (seen) => json(200, { profile: { email_s: echo(seen) }, user: echo(seen) })]
]

for (const [client, layer] of clients) {
  describe(`no error shows a secret, with ${client}`, () => {
    const drive = Effect.fnUntraced(function*(issuer: string) {
      const witness = Witness.make()
      for (const access of [token, opaque]) {
        const { iam, session } = yield* signedIn(issuer, { token: access })
        for (const [name, attempt] of Object.entries(requests(iam, session, canary))) {
          const result = yield* attempt.pipe(
            Effect.tapCause((cause) => Effect.logError("failed", cause)),
            witness.watch,
            Effect.result
          )
          if (result._tag === "Success") continue
          const text = shown(result.failure)
          for (const part of parts) assert.notInclude(text, part, name)
        }
      }
      assert.isAbove(witness.spans.length, 0)
      assert.isAbove(witness.logs.length, 0)
      for (const part of parts) assert.notInclude([...witness.logs, witness.traced()].join("\n"), part)
    })

    for (const [name, script] of scripts) {
      it.live(name, () =>
        Effect.gen(function*() {
          yield* drive((yield* serve(script)).origin)
        }).pipe(Effect.provide(layer)))
    }

    it.live("no connection, no certificate", () =>
      Effect.gen(function*() {
        yield* drive(yield* nobody)
        yield* drive((yield* serveTls(everywhere(200))).origin)
      }).pipe(Effect.provide(layer)))
  })
}
