import { AuthManager, Selection } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { count, document, iam, manager, passwordLogin, setup, stored, token } from "./fixtures.ts"

describe("export and import", () => {
  it.effect("carry a session to another program, which renews it when it first needs to", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin, { selection: { organization: "acme", project: "apollo" } })
      const exported = yield* auth.export
      assert.strictEqual(exported.token, yield* token)
      assert.strictEqual(exported.host, "https://iam.example")
      assert.strictEqual(exported.project, "apollo")
      assert.strictEqual(exported.account, "default")
      yield* auth.clearStoredToken
      const work = yield* AuthManager.make({ account: "work" })
      const calls = (yield* iam.use((scripted) => scripted.calls)).length
      const session = yield* work.import(JSON.parse(JSON.stringify(exported)))
      assert.strictEqual((yield* iam.use((scripted) => scripted.calls)).length, calls)
      assert.strictEqual(session.strategy, "import")
      assert.strictEqual(session.key.account, "work")
      assert.strictEqual(Selection.id(session.current), "organization=acme&project=apollo")
      const text = JSON.stringify(exported)
      assert.strictEqual(
        JSON.stringify(yield* work.export),
        text.replace("\"account\":\"default\"", "\"account\":\"work\"")
      )
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* work.token
      assert.strictEqual(yield* count("renew"), 1)
    }).pipe(Effect.provide(setup())))

  it.effect("read camelCase, unknown and null members, and a document without a version", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      const session = yield* auth.import({
        token: "Bearer given",
        refreshToken: "refresh",
        tokenType: "DPoP",
        env: null,
        theme: "dark",
        version: null
      })
      assert.strictEqual(Redacted.value(yield* auth.bearer), "DPoP given")
      assert.strictEqual(session.grant._tag, "RefreshToken")
    }).pipe(Effect.provide(setup())))

  it.effect("of a token alone is a session that nothing renews", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.strictEqual((yield* auth.import({ token: "given" })).grant._tag, "None")
      assert.strictEqual(yield* token, "given")
    }).pipe(Effect.provide(setup())))

  it.effect("refuse what is no such document, and leave the session as it was", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      yield* auth.login(passwordLogin)
      const before = yield* document
      const bad: ReadonlyArray<readonly [unknown, string]> = [
        ["text", "not a document of an exported session"],
        [null, "not a document of an exported session"],
        [{ token: 1 }, "not a document of an exported session"],
        [{ token: "x", version: 2 }, "of version 2, this program reads version 1"],
        [{ token: "x", host: "https://other.example" }, "of another host"],
        [{ refresh_token: "x" }, "no token that can be sent"],
        [{ token: "a\nb" }, "no token that can be sent"],
        [{ token: "x", refresh_token: "r\nhost=evil.example" }, "refresh token has a character that no such token has"],
        [{ token: "x", token_type: "a b" }, "token type is not a word"]
      ]
      for (const [given, message] of bad) {
        const error = yield* Effect.flip(auth.import(given))
        assert.strictEqual(error._tag, "IamError")
        assert.include(error.message, message)
      }
      assert.deepStrictEqual(yield* document, before)
    }).pipe(Effect.provide(setup())))

  it.effect("write nothing where nothing shall be stored, and show nothing of nobody", () =>
    Effect.gen(function*() {
      const auth = yield* manager
      assert.strictEqual((yield* Effect.flip(auth.export))._tag, "NotAuthenticated")
      yield* auth.import({ token: "given" }, { store: false })
      assert.strictEqual(yield* token, "given")
      assert.isTrue(Option.isNone(yield* stored))
    }).pipe(Effect.provide(setup())))
})
