// What a stranger gets: the packages as they would be published, in a project that knows nothing of this repository.
import { IamSimulator } from "@effect-authn/testing"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { run } from "./run.ts"

const root = path.join(import.meta.dirname, "../..")
const packages = {
  "@effect-authn/core": "packages/core",
  "@effect-authn/iam-datalayer": "packages/iam/datalayer",
  "@effect-authn/iam-genomcore": "packages/iam/genomcore",
  "@effect-authn/platform-node": "packages/platform/node"
}

const program = fs.readFileSync(path.join(root, "docs/examples/sign-in.ts"), "utf8")

const succeeds = (command: string, args: ReadonlyArray<string>, options: Parameters<typeof run>[2]) =>
  Effect.map(run(command, args, { ...options, shell: process.platform === "win32" }), (result) => {
    assert.strictEqual(result.code, 0, `${command} ${args.join(" ")}\n${result.stdout}\n${result.stderr}`)
    return result.stdout
  })

/** The directory of a project that depends on the tarballs. */
class Project extends Context.Service<Project, string>()("effect-authn/scripts/test/packed.long.test/Project") {}

const project = Layer.effect(
  Project,
  Effect.gen(function*() {
    for (const directory of Object.values(packages)) {
      const entry = path.join(root, directory, "dist/index.js")
      assert.isTrue(fs.existsSync(entry), `${entry} is not there: run "npm run build" first`)
    }
    const cwd = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-packed-"))),
      (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
    )
    const filters = Object.keys(packages).map((name) => `--filter=${name}`)
    yield* succeeds(
      "npx",
      ["--yes", "pnpm@12.21.0", "--recursive", ...filters, "pack", `--pack-destination=${cwd}`],
      { cwd: root }
    )
    const tarballs = Object.keys(packages).map((name) => [
      name,
      `file:${name.replace("@", "").replace("/", "-")}-0.1.0.tgz`
    ])
    fs.writeFileSync(
      path.join(cwd, "package.json"),
      JSON.stringify({
        private: true,
        type: "module",
        dependencies: { ...Object.fromEntries(tarballs), "@effect/platform-node": "4.1.0", "effect": "4.1.0" },
        devDependencies: { typescript: "7.0.2" }
      })
    )
    // Nothing of ours needs to run when it is installed.
    yield* succeeds("npm", ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"], { cwd })
    return cwd
  })
)

layer(Layer.merge(project, IamSimulator.layer()), { timeout: 120_000, excludeTestServices: true })(
  "the packed packages",
  (it) => {
    it.effect("each can be imported", () =>
      Effect.gen(function*() {
        const cwd = yield* Project
        for (const name of Object.keys(packages)) {
          const script = `import * as All from "${name}"; console.log(Object.keys(All).length)`
          assert.isAbove(Number(yield* succeeds(process.execPath, ["--input-type=module", "-e", script], { cwd })), 0)
        }
      }), { timeout: 60_000 })

    it.effect("docs/examples/sign-in.ts type-checks, libraries and all, and runs", () =>
      Effect.gen(function*() {
        const cwd = yield* Project
        const iam = yield* IamSimulator.IamSimulator
        fs.writeFileSync(path.join(cwd, "program.ts"), program)
        fs.writeFileSync(
          path.join(cwd, "tsconfig.json"),
          JSON.stringify({
            compilerOptions: {
              module: "NodeNext",
              target: "ES2024",
              strict: true,
              exactOptionalPropertyTypes: true,
              noUncheckedIndexedAccess: true,
              noEmit: true
            },
            files: ["program.ts"]
          })
        )
        yield* succeeds(process.execPath, ["node_modules/typescript/bin/tsc"], { cwd })

        const data = path.join(cwd, "data")
        const said = yield* succeeds(process.execPath, ["program.ts"], {
          cwd,
          env: { XDG_DATA_HOME: data, DATALAYER_IAM_URL: iam.issuer, IAM_PASSWORD: "correct-horse-battery" }
        })
        assert.match(said, /^200 \{.*"handle_s":"ada"/)
        assert.deepStrictEqual(
          (yield* iam.ledger).map(({ route, status, subject }) => [route, status, subject]),
          [["login", 201, "ada"], ["me", 200, "ada"]]
        )
        assert.isAbove(fs.readdirSync(path.join(data, "effect-authn/sessions")).length, 0)
      }), { timeout: 60_000 })
  }
)
