// What a web page loads of the library.
import { assert, describe, it } from "@effect/vitest"
import { createRequire } from "node:module"
import * as path from "node:path"
import { gzipSync } from "node:zlib"

const root = path.join(import.meta.dirname, "../..")

/** What is used of esbuild, which is a dependency of the command alone. */
interface Esbuild {
  readonly build: (options: Record<string, unknown>) => Promise<{
    readonly metafile: {
      readonly inputs: Record<string, { readonly imports: ReadonlyArray<{ readonly external?: boolean }> }>
    }
    readonly outputFiles: ReadonlyArray<{ readonly contents: Uint8Array }>
  }>
}
const { build }: Esbuild = createRequire(path.join(root, "packages/cli/package.json"))("esbuild")

const page = `
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as AuthHttpClient from "@effect-authn/core/AuthHttpClient"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"

export const program = AuthHttpClient.make({ baseUrl: "https://api.example" }).pipe(
  Effect.provide(AuthManager.layer().pipe(
    Layer.provideMerge(SessionKeeper.layer),
    Layer.provideMerge([OidcIam.layer({ issuer: "https://idp.example", clientId: "page" }), TokenStorage.layerMemory]),
    Layer.provideMerge(FetchHttpClient.layer)
  ))
)`

describe("a bundle for browsers of core, iam-oidc and fetch", () => {
  it("has nothing of Node in it, and at most 130.2 kB when it is compressed", async () => {
    // a module of Node cannot be resolved for a browser, and fails the build
    const { metafile, outputFiles } = await build({
      stdin: { contents: page, resolveDir: root, loader: "ts" },
      bundle: true,
      minify: true,
      write: false,
      metafile: true,
      format: "esm",
      platform: "browser",
      target: "es2024",
      logLevel: "silent"
    })
    const inputs = Object.entries(metafile.inputs)
    assert.deepStrictEqual(inputs.flatMap(([, { imports }]) => imports.filter(({ external }) => external === true)), [])
    assert.deepStrictEqual(inputs.filter(([input]) => /platform[/-]node/.test(input)), [])
    const kilobytes = gzipSync(outputFiles[0]!.contents).length / 1000
    // docs/measurements.md says what it is made of
    // The names that esbuild gives in place of ours move it by a third of a kilobyte.
    assert.isAtMost(kilobytes, 130.2)
    // a bundle of nothing would be small, too
    assert.isAtLeast(kilobytes, 60)
  })
})
