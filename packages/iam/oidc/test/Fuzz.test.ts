/**
 * Answers that nobody would think of, in their types, encodings and nesting: no defect, no secret in any message, and no
 * session lost to an answer that does not say so.
 */
import { BrowserLogin, DeviceLogin, IamClient, type IamError, Selection, Session } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth } from "@effect-authn/platform-node"
import { Witness } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Duration, Effect, Exit, Layer, Option, Schema } from "effect"
import { createServer, type Server } from "node:http"
import { inspect } from "node:util"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import { jwks, seconds, sessionOf, sign, unsigned } from "./rawProvider.ts"

// A red run is a change's and not the draw's; another seed draws others.
const seed = process.env["EFFECT_AUTHN_FUZZ_SEED"] ?? "1"
const runs = Number(process.env["EFFECT_AUTHN_FUZZ_RUNS"] ?? 150)

const secret = "fuzz-secret"
const redirectUri = "http://127.0.0.1:49321/callback"

/** What stands in a field; a function is told of the issuer and of the login's nonce. */
const values = {
  "a text": `${secret}-1`,
  "nothing": undefined,
  "null": null,
  "an empty text": "",
  "a number": 7,
  "a fraction": -0.5,
  "a huge number": 1e300,
  "a truth": true,
  "a list": [`${secret}-1`, null, { a: [] }],
  "an object": { token: `${secret}-1`, "": null },
  "a proto": JSON.parse("{\"__proto__\": {\"polluted\": true}, \"constructor\": 1, \"toString\": null}"),
  "a long text": `${secret}-${"x".repeat(9000)}`,
  "lines": `${secret}-1\r\nhost=evil.example`,
  "escapes": `\u001b[2J${secret}-1\0\u202e`,
  "half a letter": `${secret}-\ud800`,
  "other letters": `${secret}-ÄΩ𝒜`,
  "digits": "300",
  "words": "300 seconds or so",
  "infinite": "1e400"
}
type Name = keyof typeof values

/** The same without a secret, for what a message may quote. */
const harmless = (name: Name): unknown => {
  const text = JSON.stringify(values[name])
  return text === undefined ? undefined : JSON.parse(text.replaceAll(secret, "words"))
}
const Any = Schema.Literals(Object.keys(values).filter((name): name is Name => name in values))

const claims = (issuer: string, nonce: string) => ({
  iss: issuer,
  aud: "cli",
  sub: "ada",
  name: "Ada",
  nonce,
  iat: seconds(),
  exp: seconds() + 300
})

const idTokens = {
  "good": (issuer: string, nonce: string) => sign(claims(issuer, nonce)),
  "of odd claims": (issuer: string, nonce: string) =>
    sign({
      ...claims(issuer, nonce),
      aud: [1, "cli", null],
      sub: 4711,
      given_name: ["Ada"],
      email: {},
      roles: "admin"
    }),
  "of odd times": (issuer: string, nonce: string) =>
    sign({ ...claims(issuer, nonce), exp: "soon", iat: null, nbf: 1e300 }),
  "of another person": (issuer: string, nonce: string) => sign({ ...claims(issuer, nonce), sub: "eve" }),
  "not signed": (issuer: string, nonce: string) => unsigned(claims(issuer, nonce)),
  "by an odd algorithm": (issuer: string, nonce: string) => sign(claims(issuer, nonce), { alg: ["ES256"], kid: {} }),
  "cut short": (issuer: string, nonce: string) => sign(claims(issuer, nonce)).slice(0, -40),
  "of five parts": (issuer: string, nonce: string) => `${sign(claims(issuer, nonce))}.x.y`,
  "of a list": () => `${btoa("[1]")}.${btoa("[2]")}.x`,
  "dots": () => "...."
}
type IdToken = keyof typeof idTokens
const AnIdToken = Schema.Literals(Object.keys(idTokens).filter((name): name is IdToken => name in idTokens))

// None of them says anything of a grant.
const vague = ["nobody_knows_7", "Forbidden", "unknown", "ERR_42", "internal", "too many cooks", "invalid", "expired"]
// Each of them says that it is gone.
const final = ["invalid_grant", "INVALID_REFRESH_TOKEN", "refresh-token-expired", "token_revoked"]

const Answer = Schema.Struct({
  status: Schema.Literals([200, 200, 200, 200, 201, 204, 206, 302, 400, 400, 401, 403, 404, 409, 418, 500, 502, 503]),
  access: Schema.Union([Schema.Literal("a text"), Any]),
  refresh: Schema.Union([Schema.Literal("a text"), Any]),
  idToken: Schema.Union([AnIdToken, Any]),
  type: Schema.Union([Schema.Literal("a bearer"), Any]),
  expires: Any,
  scope: Any,
  error: Schema.Literals(["none", "none", "vague", "vague", "final", "any"]),
  errorIs: Any,
  word: Schema.Int,
  place: Schema.Literals(["error", "error.code", "errors", "message", "error_code", "deep"]),
  echo: Schema.Boolean,
  tells: Schema.Boolean,
  noise: Schema.Record(Schema.String, Schema.Json),
  shape: Schema.Literals(["plain", "plain", "plain", "list", "inner", "text"]),
  encoding: Schema.Literals([
    ...[
      "plain",
      "plain",
      "plain",
      "gzip",
      "deflate",
      "br",
      "gzip untold",
      "told gzip",
      "told two",
      "odd coding"
    ] as const,
    ...["utf16", "bom", "broken utf8", "truncated", "twice", "nested", "numbers", "empty", "page"] as const
  ]),
  contentType: Schema.Literals([
    "application/json",
    "application/json;charset=utf-16",
    "text/html",
    "application/jwt",
    "application/x-www-form-urlencoded",
    "",
    "\t;;;"
  ]),
  challenge: Schema.Literals(["", "Basic", "Bearer error=\"invalid_token\"", "Negotiate"])
})
type Answer = typeof Answer.Type

const isIdToken = (name: string): name is IdToken => name in idTokens

/** A word from a list, and where it stands in the answer. */
const refusal = ({ error, errorIs, place, word }: Answer): object => {
  if (error === "none") return {}
  if (error === "any") return { error: harmless(errorIs) }
  const words = error === "final" ? final : vague
  const said = words[Math.abs(word) % words.length]
  switch (place) {
    case "error":
    case "message":
    case "error_code":
      return { [place]: said }
    case "error.code":
      return { error: { code: said, message: 7 } }
    case "errors":
      return { errors: [null, { code: said }] }
    case "deep":
      return { error: { errors: [{ reason: said }] } }
  }
}

interface Scene {
  readonly issuer: string
  readonly nonce: string
  /** What the request brought, for answers that say it back. */
  readonly sent: string
}

const textOf = (answer: Answer, { issuer, nonce, sent }: Scene): string => {
  const told = values[answer.access]
  const fields = {
    access_token: told,
    refresh_token: values[answer.refresh],
    id_token: isIdToken(answer.idToken) ? idTokens[answer.idToken](issuer, nonce) : values[answer.idToken],
    token_type: answer.type === "a bearer" ? "Bearer" : harmless(answer.type),
    expires_in: harmless(answer.expires),
    scope: harmless(answer.scope),
    device_code: told,
    user_code: harmless(answer.scope),
    verification_uri: `${issuer}/enter`,
    sub: harmless(answer.expires),
    ...refusal(answer),
    ...(answer.echo ? { error_description: sent, details: [sent, { message: sent }] } : {}),
    // Some log whole answers, and say that back.
    ...(answer.tells && typeof told === "string" ? { message: `in short: access_token=${told}` } : {})
  }
  const plain = { ...answer.noise, ...fields }
  const shaped = { plain, list: [plain], inner: { data: plain }, text: JSON.stringify(plain) }[answer.shape]
  return JSON.stringify(shaped)
}

const bytesOf = (answer: Answer, scene: Scene): { readonly bytes: Buffer; readonly coding?: string } => {
  const text = textOf(answer, scene)
  const bytes = Buffer.from(text)
  switch (answer.encoding) {
    case "plain":
      return { bytes }
    case "gzip":
      return { bytes: gzipSync(bytes), coding: "gzip" }
    case "deflate":
      return { bytes: deflateSync(bytes), coding: "deflate" }
    case "br":
      return { bytes: brotliCompressSync(bytes), coding: "br" }
    case "gzip untold":
      return { bytes: gzipSync(bytes) }
    case "told gzip":
      return { bytes, coding: "gzip" }
    case "told two":
      return { bytes: gzipSync(gzipSync(bytes)), coding: "gzip, gzip" }
    case "odd coding":
      return { bytes, coding: "x-nobody" }
    case "utf16":
      return { bytes: Buffer.from(text, "utf16le") }
    case "bom":
      return { bytes: Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes]) }
    case "broken utf8":
      return {
        bytes: Buffer.concat([
          bytes.subarray(0, bytes.length / 2),
          Buffer.from([0xff, 0xc0]),
          bytes.subarray(bytes.length / 2)
        ])
      }
    case "truncated":
      return { bytes: bytes.subarray(0, bytes.length - 3) }
    case "twice":
      return { bytes: Buffer.from(`${text}\n${text}`) }
    case "nested":
      return { bytes: Buffer.from(`{"error":${"[".repeat(5000)}${"]".repeat(5000)},${text.slice(1)}`) }
    case "numbers":
      return { bytes: Buffer.from(`{"expires_in":1e400,"a":-1e999,"b":0.${"1".repeat(400)},${text.slice(1)}`) }
    case "empty":
      return { bytes: Buffer.alloc(0) }
    case "page":
      return { bytes: Buffer.from(`<html><body>${scene.sent}</body></html>`) }
  }
}

type Services = BrowserLogin.BrowserLogin | DeviceLogin.DeviceLogin | IamClient.IamClient | OidcIam.OidcIam

/** All the ways in which an error is commonly printed. */
const shown = (cause: Cause.Cause<unknown>): string =>
  [Cause.pretty(cause), inspect(cause, { depth: 9 }), JSON.stringify(cause), String(Cause.squash(cause))].join("\n")

describe("answers of a provider", () => {
  it.live(`do no harm, in ${runs} that are drawn from seed ${seed}`, () =>
    Effect.gen(function*() {
      let answer: Answer | undefined
      let nonce = ""
      const server = yield* Effect.acquireRelease(
        Effect.callback<Server>((resume) => {
          const server = createServer((request, response) => {
            let form = ""
            request.on("data", (chunk) => form += String(chunk))
            request.on("end", () => {
              if (request.url === "/jwks") return response.writeHead(200).end(JSON.stringify(jwks))
              const sent = `${form} ${decodeURIComponent(form)} ${request.headers.authorization ?? ""}`
              const { bytes, coding } = bytesOf(answer!, { issuer: base(), nonce, sent })
              return response.writeHead(answer!.status, {
                ...(coding === undefined ? {} : { "content-encoding": coding }),
                ...(answer!.contentType === "" ? {} : { "content-type": answer!.contentType }),
                ...(answer!.challenge === "" ? {} : { "www-authenticate": answer!.challenge })
              }).end(answer!.status === 204 ? undefined : bytes)
            })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.sync(() => {
            server.close()
            server.closeAllConnections()
          })
      )
      const base = () => {
        const address = server.address()
        return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
      }
      const issuer = base()
      const iam = OidcIam.layer({
        issuer,
        clientId: "cli",
        metadata: {
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          device_authorization_endpoint: `${issuer}/device`,
          userinfo_endpoint: `${issuer}/userinfo`,
          revocation_endpoint: `${issuer}/revoke`,
          jwks_uri: `${issuer}/jwks`
        },
        // A code that was not processed waits for nobody here.
        policy: { timeLimit: Duration.millis(900) }
      }).pipe(Layer.provide(NodeAuth.layerHttpClient))

      const login = Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending, url } = yield* browser.begin({ redirectUri })
        nonce = new URL(url).searchParams.get("nonce") ?? ""
        return yield* browser.complete(pending, `${redirectUri}?code=${secret}-code&state=${pending.state}`)
      })

      const harmOf = Effect.fnUntraced(function*(drawn: Answer) {
        answer = drawn
        const client = yield* IamClient.IamClient
        const session = yield* sessionOf(issuer, `${secret}-`)
        const acts: Readonly<Record<string, Effect.Effect<Session.TokenResponse | void, IamError.IamError, Services>>> =
          {
            renewal: client.renew(session, Selection.none),
            login,
            device: Effect.asVoid(DeviceLogin.DeviceLogin.use((device) => device.begin())),
            client: OidcIam.OidcIam.use((oidc) => oidc.clientCredentials(Selection.none)),
            user: Effect.asVoid(client.whoami(session)),
            revocation: Effect.asVoid(client.revoke(session))
          }
        const harm: Array<string> = []
        for (const [name, act] of Object.entries(acts)) {
          const exit = yield* Effect.exit(act)
          if (Exit.isSuccess(exit)) {
            if (exit.value === undefined) continue
            // What is taken can be kept, and shown to an API.
            const made = Session.fromResponse(session.key, exit.value, { strategy: "fuzz", selection: Selection.none })
            const codec = Schema.fromJsonString(Session.Session)
            const kept = yield* Effect.exit(
              Effect.flatMap(Schema.encodeEffect(codec)(made), Schema.decodeEffect(codec))
            )
            if (Exit.isFailure(kept)) harm.push(`${name}: cannot be kept`)
            continue
          }
          const text = shown(exit.cause)
          const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
          if (error === undefined || error._tag !== "IamError") harm.push(`${name}: a defect: ${text.slice(0, 400)}`)
          if (text.includes(secret)) harm.push(`${name}: a secret: ${text.slice(0, 400)}`)
          if (/eyJ[\w-]{8}/.test(text)) harm.push(`${name}: a JWT`)
          if (error?.reason._tag === "GrantDead" && drawn.error !== "final") {
            harm.push(`${name}: a session that is lost`)
          }
        }
        return harm
      })

      const witness = Witness.make()
      const result = yield* Effect.provide(
        Arbitrary.checkEffect(
          Arbitrary.schema(Answer),
          (drawn) =>
            Effect.flatMap(
              harmOf(drawn),
              (harm) => harm.length === 0 ? Effect.succeed(true) : Effect.fail(harm.join("; "))
            ),
          { runs, seed, maxShrinks: 200 }
        ),
        iam
      ).pipe(witness.watch)
      if (result._tag === "Passed") {
        for (const text of [witness.logs.join("\n"), witness.traced()]) {
          const at = text.indexOf(secret)
          assert.strictEqual(at, -1, text.slice(Math.max(0, at - 300), at + 40))
        }
        return
      }
      const harm = result._tag === "Falsified" ? yield* Effect.provide(harmOf(result.shrunkInput), iam) : []
      assert.fail(
        `EFFECT_AUTHN_FUZZ_SEED=${seed}: ${harm.join("; ")}\n${
          result._tag === "Falsified" ? JSON.stringify(result.shrunkInput) : Arbitrary.formatCheckFailure(result)
        }`
      )
    }))
})
