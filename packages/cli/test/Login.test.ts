import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { data, type Home, home, login, simulated } from "./authn.ts"

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
    "an account whose name looks like a flag": [["--account=-work"], /"-work" cannot be the name of an account/],
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
      // a provider that publishes nothing
      const { origin } = yield* BareServer.serve(() => BareServer.json(404, {}))
      const args = [...oidc, "--issuer", origin]
      const metadata = file(
        own,
        "\ufeff" + JSON.stringify({
          issuer: origin,
          token_endpoint: `${origin}/token`
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

describe("what a login leaves alone, and what hints name", () => {
  it.live("the account that is current: only one without others is chosen by its login", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const signIn = (account: string) => login(home, simulator.issuer, "datalayer", ["--account", account])
        const current = Effect.map(home.run(["accounts", "--json"]), ({ stdout }) => {
          const found: ReadonlyArray<{ account: string; current: boolean }> = JSON.parse(stdout)
          return found.filter(({ current }) => current).map(({ account }) => account)
        })
        assert.include((yield* signIn("a")).stderr, "Next: authn token, ")
        assert.deepStrictEqual(yield* current, ["a"])
        assert.include((yield* signIn("default")).stderr, "Next: authn token --account default, ")
        assert.deepStrictEqual(yield* current, ["a"])
        assert.include((yield* home.run(["accounts", "remove", "default"])).stderr, "the account is forgotten")
        assert.deepStrictEqual(yield* current, ["a"])
        yield* signIn("b")
        const removed = yield* home.run(["accounts", "remove", "a"])
        assert.include(removed.stderr, "It was the current one. There is \"b\": authn accounts use NAME")
        assert.include((yield* signIn("c")).stderr, "Next: authn token --account c, ")
        assert.deepStrictEqual(yield* current, [])
        yield* home.run(["accounts", "use", "c"])
        assert.deepStrictEqual(yield* current, ["c"])
        // What is not there ends in one way, whatever was to be done with it.
        const [used, unknown] = [
          yield* home.run(["accounts", "use", "nope"]),
          yield* home.run(["accounts", "remove", "nope"])
        ]
        assert.deepStrictEqual(used, unknown)
        assert.deepStrictEqual([used.code, used.stdout], [3, ""])
        assert.include(used.stderr, "authn login --account nope")
      })))

  it.live("the login that is meant: --account where another one would be", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const { issuer } = simulator
        yield* login(home, issuer, "datalayer", ["--account", "work"])
        yield* login(home, issuer, "datalayer", ["--account", "default"])
        yield* home.run(["logout", "--all", "--local"])
        const rows: ReadonlyArray<readonly [args: ReadonlyArray<string>, env: Record<string, string>, hint: string]> = [
          [["token"], {}, "authn login"],
          [["whoami"], {}, "authn login"],
          [["token", "--account", "work"], {}, "authn login"],
          [["token", "--account", "default"], {}, "authn login --account default"],
          [["token"], { AUTHN_ACCOUNT: "default" }, "authn login"],
          [["token", "--account", "work"], { AUTHN_ACCOUNT: "default" }, "authn login --account work"],
          [["token", "--account", "third"], {}, "authn login --account third"]
        ]
        for (const [args, env, hint] of rows) {
          const { code, stderr } = yield* home.run(args, { env })
          assert.strictEqual(code, 3, stderr)
          assert.match(stderr, new RegExp(`with: ${hint}\n`), args.join(" "))
        }
        const explained = yield* home.run(["explain", "--account", "default"])
        assert.include(explained.stdout, "Sign in with: authn login --account default\n")
      })))

  it.live("a refusal names the person, the IAM, and the account where it is not the usual one", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const { issuer } = simulator
        const refused = (more: ReadonlyArray<string>) =>
          Effect.map(
            home.run(
              ["login", "--dialect", "datalayer", "--issuer", issuer, "--handle", "ada", "--password-stdin", ...more],
              { input: "wrong\n" }
            ),
            ({ stderr }) => stderr
          )
        assert.match(yield* refused([]), new RegExp(`^authn: could not sign in as ada at ${issuer}: `))
        assert.include(yield* refused(["--account", "work"]), `as ada at ${issuer} (account "work"): `)
      })))
})
