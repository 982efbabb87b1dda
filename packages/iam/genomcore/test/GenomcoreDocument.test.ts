import { type ExportDocument, Selection, Session } from "@effect-authn/core"
import type { GenomcoreOptions } from "@effect-authn/iam-genomcore"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Option, Redacted, Schema } from "effect"
import { inspect } from "node:util"
import { acmeIn, dialect, jwt, refreshTokenOf, refusal, session, shown } from "./fixtures.ts"

const token = jwt({ iat: -1800, exp: 1800, sub: "1" })
const minimal = { token, refresh_token: "canary-refresh", env: "prod" }
const environments = {
  prod: "https://auth.example.com",
  alias: "https://auth.example.com:443/",
  dev: "https://auth-dev.example.com"
}

const decode = (document: unknown, options: GenomcoreOptions.GenomcoreOptions = {}) =>
  Effect.flatMap(
    dialect({ host: undefined, environments, ...options }),
    ({ document: codec }) => codec.decode(document)
  )

const restored = (imported: ExportDocument.Imported): Session.Session => session(imported, imported.selection)

const refused = (document: unknown) =>
  Effect.map(refusal(decode(document), token, "canary-refresh"), (reason) => {
    assert.strictEqual(reason._tag, "Misconfigured", reason.message)
    return reason.message
  })

describe("row 13 to_json", () => {
  it.effect("writes the seed's three keys and what goes with them", () =>
    Effect.gen(function*() {
      const here = yield* dialect()
      const current = session(yield* here.document.decode(minimal), acmeIn("FD1"))
      assert.deepStrictEqual(here.document.encode(current), {
        version: 1,
        token,
        refresh_token: "canary-refresh",
        env: "prod",
        token_type: "Bearer",
        host: "https://auth.example.com",
        organization: "acme",
        project: "FD1",
        account: "default"
      })
    }))

  it.effect("leaves out what the session does not have", () =>
    Effect.gen(function*() {
      const here = yield* dialect()
      const bare = restored(yield* here.document.decode({ token }))
      assert.deepStrictEqual(
        Object.keys(here.document.encode(bare)).sort(),
        ["account", "env", "host", "token", "token_type", "version"]
      )
      assert.deepStrictEqual(
        Object.keys(here.document.encode(Session.update(bare, { tokens: {} }))).sort(),
        ["account", "env", "host", "version"]
      )
    }))

  it.effect("reads the seed's three keys, and the same in camelCase", () =>
    Effect.gen(function*() {
      for (
        const document of [minimal, { token, refreshToken: "canary-refresh", tokenType: "JWT", env: null, other: [1] }]
      ) {
        const imported = yield* decode(document)
        assert.strictEqual(Redacted.value(imported.tokens.accessToken), token)
        assert.strictEqual(refreshTokenOf(imported), "canary-refresh")
        assert.strictEqual(imported.tokens.tokenType, "tokenType" in document ? "JWT" : "Bearer")
        assert.deepStrictEqual(imported.selection, Selection.none)
        assert.deepStrictEqual(imported.account, Option.none())
      }
    }))

  it.effect("a token's life is its own: it does not begin with the import", () =>
    Effect.gen(function*() {
      const times = ({ tokens }: ExportDocument.Imported) => [
        DateTime.toEpochMillis(tokens.issuedAt),
        Option.getOrUndefined(Option.map(tokens.expiresAt, DateTime.toEpochMillis))
      ]
      assert.deepStrictEqual(times(yield* decode({ token })), [-1_800_000, 1_800_000])
      assert.deepStrictEqual(times(yield* decode({ token: jwt({ iat: 60, exp: 1800 }) })), [0, 1_800_000])
      assert.deepStrictEqual(times(yield* decode({ token: jwt({ exp: -10 }) })), [0, -10_000])
      assert.deepStrictEqual(times(yield* decode({ token: "garbage" })), [0, undefined])
    }))

  const NonEmpty = Schema.String.check(Schema.isMinLength(1), Schema.makeFilter((text) => text.isWellFormed()))
  it.effect.prop(
    "round trip: what is written is what is read, also through text and another client's spelling",
    [
      Schema.String.check(Schema.isPattern(/^[\x20-\x7e]+$/)),
      NonEmpty,
      Schema.Struct({
        organization: Schema.optionalKey(NonEmpty),
        project: Schema.optionalKey(NonEmpty)
      })
    ],
    ([refreshToken, account, selected]) =>
      Effect.gen(function*() {
        const here = yield* dialect({ tokenType: "JWT" })
        const imported = yield* here.document.decode({ token, refreshToken, account, ...selected })
        assert.strictEqual(refreshTokenOf(imported), refreshToken)
        assert.deepStrictEqual(imported.account, Option.some(account))
        assert.deepStrictEqual(imported.selection, Selection.make(selected))

        const document = here.document.encode(restored(imported))
        const text: unknown = JSON.parse(JSON.stringify(document))
        const { refresh_token, token_type, ...rest } = document
        const camelCase = { ...rest, refreshToken: refresh_token, tokenType: token_type }
        for (const variant of [document, text, camelCase]) {
          const again = yield* here.document.decode(variant)
          const { account: _, ...expected } = { ...imported }
          const { account: written, ...found } = again
          assert.deepStrictEqual(found, expected)
          assert.deepStrictEqual(written, Option.some("default"))
        }
      })
  )

  it.effect("a host is taken only if it is this client's own", () =>
    Effect.gen(function*() {
      for (const host of ["https://auth.example.com", "https://auth.example.com:443/", "", null]) {
        yield* decode({ ...minimal, host })
      }
      for (
        const host of [
          "https://evil.example",
          "https://auth.example.com.evil.example",
          "https://auth.example.com@evil.example",
          "https://auth.example.com/path",
          "http://auth.example.com",
          "https://auth-dev.example.com",
          "nonsense"
        ]
      ) {
        assert.include(yield* refused({ ...minimal, host }), "another host")
      }
    }))

  it.effect("an environment must be this client's, by name or by origin", () =>
    Effect.gen(function*() {
      for (const env of ["prod", "alias", "", null]) yield* decode({ ...minimal, env })
      for (const env of ["dev", "staging", "constructor", "__proto__", "PROD"]) {
        const message = yield* refused({ ...minimal, env })
        for (const part of [`"${env}"`, `"prod"`]) assert.include(message, part)
      }
    }))

  it.effect("a newer version is refused, and the message names both", () =>
    Effect.gen(function*() {
      yield* decode({ ...minimal, version: 1 })
      for (const version of [2, 99]) {
        const message = yield* refused({ ...minimal, version })
        assert.match(message, new RegExp(`version ${version}.*version 1`))
      }
    }))

  it.effect("wrong types are refused, and the message shows no value", () =>
    Effect.gen(function*() {
      for (
        const document of [
          null,
          undefined,
          "canary-refresh",
          [],
          [minimal],
          42,
          { ...minimal, token: 42 },
          { ...minimal, refresh_token: { canary: 1 } },
          { ...minimal, project: 7 },
          { ...minimal, version: "1" },
          { ...minimal, version: 1.5 },
          { ...minimal, version: 0 },
          { ...minimal, env: 1 },
          { ...minimal, token_type: "a b" },
          { ...minimal, token: "canary-refresh\n" },
          { refresh_token: "canary-refresh" },
          {}
        ]
      ) {
        assert.notInclude(yield* refused(document), "canary", inspect(document))
      }
    }))

  it.effect("what was read shows no secret", () =>
    Effect.gen(function*() {
      const imported = yield* decode(minimal)
      for (const value of [imported, restored(imported)]) {
        for (const secret of [token, "canary"]) assert.notInclude(shown(value), secret)
      }
    }))
})
