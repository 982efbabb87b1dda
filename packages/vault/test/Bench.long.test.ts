// `npm run bench -- vault` in short: what is counted holds on any machine, what is timed wants one that does nothing else.
import { PostgresServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"

const counted = [
  "idle, at most one statement a second",
  "at most 5 statements each, the claim apart",
  "RSS under 300 MB while sweeping",
  "and with 1000 sessions open",
  "no session lost"
]

const bench = () =>
  new Promise<string>((resolve, reject) => {
    const main = Path.join(import.meta.dirname, "../../bench/src/main.ts")
    const env = { ...process.env, EFFECT_AUTHN_SESSIONS: "5000" }
    const child = ChildProcess.spawn(process.execPath, [main, "vault"], { env, stdio: ["ignore", "pipe", "pipe"] })
    let text = ""
    let errors = ""
    child.stdout.on("data", (chunk) => text += String(chunk))
    child.stderr.on("data", (chunk) => errors += String(chunk))
    child.once("error", reject)
    child.once("close", (code) => code === 0 ? resolve(text) : reject(new Error(`it ended with ${code}: ${errors}`)))
  })

describe("the bench of a fleet of vaults", () => {
  it.runIf(PostgresServer.isThere)("keeps to its bars in what is counted", async () => {
    const lines = (await bench()).split("\n")
    for (const goal of counted) {
      assert.strictEqual(lines.find((line) => line.includes(goal))?.trim().slice(0, 1), "✓", lines.join("\n"))
    }
  })
})
