/** The packages as they would be published, in a project that knows nothing of this repository. */
import { assert } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { run } from "./run.ts"

const root = path.join(import.meta.dirname, "../..")

/** What is published, and where it is made. */
export const published = {
  "@effect-authn/cli": "packages/cli",
  "@effect-authn/core": "packages/core",
  "@effect-authn/iam-datalayer": "packages/iam/datalayer",
  "@effect-authn/iam-genomcore": "packages/iam/genomcore",
  "@effect-authn/iam-oidc": "packages/iam/oidc",
  "@effect-authn/mcp": "packages/mcp",
  "@effect-authn/platform-node": "packages/platform/node",
  "@effect-authn/storage-keyring": "packages/storage/keyring",
  "@effect-authn/storage-sql": "packages/storage/sql",
  "@effect-authn/storage-redis": "packages/storage/redis",
  "@effect-authn/testing": "packages/testing",
  "@effect-authn/vault": "packages/vault"
}

type Name = keyof typeof published

/** What a command said; a failure of it is the test's. */
export const succeeds = (command: string, args: ReadonlyArray<string>, options: Parameters<typeof run>[2]) =>
  Effect.map(run(command, args, { ...options, shell: process.platform === "win32" }), (result) => {
    assert.strictEqual(result.code, 0, `${command} ${args.join(" ")}\n${result.stdout}\n${result.stderr}`)
    return result.stdout
  })

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-packed-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

const fileOf = (name: string) => `${name.replace("@", "").replace("/", "-")}-0.1.0.tgz`

/** The tarball of each published package. */
export class Tarballs
  extends Context.Service<Tarballs, Record<Name, string>>()("effect-authn/scripts/test/packed/Tarballs")
{
  static readonly layer = Layer.effect(
    Tarballs,
    Effect.gen(function*() {
      for (const directory of Object.values(published)) {
        const entry = path.join(root, directory, "dist")
        assert.isTrue(fs.existsSync(entry), `${entry} is not there: run "npm run build" first`)
      }
      const destination = yield* temporary
      const filters = Object.keys(published).map((name) => `--filter=${name}`)
      yield* succeeds(
        "npx",
        ["--yes", "pnpm@12.21.0", "--recursive", ...filters, "pack", `--pack-destination=${destination}`],
        { cwd: root }
      )
      return Object.fromEntries(
        Object.keys(published).map((name) => [name, path.join(destination, fileOf(name))])
      ) as Record<Name, string>
    })
  )
}

/** The directory of a project that depends on all of them. */
export class Project extends Context.Service<Project, string>()("effect-authn/scripts/test/packed/Project") {
  static readonly layer = Layer.effect(
    Project,
    Effect.gen(function*() {
      const tarballs = yield* Tarballs
      const cwd = yield* temporary
      fs.writeFileSync(
        path.join(cwd, "package.json"),
        JSON.stringify({
          private: true,
          type: "module",
          dependencies: {
            ...Object.fromEntries(Object.entries(tarballs).map(([name, file]) => [name, `file:${file}`])),
            "@effect/platform-node": "4.1.0",
            "@effect/sql-pg": "4.0.5",
            "redis": "6.3.1",
            "effect": "4.1.0"
          },
          devDependencies: { typescript: "7.0.2" }
        })
      )
      // Nothing of ours needs to run when it is installed.
      yield* succeeds("npm", ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"], { cwd })
      return cwd
    })
  ).pipe(Layer.provideMerge(Tarballs.layer))
}
