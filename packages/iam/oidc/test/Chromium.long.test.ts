import { AuthManager, Browser, InteractiveStrategy, SessionKeeper, TokenStorage } from "@effect-authn/core"
import { NodeCallbackServer } from "@effect-authn/platform-node"
import { OidcProvider } from "@effect-authn/testing"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { existsSync, mkdtempSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chromium, type Page } from "playwright-core"
import { oidc, person, tokenOf } from "./fixtures.ts"

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"
const isThere = existsSync(executablePath)

if (!isThere) {
  const missing =
    `no Chromium at ${executablePath}: the login in a real browser IS NOT TESTED; install it, or set CHROMIUM`
  if (process.env["CI"] !== undefined) throw new Error(missing)
  console.error(missing)
}

const launched = Effect.acquireRelease(
  Effect.promise(() =>
    chromium.launch({
      executablePath,
      headless: true,
      chromiumSandbox: false,
      args: [
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--no-proxy-server",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"
      ]
    })
  ),
  (browser) => Effect.promise(() => browser.close())
)

const signIn = async (page: Page, url: string) => {
  await page.goto(url)
  await page.fill("input[name=login]", "ada")
  await page.fill("input[name=password]", "any")
  await page.click("button[type=submit]")
  // The page that asks for consent.
  await page.click("button[type=submit]")
  await page.waitForLoadState("load")
}

it.live.skipIf(!isThere)(
  "a real browser signs in, and ends on our page, without the code in its address",
  () =>
    Effect.gen(function*() {
      const browser = yield* launched
      const page = yield* Effect.promise(() => browser.newPage())
      const errors: Array<string> = []
      page.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text())
      })
      const scope = yield* Effect.scope
      const opener = Browser.Browser.of({
        obstacle: Effect.succeedNone,
        open: (url) => Effect.asVoid(Effect.forkIn(Effect.promise(() => signIn(page, url)), scope))
      })
      const session = yield* Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        return yield* auth.login(InteractiveStrategy.browser())
      }).pipe(Effect.provideService(Browser.Browser, opener))
      assert.isAbove(tokenOf(session).length, 20)
      assert.deepStrictEqual(Option.flatMap(session.user, ({ displayName }) => displayName), Option.some("Name of ada"))

      yield* Effect.promise(() => page.waitForFunction(() => document.title === "You are signed in"))
      assert.strictEqual(new URL(page.url()).pathname, "/")
      assert.strictEqual(new URL(page.url()).search, "")
      assert.deepStrictEqual(
        errors.filter((text) => /content security policy/i.test(text) && !text.includes("fonts")),
        []
      )
      const screenshot = join(mkdtempSync(join(tmpdir(), "effect-authn-")), "signed-in.png")
      yield* Effect.promise(() => page.screenshot({ path: screenshot }))
      assert.isAbove(statSync(screenshot).size, 1000)
      console.log(`screenshot: ${screenshot}`)
    }).pipe(
      Effect.scoped,
      Effect.provide(
        AuthManager.layer().pipe(
          Layer.provide(SessionKeeper.layer),
          Layer.provideMerge(oidc()),
          Layer.provideMerge(
            Layer.mergeAll(OidcProvider.layer(), TokenStorage.layerMemory, NodeCallbackServer.layer(), person)
          )
        )
      )
    )
)
