import { RefreshPolicy, SessionKey, TokenSet } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, DateTime, Duration, Effect, Option, Redacted } from "effect"
import { UserDirectories } from "effect/persistence"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
// The command has no library of its own to import from.
// @ts-expect-error TS2878: the tests' project emits nothing
import * as ReadySession from "../src/ReadySession.ts"
// @ts-expect-error TS2878: the tests' project emits nothing
import * as ReadyToken from "../src/ReadyToken.ts"
import { expire, fileOf, login, main, simulated } from "./authn.ts"

const now = 1_800_000_000_000
const key = { issuer: "https://iam.example.com", client: "datalayer", account: "default" }

/** A home with one account whose token was issued and expires at these times. */
const homeWith = (times: { readonly issuedAt: number; readonly expiresAt?: number }, changes?: {
  readonly account?: object
  readonly session?: object
}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const home = fs.mkdtempSync(path.join(os.tmpdir(), "authn-fast-"))
      const data = path.join(home, ".local/share/effect-authn")
      fs.mkdirSync(path.join(data, "accounts"), { recursive: true })
      const named = FileTokenStorage.fileOf(
        SessionKey.SessionKey.make({ issuer: key.issuer, clientId: key.client, account: key.account })
      )
      fs.mkdirSync(path.join(data, "sessions"))
      const file = path.join(data, "sessions", named)
      fs.writeFileSync(path.join(data, "accounts/current"), "default\n")
      fs.writeFileSync(
        path.join(data, "accounts/default.json"),
        JSON.stringify({
          version: 1,
          name: "default",
          dialect: "datalayer",
          ...key,
          place: "plain-file",
          window: 300_000,
          shortLivedFraction: 0.2,
          ...changes?.account
        })
      )
      const tokens = { accessToken: "the-token", tokenType: "Bearer", ...times }
      const session = {
        key,
        generation: 1,
        durable: true,
        strategy: "password",
        grant: { _tag: "None" },
        current: {},
        tokens: { "": tokens },
        ...changes?.session
      }
      fs.writeFileSync(file, JSON.stringify({ version: 1, session }))
      return home
    }),
    (home) => Effect.sync(() => fs.rmSync(home, { recursive: true }))
  )

const find = (home: string, args: ReadonlyArray<string> = [], env: Record<string, string> = {}) =>
  ReadyToken.find(["token", ...args], { HOME: home, ...env }, "linux", now)

describe("ReadyToken", () => {
  it.effect("takes a token for fresh exactly where the refresh policy does", () =>
    Effect.gen(function*() {
      const policy = { ...RefreshPolicy.standard, window: Duration.minutes(5) }
      for (const life of [10_000, 500_000, 600_000, 700_000, 3_600_000]) {
        for (const left of [-1, 0, 1999, 2000, 2001, 100_000, 299_999, 300_000, 300_001, 3_000_000]) {
          if (left > life) continue
          const times = { issuedAt: now + left - life, expiresAt: now + left }
          const tokens = TokenSet.TokenSet.make({
            accessToken: Redacted.make("x"),
            tokenType: "Bearer",
            issuedAt: DateTime.makeUnsafe(times.issuedAt),
            expiresAt: Option.some(DateTime.makeUnsafe(times.expiresAt)),
            idToken: Option.none(),
            scope: Option.none()
          })
          const isFresh = now <= RefreshPolicy.freshUntil(policy, tokens)
          assert.strictEqual(find(yield* homeWith(times)) !== undefined, isFresh, `life ${life}, left ${left}`)
        }
      }
    }))

  it.effect("leaves everything special to the long way", () =>
    Effect.gen(function*() {
      const times = { issuedAt: now, expiresAt: now + 3_600_000 }
      const home = yield* homeWith(times)
      assert.strictEqual(find(home), "the-token")
      assert.strictEqual(find(home, ["--header"]), "Authorization: Bearer the-token")
      assert.strictEqual(find(home, ["--min-ttl", "59m"]), "the-token")
      assert.strictEqual(find(yield* homeWith({ issuedAt: now })), "the-token")
      assert.strictEqual(find(home, ["--account=default"], { DATALAYER_API_KEY: "key" }), "the-token")
      for (
        const args of [
          ["--min-ttl=61m"],
          ["--min-ttl", "soon"],
          ["--json"],
          ["--project", "p"],
          ["--account"],
          ["--account", "../x"],
          ["--account", "other"],
          ["x"]
        ]
      ) {
        assert.isUndefined(find(home, args), args.join(" "))
      }
      for (
        const name of [
          "AUTHN_TOKEN",
          "AUTHN_ISSUER",
          "AUTHN_DIALECT",
          "AUTHN_CLIENT_ID",
          "DATALAYER_API_KEY",
          "DATALAYER_ACCESS_TOKEN"
        ]
      ) {
        assert.isUndefined(find(home, [], { [name]: "x" }), name)
      }
      for (
        const changes of [
          // a file that is not encrypted, whatever the keychain has
          { account: { place: "keyring" } },
          { account: { issuer: "https://other.example.com" } },
          { account: { version: 2 } },
          { account: { window: "soon" } },
          { session: { dead: { at: 1 } } },
          { session: { current: { project: "p" } } },
          { session: { key: { ...key, account: "other" } } }
        ]
      ) assert.isUndefined(find(yield* homeWith(times, changes)), JSON.stringify(changes))
    }))

  it.effect("finds the directory that Effect finds", () =>
    Effect.gen(function*() {
      for (const platform of ["linux", "darwin"]) {
        for (
          const env of [{ HOME: "/home/ada" }, { HOME: "/home/ada", XDG_CONFIG_HOME: "/config" }, {
            HOME: "/home/ada",
            XDG_DATA_HOME: "/data"
          }, {
            HOME: "/home/ada",
            XDG_DATA_HOME: "relative"
          }]
        ) {
          const directories = UserDirectories.make({ platform })
          for (const kind of ["data", "config"] as const) {
            const expected = yield* directories[kind]("effect-authn").pipe(
              Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
            )
            assert.strictEqual(ReadySession.directory(kind, env, platform), expected)
          }
        }
      }
    }))

  it.live("is the way of the sessions that logins leave: the file with everything else is not even there", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const alone = path.join(home.directory, "alone.mjs")
        fs.copyFileSync(main, alone)
        const AUTHN_KEY = Buffer.alloc(32, 7).toString("base64")
        const keys = `${Buffer.alloc(32, 9).toString("base64")},${AUTHN_KEY.replaceAll("/", "_")}`
        for (
          const [name, dialect, options, env] of [
            ["one", "datalayer", [], {}],
            ["two", "genomcore", [], {}],
            ["sealed", "datalayer", ["--storage", "encrypted-file"], { AUTHN_KEY }],
            ["rotated", "genomcore", ["--storage", "encrypted-file"], { AUTHN_KEY }]
          ] as const
        ) {
          yield* login(home, simulator.issuer, dialect, ["--account", name, ...options], env)
          const args = ["token", "--account", name]
          const long = yield* home.run([...args, "--json"], { env })
          const { token } = JSON.parse(long.stdout)
          const given = name === "rotated" ? { AUTHN_KEY: keys } : env
          const short = yield* home.spawn(args, { main: alone, env: given })
          assert.deepStrictEqual([short.stdout, short.stderr, short.code], [`${token}\n`, "", 0], name)
        }
        expire(home, Date.now() - 1000, "two")
        assert.notStrictEqual((yield* home.spawn(["token", "--account", "two"], { main: alone })).code, 0)

        // Without the key, with another one, or altered by a byte, it is for the long way to say so.
        const file = fileOf(home, "sealed")
        const find = (env: Record<string, string>) =>
          ReadyToken.find(["token", "--account", "sealed"], { HOME: home.directory, ...env }, "linux", Date.now())
        assert.isDefined(find({ AUTHN_KEY }))
        assert.isUndefined(find({}))
        assert.isUndefined(find({ AUTHN_KEY: Buffer.alloc(32, 8).toString("base64") }))
        assert.isUndefined(find({ AUTHN_KEY: "short" }))
        const text = fs.readFileSync(file, "utf8")
        const { sealed, version } = JSON.parse(text)
        for (
          const changed of [{ of: "0".repeat(64) }, {
            data: sealed.data.replace(/^./, (first: string) => first === "A" ? "B" : "A")
          }, { nonce: "" }]
        ) {
          fs.writeFileSync(file, JSON.stringify({ version, sealed: { ...sealed, ...changed } }))
          assert.isUndefined(find({ AUTHN_KEY }), Object.keys(changed).join())
        }
      })))
})
