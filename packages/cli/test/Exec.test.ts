import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { home, login, main, simulated, storedToken } from "./authn.ts"

const authn = `'${process.execPath}' '${main}'`

const jwt = (claims: object) =>
  [{ alg: "none" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".") + ".x"

const renewed = ["sh", "-c", `printf '%s ' "$AUTHN_TOKEN"; ${authn} refresh >/dev/null && ${authn} token`]

describe("authn inside authn exec", () => {
  it.live("is the same account, whose session renews", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        yield* login(home, simulator.issuer, "datalayer", ["--account", "work"])
        const old = storedToken(home, "work")
        const ran = yield* home.spawn(["exec", "--account", "work", "--", ...renewed])
        assert.strictEqual(ran.code, 0, ran.stderr)
        assert.notStrictEqual(storedToken(home, "work"), old)
        assert.strictEqual(ran.stdout, `${old} ${storedToken(home, "work")}\n`)
        // A token that somebody else puts there goes first, as ever.
        const own = yield* home.spawn(["exec", "--", "sh", "-c", `AUTHN_TOKEN=mine ${authn} token`])
        assert.strictEqual(own.stdout, "mine\n", own.stderr)
        const told = yield* home.spawn(["exec", "--", "sh", "-c", `${authn} explain`])
        assert.match(told.stdout, /AUTHN_TOKEN.*authn exec took it/)
      })))

  it.live("has no key, unless that is handed on", () =>
    simulated({}, (simulator, plain) =>
      Effect.gen(function*() {
        const env = { AUTHN_STORAGE: "encrypted-file", AUTHN_KEY: Buffer.alloc(32, 7).toString("base64") }
        const home = {
          ...plain,
          run: (args: ReadonlyArray<string>, options = {}) => plain.run(args, { ...options, env })
        }
        const signedIn = yield* login(home, simulator.issuer, "datalayer")
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        const script = `printf '%s %s ' "\${AUTHN_KEY-none}" "$AUTHN_TOKEN"; ${authn} token`
        const kept = yield* plain.spawn(["exec", "--", "sh", "-c", script], { env })
        const [key, given, inside] = kept.stdout.trim().split(" ")
        assert.deepStrictEqual([kept.code, key, inside], [0, "none", given], kept.stderr)

        const passed = yield* plain.spawn(["exec", "--pass-key", "--", ...renewed], { env })
        const [before, after] = passed.stdout.trim().split(" ")
        assert.strictEqual(passed.code, 0, passed.stderr)
        assert.strictEqual(before, given)
        assert.match(after ?? "", /./)
        assert.notStrictEqual(after, before)

        const expired = jwt({ exp: Math.floor(Date.now() / 1000) - 300 })
        const mark = `${createHash("sha256").update(expired).digest("hex")} without-key`
        const late = yield* plain.run(["token"], { env: { AUTHN_TOKEN: expired, AUTHN_EXEC: mark } })
        assert.strictEqual(late.code, 4)
        assert.include(late.stderr, "--pass-key")
        assert.include(late.stderr, "AUTHN_KEY")
      })))
})

describe("a program that cannot be run", () => {
  it.live("is explained", () =>
    Effect.gen(function*() {
      const { directory, run } = yield* home
      const script = path.join(directory, "script")
      fs.writeFileSync(script, "#!/no/such/interpreter\n", { mode: 0o755 })
      const text = path.join(directory, "text")
      fs.writeFileSync(text, "no program", { mode: 0o644 })
      for (
        const [command, words] of [
          [[""], /no name/],
          [["no-such-program-here"], /there is no such program/],
          [[script], /interpreter/],
          [[text], /chmod/],
          [["true", "x".repeat(4_000_000)], /longer than this system takes/],
          [["true", "a\0b"], /cannot be run/]
        ] as const
      ) {
        const { code, stderr } = yield* run(["exec", "--", ...command], { env: { AUTHN_TOKEN: "given" } })
        assert.strictEqual(code, 2, stderr)
        assert.match(stderr, words)
        assert.notMatch(stderr, /^ {4}at /m)
      }
    }).pipe(Effect.scoped))
})
