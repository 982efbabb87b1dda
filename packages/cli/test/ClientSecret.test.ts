import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { browserOf, data, type Home, provided, visit } from "./authn.ts"

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
})
