/**
 * The short way for `authn status`, when all sessions lie in files.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { isName } from "./AccountName.ts"
import * as ReadySession from "./ReadySession.ts"
import * as StatusView from "./StatusView.ts"
import * as Text from "./Text.ts"

// What these say changes nothing here, or is asked for where it does.
const known = new Set(["AUTHN_KEY", "AUTHN_ACCOUNT"])

/** Something that is not there. */
const isGone = (file: string): boolean => fs.lstatSync(file, { throwIfNoEntry: false }) === undefined

/**
 * What `authn status` tells of all accounts, or `undefined` when it takes more than reading files to know.
 */
export const find = (
  environment: ReadySession.Environment,
  platform: string,
  now: number
): ReadonlyArray<StatusView.View> | undefined => {
  const names = Object.keys(environment).filter((name) => ReadySession.isSet(environment, name))
  if (names.some((name) => /^(EFFECT_)?AUTHN_|^DATALAYER_/.test(name) && !known.has(name))) return undefined
  const data = ReadySession.directory("data", environment, platform)
  const config = ReadySession.directory("config", environment, platform)
  if (data === undefined || config === undefined) return undefined
  try {
    const accounts = path.join(data, "accounts")
    if (!isGone(path.join(config, "config.toml"))) return undefined
    if (![data, accounts].every((place) => ReadySession.isOwn(place, "directory"))) return undefined
    if (!isName(environment["AUTHN_ACCOUNT"] || "default")) return undefined
    const current = isGone(path.join(accounts, "current")) ? "default" : ReadySession.current(data)
    const found = fs.readdirSync(accounts).filter((file) => file.endsWith(".json")).sort()
    return found.length === 0 ? undefined : found.map((file) => {
      const account = ReadySession.account(data, file.slice(0, -".json".length))
      if (account.place !== "plain-file" && account.place !== "encrypted-file") return ReadySession.special()
      const directory = path.dirname(account.file)
      return StatusView.make(account, ReadySession.session(account, environment, ReadySession.special), {
        isCurrent: account.name === current,
        now,
        storage: `files in ${directory}${account.place === "plain-file" ? "" : `, encrypted with a key from AUTHN_KEY`}`
      })
    })
  } catch {
    return undefined
  }
}

/**
 * The text that `authn status` prints, if that is simple to tell.
 */
export const text = (
  argv: ReadonlyArray<string>,
  environment: ReadySession.Environment,
  platform: string,
  now: number,
  terminal: { readonly width: number; readonly isPainted: boolean }
): string | undefined => {
  const [command, flag, ...more] = argv
  const home = environment["HOME"]
  if (command !== "status" || (flag !== undefined && flag !== "--json") || more.length > 0) return undefined
  const found = home === undefined ? undefined : find(environment, platform, now)
  if (home === undefined || found === undefined) return undefined
  if (flag !== undefined) return Text.json(StatusView.toJson(found, undefined))
  return Text.lines(StatusView.toLines(found, {
    now,
    paint: Text.paint(terminal.isPainted),
    short: (text) => Text.short(text, home),
    variable: undefined,
    width: terminal.width
  }))
}
