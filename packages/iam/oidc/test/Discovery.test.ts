/** Where a provider's metadata is looked for, and what ends the search. */
import { BrowserLogin } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { type Reply, serve } from "./rawProvider.ts"

const redirectUri = "http://127.0.0.1:49321/callback"
const first = "/.well-known/openid-configuration"
const second = "/.well-known/oauth-authorization-server"

const documentOf = (issuer: string) => ({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`
})

const begin = (issuer: string, parameters?: { readonly [name: string]: string }) =>
  BrowserLogin.BrowserLogin.use((login) => login.begin({ redirectUri, parameters })).pipe(
    Effect.provide(
      OidcIam.layer({ issuer, clientId: "cli", parameters: { login_hint: "all", hd: "example.com" } }).pipe(
        Layer.provide(FetchHttpClient.layer)
      )
    )
  )

describe("the next place is looked at after", () => {
  const replies: Record<string, Reply> = {
    "404": { status: 404 },
    "501": { status: 501 },
    "HTML": { headers: { "content-type": "text/html" }, body: "<h1>Welcome</h1>" },
    "other JSON": { body: { status: "ok" } },
    "a redirect to another origin": { status: 302, headers: { location: "https://elsewhere.example/" } }
  }
  for (const [name, reply] of Object.entries(replies)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const server = yield* serve({
          routes: { [first]: reply, [second]: (_asked, base) => ({ body: documentOf(base) }) }
        })
        yield* begin(server.issuer)
        assert.deepStrictEqual(server.asked.map(({ path }) => path), [first, second])
      }))
  }
})

describe("the search ends at", () => {
  const replies: Record<string, Reply> = {
    "429": { status: 429 },
    "500": { status: 500 },
    "503": { status: 503 },
    "another issuer": { body: documentOf("https://other.example") }
  }
  for (const [name, reply] of Object.entries(replies)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const server = yield* serve({
          routes: { [first]: reply, [second]: (_asked, base) => ({ body: documentOf(base) }) }
        })
        yield* Effect.flip(begin(server.issuer))
        assert.deepStrictEqual(server.asked.map(({ path }) => path), [first])
      }))
  }
})

describe("a redirect of the same origin", () => {
  it.live("is followed", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        routes: {
          [first]: { status: 301, headers: { location: "/a/" } },
          "/a/": { status: 307, headers: { location: "b" } },
          "/a/b": (_asked, base) => ({ body: documentOf(base) })
        }
      })
      const { url } = yield* begin(server.issuer)
      assert.isTrue(url.startsWith(`${server.issuer}/authorize?`))
      assert.deepStrictEqual(server.asked.map(({ path }) => path), [first, "/a/", "/a/b"])
    }))

  it.live("that goes round ends", () =>
    Effect.gen(function*() {
      const server = yield* serve({ routes: { [first]: { status: 302, headers: { location: first } } } })
      const { reason } = yield* Effect.flip(begin(server.issuer))
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.strictEqual(server.asked.filter(({ path }) => path === first).length, 6)
    }))
})

it.live("parameters of one login stand before those of the options, and replace nothing of the protocol", () =>
  Effect.gen(function*() {
    const server = yield* serve()
    const { pending, url } = yield* begin(server.issuer, { login_hint: "ada", acr_values: "high", state: "forged" })
    const { searchParams } = new URL(url)
    assert.deepStrictEqual(
      ["login_hint", "acr_values", "hd", "state"].map((name) => searchParams.get(name)),
      ["ada", "high", "example.com", pending.state]
    )
  }))
