import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { browserOf, expire, home, provided, stored, storedToken, visit, written } from "./authn.ts"

describe("an OpenID provider", () => {
  it.live("gives client credentials, whose secret lies beside the session and nowhere else", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const plain = Redacted.value(secret)
        const args = [
          "login",
          "--dialect",
          "oidc",
          "--issuer",
          provider.issuer,
          "--client-id",
          id,
          "--client-secret-stdin"
        ]
        const signedIn = yield* home.run(args, { input: `${plain}\n` })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        const first = (yield* home.run(["token"])).stdout
        expire(home, Date.now() - 1000)
        const second = yield* home.run(["token"])
        assert.strictEqual(second.code, 0, second.stderr)
        assert.notStrictEqual(second.stdout, first)
        for (
          const command of [["status"], ["status", "--json"], ["explain"], ["config"], ["doctor"], [
            "accounts",
            "--json"
          ]]
        ) {
          const { stderr, stdout } = yield* home.spawn(command)
          assert.notInclude(stdout + stderr, plain, command.join(" "))
          assert.notInclude(stdout + stderr, second.stdout.trim(), command.join(" "))
        }
        const accounts = path.join(home.directory, ".local/share/effect-authn/accounts")
        for (const file of fs.readdirSync(accounts)) {
          assert.notInclude(fs.readFileSync(path.join(accounts, file), "utf8"), plain)
        }
        yield* home.run(["accounts", "remove", "default"])
        const sessions = path.join(home.directory, ".local/share/effect-authn/sessions")
        assert.deepStrictEqual(
          fs.readdirSync(sessions).filter((file) => file.endsWith(".json")),
          []
        )
        const wrong = yield* home.run(args, { input: "wrong\n" })
        assert.strictEqual(wrong.code, 1, wrong.stderr)
      })
    ))

  it.live("signs a person in with the browser, and renews", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const browser = browserOf(home)
        const args = [
          "login",
          "--dialect",
          "oidc",
          "--issuer",
          provider.issuer,
          "--client-id",
          provider.publicClient.id,
          "--browser"
        ]
        const [signedIn, page] = yield* Effect.all([
          home.spawn(args, { env: browser.env, atOnce: true }),
          Effect.flatMap(browser.opened, (url) => Effect.map(visit(url), (page) => ({ ...page, opened: url })))
        ], { concurrency: 2 })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.strictEqual(page.status, 200)
        // Every user of the machine can read the arguments of the opener.
        assert.match(page.opened, /^http:\/\/127\.0\.0\.1:\d+\/sign-in\/[\da-f-]+$/)
        assert.include(signedIn.stderr, page.opened)
        assert.notMatch(signedIn.stderr, /state=|code_challenge/)
        const whoami = yield* home.run(["whoami"])
        assert.match(whoami.stdout, /id +ada/, whoami.stderr)
        const first = (yield* home.run(["token"])).stdout
        expire(home, Date.now() - 1000)
        const second = yield* home.run(["token"])
        assert.strictEqual(second.code, 0, second.stderr)
        assert.notStrictEqual(second.stdout, first)
        const out = yield* home.run(["logout"])
        assert.include(out.stderr, "the IAM ended the session")
      })
    ))

  it.live("is asked for scopes and resources, whose tokens are verified", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const named = ["--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id, "--client-secret-stdin"]
        const input = Redacted.value(secret)
        const scopes = ["--scope", "api:read api:write"]
        const ended = [
          yield* home.run(["login", ...named, "--account", "flag", ...scopes], { input }),
          yield* home.run(["login", ...named, "--account", "variable"], { input, env: { AUTHN_SCOPE: "api:read" } })
        ]
        for (const { code, stderr } of ended) assert.strictEqual(code, 0, stderr)
        const given = (account: string) =>
          Object.values<{ scope?: string }>(stored(home, account).document.session.tokens).map(({ scope }) => scope)
        assert.deepStrictEqual([given("flag"), given("variable")], [["api:read api:write"], ["api:read"]])

        const own = storedToken(home, "variable")
        const other = yield* home.run(["token", "--account", "variable", "--resource", provider.resource])
        assert.strictEqual(other.code, 0, other.stderr)
        const checks = ["--jwks", `${provider.issuer}/jwks`, "--issuer", provider.issuer, "--audience"]
        const verified = yield* home.run(["jwt", "verify", ...checks, provider.resource, "--json"], {
          input: other.stdout
        })
        assert.strictEqual(verified.code, 0, verified.stderr)
        assert.strictEqual(JSON.parse(verified.stdout).claims.scope, "api:read")
        assert.strictEqual((yield* home.run(["token", "--account", "variable"])).stdout, `${own}\n`)

        // The variable goes before the secret that is kept, where the variables beside it say whose it is.
        const wrong = { AUTHN_CLIENT_SECRET: "wrong" }
        const another = { ...wrong, AUTHN_CLIENT_ID: "another" }
        for (const env of [wrong, { ...wrong, AUTHN_ISSUER: provider.issuer }]) {
          expire(home, Date.now() - 1000, "flag")
          const kept = yield* home.run(["token", "--account", "flag"], { env })
          assert.strictEqual(kept.code, 0, kept.stderr)
        }
        expire(home, Date.now() - 1000, "flag")
        assert.strictEqual((yield* home.run(["token", "--account", "flag"], { env: another })).code, 2)
        const theirs = { ...wrong, AUTHN_ISSUER: provider.issuer, AUTHN_CLIENT_ID: provider.secretClient.id }
        const refused = yield* home.run(["token", "--account", "flag"], { env: theirs })
        assert.notStrictEqual(refused.code, 0)
        assert.strictEqual(refused.stdout, "")
      })
    ))

  const elsewhere = [
    ["--device", {}, /^/],
    ["--browser", { SSH_CONNECTION: "127.0.0.1 1 127.0.0.1 2", DISPLAY: ":0" }, /by device: .*SSH_CONNECTION is set/],
    ["--browser", {}, /by device: .*there is no display/]
  ] as const
  for (const [way, env, reason] of elsewhere) {
    it.live(`signs a person in with a code (${[way, ...Object.keys(env)].join(", ")})`, () =>
      provided((provider, home) =>
        Effect.gen(function*() {
          const file = path.join(home.directory, "said")
          const { id } = provider.publicClient
          const args = ["login", "--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id, way]
          const [signedIn] = yield* Effect.all([
            home.spawn(args, { by: ["sh", "-c", `exec "$@" 2> '${file}'`, "sh"], atOnce: true, env }),
            Effect.flatMap(written(file, /(http:\S+user_code=\S+)\n/), (url) => visit(url))
          ], { concurrency: 2 })
          const said = fs.readFileSync(file, "utf8")
          assert.strictEqual(signedIn.code, 0, said)
          assert.match(said, reason)
          assert.notStrictEqual(storedToken(home), "")
        })
      ))
  }

  it.live("has a session that is moved, renewed, and handed to programs", () =>
    provided((provider, from) =>
      Effect.gen(function*() {
        const browser = browserOf(from)
        const { id } = provider.publicClient
        const args = ["login", "--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id, "--browser"]
        const [signedIn] = yield* Effect.all([
          from.spawn(args, { env: browser.env, atOnce: true }),
          Effect.flatMap(browser.opened, (url) => visit(url))
        ], { concurrency: 2 })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        const first = storedToken(from)
        const to = yield* home
        const exported = (yield* from.run(["export"])).stdout
        const { client: _client, dialect: _dialect, ...bare } = JSON.parse(exported)
        const told = ["--account", "told", "--dialect", "oidc", "--client-id", id]
        const imported = [
          yield* to.run(["import"], { input: exported }),
          yield* to.run(["import", ...told], { input: JSON.stringify(bare) })
        ]
        for (const { code, stderr } of imported) assert.strictEqual(code, 0, stderr)
        assert.deepStrictEqual([storedToken(to), storedToken(to, "told")], [first, first])
        const refreshed = yield* to.run(["refresh"])
        assert.strictEqual(refreshed.code, 0, refreshed.stderr)
        const renewed = (yield* to.run(["token"])).stdout
        assert.strictEqual(renewed, `${storedToken(to)}\n`)
        assert.notStrictEqual(storedToken(to), first)
        const ran = yield* to.spawn(["exec", "--", "sh", "-c", "echo \"$AUTHN_TOKEN\"; exit 7"])
        assert.deepStrictEqual([ran.stdout, ran.code], [renewed, 7])
        // opaque, and so nothing that could be read
        const decoded = yield* to.run(["jwt", "decode"], { input: renewed })
        assert.deepStrictEqual([decoded.code, decoded.stdout], [1, ""])
        assert.notInclude(decoded.stderr, renewed.trim())
      })
    ))
})
