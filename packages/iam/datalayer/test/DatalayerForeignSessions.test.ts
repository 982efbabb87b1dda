import { DatalayerForeignSessions } from "@effect-authn/iam-datalayer"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Formatter, Layer, Option, PlatformError, Redacted } from "effect"

const issuer = "https://prod1.example"

const notFound = PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "readFileString" })

/** A machine with some files; whatever is not reading fails the test. */
const machine = (files: Record<string, string>, home: Record<string, string> = { HOME: "/home/ada" }) =>
  Layer.merge(
    FileSystem.layerNoop({
      readFileString: (path) => path in files ? Effect.succeed(files[path]!) : Effect.fail(notFound)
    }),
    ConfigProvider.layer(ConfigProvider.fromEnv({ env: home }))
  )

const keychain = (entries: Record<string, string>) => (service: string, account: string) =>
  Effect.sync(() => Option.map(Option.fromNullishOr(entries[`${service} ${account}`]), (text) => Redacted.make(text)))

const plain = Effect.map((found: ReadonlyArray<DatalayerForeignSessions.ForeignSession>) =>
  found.map(({ isOfIssuer, place, token }) => [place, Redacted.value(token), isOfIssuer])
)

describe("what other clients left behind", () => {
  it.effect("is found in the keychain under the address as it was typed, and in the file", () =>
    Effect.gen(function*() {
      const found = yield* plain(DatalayerForeignSessions.find({
        issuer: `${issuer}/api/iam/v1`,
        keychain: keychain({
          "https://prod1.example access_token": "one",
          "https://prod1.example/ access_token": "Bearer two",
          "https://other.example access_token": "another IAM's",
          "https://prod1.example user": "no token"
        })
      }))
      assert.deepStrictEqual(found, [
        ["the keychain, entry \"access_token\" of https://prod1.example", "one", true],
        ["the keychain, entry \"access_token\" of https://prod1.example/", "two", true],
        ["/home/ada/.datalayer/auth.json", "three", false]
      ])
    }).pipe(Effect.provide(machine({ "/home/ada/.datalayer/auth.json": "{\n  \"access_token\": \"three\"\n}" }))))

  for (const text of ["", "{}", "[]", "null", "not JSON", "{\"access_token\":null}", "{\"access_token\":\"\"}"]) {
    it.effect(`is nothing in a file of ${text || "nothing"}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* DatalayerForeignSessions.find({ issuer }), [])
      }).pipe(Effect.provide(machine({ "/home/ada/.datalayer/auth.json": text }))))
  }

  it.effect("is nothing where there is no home, no file and no working keychain", () =>
    Effect.gen(function*() {
      const found = yield* DatalayerForeignSessions.find({ issuer, keychain: () => Effect.fail({ message: "locked" }) })
      assert.deepStrictEqual(found, [])
    }).pipe(Effect.provide(machine({}, {}))))

  it.effect("shows no token", () =>
    Effect.gen(function*() {
      const found = yield* DatalayerForeignSessions.find({ issuer })
      assert.strictEqual(found.length, 1)
      assert.notInclude(`${Formatter.format(found)}${Formatter.formatJson(found)}`, "canary")
    }).pipe(Effect.provide(machine({ "/home/ada/.datalayer/auth.json": "{\"access_token\":\"canary-9a3\"}" }))))
})
