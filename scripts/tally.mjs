// Says one closing line for several runs of scripts/test.mjs: `node scripts/tally.mjs FILE RUNS`. Runs on any Node 20.
import * as fs from "node:fs"

const [, , file, runs] = process.argv
const counts = fs.readFileSync(file, "utf8").trim().split("\n").filter(Boolean).map((line) => line.split(" ").map(Number))
const sum = (at) => counts.reduce((total, numbers) => total + numbers[at], 0)
const passed = sum(0)
// A run that ended before it could count is a failure.
const failed = sum(1) + Number(runs) - counts.length
console.log(`\n${passed} passed, ${failed} failed`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)
