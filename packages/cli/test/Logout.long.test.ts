import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { atTerminal, data, type Home, home, login, simulated, stored, storedToken } from "./authn.ts"

const named = (directory: string, pattern: RegExp) =>
  path.join(directory, fs.readdirSync(directory).find((name) => pattern.test(name))!)

/** A process that holds a lock until it is killed. */
const holding = (lock: string) =>
  Effect.acquireRelease(
    Effect.callback<ChildProcess.ChildProcess>((resume) => {
      const child = ChildProcess.spawn(process.execPath, ["--input-type=module", "--eval", holder, lock], {
        stdio: ["ignore", "pipe", "ignore"]
      })
      child.stdout?.once("data", () => resume(Effect.succeed(child)))
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const holder = `
import { DatabaseSync } from "node:sqlite"
new DatabaseSync(process.argv[1]).exec("BEGIN EXCLUSIVE")
console.log("held")
setInterval(() => {}, 1000)
`

describe.skipIf(process.platform === "win32")("a logout that cannot clean up", () => {
  for (
    const [what, says, spoil] of [
      ["the locks are a file", /not a directory/, (home: Home) => {
        fs.rmSync(data(home, "sessions/locks"), { recursive: true })
        fs.writeFileSync(data(home, "sessions/locks"), "")
      }],
      ["the lock of renewals is a link", /a link is in the way of a file/, (home: Home) => {
        const lock = named(data(home, "sessions/locks"), /\.renew\.lock$/)
        fs.rmSync(lock)
        fs.symlinkSync("/dev/null", lock)
      }],
      ["the lock of the file is a directory", /a directory is in the way/, (home: Home) => {
        const lock = named(data(home, "sessions/locks"), /\.storage\.lock$/)
        fs.rmSync(lock)
        fs.mkdirSync(lock)
      }]
    ] as const
  ) {
    for (const args of [["logout"], ["logout", "--all"], ["accounts", "remove", "default"]]) {
      it.live(`${args.join(" ")}, where ${what}`, () =>
        simulated({}, (simulator, home) =>
          Effect.gen(function*() {
            yield* login(home, simulator.issuer, "datalayer")
            const { file } = stored(home)
            const before = (yield* simulator.ledger).length
            spoil(home)
            const ended = yield* home.spawn(args)
            const routes = (yield* simulator.ledger).slice(before).map(({ route }) => route)
            assert.deepStrictEqual(routes, ["logout"])
            assert.strictEqual(ended.code, 1, ended.stderr)
            assert.match(ended.stderr, says)
            assert.include(ended.stderr, "the IAM was told")
            assert.isTrue(fs.existsSync(file))
            assert.include(ended.stderr, path.basename(file, ".json"))
            if (args[0] === "accounts") assert.isTrue(fs.existsSync(data(home, "accounts/default.json")))
          })))
    }
  }

  it.live("says who holds the lock, after it told the IAM", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { file } = stored(home)
        const lock = named(data(home, "sessions/locks"), /\.renew\.lock$/)
        const holder = yield* holding(lock)
        const before = (yield* simulator.ledger).length
        const ended = yield* home.spawn(["logout"])
        assert.strictEqual(ended.code, 1, ended.stderr)
        assert.match(ended.stderr, /the IAM was told, and the stored session is left where it is: sign out again/)
        assert.deepStrictEqual((yield* simulator.ledger).slice(before).map(({ route }) => route), ["logout"])
        assert.isTrue(fs.existsSync(file))
        holder.kill("SIGKILL")
        assert.strictEqual((yield* home.spawn(["logout"])).code, 0)
        assert.isFalse(fs.existsSync(file))
      })))

  it.live("on a disk that cannot be written", (context) =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const sessions = data(home, "sessions")
        const mount = (...args: ReadonlyArray<string>) => ChildProcess.spawnSync("mount", args).status
        context.skip(mount("--bind", sessions, sessions) !== 0, "cannot mount here")
        yield* Effect.addFinalizer(() => Effect.sync(() => ChildProcess.spawnSync("umount", [sessions])))
        context.skip(mount("-o", "remount,ro,bind", sessions) !== 0, "cannot mount here")
        const before = (yield* simulator.ledger).length
        const ended = yield* home.spawn(["logout"])
        assert.strictEqual(ended.code, 1, ended.stderr)
        assert.match(ended.stderr, /read-only file system \(EROFS\).*the IAM was told/)
        assert.deepStrictEqual((yield* simulator.ledger).slice(before).map(({ route }) => route), ["logout"])
      })))
})

describe("what is left behind", () => {
  for (const args of [["logout"], ["logout", "--all"], ["accounts", "remove", "default"]]) {
    it.live(`goes along with ${args.join(" ")}`, () =>
      simulated({}, (simulator, home) =>
        Effect.gen(function*() {
          yield* login(home, simulator.issuer, "datalayer")
          yield* login(home, simulator.issuer, "datalayer", ["--account", "work"])
          const { file } = stored(home)
          const works = `${stored(home, "work").file}.corrupt-1700000000000`
          fs.writeFileSync(works, "{")
          // damaged, found by a command, and signed in anew
          fs.writeFileSync(file, "{\"refreshToken\":")
          assert.strictEqual((yield* home.spawn(["token"])).code, 3)
          yield* login(home, simulator.issuer, "datalayer")
          const names = () => fs.readdirSync(data(home, "sessions")).filter((name) => name.includes("-default-"))
          assert.lengthOf(names(), 2)
          const ended = yield* home.spawn(args)
          assert.strictEqual(ended.code, 0, ended.stderr)
          assert.match(ended.stderr, /what was damaged went along \(.*\.corrupt-\d+\)/)
          assert.deepStrictEqual(names(), [])
          assert.strictEqual(fs.existsSync(works), !args.includes("--all"))

          // also where nobody is signed in any more
          if (args[0] === "logout") {
            fs.writeFileSync(`${file}.corrupt-1700000000001`, "{")
            const again = yield* home.spawn(args)
            assert.strictEqual(again.code, 0, again.stderr)
            assert.match(again.stderr, /"default" was not signed in; what was damaged went along/)
            assert.deepStrictEqual(names(), [])
          }
        })))
  }

  it.live("of a newer version is named, and left", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { file } = stored(home)
        const text = "{\"version\":7,\"session\":{}}"
        fs.writeFileSync(file, text)
        for (const args of [["logout"], ["accounts", "remove", "default"], ["logout", "--local"]]) {
          const ended = yield* home.spawn(args)
          assert.strictEqual(ended.code, 1, `${args}: ${ended.stderr}`)
          assert.include(ended.stderr, file)
          assert.match(ended.stderr, /version 7.*version \d/s)
          assert.strictEqual(fs.readFileSync(file, "utf8"), text)
        }
        const doctor = yield* home.spawn(["doctor", "--json"])
        assert.strictEqual(doctor.code, 1)
        assert.include(doctor.stdout, "a session of version 7")
        // without its account, too
        fs.rmSync(data(home, "accounts/default.json"))
        assert.include((yield* home.spawn(["doctor", "--json"])).stdout, `authn logout --file`)
        const ended = yield* home.spawn(["logout", "--file", file])
        assert.strictEqual(ended.code, 1)
        assert.match(ended.stderr, /of a newer version.*left as it is/)
        assert.strictEqual(fs.readFileSync(file, "utf8"), text)
      })))

  for (const dialect of ["datalayer", "genomcore"] as const) {
    it.live(`and listed by no account, ends at the IAM when it is asked for (${dialect})`, () =>
      simulated({ rotation: "strict" }, (simulator, home) =>
        Effect.gen(function*() {
          const env = { AUTHN_STORAGE: "encrypted-file", AUTHN_PASSPHRASE: "correct horse battery" }
          for (const more of [{}, env]) {
            const signedIn = yield* login(
              {
                ...home,
                run: (args, options) => home.run(args, { ...options, env: more })
              },
              simulator.issuer,
              dialect
            )
            assert.strictEqual(signedIn.code, 0, signedIn.stderr)
            fs.rmSync(data(home, "accounts"), { recursive: true })
          }
          for (const [place, more] of [["sessions", {}], ["encrypted", env]] as const) {
            const file = named(data(home, place), /\.json$/)
            const doctor = yield* home.spawn(["doctor", "--json"], { env: more })
            assert.include(doctor.stdout, `authn logout --file ${file.replace(home.directory, "~")}`)
            const before = (yield* simulator.ledger).length
            const ended = yield* home.spawn(["logout", "--file", file], { env: more })
            assert.strictEqual(ended.code, 0, ended.stderr)
            assert.include(ended.stderr, dialect === "datalayer" ? "ended the session" : "is removed here")
            assert.isFalse(fs.existsSync(file))
            if (dialect === "datalayer") assert.isAbove((yield* simulator.ledger).length, before)
            assert.notInclude((yield* home.spawn(["doctor", "--json"])).stdout, file.replace(home.directory, "~"))
          }
        })))
  }

  it.live("is not the session of an account, nor any other file", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { file } = stored(home)
        for (const path of [file, "/etc/passwd", data(home, "accounts/default.json"), "nothing"]) {
          const ended = yield* home.spawn(["logout", "--file", path])
          assert.strictEqual(ended.code, 2, ended.stderr)
          assert.match(ended.stderr, /not among the sessions that no account lists/)
        }
        assert.isTrue(fs.existsSync(file))
        assert.strictEqual((yield* home.spawn(["logout", "--all", "--file", file])).code, 2)
      })))

  it.live("is what the doctor offers to end at a terminal", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        for (const account of ["one", "two"]) {
          yield* login(home, simulator.issuer, "datalayer", ["--account", account])
          fs.rmSync(data(home, `accounts/${account}.json`))
        }
        const ended = yield* atTerminal(home, ["doctor"], [["-one-", "y"], ["-two-", "n"]], { columns: 200 })
        assert.include(ended.shown, "which no account lists?")
        assert.include(ended.shown, "ended the session")
        const left = fs.readdirSync(data(home, "sessions")).filter((name) => name.endsWith(".json"))
        assert.lengthOf(left, 1)
        assert.include(left[0], "-two-")
      })))
})

it.live("a logout while the IAM is away tries again, says so, cleans up, and tells what works on and where it ends", () =>
  Effect.gen(function*() {
    const there = yield* home
    let issuer = ""
    let token = ""
    yield* simulated({}, (simulator) =>
      Effect.gen(function*() {
        issuer = simulator.issuer
        yield* login(there, issuer, "datalayer")
        token = storedToken(there)
      }))
    const ended = yield* there.spawn(["logout"])
    assert.strictEqual(ended.code, 0, ended.stderr)
    assert.include(ended.stderr, "authn: still at it")
    assert.include(ended.stderr, "is signed out here: the IAM could not be told")
    assert.match(ended.stderr, /works on at the IAM until/)
    assert.include(ended.stderr, `do that in your account at ${issuer}`)
    assert.notInclude(ended.stderr, "try again later")
    const left = fs.readdirSync(data(there), { recursive: true, encoding: "utf8" }).map((name) => data(there, name))
      .filter((name) => fs.statSync(name).isFile())
    for (const file of left) assert.notInclude(fs.readFileSync(file, "latin1"), token, file)
  }).pipe(Effect.scoped))
