import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { setTimeout } from "node:timers/promises"
import { promisify } from "node:util"

const run = promisify(ChildProcess.execFile)
const secrets = "org.freedesktop.secrets"
const login = "/org/freedesktop/secrets/collection/login"

const daemonOf = { bus: "dbus-daemon", keyring: "gnome-keyring-daemon" }
// kills what it starts when the one who started it dies, in whatever way
const mortal = ["setpriv", "--pdeathsig", "SIGKILL"] as const

const has = (command: string) => ChildProcess.spawnSync(command, ["--version"]).status === 0

/** Whether a real Secret Service can be started here. Where it cannot, that is said loudly, and in CI it is an error. */
export const isThere = process.platform === "linux" && has(daemonOf.bus) && has(daemonOf.keyring)

if (!isThere) {
  const lack = "LEFT OUT: the tests against a real keychain; they need Linux with gnome-keyring and dbus-daemon " +
    "(node scripts/services.mjs installs them)"
  if (process.env["CI"]) throw new Error(lack)
  console.error(`\n${"!".repeat(100)}\n${lack}\n${"!".repeat(100)}\n`)
}

const end = async (child: ChildProcess.ChildProcess) => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once("exit", resolve))
  child.kill("SIGKILL")
  await gone
}

export interface SecretService {
  readonly address: string
  readonly busPid: number
  readonly daemonPid: number
  /** Locks the collection; without a display, nobody can unlock it. */
  readonly lock: () => Promise<void>
  /** The labels of all entries, as the keychain's own window shows them. */
  readonly labels: () => Promise<ReadonlyArray<string>>
  readonly stop: () => Promise<void>
}

/** A session bus of its own with an unlocked gnome-keyring on it. It dies with this process, however that one ends. */
export const startSecretService = async (): Promise<SecretService> => {
  const home = Fs.mkdtempSync(Path.join(Os.tmpdir(), "keyring-"))
  const directory = (name: string) => {
    Fs.mkdirSync(Path.join(home, name), { mode: 0o700 })
    return Path.join(home, name)
  }
  const runtime = directory("run")
  // no display, where a locked keyring would wait for a person, and no keyring of the user's
  const env: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    LANG: "C.UTF-8",
    HOME: home,
    XDG_RUNTIME_DIR: runtime,
    XDG_DATA_HOME: directory("data"),
    XDG_CACHE_HOME: directory("cache"),
    XDG_CONFIG_HOME: directory("config")
  }
  const children: Array<ChildProcess.ChildProcess> = []
  const stop = async () => {
    for (const child of children.toReversed()) await end(child)
    Fs.rmSync(home, { recursive: true, force: true })
  }
  try {
    const bus = ChildProcess.spawn(mortal[0], [
      ...mortal.slice(1),
      daemonOf.bus,
      "--session",
      "--nofork",
      "--nopidfile",
      "--print-address=1",
      `--address=unix:path=${Path.join(runtime, "bus")}`
    ], { env, stdio: ["ignore", "pipe", "ignore"] })
    children.push(bus)
    const address = await new Promise<string>((resolve, reject) => {
      bus.once("error", reject)
      bus.once("exit", (code) => reject(new Error(`dbus-daemon exited with ${code}`)))
      bus.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()))
    })
    const busEnv = { ...env, DBUS_SESSION_BUS_ADDRESS: address }
    const daemon = ChildProcess.spawn(daemonOf.keyring, ["--foreground", "--unlock", "--components=secrets"], {
      env: busEnv,
      stdio: ["pipe", "ignore", "ignore"]
    })
    children.push(daemon)
    const failed = new Promise<never>((_, reject) => {
      daemon.once("error", reject)
      daemon.once("exit", (code) => reject(new Error(`gnome-keyring-daemon exited with ${code}`)))
    })
    failed.catch(() => {})
    daemon.stdin.on("error", () => {})
    // no newline: it would be part of the password
    daemon.stdin.end("test-only")
    const call = async (dest: string, path: string, method: string, ...args: ReadonlyArray<string>) => {
      const fixed = [`--bus=${address}`, "--print-reply", "--reply-timeout=2000", `--dest=${dest}`, path, method]
      return (await run("dbus-send", [...fixed, ...args], { env: busEnv })).stdout
    }
    const property = (path: string, owner: string, name: string) =>
      call(secrets, path, "org.freedesktop.DBus.Properties.Get", `string:${owner}`, `string:${name}`)
    const service = (method: string, arg: string) =>
      call(secrets, "/org/freedesktop/secrets", `org.freedesktop.Secret.Service.${method}`, arg)
    // first the bus is asked: a call to the service would activate a second, locked daemon
    const ready = async () =>
      (await call("org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", `string:${secrets}`)).includes(
        "true"
      ) && (await service("ReadAlias", "string:default")).includes("/collection/")
    for (let tries = 0; !(await Promise.race([ready(), failed])); tries += 1) {
      if (tries > 300) throw new Error("gnome-keyring-daemon did not come up")
      await setTimeout(20)
    }
    return {
      address,
      busPid: bus.pid ?? 0,
      daemonPid: daemon.pid ?? 0,
      lock: async () => void (await service("Lock", `array:objpath:${login}`)),
      labels: async () => {
        const items = await property(login, "org.freedesktop.Secret.Collection", "Items")
        const paths = Array.from(items.matchAll(/object path "([^"]+)"/g), ([, path]) => path!)
        const found = paths.map(async (path) => {
          // another test may have taken it away meanwhile
          const label = await property(path, "org.freedesktop.Secret.Item", "Label").catch(() => "")
          return /string "(.*)"/.exec(label)?.[1] ?? ""
        })
        return Promise.all(found)
      },
      stop
    }
  } catch (error) {
    await stop()
    throw error
  }
}
