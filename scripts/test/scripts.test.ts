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
        path: root,
        write,
        read,
        provide,
        run: (args: ReadonlyArray<string> = [], env: Record<string, string> = {}) =>
          run(process.execPath, [path.join(root, "scripts", script), ...args], {
            env: { PATH: `${path.join(root, "bin")}${path.delimiter}${process.env["PATH"]}`, ...env }
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
      const first = yield* root.run()
      assert.deepStrictEqual([first.code, first.stdout], [0, ""])
      assert.match(root.read("installs"), /^--yes pnpm@[\d.]+ install --frozen-lockfile\n$/)

      const before = performance.now()
      assert.strictEqual((yield* root.run()).code, 0)
      assert.isBelow(performance.now() - before, 5000)
      assert.strictEqual(root.read("installs").split("\n").length, 2)

      root.write("pnpm-lock.yaml", "two")
      yield* root.run()
      assert.strictEqual(root.read("installs").split("\n").length, 3)
    }))

  it.live("an installation that fails is a failure, says what is needed, and is not taken for done", () =>
    Effect.gen(function*() {
      const root = yield* stage("setup.mjs", { npx: `${installs}; exit 7` })
      for (const manifest of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"]) root.write(manifest, "one")
      const failed = yield* root.run()
      assert.strictEqual(failed.code, 7)
      assert.match(failed.stderr, /needs Node 20 or newer, npm, and the npm registry/)
      root.provide("npx", installs)
      assert.strictEqual((yield* root.run()).code, 0)
      assert.strictEqual(root.read("installs").split("\n").length, 3)
    }))

  it.live("a pinned Node that does not start here gives way to the machine's own", () =>
    Effect.gen(function*() {
      const pinned = (text: string) =>
        `mkdir -p node_modules/.bin; printf '#!/bin/sh\\n${text}\\n' > node_modules/.bin/node; chmod +x node_modules/.bin/node`
      for (const [text, stays] of [["echo v24.0.0", true], ["exit 127", false]] as const) {
        const root = yield* stage("setup.mjs", { npx: pinned(text) })
        for (const manifest of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"]) root.write(manifest, "one")
        assert.strictEqual((yield* root.run()).code, 0)
        assert.strictEqual(root.read("node_modules/.bin/node") !== "", stays)
      }
    }))
})

describe.skipIf(process.platform === "win32")("test.mjs", () => {
  const npm = `echo "$3" >> steps`
  const vitest = (passed: number, failed: number, code = failed === 0 ? 0 : 1, covered = 99) =>
    `echo "vitest $*" >> steps
    for argument in "$@"; do case $argument in --outputFile.json=*) report=\${argument#*=};; esac; done
    mkdir -p "$(dirname "$report")"
    echo '{"numPassedTests":${passed},"numFailedTests":${failed}}' > "$report"
    figures='{"total":100,"covered":${covered}}'
    echo "{\\"/r/packages/core/src/A.ts\\":{\\"lines\\":$figures,\\"branches\\":$figures}}" > "$(dirname "$report")/coverage-summary.json"
    exit ${code}`
  const last = (text: string) => text.trimEnd().split("\n").at(-1)

  // Vitest runs twice: for core, and for the others.
  for (
    const [title, programs, line, code] of [
      ["all is well", { npm, vitest: vitest(12, 0) }, "24 passed, 0 failed", 0],
      ["core is not covered as promised", { npm, vitest: vitest(12, 0, 0, 95) }, "24 passed, 1 failed", 1],
      ["a test fails", { npm, vitest: vitest(11, 1) }, "22 passed, 2 failed", 1],
      [
        "a test file cannot be loaded",
        { npm, vitest: vitest(11, 0, 1) },
        "22 passed, 1 failed",
        1
      ],
      ["there are no tests", { npm, vitest: vitest(0, 0) }, "0 passed, 1 failed", 1],
      ["a step before the tests fails", { npm: `${npm}; exit 3`, vitest: vitest(12, 0) }, "0 passed, 1 failed", 1]
    ] as const
  ) {
    it.live(`ends with one line that counts: ${title}`, () =>
      Effect.gen(function*() {
        const root = yield* stage("test.mjs", programs)
        const result = yield* root.run()
        assert.deepStrictEqual([last(result.stdout), result.code], [line, code], result.stdout + result.stderr)
      }))
  }

  it.live("a report of an earlier run does not count", () =>
    Effect.gen(function*() {
      const root = yield* stage("test.mjs", { npm, vitest: "exit 1" })
      for (const report of [1, 2]) {
        root.write(`coverage/vitest-${report}.json`, `{"numPassedTests":12,"numFailedTests":0}`)
      }
      assert.strictEqual(last((yield* root.run()).stdout), "0 passed, 1 failed")
    }))

  it.live("build, types, then the tests", () =>
    Effect.gen(function*() {
      const root = yield* stage("test.mjs", { npm, vitest: vitest(1, 0) })
      yield* root.run()
      const [first, second, core, rest, ...others] = root.read("steps").trim().split("\n")
      assert.deepStrictEqual([first, second, others], ["build", "check", []])
      assert.include(core, "--coverage --project=core ")
      assert.include(rest, "--project=!core --project=!*:long ")
    }))

  it.live("with arguments, only the tests that they name", () =>
    Effect.gen(function*() {
      const root = yield* stage("test.mjs", { npm, vitest: vitest(3, 0) })
      const { stdout } = yield* root.run(["--project", "core"])
      assert.strictEqual(last(stdout), "3 passed, 0 failed")
      assert.match(root.read("steps"), /^vitest run .* --project=!\*:long --project core .*\n$/)
    }))

  it.live("the long ones after a build and no others, with lint and unused code beside them", () =>
    Effect.gen(function*() {
      const root = yield* stage("test.mjs", { npm, vitest: vitest(3, 0) })
      const { stdout } = yield* root.run(["--long"])
      assert.strictEqual(last(stdout), "3 passed, 0 failed")
      const [first, ...others] = root.read("steps").trim().split("\n")
      const [knip, lint, tests, ...more] = others.sort()
      assert.deepStrictEqual([first, knip, lint, more], ["build", "knip", "lint", []])
      assert.match(tests ?? "", /^vitest run .* --project=\*:long /)
    }))

  for (const script of ["lint", "knip"]) {
    it.live(`${script} that fails is a failure`, () =>
      Effect.gen(function*() {
        const root = yield* stage("test.mjs", { npm: `${npm}; test "$3" != ${script}`, vitest: vitest(12, 0) })
        const { code, stdout } = yield* root.run(["--long"])
        assert.deepStrictEqual([last(stdout), code], ["12 passed, 1 failed", 1])
      }))
  }

  it.live("several runs have one closing line, in which one that could not count is a failure", () =>
    Effect.gen(function*() {
      const root = yield* stage("test.mjs", { npm, vitest: vitest(3, 0) })
      root.write("tally", "")
      const file = path.join(root.path, "tally")
      for (const args of [[], ["--long"]]) {
        const { stdout } = yield* root.run(args, { EFFECT_AUTHN_TALLY: file })
        assert.notMatch(stdout, /\d+ passed, /)
      }
      const tally = (runs: string) => run(process.execPath, [path.join(scripts, "tally.mjs"), file, runs])
      const two = yield* tally("2")
      assert.deepStrictEqual([two.stdout, two.code], ["\n9 passed, 0 failed\n", 0])
      const three = yield* tally("3")
      assert.deepStrictEqual([three.stdout, three.code], ["\n9 passed, 1 failed\n", 1])
    }))
})
