// The page for operators in a real browser: what it lets in, and what it keeps.
import { TokenStorage } from "@effect-authn/core"
import { Vault, VaultStatus } from "@effect-authn/vault"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { mkdtempSync, statSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isThere, launched } from "./browser.ts"

it.live.skipIf(!isThere)(
  "a link opens the page in one browser, and no other one sees it",
  () =>
    Effect.gen(function*() {
      const status = yield* Layer.build(VaultStatus.layer.pipe(
        Layer.provide(Vault.layer<never, never>({ providers: [] })),
        Layer.provide(TokenStorage.layerMemory),
        Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
      ))
      const link = yield* Context.get(status, VaultStatus.VaultStatus).link
      const browser = yield* launched
      const visit = (url: string) =>
        Effect.promise(async () => {
          const context = await browser.newContext()
          const page = await context.newPage()
          const complaints: Array<string> = []
          page.on("console", (message) => complaints.push(message.text()))
          await page.goto(url)
          return { page, complaints }
        })
      const { complaints, page } = yield* visit(link)
      assert.match(new URL(page.url()).pathname, /^\/[\w-]{43}\/$/)
      assert.strictEqual(yield* Effect.promise(() => page.title()), "Vault")
      assert.deepStrictEqual(complaints.filter((text) => !text.includes("favicon")), [])
      yield* Effect.promise(() => page.reload())
      assert.strictEqual(yield* Effect.promise(() => page.title()), "Vault")
      const screenshot = join(mkdtempSync(join(tmpdir(), "effect-authn-")), "vault.png")
      yield* Effect.promise(() => page.screenshot({ path: screenshot }))
      assert.isAbove(statSync(screenshot).size, 1000)
      for (const url of [link, new URL("/", link).href]) {
        const other = yield* visit(url)
        assert.strictEqual(yield* Effect.promise(() => other.page.title()), "The page is closed")
      }
    }).pipe(Effect.scoped),
  60_000
)
