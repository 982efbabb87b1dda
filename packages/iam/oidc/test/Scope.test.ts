/** The scope of tokens whose answer says nothing of it (RFC 6749, sections 5.1 and 6), and who a number is. */
import {
  AuthHttpClient,
  AuthManager,
  type AuthStrategy,
  BrowserLogin,
  IamClient,
  Selection,
  Session,
  SessionKeeper,
  TokenSet,
  TokenStorage
} from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { serve, sessionOf, sign } from "./rawProvider.ts"

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

describe("a token that tells no end", () => {
  const made = (fields: object) =>
    Effect.gen(function*() {
      const { issuer } = yield* provider(fields)
      return yield* BrowserLogin.BrowserLogin.use((login) =>
        Effect.flatMap(
          login.begin({ redirectUri }),
          ({ pending }) => login.complete(pending, `${redirectUri}?code=c&state=${pending.state}`)
        )
      ).pipe(Effect.provide(layerOf(issuer)))
    })
  const lifeOf = ({ tokens: { expiresAt, issuedAt } }: { readonly tokens: TokenSet.TokenSet }) =>
    Option.getOrUndefined(Option.map(expiresAt, (end) => Duration.toSeconds(DateTime.distance(issuedAt, end))))

  it.live("lives until an API refuses it, where nothing could renew it", () =>
    Effect.gen(function*() {
      for (const expires_in of [undefined, null, "", 0, "never"]) {
        const issued = yield* made({ expires_in, refresh_token: undefined })
        assert.strictEqual(issued.grant._tag, "None")
        assert.isUndefined(lifeOf(issued))
      }
    }))

  it.live("lives for an hour where something renews it", () =>
    Effect.gen(function*() {
      assert.strictEqual(lifeOf(yield* made({ expires_in: undefined })), 3600)
      const { issuer } = yield* provider({ expires_in: undefined, refresh_token: undefined })
      const own = yield* Effect.provide(
        OidcIam.OidcIam.use((oidc) => oidc.clientCredentials(Selection.none)),
        layerOf(issuer)
      )
      assert.strictEqual(lifeOf(own), 3600)
    }))

  it.live("has the end of its claims, also where those are in milliseconds", () =>
    Effect.gen(function*() {
      const now = DateTime.toEpochMillis(yield* DateTime.now)
      for (const exp of [Math.round(now / 1000) + 600, now + 600_000]) {
        const issued = yield* made({ access_token: sign({ exp }), expires_in: undefined, refresh_token: undefined })
        assert.closeTo(lifeOf(issued) ?? 0, 600, 30)
      }
    }))

  it.live("a 401 is the answer, in words of where to go, and nothing else is asked", () =>
    Effect.gen(function*() {
      const { asked, issuer } = yield* serve({
        routes: { "/token": { body: { access_token: "at-1", token_type: "bearer" } }, "/api": { status: 401 } }
      })
      yield* Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const login = yield* BrowserLogin.BrowserLogin
        const { pending } = yield* login.begin({ redirectUri })
        const strategy: AuthStrategy.AuthStrategy = {
          name: "page",
          obtain: ({ key }) =>
            Effect.map(
              login.complete(pending, `${redirectUri}?code=c&state=${pending.state}`),
              (issued) => Session.fromResponse(key, issued, { strategy: "page", selection: Selection.none })
            )
        }
        yield* auth.login(strategy)
        const api = yield* AuthHttpClient.make({ baseUrl: issuer })
        assert.strictEqual((yield* api.get("/api")).status, 401)
        const refused = yield* Effect.flip(auth.refresh())
        assert.strictEqual(refused._tag, "ReauthenticationRequired")
        assert.include(refused.message, "sign in again")
        assert.deepStrictEqual(asked.filter(({ path }) => !path.startsWith("/.well-known")).map(({ path }) => path), [
          "/token",
          "/api"
        ])
      }).pipe(
        Effect.provide(
          AuthManager.layer().pipe(
            Layer.provide(SessionKeeper.layer),
            Layer.provideMerge(layerOf(issuer)),
            Layer.provideMerge(TokenStorage.layerMemory),
            Layer.provideMerge(FetchHttpClient.layer)
          )
        )
      )
    }).pipe(Effect.scoped))
})
