import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { data, fileOf, home, login, simulated } from "./authn.ts"

describe("an imported session", () => {
  it.live("is kept where it is told, says that it is a copy, and leaves the original alone unless that is asked for", () =>
    simulated({}, (simulator, original) =>
      Effect.gen(function*() {
        yield* login(original, simulator.issuer, "datalayer")
        const input = (yield* original.run(["export"])).stdout
        const told = Effect.map(simulator.ledger, (entries) => entries.filter(({ route }) => route === "logout").length)
        const key = { AUTHN_KEY: Buffer.alloc(32, 7).toString("base64"), AUTHN_STORAGE: undefined }
        const copy = yield* home
        const take = (account: string) =>
          Effect.gen(function*() {
            const args = ["import", "--account", account, "--storage", "encrypted-file"]
            const taken = yield* copy.run(args, { input, env: key })
            assert.strictEqual(taken.code, 0, taken.stderr)
          })
        yield* take("a")
        const status = yield* copy.run(["status", "--json"], { env: key })
        assert.deepStrictEqual(
          JSON.parse(status.stdout).accounts.map((
            { source, storage }: { source: string; storage: { place: string } }
          ) => [source, storage.place]),
          [["import", "encrypted-file"]]
        )
        assert.match((yield* copy.run(["status"], { env: key })).stdout, /source +an imported copy/)

        const wrong = yield* copy.run(["import", "--account", "b", "--storage", "nowhere"], { input, env: key })
        assert.strictEqual(wrong.code, 2, wrong.stderr)
        assert.include(wrong.stderr, "keyring, encrypted-file")

        for (const args of [["logout", "--account", "a"], ["logout", "--all"], ["accounts", "remove", "a"]]) {
          yield* take("a")
          const ended = yield* copy.run(args, { env: key })
          assert.strictEqual(ended.code, 0, ended.stderr)
          assert.include(ended.stderr, "it is a copy that was imported, and the IAM was not told")
          assert.strictEqual((yield* copy.run(["token", "--account", "a"], { env: key })).code, 3)
        }
        // One that no account lists is a copy all the same.
        yield* take("a")
        const file = fileOf(copy, "a")
        fs.rmSync(data(copy, "accounts/a.json"))
        const unlisted = yield* copy.run(["logout", "--file", file], { env: key })
        assert.strictEqual(unlisted.code, 0, unlisted.stderr)
        assert.include(unlisted.stderr, "it is a copy that was imported, and the IAM was not told")
        assert.isFalse(fs.existsSync(file))
        assert.strictEqual(yield* told, 0)
        assert.strictEqual((yield* original.run(["whoami"])).code, 0)

        yield* take("a")
        const both = yield* copy.run(["logout", "--account", "a", "--local", "--revoke"], { env: key })
        assert.strictEqual(both.code, 2, both.stderr)
        assert.include(both.stderr, "give one of them")
        const asked = yield* copy.run(["accounts", "remove", "a", "--revoke"], { env: key })
        assert.include(asked.stderr, "the IAM ended the session")
        assert.strictEqual(yield* told, 1)
        assert.notStrictEqual((yield* original.run(["whoami"])).code, 0)

        // A session that was signed in here is no copy.
        yield* login(original, simulator.issuer, "datalayer")
        assert.include((yield* original.run(["logout"])).stderr, "the IAM ended the session")
      })))
})
