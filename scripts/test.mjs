// Proves the product. Without arguments: build, types, then the tests, with the coverage of core. `--long`: lint and unused
// code beside the tests that start real servers, browsers and other runtimes, or play long. Other arguments are Vitest's,
// and only its tests run: `npm test -- --project core`.
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { ensureServices } from "./services.mjs"

const root = path.dirname(import.meta.dirname)
const coverage = path.join(root, "coverage")
// Where several runs have one closing line, scripts/tally.mjs says it. A run inside a test of this run is none of them.
const { EFFECT_AUTHN_TALLY: tally, ...env } = process.env

/** Runs a program. What it says is shown at its end where `beside` another one that shows its own. */
const run = (name, [command, ...args], { beside = false } = {}) =>
  new Promise((resolve) => {
    const began = performance.now()
    if (!beside) console.log(`\n▶ ${name}`)
    const child = spawn(command, args, {
      cwd: root,
      env,
      stdio: beside ? ["ignore", "pipe", "pipe"] : "inherit",
      shell: process.platform === "win32"
    })
    const said = []
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => said.push(chunk))
    child.once("error", (error) => said.push(Buffer.from(error.message)))
    child.once("close", (code) => {
      const seconds = ((performance.now() - began) / 1000).toFixed(1)
      if (beside) console.log(`\n▶ ${name}\n${Buffer.concat(said).toString().trimEnd()}`)
      console.log(`${code === 0 ? "✔" : "✘"} ${name} (${seconds} s)`)
      resolve(code === 0 ? [] : [name])
    })
  })

const npm = (name, script, options) => run(name, ["npm", "run", "--silent", script], options)

let runs = 0
const counted = { passed: 0, failed: 0 }

/** Runs Vitest, and counts. */
const vitest = async (name, ...args) => {
  const report = path.join(coverage, `vitest-${++runs}.json`)
  fs.rmSync(report, { force: true })
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`]
  const failed = await run(name, ["vitest", "run", "--config", "vitest.workspace.ts", ...args, ...reporters])
  if (!fs.existsSync(report)) return [name]
  const results = JSON.parse(fs.readFileSync(report, "utf8"))
  counted.passed += results.numPassedTests
  counted.failed += results.numFailedTests
  if (results.numPassedTests === 0) return [name]
  return failed
}

/** The share of core's lines and branches that its own tests ran, against what the project promises. */
const covered = () => {
  const summary = path.join(coverage, "coverage-summary.json")
  if (!fs.existsSync(summary)) return ["the coverage of core"]
  const core = Object.entries(JSON.parse(fs.readFileSync(summary, "utf8")))
    .filter(([file]) => file.split(path.sep).join("/").includes("/packages/core/src/"))
    .map(([, figures]) => figures)
  const holds = [["lines", 95], ["branches", 90]].map(([kind, promised]) => {
    const total = core.reduce((sum, figures) => sum + figures[kind].total, 0)
    const percent = total === 0 ? 0 : (100 * core.reduce((sum, figures) => sum + figures[kind].covered, 0)) / total
    const holds = percent > promised
    console.log(`${holds ? "✔" : "✘"} core: ${percent.toFixed(1)} % of ${kind} covered (over ${promised} % promised)`)
    return holds
  })
  return holds.every(Boolean) ? [] : ["the coverage of core"]
}

const everything = async () => {
  for (const [name, script] of [["build", "build"], ["types", "check"]]) {
    const failed = await npm(name, script)
    if (failed.length > 0) return failed
  }
  const core = await vitest("tests of core", "--coverage", "--project=core")
  const others = await vitest("tests of the others", "--project=!core", "--project=!*:long")
  return [...core, ...covered(), ...others]
}

const long = async (args) => {
  // What is packed has to be built.
  const failed = await npm("build", "build")
  if (failed.length > 0) return failed
  if (args.some((arg) => arg.startsWith("--project"))) return vitest("long tests", ...args)
  const checks = Promise.all([npm("lint", "lint", { beside: true }), npm("unused code", "knip", { beside: true })])
  const tests = await vitest("long tests", "--project=*:long", ...args)
  return [...(await checks).flat(), ...tests]
}

const [, , ...args] = process.argv
const isLong = args[0] === "--long"
const failed = !ensureServices()
  ? ["the installation of what the tests talk to"]
  : isLong
  ? await long(args.slice(1))
  : args.length > 0
  ? await vitest("tests", "--project=!*:long", ...args)
  : await everything()

// A step that failed before a test could run, or a file that could not be loaded, is a failure of its own.
if (failed.length > 0) console.error(`\nfailed: ${failed.join(", ")}; see above.`)
const broken = Math.max(counted.failed, failed.length > 0 ? 1 : 0)
if (tally === undefined) console.log(`\n${counted.passed} passed, ${broken} failed`)
else fs.appendFileSync(tally, `${counted.passed} ${broken}\n`)
process.exit(broken === 0 && counted.passed > 0 ? 0 : 1)
