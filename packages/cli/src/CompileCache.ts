/**
 * What V8 compiled of the command, kept between its runs in the user's cache directory. Node's own compile cache is made
 * before a file runs, so that it has no function that V8 compiles when it is called first, which are nearly all.
 */
import { createHash, hash } from "node:crypto"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as path from "node:path"
import { getuid } from "node:process"
import { Script } from "node:vm"
import * as ReadyToken from "./ReadyToken.ts"

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

/** The directory, as long as nobody else can write there. */
const made = (environment: Environment, platform: string): string | undefined => {
  // Their engines are others.
  if ("bun" in process.versions || "deno" in process.versions) return undefined
  const place = directory(environment, platform)
  if (place === undefined) return undefined
  try {
    make(place)
    return isOurs(place) ? place : undefined
  } catch {
    // A disk that is full or read-only.
    return undefined
  }
}

/** V8 runs whatever it is given, also of another source and half written. */
const digest = (source: Uint8Array, compiled: Uint8Array): Buffer =>
  createHash("sha256").update(source).update(compiled).digest()

const digestBytes = 32

const read = (place: string, source: Uint8Array): Buffer | undefined => {
  try {
    const kept = fs.readFileSync(place)
    const compiled = kept.subarray(digestBytes)
    return digest(source, compiled).equals(kept.subarray(0, digestBytes)) ? compiled : undefined
  } catch {
    return undefined
  }
}

const write = (place: string, source: Uint8Array, compiled: Uint8Array): void => {
  const temporary = `${place}.${process.pid}`
  try {
    fs.writeFileSync(temporary, digest(source, compiled), { flag: "wx", mode: 0o600 })
    fs.appendFileSync(temporary, compiled)
    fs.renameSync(temporary, place)
  } catch {
    fs.rmSync(temporary, { force: true })
  }
}

/**
 * Loads a CommonJS file in ASCII as `require` does. The first run of each command that succeeds keeps the functions that it
 * used, for the next one; so does the first that fails, for all that have nothing else. Without a place for them a command
 * only starts slower.
 */
export const load = (
  file: string,
  argv: ReadonlyArray<string>,
  environment: Environment,
  platform: string
): unknown => {
  const require = createRequire(file)
  const directory = made(environment, platform)
  if (directory === undefined) return require(file)
  const placeOf = (run: string) => {
    const id = JSON.stringify([run, file, process.version, process.arch, process.execArgv, environment["NODE_OPTIONS"]])
    return path.join(directory, hash("sha256", id).slice(0, 32))
  }
  // `authn token` by itself is here where no token lies ready.
  const own = placeOf(ReadyToken.parse(argv) === undefined ? `authn ${argv[0]}` : "renewal")
  const failed = placeOf("failure")
  const source = fs.readFileSync(file)
  const ownCompiled = read(own, source)
  const compiled = ownCompiled ?? read(failed, source)
  const script = new Script(
    `(function (exports, require, module, __filename, __dirname) {${source.toString("latin1")}\n})`,
    { filename: file, ...(compiled === undefined ? {} : { cachedData: compiled }) }
  )
  const module = { exports: {} }
  script.runInThisContext()(module.exports, require, module, file, path.dirname(file))
  const isTaken = compiled !== undefined && script.cachedDataRejected !== true
  if (!isTaken || ownCompiled === undefined) {
    process.on("exit", (code) => {
      if (code === 0) write(own, source, script.createCachedData())
      else if (!isTaken) write(failed, source, script.createCachedData())
    })
  }
  return module.exports
}
