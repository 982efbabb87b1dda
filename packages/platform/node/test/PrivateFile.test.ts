import { SessionLock } from "@effect-authn/core"
import { FileTokenStorage, NodeSqlite, PrivateFile } from "@effect-authn/platform-node"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Result } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { temporary } from "./children.ts"
import { key } from "./children/fixture.ts"
import { generationOf, get, modeOf, put, remove, sessionFile, use } from "./files.ts"

const lock = Effect.flatMap(SessionLock.SessionLock, ({ withLock }) => withLock(key, "renew")(Effect.void))

const messageOf = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onFailure: ({ message }) => message, onSuccess: () => "it went well" })

/** What each operation says, and that all of them say it. */
const refusals = (directory: string) =>
  use(
    directory,
    Effect.all([messageOf(get()), messageOf(put(2, 1)), messageOf(remove(1))])
  )

/** A directory with a session of generation 1 in it. */
const signedIn = Effect.gen(function*() {
  const directory = Path.join(yield* temporary, "sessions")
  yield* use(directory, put(1, 0))
  return { directory, file: sessionFile(directory) }
})

const make = (program: string, ...args: ReadonlyArray<string>) => ChildProcess.spawnSync(program, args).status === 0

const nobody = 65_534
const isRoot = process.geteuid?.() === 0

layer(NodeFileSystem.layer, { excludeTestServices: true })("PrivateFile", (it) => {
  for (
    const [what, link] of [
      ["a link", (path: string, target: string) => Fs.symlinkSync(target, path)],
      ["a link that is relative, to a link", (path: string, target: string) => {
        const between = Path.join(Path.dirname(target), "between")
        Fs.symlinkSync(Path.basename(target), between)
        Fs.symlinkSync(Path.relative(Path.dirname(path), between), path)
      }]
    ] as const
  ) {
    it.effect(`${what} of the user's own is written through, and stays`, () =>
      Effect.gen(function*() {
        const { directory, file } = yield* signedIn
        const target = Path.join(yield* temporary, "elsewhere.json")
        Fs.renameSync(file, target)
        link(file, target)
        yield* use(directory, put(2, 1))
        assert.isTrue(Fs.lstatSync(file).isSymbolicLink())
        assert.isTrue(Fs.lstatSync(target).isFile())
        assert.strictEqual(modeOf(target), "600")
        assert.include(Fs.readFileSync(target, "utf8"), "\"generation\":2")

        // what is damaged lies beside the target, and the link is written through again
        Fs.writeFileSync(target, "damaged")
        assert.include((yield* Effect.flip(use(directory, get()))).message, `${target}.corrupt-`)
        yield* use(directory, put(3, 0))
        assert.strictEqual(generationOf(yield* use(directory, get())), 3)
        yield* use(directory, remove(3))
        assert.isFalse(Fs.readdirSync(Path.dirname(target)).some((name) => name.startsWith("elsewhere.json")))
      }))
  }

  it.effect.runIf(process.platform === "linux")(
    "a place where nothing can be made is told of, and not tried for ever",
    () =>
      Effect.gen(function*() {
        assert.include(
          (yield* Effect.flip(use("/proc/effect-authn/sessions", put(1, 0)))).message,
          "no such file or directory"
        )
      })
  )

  it.effect("a link to the directory is followed", () =>
    Effect.gen(function*() {
      const { directory } = yield* signedIn
      const link = Path.join(yield* temporary, "link")
      Fs.symlinkSync(directory, link)
      yield* use(link, put(2, 1))
      assert.strictEqual(generationOf(yield* use(directory, get())), 2)
    }))

  it.effect("links that lead to each other are refused", () =>
    Effect.gen(function*() {
      const { directory, file } = yield* signedIn
      const other = Path.join(directory, "other")
      Fs.renameSync(file, other)
      Fs.rmSync(other)
      Fs.symlinkSync(other, file)
      Fs.symlinkSync(file, other)
      for (const said of yield* refusals(directory)) assert.match(said, /links that lead to each other; remove them/)
    }))

  for (
    const [what, says, place] of [
      ["a pipe", /a pipe is in the way of a file; move it away/, (path: string) => make("mkfifo", path)],
      ["a directory", /a directory is in the way of a file; move it away/, (path: string) => make("mkdir", path)],
      [
        "a device",
        /a device is in the way of a file; move it away/,
        (path: string) => make("mknod", path, "c", "1", "5")
      ],
      [
        "a link to a device",
        /\/dev\/zero: a device is in the way/,
        (path: string) => make("ln", "-s", "/dev/zero", path)
      ],
      ["a file of 700 MB", /larger than 16 MiB \(734003200 bytes\).*move it away/, (path: string) => {
        Fs.writeFileSync(path, "{", { mode: 0o600 })
        Fs.truncateSync(path, 700 * 1024 * 1024)
        return true
      }],
      ["a file that others can write", /others can write it \(mode 666\).*chmod go= /, (path: string) => {
        Fs.writeFileSync(path, "{}")
        Fs.chmodSync(path, 0o666)
        return true
      }],
      ["another user's file", /it belongs to another user \(uid 65534\).*chown/, (path: string) => {
        Fs.writeFileSync(path, "{}", { mode: 0o600 })
        Fs.chownSync(path, nobody, nobody)
        return true
      }],
      ["another user's link", /it belongs to another user \(uid 65534\).*chown/, (path: string) => {
        Fs.writeFileSync(`${path}.target`, "{}", { mode: 0o600 })
        Fs.symlinkSync(`${path}.target`, path)
        Fs.lchownSync(path, nobody, nobody)
        return true
      }],
      [
        "a link to where others can write",
        /others can write there \(mode 1777\)|others can write there \(mode 777\)/,
        (path: string) => {
          const open = Path.join(Path.dirname(path), "open")
          Fs.mkdirSync(open)
          Fs.chmodSync(open, 0o777)
          Fs.symlinkSync(Path.join(open, "session.json"), path)
          return true
        }
      ]
    ] as const
  ) {
    it.effect.skipIf(process.platform === "win32" || (!isRoot && /another user|a device$/.test(what)))(
      `${what} in the place of a session is refused, and left`,
      () =>
        Effect.gen(function*() {
          const { directory, file } = yield* signedIn
          Fs.rmSync(file)
          assert.isTrue(place(file))
          const before = Fs.lstatSync(file)
          for (const said of yield* refusals(directory)) assert.match(said, says)
          const { ino, mode, size } = Fs.lstatSync(file)
          assert.deepStrictEqual({ ino, mode, size }, { ino: before.ino, mode: before.mode, size: before.size })
          // the sessions of others are found all the same
          assert.deepStrictEqual(
            yield* use(
              directory,
              FileTokenStorage.make({ directory }).pipe(
                Effect.flatMap(({ keys }) => keys)
              )
            ),
            []
          )
        })
    )
  }

  for (const mode of [0o777, 0o770, 0o702, 0o1777]) {
    it.effect.skipIf(process.platform === "win32")(
      `a directory of mode ${mode.toString(8)} is refused, and so are its locks`,
      () =>
        Effect.gen(function*() {
          const { directory, file } = yield* signedIn
          const before = Fs.readFileSync(file, "utf8")
          Fs.chmodSync(directory, mode)
          const says = new RegExp(`others can write there \\(mode ${mode.toString(8)}\\).*chmod -R go= ${directory}`)
          for (const said of yield* refusals(directory)) assert.match(said, says)
          assert.match(yield* messageOf(use(directory, lock)), says)
          Fs.chmodSync(directory, 0o700)
          assert.strictEqual(Fs.readFileSync(file, "utf8"), before)

          const locks = Path.join(directory, "locks")
          Fs.chmodSync(locks, mode)
          assert.include(yield* messageOf(use(directory, lock)), `chmod -R go= ${locks}`)
          assert.include(yield* messageOf(use(directory, put(2, 1))), `chmod -R go= ${locks}`)
          Fs.chmodSync(locks, 0o700)

          // the directory of the program, above that of the sessions
          const data = Path.join(yield* temporary, "effect-authn")
          const sessions = Path.join(data, "sessions")
          yield* use(sessions, put(1, 0))
          Fs.chmodSync(data, mode)
          for (const said of yield* refusals(sessions)) assert.include(said, `chmod -R go= ${data}`)
        })
    )
  }

  it.effect.skipIf(!isRoot)("another user's directory is refused", () =>
    Effect.gen(function*() {
      const { directory } = yield* signedIn
      Fs.chownSync(directory, nobody, nobody)
      for (const said of yield* refusals(directory)) assert.match(said, /belongs to another user \(uid 65534\)/)
      assert.match(yield* messageOf(use(directory, lock)), /belongs to another user \(uid 65534\)/)
    }))

  it.effect.skipIf(process.platform === "win32")(
    "a lock that a process left readable when it died is nobody else's to hold",
    () =>
      Effect.gen(function*() {
        const { directory } = yield* signedIn
        yield* use(directory, lock)
        const locks = Path.join(directory, "locks")
        const files = Fs.readdirSync(locks).map((name) => Path.join(locks, name))
        for (const file of files) Fs.chmodSync(file, 0o644)
        yield* use(directory, lock)
        yield* use(directory, put(2, 1))
        assert.deepStrictEqual(files.map(modeOf), ["600", "600"])
      })
  )

  it.effect.skipIf(process.platform === "win32")(
    "no lock touches what a link in its place leads to",
    () =>
      Effect.gen(function*() {
        const { directory } = yield* signedIn
        yield* use(directory, lock)
        const victim = Path.join(yield* temporary, "victim")
        Fs.writeFileSync(victim, "precious", { mode: 0o644 })
        const locks = Path.join(directory, "locks")
        const files = Fs.readdirSync(locks).map((name) => Path.join(locks, name))
        assert.lengthOf(files, 2)
        for (const file of files) Fs.symlinkSync(victim, `${file}.holder`)
        yield* use(directory, lock)
        assert.strictEqual(Fs.readFileSync(victim, "utf8"), "precious")
        for (const file of files) {
          Fs.rmSync(file)
          Fs.symlinkSync(victim, file)
        }
        assert.match(yield* messageOf(use(directory, lock)), /a link is in the way of a file; remove it/)
        assert.match(yield* messageOf(use(directory, put(2, 1))), /a link is in the way of a file; remove it/)
        assert.deepStrictEqual([Fs.readFileSync(victim, "utf8"), modeOf(victim)], ["precious", "644"])
      })
  )

  it.effect.skipIf(process.platform === "win32")(
    "pipes in the place of a lock and of its holder hang nobody",
    () =>
      Effect.gen(function*() {
        const { directory } = yield* signedIn
        yield* use(directory, lock)
        const locks = Path.join(directory, "locks")
        const file = Fs.readdirSync(locks).find((name) => name.endsWith(".renew.lock"))!
        assert.isTrue(make("mkfifo", Path.join(locks, `${file}.holder`)))
        yield* use(directory, lock)
        Fs.rmSync(Path.join(locks, file))
        assert.isTrue(make("mkfifo", Path.join(locks, file)))
        assert.match(yield* messageOf(use(directory, lock)), /a pipe is in the way of a file/)
      })
  )

  it.effect.skipIf(process.platform === "win32")(
    "a database is opened by the same rules",
    () =>
      Effect.gen(function*() {
        const directory = yield* temporary
        const open = (filename: string) => messageOf(Effect.scoped(Layer.build(NodeSqlite.layer({ filename }))))
        const filename = Path.join(directory, "sessions.sqlite")
        Fs.symlinkSync(Path.join(directory, "real.sqlite"), filename)
        assert.strictEqual(yield* open(filename), "it went well")
        assert.strictEqual(modeOf(Path.join(directory, "real.sqlite")), "600")
        assert.isTrue(Fs.lstatSync(filename).isSymbolicLink())

        const pipe = Path.join(directory, "pipe.sqlite")
        assert.isTrue(make("mkfifo", pipe))
        assert.match(yield* open(pipe), /a pipe is in the way of a file; move it away/)
        Fs.chmodSync(filename, 0o666)
        assert.match(yield* open(filename), /real\.sqlite: others can write it \(mode 666\)/)
        Fs.chmodSync(filename, 0o600)
        Fs.chmodSync(directory, 0o777)
        assert.match(yield* open(filename), /others can write there \(mode 777\)/)
      })
  )

  it.effect("what is not there is nothing, and no failure", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* temporary, "a", "b")
      assert.deepStrictEqual(yield* PrivateFile.read(path), Option.none())
      assert.deepStrictEqual(yield* PrivateFile.asides(path), [])
      assert.isTrue(Result.isSuccess(yield* Effect.result(PrivateFile.checkDirectory(path))))
    }))
})
