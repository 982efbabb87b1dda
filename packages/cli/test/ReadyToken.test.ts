import { RefreshPolicy, TokenSet } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, DateTime, Duration, Effect, Option, Redacted } from "effect"
import { UserDirectories } from "effect/persistence"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
// The command has no library of its own to import from.
// @ts-expect-error TS2878: the tests' project emits nothing
import * as ReadyToken from "../src/ReadyToken.ts"
import { expire, login, main, simulated, storedToken } from "./authn.ts"

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
      const file = path.join(data, "session.json")
      fs.writeFileSync(path.join(data, "accounts/current"), "default\n")
      fs.writeFileSync(
        path.join(data, "accounts/default.json"),
        JSON.stringify({
          version: 1,
          name: "default",
          dialect: "datalayer",
          ...key,
          place: "plain-file",
          file,
          window: 300_000,
          shortLivedFraction: 0.2,
          ...changes?.account
        })
      )
      const tokens = { accessToken: "the-token", tokenType: "Bearer", ...times }
      const session = { key, current: {}, tokens: { "": tokens }, ...changes?.session }
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
          { account: { place: "keyring" } },
          { account: { issuer: "https://other.example.com" } },
          { account: { version: 2 } },
          { account: { file: "/nowhere" } },
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
          const env of [{ HOME: "/home/ada" }, { HOME: "/home/ada", XDG_DATA_HOME: "/data" }, {
            HOME: "/home/ada",
            XDG_DATA_HOME: "relative"
          }]
        ) {
          const expected = yield* UserDirectories.make({ platform }).data("effect-authn").pipe(
            Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
          )
          assert.strictEqual(ReadyToken.dataDirectory(env, platform), expected)
        }
      }
    }))

  it.live("is the way of the sessions that logins leave: what is packed behind it is not even read", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const text = fs.readFileSync(main, "latin1")
        const packed = text.lastIndexOf("/*packed:")
        assert.isAbove(packed, 0)
        const damaged = path.join(home.directory, "damaged.mjs")
        fs.writeFileSync(damaged, `${text.slice(0, packed)}/*packed:garbage*/\n`, "latin1")
        for (const dialect of ["datalayer", "genomcore"] as const) {
          yield* login(home, simulator.issuer, dialect, ["--account", dialect])
          const args = ["token", "--account", dialect]
          const short = yield* home.spawn(args, { main: damaged })
          assert.deepStrictEqual(
            [short.stdout, short.stderr, short.code],
            [`${storedToken(home, dialect)}\n`, "", 0],
            dialect
          )
        }
        expire(home, Date.now() - 1000, "genomcore")
        assert.notStrictEqual((yield* home.spawn(["token", "--account", "genomcore"], { main: damaged })).code, 0)
      })))
})
