import { TokenStorage } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Option, PlatformError, References, Result } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { start, temporary } from "./children.ts"
import { key, keyOf, sessionOf } from "./children/fixture.ts"
import { filesIn, generationOf, get, put, reason, remove, sessionFile, use } from "./files.ts"

// The session's file with other content, as something else than this library could have written it.
const withContent = (directory: string, content: string) =>
  Effect.gen(function*() {
    yield* use(directory, put(1, 0))
    const path = sessionFile(directory)
    Fs.writeFileSync(path, content)
    return path
  })

const errno = (code: string, number: number) =>
  PlatformError.systemError({
    _tag: code === "EBUSY" ? "Busy" : "Unknown",
    module: "FileSystem",
    method: "test",
    cause: Object.assign(new Error(code), { code, errno: number })
  })

const useOver = <A, E>(
  directory: string,
  change: (fs: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>,
  effect: Effect.Effect<A, E, TokenStorage.TokenStorage>
) =>
  Effect.provide(
    effect,
    FileTokenStorage.layerNoDeps({ directory }).pipe(
      Layer.provide(Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (fs) => FileSystem.FileSystem.of({ ...fs, ...change(fs) }))
      )),
      Layer.provide(NodeFileSystem.layer)
    )
  )

layer(NodeFileSystem.layer, { excludeTestServices: true })("FileTokenStorage, failing", (it) => {
  for (
    const [what, content] of [
      ["truncated", TokenStorage.encode(sessionOf(1)).slice(0, 200)],
      ["empty", ""],
      ["not JSON", "hello"],
      ["of another shape", "{\"version\":1,\"session\":{}}"],
      ["another key's", TokenStorage.encode(sessionOf(1, keyOf("bob")))]
    ] as const
  ) {
    it.effect(`a file that is ${what} is moved aside once, and then there is no session`, () =>
      Effect.gen(function*() {
        const directory = yield* temporary
        const path = yield* withContent(directory, content)
        const error = yield* Effect.flip(use(directory, get()))
        const quarantine = error.reason._tag === "StorageCorrupt"
          ? error.reason.quarantine!
          : assert.fail(error.message)
        assert.isTrue(quarantine.startsWith(`${path}.corrupt-`))
        assert.include(error.message, quarantine)
        assert.strictEqual(Fs.readFileSync(quarantine, "utf8"), content)
        assert.isTrue(Option.isNone(yield* use(directory, get())))
        yield* use(directory, put(5, 0))
        assert.strictEqual(generationOf(yield* use(directory, get())), 5)
      }))
  }

  it.effect("put keeps what is damaged and counts it as absent, remove takes it along", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, put(1, 0, keyOf("another")))
      const others = `${sessionFile(directory, keyOf("another"))}.corrupt-1700000000000`
      Fs.writeFileSync(others, "another's")
      const path = yield* withContent(directory, "damaged")
      yield* use(directory, put(5, 0))
      assert.strictEqual(generationOf(yield* use(directory, get())), 5)
      const kept = filesIn(directory).find((name) => name.startsWith(`${Path.basename(path)}.corrupt-`))
      assert.strictEqual(Fs.readFileSync(Path.join(directory, kept!), "utf8"), "damaged")
      Fs.writeFileSync(path, "damaged again")
      yield* use(directory, remove(5))
      assert.isFalse(filesIn(directory).some((name) => name.startsWith(Path.basename(path))))
      // also where nothing else is left
      Fs.writeFileSync(`${path}.corrupt-1700000000000`, "damaged")
      yield* use(directory, remove(0))
      assert.isFalse(Fs.existsSync(`${path}.corrupt-1700000000000`))
      assert.isTrue(Fs.existsSync(others))
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))

  it.effect("a session of a newer version is not read, moved, overwritten or removed", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const content = "{\"version\":7,\"session\":{\"of\":\"tomorrow\"}}"
      const path = yield* withContent(directory, content)
      for (const attempt of [Effect.asVoid(get()), put(2, 1), put(2, 0), remove(1), remove(0)]) {
        const error = yield* use(directory, Effect.flip(attempt))
        assert.strictEqual(reason(error), "StorageNewerVersion")
        assert.include(error.message, path)
        assert.match(error.message, /version 7.*version 2/)
      }
      assert.deepStrictEqual(filesIn(directory), [Path.basename(path)])
      assert.strictEqual(Fs.readFileSync(path, "utf8"), content)
    }))

  it.effect("keys skips what is no session of this version", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, put(1, 0))
      Fs.writeFileSync(Path.join(directory, "notes.json"), "{}")
      Fs.writeFileSync(Path.join(directory, "newer.json"), "{\"version\":7}")
      Fs.copyFileSync(sessionFile(directory), Path.join(directory, "copy.json"))
      const keys = yield* use(directory, Effect.flatMap(TokenStorage.TokenStorage, (storage) => storage.keys))
      assert.deepStrictEqual(keys.map((_) => _.id), [key.id])
    }))

  it.effect("a file in place of the directory is named, with what to do", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporary, "sessions")
      Fs.writeFileSync(directory, "")
      for (const attempt of [Effect.asVoid(get()), put(1, 0), remove(1)]) {
        const error = yield* use(directory, Effect.flip(attempt))
        assert.strictEqual(reason(error), "StorageUnavailable")
        assert.include(error.message, directory)
        assert.match(error.message, /not a directory \(ENOTDIR\); move the file/)
      }
    }))

  it.effect.skipIf(process.platform === "win32")(
    "where nothing can be written, a session can be read, and the rest says why not",
    () =>
      Effect.gen(function*() {
        const directory = yield* temporary
        yield* use(directory, put(1, 0))
        yield* use(directory, put(1, 0, keyOf("corrupt")))
        const corrupt = filesIn(directory).find((name) => name.includes("-corrupt-"))!
        Fs.writeFileSync(Path.join(directory, corrupt), "damaged")
        for (const name of filesIn(directory)) Fs.chmodSync(Path.join(directory, name), 0o444)
        Fs.chmodSync(Path.join(directory, "locks"), 0o555)
        Fs.chmodSync(directory, 0o555)
        const child = yield* start("stranger", directory)
        const outcomes = JSON.parse(yield* child.line)
        Fs.chmodSync(directory, 0o755)
        assert.strictEqual(outcomes.get, "fine")
        assert.strictEqual(outcomes.removeNothing, "fine")
        assert.match(outcomes.corrupt, /damaged: .* sign in again/)
        assert.notInclude(outcomes.corrupt, "moved")
        for (const outcome of [outcomes.put, outcomes.lock]) {
          assert.include(outcome, directory)
          assert.match(outcome, /permission denied \(EACCES\); give yourself access/)
        }
      }).pipe(Effect.scoped)
  )

  it.effect("a full disk leaves the old session, no rest, and an error that says so", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* use(directory, put(1, 0))
      const error = yield* useOver(directory, (fs) => ({
        open: (path, options) =>
          Effect.map(fs.open(path, options), (file) =>
            new Proxy(file, {
              get: (target, member) =>
                member === "writeAll"
                  ? (bytes: Uint8Array) =>
                    Effect.andThen(target.writeAll(bytes.subarray(0, 10)), Effect.fail(errno("ENOSPC", -28)))
                  : Reflect.get(target, member)
            }))
      }), Effect.flip(put(2, 1)))
      assert.strictEqual(reason(error), "StorageUnavailable")
      assert.include(error.message, `${sessionFile(directory)}: no space left on device (ENOSPC); free some space`)
      assert.strictEqual(generationOf(yield* use(directory, get())), 1)
      assert.lengthOf(filesIn(directory), 1)
    }))

  it.effect("whatever step fails: what says that it was not written was not, and only the decisive step leaves a doubt", () =>
    Effect.gen(function*() {
      const failure = errno("EIO", -5)
      const faults: ReadonlyArray<readonly [string, (fs: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>]> = [
        ["open", () => ({ open: () => Effect.fail(failure) })],
        ["chmod", () => ({ chmod: () => Effect.fail(failure) })],
        ["remove", () => ({ remove: () => Effect.fail(failure) })],
        ["read", () => ({ readFileString: () => Effect.fail(failure) })],
        ["rename", () => ({ rename: () => Effect.fail(failure) })],
        ["rename, done", (fs) => ({ rename: (from, to) => Effect.andThen(fs.rename(from, to), Effect.fail(failure)) })],
        ["remove, done", (fs) => ({
          remove: (path, options) =>
            path.endsWith(".json")
              ? Effect.andThen(fs.remove(path, options), Effect.fail(failure))
              : fs.remove(path, options)
        })]
      ]
      const outcomes: Array<string> = []
      for (const [step, fault] of faults) {
        for (const [method, attempt, next] of [["put", put(2, 1), 2], ["remove", remove(1), 0]] as const) {
          const directory = yield* temporary
          yield* use(directory, put(1, 0))
          const outcome = yield* useOver(directory, fault, Effect.result(attempt))
          const found = generationOf(yield* use(directory, get()))
          if (Result.isSuccess(outcome)) {
            assert.strictEqual(found, next, `${method}, ${step}`)
            continue
          }
          const { written } = outcome.failure
          outcomes.push(`${method}, ${step}: ${written}, ${found === 1 ? "not written" : "written"}`)
          if (written === "no") assert.strictEqual(found, 1, `${method}, ${step}`)
        }
      }
      assert.deepStrictEqual(outcomes, [
        "put, open: no, not written",
        "put, chmod: no, not written",
        "put, remove: no, not written",
        "remove, remove: no, not written",
        "put, read: no, not written",
        "remove, read: no, not written",
        "put, rename: maybe, not written",
        "put, rename, done: maybe, written",
        "remove, remove, done: maybe, written"
      ])
    }))

  it.effect("a disk that is really full", (context) =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const mount = ChildProcess.spawnSync("mount", ["-t", "tmpfs", "-o", "size=16k,mode=700", "none", directory])
      context.skip(mount.status !== 0, "cannot mount a small disk here")
      yield* Effect.addFinalizer(() => Effect.sync(() => ChildProcess.spawnSync("umount", [directory])))
      yield* use(directory, put(1, 0))
      Fs.writeFileSync(Path.join(directory, "filler"), "")
      const fill = () => Fs.appendFileSync(Path.join(directory, "filler"), "x".repeat(1024))
      yield* Effect.try(fill).pipe(Effect.forever, Effect.ignore)
      const full = yield* Effect.flip(use(directory, put(2, 1)))
      assert.match(full.message, /no space left on device \(ENOSPC\); free some space/)
      assert.strictEqual(generationOf(yield* use(directory, get())), 1)
    }).pipe(Effect.scoped))

  it.effect("a file that another program has in its hands is tried again", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      let refusals = 3
      yield* useOver(directory, (fs) => ({
        rename: (from, to) =>
          Effect.suspend(() => refusals-- > 0 ? Effect.fail(errno("EBUSY", -16)) : fs.rename(from, to))
      }), put(1, 0))
      assert.isAtMost(refusals, 0)
      assert.strictEqual(generationOf(yield* use(directory, get())), 1)
    }))
})
