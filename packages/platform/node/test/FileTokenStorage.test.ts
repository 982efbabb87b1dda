import { TokenStorage } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Schedule, Stream } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { run, temporary } from "./children.ts"
import { key } from "./children/fixture.ts"
import { filesIn, generationOf, get, modeOf, put, reason, remove, sessionFile, use } from "./files.ts"

layer(NodeFileSystem.layer, { excludeTestServices: true })("FileTokenStorage", (it) => {
  it.effect("building the layer touches nothing", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporary, "a", "b")
      const description = yield* use(directory, Effect.map(TokenStorage.TokenStorage, (_) => _.description))
      assert.strictEqual(description, `files in ${directory}`)
      assert.isTrue(Option.isNone(yield* use(directory, get())))
      assert.isFalse(Fs.existsSync(Path.dirname(directory)))
    }))

  it.effect("the default directory is in XDG_DATA_HOME, on every system", () =>
    Effect.gen(function*() {
      const home = yield* temporary
      yield* put(1, 0).pipe(
        Effect.provide(
          Layer.provide(
            FileTokenStorage.layer(),
            ConfigProvider.layer(ConfigProvider.fromEnv({ env: { XDG_DATA_HOME: home } }))
          )
        )
      )
      assert.lengthOf(filesIn(Path.join(home, "effect-authn", "sessions")), 1)
      assert.strictEqual(modeOf(Path.join(home, "effect-authn")), "700")
    }))

  it.effect("without a home, every use says what to set, and nothing else fails", () =>
    Effect.gen(function*() {
      const storage = yield* TokenStorage.TokenStorage
      for (const attempt of [Effect.asVoid(storage.get(key)), Effect.asVoid(storage.keys), put(1, 0), remove(1)]) {
        const error = yield* Effect.flip(attempt)
        assert.strictEqual(reason(error), "StorageUnavailable")
        assert.match(error.message, /HOME is not set|USERPROFILE is not set/)
        assert.match(error.message, /XDG_DATA_HOME/)
      }
    }).pipe(
      Effect.provide(Layer.provide(FileTokenStorage.layer(), ConfigProvider.layer(ConfigProvider.fromEnv({ env: {} }))))
    ))

  it.effect("the name of a file tells host and account, and no secret of the issuer's address", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, put(1, 0))
      const [name] = filesIn(directory)
      assert.match(name!, /^iam\.example_8443-default-[0-9a-f]{16}\.json$/)
    }))

  for (const mask of ["000", "077"]) {
    it.effect(`only the user can read, under umask ${mask}`, () =>
      Effect.gen(function*() {
        const directory = Path.join(yield* temporary, "data", "sessions")
        yield* run("umask", directory, mask)
        const locks = Path.join(directory, "locks")
        assert.deepStrictEqual([directory, locks].map(modeOf), ["700", "700"])
        assert.strictEqual(modeOf(sessionFile(directory)), "600")
        const lockModes = Fs.readdirSync(locks).map((name) => modeOf(Path.join(locks, name)))
        assert.deepStrictEqual(lockModes, ["600", "600"])
      }))
  }

  it.effect("what a dead writer left goes with the session", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, put(1, 0))
      const left = `${sessionFile(directory)}.tmp`
      Fs.writeFileSync(left, "half a sess")
      yield* use(directory, remove(1))
      assert.deepStrictEqual(filesIn(directory), [])
      Fs.writeFileSync(left, "half a sess")
      yield* use(directory, remove(0))
      assert.deepStrictEqual(filesIn(directory), [])
    }))

  it.effect("two processes that compare and set one session lose no update", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* Effect.all([run("counter", directory, "100"), run("counter", directory, "100")], { concurrency: 2 })
      assert.strictEqual(generationOf(yield* use(directory, get())), 200)
    }))

  it.effect("a sibling's save shows in changes, to each listener", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const heard: Array<string> = []
      yield* use(
        directory,
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          for (let listeners = 0; listeners < 2; listeners++) {
            yield* storage.changes.pipe(
              Stream.runForEach((changed) => Effect.sync(() => heard.push(changed.id))),
              Effect.forkScoped({ startImmediately: true })
            )
          }
          yield* Effect.sleep("100 millis")
          yield* run("counter", directory, "1")
          yield* Effect.suspend(() => heard.length >= 2 ? Effect.void : Effect.fail("silence")).pipe(
            Effect.retry({ schedule: Schedule.spaced("10 millis") })
          )
          assert.deepStrictEqual([...new Set(heard)], [key.id])
        })
      )
    }).pipe(Effect.scoped))

  it.effect("changes outlives the directory", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporary, "sessions")
      let heard = 0
      yield* use(
        directory,
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          yield* storage.changes.pipe(
            Stream.runForEach(() => Effect.sync(() => heard++)),
            Effect.forkScoped({ startImmediately: true })
          )
          const hear = Effect.suspend(() => heard > 0 ? Effect.void : Effect.fail("silence")).pipe(
            Effect.retry({ schedule: Schedule.spaced("10 millis") })
          )
          yield* Effect.sleep("100 millis")
          yield* put(1, 0)
          yield* hear
          Fs.rmSync(directory, { recursive: true })
          yield* Effect.sleep("100 millis")
          heard = 0
          yield* put(2, 0)
          yield* hear
          yield* Effect.sleep("2 seconds")
          heard = 0
          yield* put(3, 2)
          yield* hear
        })
      )
    }).pipe(Effect.scoped))
})
