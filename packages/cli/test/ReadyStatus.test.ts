import { RefreshPolicy, Selection, Session, SessionKey, TokenStorage, User } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, DateTime, Duration, Effect, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
// The command has no library of its own to import from.
// @ts-expect-error TS2878: the tests' project emits nothing
import * as ReadyStatus from "../src/ReadyStatus.ts"
// @ts-expect-error TS2878: the tests' project emits nothing
import * as StatusView from "../src/StatusView.ts"
import { data, type Home, home } from "./authn.ts"

const now = 1_800_000_000_000
const lives = [10_000, 600_000, 3_600_000]
const ages = [0, 0.3, 0.9, 0.99, 1, 2]

/** Sessions of all kinds, whose current token is of an age that tells something. */
const sessions = (count: number) =>
  Effect.map(
    Arbitrary.sampleEffect(Arbitrary.schema(Session.Session), { count }),
    (samples) =>
      samples.map((session, at) => {
        const [first] = Object.values(session.tokens)
        const life = lives[at % lives.length] ?? 0
        const issuedAt = Math.round(now - life * (ages[at % ages.length] ?? 0))
        return Session.update(session, {
          tokens: first === undefined || at % 10 === 9 ? {} : {
            [Selection.id(session.current)]: Object.assign({}, first, {
              issuedAt: DateTime.makeUnsafe(issuedAt),
              expiresAt: at % 8 === 7 ? Option.none() : Option.some(DateTime.makeUnsafe(issuedAt + life))
            })
          }
        })
      })
  )

const account = (name: string) => ({
  version: 1,
  name,
  dialect: "oidc",
  issuer: "https://iam.example.com",
  client: "the-client",
  place: "plain-file",
  window: 300_000,
  shortLivedFraction: 0.2
} as const)

/** An account with a session in the files of a home. */
const put = (home: Home, name: string, document: string, changes: object = {}) => {
  const key = SessionKey.SessionKey.make({
    issuer: account(name).issuer,
    clientId: account(name).client,
    account: name
  })
  const file = data(home, "sessions", FileTokenStorage.fileOf(key))
  fs.mkdirSync(data(home, "accounts"), { recursive: true })
  fs.mkdirSync(data(home, "sessions"), { recursive: true })
  fs.writeFileSync(data(home, "accounts", `${name}.json`), JSON.stringify({ ...account(name), ...changes }))
  fs.writeFileSync(file, document)
}

const keyed = (session: Session.Session, name: string): string => {
  const { session: document, version } = JSON.parse(TokenStorage.encode(session))
  const key = { issuer: account(name).issuer, client: account(name).client, account: name }
  return JSON.stringify({ version, session: { ...document, key } })
}

const environment = (home: Home) => ({ HOME: home.directory })

/** What both ways say. */
const both = Effect.fnUntraced(function*(home: Home, args: ReadonlyArray<string>) {
  const short = ReadyStatus.text(["status", ...args], environment(home), "linux", now, {
    isPainted: false,
    width: Number.POSITIVE_INFINITY
  })
  const long = yield* home.run(["status", ...args], { env: { AUTHN_STORAGE: undefined } })
  assert.strictEqual(long.code, 0, long.stderr)
  return { short, long: long.stdout }
})

describe("authn status, the short way", () => {
  it.effect("reads a document by the library's rules", () =>
    Effect.gen(function*() {
      const encode = Schema.encodeEffect(Session.Session)
      for (const session of yield* sessions(200)) {
        const view = StatusView.make(account("one"), yield* encode(session), { isCurrent: true, now, storage: "files" })
        const token = Session.currentToken(session)
        const policy = { ...RefreshPolicy.standard, window: Duration.minutes(5), shortLivedFraction: 0.2 }
        const until = Option.map(token, (token) => RefreshPolicy.freshUntil(policy, token))
        assert.strictEqual(view.user, Option.getOrUndefined(Option.map(session.user, User.label)))
        assert.strictEqual(view.dueAt, Option.getOrUndefined(Option.filter(until, Number.isFinite)))
        assert.strictEqual(StatusView.selectionId((yield* encode(session)).current), Selection.id(session.current))
        assert.strictEqual(
          view.issuedAt,
          Option.getOrUndefined(Option.map(token, ({ issuedAt }) => DateTime.toEpochMillis(issuedAt)))
        )
      }
    }))

  it.effect("says what the long way says, or leaves it to that", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now)
      const own = yield* home
      let answered = 0
      const samples = yield* sessions(60)
      fs.mkdirSync(data(own, "accounts"), { recursive: true })
      fs.writeFileSync(data(own, "accounts/current"), "two\n")
      for (let at = 0; at + 1 < samples.length; at += 2) {
        put(own, "one", keyed(samples[at]!, "one"))
        put(own, "two", keyed(samples[at + 1]!, "two"), at % 3 === 0 ? { scopes: ["a", "b"] } : {})
        for (const args of [[], ["--json"]]) {
          const { long, short } = yield* both(own, args)
          if (short === undefined) continue
          answered += 1
          assert.strictEqual(short, long)
        }
      }
      assert.isAtLeast(answered, 30)
    }).pipe(Effect.scoped))

  it.effect("leaves what is damaged or special to the long way", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now)
      const own = yield* home
      const samples = yield* sessions(60)
      const text = (more: Record<string, string> = {}) =>
        ReadyStatus.text(["status"], { ...environment(own), ...more }, "linux", now, {
          isPainted: false,
          width: Number.POSITIVE_INFINITY
        })
      // Some random sessions are special themselves.
      const good = samples.map((sample) => keyed(sample, "one")).find((document) => {
        put(own, "one", document)
        return text() !== undefined
      })
      assert(good !== undefined)
      for (const name of ["AUTHN_TOKEN", "AUTHN_ISSUER", "AUTHN_STORAGE", "DATALAYER_API_KEY", "EFFECT_AUTHN_KEY"]) {
        assert.isUndefined(text({ [name]: "x" }), name)
      }
      for (
        const changes of [
          { generation: "soon" },
          { strategy: 1 },
          { tokens: { "": { accessToken: "x", tokenType: "Bearer", issuedAt: "now" } } },
          { tokens: { "": { accessToken: "x y", tokenType: "Bearer", issuedAt: now } } },
          { grant: { _tag: "Wish" } },
          { dead: { cause: 1 } },
          { user: { id: "" } },
          { key: { issuer: "https://other.example.com", client: "the-client", account: "one" } }
        ]
      ) {
        const { session, version } = JSON.parse(good)
        put(own, "one", JSON.stringify({ version, session: { ...session, ...changes } }))
        assert.isUndefined(text(), JSON.stringify(changes))
      }
      for (
        const changes of [{ version: 2 }, { name: "two" }, { window: "soon" }, { place: "keyring" }]
      ) {
        put(own, "one", good, changes)
        assert.isUndefined(text(), JSON.stringify(changes))
      }
      put(own, "one", good)
      fs.mkdirSync(`${own.directory}/.config/effect-authn`, { recursive: true })
      fs.writeFileSync(`${own.directory}/.config/effect-authn/config.toml`, "")
      assert.isUndefined(text(), "a file of settings")
    }).pipe(Effect.scoped))
})
