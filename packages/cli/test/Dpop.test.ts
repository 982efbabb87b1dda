import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { browserOf, data, home, provided, visit } from "./authn.ts"

const key = { AUTHN_STORAGE: "encrypted-file", AUTHN_KEY: Buffer.alloc(32, 7).toString("base64") }

/** Everything that lies in a home's data directory, as one text. */
const everything = (directory: string) =>
  fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name), "latin1")).join("\n")

describe("a login that is bound to a key", () => {
  it.live("says so, renews, is handed to no program, and leaves nothing", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const browser = browserOf(home)
        const named = ["--dialect", "oidc", "--issuer", provider.issuer, "--client-id", provider.publicClient.id]
        const byBrowser = (args: ReadonlyArray<string>, env: { readonly [name: string]: string }) =>
          Effect.map(
            Effect.all([
              home.spawn(["login", ...args, "--browser"], { env: { ...browser.env, ...env }, atOnce: true }),
              Effect.flatMap(browser.opened, (url) => visit(url))
            ], { concurrency: 2 }),
            ([ended]) => ended
          )
        const signedIn = yield* byBrowser([...named, "--dpop"], key)
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.include(signedIn.stderr, "bound to a key")
        assert.notInclude(signedIn.stderr, "authn token")

        const run = (args: ReadonlyArray<string>) => home.run(args, { env: key })
        const status = JSON.parse((yield* run(["status", "--json"])).stdout).accounts[0]
        assert.strictEqual(status.boundTo, "the session's document")
        assert.include((yield* run(["status"])).stdout, "a key in the session's document")
        for (
          const args of [["token"], ["token", "--header"], ["exec", "--", "true"], ["credential", "kubectl"], [
            "export"
          ]]
        ) {
          const refused = yield* run(args)
          assert.strictEqual(refused.code, 1, args.join(" "))
          assert.include(refused.stderr, "bound to a key")
          assert.strictEqual(refused.stdout, "")
        }
        assert.include((yield* run(["token"])).stderr, "--no-dpop")

        const renewed = yield* run(["refresh"])
        assert.strictEqual(renewed.code, 0, renewed.stderr)
        // with the key, of another process
        assert.match((yield* run(["whoami"])).stdout, /id +ada/)
        const { expiresAt } = JSON.parse((yield* run(["status", "--json"])).stdout).accounts[0]
        assert.isAtLeast(Date.parse(expiresAt), Date.parse(status.expiresAt))

        // remembered, and taken away again
        fs.rmSync(path.join(home.directory, "opened"))
        const again = yield* byBrowser([], key)
        assert.strictEqual(again.code, 0, again.stderr)
        assert.strictEqual(JSON.parse((yield* run(["status", "--json"])).stdout).accounts[0].boundTo, status.boundTo)
        const sessions = data(home, "encrypted")
        assert.isNotEmpty(fs.readdirSync(sessions).filter((name) => name.endsWith(".json")))
        const out = yield* run(["logout"])
        assert.include(out.stderr, "the IAM ended the session")
        assert.isEmpty(fs.readdirSync(sessions).filter((name) => name.endsWith(".json")))
        assert.notMatch(everything(data(home)), /proofKey|"d":/)
      })
    ))

  it.live("is refused before anybody signs in, where the key would lie beside its tokens, or could not be", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const named = ["--dialect", "oidc", "--issuer", provider.issuer, "--client-id", provider.publicClient.id]
        const login = (args: ReadonlyArray<string>, env: { readonly [name: string]: string } = {}) =>
          home.run(["login", ...named, ...args], { input: "at-own\n", env })
        const plain = yield* login(["--browser"], { AUTHN_DPOP: "true" })
        assert.strictEqual(plain.code, 1, plain.stderr)
        for (const word of ["plain file", "--storage encrypted-file", "--no-dpop"]) assert.include(plain.stderr, word)
        const given = yield* login(["--dpop", "--token-stdin"], key)
        assert.deepStrictEqual([given.code, given.stderr.includes("bound to no key")], [2, true])
        const handed = yield* login(["--dpop", "--browser", "--vault", "https://vault.test"], {
          AUTHN_VAULT_TOKEN: "authn_token"
        })
        assert.deepStrictEqual(
          [handed.code, handed.stderr.includes("a vault hands out tokens")],
          [2, true],
          handed.stderr
        )
        const wrong = yield* login(["--browser"], { AUTHN_DPOP: "perhaps" })
        assert.deepStrictEqual([wrong.code, wrong.stderr.includes("AUTHN_DPOP")], [2, true])
        // an OpenID provider knows no such token, which is its word and not this command's
        const not = yield* login(["--token-stdin", "--no-dpop"], { AUTHN_DPOP: "true" })
        assert.include(not.stderr, "refuses the token")
      })
    ))

  it.live("is of OpenID providers", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      const refused = yield* run([
        "login",
        "--dialect",
        "datalayer",
        "--issuer",
        "http://127.0.0.1:9",
        "--token-stdin",
        "--dpop"
      ], { input: "at\n" })
      assert.strictEqual(refused.code, 2)
      assert.include(refused.stderr, "--dpop is for OpenID providers")
    }).pipe(Effect.scoped))
})
