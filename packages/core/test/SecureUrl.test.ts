import {
  AuthHttpClient,
  AuthManager,
  AuthStrategy,
  IamHttp,
  Jwks,
  SecureUrl,
  SessionKeeper,
  TokenStorage
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"

describe("mayCarrySecrets", () => {
  for (
    const address of [
      "https://iam.example",
      "HTTPS://IAM.EXAMPLE:8443/realms/a?b#c",
      "https://127.0.0.1",
      "http://localhost",
      "http://LOCALHOST:3000/path",
      "http://127.0.0.1:8080",
      "http://127.255.255.254",
      "http://127.0.0.1./",
      "http://127.1",
      "http://0x7f000001",
      "http://2130706433",
      "http://[::1]:3000",
      "http://[0:0:0:0:0:0:0:1]",
      "http://ｌｏｃａｌｈｏｓｔ",
      "http://iam.example@localhost"
    ]
  ) {
    it(`lets ${address}`, () => assert.isTrue(SecureUrl.mayCarrySecrets(address)))
  }

  for (
    const address of [
      "http://iam.example",
      "http://localhost@iam.example",
      "http://localhost:80@iam.example",
      "http://127.0.0.1:80%40iam.example@iam.example",
      "http://localhost.",
      "http://localhost.iam.example",
      "http://iam.localhost",
      "http://127.0.0.1.iam.example",
      "http://127.0.0.1.nip.io",
      "http://128.0.0.1",
      "http://0.0.0.0",
      "http://10.0.0.1",
      "http://[::]",
      "http://[::2]",
      "http://[::ffff:127.0.0.1]",
      "http://lоcalhost",
      "ws://localhost",
      "wss://iam.example",
      "ftp://localhost",
      "file:///etc/passwd",
      "javascript:alert(1)",
      "localhost:3000",
      "iam.example",
      "//iam.example",
      "http://",
      "https://",
      "https://[::1",
      "https://iam example",
      ""
    ]
  ) {
    it(`refuses "${address}"`, () => assert.isFalse(SecureUrl.mayCarrySecrets(address)))
  }

  it("takes a URL that was read already", () => {
    assert.isTrue(SecureUrl.mayCarrySecrets(new URL("http://localhost:3000")))
    assert.isFalse(SecureUrl.mayCarrySecrets(new URL("http://iam.example")))
  })
})

describe("isLoopback", () => {
  it("is about the host, whatever the scheme", () => {
    assert.isTrue(SecureUrl.isLoopback(new URL("https://127.0.0.1")))
    assert.isFalse(SecureUrl.isLoopback(new URL("https://localhost.iam.example")))
  })
})

describe("shown", () => {
  for (
    const [address, expected] of [
      ["https://iam.example/realms/a", "https://iam.example/realms/a"],
      ["HTTPS://IAM.example:8443/", "HTTPS://IAM.example:8443/"],
      ["https://iam.example?token=hunter2", "https://iam.example"],
      ["https://iam.example/a#hunter2", "https://iam.example/a"],
      ["https://ada:hunter2@iam.example/a?b#c", "https://…@iam.example/a"],
      ["https://hunter2@iam.example", "https://…@iam.example"],
      ["https://ada:hun@ter2@iam.example", "https://…@iam.example"],
      ["https://ada:hunter2/@iam.example", "https://…@iam.example"],
      ["https://ada:hunter2\n@iam.example", "https://…@iam.example"],
      ["https:ada:hunter2@iam.example", "https:…@iam.example"],
      ["https:\\\\ada:hunter2@iam.example", "https:\\\\…@iam.example"],
      ["https://ada:hunter2?x@iam.example", "https://…"],
      ["https://ada:hunter2#x@iam.example", "https://…"],
      ["https://iam.example/?mail=x@hunter2", "https://…"],
      ["//ada:hunter2@iam.example", "//…@iam.example"],
      ["ada:hunter2@iam.example", "ada:…@iam.example"],
      ["iam.example/a?hunter2", "iam.example/a"],
      ["client@tenant", "client@tenant"],
      ["not an address", "not an address"],
      ["", ""]
    ] as const
  ) {
    it(`shows ${JSON.stringify(address)} as ${JSON.stringify(expected)}`, () => {
      assert.strictEqual(SecureUrl.shown(address), expected)
      assert.notInclude(SecureUrl.shown(address), "hunter2")
    })
  }
})

describe("a redirect", () => {
  const seen: Array<RequestInit> = []
  const answered = (location: string): typeof globalThis.fetch => (_url, init) => {
    seen.push(init ?? {})
    return Promise.resolve(new Response(null, { status: 307, headers: { location } }))
  }
  // A program that reaches its servers in a way of its own.
  const program = Layer.succeed(FetchHttpClient.RequestInit, { credentials: "include", redirect: "follow" })
  const fetch = FetchHttpClient.layer.pipe(
    Layer.provideMerge([Layer.succeed(FetchHttpClient.Fetch, answered("https://elsewhere.example")), program])
  )
  const sent = <A, E>(effect: Effect.Effect<A, E, HttpClient.HttpClient>) =>
    Effect.gen(function*() {
      seen.length = 0
      yield* Effect.exit(Effect.provide(effect, fetch))
      assert.isNotEmpty(seen)
      for (const { credentials, redirect } of seen) {
        assert.deepStrictEqual({ credentials, redirect }, { credentials: "include", redirect: "manual" })
      }
    })

  it.effect("is not followed, and the program's other settings of fetch stay", () =>
    sent(SecureUrl.withoutRedirects(HttpClient.get("https://iam.example"))))

  it.effect("is not followed by a request to an IAM", () =>
    sent(IamHttp.execute(HttpClientRequest.get("https://iam.example"), {
      issuer: "https://iam.example",
      method: "login",
      secrets: [Redacted.make("hunter2")]
    })))

  it.effect("is not followed to a key set", () =>
    sent(Effect.flatMap(Jwks.remote("https://iam.example/jwks"), (keys) => keys.find({ alg: "ES256" }))))

  it.effect("is not followed by fetch with a session", () =>
    sent(
      Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        yield* auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
        const client = yield* AuthHttpClient.make({ baseUrl: "https://api.example" })
        yield* client.get("/notes")
      }).pipe(
        Effect.provide(
          AuthManager.layer().pipe(
            Layer.provideMerge(SessionKeeper.layer),
            Layer.provideMerge([ScriptedIam.layer(), TokenStorage.layerMemory])
          )
        )
      )
    ))
})
