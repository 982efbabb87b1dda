/**
 * The short way for `authn token`, when the token of a session in a file is fresh: plain, or encrypted with a key that is at hand.
 */
import * as fs from "node:fs"
import * as ReadyKeychain from "./ReadyKeychain.ts"
import * as ReadySession from "./ReadySession.ts"
import * as StatusView from "./StatusView.ts"
import * as TimeSpan from "./TimeSpan.ts"

// What these say can change which token is meant.
const deciding = [
  "AUTHN_TOKEN",
  "AUTHN_DIALECT",
  "AUTHN_ISSUER",
  "AUTHN_CLIENT_ID",
  "AUTHN_RESOURCE",
  "AUTHN_AUDIENCE"
]
const datalayer = ["DATALAYER_API_KEY", "DATALAYER_ACCESS_TOKEN"]

/** What is asked of `authn token`. */
export interface Asked {
  readonly account: string | undefined
  readonly header: boolean
  readonly minTtl: number
}

/** Reads the arguments of `authn token`; `undefined` where they are not simple. */
export const parse = (argv: ReadonlyArray<string>): Asked | undefined => {
  if (argv[0] !== "token") return undefined
  let account: string | undefined
  let header = false
  let minTtl = 0
  const given = new Set<string>()
  for (let at = 1; at < argv.length; at++) {
    const [flag = "", inline] = (argv[at] ?? "").split(/=(.*)/s)
    // One that is given twice is a mistake.
    if (given.has(flag)) return undefined
    given.add(flag)
    if (flag === "--header" && inline === undefined) header = true
    else if (flag === "--account" || flag === "--min-ttl") {
      const value = inline ?? argv[++at] ?? ""
      if (value === "" || value.startsWith("-")) return undefined
      if (flag === "--account") account = value
      else {
        const seconds = TimeSpan.parse(value)
        if (seconds === undefined) return undefined
        minTtl = seconds * 1000
      }
    } else return undefined
  }
  return { account, header, minTtl }
}

/**
 * The text that `authn token` prints, or `undefined` when it takes more than reading files and the keychain to know. It
 * throws where the keychain is late.
 */
export const find = (
  argv: ReadonlyArray<string>,
  environment: ReadySession.Environment,
  platform: string,
  now: number,
  keychain: ReadySession.Keychain = ReadyKeychain.read
): string | undefined => {
  const isSet = (name: string) => ReadySession.isSet(environment, name)
  const asked = parse(argv)
  const data = asked && ReadySession.directory("data", environment, platform)
  if (data === undefined || deciding.some(isSet)) return undefined
  try {
    if (!ReadySession.isOwn(data, "directory")) return undefined
    const name = asked?.account || environment["AUTHN_ACCOUNT"] || ReadySession.current(data)
    const account = ReadySession.account(data, name)
    if (account.dialect === "datalayer" && asked?.account === undefined && datalayer.some(isSet)) return undefined
    const { current, dead, tokens } = ReadySession.session(account, environment, keychain)
    if (dead !== undefined) return undefined
    // Another program may have signed in for another API.
    const api = account.provider?.resource ?? account.provider?.audience
    if (api !== undefined && current.resource !== api) return undefined
    const token = tokens[StatusView.selectionId(current)]
    if (token === undefined) return undefined
    const { accessToken, expiresAt, tokenType } = token
    const until = StatusView.freshUntil(account, token)
    if (until !== undefined && expiresAt !== undefined) {
      // written so that what is no number is not fresh
      if (!(now <= until) || !(expiresAt - now >= (asked?.minTtl ?? 0))) return undefined
    }
    // One that is bound to a key is not handed out.
    if (tokenType.toLowerCase() === "dpop") return undefined
    return asked?.header === true ? `Authorization: ${tokenType} ${accessToken}` : accessToken
  } catch (error) {
    if (error === ReadyKeychain.late) throw error
    return undefined
  }
}

/**
 * Prints the token of a fresh session, and tells whether it could.
 */
export const print = (argv: ReadonlyArray<string>): boolean => {
  let text: string | undefined
  try {
    // Effect's Clock is what this module is there not to load.
    // oxlint-disable-next-line effecttsgo/global-date, effecttsgo/process-env
    text = find(argv, process.env, process.platform, Date.now())
  } catch {
    fs.writeSync(2, `authn: ${ReadyKeychain.late.message}\n`)
    process.exitCode = 1
    return true
  }
  if (text === undefined) return false
  // oxlint-disable-next-line effecttsgo/process-env
  for (const note of ReadySession.notes(process.env)) fs.writeSync(2, `authn: ${note}\n`)
  try {
    fs.writeFileSync(1, `${text}\n`)
  } catch (error) {
    // Who stopped reading has what they wanted.
    const code = error instanceof Error && "code" in error ? error.code : undefined
    if (code === "EPIPE") return true
    // A pipe that is full is for the long way, which can wait.
    if (code === "EAGAIN") return false
    fs.writeSync(2, `authn: the token could not be written to the standard output (${String(code)})\n`)
    process.exitCode = 1
  }
  return true
}
