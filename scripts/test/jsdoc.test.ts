/**
 * The examples in the documentation of the sources compile as they stand, and those whose fence is marked
 * `import.meta.vitest` do what they say: a line `expression // => value` holds.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { run } from "./run.ts"

const root = Path.join(import.meta.dirname, "../..")
// Below the root, so that an example finds the packages as a program of this repository does.
const directory = Path.join(root, "dist/jsdoc")

interface Example {
  readonly title: string
  readonly file: string
  readonly isRun: boolean
  readonly text: string
}

const sources = Fs.globSync("packages/**/src/**/*.ts", { cwd: root, exclude: (name) => name === "node_modules" }).sort()

const commentsIn = (path: string) =>
  Array.from(
    Fs.readFileSync(Path.join(root, path), "utf8").matchAll(/^ *\/\*\*\n([\s\S]*?)\*\//gm),
    ([, comment]) => comment!.replaceAll(/^ *\* ?/gm, "")
  )

const examples: ReadonlyArray<Example> = sources.flatMap((path) => {
  const module = path.replace(/^packages\//, "").replace("/src/", "/").replace(/\.ts$/, "")
  return commentsIn(path).flatMap((comment) =>
    Array.from(
      comment.matchAll(/^\*\*Example\*\* \((.+)\)\n\n```ts( import\.meta\.vitest)?\n([\s\S]*?)^```$/gm),
      ([, title, mark, text]) => ({ title: title!, isRun: mark !== undefined, text: text! })
    )
  ).map(({ isRun, text, title }, index) => ({
    isRun,
    text,
    title: `${module}: ${title}`,
    file: `${module.replaceAll("/", "-")}-${index}.ts`
  }))
})

const checked = (text: string) => text.replaceAll(/^( *)(.+) \/\/ => (.+)$/gm, "$1assert.deepStrictEqual($2, $3)")

Fs.rmSync(directory, { recursive: true, force: true })
Fs.mkdirSync(directory, { recursive: true })
Fs.writeFileSync(
  Path.join(directory, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.tests.json",
    include: ["*.ts"],
    exclude: [],
    references: [],
    compilerOptions: {
      composite: false,
      incremental: false,
      declarationMap: false,
      noUnusedLocals: false,
      // A program has keys of its own.
      plugins: [{ name: "@effect/language-service", diagnosticSeverity: { deterministicKeys: "off" } }]
    }
  })
)
for (const { file, isRun, text } of examples) {
  Fs.writeFileSync(
    Path.join(directory, file),
    isRun ? `import { assert } from "@effect/vitest"\n${checked(text)}` : text
  )
}

describe("examples in the sources", () => {
  it("have a title each, so that none is missed", () => {
    const fences = sources.flatMap(commentsIn).flatMap((comment) => comment.match(/^```ts/gm) ?? [])
    assert.strictEqual(fences.length, examples.length)
    assert.isAtLeast(examples.length, 40)
  })

  it.live("compile as they stand", () =>
    Effect.gen(function*() {
      const tsc = Path.join(root, "node_modules/typescript/bin/tsc")
      const { code, stdout } = yield* run(process.execPath, [tsc, "-p", directory])
      assert.strictEqual(code, 0, stdout)
    }))

  for (const { file, title } of examples.filter(({ isRun }) => isRun)) {
    it.live(title, () => Effect.promise(() => import(pathToFileURL(Path.join(directory, file)).href)))
  }
})
