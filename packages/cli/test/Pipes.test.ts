import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { home, login, password, simulated, storedToken } from "./authn.ts"

const marked = (text: string) => new TextEncoder().encode(`\ufeff${text}`)

const utf16 = (text: string, isLittle: boolean) => {
  const bytes = Buffer.from(`\ufeff${text}`, "utf16le")
  return isLittle ? bytes : bytes.swap16()
}

describe("what is piped in", () => {
  it.live("a password ends with its line, though the pipe stays open", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const { code, stderr } = yield* home.spawn([
          "login",
          "--dialect",
          "datalayer",
          "--issuer",
          simulator.issuer,
          "--handle",
          "ada",
          "--password-stdin"
        ], { input: `${password}\r\n`, isInputOpen: true })
        assert.strictEqual(code, 0, stderr)
      })))

  it.live("has the mark and the encoding that Windows gives it", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const named = ["--dialect", "datalayer", "--issuer", simulator.issuer]
        const byPassword = ["login", ...named, "--handle", "ada", "--password-stdin"]
        for (const input of [marked(`${password}\r\n`), utf16(`${password}\r\n`, true), utf16(password, false)]) {
          const { code, stderr } = yield* home.run(byPassword, { input })
          assert.strictEqual(code, 0, stderr)
        }
        const token = storedToken(home)
        for (const input of [marked(token), `\r\n\nBearer ${token}\r\n`, `bearer  ${token} \nmore`]) {
          const { code, stderr } = yield* home.run(["login", ...named, "--token-stdin", "--account", "copy"], { input })
          assert.strictEqual(code, 0, stderr)
          assert.strictEqual((yield* home.run(["token", "--account", "copy"])).stdout.trim(), token)
        }
        const document = (yield* home.run(["export"])).stdout
        const imported = yield* home.run(["import", "--account", "moved"], { input: utf16(document, true) })
        assert.strictEqual(imported.code, 0, imported.stderr)
        const git = yield* home.run(["credential", "git", "--host", "git.example.com", "get"], {
          input: marked("protocol=https\nhost=git.example.com\n\n")
        })
        assert.include(git.stdout, "password=")
      })))

  it.live("is refused with words where it is no text", () =>
    Effect.gen(function*() {
      const { run } = yield* home
      const args = ["login", "--dialect", "datalayer", "--issuer", "http://127.0.0.1:9", "--handle", "a"]
      for (
        const [input, says] of [
          [Buffer.from("pässword", "latin1"), /UTF-8/],
          [Buffer.from("password", "utf16le"), /NUL/],
          [Buffer.alloc(1024 * 1024 + 1, "a"), /longer than/],
          ["\r\n\n", /is empty/]
        ] as const
      ) {
        const { code, stderr } = yield* run([...args, "--password-stdin"], { input })
        assert.strictEqual(code, 2, stderr)
        assert.match(stderr, says)
      }
    }).pipe(Effect.scoped))

  it.live("variables of a file with Windows' line ends are read without the CR", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const env = { AUTHN_DIALECT: "datalayer\r", AUTHN_ISSUER: `${simulator.issuer}\r`, AUTHN_ACCOUNT: "work\r" }
        const signedIn = yield* home.run(["login", "--handle", "ada", "--password-stdin"], {
          input: password,
          env: { ...env, AUTHN_STORAGE: "plain-file\r" }
        })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        const token = yield* home.spawn(["token"], { env })
        assert.strictEqual(token.stdout.trim(), storedToken(home, "work"))
        assert.strictEqual((yield* login(home, simulator.issuer, "datalayer", ["--account", "work"])).code, 0)
        // what was encrypted with a passphrase is read with the same one, whatever its line ended with
        const phrase = (end: string) => ({ ...env, EFFECT_AUTHN_PASSPHRASE: `correct horse${end}` })
        const flags = ["--account", "encrypted", "--storage", "encrypted-file", "--handle", "ada", "--password-stdin"]
        const encrypted = yield* home.run(["login", ...flags], { input: password, env: phrase("\r") })
        assert.strictEqual(encrypted.code, 0, encrypted.stderr)
        const read = yield* home.run(["token", "--account", "encrypted"], { env: phrase("") })
        assert.strictEqual(read.code, 0, read.stderr)
      })))
})
