/** Signing out at the provider (OpenID Connect RP-Initiated Logout 1.0), as the person who signed in there. */
import { AuthManager, Browser, BrowserLogin, InteractiveStrategy } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { NodeServices } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { answers, filed, refreshTokenOf, setup } from "./fixtures.ts"

const redirectUri = "http://127.0.0.1:49321/callback"

it.live("logout revokes the tokens and opens no page; the page, in their browser, ends the session there", () =>
  Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const oidc = yield* OidcIam.OidcIam
    const { proxy } = yield* OidcProvider.OidcProvider
    const agent = ScriptedUserAgent.make()
    const scope = yield* Effect.scope
    const browser = Browser.Browser.of({
      obstacle: Effect.succeedNone,
      open: (url) =>
        agent.visit(url, { answers }).pipe(
          Effect.provide(FetchHttpClient.layer),
          Effect.ignore({ log: true }),
          Effect.forkIn(scope),
          Effect.asVoid
        )
    })
    /** What the provider answers in this browser when it may show no page. */
    const unasked = Effect.gen(function*() {
      const { url } = yield* BrowserLogin.BrowserLogin.use((login) => login.begin({ redirectUri, prompt: "none" }))
      const page = yield* agent.visit(url, { stopAt: ({ pathname }) => pathname === "/callback" })
      return new URL(page.url).searchParams.get("error")
    })
    assert.strictEqual(yield* unasked, "login_required")
    const session = yield* Effect.provideService(auth.login(InteractiveStrategy.browser()), Browser.Browser, browser)
    // A native client is asked for consent each time, also where the person is signed in.
    assert.strictEqual(yield* unasked, "interaction_required")

    const page = Option.getOrThrow(
      yield* oidc.endSessionUrl(session, { postLogoutRedirectUri: "http://127.0.0.1/bye", state: "s" })
    )
    assert.strictEqual((yield* auth.logout)._tag, "Revoked")
    assert.notInclude((yield* proxy.ledger).map(({ route }) => route), "end-session")
    assert.strictEqual(yield* unasked, "interaction_required")

    const left = yield* agent.visit(page, {
      answers: { logout: "yes" },
      stopAt: ({ pathname }) => pathname === "/bye"
    })
    assert.strictEqual(left.url, "http://127.0.0.1/bye?state=s")
    assert.strictEqual(yield* unasked, "login_required")
  }).pipe(Effect.scoped, Effect.provide([setup(), FetchHttpClient.layer])))

it.live("a logout that the provider does not take leaves no token on the disk, and says what works on, and where it ends", () =>
  Effect.gen(function*() {
    const { proxy } = yield* OidcProvider.OidcProvider
    const directory = yield* FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped())
    const written = () =>
      readdirSync(directory, { recursive: true, encoding: "utf8" }).map((name) => join(directory, name))
        .filter((path) => statSync(path).isFile()).map((path) => readFileSync(path, "latin1")).join()
    yield* Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const session = yield* auth.login(InteractiveStrategy.browser())
      const [access, refresh] = [Redacted.value((yield* auth.token).accessToken), refreshTokenOf(session) ?? ""]
      assert.include(written(), refresh)
      yield* proxy.setKnobs({ fail: ["revocation:403:1"] })
      const revocation = yield* auth.logout
      const said = revocation._tag === "NotRevoked" ? revocation.reason : ""
      assert.include(said, "the refresh token works on at the IAM until")
      assert.include(said, `in your account at ${auth.key.issuer}`)
      for (const token of [access, refresh]) {
        assert.notInclude(written(), token)
        assert.notInclude(said, token)
      }
    }).pipe(Effect.provide(filed(directory)))
  }).pipe(Effect.scoped, Effect.provide([OidcProvider.layer(), NodeServices.layer])))
