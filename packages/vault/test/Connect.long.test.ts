// The flow in a real browser, with a real provider: what cookies a browser sends, and to whom.
import { EncryptionKeys, SessionKey } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { OidcProvider } from "@effect-authn/testing"
import { Connect, Vault } from "@effect-authn/vault"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer, Logger, Option } from "effect"
import { FetchHttpClient, HttpRouter, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { type AddressInfo, createServer as createSocket } from "node:net"
import type { Page } from "playwright-core"
import { isThere, launched } from "./browser.ts"
import { sqlite } from "./sqlite.ts"

const freePort = Effect.promise(() =>
  new Promise<number>((resolve) => {
    const probe = createSocket()
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
)

const keys = EncryptionKeys.layerEnvironment().pipe(
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "A".repeat(43) } })))
)

/** Signs in at the provider as `name`, and allows what is asked. */
const signIn = async (page: Page, name: string) => {
  await page.fill("input[name=login]", name)
  await page.fill("input[name=password]", "any")
  await page.click("button[type=submit]")
  await page.click("button[type=submit]")
  await page.waitForLoadState("load")
}

it.live.skipIf(!isThere)(
  "a real browser connects, in two tabs, and another site begins nothing",
  () =>
    Effect.gen(function*() {
      const provider = yield* OidcProvider.OidcProvider
      const port = yield* freePort
      const origin = `http://127.0.0.1:${port}`
      const client = provider.secretClient
      const idp = OidcIam.layer({
        issuer: provider.issuer,
        clientId: client.id,
        clientAuthentication: { method: "client_secret_basic", secret: client.secret },
        scopes: ["openid", "offline_access"]
      }).pipe(Layer.provide(FetchHttpClient.layer), Layer.orDie)
      const stored = yield* Layer.build(Layer.mergeAll(
        SqlTokenStorage.layer().pipe(Layer.provide(sqlite)),
        keys
      ))
      const vault = yield* Layer.build(Layer.provide(Vault.layer({ providers: [idp] }), Layer.succeedContext(stored)))
      const pages = HttpRouter.add("GET", "/settings", (request) =>
        Effect.succeed(HttpServerResponse.setHeader(
          HttpServerResponse.html(
            `<!doctype html><title>Settings</title><p>${request.cookies["user"] ?? "nobody"}</p>
<form method="post" action="/connect/idp"><input type="hidden" name="returnTo" value="/settings"><button id="connect">Connect</button></form>
<form method="post" action="/connect/idp/disconnect"><input type="hidden" name="returnTo" value="/settings"><button id="disconnect">Disconnect</button></form>`
          ),
          // as a program would: Lax, since the IAM sends the browser back
          "set-cookie",
          "user=u1; Path=/; HttpOnly; SameSite=Lax"
        )))
      const evil = HttpRouter.add("GET", "/evil", () =>
        Effect.succeed(HttpServerResponse.html(
          `<!doctype html><title>Evil</title><form method="post" action="${origin}/connect/idp/disconnect"><button>Win</button></form>`
        )))
      let isCareless = false
      const connect = Connect.layer({
        origin,
        providers: { idp },
        user: ({ cookies }) =>
          Effect.sync(() => isCareless ? Option.some("u1") : Option.fromUndefinedOr(cookies["user"]))
      }).pipe(Layer.provide([Layer.succeedContext(stored), Layer.succeedContext(vault)]))
      yield* Layer.build(
        HttpRouter.serve(Layer.mergeAll(pages, evil, connect), { disableLogger: true, disableListenLog: true }).pipe(
          Layer.provide(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })),
          Layer.orDie
        )
      )
      const kept = Context.get(vault, Vault.Vault)
      const key = SessionKey.SessionKey.make({ issuer: provider.issuer, clientId: client.id, account: "u1" })
      const isConnected = Effect.map(Effect.exit(kept.token(key)), ({ _tag }) => _tag === "Success")

      const browser = yield* launched
      const person = yield* Effect.promise(() => browser.newContext())
      const go = <A>(steps: () => Promise<A>) => Effect.promise(steps)

      // two tabs, each with a login of its own, finished in the other order
      const [one, two] = yield* go(() => Promise.all([person.newPage(), person.newPage()]))
      yield* go(async () => {
        await one.goto(`${origin}/settings`)
        await two.goto(`${origin}/settings`)
        await one.click("#connect")
        await two.click("#connect")
        await one.waitForLoadState("load")
        await two.waitForLoadState("load")
      })
      const begun = Effect.map(
        go(() => person.cookies(origin)),
        (cookies) => cookies.filter(({ name }) => name.startsWith("__Host-connect-"))
      )
      const own = yield* begun
      assert.lengthOf(own, 2)
      assert.isTrue(own.every(({ httpOnly, sameSite, secure }) => httpOnly && secure && sameSite === "Lax"))
      assert.isFalse(yield* isConnected)
      yield* go(() => signIn(two, "ada"))
      assert.strictEqual(two.url(), `${origin}/settings?connect=connected&provider=idp`)
      assert.isTrue(yield* isConnected)
      // the other tab still shows the sign-in of before: the provider takes it on
      yield* go(() => signIn(one, "ada"))
      assert.strictEqual(one.url(), `${origin}/settings?connect=connected&provider=idp`)
      assert.lengthOf(yield* begun, 0)
      // going back to the callback does no harm
      yield* go(() => two.goBack())
      assert.isTrue(yield* isConnected)

      // a callback that somebody else planted
      const attacker = yield* go(() => browser.newContext())
      const theirs = yield* go(async () => {
        const page = await attacker.newPage()
        await page.goto(`${origin}/settings`)
        await page.click("#connect")
        // so that the callback is not taken where it was begun
        await attacker.clearCookies({ name: /^__Host-connect-/ })
        await signIn(page, "mallory")
        return page.url()
      })
      assert.include(theirs, "code=")
      yield* go(() => one.goto(theirs))
      assert.strictEqual(yield* go(() => one.title()), "This sign-in is over")

      // a form of another site: "localhost" is another one than "127.0.0.1"
      yield* go(async () => {
        await one.goto(`http://localhost:${port}/evil`)
        await one.click("button")
        await one.waitForLoadState("load")
      })
      assert.strictEqual(yield* go(() => one.title()), "You are not signed in")
      // even a program whose session cookie goes with requests of other sites
      isCareless = true
      yield* go(async () => {
        await one.goto(`http://localhost:${port}/evil`)
        await one.click("button")
        await one.waitForLoadState("load")
      })
      assert.strictEqual(yield* go(() => one.title()), "This was not asked for here")
      assert.isTrue(yield* isConnected)

      yield* go(async () => {
        await one.goto(`${origin}/settings`)
        await one.click("#disconnect")
        await one.waitForLoadState("load")
      })
      assert.strictEqual(one.url(), `${origin}/settings?connect=disconnected&provider=idp&revoked=yes`)
      assert.isFalse(yield* isConnected)
    }).pipe(Effect.scoped, Effect.provide([OidcProvider.layer(), Logger.layer([])])),
  60_000
)
