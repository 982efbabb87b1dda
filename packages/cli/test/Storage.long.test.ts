import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { isThere, startSecretService } from "../../storage/keyring/test/secretService.ts"
import {
  atTerminal,
  data,
  fileOf,
  type Home,
  installedMain,
  login,
  password,
  type ProcessOptions,
  simulated
} from "./authn.ts"

const auto = { AUTHN_STORAGE: undefined }
const isJwt = /^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/

/** The same home, with other variables. */
const having = (home: Home, env: { readonly [name: string]: string | undefined }): Home => ({
  ...home,
  run: (args, options) => home.spawn(args, { ...options, env: { ...env, ...options?.env } })
})

/** The same home with a bundle beside which the keychain's package can be found. */
const installed = (home: Home): Home => {
  const main = installedMain(home)
  return { ...home, spawn: (args, options) => home.spawn(args, { ...options, main }) }
}

/** Everything that lies in a home's data directory, as one text. */
const everything = (home: Home) => {
  if (!fs.existsSync(data(home))) return ""
  return fs.readdirSync(data(home), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name), "latin1")).join("\n")
}

const place = (home: Home, account = "default") =>
  JSON.parse(fs.readFileSync(data(home, `accounts/${account}.json`), "utf8")).place

describe("places for the session", () => {
  it.live("auto stores nothing in plain text, and says why nothing else is to be had", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const without = yield* login(having(home, auto), simulator.issuer, "datalayer")
        assert.strictEqual(without.code, 1)
        for (const word of ["@napi-rs/keyring is not installed", "AUTHN_KEY", "--storage plain-file"]) {
          assert.include(without.stderr, word)
        }
        const there = having(installed(home), auto)
        const noBus = yield* login(there, simulator.issuer, "datalayer")
        assert.strictEqual(noBus.code, 1)
        assert.include(noBus.stderr, "no keychain is running in this session")
        assert.strictEqual(everything(home), "")
        assert.isEmpty(yield* simulator.ledger, "no password was sent for a session that has no place")
      })))

  it.live("AUTHN_KEY and a passphrase encrypt it, and without them it is not handed out", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const ways = [
          ["key", { ...auto, AUTHN_KEY: Buffer.alloc(32, 7).toString("base64") }, []],
          ["phrase", { ...auto, AUTHN_PASSPHRASE: "a passphrase that is long" }, ["--storage", "encrypted-file"]]
        ] as const
        for (const [name, env, flags] of ways) {
          const there = having(home, { ...env, AUTHN_ACCOUNT: name })
          const signedIn = yield* login(there, simulator.issuer, "datalayer", flags)
          assert.strictEqual(signedIn.code, 0, signedIn.stderr)
          assert.strictEqual(place(home, name), "encrypted-file")
          const token = (yield* there.run(["token"])).stdout
          assert.match(token, isJwt)
          assert.notInclude(everything(home), token.slice(0, -1))
          assert.notInclude(everything(home), "accessToken")
          const locked = yield* home.run(["token", "--account", name])
          assert.deepStrictEqual([locked.code, locked.stdout], [1, ""], locked.stderr)
          assert.include(locked.stderr, "AUTHN_KEY")
        }
      })))

  it.live("one SQLite file, encrypted, and shared by processes", () =>
    simulated({ rotation: "strict", tokenLifetime: "4 seconds" }, (simulator, home) =>
      Effect.gen(function*() {
        const bare = yield* login(having(home, auto), simulator.issuer, "genomcore", ["--storage", "sqlite"])
        assert.strictEqual(bare.code, 1)
        assert.match(bare.stderr, /sqlite: there is no key/)
        assert.isEmpty(yield* simulator.ledger)

        const env = { ...auto, AUTHN_KEY: Buffer.alloc(32, 7).toString("base64") }
        const there = having(home, env)
        const signedIn = yield* login(there, simulator.issuer, "genomcore", ["--storage", "sqlite"])
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.strictEqual(place(home), "sqlite")
        yield* Effect.sleep("4 seconds")
        const tokens = yield* Effect.forEach(
          Array.from({ length: 6 }),
          () => home.spawn(["token"], { env, atOnce: true }),
          { concurrency: "unbounded" }
        )
        for (const { code, stderr, stdout } of tokens) {
          assert.strictEqual(code, 0, stderr)
          assert.match(stdout, isJwt)
          assert.notInclude(everything(home), stdout.trim())
        }
        const ledger = yield* simulator.ledger
        assert.isBelow(ledger.filter(({ route }) => route === "refresh").length, tokens.length)
        assert.isFalse(ledger.some(({ note }) => note === "reuse"))
        assert.notInclude(everything(home), "accessToken")

        const status = yield* there.run(["status"])
        assert.strictEqual(status.code, 0, status.stderr)
        const doctor = yield* there.run(["doctor", "--json"])
        assert.match(doctor.stdout, /storage: sqlite/)
        const out = yield* there.run(["accounts", "remove", "default"])
        assert.strictEqual(out.code, 0, out.stderr)
        assert.notInclude(everything(home), "sealed")
      })))

  it.live("the question at the terminal: yes is a plain file, no is nothing at all", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada"]
        const no = yield* atTerminal(home, args, [["plain file that only you can read\\?", "n"]], { env: auto })
        assert.strictEqual(no.code, 1, no.shown)
        assert.include(no.shown, "--storage plain-file")
        assert.notInclude(no.shown, "Password of")
        assert.strictEqual(everything(home), "")

        const yes = yield* atTerminal(home, args, [
          ["plain file that only you can read\\?", "y"],
          ["Password of ada", `${password}\r`]
        ], { env: auto })
        assert.strictEqual(yes.code, 0, yes.shown)
        assert.strictEqual(place(home), "plain-file")
        assert.match((yield* home.run(["token"], { env: auto })).stdout, isJwt)
      })))

  it.live("memory and --no-store leave no session behind", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const tried = yield* login(home, simulator.issuer, "datalayer", ["--no-store"])
        assert.strictEqual(tried.code, 0, tried.stderr)
        assert.include(tried.stderr, "Nothing was stored.")
        assert.strictEqual(everything(home), "")
        assert.strictEqual((yield* home.run(["token"])).code, 3)

        const kept = yield* login(home, simulator.issuer, "datalayer", ["--storage", "memory"])
        assert.strictEqual(kept.code, 0, kept.stderr)
        assert.notInclude(everything(home), "eyJ")
        assert.strictEqual((yield* home.run(["token"])).code, 3)
      })))

  it.live.runIf(isThere)(
    "the keychain has the key, and no file has a token",
    () =>
      simulated({ rotation: "strict" }, (simulator, home) =>
        Effect.gen(function*() {
          const service = yield* Effect.acquireRelease(
            Effect.promise(startSecretService),
            ({ stop }) => Effect.promise(stop)
          )
          const there = having(installed(home), { ...auto, DBUS_SESSION_BUS_ADDRESS: service.address })
          const signedIn = yield* login(there, simulator.issuer, "genomcore")
          assert.strictEqual(signedIn.code, 0, signedIn.stderr)
          assert.strictEqual(place(home), "keyring")
          assert.isTrue((yield* Effect.promise(service.labels)).some((label) => label.includes("effect-authn")))
          const first = (yield* there.run(["token"])).stdout
          assert.match(first, isJwt)
          assert.strictEqual((yield* there.run(["refresh"])).code, 0)
          const second = (yield* there.run(["token"])).stdout
          assert.match(second, isJwt)
          assert.notStrictEqual(second, first)
          for (const token of [first, second]) assert.notInclude(everything(home), token.trim())

          // a token that lies ready takes no more than the key: the rest of the command is not even there
          const commands = path.join(home.directory, "installed/commands.cjs")
          fs.renameSync(commands, `${commands}.away`)
          const short = yield* there.run(["token"])
          assert.deepStrictEqual([short.code, short.stdout, short.stderr], [0, second, ""])
          fs.renameSync(`${commands}.away`, commands)

          // a machine that is so busy that the helper takes seconds to start
          const wait =
            "if (process.execArgv.includes('--eval')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3500)"
          const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(wait)}` }
          const slow = yield* there.run(["token"], { env })
          assert.deepStrictEqual([slow.code, slow.stdout], [0, second], slow.stderr)
          assert.match(
            slow.stderr,
            /authn: waiting for the keychain's helper process to start: this machine may be busy/
          )

          yield* Effect.promise(service.lock)
          const locked = yield* there.run(["token"])
          assert.deepStrictEqual([locked.code, locked.stdout], [1, ""], locked.stderr)
          assert.match(locked.stderr, /keychain/)
        }))
  )

  it.live.runIf(isThere)(
    "the short way to the keychain says nothing that the long way does not, and leaves no process behind",
    () =>
      simulated({}, (simulator, home) =>
        Effect.gen(function*() {
          const service = yield* Effect.acquireRelease(
            Effect.promise(startSecretService),
            ({ stop }) => Effect.promise(stop)
          )
          const bus = { DBUS_SESSION_BUS_ADDRESS: service.address }
          const ready = installed(home)
          const there = having(ready, { ...auto, ...bus })
          assert.strictEqual((yield* login(there, simulator.issuer, "datalayer")).code, 0)
          const entry = `sessions in ${data(home, "keychain")}`
          const script = `
            import { AsyncEntry } from "@napi-rs/keyring"
            const entry = new AsyncEntry("effect-authn", process.argv[1], { linux: { store: "secret-service" } })
            if (process.argv[2] === undefined) console.log(await entry.getPassword())
            else await entry.setPassword(process.argv[2])`
          const keychain = (...args: ReadonlyArray<string>) =>
            execFileSync(process.execPath, ["--input-type=module", "--eval", script, entry, ...args], {
              cwd: path.join(home.directory, "installed"),
              env: { ...home.env, ...bus },
              encoding: "utf8"
            }).trim()
          const key = keychain()
          const [other, short] = [Buffer.alloc(32, 1).toString("base64"), Buffer.alloc(16, 1).toString("base64")]
          const { token } = JSON.parse((yield* there.run(["token", "--json"])).stdout)
          for (
            const [text, isFound] of [
              [key, true],
              [`${other}\n${key}`, true],
              [` ${key}, `, true],
              ["garbage", false],
              [`${key}\ngarbage`, false],
              [`${short}\n${key}`, false],
              [`${key}!!`, false],
              [other, false],
              ["x".repeat(100_000), false]
            ] as const
          ) {
            keychain(text)
            const [fast, long] = yield* Effect.all([there.run(["token"]), there.run(["token", "--json"])], {
              concurrency: 2
            })
            assert.strictEqual(fast.stdout, isFound ? `${token}\n` : "", text.slice(0, 100))
            assert.deepStrictEqual([fast.code, fast.stderr], [long.code, long.stderr], text.slice(0, 100))
            assert.notInclude(fast.stderr, key)
          }
          keychain(key)

          // The file of which an account of an earlier version tells is not where the session lies.
          const account = data(home, "accounts/default.json")
          const text = fs.readFileSync(account, "utf8")
          const file = fileOf(there)
          const copy = path.join(path.dirname(file), `old-${path.basename(file)}`)
          fs.copyFileSync(file, copy)
          fs.writeFileSync(account, JSON.stringify({ ...JSON.parse(text), file: copy }))
          assert.strictEqual((yield* there.run(["refresh"])).code, 0)
          const renewed = JSON.parse((yield* there.run(["token", "--json"])).stdout).token
          assert.notStrictEqual(renewed, token)
          assert.strictEqual((yield* there.run(["token"])).stdout, `${renewed}\n`)
          fs.writeFileSync(account, text)

          // A keychain that never answers: who ends the command meanwhile leaves nothing behind.
          let connections = 0
          const asked = () => connections
          const silent = net.createServer(() => connections++)
          const socket = path.join(home.directory, "silent")
          yield* Effect.promise(() => new Promise<void>((resolve) => silent.listen(socket, resolve)))
          const hanging = (signal?: ProcessOptions["signal"]) =>
            ready.spawn(["token"], {
              atOnce: true,
              env: { ...auto, DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` },
              ...(signal && { signal })
            })
          const begin = Date.now()
          const waited = yield* hanging()
          assert.strictEqual(asked(), 1)
          assert.deepStrictEqual([waited.code, waited.stdout], [1, ""], waited.stderr)
          assert.match(waited.stderr, /^authn: waiting for the keychain/)
          assert.isBelow(Date.now() - begin, 15_000)
          // It may be asking a person for a password, who is asked once.
          const silence = { ...auto, DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` }
          for (const args of [["token", "--json"], ["status"], ["explain"], ["doctor"]]) {
            const before = asked()
            const { stderr, stdout } = yield* ready.spawn(args, { atOnce: true, env: silence })
            assert.strictEqual(asked() - before, 1, args.join(" "))
            // A machine that is busy is told of beside it.
            if (args[0] === "token") assert.include(stderr, waited.stderr)
            else assert.include(stdout, "the keychain did not answer")
          }
          const running = (text: string) =>
            fs.readdirSync("/proc").filter((pid) => {
              const file = `/proc/${pid}/cmdline`
              return /^\d+$/.test(pid) && fs.existsSync(file) && fs.readFileSync(file, "utf8").includes(text)
            })
          const when = new Promise<void>((resolve) => {
            const timer = setInterval(() => {
              if (running(entry).length === 0) return
              clearInterval(timer)
              resolve()
            }, 50)
          })
          yield* hanging({ name: "SIGKILL", when })
          yield* Effect.sleep("4 seconds")
          const left = running(home.directory)
          silent.close()
          assert.isEmpty(left)
        }))
  )
})
