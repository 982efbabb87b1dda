import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { expire, type Home, home, installedMain, login, simulated, storedToken } from "./authn.ts"

const directory = (home: Home) => path.join(home.directory, ".cache/effect-authn")

const kept = (home: Home): ReadonlyArray<string> =>
  fs.existsSync(directory(home)) ? fs.readdirSync(directory(home)).map((name) => path.join(directory(home), name)) : []

describe("what was compiled", () => {
  it.live("is kept for each command that succeeds, and once for those that fail, by this user alone", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const unknown = ["token", "--account", "nobody"]
        const fails = yield* home.spawn(unknown)
        assert.strictEqual(fails.code, 3, fails.stderr)
        assert.lengthOf(kept(home), 1)
        assert.deepStrictEqual(yield* home.spawn(unknown), fails)
        assert.strictEqual((yield* home.spawn(["whoami"])).code, 3)
        assert.lengthOf(kept(home), 1)

        yield* login(home, simulator.issuer, "datalayer")
        for (const _ of [1, 2]) {
          expire(home, Date.now() + 60_000)
          const before = storedToken(home)
          const { code, stderr, stdout } = yield* home.spawn(["token", "--min-ttl", "2m"])
          assert.deepStrictEqual([code, stdout, stderr], [0, `${storedToken(home)}\n`, ""])
          assert.notStrictEqual(storedToken(home), before)
          assert.lengthOf(kept(home), 2)
        }
        assert.include((yield* home.spawn(["accounts"])).stdout, simulator.issuer)
        assert.lengthOf(kept(home), 3)
        for (const file of kept(home)) assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
      })))

  it.live("runs only as it was written, and made of this code", () =>
    Effect.gen(function*() {
      const one = yield* home
      const main = installedMain(one)
      const run = one.spawn(["config"], { main })
      const first = yield* run
      assert.strictEqual(first.code, 0, first.stderr)
      const [file = ""] = kept(one)
      const whole = fs.readFileSync(file)
      const damaged: ReadonlyArray<readonly [string, Buffer]> = [
        ["empty", Buffer.alloc(0)],
        ["shorter", whole.subarray(0, whole.length / 2)],
        ["half written", Buffer.concat([whole.subarray(0, whole.length / 2), Buffer.alloc(whole.length / 2)])],
        ["another", Buffer.concat([whole.subarray(32), whole.subarray(0, 32)])]
      ]
      for (const [what, bytes] of damaged) {
        fs.writeFileSync(file, bytes)
        assert.deepStrictEqual(yield* run, first, what)
        assert.isFalse(fs.readFileSync(file).equals(bytes), what)
      }

      // An update that is no longer and no shorter.
      const commands = path.join(path.dirname(main), "commands.cjs")
      const code = fs.readFileSync(commands, "utf8")
      const changed = code.replaceAll("AUTHN_ACCOUNT", "AUTHN_ANOTHER")
      assert.notStrictEqual(changed, code)
      fs.writeFileSync(commands, changed)
      const updated = yield* one.spawn(["config"], { main, env: { AUTHN_ANOTHER: "ada" } })
      assert.match(updated.stdout, /account +ada/)
      assert.lengthOf(kept(one), 1)
    }).pipe(Effect.scoped))

  it.live.skipIf(process.platform === "win32")(
    "is neither kept nor looked for where others can write",
    () =>
      Effect.gen(function*() {
        const one = yield* home
        const first = yield* one.spawn(["config"])
        assert.strictEqual(first.code, 0, first.stderr)
        const [file = ""] = kept(one)
        fs.writeFileSync(file, "")
        fs.chmodSync(directory(one), 0o777)
        assert.deepStrictEqual(yield* one.spawn(["config"]), first)
        assert.deepStrictEqual(kept(one).map((file) => fs.statSync(file).size), [0])
      }).pipe(Effect.scoped)
  )
})
