// Proves the product: lint, types, build, unused code, tests with the coverage of core; then one closing line.
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { ensureServices } from "./services.mjs"

const root = path.dirname(import.meta.dirname)
const report = path.join(root, "coverage", "vitest.json")

const steps = [
  ["lint", "npm", "run", "--silent", "lint"],
  ["types", "npm", "run", "--silent", "check"],
  ["build", "npm", "run", "--silent", "build"],
  ["unused code", "npm", "run", "--silent", "knip"],
  [
    "tests",
    "vitest",
    "run",
    "--config",
    "vitest.workspace.ts",
    "--coverage",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`
  ]
]

fs.rmSync(report, { force: true })
let failed = ensureServices() ? undefined : "the installation of what the tests talk to"
for (const [name, command, ...args] of failed === undefined ? steps : []) {
  const began = performance.now()
  console.log(`\n▶ ${name}`)
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" })
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  console.log(`${status === 0 ? "✔" : "✘"} ${name} (${seconds} s)`)
  if (status !== 0) {
    failed = name
    break
  }
}

/** The share of core's lines and branches that the tests of all packages ran, against what the project promises. */
const coverage = () => {
  const summary = path.join(root, "coverage", "coverage-summary.json")
  if (!fs.existsSync(summary)) return false
  const core = Object.entries(JSON.parse(fs.readFileSync(summary, "utf8")))
    .filter(([file]) => file.split(path.sep).join("/").includes("/packages/core/src/"))
    .map(([, figures]) => figures)
  return [["lines", 95], ["branches", 90]].map(([kind, promised]) => {
    const total = core.reduce((sum, figures) => sum + figures[kind].total, 0)
    const covered = core.reduce((sum, figures) => sum + figures[kind].covered, 0)
    const percent = total === 0 ? 0 : (100 * covered) / total
    const holds = percent > promised
    console.log(`${holds ? "✔" : "✘"} core: ${percent.toFixed(1)} % of ${kind} covered (over ${promised} % promised)`)
    return holds
  }).every(Boolean)
}

if (failed === undefined && !coverage()) failed = "the coverage of core"

const results = fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, "utf8")) : undefined
const passed = results?.numPassedTests ?? 0
// A step that failed before a test could run, or a file that could not be loaded, is a failure of its own.
const broken = Math.max(results?.numFailedTests ?? 0, failed === undefined ? 0 : 1)
if (failed !== undefined) console.error(`\n${failed} failed; see above.`)
console.log(`\n${passed} passed, ${broken} failed`)
process.exit(failed === undefined && passed > 0 ? 0 : 1)
