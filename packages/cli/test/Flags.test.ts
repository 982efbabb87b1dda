import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { generateKeyPairSync, type JsonWebKey, sign } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { browserOf, data, home, login, password, simulated, stored, storedToken, visit } from "./authn.ts"

const input = `${password}\n`
const asAda = ["--handle", "ada", "--password-stdin"]

/** A token of nobody in particular, with the public key that verifies it. */
const signed = (claims: object) => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const parts = [{ alg: "ES256", typ: "JWT" }, claims].map((part) => Buffer.from(JSON.stringify(part)))
  const text = parts.map((part) => part.toString("base64url")).join(".")
  const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" })
  const jwk: JsonWebKey = publicKey.export({ format: "jwk" })
  return {
    token: `${text}.${signature.toString("base64url")}\n`,
    pem: publicKey.export({ format: "pem", type: "spki" }).toString(),
    jwk: JSON.stringify(jwk)
  }
}

describe("flags and variables", () => {
  it.live("sign in by variables and by a file as by flags; a variable goes before the file", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const { issuer } = simulator
        const ended = [
          yield* home.run(["login", "--account", "url", ...asAda], { input, env: { DATALAYER_IAM_URL: issuer } }),
          yield* home.run(["login", "--account", "variables", ...asAda], {
            input,
            env: { AUTHN_DIALECT: "genomcore", AUTHN_ISSUER: issuer, AUTHN_ORGANIZATION: "acme" }
          })
        ]
        const directory = path.join(home.directory, ".config/effect-authn")
        fs.mkdirSync(directory, { recursive: true })
        const file = { dialect: "genomcore", issuer: "http://127.0.0.1:9", organization: "acme", storage: "plain-file" }
        fs.writeFileSync(
          path.join(directory, "config.toml"),
          Object.entries(file).map(([name, value]) => `${name} = "${value}"\n`).join("")
        )
        const env = { AUTHN_STORAGE: undefined, AUTHN_ISSUER: issuer }
        ended.push(yield* home.run(["login", "--account", "file", ...asAda], { input, env }))
        for (const { code, stderr } of ended) assert.strictEqual(code, 0, stderr)
        const accounts = JSON.parse((yield* home.run(["accounts", "--json"])).stdout)
        assert.deepStrictEqual(
          accounts.map((found: Record<string, unknown>) => [found["account"], found["dialect"], found["issuer"]]),
          [["file", "genomcore", issuer], ["url", "datalayer", issuer], ["variables", "genomcore", issuer]]
        )
      })))

  it.live("--json is all that is said of login, refresh, doctor and logout", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const json = (args: ReadonlyArray<string>, options?: { readonly input: string }, run = home.run) =>
          Effect.map(run([...args, "--json"], options), ({ code, stderr, stdout }) => {
            assert.deepStrictEqual([code, stderr], [0, ""], args.join(" "))
            assert.notInclude(stdout, "eyJ")
            return JSON.parse(stdout)
          })
        const { issuer } = simulator
        const signedIn = yield* json(
          ["login", "--dialect", "genomcore", "--issuer", issuer, "--organization", "acme", ...asAda],
          { input }
        )
        assert.deepInclude(signedIn, {
          account: "default",
          dialect: "genomcore",
          issuer,
          client: stored(home).document.session.key.client,
          user: "ada",
          stored: "plain-file"
        })
        assert.isAbove(Date.parse(signedIn.expiresAt), Date.now())

        const moved = yield* json(["refresh", "--project", "borealis"])
        assert.strictEqual(moved.selection.project, "borealis")
        assert.strictEqual(stored(home).document.session.current.project, "borealis")
        const same = yield* json(["refresh", "--organization", "acme"])
        assert.deepStrictEqual(same.selection, { organization: "acme" }, "a project is one of an organization")

        const findings = yield* json(["doctor"], undefined, home.spawn)
        const verdicts = new Map(findings.map(({ check, verdict }: Record<string, string>) => [check, verdict]))
        assert.deepStrictEqual(
          ["files", "permissions", "storage: plain-file", "issuer", "clock"].map((check) => verdicts.get(check)),
          Array.from({ length: 5 }, () => "good")
        )
        const [outcome, ...more] = yield* json(["logout"])
        assert.deepInclude(outcome, { account: "default", isDone: true })
        assert.isEmpty(more)
      })))

  it.live("logout --all ends every session at the IAM, --local none", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const tokens: Array<string> = []
        for (const account of ["a", "b", "c"]) {
          yield* login(home, simulator.issuer, "datalayer", ["--account", account])
          tokens.push(storedToken(home, account))
        }
        const [a = "", b = "", c = ""] = tokens
        const told = Effect.map(simulator.ledger, (entries) => entries.filter(({ route }) => route === "logout").length)
        const works = (token: string) =>
          Effect.map(
            home.run(["whoami"], {
              env: { AUTHN_TOKEN: token, AUTHN_DIALECT: "datalayer", AUTHN_ISSUER: simulator.issuer }
            }),
            ({ code, stdout }) => code === 0 && stdout.includes("ada")
          )
        const local = yield* home.run(["logout", "--local", "--account", "c"])
        assert.strictEqual(local.code, 0, local.stderr)
        assert.strictEqual((yield* home.run(["token", "--account", "c"])).code, 3)
        assert.strictEqual(yield* told, 0)
        assert.isTrue(yield* works(c))

        const all = yield* home.run(["logout", "--all"])
        assert.strictEqual(all.code, 0, all.stderr)
        assert.strictEqual(yield* told, 2)
        assert.strictEqual((yield* home.run(["token", "--account", "a"])).code, 3)
        for (const token of [a, b]) assert.isFalse(yield* works(token))
        for (const account of ["a", "b", "c"]) {
          assert.notInclude(fs.readFileSync(data(home, `accounts/${account}.json`), "utf8"), "eyJ")
        }
      })))

  it.live("a token from the standard input, or from the page of a provider, is a session", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const token = storedToken(home)
        const at = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--account"]
        const given = yield* home.run([...at, "given", "--token-stdin"], { input: `${token}\nsecond line\n` })
        assert.strictEqual(given.code, 0, given.stderr)
        assert.notInclude(given.stdout + given.stderr, "eyJ")
        assert.include((yield* home.run(["whoami", "--account", "given"])).stdout, "ada")
        const refused = yield* home.run([...at, "other", "--token-stdin"], { input: "no-token-of-this-iam\n" })
        assert.strictEqual(refused.code, 1, refused.stderr)

        const browser = browserOf(home)
        const args = [...at, "page", "--browser", "--provider", "linkedin"]
        const [signedIn, [passed, page]] = yield* Effect.all([
          home.spawn(args, { env: browser.env, atOnce: true }),
          Effect.gen(function*() {
            const passed: Array<string> = []
            const page = yield* visit(yield* browser.opened, ({ pathname }) => {
              passed.push(pathname)
              return false
            })
            return [passed, page] as const
          })
        ], { concurrency: 2 })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.strictEqual(page.status, 200)
        assert.isTrue(passed[0]?.includes("/oauth2/providers/linkedin"), passed[0])
        assert.include((yield* home.run(["whoami", "--account", "page"])).stdout, "ada")
      })))

  it.live("a header is the same by the short way and by the long one", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore", ["--project", "apollo"])
        const header = `Authorization: Bearer ${storedToken(home)}\n`
        assert.strictEqual((yield* home.spawn(["token", "--header"])).stdout, header)
        assert.strictEqual((yield* home.run(["token", "--header", "--project", "apollo"])).stdout, header)
      })))

  it.live("a flag that is given twice is a mistake by the short way, too", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        for (
          const twice of [
            ["--account", "nobody", "--account", "default"],
            ["--account=default", "--account", "default"],
            ["--header", "--header"],
            ["--min-ttl", "2d", "--min-ttl", "1m"]
          ]
        ) {
          const { code, stdout } = yield* home.spawn(["token", ...twice])
          assert.deepStrictEqual([code, stdout], [2, ""], twice.join(" "))
        }
      })))

  it.live("jwt verify takes a key, an audience and a tolerance", () =>
    Effect.gen(function*() {
      const { directory, run } = yield* home
      const now = Math.floor(Date.now() / 1000)
      const { jwk, pem, token } = signed({ iss: "me", aud: ["mine", "other"], exp: now - 30 })
      const files = { "key.pem": pem, "key.jwk": jwk, "other.pem": signed({}).pem, "none": "nothing" }
      for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(directory, name), text)
      const verify = (name: string, ...more: ReadonlyArray<string>) =>
        run(["jwt", "verify", "--key", path.join(directory, name), ...more], { input: token })
      const tolerant = ["--tolerance", "5m"]
      for (const name of ["key.pem", "key.jwk"]) {
        const good = yield* verify(name, ...tolerant, "--issuer", "me", "--audience", "mine")
        assert.strictEqual(good.code, 0, good.stderr)
        assert.include(good.stdout, "mine")
      }
      const expired = yield* verify("key.pem")
      assert.strictEqual(expired.code, 1)
      assert.match(expired.stderr, /expired/)
      const elsewhere = yield* verify("key.pem", ...tolerant, "--audience", "theirs")
      assert.strictEqual(elsewhere.code, 1)
      assert.match(elsewhere.stderr, /audience|aud/)
      assert.strictEqual((yield* verify("other.pem", ...tolerant)).code, 1)
      const unreadable = yield* verify("none", ...tolerant)
      assert.notStrictEqual(unreadable.code, 0)
    }).pipe(Effect.scoped))

  it.live("import is told what the document does not say", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { client: _client, dialect: _dialect, host: _host, ...document } = JSON.parse(
          (yield* home.run(["export"])).stdout
        )
        const input = JSON.stringify(document)
        const names = ["--dialect", "datalayer"]
        const imported = (...flags: ReadonlyArray<string>) =>
          home.run(["import", "--account", "x", ...flags], { input })
        assert.match((yield* imported()).stderr, /give --dialect/)
        const half = yield* imported(...names)
        assert.strictEqual(half.code, 2)
        assert.match(half.stderr, /give --issuer/)
        const whole = yield* imported(...names, "--issuer", simulator.issuer)
        assert.strictEqual(whole.code, 0, whole.stderr)
        assert.strictEqual(storedToken(home, "x"), storedToken(home))
      })))
})
