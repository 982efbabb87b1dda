// How long `authn token` takes beside a plain Node script that reads and parses the same file: whole processes, in turns,
// in one run. Needs `npm run build`. Usage: node packages/cli/bench/token.mjs [rounds]
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const rounds = Number(process.argv[2] ?? 40)
const authn = path.join(import.meta.dirname, "../dist/authn.js")
const home = fs.mkdtempSync(path.join(os.tmpdir(), "authn-bench-"))
const env = { PATH: process.env.PATH, HOME: home, XDG_DATA_HOME: path.join(home, "data"), NO_COLOR: "1" }
const simulator = path.join(import.meta.dirname, "../../testing/src/bin/simulator.ts")

const run = (args, input, extra) => {
  const begun = process.hrtime.bigint()
  const { status, stderr, stdout } = spawnSync(process.execPath, args, { env: { ...env, ...extra }, input, encoding: "utf8" })
  const millis = Number(process.hrtime.bigint() - begun) / 1e6
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`)
  return { millis, stdout }
}
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]

const { spawn } = await import("node:child_process")
const server = spawn(process.execPath, [simulator, "--token-lifetime", "1 hour"], { stdio: ["ignore", "pipe", "ignore"] })
try {
  const { issuer } = JSON.parse(await new Promise((resolve) => server.stdout.once("data", (data) => resolve(String(data)))))
  const login = (account, place, extra) =>
    run([authn, "login", "--account", account, "--dialect", "datalayer", "--issuer", issuer, "--handle", "ada", "--password-stdin", "--storage", place], "correct-horse-battery\n", extra)
  const passphrase = { EFFECT_AUTHN_PASSPHRASE: "a passphrase" }
  const key = { EFFECT_AUTHN_KEY: Buffer.alloc(32, 7).toString("base64") }
  login("default", "plain-file")
  login("sealed", "encrypted-file", key)
  void passphrase
  const { file } = JSON.parse(fs.readFileSync(path.join(env.XDG_DATA_HOME, "effect-authn/accounts/default.json"), "utf8"))
  const plain = path.join(home, "plain.mjs")
  fs.writeFileSync(
    plain,
    `import { readFileSync } from "node:fs"\nconst { session } = JSON.parse(readFileSync(${JSON.stringify(file)}, "utf8"))\n` +
      `console.log(Object.values(session.tokens)[0].accessToken)\n`
  )

  const cases = {
    "plain script": () => run([plain]),
    "authn token, plain file": () => run([authn, "token"]),
    "authn token, encrypted file": () => run([authn, "token", "--account", "sealed"], undefined, key),
    "authn refresh": () => run([authn, "refresh"]),
    "authn --help": () => run([authn, "--help"])
  }
  if (run([plain]).stdout !== run([authn, "token"]).stdout) throw new Error("not the same token")
  const times = Object.fromEntries(Object.keys(cases).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, measure] of Object.entries(cases)) {
      // the slow ones need fewer
      if (round % 4 === 0 || name.includes("plain")) times[name].push(measure().millis)
    }
  }
  const ratios = times["authn token, plain file"].map((millis, at) => millis / times["plain script"][at])
  const ratio = median(ratios)
  for (const [name, values] of Object.entries(times)) console.log(`${name.padEnd(28)} ${median(values).toFixed(1).padStart(7)} ms`)
  console.log(`authn token / plain script, pairwise median: ${ratio.toFixed(2)} (bound 1.50)`)
  process.exitCode = ratio <= 1.5 ? 0 : 1
} finally {
  server.kill()
  fs.rmSync(home, { recursive: true })
}
