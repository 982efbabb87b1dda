import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { atTerminal, browserOf, data, type Home, home as emptyHome, provided, visit } from "./authn.ts"

const withClient = <A, E, R>(
  test: (
    client: { readonly args: ReadonlyArray<string>; readonly secret: string },
    home: Home
  ) => Effect.Effect<A, E, R>
) =>
  provided(({ issuer, secretClient }, home) =>
    test({
      args: ["login", "--dialect", "oidc", "--issuer", issuer, "--client-id", secretClient.id],
      secret: Redacted.value(secretClient.secret)
    }, home)
  )

/** Every file in which the secret can be read. */
const places = (home: Home, secret: string) =>
  fs.readdirSync(data(home), { recursive: true, encoding: "utf8" }).filter((name) => {
    const file = path.join(data(home), name)
    return fs.statSync(file).isFile() && fs.readFileSync(file, "utf8").includes(secret)
  })

/** A provider that takes every secret and every assertion. */
const trusting = Effect.gen(function*() {
  const server = yield* BareServer.serve((seen) =>
    BareServer.json(
      200,
      seen.path === "/token"
        ? { access_token: "at", token_type: "Bearer", expires_in: 300 }
        : { issuer: `http://${seen.headers["host"]}`, token_endpoint: `http://${seen.headers["host"]}/token` }
    )
  )
  return { issuer: server.origin, tokens: () => server.seen.filter(({ method }) => method === "POST").length }
})

const key = { AUTHN_KEY: Buffer.alloc(32, 7).toString("base64url") }

describe("a client's secret", () => {
  it.live("leaves with the place that it was kept in", () =>
    withClient(({ args, secret }, home) =>
      Effect.gen(function*() {
        const withSecret = [...args, "--client-secret-stdin"]
        const plain = yield* home.run(withSecret, { input: secret })
        assert.strictEqual(plain.code, 0, plain.stderr)
        assert.lengthOf(places(home, secret), 1)
        const moved = yield* home.run([...withSecret, "--storage", "encrypted-file"], { input: secret, env: key })
        assert.strictEqual(moved.code, 0, moved.stderr)
        assert.deepStrictEqual(places(home, secret), [])
        const removed = yield* home.run(["accounts", "remove", "default"], { env: key })
        assert.strictEqual(removed.code, 0, removed.stderr)
        assert.isFalse(fs.existsSync(data(home, "accounts/default.json")))
      })
    ))

  it.live("leaves with its account, whatever was done in between", () =>
    withClient(({ args, secret }, home) =>
      Effect.gen(function*() {
        yield* home.run([...args, "--client-secret-stdin"], { input: secret })
        const document = (yield* home.run(["export"])).stdout
        const imported = yield* home.run(["import"], { input: document })
        assert.strictEqual(imported.code, 0, imported.stderr)
        assert.strictEqual((yield* home.run(["login"])).code, 0, "the secret that is kept still signs in")
        const browser = browserOf(home)
        const [person] = yield* Effect.all([
          home.spawn(["login", "--browser"], { env: browser.env, atOnce: true }),
          Effect.flatMap(browser.opened, (url) => visit(url))
        ], { concurrency: 2 })
        assert.strictEqual(person.code, 0, person.stderr)
        assert.strictEqual((yield* home.run(["login"])).code, 2, "a person is not replaced by the client")
        yield* home.run(["accounts", "remove", "default", "--local"])
        assert.deepStrictEqual(places(home, secret), [])
      })
    ))

  it.live("that is kept, or in the environment, signs in without anything else", () =>
    withClient(({ args, secret }, home) =>
      Effect.gen(function*() {
        const env = { AUTHN_CLIENT_SECRET: secret }
        const told = yield* home.run(args, { env })
        assert.strictEqual(told.code, 0, told.stderr)
        assert.deepStrictEqual(places(home, secret), [], "what the environment says is not kept")
        const nothing = yield* home.run(["login"])
        assert.strictEqual(nothing.code, 2, nothing.stderr)
        assert.include(nothing.stderr, "--client-secret-stdin")
        const unnamed = yield* home.run(["login"], { env })
        assert.strictEqual(unnamed.code, 2, "nothing says whose secret that is")
        const [, , , , issuer = "", , client = ""] = args
        const named = { ...env, AUTHN_ISSUER: issuer, AUTHN_CLIENT_ID: client }
        assert.strictEqual((yield* home.run(["login"], { env: named })).code, 0)

        yield* home.run([...args, "--client-secret-stdin"], { input: secret })
        const first = (yield* home.run(["token"])).stdout
        const again = yield* home.run(["login"])
        assert.strictEqual(again.code, 0, again.stderr)
        assert.notStrictEqual((yield* home.run(["token"])).stdout, first)
        yield* home.run(["logout"])
        assert.strictEqual((yield* home.run(["login"])).code, 0, "signing out leaves the secret of the client")
        assert.strictEqual((yield* home.run(["token"])).code, 0)
        const elsewhere = yield* home.run(["login", "--storage", "encrypted-file"], { env: key })
        assert.strictEqual(elsewhere.code, 2, "it is not there")
        assert.include(elsewhere.stderr, "--client-secret-stdin")
      })
    ))

  it.live("of a variable goes to whom the variables beside it name, and to no other", () =>
    Effect.gen(function*() {
      const [own, other] = [yield* trusting, yield* trusting]
      const home = yield* emptyHome
      const secret = { AUTHN_CLIENT_SECRET: "canary" }
      const ofOwn = { ...secret, AUTHN_ISSUER: own.issuer, AUTHN_CLIENT_ID: "a" }
      const login = (
        issuer: string,
        client: string
      ) => ["login", "--account", "b", "--dialect", "oidc", "--issuer", issuer, "--client-id", client]
      const loginOfOther = login(other.issuer, "b")
      for (
        const env of [
          ofOwn,
          { ...secret, AUTHN_ISSUER: own.issuer },
          { ...secret, AUTHN_CLIENT_ID: "a" },
          { ...ofOwn, AUTHN_ISSUER: other.issuer }
        ]
      ) {
        const { code, stderr } = yield* home.run(loginOfOther, { env })
        assert.strictEqual(code, 2, stderr)
        assert.include(stderr, `AUTHN_CLIENT_SECRET is not used: beside it the`)
        const posted = yield* home.run([...loginOfOther, "--client-auth", "client_secret_post"], { env })
        assert.strictEqual(posted.code, 2, posted.stderr)
      }
      const config = path.join(home.directory, ".config/effect-authn")
      fs.mkdirSync(config, { recursive: true })
      fs.writeFileSync(path.join(config, "config.toml"), `issuer = "${other.issuer}"\nclient_id = "b"\n`)
      const byFile = yield* home.run(["login", "--dialect", "oidc"], { env: secret })
      assert.strictEqual(byFile.code, 2, byFile.stderr)
      assert.include(byFile.stderr, "AUTHN_CLIENT_SECRET is not used, since nothing says")
      fs.rmSync(config, { recursive: true })
      // an issuer that is typed at the prompt, and the client's secret as the way
      const typed = yield* atTerminal(home, ["login", "--dialect", "oidc"], [
        ["Address of the IAM", `${other.issuer}\r`],
        ["Sign in with", "\x1b[B\x1b[B\r"],
        ["Client secret", "\x03"]
      ], { env: { ...secret, AUTHN_CLIENT_ID: "a" } })
      assert.strictEqual(typed.code, 130, typed.shown)
      assert.include(typed.shown, "AUTHN_CLIENT_SECRET is not used")
      assert.strictEqual(other.tokens(), 0)

      const alone = yield* home.run(loginOfOther, { env: secret })
      assert.strictEqual(alone.code, 0, alone.stderr)
      const named = yield* home.run(login(own.issuer, "a").toSpliced(2, 1, "a"), { env: ofOwn })
      assert.strictEqual(named.code, 0, named.stderr)
      const half = yield* home.run(login(own.issuer, "a").toSpliced(2, 1, "a"), {
        env: { ...secret, AUTHN_ISSUER: own.issuer }
      })
      assert.strictEqual(half.code, 0, half.stderr)
      assert.deepStrictEqual([other.tokens(), own.tokens()], [1, 2])
    }).pipe(Effect.scoped))
})
