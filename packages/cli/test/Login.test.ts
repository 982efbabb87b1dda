import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { data, type Home, home } from "./authn.ts"

const oidc = ["login", "--dialect", "oidc", "--client-id", "cli", "--token-stdin"]
const issuer = "https://id.example.com"

const file = (home: Home, text: string | Uint8Array) => {
  const file = path.join(home.directory, "provider.json")
  fs.writeFileSync(file, text)
  return file
}

describe("what login is told", () => {
  const wrong: Record<string, readonly [args: ReadonlyArray<string>, says: RegExp]> = {
    "a parameter without a value": [["--parameter", "hd"], /--parameter takes name=value/],
    "a parameter without a name": [["--parameter", "=x"], /--parameter takes name=value/],
    "a parameter with a flag of its own": [["--parameter", "scope=x"], /a flag of its own: --scope/],
    "a parameter that the login sets": [["--parameter", "state=x"], /which the login itself sets/],
    "another way to show a secret": [["--client-auth", "tls"], /one of none, client_secret, client_secret_basic/],
    "a path that is none": [["--callback-path", "callback"], /path of an address/],
    "a path with a query": [["--callback-path", "/a?b=c"], /path of an address/],
    "a path that is another one": [["--callback-path", "/a/../b"], /path of an address/],
    "an empty issuer": [["--issuer", ""], /--issuer is empty/],
    "an empty project": [["--project", " "], /--project is empty/],
    "an empty organization": [["--organization", ""], /--organization is empty/],
    "an empty name": [["--handle", ""], /--handle is empty/],
    "an empty account": [["--account", ""], /"" cannot be the name of an account/],
    "a provider's provider": [["--provider", "github"], /--parameter kc_idp_hint=github/],
    "an address without a scheme": [["--issuer", "localhost:8080"], /https/],
    "an address that is a script": [["--issuer", "javascript:1"], /https/]
  }
  for (const [what, [args, says]] of Object.entries(wrong)) {
    it.live(`is refused in words: ${what}`, () =>
      Effect.scoped(Effect.gen(function*() {
        const own = yield* home
        const named = args[0] === "--issuer" ? [] : ["--issuer", issuer]
        const ended = yield* own.run([...oidc, ...named, ...args], { input: "token\n" })
        assert.strictEqual(ended.code, 2, ended.stderr)
        assert.match(ended.stderr, says)
        assert.isFalse(fs.existsSync(data(own)))
      })))
  }

  const metadata = { issuer, token_endpoint: `${issuer}/token` }
  const files: Record<string, readonly [text: string | Uint8Array | undefined, says: RegExp]> = {
    "that is not there": [undefined, /there is no such file/],
    "that is no JSON": ["{", /not the metadata of a provider/],
    "that is empty": ["", /not the metadata of a provider/],
    "that is no UTF-8": [new Uint8Array([0xc3, 0x28]), /UTF-8/],
    "that is longer than any": [" ".repeat(1024 * 1024 + 1), /longer than/],
    "without a token_endpoint": [JSON.stringify({ issuer }), /token_endpoint/],
    "without an issuer": [JSON.stringify({ token_endpoint: metadata.token_endpoint }), /issuer/],
    "of another issuer": [JSON.stringify({ ...metadata, issuer: `${issuer}/` }), /equal to the letter/],
    "whose address is a number": [JSON.stringify({ ...metadata, jwks_uri: 1 }), /not the metadata of a provider/],
    "whose address is not https": [
      JSON.stringify({ ...metadata, revocation_endpoint: "http://id.example.com/revoke" }),
      /revocation_endpoint that is not https/
    ],
    "whose address is on this machine": [
      JSON.stringify({ ...metadata, token_endpoint: "http://127.0.0.1:1/token" }),
      /token_endpoint that is not https/
    ]
  }
  for (const [what, [text, says]] of Object.entries(files)) {
    it.live(`is refused in words: a file of endpoints ${what}`, () =>
      Effect.scoped(Effect.gen(function*() {
        const own = yield* home
        const named = text === undefined ? path.join(own.directory, "nowhere") : file(own, text)
        const ended = yield* own.run([...oidc, "--issuer", issuer, "--metadata", named], { input: "token\n" })
        assert.strictEqual(ended.code, 2, ended.stderr)
        assert.match(ended.stderr, says)
        assert.include(ended.stderr, named)
      })))
  }

  it.live("flags of OpenID providers are refused elsewhere, and not left out in silence", () =>
    Effect.scoped(Effect.gen(function*() {
      const own = yield* home
      for (const flag of ["--audience", "--resource", "--prompt", "--client-auth", "--scope", "--client-id"]) {
        const value = flag === "--client-auth" ? "none" : "x"
        const named = ["login", "--dialect", "datalayer", "--issuer", issuer, "--token-stdin", flag, value]
        const ended = yield* own.run(named, { input: "token\n" })
        assert.strictEqual(ended.code, 2, ended.stderr)
        assert.include(ended.stderr, `${flag} is for OpenID providers`)
      }
    })))

  it.live("an empty text takes a remembered setting away", () =>
    Effect.scoped(Effect.gen(function*() {
      const own = yield* home
      const args = [...oidc, "--issuer", "http://127.0.0.1:9"]
      const metadata = file(
        own,
        "\ufeff" + JSON.stringify({
          issuer: "http://127.0.0.1:9",
          token_endpoint: "http://127.0.0.1:9/token"
        })
      )
      const input = "token\n"
      const settings = Effect.map(own.run(["config", "--json"]), ({ stdout }) => {
        const { audience, client_auth, parameter, prompt, scope } = JSON.parse(stdout).settings
        return [scope, audience, client_auth, parameter, prompt].map(({ value }) => value)
      })
      const told = ["--scope", "a b", "--audience", "urn:a", "--client-auth", "client_secret_post", "--prompt", "login"]
      const first = yield* own.run(
        [...args, "--metadata", metadata, ...told, "--parameter", "a=1&2", "--parameter", "b=c d"],
        { input, env: { AUTHN_CLIENT_SECRET: "s" } }
      )
      assert.strictEqual(first.code, 0, first.stderr)
      assert.deepStrictEqual(yield* settings, ["a b", "urn:a", "client_secret_post", "a=1%262&b=c+d", "login"])
      const again = yield* own.run([
        "login",
        "--token-stdin",
        "--client-auth",
        "",
        "--audience",
        "",
        "--parameter",
        "",
        "--prompt",
        ""
      ], {
        input
      })
      assert.strictEqual(again.code, 0, again.stderr)
      assert.deepStrictEqual(yield* settings, ["a b", null, null, null, ""])
    })))
})

describe("what is missing", () => {
  const rows: Record<string, readonly [args: ReadonlyArray<string>, names: ReadonlyArray<string>]> = {
    "everything": [[], ["--dialect", "--issuer", "--handle", "--token-stdin", "--browser", "--client-secret-stdin"]],
    "all but the dialect": [["--dialect", "datalayer"], ["--issuer", "--handle NAME", "--browser"]],
    "a client and a way": [["--dialect", "oidc", "--issuer", issuer], ["--client-id", "--browser", "--device"]],
    "all of a login by password": [
      ["--dialect", "genomcore", "--password-stdin"],
      ["--issuer", "--handle", "--organization"]
    ],
    "the password": [["--dialect", "genomcore", "--handle", "ada"], ["--issuer", "--password-stdin", "--organization"]]
  }
  for (const [what, [args, names]] of Object.entries(rows)) {
    it.live(`is named, all of it at once: ${what}`, () =>
      Effect.scoped(Effect.gen(function*() {
        const own = yield* home
        const ended = yield* own.run(["login", ...args])
        assert.strictEqual(ended.code, 2, ended.stderr)
        for (const name of names) assert.include(ended.stderr, name)
        assert.include(ended.stderr, "See: authn login --help")
      })))
  }
})
