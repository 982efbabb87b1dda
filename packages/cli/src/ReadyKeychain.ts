/**
 * The short way to the key of sessions whose place is the keychain: what `KeychainKeySource` of the library reads, by the
 * same binding, in a process of its own that can be killed.
 */
import { spawnSync } from "node:child_process"

// Said by the process that waits, since this one is blocked meanwhile. The words are those of the long way.
const program = `
const [, binding, account, words] = process.argv
const telling = setTimeout(() => process.stderr.write(words), 1000)
try {
  const { AsyncEntry } = await import(binding)
  const found = await new AsyncEntry("effect-authn", account, { linux: { store: "secret-service" } }).getPassword()
  process.stdout.write(found ?? "")
} catch {
  process.exitCode = 1
}
clearTimeout(telling)
`

/** The secret of an entry of the keychain; throws where there is none to be had within three seconds. */
export const read = (account: string): string => {
  const binding = import.meta.resolve("@napi-rs/keyring")
  const words = "authn: waiting for the keychain: it may be asking for a password, or be busy\n"
  const { status, stdout } = spawnSync(
    process.execPath,
    ["--input-type=module", "--eval", program, binding, account, words],
    { encoding: "utf8", killSignal: "SIGKILL", stdio: ["ignore", "pipe", "inherit"], timeout: 3000, windowsHide: true }
  )
  if (status !== 0 || stdout === "") throw new Error("the keychain gave nothing")
  return stdout
}
