// Proves the product: lint, types, build, unused code, tests; then one closing line.
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

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
let failed
for (const [name, command, ...args] of steps) {
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

const results = fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, "utf8")) : undefined
const passed = results?.numPassedTests ?? 0
// A step that failed before a test could run, or a file that could not be loaded, is a failure of its own.
const broken = Math.max(results?.numFailedTests ?? 0, failed === undefined ? 0 : 1)
if (failed !== undefined) console.error(`\n${failed} failed; see above.`)
console.log(`\n${passed} passed, ${broken} failed`)
process.exit(failed === undefined && passed > 0 ? 0 : 1)
