import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { home, login, simulated, stored } from "./authn.ts"

const csi = "\u009b31m"
const turned = "\u202egnp.exe"
const names = "\u{1f469}\u200d\u{1f4bb} می\u200cخواهم"
const hostile = `a\x1b]0;title\x07${csi}${turned}\u2028forged\r\n\x1b[2Kforged ${names}`

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** Fails for what a terminal would act on. */
const inert = (text: string) => {
  assert.notMatch(text, /(?![\n\u200c\u200d])[\p{C}\p{Zl}\p{Zp}]/u)
  return text
}

describe("text of servers", () => {
  it.live("in a document and in variables is shown without a style, too", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const document = JSON.parse((yield* home.run(["export"])).stdout)
        const red = "\x1b[31mred"
        const written = { ...document, dialect: "oidc", client: red, scopes: red, provider: { audience: red } }
        const args = ["--account", "copy"]
        const imported = yield* home.run(["import", ...args], { input: JSON.stringify(written) })
        assert.strictEqual(imported.code, 0, imported.stderr)
        for (const one of [["config"], ["status"], ["accounts"], ["explain"], ["doctor"], ["refresh"], ["whoami"]]) {
          const { stderr, stdout } = yield* home.run([...one, ...args])
          inert(stdout + stderr)
        }
        for (const name of ["AUTHN_ACCOUNT", "AUTHN_STORAGE", "AUTHN_DIALECT", "AUTHN_CALLBACK_PORT", "AUTHN_ISSUER"]) {
          const { stderr, stdout } = yield* home.run(["token"], { env: { [name]: red } })
          assert.include(inert(stdout + stderr), "red", name)
        }
      })))

  it.live("in a token is shown in its own row, and data keep all of it", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      const header = { alg: "none", [hostile]: hostile }
      const claims = { sub: hostile, [hostile]: 1, [`exp${hostile}`]: 2, deep: [{ [hostile]: hostile }] }
      const input = `${encoded(header)}.${encoded(claims)}.x`
      const shown = yield* run(["jwt", "decode"], { input })
      assert.strictEqual(shown.code, 0, shown.stderr)
      assert.include(inert(shown.stdout), names)
      assert.notMatch(shown.stdout, /^ {0,4}forged/m)
      const json = yield* run(["jwt", "decode", "--json"], { input })
      assert.deepStrictEqual(JSON.parse(json.stdout), { header, claims })
      inert(json.stdout)
    }).pipe(Effect.scoped))

  it.live("in a session is shown in its own row", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { document, file } = stored(home)
        const [tokens] = Object.values<{ scope?: string }>(document.session.tokens)
        if (tokens !== undefined) tokens.scope = hostile
        document.session.user.handle = hostile
        document.session.strategy = hostile
        fs.writeFileSync(file, JSON.stringify(document))
        const args = [["status"], ["whoami", "--offline"], ["status", "--json"], ["whoami", "--offline", "--json"]]
        for (const one of args) {
          const { code, stderr, stdout } = yield* home.run(one)
          assert.strictEqual(code, 0, stderr)
          assert.notMatch(inert(stdout), /^ {0,4}forged/m)
          assert.include(stdout, names)
        }
      })))
})
