import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { data, home, login, password, simulated, storedToken } from "./authn.ts"

describe("the issuer of an account", () => {
  it.live("is compared to the letter, and a session stays with its own", () =>
    Effect.gen(function*() {
      const { directory, env, run, spawn } = yield* home
      fs.mkdirSync(data({ directory, env, run, spawn }, "accounts"), { recursive: true })
      const issuer = "http://127.0.0.1:9/realms/A"
      fs.writeFileSync(
        data({ directory, env, run, spawn }, "accounts", "default.json"),
        JSON.stringify({
          version: 1,
          name: "default",
          dialect: "oidc",
          issuer,
          client: "cli",
          place: "plain-file",
          window: 60_000,
          shortLivedFraction: 0.2
        })
      )
      for (const other of [issuer.replace("/A", "/a"), `${issuer}/`, issuer.replace("127.0.0.1", "localhost")]) {
        for (const args of [["token"], ["whoami"], ["login", "--browser"], ["login", "--issuer", other, "--device"]]) {
          const { code, stderr, stdout } = yield* run(args, { env: args.length > 2 ? {} : { AUTHN_ISSUER: other } })
          assert.strictEqual(code, 2, `${args.join(" ")} ${other}: ${stderr}`)
          assert.include(stderr, "--account NAME")
          assert.strictEqual(stdout, "")
        }
      }
      // the same to the letter is the account's: nobody is signed in there
      assert.strictEqual((yield* run(["token"], { env: { AUTHN_ISSUER: issuer } })).code, 3)
    }).pipe(Effect.scoped))

  it.live("is what its dialect makes of an address", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        yield* login(home, simulator.issuer, "genomcore", ["--account", "genes"])
        const ask = (account: string, address: string) =>
          Effect.map(
            home.run(["token"], { env: { AUTHN_ISSUER: address, AUTHN_ACCOUNT: account } }),
            ({ code }) => code
          )
        const capitals = simulator.issuer.replace("http:", "HTTP:")
        for (const address of [`${simulator.issuer}/`, `${simulator.issuer}/api/iam/v1`, capitals]) {
          assert.strictEqual(yield* ask("default", address), 0, address)
        }
        assert.strictEqual(yield* ask("default", `${simulator.issuer}/other`), 2)
        for (const address of [`${simulator.issuer}/`, capitals]) assert.strictEqual(yield* ask("genes", address), 0)
        assert.strictEqual(yield* ask("genes", `${simulator.issuer}/api/iam/v1`), 2)
      })))

  it.live("is told of a session that a login replaces only when it is asked to", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const revoked = Effect.map(simulator.ledger, (calls) => calls.filter(({ route }) => route === "logout").length)
        yield* login(home, simulator.issuer, "datalayer")
        const first = storedToken(home)
        yield* login(home, simulator.issuer, "datalayer")
        assert.strictEqual(yield* revoked, 0)
        assert.notStrictEqual(storedToken(home), first)
        yield* login(home, simulator.issuer, "datalayer", ["--revoke-previous"])
        assert.strictEqual(yield* revoked, 1)
        assert.strictEqual((yield* home.run(["whoami"])).code, 0)
        // also where the next one lies in another place
        yield* home.run(
          ["login", "--storage", "encrypted-file", "--handle", "ada", "--password-stdin", "--revoke-previous"],
          { input: password, env: { AUTHN_PASSPHRASE: "a passphrase of mine" } }
        )
        assert.strictEqual(yield* revoked, 2)
      })))
})
