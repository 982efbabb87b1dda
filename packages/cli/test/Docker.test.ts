import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { login, password, simulated, storedToken } from "./authn.ts"

describe("a credential helper of docker", () => {
  it.live("answers for a registry that an account lists, whatever way it is written, and for no other", () =>
    simulated({}, (iam, home) =>
      Effect.gen(function*() {
        yield* login(home, iam.issuer, "datalayer")
        const docker = (operation: string, input = "") => home.run(["credential", "docker", operation], { input })
        const missing = yield* docker("get", "https://registry.example.com")
        assert.deepStrictEqual([missing.code, missing.stdout.trim()], [1, "credentials not found in native keychain"])

        const added = yield* home.run(["accounts", "host", "add", "Registry.Example.com"])
        assert.strictEqual(added.code, 0, added.stderr)
        const answer = { Username: "oauth2", Secret: storedToken(home) }
        for (
          const registry of [
            "registry.example.com",
            "https://registry.example.com",
            "https://REGISTRY.example.com:443/v2/",
            "registry.example.com\r"
          ]
        ) {
          const { code, stderr, stdout } = yield* docker("get", `${registry}\n`)
          assert.strictEqual(code, 0, stderr)
          assert.deepStrictEqual(JSON.parse(stdout), { ServerURL: registry.trim(), ...answer })
        }
        for (
          const registry of [
            "http://registry.example.com",
            "registry.example.com:5000",
            "registry.example.com.evil.example",
            "registry.example.com@evil.example",
            "evil.example@registry.example.com",
            "registry.example.com\\.evil.example",
            "registry.example.com#.evil.example",
            "registry.example.com?.evil.example",
            "regis\ttry.example.com",
            "registry%2eexample.com",
            "registry\u200b.example.com",
            "evil.example/registry.example.com",
            "example.com",
            "",
            "*"
          ]
        ) {
          const { code, stdout } = yield* docker("get", registry)
          assert.deepStrictEqual([code, stdout.trim()], [1, "credentials not found in native keychain"], registry)
        }
        assert.deepStrictEqual(JSON.parse((yield* docker("list")).stdout), { "Registry.Example.com": "oauth2" })

        const stored = (secret: string, ServerURL = "registry.example.com") =>
          docker("store", JSON.stringify({ ServerURL, Username: "oauth2", Secret: secret }))
        assert.strictEqual((yield* stored(answer.Secret)).code, 0)
        for (const refused of [yield* stored(password), yield* stored(answer.Secret, "other.example.com")]) {
          assert.strictEqual(refused.code, 1)
          assert.include(refused.stdout, "authn keeps no passwords")
          assert.notInclude(refused.stdout + refused.stderr, password)
        }
        const garbage = yield* docker("store", password)
        assert.strictEqual(garbage.code, 2)
        assert.notInclude(garbage.stdout + garbage.stderr, password)

        const erased = yield* docker("erase", "registry.example.com")
        assert.strictEqual(erased.code, 0)
        assert.include(erased.stderr, "authn accounts host remove")
        assert.strictEqual((yield* docker("get", "registry.example.com")).code, 0)

        yield* home.run(["logout", "--local"])
        const out = yield* docker("get", "registry.example.com")
        assert.notStrictEqual(out.code, 0)
        // docker shows what stands there
        assert.include(out.stdout, "authn login")
      })))

  it.live("hosts that are added at once are all listed", () =>
    simulated({}, (iam, home) =>
      Effect.gen(function*() {
        yield* login(home, iam.issuer, "datalayer")
        const hosts = ["a", "b", "c", "d"].map((name) => `${name}.example`)
        const add = (host: string) => home.spawn(["accounts", "host", "add", host], { atOnce: true })
        const added = yield* Effect.forEach(hosts, add, { concurrency: "unbounded" })
        assert.deepStrictEqual(added.map(({ code }) => code), [0, 0, 0, 0])
        const listed: ReadonlyArray<{ host: string }> = JSON.parse(
          (yield* home.run(["accounts", "host", "--json"])).stdout
        )
        assert.sameMembers(listed.map(({ host }) => host), hosts)
        assert.deepStrictEqual(JSON.parse((yield* home.run(["accounts", "names", "--json"])).stdout), ["default"])
      })))

  it.live("a login keeps the hosts of its account, and two accounts do not share one", () =>
    simulated({}, (iam, home) =>
      Effect.gen(function*() {
        yield* login(home, iam.issuer, "datalayer")
        yield* home.run(["accounts", "host", "add", "r.example:5000", "--username", "me"])
        yield* login(home, iam.issuer, "datalayer")
        yield* login(home, iam.issuer, "datalayer", ["--account", "second"])
        const clash = yield* home.run(["accounts", "host", "add", "R.example:5000", "--account", "second"])
        assert.strictEqual(clash.code, 2)
        assert.include(clash.stderr, "listed by the account \"default\"")
        const listed = yield* home.run(["accounts", "host", "--json"])
        assert.deepStrictEqual(JSON.parse(listed.stdout), [
          { host: "r.example:5000", username: "me", account: "default" }
        ])
        for (const wrong of ["https://r.example/", "*.example", "a b", "r.example/team", "u@r.example", ""]) {
          assert.strictEqual((yield* home.run(["accounts", "host", "add", wrong])).code, 2, wrong)
        }
        for (const user of ["", "me:too", "me\nhost=evil.example", "\x1b[31mme"]) {
          const refused = yield* home.run(["accounts", "host", "add", "s.example", "--username", user])
          assert.strictEqual(refused.code, 2, user)
        }
        assert.strictEqual((yield* home.run(["accounts", "host", "remove", "nobody.example"])).code, 2)
        assert.strictEqual((yield* home.run(["accounts", "host", "remove", "r.example:5000"])).code, 0)
        assert.deepStrictEqual(JSON.parse((yield* home.run(["accounts", "host", "--json"])).stdout), [])
      })))
})
