// Plays every case of renewal as often as its bar asks for, and prints what was measured beside the bar. No part of
// CI: it takes more than an hour.
//   npm run soak              all of it
//   npm run soak -- rounds    the cases and the model, without the faults put back
//   npm run soak -- mutants   the faults put back: what sees each of them, and the model at which history
//   npm run soak -- chaos     a fleet (chaos.ts) instead
// EFFECT_AUTHN_ROUNDS: how many of a thousand rounds (default: all). EFFECT_AUTHN_MODEL_SEED: of the random histories.
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { mutants } from "../packages/core/test/keeper/mutants.ts"

const root = path.dirname(import.meta.dirname)
if (process.argv[2] === "chaos") {
  const { status } = spawnSync(process.execPath, [path.join(root, "scripts/chaos.ts"), ...process.argv.slice(3)], {
    stdio: "inherit"
  })
  process.exit(status ?? 1)
}
const set = process.env.EFFECT_AUTHN_ROUNDS
const rounds = set === undefined || set === "full" ? 1000 : Number(set)
if (!(rounds > 0)) throw new Error(`EFFECT_AUTHN_ROUNDS is "${set}": a number up to 1000, or "full"`)

const parts = process.argv.slice(2)
const isPlayed = (part) => parts.length === 0 || parts.includes(part)
if (parts.some((part) => part !== "rounds" && part !== "mutants")) throw new Error(`npm run soak -- ${parts.join(" ")}: what?`)

const seed = process.env["EFFECT_AUTHN_MODEL_SEED"] ?? String(Date.now())
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-soak-"))
const measures = path.join(directory, "measures.jsonl")
const report = path.join(directory, "vitest.json")

const vitest = path.join(root, "node_modules/vitest/vitest.mjs")

const play = () => spawnSync(
  process.execPath,
  [
    vitest,
    "run",
    "--config",
    "vitest.workspace.ts",
    // One file after the other: what is measured in milliseconds wants a quiet machine.
    "--no-file-parallelism",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...["platform/node", "platform/node:long", "core", "iam/oidc", "iam/oidc:long", "vault:long"].map((name) => `--project=${name}`),
    "packages/platform/node/test/",
    "packages/core/test/keeper/SessionKeeper.test.ts",
    "packages/core/test/keeper/SessionModel.test.ts",
    "packages/core/test/keeper/SessionLease.test.ts",
    "packages/iam/oidc/test/RenewalProcesses.long.test.ts",
    "packages/vault/test/Chaos.long.test.ts"
  ],
  {
    cwd: root,
    stdio: "inherit",
    env: {
      ...process.env,
      EFFECT_AUTHN_ROUNDS: String(rounds),
      EFFECT_AUTHN_MODEL_RUNS: String(rounds * 20),
      EFFECT_AUTHN_MODEL_LENGTH: "4",
      EFFECT_AUTHN_MODEL_SEED: seed,
      EFFECT_AUTHN_MEASURES: measures
    }
  }
)

const status = isPlayed("rounds") ? play().status : 0

const tests = fs.existsSync(report)
  ? JSON.parse(fs.readFileSync(report, "utf8")).testResults.flatMap(({ assertionResults }) => assertionResults)
  : []

// What a test asserts and has no number for.
const proved = [
  [`${rounds} kills -9 while saving in a loop`, "0 torn files", /^killed at any moment/],
  ["killed at each call of the file system", "the old session or the new one", /^killed before or inside any call/],
  ["wall clock +3 h and -3 h", "renewed at the next call; no loop", /^a jump forward renews/],
  [`the model, ${rounds * 20} random histories`, "every promise holds", /^the promises hold in random/],
  ["all histories of 4 moves over 12, under a lock and none", "every promise holds", /^the promises hold in all/],
  ["no lock, a lease: each token is presented once", "but by (a) and (b)", /^compare and set lets nobody present/],
  ["the same without compare and set", "twice", /^a storage that takes every write lets two/],
  ["16 processes of an OpenID client, rotation, 3 times", "1 request, grant alive", /^send one request, when they are sixt/],
  ["4 of them with the lock taken out, 3 times", "the grant is revoked", /^show that it is the lock: without it, the prov/]
].map(([name, bar, title]) => {
  const found = tests.filter((test) => title.test(test.title))
  const met = found.length > 0 && found.every((test) => test.status === "passed")
  return { case: name, bar, measured: met ? "held" : "did not hold", met }
}).filter(() => isPlayed("rounds"))

const measured = fs.existsSync(measures)
  ? fs.readFileSync(measures, "utf8").trim().split("\n").map((line) => JSON.parse(line))
  : []

const failed = tests.filter((test) => test.status === "failed").map((test) => ({
  case: test.fullName,
  bar: "passes",
  measured: test.failureMessages.join(" ").split("\n")[0].slice(0, 120),
  met: false
}))

const quoted = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** Each fault that `mutants.ts` puts back must make its test fail, and the model within 2,000 histories if it can see it. */
const mutation = (mutant) => {
  const output = path.join(directory, "mutant.json")
  fs.rmSync(output, { force: true })
  spawnSync(
    process.execPath,
    [
      vitest,
      "run",
      "--config=vitest.workspace.ts",
      "--project=core",
      "--testTimeout=120000",
      "--reporter=json",
      `--outputFile.json=${output}`,
      `--testNamePattern=${quoted(mutant.falls)}|the promises hold in random histories`,
      "packages/core/test/keeper/Findings.test.ts",
      "packages/core/test/keeper/SessionModel.test.ts"
    ],
    {
      cwd: root,
      stdio: "ignore",
      timeout: 900_000,
      env: {
        ...process.env,
        EFFECT_AUTHN_MUTANT: mutant.name,
        EFFECT_AUTHN_MODEL_RUNS: "2000",
        EFFECT_AUTHN_MODEL_SEED: seed
      }
    }
  )
  const results = fs.existsSync(output) ? JSON.parse(fs.readFileSync(output, "utf8")).testResults : []
  const fell = results.flatMap(({ assertionResults }) => assertionResults).filter(({ status }) => status === "failed")
  const byTest = fell.some(({ fullName }) => fullName.startsWith(mutant.falls))
  const [first] = fell.filter(({ title }) => title.startsWith("the promises hold in")).map(({ failureMessages }) => {
    const [, history, promise] = /history (\d+): (.*)/.exec(failureMessages.join("\n")) ?? [undefined, "0", "it failed"]
    return { history: Number(history), promise }
  }).sort((one, other) => one.history - other.history)
  const byModel = first && `the model at history ${first.history}: ${first.promise}`
  console.log(`${mutant.name}: ${byTest ? "its test" : "not its test"}; ${byModel ?? "not the model"}`)
  return {
    case: `rule ${mutant.rule} broken: ${mutant.name}`,
    bar: mutant.unseen === undefined ? "its test and the model see it" : "its test sees it",
    measured: [byTest ? "its test" : undefined, byModel].filter((by) => by !== undefined).join("; ") || "not seen",
    met: byTest && (mutant.unseen !== undefined || first !== undefined)
  }
}

const rows = [...measured, ...proved, ...failed, ...(isPlayed("mutants") ? mutants.map(mutation) : [])]
const width = (name) => Math.max(name.length, ...rows.map((row) => row[name].length))
const columns = ["case", "bar", "measured"]
const widths = columns.map(width)
const line = (mark, cells) => `${mark} ${cells.map((cell, index) => cell.padEnd(widths[index])).join("  ")}`.trimEnd()
console.log(`\n${line(" ", columns)}\n${line(" ", widths.map((size) => "─".repeat(size)))}`)
for (const row of rows) console.log(line(row.met ? "✔" : "✘", columns.map((name) => row[name])))

const missed = rows.filter((row) => !row.met).length
fs.rmSync(directory, { recursive: true, force: true })
console.log(`\n${rows.length - missed} bars met, ${missed} missed`)
process.exit(status === 0 && missed === 0 && (measured.length > 0 || !isPlayed("rounds")) ? 0 : 1)
