/** The scope of tokens whose answer says nothing of it (RFC 6749, sections 5.1 and 6), and who a number is. */
import { BrowserLogin, IamClient, Selection, Session, TokenSet } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { serve, sessionOf } from "./rawProvider.ts"

const redirectUri = "http://127.0.0.1:49321/callback"
const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300, refresh_token: "rt-1" }

const layerOf = (issuer: string) =>
  OidcIam.layer({ issuer, clientId: "cli", scopes: ["read", "write"] }).pipe(Layer.provide(FetchHttpClient.layer))

const provider = (fields: object) => serve({ routes: { "/token": { body: { ...tokens, ...fields } } } })

const answers: Record<string, { readonly fields: object; readonly said?: string }> = {
  "without a scope": { fields: {} },
  "with an empty one": { fields: { scope: "" } },
  "with null": { fields: { scope: null } },
  "with one of its own": { fields: { scope: "read" }, said: "read" }
}

describe("an answer", () => {
  for (const [name, { fields, said }] of Object.entries(answers)) {
    it.live(`to a login, ${name}`, () =>
      Effect.gen(function*() {
        const { issuer } = yield* provider(fields)
        const { tokens } = yield* BrowserLogin.BrowserLogin.use((login) =>
          Effect.flatMap(
            login.begin({ redirectUri }),
            ({ pending }) => login.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
          )
        ).pipe(Effect.provide(layerOf(issuer)))
        assert.strictEqual(Option.getOrUndefined(tokens.scope), said ?? "read write")
      }))

    it.live(`to a client's own credentials, ${name}`, () =>
      Effect.gen(function*() {
        const { issuer } = yield* provider(fields)
        const asked = OidcIam.OidcIam.use((oidc) => oidc.clientCredentials(Selection.none))
        const { tokens } = yield* Effect.provide(asked, layerOf(issuer))
        assert.strictEqual(Option.getOrUndefined(tokens.scope), said ?? "read write")
      }))

    it.live(`to a renewal, ${name}`, () =>
      Effect.gen(function*() {
        const { issuer } = yield* provider(fields)
        const held = TokenSet.fromAnswer({
          accessToken: Redacted.make("at-0"),
          scope: "admin read",
          receivedAt: yield* DateTime.now,
          serverTime: Option.none(),
          defaultLifetime: Duration.hours(1)
        })
        const session = Session.update(yield* sessionOf(issuer), { tokens: { "": held } })
        const scopes = yield* IamClient.IamClient.use((iam) =>
          Effect.all([iam.renew(session, Selection.none), iam.renew(session, Selection.make({ scope: "admin" }))])
        ).pipe(
          Effect.map((renewed) => renewed.map(({ tokens }) => Option.getOrUndefined(tokens.scope))),
          Effect.provide(layerOf(issuer))
        )
        assert.deepStrictEqual(scopes, [said ?? "admin read", said ?? "admin"])
      }))
  }
})

it.live("userinfo may name a person by a number", () =>
  Effect.gen(function*() {
    const server = yield* serve({ routes: { "/userinfo": { body: { sub: 4711, name: "Ada" } } } })
    const held = TokenSet.fromAnswer({
      accessToken: Redacted.make("at-0"),
      receivedAt: yield* DateTime.now,
      serverTime: Option.none(),
      defaultLifetime: Duration.hours(1)
    })
    const session = Session.update(yield* sessionOf(server.issuer), { tokens: { "": held } })
    const asked = IamClient.IamClient.use((iam) => iam.whoami(session))
    const user = yield* Effect.provide(asked, layerOf(server.issuer))
    assert.deepStrictEqual([user.id, Option.getOrUndefined(user.displayName)], ["4711", "Ada"])
  }))
