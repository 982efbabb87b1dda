/**
 * What V8 compiled of the command, kept between its runs in the user's cache directory.
 */
import * as fs from "node:fs"
import * as module from "node:module"
import * as path from "node:path"
import { getuid } from "node:process"

type Environment = { readonly [name: string]: string | undefined }

/**
 * The directory of the cache; `undefined` where the user has none.
 */
export const directory = (environment: Environment, platform: string): string | undefined => {
  const xdg = environment["XDG_CACHE_HOME"]
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, "effect-authn")
  const home = environment["HOME"]
  if (platform === "win32") {
    const local = environment["LOCALAPPDATA"]
    return local === undefined || !path.isAbsolute(local) ? undefined : path.join(local, "effect-authn", "cache")
  }
  if (home === undefined || !path.isAbsolute(home)) return undefined
  return platform === "darwin"
    ? path.join(home, "Library", "Caches", "effect-authn")
    : path.join(home, ".cache", "effect-authn")
}

/** Code that another could have put there must not run here. */
const isOurs = (directory: string): boolean => {
  const found = fs.lstatSync(directory)
  return found.isDirectory() && (getuid === undefined || (found.uid === getuid() && (found.mode & 0o022) === 0))
}

/** Each directory once: Node's own way tries for ever where a system lets nothing be made, as below `/proc`. */
const make = (directory: string): void => {
  if (fs.existsSync(directory)) return
  make(path.dirname(directory))
  fs.mkdirSync(directory, { mode: 0o700 })
}

/**
 * Uses the cache, where there is a place for it that nobody else can write. Without one the command only starts slower.
 */
export const enable = (environment: Environment, platform: string): void => {
  const place = directory(environment, platform)
  if (place === undefined) return
  try {
    make(place)
    // Other runtimes have no such cache.
    if (isOurs(place)) module.enableCompileCache?.(place)
  } catch {
    // A disk that is full or read-only.
  }
}
