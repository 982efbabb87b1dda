/**
 * The short way for `authn token`: the session of a file, plain or encrypted with a key of the environment, when its token
 * is fresh. It knows the stored document by its outline only and loads nothing but Node's own modules. Whatever is in any way special is left to the long way,
 * which decides the same (`test/ReadyToken.test.ts` compares them).
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as TimeSpan from "./TimeSpan.ts"

// What these say can change which token is meant.
const special = [
  "AUTHN_TOKEN",
  "AUTHN_DIALECT",
  "AUTHN_ISSUER",
  "AUTHN_CLIENT_ID",
  "AUTHN_RESOURCE",
  "AUTHN_AUDIENCE"
]
const datalayer = ["DATALAYER_API_KEY", "DATALAYER_ACCESS_TOKEN"]

type Environment = { readonly [name: string]: string | undefined }

interface Asked {
  readonly account: string | undefined
  readonly header: boolean
  readonly minTtl: number
}

/**
 * The directory of accounts and sessions, as Effect's `UserDirectories` finds it; `undefined` where that is not simple.
 */
export const dataDirectory = (environment: Environment, platform: string): string | undefined => {
  const xdg = environment["XDG_DATA_HOME"]
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, "effect-authn")
  const home = environment["HOME"]
  if (platform === "win32" || home === undefined || !path.isAbsolute(home)) return undefined
  return platform === "darwin"
    ? path.join(home, "Library", "Application Support", "effect-authn")
    : path.join(home, ".local", "share", "effect-authn")
}

const isSet = (environment: Environment, name: string): boolean => (environment[name] ?? "") !== ""

const parse = (argv: ReadonlyArray<string>): Asked | undefined => {
  if (argv[0] !== "token") return undefined
  let account: string | undefined
  let header = false
  let minTtl = 0
  for (let at = 1; at < argv.length; at++) {
    const [flag, inline] = (argv[at] ?? "").split(/=(.*)/s)
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

// more than a session with hundreds of tokens
const mostBytes = 1024 * 1024

/** Whether something is a file or a directory of this user, no link, and not for others to write. */
const isOwn = (place: string, kind: "file" | "directory"): boolean => {
  const stats = fs.lstatSync(place)
  const user = process.geteuid?.()
  return (user === undefined || (stats.uid === user && (stats.mode & 0o022) === 0)) &&
    (kind === "file" ? stats.isFile() && stats.size <= mostBytes : stats.isDirectory())
}

const read = (file: string): string => {
  if (!isOwn(path.dirname(file), "directory") || !isOwn(file, "file")) throw new Error("that is not simple")
  return fs.readFileSync(file, "utf8")
}

// What `Variable.nameOf` of the library reads under an earlier name, and how it says so.
const renamed = ["AUTHN_KEY", "AUTHN_PASSPHRASE", "AUTHN_STORAGE"]
const notes = (environment: Environment): ReadonlyArray<string> =>
  renamed.filter((name) => !isSet(environment, name) && isSet(environment, `EFFECT_${name}`)).map((name) =>
    `EFFECT_${name} is now ${name}: rename it; the earlier name still works`
  )

/** The text of a document that `EncryptedTokenStorage` sealed with one of the keys in the environment. */
const unsealed = (text: string, environment: Environment): string => {
  const { sealed: { data, key, nonce, of }, version } = JSON.parse(text)
  // Only here, since a plain file needs none of it.
  const { createDecipheriv, createHash } = process.getBuiltinModule("node:crypto")
  const bytes = (environment["AUTHN_KEY"] || environment["EFFECT_AUTHN_KEY"] || "").split(/[\s,]+/).map((word) =>
    Buffer.from(word, "base64")
  ).find((
    bytes
  ) =>
    createHash("sha256").update("effect-authn key name").update(bytes).digest().subarray(0, 16).toString(
      "base64url"
    ) === key
  )
  if (bytes === undefined) throw new Error("that is not simple")
  const sealed = Buffer.from(data, "base64url")
  const opening = createDecipheriv("aes-256-gcm", bytes, Buffer.from(nonce, "base64url"), { authTagLength: 16 })
  opening.setAAD(Buffer.from(JSON.stringify([version, key, of]))).setAuthTag(sealed.subarray(-16))
  return Buffer.concat([opening.update(sealed.subarray(0, -16)), opening.final()]).toString()
}

const members = ["organization", "project", "resource", "scope"]

/**
 * The text that `authn token` prints, or `undefined` when it takes more than reading files to know.
 */
export const find = (
  argv: ReadonlyArray<string>,
  environment: Environment,
  platform: string,
  now: number
): string | undefined => {
  const asked = parse(argv)
  const data = asked && dataDirectory(environment, platform)
  if (data === undefined || special.some((name) => isSet(environment, name))) return undefined
  try {
    if (!isOwn(data, "directory")) return undefined
    const name = asked?.account || environment["AUTHN_ACCOUNT"] ||
      read(path.join(data, "accounts", "current")).trim()
    if (!/^[\w.@+-]+$/.test(name)) return undefined
    const account = JSON.parse(read(path.join(data, "accounts", `${name}.json`)))
    if (account.version !== 1 || typeof account.file !== "string") return undefined
    if (account.place !== "plain-file" && account.place !== "encrypted-file") return undefined
    if (typeof account.window !== "number" || typeof account.shortLivedFraction !== "number") return undefined
    if (
      account.dialect === "datalayer" && asked?.account === undefined &&
      datalayer.some((variable) => isSet(environment, variable))
    ) return undefined
    const text = read(account.file)
    const { session, version } = JSON.parse(account.place === "plain-file" ? text : unsealed(text, environment))
    const { client, issuer } = session.key
    if (version !== 1 || issuer !== account.issuer || client !== account.client || session.key.account !== name) {
      return undefined
    }
    if (session.dead !== undefined) return undefined
    // Another program may have signed in for another API.
    const api = account.provider?.resource ?? account.provider?.audience
    if (api !== undefined && session.current.resource !== api) return undefined
    const id = members.flatMap((member) =>
      session.current[member] === undefined ? [] : [`${member}=${encodeURIComponent(session.current[member])}`]
    ).join("&")
    const { accessToken, expiresAt, issuedAt, tokenType } = session.tokens[id]
    if (expiresAt !== undefined) {
      const life = expiresAt - issuedAt
      const window = account.window <= life / 2 ? account.window : Math.max(0, life) * account.shortLivedFraction
      // written so that what is no number is not fresh
      if (!(now <= expiresAt - window) || !(expiresAt - now >= (asked?.minTtl ?? 0))) return undefined
    }
    if (typeof accessToken !== "string" || accessToken === "" || typeof tokenType !== "string") return undefined
    // One that is bound to a key is not handed out.
    if (tokenType.toLowerCase() === "dpop") return undefined
    return asked?.header === true ? `Authorization: ${tokenType} ${accessToken}` : accessToken
  } catch {
    return undefined
  }
}

/**
 * Prints the token of a fresh session, and tells whether it could.
 */
export const print = (argv: ReadonlyArray<string>): boolean => {
  // Effect's Clock is what this module is there not to load.
  // oxlint-disable-next-line effecttsgo/global-date, effecttsgo/process-env
  const text = find(argv, process.env, process.platform, Date.now())
  if (text === undefined) return false
  // oxlint-disable-next-line effecttsgo/process-env
  for (const note of notes(process.env)) fs.writeSync(2, `authn: ${note}\n`)
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
