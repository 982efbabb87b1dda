import {
  type AuthError,
  AuthManager,
  type BrowserLogin,
  type DeviceLogin,
  IamClient,
  InteractiveStrategy,
  LoginPrompt,
  Selection,
  SessionKeeper,
  TokenStorage
} from "@effect-authn/core"
import { type ClientAuthentication, OidcIam, OidcStrategy } from "@effect-authn/iam-oidc"
import { Witness } from "@effect-authn/testing"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Formatter, Layer, Option, Redacted } from "effect"
import { FetchHttpClient, type HttpClient } from "effect/http"
import { inspect } from "node:util"
import { type Asked, keys, type Reply, type Script, seconds, serve, sessionOf, sign } from "./rawProvider.ts"

const clientSecret = `canary-secret with spaces & "signs" \\ / % + ~!'()*`
const code = "canary-code"
const foreign = sign({ sub: "somebody else" })

const authentications = {
  none: { method: "none" },
  client_secret_basic: { method: "client_secret_basic", secret: Redacted.make(clientSecret) },
  client_secret_post: { method: "client_secret_post", secret: Redacted.make(clientSecret) },
  private_key_jwt: {
    method: "private_key_jwt",
    key: Redacted.make({ ...keys.privateKey.export({ format: "jwk" }), alg: "ES256", kid: "1" })
  },
  assertion: { method: "assertion", token: Effect.sync(() => Redacted.make(sign({ sub: "canary-workload" }))) }
} as const satisfies Record<string, ClientAuthentication.ClientAuthentication>

const clients = { fetch: FetchHttpClient.layer, undici: NodeHttpClient.layerUndici }

// Every client meets every way to be wrong, and every authentication does.
const pairs = [
  ["none", "fetch"],
  ["client_secret_basic", "undici"],
  ["client_secret_post", "fetch"],
  ["private_key_jwt", "undici"]
] as const

/** No part of a secret may be seen, cut or escaped as it may be: those that are ours to name, and those that were sent. */
const partsOf = (asked: ReadonlyArray<Asked>): ReadonlyArray<string> => {
  const sent = asked.flatMap(({ form, headers }) => [
    (headers.authorization ?? "").replace(/^(Basic|Bearer) /, ""),
    form.get("code_verifier") ?? "",
    ...(form.get("client_assertion") ?? "").split(".")
  ])
  return ["canary", ...foreign.split("."), ...sent].filter((text) => text !== "").map((text) => text.slice(0, 30))
}

const assertNone = (text: string, asked: ReadonlyArray<Asked>, where: string) => {
  for (const part of partsOf(asked)) {
    const at = text.indexOf(part)
    assert.strictEqual(at, -1, at === -1 ? "" : `${where}: …${text.slice(Math.max(0, at - 200), at)}[${part}]`)
  }
}

/** All the ways in which an error is commonly printed. */
const shown = (error: { readonly message: string; readonly stack?: string | undefined }): string =>
  [
    String(error),
    error.message,
    error.stack ?? "",
    JSON.stringify(error),
    inspect(error, { depth: null, showHidden: true, getters: true }),
    Formatter.format(error),
    Formatter.formatJson(error),
    Cause.pretty(Cause.fail(error)),
    inspect(Exit.fail(error), { depth: null, showHidden: true })
  ].join("\n")

/** The person pastes what the provider would have sent the browser to. */
const person = (seen: (page: URLSearchParams) => void) =>
  Layer.succeed(LoginPrompt.LoginPrompt, {
    obstacle: Effect.succeedNone,
    show: () => Effect.void,
    ask: (notice) =>
      Effect.sync(() => {
        const page = new URL(notice._tag === "PasteCallback" ? notice.url : "").searchParams
        seen(page)
        return Option.some(Redacted.make(`${page.get("redirect_uri")}?code=${code}&state=${page.get("state")}`))
      })
  })

type Needs = BrowserLogin.BrowserLogin | DeviceLogin.DeviceLogin | LoginPrompt.LoginPrompt | OidcIam.OidcIam

/** Sends all that is ever sent (or `only` one) to a provider that is honest but for `script`. */
const play = Effect.fnUntraced(function*(
  clientAuthentication: ClientAuthentication.ClientAuthentication,
  http: Layer.Layer<HttpClient.HttpClient>,
  script: Script["routes"] = {},
  only?: "device"
) {
  let nonce = ""
  const server = yield* serve({
    routes: {
      "/token": ({ form }, base) => ({
        body: {
          access_token: "canary-at-1",
          refresh_token: "canary-rt-1",
          token_type: "Bearer",
          expires_in: 300,
          ...(form.get("grant_type") === "authorization_code"
            ? { id_token: sign({ ...claims(base), nonce }) }
            : form.get("grant_type") === "client_credentials"
            ? {}
            : { id_token: sign(claims(base)) })
        }
      }),
      "/device": (_asked, base) => ({
        body: {
          device_code: "canary-dc",
          user_code: "AB-CD",
          verification_uri: `${base}/enter`,
          // Some of the answers are polled past until the end.
          expires_in: script["/token"] === undefined ? 30 : 0.1,
          interval: 0.01
        }
      }),
      "/userinfo": { body: { sub: "ada", name: "Ada" } },
      "/revoke": {},
      ...script
    }
  })
  const { issuer } = server
  const witness = Witness.make()
  const program = AuthManager.layer().pipe(
    Layer.provideMerge(SessionKeeper.layer),
    Layer.provideMerge(OidcIam.layer({
      issuer,
      clientId: "cli",
      clientAuthentication,
      // A code that was not processed is sent again within it.
      ...(script["/token"] === undefined ? {} : { policy: { timeLimit: Duration.millis(2500) } })
    })),
    Layer.provideMerge(TokenStorage.layerMemory),
    Layer.provide(http),
    Layer.merge(person((page) => {
      nonce = page.get("nonce") ?? ""
    }))
  )
  const errors = yield* Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const iam = yield* IamClient.IamClient
    const session = yield* sessionOf(issuer, "canary-")
    const acts: ReadonlyArray<readonly [string, Effect.Effect<unknown, AuthError.AuthError, Needs>]> = [
      ["manual", auth.login(InteractiveStrategy.manual())],
      ["refresh", auth.refresh()],
      ["whoami", auth.whoami],
      ["logout", auth.logout],
      ["device", auth.login(InteractiveStrategy.device())],
      ["program", auth.login(OidcStrategy.clientCredentials())],
      ["renewal", iam.renew(session, Selection.none)],
      ["user", iam.whoami(session)],
      ["revocation", iam.revoke(session)]
    ]
    const failures: Array<string> = []
    for (const [name, act] of acts) {
      if (only !== undefined && only !== name) continue
      const result = yield* Effect.result(
        Effect.asVoid(act).pipe(
          Effect.tapCause((cause) => Effect.logError("failed", cause)),
          Effect.tap(() => Effect.logTrace("done")),
          Effect.withSpan(name)
        )
      )
      if (result._tag === "Success") continue
      failures.push(name)
      assertNone(shown(result.failure), server.asked, name)
    }
    return failures
  }).pipe(Effect.provide(program), witness.watch)
  assertNone(witness.logs.join("\n"), server.asked, "in the log")
  assertNone(witness.traced(), server.asked, "in a span")
  return { asked: server.asked, errors, spans: witness.spans, logs: witness.logs, traced: witness.traced() }
})

const claims = (issuer: string) => ({
  iss: issuer,
  aud: "cli",
  sub: "ada",
  name: "Ada",
  iat: seconds(),
  exp: seconds() + 300
})

/** Everything that a client sent, said back, as it came and decoded. */
const echo = ({ form, headers }: Asked): string => {
  const authorization = headers.authorization ?? ""
  const basic = Buffer.from(authorization.replace("Basic ", ""), "base64").toString()
  return `${authorization} ${basic} ${form.toString()} ${[...form.values()].join(" ")}`
}

const everywhere = (status: number) => (asked: Asked): Reply => {
  const text = echo(asked)
  const line = encodeURIComponent(text)
  return {
    status,
    headers: {
      location: `https://host.test/${line}`,
      "retry-after": line,
      date: line,
      "x-echo": line,
      "www-authenticate": line
    },
    body: {
      error: text,
      error_description: text,
      error_uri: text,
      message: text,
      detail: [{ loc: [text], msg: text, input: text }],
      errors: [text, { message: text }],
      sub: text,
      [text]: text
    }
  }
}

const tokens = (fields: (text: string) => object) => (asked: Asked): Reply => ({
  body: { access_token: "canary-at-2", refresh_token: "canary-rt-2", token_type: "Bearer", ...fields(echo(asked)) }
})

const scripts: Record<string, (asked: Asked) => Reply> = {
  ...Object.fromEntries(
    [200, 201, 302, 307, 400, 401, 403, 404, 405, 409, 422, 429, 500, 503].map((status) => [
      `${status} with an echo`,
      everywhere(status)
    ])
  ),
  ...Object.fromEntries(
    ["invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "server_error", "nobody_knows"].map((
      error
    ) => [
      `${error} with an echo`,
      (asked) => ({ status: 400, body: { error, error_description: echo(asked) } })
    ])
  ),
  "an echo that is no JSON": (asked) => ({
    headers: { "content-type": encodeURIComponent(echo(asked)) },
    body: echo(asked)
  }),
  "somebody else's token": () => ({ status: 401, body: { error: "invalid_token", error_description: foreign } }),
  "an encoded echo": (asked) => ({
    status: 400,
    body: { error: "invalid_request", error_description: encodeURIComponent(echo(asked)) }
  }),
  "an echo at the limit of a message": (asked) => ({
    status: 400,
    body: { error: "invalid_request", error_description: `${"x".repeat(170)}${echo(asked).trim()}` }
  }),
  "tokens of a type with an echo": tokens((text) => ({ token_type: text })),
  "tokens with an id_token that is an echo": tokens((text) => ({ id_token: text })),
  "tokens with an id_token that is somebody else's": tokens(() => ({ id_token: foreign })),
  "tokens with an id_token whose claims are an echo": tokens((text) => ({
    id_token: sign({ iss: text, aud: text, sub: text, nonce: text, iat: seconds(), exp: seconds() + 300 })
  })),
  "tokens with an id_token whose key is named by an echo": (asked) => ({
    body: {
      access_token: "canary-at-2",
      id_token: sign({ ...claims("x"), iss: undefined }, { kid: asked.form.get("refresh_token") ?? echo(asked) })
    }
  }),
  "a signed answer whose claims are an echo": (asked) => ({
    headers: { "content-type": "application/jwt" },
    body: sign({ iss: echo(asked), aud: echo(asked), sub: echo(asked) })
  }),
  "a signed answer whose key is named by an echo": (asked) => ({
    headers: { "content-type": "application/jwt" },
    body: sign({ sub: "ada" }, { kid: (asked.headers.authorization ?? echo(asked)).replace("Bearer ", "") })
  }),
  "a signed answer that is somebody else's": () => ({ headers: { "content-type": "application/jwt" }, body: foreign }),
  "a connection that is cut": () => ({ drop: true })
}

describe("no secret is shown by a whole life of sessions, whose every request is traced,", () => {
  for (const [name, http] of Object.entries(clients)) {
    for (const [method, authentication] of Object.entries(authentications)) {
      it.live(`with ${method} and ${name}`, () =>
        Effect.gen(function*() {
          const { asked, errors, logs, spans } = yield* play(authentication, http)
          assert.deepStrictEqual(errors, [])
          assert.isAbove(logs.length, 9)
          const ofRequests = spans.filter(({ kind }) => kind === "client")
          const sent = ofRequests.map(({ attributes }) =>
            `${String(attributes.get("http.request.method"))} ${String(attributes.get("url.path"))}`
          )
          // Nothing goes past the client that was given, or past its spans.
          assert.deepStrictEqual(sent.toSorted(), asked.map(({ method, path }) => `${method} ${path}`).toSorted())
          assert.isAbove(sent.length, 8)
          // Each belongs to what it was sent for.
          assert.isTrue(ofRequests.every(({ parent }) => Option.isSome(parent)))
        }))
    }
  }
})

for (const [method, name] of pairs) {
  describe(`no secret is shown, with ${method} and ${name},`, () => {
    const authentication = authentications[method]
    const http = clients[name]
    for (const [name, reply] of Object.entries(scripts)) {
      it.live(`by ${name}`, () =>
        Effect.gen(function*() {
          const { errors } = yield* play(authentication, http, {
            "/token": reply,
            "/userinfo": reply,
            "/revoke": reply
          })
          assert.isAbove(errors.length, 2)
          yield* play(authentication, http, { "/device": reply }, "device")
        }))
    }
  })
}

it.live("but a secret would be found", () =>
  Effect.gen(function*() {
    const { asked } = yield* play({ method: "client_secret_basic", secret: Redacted.make(clientSecret) }, clients.fetch)
    const witness = Witness.make()
    const verifier = asked.map(({ form }) => form.get("code_verifier")).find((text) => text !== null)
    const header = asked.map(({ headers }) => headers.authorization).find((text) => text !== undefined)
    for (const secret of [clientSecret, code, verifier, header, "canary-rt-0"]) {
      yield* Effect.logInfo(`sent ${secret}`).pipe(Effect.withSpan("x", { attributes: { secret } }), witness.watch)
      assert.throws(() => assertNone(witness.logs.join("\n"), asked, "in the log"), "in the log")
    }
    assert.throws(() => assertNone(witness.traced(), asked, "in a span"), "in a span")
  }))
