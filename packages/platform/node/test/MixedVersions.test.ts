import {
  EncryptedTokenStorage,
  EncryptionKeys,
  Selection,
  Session,
  SessionKey,
  TokenSet,
  TokenStorage
} from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, DateTime, Effect, Layer, Option, Redacted, Schema } from "effect"
import { Base64 } from "effect/encoding"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { temporary } from "./children.ts"
import * as Earlier from "./earlierVersion.ts"
import { generationOf, get, use } from "./files.ts"

const key = SessionKey.SessionKey.make({
  issuer: "https://idp.example.com/realms/acme",
  clientId: "cli",
  account: "ada"
})
const at = (millis: number) => DateTime.makeUnsafe(millis)

const Document = Schema.fromJsonString(Earlier.Document)
const read = Schema.decodeEffect(Document)
const rewritten = (text: string) => Effect.flatMap(read(text), Schema.encodeEffect(Document))

const tokens = TokenSet.adopted({ accessToken: Redacted.make("at-1"), issuedAt: at(1_700_000_000_000) })

/** A session with every field that this version knows and the earlier one does not. */
const session = Session.Session.make({
  key,
  generation: 1_700_000_000_009,
  obtainedAt: Session.loginNumber(at(1_700_000_000_000), 0.5),
  durable: true,
  strategy: "browser",
  user: Option.none(),
  grant: Session.Grant.cases.RefreshToken.make({
    refreshToken: Redacted.make("rt-2"),
    expiresAt: at(1_700_009_000_000)
  }),
  tokens: { [Selection.id(Selection.none)]: tokens },
  current: Selection.none,
  dead: Option.some(Session.Tombstone.make({ at: at(1), cause: "invalid_grant", answerLost: false, buries: "digest" })),
  intent: Option.some(Session.Intent.make({
    at: at(2),
    selection: Selection.none,
    holder: "pid 1",
    nonce: "nonce",
    presentations: 2,
    firstAt: at(1)
  })),
  rotates: false,
  boughtWith: Session.Purchase.make({ token: "digest", presentation: 2 })
})

layer(NodeFileSystem.layer, { excludeTestServices: true })("one directory, this version and an earlier one", (it) => {
  for (const [name, text] of Object.entries(Earlier.documents)) {
    it.effect(`a file of the earlier one is found, read, and written again as it was: ${name}`, () =>
      Effect.gen(function*() {
        const directory = yield* temporary
        const path = Path.join(directory, Earlier.fileName)
        Fs.writeFileSync(path, text, { mode: 0o600 })
        const found = Option.getOrThrow(yield* use(directory, get(key)))
        yield* use(
          directory,
          TokenStorage.TokenStorage.use((storage) => storage.put(key, found, found.generation))
        )
        assert.strictEqual(Fs.readFileSync(path, "utf8"), text)
        assert.strictEqual(yield* rewritten(text), text)
      }))
  }

  it.effect("an encrypted file of the earlier one is found and read", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      Fs.writeFileSync(Path.join(directory, Earlier.fileName), Earlier.encrypted, { mode: 0o600 })
      const env = { EFFECT_AUTHN_KEY: Base64.encode(Earlier.key) }
      const found = yield* Effect.provide(
        get(key),
        EncryptedTokenStorage.layer(FileTokenStorage.layer({ directory })).pipe(
          Layer.provide(EncryptionKeys.layerEnvironment()),
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
        )
      )
      const { grant } = Option.getOrThrow(found)
      assert.isTrue(grant._tag === "RefreshToken" && Redacted.value(grant.refreshToken) === "rt-1")
    }))

  for (const [name, written] of [["every field", session], ["a mark", Session.signedOut(key, 9)]] as const) {
    it.effect(`a file of this one is found and read by the earlier one, which leaves out what it does not know: ${name}`, () =>
      Effect.gen(function*() {
        const directory = yield* temporary
        yield* use(directory, TokenStorage.TokenStorage.use((storage) => storage.put(key, written, 0)))
        const path = Path.join(directory, Earlier.fileName)
        const text = yield* rewritten(Fs.readFileSync(path, "utf8"))
        assert.notInclude(text, "nonce")
        Fs.writeFileSync(path, text)
        const found = yield* use(directory, get(key))
        assert.strictEqual(generationOf(found), written.generation)
        assert.isTrue(Option.exists(found, (again) =>
          Session.login(again) === Session.login(written) &&
          Session.isSignedOut(again) === Session.isSignedOut(written) &&
          Option.isSome(again.dead) === Option.isSome(written.dead) &&
          Option.isSome(again.intent) === Option.isSome(written.intent)))
      }))
  }

  it.effect.prop(
    "whatever session this one writes, the earlier one can read, or sees that it is newer: it never loses what it needs",
    { any: Session.Session },
    ({ any }) =>
      Effect.gen(function*() {
        const needs = any.proofKey !== undefined || (any.grant._tag === "Reissue" && any.grant.source !== undefined)
        const text = TokenStorage.encode(any)
        assert.strictEqual(JSON.parse(text).version, needs ? 2 : 1)
        if (!needs) yield* read(text)
      }),
    { arbitrary: { runs: 50 } }
  )
})
