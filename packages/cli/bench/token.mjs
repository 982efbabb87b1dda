// How long `authn` takes beside plain Node scripts that do the same work: read and parse a file, decrypt it, ask once over
// HTTP. Whole processes, in turns, in one run, on a machine that does nothing else. Needs `npm run build`. Usage: node packages/cli/bench/token.mjs [rounds]
import { spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as ReadySession from "../src/ReadySession.ts"

const rounds = Number(process.argv[2] ?? 40)
const authn = path.join(import.meta.dirname, "../dist/authn.js")
const home = fs.mkdtempSync(path.join(os.tmpdir(), "authn-bench-"))
const simulator = path.join(import.meta.dirname, "../../testing/src/bin/simulator.ts")
const secretService = path.join(import.meta.dirname, "../../storage/keyring/test/secretService.ts")

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
    AUTHN_KEY: Buffer.alloc(32, 7).toString("base64"),
    ...(keychain === undefined ? {} : { DBUS_SESSION_BUS_ADDRESS: keychain.address })
  }
  const at = ["--dialect", "datalayer", "--issuer", issuer, "--handle", "ada", "--password-stdin"]
  const login = (place, more) =>
    run([authn, "login", "--account", place, ...at, "--storage", place], { ...env, ...more }, "correct-horse-battery\n")
  login("plain-file")
  login("encrypted-file")
  run([authn, "accounts", "use", "plain-file"], env)
  // Where `status` would ask the keychain, it is asked beside the keychain.
  const withKeychain = { ...env, XDG_DATA_HOME: path.join(home, "keychain") }
  if (keychain !== undefined) login("keyring", withKeychain)

  const fileOf = (account) => ReadySession.account(path.join(env.XDG_DATA_HOME, "effect-authn"), account).file
  const script = (name, text) => {
    const file = path.join(home, `${name}.mjs`)
    fs.writeFileSync(file, text)
    return [file]
  }
  const reading = `import { createDecipheriv } from "node:crypto"
import { readFileSync } from "node:fs"
const read = (file) => JSON.parse(readFileSync(file, "utf8"))
const decrypt = ({ sealed: { data, key, nonce, of } }) => {
  const sealed = Buffer.from(data, "base64url")
  const opening = createDecipheriv("aes-256-gcm", Buffer.from(process.env.AUTHN_KEY, "base64"), Buffer.from(nonce, "base64url"))
  opening.setAAD(Buffer.from(JSON.stringify([1, key, of]))).setAuthTag(sealed.subarray(-16))
  return JSON.parse(Buffer.concat([opening.update(sealed.subarray(0, -16)), opening.final()]).toString())
}
const tokenOf = ({ session }) => Object.values(session.tokens)[0].accessToken
const [plain, encrypted] = ${JSON.stringify([fileOf("plain-file"), fileOf("encrypted-file")])}
`
  // As `authn` does, since a keychain that blocks must not block the program.
  const keychainAnswer = `
import { execFileSync } from "node:child_process"
execFileSync(process.execPath, ["--input-type=module", "-e", ${
    JSON.stringify(`
import { AsyncEntry } from ${JSON.stringify(import.meta.resolve("@napi-rs/keyring"))}
await new AsyncEntry("effect-authn", "encryption-keys", { linux: { store: "secret-service" } }).getPassword()
`)
  }])
`
  const scripts = {
    "plain script": script("plain", `${reading}console.log(tokenOf(read(plain)))`),
    "plain script, decrypts": script("decrypts", `${reading}console.log(tokenOf(decrypt(read(encrypted))))`),
    "plain script, both": script("both", `${reading}console.log(tokenOf(read(plain)), tokenOf(decrypt(read(encrypted))))`),
    "plain script, one fetch": script(
      "fetches",
      `${reading}await (await fetch("${issuer}/api/iam/v1/ping")).text()\nconsole.log(tokenOf(read(plain)))`
    ),
    ...(keychain === undefined
      ? {}
      : { "plain script, asks keychain": script("asks", `${reading}${keychainAnswer}console.log(tokenOf(decrypt(read(encrypted))))`) })
  }
  for (const [script, place] of [["plain script", "plain-file"], ["plain script, decrypts", "encrypted-file"]]) {
    if (run(scripts[script], env).stdout !== run([authn, "token", "--account", place], env).stdout) {
      throw new Error("not the same token")
    }
  }
  const expire = () => {
    const document = JSON.parse(fs.readFileSync(fileOf("plain-file"), "utf8"))
    // The grant of this IAM is the token itself, while it is valid: it is due, not over.
    for (const tokens of Object.values(document.session.tokens)) tokens.expiresAt = Date.now() + 60_000
    fs.writeFileSync(fileOf("plain-file"), JSON.stringify(document))
  }

  // What is measured, beside which script, and how many times as long it may take.
  const cases = {
    "authn token, plain-file": [[authn, "token", "--account", "plain-file"], "plain script", 1.5],
    "authn token, encrypted-file": [[authn, "token", "--account", "encrypted-file"], "plain script, decrypts", 2],
    ...(keychain === undefined
      ? {}
      : { "authn token, keyring": [[authn, "token"], "plain script, asks keychain", 2, withKeychain] }),
    "authn token that renews": [[authn, "token", "--account", "plain-file", "--min-ttl", "2m"], "plain script, one fetch", 2.5],
    "authn status": [[authn, "status"], "plain script, both", 2.5],
    "authn --help": [[authn, "--help"], "plain script", 2.5],
    "authn login --help": [[authn, "login", "--help"], "plain script", 2.5],
    // What takes the long way, for comparison.
    "authn accounts": [[authn, "accounts"], "plain script", undefined],
    "authn doctor": [[authn, "doctor"], "plain script", undefined]
  }
  const times = Object.fromEntries([...Object.keys(scripts), ...Object.keys(cases)].map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, args] of Object.entries(scripts)) times[name].push(run(args, env).millis)
    for (const [name, [args, , , given = env]] of Object.entries(cases)) {
      if (name === "authn token that renews") expire()
      times[name].push(run(args, given).millis)
    }
  }
  for (const [name, values] of Object.entries(times)) {
    const [, peer, bound] = cases[name] ?? []
    const ratio = peer === undefined ? undefined : median(values.map((millis, at) => millis / times[peer][at]))
    const isMissed = bound !== undefined && ratio > bound
    if (isMissed) process.exitCode = 1
    const beside = ratio === undefined
      ? ""
      : `  ${ratio.toFixed(2)} x ${peer}${bound === undefined ? "" : `, bound ${bound}${isMissed ? ": MISSED" : ""}`}`
    console.log(`${name.padEnd(28)} ${median(values).toFixed(1).padStart(7)} ms${beside}`)
  }
} finally {
  server.kill()
  await keychain?.stop()
  fs.rmSync(home, { recursive: true })
}
