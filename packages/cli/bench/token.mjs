// How long `authn token` takes beside a plain Node script that reads and parses the same file: whole processes, in turns,
// in one run. Needs `npm run build`. Usage: node packages/cli/bench/token.mjs [rounds]
import { spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const rounds = Number(process.argv[2] ?? 40)
const authn = path.join(import.meta.dirname, "../dist/authn.js")
const home = fs.mkdtempSync(path.join(os.tmpdir(), "authn-bench-"))
const simulator = path.join(import.meta.dirname, "../../testing/src/bin/simulator.ts")
const secretService = path.join(import.meta.dirname, "../../storage/keyring/test/secretService.ts")
const bound = 1.5

const run = (args, env, input) => {
  const begun = process.hrtime.bigint()
  const { status, stderr, stdout } = spawnSync(process.execPath, args, { env, input, encoding: "utf8" })
  const millis = Number(process.hrtime.bigint() - begun) / 1e6
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`)
  return { millis, stdout }
}
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

const server = spawn(process.execPath, [simulator, "--token-lifetime", "1 hour"], { stdio: ["ignore", "pipe", "ignore"] })
const keychain = await import(secretService).then(
  (service) => service.isThere ? service.startSecretService() : undefined
)
if (keychain === undefined) console.error("Left out: the keychain; gnome-keyring or dbus-daemon is not here.")
try {
  const issuer = await new Promise((resolve) => server.stdout.once("data", (data) => resolve(JSON.parse(String(data)).issuer)))
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    XDG_DATA_HOME: path.join(home, "data"),
    NO_COLOR: "1",
    EFFECT_AUTHN_KEY: Buffer.alloc(32, 7).toString("base64"),
    ...(keychain === undefined ? {} : { DBUS_SESSION_BUS_ADDRESS: keychain.address })
  }
  const at = ["--dialect", "datalayer", "--issuer", issuer, "--handle", "ada", "--password-stdin"]
  const places = ["plain-file", "encrypted-file", ...(keychain === undefined ? [] : ["keyring"])]
  for (const place of places) {
    run([authn, "login", "--account", place, ...at, "--storage", place], env, "correct-horse-battery\n")
  }
  run([authn, "accounts", "use", "plain-file"], env)

  const { file } = JSON.parse(fs.readFileSync(path.join(env.XDG_DATA_HOME, "effect-authn/accounts/plain-file.json"), "utf8"))
  const plain = path.join(home, "plain.mjs")
  fs.writeFileSync(
    plain,
    `import { readFileSync } from "node:fs"\nconst { session } = JSON.parse(readFileSync(${JSON.stringify(file)}, "utf8"))\n` +
      `console.log(Object.values(session.tokens)[0].accessToken)\n`
  )
  if (run([plain], env).stdout !== run([authn, "token"], env).stdout) throw new Error("not the same token")

  const cases = {
    "plain script": [plain],
    ...Object.fromEntries(places.map((place) => [`authn token, ${place}`, [authn, "token", "--account", place]])),
    // It asks for more than is left of a token a moment after that was made.
    "authn token that renews": [authn, "token", "--min-ttl", "1h"],
    "authn --help": [authn, "--help"]
  }
  const times = Object.fromEntries(Object.keys(cases).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, args] of Object.entries(cases)) {
      // the slow ones need fewer
      if (round % 4 === 0 || name.includes("plain")) times[name].push(run(args, env).millis)
    }
  }
  const ratio = median(times["authn token, plain-file"].map((millis, at) => millis / times["plain script"][at]))
  for (const [name, values] of Object.entries(times)) {
    console.log(`${name.padEnd(28)} ${median(values).toFixed(1).padStart(7)} ms`)
  }
  console.log(`authn token / plain script, pairwise median: ${ratio.toFixed(2)} (bound ${bound.toFixed(2)})`)
  process.exitCode = ratio <= bound ? 0 : 1
} finally {
  server.kill()
  await keychain?.stop()
  fs.rmSync(home, { recursive: true })
}
