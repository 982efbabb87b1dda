import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { home, login, simulated } from "./authn.ts"

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
