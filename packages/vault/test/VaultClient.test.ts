import { AuthHttpClient, AuthManager, SessionKeeper, TokenStorage } from "@effect-authn/core"
import { VaultClient } from "@effect-authn/vault"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { clientId, issuer, world } from "./world.ts"

const refused = () => Promise.reject(Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNREFUSED" } }))

/** A program whose requests go to handlers by the host of their address. */
const program = Effect.fnUntraced(function*(
  hosts: Record<string, (request: Request) => Promise<Response>>,
  token: Redacted.Redacted,
  account = "ada"
) {
  const asked: Array<string> = []
  const http = FetchHttpClient.layer.pipe(
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, (input, init) => {
      const request = new Request(input instanceof Request ? input : String(input), init)
      const { host } = new URL(request.url)
      asked.push(host)
      return (hosts[host] ?? refused)(request)
    }))
  )
  const [first = "", ...others] = Object.keys(hosts).filter((host) => host.startsWith("vault")).map((host) =>
    `https://${host}`
  )
  const built = yield* Layer.build(
    AuthManager.layer({ account }).pipe(
      Layer.provideMerge(SessionKeeper.layer),
      Layer.provide(TokenStorage.layerMemory),
      Layer.provideMerge(VaultClient.layer({ url: [first, ...others], token, issuer, clientId })),
      Layer.provideMerge(http)
    )
  )
  const auth = Context.get(built, AuthManager.AuthManager)
  const login = Effect.provideContext(auth.login(VaultClient.strategy(), { store: false }), built)
  return { auth, login, services: built, asked }
})

describe("a program that keeps nothing", () => {
  it.live("has the session of its account, and another token after a 401 of an API", () =>
    Effect.gen(function*() {
      const { all, handler, iam, put } = yield* world()
      yield* put("ada")
      const seen: Array<string> = []
      const api = (request: Request) => {
        seen.push(request.headers.get("authorization") ?? "")
        return Promise.resolve(new Response(null, { status: seen[0] === seen.at(-1) ? 401 : 200 }))
      }
      const { auth, login, services } = yield* program({ "vault-1": handler, "api.example": api }, all)
      yield* login
      const first = yield* auth.token
      assert.strictEqual(Redacted.value((yield* auth.token).accessToken), Redacted.value(first.accessToken))
      assert.strictEqual(yield* iam.count("renew"), 0)
      const client = yield* Effect.provideContext(AuthHttpClient.make({ baseUrl: "https://api.example" }), services)
      assert.strictEqual((yield* client.get("/notes")).status, 200)
      assert.strictEqual(yield* iam.count("renew"), 1)
      assert.lengthOf(seen, 2)
      assert.strictEqual(seen[1], Redacted.value(yield* auth.bearer))
      // somebody else with the old token gets the new one, and the IAM is not asked
      const other = yield* program({ "vault-1": handler }, all)
      yield* other.login
      assert.strictEqual(Redacted.value(yield* other.auth.bearer), seen[1])
      assert.strictEqual(yield* iam.count("renew"), 1)
    }))

  it.live("says who has to do what where the vault has no session, or one that ended", () =>
    Effect.gen(function*() {
      const { all, handler, iam, put, service } = yield* world(undefined, { tokens: "opaque" })
      yield* put("ada")
      const nobody = yield* program({ "vault-1": handler }, all, "nobody")
      const none = yield* Effect.flip(nobody.login)
      assert.strictEqual(none._tag, "NoCredentials")
      assert.include(none.message, "nobody at https://one.example")

      const { auth, login } = yield* program({ "vault-1": handler }, all)
      yield* login
      yield* iam.revokeAll
      assert.strictEqual((yield* Effect.flip(auth.refresh()))._tag, "ReauthenticationRequired")

      const gone = yield* service.create({ name: "gone", rights: ["token"] })
      yield* service.revoke("gone")
      const stranger = yield* Effect.flip((yield* program({ "vault-1": handler }, gone)).login)
      assert.include(stranger.message, "the vault refuses the service token")
      assert.notInclude(stranger.message, Redacted.value(gone))
    }))

  it.live("asks the next machine where one is away, silent, or cannot answer, and stays with the one that did", () =>
    Effect.gen(function*() {
      const { all, handler, put } = yield* world()
      yield* put("ada")
      const busy = () => Promise.resolve(Response.json({ error: "unavailable" }, { status: 503 }))
      const silent = () => new Promise<Response>(() => {})
      const { asked, auth, login } = yield* program({
        "vault-1": refused,
        "vault-2": busy,
        "vault-3": silent,
        "vault-4": handler
      }, all)
      yield* login
      assert.deepStrictEqual(asked, ["vault-1", "vault-2", "vault-3", "vault-4"])
      yield* auth.refresh()
      assert.deepStrictEqual(asked.slice(4), ["vault-4"])
    }))

  it.live("asks the next machine where what answers at an address is no vault", () =>
    Effect.gen(function*() {
      const { all, handler, put } = yield* world()
      yield* put("ada")
      const page = new Response("<html>", { headers: { "content-type": "text/html" } })
      const others: ReadonlyArray<() => Promise<Response>> = [
        () => Promise.resolve(page.clone()),
        () => Promise.resolve(new Response("<html>", { status: 404 })),
        () => Promise.resolve(new Response("<html>", { status: 401 })),
        () => Promise.resolve(Response.json({ access_token: "at" })),
        () => Promise.resolve(Response.redirect("https://evil.example/token", 307))
      ]
      for (const other of others) {
        const { asked, auth, login } = yield* program({ "vault-1": other, "vault-2": handler }, all)
        yield* login
        assert.deepStrictEqual(asked, ["vault-1", "vault-2"])
        yield* auth.refresh()
        assert.deepStrictEqual(asked.slice(2), ["vault-2"])
      }
      const busy = () => Promise.resolve(Response.json({ error: "unavailable" }, { status: 503 }))
      for (const answers of [[others[0]!, busy], [busy, others[0]!]] as const) {
        const { login } = yield* program({ "vault-1": answers[0], "vault-2": answers[1] }, all)
        const error = yield* Effect.flip(login)
        assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "Unavailable")
      }
    }))

  it.live("takes the answer of a machine that has one, whatever the others would say", () =>
    Effect.gen(function*() {
      const { all, handler } = yield* world()
      const { asked, login } = yield* program({ "vault-1": handler, "vault-2": handler }, all)
      assert.strictEqual((yield* Effect.flip(login))._tag, "NoCredentials")
      assert.deepStrictEqual(asked, ["vault-1"])
      const away = yield* program({ "vault-1": refused, "vault-2": refused }, all)
      const error = yield* Effect.flip(away.login)
      assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "Unavailable")
    }))

  it.live("has no password login and no document, and leaves the session in the vault", () =>
    Effect.gen(function*() {
      const { all, handler, iam, put } = yield* world()
      yield* put("ada")
      const { auth, login } = yield* program({ "vault-1": handler }, all)
      yield* login
      const exported = yield* Effect.flip(auth.export)
      assert.strictEqual(exported._tag === "IamError" ? exported.reason._tag : exported._tag, "Unsupported")
      const imported = yield* Effect.flip(auth.import({ token: "at" }))
      assert.strictEqual(imported._tag === "IamError" ? imported.reason._tag : imported._tag, "Unsupported")
      assert.strictEqual((yield* auth.logout)._tag, "NotRevoked")
      assert.strictEqual(yield* iam.count("revoke"), 0)
      yield* login
    }))

  it.live("believes no answer that is none of a vault's", () =>
    Effect.gen(function*() {
      const answers: ReadonlyArray<readonly [string, Response]> = [
        ["Malformed", Response.json({})],
        ["Malformed", Response.json({ access_token: "two words", token_type: "Bearer" })],
        ["Malformed", Response.json({ access_token: "at", token_type: "Bearer\r\nx: y" })],
        ["Malformed", new Response("<html>", { headers: { "content-type": "text/html" } })],
        ["Misconfigured", new Response("<html>", { status: 404 })],
        ["Misconfigured", new Response(null, { status: 302, headers: { location: "https://evil.example/token" } })],
        ["Unavailable", new Response("<html>", { status: 502 })]
      ]
      for (const [tag, response] of answers) {
        const { asked, login } = yield* program(
          { "vault-1": () => Promise.resolve(response) },
          Redacted.make("authn_x")
        )
        const error = yield* Effect.flip(login)
        assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, tag)
        assert.deepStrictEqual(asked, ["vault-1"])
      }
    }))

  it.live("sends its token to no address that may carry none", () =>
    Effect.gen(function*() {
      for (const url of ["http://vault.example.com", "ftp://vault", "vault", "https://user:pw@vault.example.com"]) {
        const error = yield* Effect.flip(
          Layer.build(
            Layer.provide(
              VaultClient.layer({ url, token: Redacted.make("authn_x"), issuer, clientId }),
              FetchHttpClient.layer
            )
          )
        )
        assert.strictEqual(error.reason._tag, "Misconfigured", url)
      }
    }))
})
