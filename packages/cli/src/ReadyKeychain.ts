/**
 * The short way to the key of sessions whose place is the keychain: what `KeychainKeySource` of the library reads, by the
 * same binding, in a process of its own that can be killed.
 */
import { spawnSync } from "node:child_process"

// Said by the process that waits, since this one is blocked meanwhile. The words are those of the long way.
//
// Its main thread can block for ever in the constructor of an entry, and its parent may be killed meanwhile. So a thread of
// its own speaks, and ends the process.
const program = `
import { Worker } from "node:worker_threads"
const [, binding, account, words, limit] = process.argv
new Worker(
  'import { writeSync } from "node:fs"; import { workerData } from "node:worker_threads";' +
    'setTimeout(() => writeSync(2, workerData.words), 1000);' +
    'setTimeout(() => process.kill(process.pid, "SIGKILL"), workerData.limit)',
  { eval: true, workerData: { words, limit: Number(limit) } }
).unref()
try {
  const { AsyncEntry } = await import(binding)
  const found = await new AsyncEntry("effect-authn", account, { linux: { store: "secret-service" } }).getPassword()
  process.stdout.write(found ?? "")
} catch {
  process.exitCode = 1
}
`

const limit = 3000

/** The secret of an entry of the keychain; throws where there is none to be had within three seconds. */
export const read = (account: string): string => {
  const binding = import.meta.resolve("@napi-rs/keyring")
  const words = "authn: waiting for the keychain: it may be asking for a password, or be busy\n"
  const { status, stdout } = spawnSync(
    process.execPath,
    ["--input-type=module", "--eval", program, binding, account, words, String(limit)],
    { encoding: "utf8", killSignal: "SIGKILL", stdio: ["ignore", "pipe", "inherit"], timeout: limit, windowsHide: true }
  )
  if (status !== 0 || stdout === "") throw new Error("the keychain gave nothing")
  return stdout
}
