// What a stranger gets: the packages as they would be published, in a project that knows nothing of this repository.
import { IamSimulator } from "@effect-authn/testing"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { Project, published, succeeds, Tarballs } from "./packed.ts"

const root = path.join(import.meta.dirname, "../..")
const program = fs.readFileSync(path.join(root, "docs/examples/sign-in.ts"), "utf8")
const tsc = "node_modules/.bin/tsc"

// What begins with an import stands for itself; all else is quoted from an example, which is pasted whole.
const snippets = fs.globSync(["*.md", "docs/*.md", "packages/**/README.md"], {
  cwd: root,
  exclude: (file) => file.includes("node_modules")
}).flatMap((document) =>
  [...fs.readFileSync(path.join(root, document), "utf8").matchAll(/^```ts\n(import .*?)^```$/gms)].map((
    [, code],
    index
  ) => ({ name: `${document.replaceAll(/\W/g, "-")}-${index + 1}.ts`, code: code! }))
)
const examples = fs.globSync("docs/examples/*.ts", { cwd: root })
  .filter((file) => !file.endsWith(".test.ts"))
  .map((file) => ({ name: path.basename(file), code: fs.readFileSync(path.join(root, file), "utf8") }))

const limit = { timeout: 120_000 }

layer(Layer.merge(Project.layer, IamSimulator.layer()), { timeout: 240_000, excludeTestServices: true })(
  "the packed packages",
  (it) => {
    for (const name of Object.keys(published) as Array<keyof typeof published>) {
      it.effect(
        `${name} has its papers, what it exports, and nothing that is not for others`,
        () =>
          Effect.gen(function*() {
            const file = (yield* Tarballs)[name]
            const list = (yield* succeeds("tar", ["-tzf", file], {})).split("\n")
            const read = (entry: string) => succeeds("tar", ["-xzOf", file, `package/${entry}`], {})
            assert.includeMembers(list, ["package/README.md", "package/LICENSE", "package/package.json"])
            assert.match(yield* read("LICENSE"), /^MIT License/)

            const readme = yield* read("README.md")
            assert.isTrue(readme.startsWith(`# ${name}\n`))
            assert.match(readme, new RegExp(`^npm install (-g |--save-dev )?${name}\\b`, "m"))

            const { description, exports = {}, keywords = [], license } = JSON.parse(yield* read("package.json"))
            assert.strictEqual(license, "MIT")
            assert.isAbove(description.length, 0)
            assert.includeMembers(keywords, ["effect", "authentication"])
            const targets: ReadonlyArray<unknown> = Object.values(exports)
            assert.deepStrictEqual(
              targets.filter((target) =>
                typeof target === "string" && !target.includes("*") && !list.includes(target.replace("./", "package/"))
              ),
              []
            )
            assert.deepStrictEqual(
              list.filter((entry) => /\/(test|bench|node_modules)\/|tsconfig|tsbuildinfo/.test(entry)),
              []
            )

            // Some file systems, and Bun, see no difference between small and capital letters.
            assert.strictEqual(new Set(list.map((entry) => entry.toLowerCase())).size, list.length)

            const declared = list.filter((entry) => entry.endsWith(".d.ts")).map((entry) =>
              entry.replace("package/", "")
            )
            const texts = yield* Effect.forEach(declared, read, { concurrency: 4 })
            assert.deepStrictEqual(declared.filter((_, index) => texts[index]!.includes("@internal")), [])
          }),
        limit
      )
    }

    it.effect("each can be imported", () =>
      Effect.gen(function*() {
        const cwd = yield* Project
        const libraries = Object.keys(published).filter((name) => name !== "@effect-authn/cli")
        for (const name of libraries) {
          const script = `import * as All from "${name}"; console.log(Object.keys(All).length)`
          assert.isAbove(Number(yield* succeeds(process.execPath, ["--input-type=module", "-e", script], { cwd })), 0)
        }
      }), limit)

    it.effect("each snippet of the documents type-checks as pasted, imports included", () =>
      Effect.gen(function*() {
        const project = yield* Project
        const cwd = path.join(project, "snippets")
        fs.mkdirSync(cwd)
        const pasted = [...snippets, ...examples]
        assert.isAtLeast(pasted.length, 25)
        for (const { code, name } of pasted) fs.writeFileSync(path.join(cwd, name), code)
        // each is a file of its own, also one that exports nothing
        const flags =
          "--ignoreConfig --noEmit --strict --exactOptionalPropertyTypes --skipLibCheck --module NodeNext " +
          "--moduleDetection force --target ES2024 --types node"
        yield* succeeds(path.join(project, tsc), [...flags.split(" "), ...pasted.map(({ name }) => name)], { cwd })
      }), limit)

    it.effect("`authn simulator` starts the simulators of the package beside it", () =>
      Effect.gen(function*() {
        const cwd = yield* Project
        const authn = path.join(cwd, "node_modules/.bin/authn")
        assert.match(yield* succeeds(authn, ["simulator", "--", "--help"], { cwd }), /--dialect/)
        const simulator = path.join(cwd, "node_modules/.bin/iam-simulator")
        assert.match(yield* succeeds(simulator, ["--help"], { cwd }), /--state FILE/)
      }), limit)

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
        yield* succeeds(tsc, [], { cwd })

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
      }), limit)
  }
)
