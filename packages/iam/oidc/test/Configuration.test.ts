import { BrowserLogin, DeviceLogin, IamClient, type IamError, Selection } from "@effect-authn/core"
import { OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Deferred, Duration, Effect, Fiber, Layer } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { type RawProvider, seconds, serve, sessionOf, sign } from "./rawProvider.ts"

const redirectUri = "http://127.0.0.1:49321/callback"

const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300, refresh_token: "rt-1" }

/** A provider that gives what it is asked for, and the last form that each of its endpoints was sent. */
const provider = Effect.gen(function*() {
  let nonce = ""
  const server: RawProvider = yield* serve({
    routes: {
      "/token": ({ form }, base) => ({
        body: {
          ...tokens,
          ...(form.get("grant_type") === "authorization_code" && nonce !== ""
            ? {
              id_token: sign({
                iss: base,
                aud: "cli",
                sub: "ada",
                name: "Ada",
                nonce,
                iat: seconds(),
                exp: seconds() + 300
              })
            }
            : {})
        }
      }),
      "/device": (_asked, base) => ({
        body: {
          device_code: "dc",
          user_code: "AB-CD",
          verification_uri: `${base}/enter`,
          expires_in: 60,
          interval: 0.01
        }
      })
    }
  })
  const last = (path: string) => Object.fromEntries(server.asked.findLast((asked) => asked.path === path)?.form ?? [])
  const expect = (text: string | null) => {
    nonce = text ?? ""
  }
  return { issuer: server.issuer, asked: server.asked, last, expect }
})

/** Everything that is sent in all ways to get a token: the query of the provider's page, and the forms. */
const everything = Effect.fnUntraced(function*(
  options: Partial<OidcOptions.OidcOptions>,
  chosen: Selection.Input = {},
  prompt?: string
) {
  const { expect, issuer, last } = yield* provider
  const selection = Selection.make(chosen)
  return yield* Effect.gen(function*() {
    const browser = yield* BrowserLogin.BrowserLogin
    const device = yield* DeviceLogin.DeviceLogin
    const { clientCredentials } = yield* OidcIam.OidcIam
    const iam = yield* IamClient.IamClient

    const { pending, url } = yield* browser.begin({ redirectUri, selection, prompt })
    const page = Object.fromEntries(new URL(url).searchParams)
    expect(page["nonce"] ?? null)
    yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
    const code = last("/token")
    yield* device.begin(selection)
    const begun = last("/device")
    yield* clientCredentials(selection)
    const client = last("/token")
    yield* iam.renew(yield* sessionOf(issuer, "", { current: selection }), selection)
    return { url, pending, page, code, device: begun, client, renewal: last("/token") }
  }).pipe(
    Effect.provide(OidcIam.layer({ issuer, clientId: "cli", ...options }).pipe(Layer.provide(FetchHttpClient.layer)))
  )
})

const names = new Set(["scope", "audience", "resource", "prompt", "login_hint"])

const chosen = (sent: { readonly [name: string]: string }) =>
  Object.fromEntries(Object.entries(sent).filter(([name]) => names.has(name)))

describe("what an option puts where", () => {
  type Sent = { readonly [name: string]: string }
  const scope = "openid profile email offline_access"
  const rows: Record<string, {
    readonly options: Partial<OidcOptions.OidcOptions>
    readonly selection?: Selection.Input
    readonly prompt?: string
    readonly page: Sent
    readonly code?: Sent
    readonly device: Sent
    readonly client?: Sent
    readonly renewal?: Sent
  }> = {
    "none": {
      options: {},
      page: { scope, prompt: "consent" },
      device: { scope }
    },
    "audience: where a grant is made": {
      options: { audience: "https://api.example" },
      page: { scope, prompt: "consent", audience: "https://api.example" },
      device: { scope, audience: "https://api.example" },
      client: { audience: "https://api.example" }
    },
    "resource: everywhere": {
      options: { resource: "urn:api" },
      page: { scope, prompt: "consent", resource: "urn:api" },
      code: { resource: "urn:api" },
      device: { scope, resource: "urn:api" },
      client: { resource: "urn:api" },
      renewal: { resource: "urn:api" }
    },
    "prompt: on the page": {
      options: { prompt: "login" },
      page: { scope, prompt: "login" },
      device: { scope }
    },
    "an empty prompt: none": {
      options: { prompt: "" },
      page: { scope },
      device: { scope }
    },
    "a prompt of one login: before that of all": {
      options: { prompt: "login" },
      prompt: "select_account",
      page: { scope, prompt: "select_account" },
      device: { scope }
    },
    "scopes without offline_access: no prompt, and those of people are not a program's": {
      options: { scopes: ["openid", "email", "api:read"] },
      page: { scope: "openid email api:read" },
      device: { scope: "openid email api:read" },
      client: { scope: "api:read" }
    },
    "no scopes": { options: { scopes: [] }, page: {}, device: {} },
    "parameters: where a person comes": {
      options: { parameters: { login_hint: "ada" } },
      page: { scope, prompt: "consent", login_hint: "ada" },
      device: { scope, login_hint: "ada" }
    },
    "a selection: before the resource of all, and with more scopes": {
      options: { resource: "urn:api", scopes: ["openid"] },
      selection: { resource: "urn:other", scope: "api:write openid" },
      page: { scope: "openid api:write", resource: "urn:other" },
      code: { resource: "urn:other" },
      device: { scope: "openid api:write", resource: "urn:other" },
      client: { scope: "api:write openid", resource: "urn:other" },
      renewal: { scope: "api:write openid", resource: "urn:other" }
    }
  }
  for (
    const [name, { client = {}, code = {}, device, options, page, prompt, renewal = {}, selection }] of Object.entries(
      rows
    )
  ) {
    it.live(name, () =>
      Effect.gen(function*() {
        const sent = yield* everything(options, selection, prompt)
        assert.deepStrictEqual(
          [sent.page, sent.code, sent.device, sent.client, sent.renewal].map(chosen),
          [page, code, device, client, renewal]
        )
      }))
  }
})

it.live("parameters take the place of nothing that protects a login", () =>
  Effect.gen(function*() {
    const protecting = [
      "state",
      "redirect_uri",
      "client_id",
      "response_type",
      "code_challenge",
      "code_challenge_method",
      "nonce",
      "scope",
      "prompt"
    ]
    const parameters = Object.fromEntries(protecting.map((name) => [name, "mine"]))
    const { device, page, pending, url } = yield* everything({ parameters })
    const query = new URL(url).searchParams
    for (const name of protecting) {
      assert.lengthOf(query.getAll(name), 1, name)
      assert.notStrictEqual(page[name], "mine", name)
    }
    assert.deepStrictEqual([page["state"], page["redirect_uri"]], [pending.state, redirectUri])
    assert.notStrictEqual(device["client_id"], "mine")
    assert.notStrictEqual(device["scope"], "mine")
  }))

describe("options from the configuration", () => {
  const configured = (values: Record<string, string>, options?: Config.Wrap<OidcOptions.OidcOptions>) =>
    OidcIam.layerConfig(options).pipe(
      Layer.provide([ConfigProvider.layer(ConfigProvider.fromEnv({ env: values })), FetchHttpClient.layer])
    )

  it.live("are the provider, the client and its secret, the scopes, the audience and the resource", () =>
    Effect.gen(function*() {
      const { asked, issuer, last } = yield* provider
      yield* Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        assert.deepStrictEqual([iam.issuer, iam.clientId, iam.environment], [issuer, "cli", []])
        yield* OidcIam.OidcIam.use(({ clientCredentials }) => clientCredentials(Selection.none))
      }).pipe(Effect.provide(configured({
        AUTHN_ISSUER: issuer,
        AUTHN_CLIENT_ID: "cli",
        AUTHN_CLIENT_SECRET: "s3cret",
        AUTHN_SCOPE: " api:read  api:write",
        AUTHN_AUDIENCE: "https://api.example",
        AUTHN_RESOURCE: "urn:api"
      })))
      assert.strictEqual(asked.at(-1)?.headers.authorization, `Basic ${Buffer.from("cli:s3cret").toString("base64")}`)
      assert.deepStrictEqual(last("/token"), {
        grant_type: "client_credentials",
        scope: "api:read api:write",
        audience: "https://api.example",
        resource: "urn:api"
      })
    }))

  it.live("are a public client's, with the usual scopes, where no more is set", () =>
    Effect.gen(function*() {
      const { asked, issuer, last } = yield* provider
      yield* Effect.gen(function*() {
        const { url } = yield* BrowserLogin.BrowserLogin.use((browser) => browser.begin({ redirectUri }))
        assert.deepStrictEqual(chosen(Object.fromEntries(new URL(url).searchParams)), {
          scope: "openid profile email offline_access",
          prompt: "consent"
        })
        yield* DeviceLogin.DeviceLogin.use((device) => device.begin())
      }).pipe(Effect.provide(configured({ AUTHN_ISSUER: issuer, AUTHN_CLIENT_ID: "cli" })))
      assert.isUndefined(asked.at(-1)?.headers.authorization)
      assert.deepStrictEqual(last("/device"), { scope: "openid profile email offline_access", client_id: "cli" })
    }))

  it.live("may come from wherever a program says", () =>
    Effect.gen(function*() {
      const { asked, issuer } = yield* provider
      const options = {
        issuer: Config.String("WHERE"),
        clientId: Config.succeed("cli"),
        clientAuthentication: Config.map(
          Config.Redacted("SECRET"),
          (secret) => ({ method: "client_secret_post", secret } as const)
        )
      }
      yield* OidcIam.OidcIam.use(({ clientCredentials }) => clientCredentials(Selection.none)).pipe(
        Effect.provide(configured({ WHERE: issuer, SECRET: "s3cret" }, options))
      )
      assert.strictEqual(asked.at(-1)?.form.get("client_secret"), "s3cret")
    }))

  it.effect("that are missing or empty are named, and the secret is not", () =>
    Effect.gen(function*() {
      const complete = { AUTHN_ISSUER: "https://idp.example", AUTHN_CLIENT_ID: "cli", AUTHN_CLIENT_SECRET: "s3cret" }
      for (const name of ["AUTHN_ISSUER", "AUTHN_CLIENT_ID"]) {
        for (const change of [{ [name]: "" }, { [name]: undefined }]) {
          const values = Object.fromEntries(
            Object.entries({ ...complete, ...change }).flatMap(([name, value]) =>
              value === undefined ? [] : [[name, value]]
            )
          )
          const error = yield* Effect.flip(Effect.provide(IamClient.IamClient, configured(values)))
          assert.strictEqual(error._tag, "ConfigError")
          assert.include(error.message, name)
          assert.notInclude(inspect(error, { depth: 9 }), "s3cret")
        }
      }
    }))
})

describe("policy.timeLimit bounds", () => {
  /** A provider that never answers, or from the metadata on. Time is the test's alone. */
  const silent = (metadata: OidcOptions.OidcOptions["metadata"]) =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<string>()
      const client = HttpClient.make((_request, url) =>
        Effect.andThen(Deferred.succeed(asked, url.pathname), Effect.never)
      )
      const layer = OidcIam.layer({
        issuer,
        clientId: "cli",
        metadata,
        policy: { timeLimit: Duration.seconds(7) }
      }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
      return { asked, layer }
    })

  const issuer = "https://idp.example"
  const metadata = {
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    userinfo_endpoint: `${issuer}/userinfo`,
    device_authorization_endpoint: `${issuer}/device`,
    revocation_endpoint: `${issuer}/revoke`
  }
  type Services = BrowserLogin.BrowserLogin | DeviceLogin.DeviceLogin | IamClient.IamClient | OidcIam.OidcIam
  const renew = Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return yield* iam.renew(yield* sessionOf(issuer), Selection.none)
  })
  const requests: Record<string, {
    readonly path: string
    readonly act: Effect.Effect<unknown, IamError.IamError, Services>
    readonly metadata: OidcOptions.OidcOptions["metadata"]
  }> = {
    "discovery": {
      path: "/.well-known/openid-configuration",
      act: BrowserLogin.BrowserLogin.use((browser) => browser.begin({ redirectUri })),
      metadata: undefined
    },
    "discovery before a renewal": { path: "/.well-known/openid-configuration", act: renew, metadata: undefined },
    "a renewal": { path: "/token", act: renew, metadata },
    "a code's exchange": {
      path: "/token",
      act: Effect.gen(function*() {
        const browser = yield* BrowserLogin.BrowserLogin
        const { pending } = yield* browser.begin({ redirectUri })
        return yield* browser.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
      }),
      metadata
    },
    "a device's beginning": {
      path: "/device",
      act: DeviceLogin.DeviceLogin.use((device) => device.begin()),
      metadata
    },
    "client credentials": {
      path: "/token",
      act: OidcIam.OidcIam.use(({ clientCredentials }) => clientCredentials(Selection.none)),
      metadata
    },
    "userinfo": {
      path: "/userinfo",
      act: Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        return yield* iam.whoami(yield* sessionOf(issuer))
      }),
      metadata
    },
    "a revocation": {
      path: "/revoke",
      act: Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        return yield* iam.revoke(yield* sessionOf(issuer))
      }),
      metadata
    }
  }
  for (const [name, { act, metadata, path }] of Object.entries(requests)) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const { asked, layer } = yield* silent(metadata)
        const asking = yield* Effect.forkChild(Effect.result(Effect.provide(act, layer)))
        assert.strictEqual(yield* Deferred.await(asked), path)
        yield* TestClock.adjust("6 seconds")
        assert.isUndefined(asking.pollUnsafe())
        yield* TestClock.adjust("1 second")
        const result = yield* Fiber.join(asking)
        const reason = result._tag === "Failure" ? result.failure.reason : undefined
        assert.strictEqual(reason?._tag, "Unavailable")
        assert.include(reason?.message, "no answer within 7s")
        // What was not even looked for was not sent.
        assert.strictEqual(reason?._tag === "Unavailable" ? reason.sent : "", metadata === undefined ? "no" : "maybe")
      }))
  }
})
