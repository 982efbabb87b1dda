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
const [, binding, account, words, limit, begun] = process.argv
// The long way says that a machine is busy.
if (Date.now() - Number(begun) > 1000) process.exit(1)
try {
  const { AsyncEntry } = await import(binding)
  new Worker(
    'import { writeSync } from "node:fs"; import { workerData } from "node:worker_threads";' +
      'setTimeout(() => writeSync(2, workerData.words), 1000);' +
      'setTimeout(() => process.kill(process.pid, "SIGKILL"), workerData.limit)',
    { eval: true, workerData: { words, limit: Number(limit) } }
  ).unref()
  const found = await new AsyncEntry("effect-authn", account, { linux: { store: "secret-service" } }).getPassword()
  process.stdout.write(found ?? "")
} catch {
  process.exitCode = 1
}
`

const limit = 3000

/** The keychain was asked and gave no answer in time. It is not asked again: it may be asking a person for a password. */
export const late: Error = new Error(
  // what the long way says
  "storage by the policy \"keyring\": no place can keep sessions: keyring: the keychain did not answer within 3s; " +
    "unlock it, or see whether it asks for a password"
)

/** The secret of an entry of the keychain; throws where there is none, `late` where it does not answer within three seconds. */
export const read = (account: string): string => {
  const binding = import.meta.resolve("@napi-rs/keyring")
  const words = "authn: waiting for the keychain: it may be asking for a password, or be busy\n"
  // Effect's Clock is not loaded.
  // oxlint-disable-next-line effecttsgo/global-date
  const begun = Date.now()
  const { error, signal, status, stdout } = spawnSync(
    process.execPath,
    ["--input-type=module", "--eval", program, binding, account, words, String(limit), String(begun)],
    {
      encoding: "utf8",
      killSignal: "SIGKILL",
      stdio: ["ignore", "pipe", "inherit"],
      timeout: limit + 2000,
      windowsHide: true
    }
  )
  // It ended itself. Who did not even begin in time is for the long way.
  if (signal === "SIGKILL" && error === undefined) throw late
  if (status !== 0 || stdout === "") throw new Error("the keychain gave nothing")
  return stdout
}
