import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { data, type Home, home, login, provided, simulated, stored } from "./authn.ts"

interface Finding {
  readonly check: string
  readonly verdict: string
  readonly detail: string
}

const doctor = (home: Home, env: Record<string, string | undefined> = {}) =>
  Effect.map(home.spawn(["doctor", "--json"], { env }), ({ code, stdout }) => {
    const found: ReadonlyArray<Finding> = JSON.parse(stdout)
    const bad = found.filter(({ verdict }) => verdict === "bad").map(({ check, detail }) => `${check}: ${detail}`)
    return { code, bad: bad.join("\n"), isWhole: found.some(({ check }) => check === "callback") }
  })

const rows = (text: string, check: string) => text.split("\n").filter((line) => line.includes(check)).join("\n")

describe("what is damaged", () => {
  it.live("a session whose key is lost is forgotten where that is asked for, and an account with it", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const args = ["login", "--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id]
        const key = (byte: number) => ({ AUTHN_KEY: Buffer.alloc(32, byte).toString("base64") })
        const files = () => fs.readdirSync(data(home, "encrypted")).filter((name) => name.endsWith(".json"))
        for (const env of [{}, key(2)]) {
          const signedIn = yield* home.run(
            [...args, "--storage", "encrypted-file", "--client-secret-stdin"],
            { env: key(1), input: Redacted.value(secret) }
          )
          assert.strictEqual(signedIn.code, 0, signedIn.stderr)
          assert.lengthOf(files(), 2)
          for (const kept of [["logout"], ["accounts", "remove", "default"]]) {
            assert.strictEqual((yield* home.run(kept, { env })).code, 1)
          }
          assert.lengthOf(files(), 2)
          const out = yield* home.run(["logout", "--local"], { env })
          assert.strictEqual(out.code, 0, out.stderr)
          assert.include(out.stderr, "unread")
          assert.lengthOf(files(), 1)
          const removed = yield* home.run(["accounts", "remove", "default", "--local"], { env })
          assert.strictEqual(removed.code, 0, removed.stderr)
          assert.deepStrictEqual(files(), [])
          assert.strictEqual((yield* home.run(["accounts", "names"])).stdout, "")
        }
      })
    ))

  it.live("what cannot be the name of an account is listed as none", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const document = fs.readFileSync(data(home, "accounts/default.json"))
        for (const name of ["$(touch oops)", "a b", "", "-x", "..", "\x1b[31mred", "a\nb", "current"]) {
          fs.writeFileSync(data(home, `accounts/${name}.json`), document, { mode: 0o600 })
        }
        assert.strictEqual((yield* home.run(["accounts", "names"])).stdout, "default\n")
        for (const args of [["accounts"], ["status"], ["token", "--account", "nobody"], ["logout", "--all"]]) {
          const { stderr, stdout } = yield* home.run(args)
          assert.include(stdout + stderr, "default")
          assert.notMatch(stdout + stderr, /oops|31mred|a b|"current"/)
        }
      })))

  it.live("the name of the current account leads to no other account", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        yield* login(home, simulator.issuer, "genomcore", ["--account", "work"])
        yield* home.run(["accounts", "use", "work"])
        const current = data(home, "accounts/current")
        const breaks: ReadonlyArray<() => void> = [
          () => fs.mkdirSync(current),
          () => fs.writeFileSync(current, "work\0", { mode: 0o600 }),
          () => fs.writeFileSync(current, "{".repeat(100_000), { mode: 0o600 }),
          () => {
            fs.writeFileSync(current, "default\n")
            fs.chmodSync(current, 0o666)
          }
        ]
        for (const one of breaks) {
          fs.rmSync(current, { recursive: true })
          one()
          for (const args of [["token"], ["exec", "--", "true"], ["logout"], ["explain"]]) {
            const { code, stderr, stdout } = yield* home.spawn(args)
            assert.deepStrictEqual([code, stdout], [1, ""], args.join(" "))
            assert.include(stderr, "accounts/current")
            assert.isBelow(stderr.length, 1000)
          }
          assert.strictEqual((yield* home.spawn(["token", "--account", "work"])).code, 0)
          assert.strictEqual((yield* home.spawn(["token"], { env: { AUTHN_ACCOUNT: "work" } })).code, 0)
          const found = yield* doctor(home)
          assert.include(found.bad, "accounts/current")
          assert.isTrue(found.isWhole)
        }
        fs.writeFileSync(current, "work\0")
        fs.chmodSync(current, 0o600)
        assert.strictEqual((yield* home.run(["accounts", "use", "work"])).code, 0)
        assert.strictEqual((yield* home.run(["token"])).code, 0)
      })))

  for (const which of ["work", "default"]) {
    it.live(`the account "${which}" does not hide the others`, () =>
      simulated({}, (simulator, home) =>
        Effect.gen(function*() {
          const other = which === "work" ? "default" : "work"
          yield* login(home, simulator.issuer, "datalayer")
          yield* login(home, simulator.issuer, "genomcore", ["--account", "work"])
          fs.writeFileSync(data(home, `accounts/${which}.json`), "{")

          const list = yield* home.run(["accounts"])
          assert.strictEqual(list.code, 0, list.stderr)
          assert.match(rows(list.stdout, which), /cannot be read/)
          assert.match(rows(list.stdout, other), new RegExp(simulator.issuer))
          const listed = JSON.parse((yield* home.run(["accounts", "--json"])).stdout)
          assert.deepStrictEqual(
            listed.map(({ account, problem }: { account: string; problem: string | null }) => [
              account,
              problem === null
            ]),
            [["default", which === "work"], ["work", which === "default"]]
          )

          const status = yield* home.run(["status"])
          assert.strictEqual(status.code, 0, status.stderr)
          assert.match(rows(status.stdout, "●"), /cannot be read/)
          assert.include(status.stdout, "signed in")
          const { accounts } = JSON.parse((yield* home.run(["status", "--json"])).stdout)
          assert.sameMembers(accounts.map(({ state }: { state: string }) => state), ["unreadable", "valid"])

          const env = { AUTHN_TOKEN: "opaque", AUTHN_ACCOUNT: which }
          assert.strictEqual((yield* home.run(["token"], { env })).stdout, "opaque\n")
          const again = yield* home.run(["login", "--handle", "ada", "--password-stdin"], { env, input: "x" })
          assert.strictEqual(again.code, 1)
          assert.include(again.stderr, `${which}.json`)

          const found = yield* doctor(home)
          assert.match(found.bad, new RegExp(`^accounts: .*${which}\\.json`))
          assert.isTrue(found.isWhole)

          const out = yield* home.run(["logout", "--all"])
          assert.strictEqual(out.code, 1)
          assert.include(out.stderr, `"${other}" is signed out`)
          assert.match(out.stderr, new RegExp(`"${which}" could not be signed out`))
          assert.strictEqual((yield* home.run(["token", "--account", other])).code, 3)
        })))
  }

  it.live("and put aside is what the doctor lists, with sessions that no account lists", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        yield* login(home, simulator.issuer, "datalayer", ["--account", "work"])
        const left = Effect.map(home.spawn(["doctor", "--json"]), ({ stdout }) =>
          JSON.parse(stdout).flatMap(({ check, detail }: Finding) =>
            check === "left behind" ? [detail] : []
          ))
        assert.deepStrictEqual(yield* left, [])
        fs.rmSync(data(home, "accounts/work.json"))
        const { file } = stored(home)
        fs.writeFileSync(`${file}.corrupt-1700000000000`, "{")
        const found = yield* left
        assert.lengthOf(found, 2)
        assert.match(found.join("\n"), /-work-[0-9a-f]{16}\.json is a session that no account lists/)
        assert.match(found.join("\n"), /-default-[0-9a-f]{16}\.json\.corrupt-1700000000000 was damaged and put aside/)
      })))

  it.live("a session in SQLite that no account lists is found without its key, and ended alone", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const key = { AUTHN_KEY: Buffer.alloc(32, 7).toString("base64"), AUTHN_STORAGE: "sqlite" }
        const there: Home = { ...home, run: (args, options) => home.run(args, { ...options, env: key }) }
        const left = Effect.map(home.run(["doctor", "--json"]), ({ stdout }) =>
          JSON.parse(stdout).flatMap(({ check, detail }: Finding) =>
            check === "left behind" ? [detail] : []
          ))
        const told = Effect.map(simulator.ledger, (entries) => entries.filter(({ route }) => route === "logout").length)
        yield* login(there, simulator.issuer, "datalayer")
        yield* login(there, simulator.issuer, "datalayer", ["--account", "work"])
        assert.deepStrictEqual(yield* left, [])
        fs.rmSync(data(home, "accounts/work.json"))
        const [found = "", ...others] = yield* left
        assert.deepStrictEqual(others, [])
        const file = data(home, "sqlite/sessions.sqlite")
        const [, path = ""] = /(\/\S+) is a session that no account lists/.exec(found.replace("~", home.directory)) ??
          []
        assert.match(path.replace(file, ""), /^#127\.0\.0\.1\S*-work-[0-9a-f]{16}$/)
        assert.include(found, "authn logout --file")
        assert.include((yield* home.run(["token", "--account", "nobody"])).stderr, "is an encrypted session")

        for (const wrong of [file, path.replace("-work-", "-default-"), `${path}0`]) {
          assert.strictEqual((yield* there.run(["logout", "--file", wrong])).code, 2, wrong)
        }
        const locked = yield* home.run(["logout", "--file", path])
        assert.strictEqual(locked.code, 1)
        assert.include(locked.stderr, "AUTHN_KEY")
        assert.strictEqual(yield* told, 0)
        const ended = yield* there.run(["logout", "--file", path])
        assert.strictEqual(ended.code, 0, ended.stderr)
        assert.include(ended.stderr, "ended the session")
        assert.strictEqual(yield* told, 1)
        assert.deepStrictEqual(yield* left, [])
        assert.strictEqual((yield* there.run(["token"])).code, 0)
      })))

  it.live("is what the doctor finds, whatever else is wrong", () =>
    Effect.gen(function*() {
      const there = yield* home
      fs.mkdirSync(path.join(there.directory, ".config/effect-authn"), { recursive: true })
      const file = path.join(there.directory, ".config/effect-authn/config.toml")
      fs.writeFileSync(file, "storage = \n")
      const toml = yield* doctor(there)
      assert.deepStrictEqual([toml.code, toml.isWhole], [1, true])
      assert.match(toml.bad, /^settings: .*config\.toml/)
      fs.rmSync(file)

      const nowhere = yield* doctor(there, { HOME: undefined })
      assert.deepStrictEqual([nowhere.code, nowhere.isWhole], [1, true])
      assert.match(nowhere.bad, /^files: .*HOME/)

      // No bus, no key: a login would find no place.
      const env = { AUTHN_STORAGE: "auto", DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere" }
      const auto = yield* doctor(there, env)
      assert.strictEqual(auto.code, 1)
      assert.match(auto.bad, /^storage: auto: .*AUTHN_PASSPHRASE/)
      assert.strictEqual((yield* doctor(there, { ...env, AUTHN_PASSPHRASE: "correct horse" })).bad, "")
      assert.strictEqual((yield* doctor(there, { ...env, AUTHN_STORAGE: "plain-file" })).code, 0)
    }).pipe(Effect.scoped))
})
