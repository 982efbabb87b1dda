// The two scripts behind `npm start` and `npm test`, with other programs in the place of those that they run.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { run } from "./run.ts"

const scripts = path.join(import.meta.dirname, "..")

/** A root with one of the scripts, and with programs, written for the shell, that are found before the real ones. */
const stage = (script: string, programs: Record<string, string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-scripts-"))),
      (root) => Effect.sync(() => fs.rmSync(root, { recursive: true, force: true }))
    ),
    (root) => {
      const write = (file: string, text: string, mode?: number) => {
        fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
        fs.writeFileSync(path.join(root, file), text, { mode })
      }
      const read = (file: string) =>
        fs.existsSync(path.join(root, file)) ? fs.readFileSync(path.join(root, file), "utf8") : ""
      const provide = (name: string, text: string) => write(`bin/${name}`, `#!/bin/sh\n${text}\n`, 0o755)
      for (const [name, text] of Object.entries(programs)) provide(name, text)
      fs.mkdirSync(path.join(root, "scripts"))
      fs.copyFileSync(path.join(scripts, script), path.join(root, "scripts", script))
      write("scripts/services.mjs", "export const ensureServices = () => true")
      return {
        write,
        read,
        provide,
        run: run(process.execPath, [path.join(root, "scripts", script)], {
          env: { PATH: `${path.join(root, "bin")}${path.delimiter}${process.env["PATH"]}` }
        })
      }
    }
  )

describe.skipIf(process.platform === "win32")("setup.mjs", () => {
  const installs = `echo "$@" >> installs; mkdir -p node_modules`

  it.live("installs what the lock file says, once, and again when it says something else", () =>
    Effect.gen(function*() {
      const root = yield* stage("setup.mjs", { npx: installs })
      for (const manifest of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"]) root.write(manifest, "one")
      const first = yield* root.run
      assert.deepStrictEqual([first.code, first.stdout], [0, ""])
      assert.match(root.read("installs"), /^--yes pnpm@[\d.]+ install --frozen-lockfile\n$/)

      const before = performance.now()
      assert.strictEqual((yield* root.run).code, 0)
      assert.isBelow(performance.now() - before, 5000)
      assert.strictEqual(root.read("installs").split("\n").length, 2)

      root.write("pnpm-lock.yaml", "two")
      yield* root.run
      assert.strictEqual(root.read("installs").split("\n").length, 3)
    }))

  it.live("an installation that fails is a failure, says what is needed, and is not taken for done", () =>
    Effect.gen(function*() {
      const root = yield* stage("setup.mjs", { npx: `${installs}; exit 7` })
      for (const manifest of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"]) root.write(manifest, "one")
      const failed = yield* root.run
      assert.strictEqual(failed.code, 7)
      assert.match(failed.stderr, /needs Node 20 or newer, npm, and the npm registry/)
      root.provide("npx", installs)
      assert.strictEqual((yield* root.run).code, 0)
      assert.strictEqual(root.read("installs").split("\n").length, 3)
    }))
})

describe.skipIf(process.platform === "win32")("test.mjs", () => {
  const npm = `echo "$3" >> steps`
  const vitest = (passed: number, failed: number, code = failed === 0 ? 0 : 1, covered = 99) =>
    `for argument in "$@"; do case $argument in --outputFile.json=*) report=\${argument#*=};; esac; done
    mkdir -p "$(dirname "$report")"
    echo '{"numPassedTests":${passed},"numFailedTests":${failed}}' > "$report"
    figures='{"total":100,"covered":${covered}}'
    echo "{\\"/r/packages/core/src/A.ts\\":{\\"lines\\":$figures,\\"branches\\":$figures}}" > "$(dirname "$report")/coverage-summary.json"
    exit ${code}`
  const last = (text: string) => text.trimEnd().split("\n").at(-1)

  for (
    const [title, programs, line, code] of [
      ["all is well", { npm, vitest: vitest(12, 0) }, "12 passed, 0 failed", 0],
      ["core is not covered as promised", { npm, vitest: vitest(12, 0, 0, 95) }, "12 passed, 1 failed", 1],
      ["a test fails", { npm, vitest: vitest(11, 1) }, "11 passed, 1 failed", 1],
      [
        "a test file cannot be loaded",
        { npm, vitest: vitest(11, 0, 1) },
        "11 passed, 1 failed",
        1
      ],
      ["there are no tests", { npm, vitest: vitest(0, 0) }, "0 passed, 0 failed", 1],
      ["a step before the tests fails", { npm: `${npm}; exit 3`, vitest: vitest(12, 0) }, "0 passed, 1 failed", 1]
    ] as const
  ) {
    it.live(`ends with one line that counts: ${title}`, () =>
      Effect.gen(function*() {
        const root = yield* stage("test.mjs", programs)
        const result = yield* root.run
        assert.deepStrictEqual([last(result.stdout), result.code], [line, code], result.stdout + result.stderr)
      }))
  }

  it.live("a report of an earlier run does not count", () =>
    Effect.gen(function*() {
      const root = yield* stage("test.mjs", { npm, vitest: "exit 1" })
      root.write("coverage/vitest.json", `{"numPassedTests":12,"numFailedTests":0}`)
      assert.strictEqual(last((yield* root.run).stdout), "0 passed, 1 failed")
    }))

  it.live("lint, types, build, unused code, then the tests", () =>
    Effect.gen(function*() {
      const root = yield* stage("test.mjs", { npm, vitest: `echo tests >> steps; ${vitest(1, 0)}` })
      yield* root.run
      assert.deepStrictEqual(root.read("steps").trim().split("\n"), ["lint", "check", "build", "knip", "tests"])
    }))
})
