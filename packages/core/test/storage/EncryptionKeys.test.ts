import { EncryptionKeys, type TokenStorageError } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Formatter, Layer, Option, Redacted, Ref, Result } from "effect"
import { Digest } from "effect/crypto"
import { Base64, Base64Url } from "effect/encoding"

const bytesOf = (fill: number) => new Uint8Array(32).fill(fill)
const one = Base64.encode(bytesOf(255))
const two = Base64Url.encode(bytesOf(2))

const source = Effect.flatMap(EncryptionKeys.EncryptionKeys, Effect.succeed)
const locked = <A>(effect: Effect.Effect<A, TokenStorageError.StorageKeyUnavailable>) =>
  Effect.map(Effect.flip(effect), String)

const environment = (env: Record<string, string>) =>
  EncryptionKeys.layerEnvironment().pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))

describe("keys as text", () => {
  it("are 32 bytes of Base64 or Base64url, apart by white space or commas", () => {
    const keys = Result.getOrThrow(EncryptionKeys.parse(Redacted.make(` ${one}\n${two},${two}\n`)))
    assert.deepStrictEqual(keys.map(Redacted.value), [bytesOf(255), bytesOf(2), bytesOf(2)])
  })

  for (
    const [name, text] of [
      ["nothing", " \n"],
      ["too short", Base64.encode(bytesOf(1).subarray(1))],
      ["too long", Base64.encode(new Uint8Array(33))],
      ["no Base64", "canary-51c7!"],
      ["a passphrase", "canary horse battery staple"]
    ] as const
  ) {
    it(`are refused when there is ${name}, and none of it is shown`, () => {
      const failure = Result.getOrThrow(Result.flip(EncryptionKeys.parse(Redacted.make(text))))
      assert.notInclude(failure, "canary")
      assert.isAbove(failure.length, 10)
    })
  }
})

describe("a key from the environment", () => {
  it.effect("encrypts with the first one and finds the others by name", () =>
    Effect.gen(function*() {
      const both = yield* source
      const [first, second] = yield* Effect.forEach([one, two], (text) =>
        Effect.flatMap(source, (keys) => keys.current).pipe(Effect.provide(environment({ AUTHN_KEY: text }))))
      assert.strictEqual((yield* both.current).name, first!.name)
      const older = yield* both.named(second!.name)
      assert.deepStrictEqual(
        Option.map(older, (key) =>
          Redacted.value(key.bytes)),
        Option.some(bytesOf(2))
      )
      assert.isTrue(Option.isNone(yield* both.named("another")))
    }).pipe(Effect.provide(environment({ AUTHN_KEY: `${one} ${two}` }))))

  it.effect("says which variable is missing or wrong, when it is needed", () =>
    Effect.gen(function*() {
      const missing = yield* Effect.provide(source, environment({}))
      assert.include(yield* locked(missing.current), "AUTHN_KEY is not set")
      const wrong = yield* Effect.provide(source, environment({ AUTHN_KEY: "canary-51c7" }))
      const shown = yield* locked(wrong.available)
      assert.include(shown, "AUTHN_KEY")
      assert.notInclude(shown, "canary")
    }))

  it.effect("shows no key, and its name tells nothing of it", () =>
    Effect.gen(function*() {
      const key = yield* Effect.flatMap(source, (keys) => keys.current)
      const shown = `${Formatter.format(key)} ${Formatter.formatJson(key)} ${key.name}`
      assert.notInclude(shown, one.slice(0, 8))
    }).pipe(Effect.provide(environment({ AUTHN_KEY: one }))))
})

describe("a key from a file", () => {
  it.effect("is read when it is needed, and the error names the file", () =>
    Effect.gen(function*() {
      const files = new Map<string, string>()
      const fs = FileSystem.layerNoop({
        readFileString: (path) => Effect.sync(() => files.get(path)!)
      })
      const keys = yield* Effect.provide(source, Layer.provide(EncryptionKeys.layerFile("/run/key"), fs))
      assert.strictEqual(keys.description, "a key from /run/key")
      files.set("/run/key", "canary")
      assert.include(yield* locked(keys.current), "/run/key")
      files.set("/run/key", `${one}\n`)
      assert.deepStrictEqual(Redacted.value((yield* keys.current).bytes), bytesOf(255))
    }))
})

describe("a source that is loaded", () => {
  it.effect("is loaded once, and once more for a key it does not know", () =>
    Effect.gen(function*() {
      const loads = yield* Ref.make(0)
      const keys = yield* EncryptionKeys.make({
        description: "test",
        atRest: "encrypted",
        load: Effect.map(Ref.updateAndGet(loads, (n) => n + 1), (n) =>
          [bytesOf(1), ...n > 1 ? [bytesOf(2)] : []].map((bytes) => Redacted.make(bytes)))
      })
      const second = yield* Effect.flatMap(
        EncryptionKeys.make({
          description: "",
          atRest: "encrypted",
          load: Effect.succeed([Redacted.make(bytesOf(2))])
        }),
        (other) =>
          other.current
      )
      yield* Effect.all([keys.current, keys.current, keys.current], { concurrency: "unbounded" })
      assert.strictEqual(yield* Ref.get(loads), 1)
      assert.isTrue(Option.isSome(yield* keys.named(second.name)))
      assert.strictEqual(yield* Ref.get(loads), 2)
    }).pipe(Effect.provide(Digest.layerWebCrypto)))

  it.effect("makes its first key when it is to encrypt, and never to read", () =>
    Effect.gen(function*() {
      const stored = yield* Ref.make<ReadonlyArray<Redacted.Redacted<Uint8Array>>>([])
      const keys = yield* EncryptionKeys.make({
        description: "test",
        atRest: "keychain",
        load: Ref.get(stored),
        create: Ref.set(stored, [Redacted.make(bytesOf(7))])
      })
      assert.isTrue(Option.isNone(yield* keys.named("another")))
      assert.strictEqual((yield* Ref.get(stored)).length, 0)
      assert.deepStrictEqual(Redacted.value((yield* keys.current).bytes), bytesOf(7))
    }).pipe(Effect.provide(Digest.layerWebCrypto)))
})

describe("a key from a passphrase", () => {
  const passphrase = (text: string, previous: ReadonlyArray<string> = []) =>
    Effect.provide(
      source,
      EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make(text)), {
        previous: previous.map((text) => Redacted.make(text))
      })
    )

  it.effect("is the same for whoever has the passphrase and the name, whatever the keyboard", () =>
    Effect.gen(function*() {
      const key = yield* Effect.flatMap(passphrase("caf\u00e9"), (keys) => keys.current)
      assert.match(key.name, /^pbkdf2-sha256\.600000\.[\w-]{22}\.[\w-]{22}$/)
      const same = yield* Effect.flatMap(passphrase("cafe\u0301"), (keys) => keys.named(key.name))
      assert.deepStrictEqual(
        Option.map(same, ({ bytes }) => Redacted.value(bytes)),
        Option.some(Redacted.value(key.bytes))
      )
      const wrong = yield* Effect.flatMap(passphrase("cafe"), (keys) => keys.named(key.name))
      assert.isTrue(Option.isNone(wrong))
    }))

  it.effect("takes the salt of what it has read, but not for a previous passphrase", () =>
    Effect.gen(function*() {
      const old = yield* Effect.flatMap(passphrase("old"), (keys) => keys.current)
      const same = yield* passphrase("old")
      yield* same.named(old.name)
      assert.strictEqual((yield* same.current).name, old.name)
      const next = yield* passphrase("new", ["old"])
      assert.isTrue(Option.isSome(yield* next.named(old.name)))
      assert.notStrictEqual((yield* next.current).name, old.name)
    }))

  it.effect("is not derived at whatever cost a file asks for", () =>
    Effect.gen(function*() {
      const keys = yield* passphrase("any")
      for (const count of ["99999999999", "2147483647", "0", "-1", "1.5", "x", ""]) {
        assert.isTrue(Option.isNone(yield* keys.named(`pbkdf2-sha256.${count}.AAAA.AAAA`)), count)
      }
    }))

  it.effect("is asked for when it is needed, once, and again after a failure", () =>
    Effect.gen(function*() {
      const asked = yield* Ref.make(0)
      const ask = Effect.flatMap(Ref.updateAndGet(asked, (n) => n + 1), (n) =>
        n === 1 ? Effect.fail({ message: "nobody at the keyboard" }) : Effect.succeed(Redacted.make("x")))
      const keys = yield* Effect.provide(source, EncryptionKeys.layerPassphrase(ask))
      assert.strictEqual(yield* Ref.get(asked), 0)
      assert.include(yield* locked(keys.available), "nobody at the keyboard")
      yield* keys.available
      yield* Effect.all([keys.current, keys.current], { concurrency: "unbounded" })
      assert.strictEqual(yield* Ref.get(asked), 2)
    }))

  it.effect("is not made of nothing", () =>
    Effect.gen(function*() {
      const keys = yield* passphrase("")
      assert.include(yield* locked(keys.current), "empty")
    }))
})
