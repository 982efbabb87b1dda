import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { data, home, login, password, simulated } from "./authn.ts"

const jwt = (claims: object) =>
  [{ alg: "none" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".") + ".x"

describe("a token of the environment", () => {
  it.live("needs no home", () =>
    Effect.gen(function*() {
      const { run, spawn } = yield* home
      const nowhere = { HOME: undefined, XDG_DATA_HOME: undefined }
      const env = { ...nowhere, AUTHN_TOKEN: "of-the-environment" }
      const token = yield* run(["token"], { env })
      assert.deepStrictEqual([token.code, token.stdout], [0, "of-the-environment\n"], token.stderr)
      const exec = yield* spawn(["exec", "--", "sh", "-c", "printf %s \"$AUTHN_TOKEN\""], { env })
      assert.deepStrictEqual([exec.code, exec.stdout], [0, "of-the-environment"], exec.stderr)
      const key = { ...nowhere, AUTHN_DIALECT: "datalayer", DATALAYER_API_KEY: "a-key" }
      assert.strictEqual((yield* run(["token"], { env: key })).stdout, "a-key\n")

      const none = yield* run(["token"], { env: nowhere })
      assert.strictEqual(none.code, 1)
      assert.include(none.stderr, "HOME")
      assert.strictEqual((yield* run(["token", "--account", "work"], { env })).code, 1)
    }).pipe(Effect.scoped))

  it.live.runIf(process.platform === "linux")("needs no home that can be made", () =>
    Effect.gen(function*() {
      const { spawn } = yield* home
      const nowhere = { HOME: "/proc/effect-authn", XDG_DATA_HOME: undefined, XDG_CACHE_HOME: undefined }
      const version = yield* spawn(["--version"], { env: nowhere })
      assert.strictEqual(version.code, 0, version.stderr)
      const token = yield* spawn(["token"], { env: { ...nowhere, AUTHN_TOKEN: "of-the-environment" } })
      assert.deepStrictEqual([token.code, token.stdout], [0, "of-the-environment\n"], token.stderr)
    }).pipe(Effect.scoped))

  it.live("and a home that is relative are not looked for where the command happens to start", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      for (const HOME of [".", "home", "~"]) {
        for (const args of [["status"], ["token"], ["login", "--dialect", "oidc"], ["accounts"]]) {
          const { code, stderr } = yield* run(args, { env: { HOME, XDG_DATA_HOME: undefined } })
          assert.strictEqual(code, 1, `${HOME} ${args.join(" ")}`)
          assert.include(stderr, "absolute")
        }
      }
    }).pipe(Effect.scoped))

  it.live("is read as people paste it, or refused", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      const pasted = yield* run(["token", "--header"], { env: { AUTHN_TOKEN: "Bearer abc" } })
      assert.strictEqual(pasted.stdout, "Authorization: Bearer abc\n")
      for (const args of [["token"], ["token", "--header"], ["exec", "--", "true"], ["whoami"]]) {
        const broken = yield* run(args, {
          env: { AUTHN_TOKEN: "abc\nX-Injected: 1", AUTHN_DIALECT: "datalayer", AUTHN_ISSUER: "http://127.0.0.1:9" }
        })
        assert.strictEqual(broken.code, 2, `${args.join(" ")}: ${broken.stderr}`)
        assert.strictEqual(broken.stdout, "")
        assert.include(broken.stderr, "AUTHN_TOKEN")
        assert.notInclude(broken.stderr, "X-Injected")
      }
    }).pipe(Effect.scoped))

  it.live("is explained for each variable, and as it is", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const explain = (env: Record<string, string>, ...args: ReadonlyArray<string>) =>
          Effect.map(home.run(["explain", "--json", ...args], { env }), ({ stdout }) => {
            const { tried, used } = JSON.parse(stdout)
            return { used, verdicts: tried.map(({ verdict }: { verdict: string }) => verdict), text: stdout }
          })
        const both = yield* explain({ AUTHN_TOKEN: "opaque-one", DATALAYER_API_KEY: "opaque-two" })
        assert.deepStrictEqual(both.verdicts, ["used", "skipped", "not set", "skipped"])
        assert.include(both.text, "AUTHN_TOKEN goes first")
        assert.notInclude(both.text, "opaque")
        const told = yield* explain({ DATALAYER_API_KEY: "opaque-two" }, "--account", "default")
        assert.deepStrictEqual(told.verdicts, ["not set", "skipped", "not set", "used"])

        const expired = { AUTHN_TOKEN: jwt({ exp: Math.floor(Date.now() / 1000) - 300 }) }
        const old = yield* explain(expired)
        assert.isNull(old.used)
        assert.deepStrictEqual(old.verdicts, ["refused", "not set", "not set", "skipped"])
        const said = (yield* home.run(["explain"], { env: expired })).stdout
        assert.include(said, "authn token ends with 4")
        assert.strictEqual((yield* home.run(["token"], { env: expired })).code, 4)
        const broken = yield* home.run(["explain"], { env: { AUTHN_TOKEN: "a\nb" } })
        assert.include(broken.stdout, "authn token ends with 2")
      })))

  it.live("is named by a login, whose session it goes before", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const env = { AUTHN_TOKEN: "opaque" }
        const under: typeof home = { ...home, run: (args, options) => home.run(args, { ...options, env }) }
        const { stderr } = yield* login(under, simulator.issuer, "datalayer")
        assert.include(stderr, "Signed in")
        assert.match(stderr, /AUTHN_TOKEN is set/)
        const json = yield* login(under, simulator.issuer, "datalayer", ["--json"])
        assert.strictEqual(JSON.parse(json.stdout).environment, "AUTHN_TOKEN")
        assert.notInclude((yield* login(home, simulator.issuer, "datalayer")).stderr, "AUTHN_TOKEN is set")
      })))
})

describe("variables", () => {
  it.live("that were renamed are read, with a note of what to rename", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const key = Buffer.alloc(32, 7).toString("base64")
        const early = { AUTHN_STORAGE: undefined, EFFECT_AUTHN_STORAGE: "encrypted-file", EFFECT_AUTHN_KEY: key }
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada"]
        const signedIn = yield* home.run([...args, "--password-stdin"], { input: `${password}\n`, env: early })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.include(signedIn.stderr, "EFFECT_AUTHN_KEY is now AUTHN_KEY: rename it")
        assert.include(signedIn.stderr, "EFFECT_AUTHN_STORAGE is now AUTHN_STORAGE: rename it")
        const [account] = JSON.parse((yield* home.run(["accounts", "--json"])).stdout)
        assert.strictEqual(account.storage, "encrypted-file")

        const short = yield* home.spawn(["token"], { env: { EFFECT_AUTHN_KEY: key } })
        assert.deepStrictEqual(
          [short.code, short.stderr],
          [0, "authn: EFFECT_AUTHN_KEY is now AUTHN_KEY: rename it; the earlier name still works\n"]
        )
        // The name that it has now goes first, and is nothing to speak of.
        for (const env of [{ AUTHN_KEY: key }, { AUTHN_KEY: key, EFFECT_AUTHN_KEY: "another" }]) {
          for (const named of [["token"], ["token", "--json"]]) {
            const { code, stderr } = yield* home.spawn(named, { env })
            assert.deepStrictEqual([code, stderr], [0, ""])
          }
        }
        const script = "echo \"${AUTHN_KEY-}${AUTHN_PASSPHRASE-}${EFFECT_AUTHN_KEY-}${EFFECT_AUTHN_PASSPHRASE-}.\""
        const inside = yield* home.spawn(["exec", "--", "sh", "-c", script], {
          env: { AUTHN_KEY: key, EFFECT_AUTHN_KEY: "another", AUTHN_PASSPHRASE: "x", EFFECT_AUTHN_PASSPHRASE: "y" }
        })
        assert.strictEqual(inside.stdout, ".\n", inside.stderr)
      })))
})

describe("not signed in", () => {
  it.live("says where it looked, and what lies elsewhere", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const key = { AUTHN_KEY: Buffer.alloc(32, 7).toString("base64") }
        const args = [
          "login",
          "--dialect",
          "datalayer",
          "--issuer",
          simulator.issuer,
          "--handle",
          "ada",
          "--password-stdin"
        ]
        const input = `${password}\n`
        const none = yield* home.run(["token"])
        assert.include(none.stderr, "Looked in ~/.local/share/effect-authn/accounts.")
        yield* home.run([...args, "--storage", "encrypted-file"], { input, env: key })
        const accounts = data(home, "accounts", "default.json")
        const account = fs.readFileSync(accounts, "utf8")

        // The account says that its session is in a plain file.
        fs.writeFileSync(accounts, account.replace("\"encrypted-file\"", "\"plain-file\""))
        for (const named of [["token"], ["whoami"], ["export"]]) {
          const { code, stderr } = yield* home.run(named)
          assert.strictEqual(code, 3, stderr)
          assert.include(stderr, "Looked in ~/.local/share/effect-authn/sessions (plain-file).\n")
          assert.include(
            stderr,
            "There is an encrypted one in ~/.local/share/effect-authn/encrypted, and there is no key: "
          )
          assert.include(
            stderr,
            "set AUTHN_KEY or AUTHN_PASSPHRASE. authn login --storage encrypted-file keeps it there\n"
          )
        }
        const withKey = yield* home.run(["token"], { env: key })
        assert.include(
          withKey.stderr,
          "There is an encrypted one in ~/.local/share/effect-authn/encrypted. authn login"
        )

        // No account lists it.
        fs.rmSync(accounts)
        const unlisted = yield* home.run(["token"])
        assert.strictEqual(unlisted.code, 3)
        assert.include(
          unlisted.stderr,
          "There is an encrypted session of other programs in ~/.local/share/effect-authn/encrypted, and there is no key"
        )
      })))
})
