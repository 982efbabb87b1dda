import { OidcProvider } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { grants } from "./fixtures.ts"

it.live("three programs that sign in at once open one browser, and share its session", () =>
  Effect.gen(function*() {
    const directory = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
    const { issuer } = yield* OidcProvider.OidcProvider
    const program = join(import.meta.dirname, "children", "signer.ts")
    const sign = Effect.promise(() => promisify(execFile)(process.execPath, [program, directory, issuer]))
    const outputs = yield* Effect.all([sign, sign, sign], { concurrency: "unbounded" })
    assert.strictEqual(new Set(outputs.map(({ stdout }) => stdout)).size, 1)
    assert.isAbove(outputs[0].stdout.length, 20)
    assert.strictEqual(outputs.filter(({ stderr }) => stderr.includes("Your browser opens")).length, 1)
    assert.deepStrictEqual(yield* grants, ["authorization_code"])
  }).pipe(Effect.scoped, Effect.provide([OidcProvider.layer(), NodeFileSystem.layer])))
