/**
 * The short way to the sessions that lie in files, plain or encrypted with a key of the environment or the keychain. It
 * knows the stored document by its outline only, and loads nothing but Node's own modules. Whatever is in any way special
 * it throws: that is for the long way, which decides the same (`test/ReadyToken.test.ts` and `test/ReadyStatus.test.ts`
 * compare them).
 */
import * as Crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Account } from "./Account.ts"
import { isName } from "./AccountName.ts"
import type * as StatusView from "./StatusView.ts"

/** The variables of the process. */
export type Environment = { readonly [name: string]: string | undefined }

/** Leaves it to the long way. */
export const special = (): never => {
  throw new Error("that is not simple")
}

const xdgVariables = { config: "XDG_CONFIG_HOME", data: "XDG_DATA_HOME" } as const

/**
 * The directory of the settings, or of accounts and sessions, as Effect's `UserDirectories` finds it; `undefined` where
 * that is not simple.
 */
export const directory = (
  kind: "config" | "data",
  environment: Environment,
  platform: string
): string | undefined => {
  const xdg = environment[xdgVariables[kind]]
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, "effect-authn")
  const home = environment["HOME"]
  if (platform === "win32" || home === undefined || !path.isAbsolute(home)) return undefined
  return platform === "darwin"
    ? path.join(home, "Library", "Application Support", "effect-authn")
    : path.join(home, ...(kind === "data" ? [".local", "share"] : [".config"]), "effect-authn")
}

/** Whether a variable says something. */
export const isSet = (environment: Environment, name: string): boolean => (environment[name] ?? "") !== ""

// more than a session with hundreds of tokens
const mostBytes = 1024 * 1024

/** Whether something is a file or a directory of this user, no link, and not for others to write. */
export const isOwn = (place: string, kind: "file" | "directory"): boolean => {
  const stats = fs.lstatSync(place)
  const user = process.geteuid?.()
  return (user === undefined || (stats.uid === user && (stats.mode & 0o022) === 0)) &&
    (kind === "file" ? stats.isFile() && stats.size <= mostBytes : stats.isDirectory())
}

/** The text of a file of this user's own. */
export const read = (file: string): string => {
  if (!isOwn(path.dirname(file), "directory") || !isOwn(file, "file")) special()
  return fs.readFileSync(file, "utf8")
}

// What `Variable.nameOf` of the library reads under an earlier name, and how it says so.
const renamed = ["AUTHN_KEY", "AUTHN_PASSPHRASE", "AUTHN_STORAGE"]
/** What is said of those. */
export const notes = (environment: Environment): ReadonlyArray<string> =>
  renamed.filter((name) => !isSet(environment, name) && isSet(environment, `EFFECT_${name}`)).map((name) =>
    `EFFECT_${name} is now ${name}: rename it; the earlier name still works`
  )

/** The text of a document that `EncryptedTokenStorage` sealed with one of these keys. */
const unsealed = (text: string, keys: () => string): string => {
  const { sealed: { data, key, nonce, of }, version } = JSON.parse(text)
  const words = keys().split(/[\s,]+/).filter((word) => word !== "")
  // Among keys, what is none is a mistake that the long way names: 32 bytes in Base64, of either alphabet.
  if (!words.every((word) => /^[\w+/-]{43}=?$/.test(word))) return special()
  const bytes = words.map((word) => Buffer.from(word, "base64")).find((bytes) =>
    Crypto.createHash("sha256").update("effect-authn key name").update(bytes).digest().subarray(0, 16).toString(
      "base64url"
    ) === key
  )
  if (bytes === undefined) return special()
  const sealed = Buffer.from(data, "base64url")
  const opening = Crypto.createDecipheriv("aes-256-gcm", bytes, Buffer.from(nonce, "base64url"), { authTagLength: 16 })
  opening.setAAD(Buffer.from(JSON.stringify([version, key, of]))).setAuthTag(sealed.subarray(-16))
  return Buffer.concat([opening.update(sealed.subarray(0, -16)), opening.final()]).toString()
}

const isInstant = (at: unknown): boolean => Number.isInteger(at) && Math.abs(Number(at)) <= 8.64e15

/** The account that is meant by who names none; it may not be there. */
export const current = (data: string): string => {
  const name = read(path.join(data, "accounts", "current")).trim()
  return isName(name) ? name : special()
}

/** The directories of the places. */
const directories = { "plain-file": "sessions", "encrypted-file": "encrypted", "keyring": "keychain" } as const

const word = (text: string): string => text.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 40)

/** The file of a session, as `FileTokenStorage.fileOf` names it. */
const fileOf = (
  data: string,
  { client, issuer, name, place }: Pick<Account, "client" | "issuer" | "name" | "place">
) => {
  if (place !== "plain-file" && place !== "encrypted-file" && place !== "keyring") return special()
  const hash = Crypto.createHash("sha256").update(JSON.stringify([issuer, client, name])).digest("hex").slice(0, 16)
  return path.join(data, directories[place], `${word(URL.parse(issuer)?.host || "session")}-${word(name)}-${hash}.json`)
}

/** An account whose session lies in a file, and that file. */
export const account = (data: string, name: string): Account & { readonly file: string } => {
  if (!isName(name)) return special()
  const account = JSON.parse(read(path.join(data, "accounts", `${name}.json`)))
  const { client, dialect, issuer, place, scopes, shortLivedFraction, version, window } = account
  const isSimple = version === 1 && account.name === name && ["datalayer", "genomcore", "oidc"].includes(dialect) &&
    [client, issuer].every((text) => typeof text === "string" && text !== "") &&
    (scopes === undefined || (Array.isArray(scopes) && scopes.every((scope) => typeof scope === "string"))) &&
    typeof window === "number" && typeof shortLivedFraction === "number"
  return isSimple ? { ...account, file: fileOf(data, { client, issuer, name, place }) } : special()
}

const optional = (holds: (value: unknown) => boolean) => (value: unknown): boolean =>
  value === undefined || holds(value)
const isText = (value: unknown): boolean => typeof value === "string" && value !== ""

const grants = new Set(["RefreshToken", "ExchangeAccessToken", "Reissue", "None"])

/** Reads an entry of the keychain, or throws. */
export type Keychain = (account: string) => string

/** The session of an account. */
export const session = (
  { client, file, issuer, name, place }: Account & { readonly file: string },
  environment: Environment,
  keychain: Keychain
): StatusView.Stored => {
  const text = read(file)
  const keys = () =>
    place === "keyring"
      ? keychain(`sessions in ${path.dirname(file)}`)
      : environment["AUTHN_KEY"] || environment["EFFECT_AUTHN_KEY"] || ""
  const { session, version } = JSON.parse(place === "plain-file" ? text : unsealed(text, keys))
  const { current, dead, durable, generation, grant, key, strategy, tokens, user } = session
  const isSimple = version === 1 && key.issuer === issuer && key.client === client && key.account === name &&
    Number.isSafeInteger(generation) && generation >= 0 && typeof durable === "boolean" && isText(strategy) &&
    grants.has(grant._tag) && optional(isText)(grant.source) &&
    (dead === undefined || typeof dead.cause === "string") &&
    Object.values(current).every(optional(isText)) &&
    (user === undefined || (isText(user.id) && [user.handle, user.email, user.displayName].every(optional(isText)))) &&
    Object.values<StatusView.Stored["tokens"][string]>(tokens).every(
      ({ accessToken, expiresAt, issuedAt, scope, tokenType }) =>
        /^[\x21-\x7e]+$/.test(accessToken) && isText(tokenType) && isInstant(issuedAt) &&
        optional(isInstant)(expiresAt) &&
        optional((scope) => typeof scope === "string")(scope)
    )
  return isSimple ? session : special()
}
