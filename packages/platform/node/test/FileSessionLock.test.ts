import { SessionLock } from "@effect-authn/core"
import { FileSessionLock } from "@effect-authn/platform-node"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, it, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { run, start, temporary } from "./children.ts"
import { key, keyOf } from "./children/fixture.ts"

const locked = <A, E, R>(
  directory: string,
  effect: Effect.Effect<A, E, R>,
  of = key,
  purpose: SessionLock.Purpose = "renew"
) =>
  Effect.flatMap(SessionLock.SessionLock, ({ withLock }) => withLock(of, purpose)(effect)).pipe(
    Effect.provide(FileSessionLock.layer({ directory }))
  )

layer(NodeFileSystem.layer, { excludeTestServices: true })("FileSessionLock", (it) => {
  it.effect("excludes between processes", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const counter = Path.join(directory, "counter")
      Fs.writeFileSync(counter, "0")
      yield* Effect.forEach([1, 2, 3], () => run("excluded", directory, "20"), { concurrency: 3 })
      assert.strictEqual(Fs.readFileSync(counter, "utf8"), "60")
    }))

  it.effect("excludes between two layers of one process", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      let inside = 0
      let most = 0
      const enter = Effect.gen(function*() {
        most = Math.max(most, ++inside)
        yield* Effect.sleep("20 millis")
        inside -= 1
      })
      yield* Effect.forEach([1, 2, 3], () => locked(directory, enter), { concurrency: 3 })
      assert.strictEqual(most, 1)
    }))

  it.effect("passes on when its holder is killed", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const holder = yield* start("holder", directory)
      yield* holder.line
      const waiting = yield* Effect.forkChild(locked(directory, Effect.void))
      yield* Effect.sleep("1 second")
      assert.isUndefined(waiting.pollUnsafe())
      yield* holder.kill
      yield* Fiber.join(waiting)
    }).pipe(Effect.scoped))

  it.effect("does not mind what a dead holder left, and other keys and purposes do not wait", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const holder = yield* start("holder", directory)
      yield* holder.line
      yield* locked(directory, Effect.void, keyOf("another"))
      yield* locked(directory, Effect.void, key, "login")
      yield* holder.kill
      yield* locked(directory, Effect.void)
      const left = Fs.readdirSync(Path.join(directory, "locks"))
      assert.deepStrictEqual(left.filter((name) => !name.endsWith(".lock")), [])
      assert.deepStrictEqual(
        left.map((name) => Fs.statSync(Path.join(directory, "locks", name)).size),
        left.map(() => 0)
      )
    }).pipe(Effect.scoped))

  it.effect("who waits can be interrupted at once", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const holder = yield* start("holder", directory)
      yield* holder.line
      const waiting = yield* Effect.forkChild(locked(directory, Effect.void))
      yield* Effect.sleep("100 millis")
      yield* Fiber.interrupt(waiting)
      yield* holder.kill
      yield* locked(directory, Effect.void)
    }).pipe(Effect.scoped))

  it.effect.skipIf(process.getuid?.() !== 0)(
    "names a lock file that belongs to somebody else",
    () =>
      Effect.gen(function*() {
        const directory = yield* temporary
        yield* locked(directory, Effect.void)
        for (const path of [directory, Path.join(directory, "locks")]) Fs.chownSync(path, 65534, 65534)
        const child = yield* start("stranger", directory)
        const { lock } = JSON.parse(yield* child.line)
        assert.match(lock, /\.renew\.lock: permission denied \(EACCES\); give yourself access/)
      }).pipe(Effect.scoped)
  )

  it.effect("names path and cause where there can be no lock", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporary, "file")
      Fs.writeFileSync(directory, "")
      const error = yield* Effect.flip(locked(directory, Effect.void))
      assert.include(error.message, directory)
      assert.match(error.message, /not a directory \(ENOTDIR\); move the file/)
    }))

  it.effect("names a lock file that is none", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* locked(directory, Effect.void)
      const [name] = Fs.readdirSync(Path.join(directory, "locks"))
      const path = Path.join(directory, "locks", name!)
      Fs.writeFileSync(path, "rubbish".repeat(200))
      const error = yield* Effect.flip(locked(directory, Effect.void))
      assert.include(error.message, `${path}: no lock on this file (file is not a database); remove it`)
    }))

  it.effect("a process with a lock, a listener and a nap open ends when it has nothing to do", () =>
    Effect.gen(function*() {
      const child = yield* start("idle", yield* temporary)
      let heard = 0
      while ((yield* child.line) !== "idle") heard += 1
      assert.isAbove(heard, 0)
      const { code, stderr } = yield* child.ended
      assert.strictEqual(code, 0)
      assert.strictEqual(stderr, "")
    }).pipe(Effect.scoped))
})

it.effect("who waits is told once, within a second, which process has the lock", () =>
  Effect.gen(function*() {
    const directory = yield* temporary
    const holder = yield* start("holder", directory, "authn login")
    yield* holder.line
    const told: Array<string> = []
    const waiting = yield* locked(directory, Effect.void).pipe(
      Effect.provideService(SessionLock.OnWait, ({ message }) => Effect.sync(() => told.push(message))),
      Effect.forkChild
    )
    const waitFor = Effect.andThen(TestClock.withLive(Effect.sleep("100 millis")))
    yield* TestClock.adjust("400 millis").pipe(waitFor)
    assert.deepStrictEqual(told, [])
    yield* TestClock.adjust("500 millis").pipe(waitFor)
    yield* TestClock.adjust("10 seconds").pipe(waitFor)
    assert.lengthOf(told, 1)
    assert.include(told[0], `authn login, process ${holder.pid} on `)
    yield* Fiber.interrupt(waiting)
  }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))

for (const [name, holds] of [["authn login", /authn login, process/], [undefined, /held by process/]] as const) {
  it.effect(`gives up after a minute and names the holder${name === undefined ? "" : `, ${name}`}`, () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const holder = yield* name === undefined ? start("holder", directory) : start("holder", directory, name)
      yield* holder.line
      const waiting = yield* locked(directory, Effect.void).pipe(
        Effect.flip,
        // as the keeper does when it writes what the IAM answered
        Effect.uninterruptible,
        Effect.forkChild
      )
      const waitFor = Effect.andThen(TestClock.withLive(Effect.sleep("100 millis")))
      yield* TestClock.adjust(0).pipe(waitFor)
      yield* TestClock.adjust("59 seconds").pipe(waitFor)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(waiting).pipe(TestClock.withLive)
      assert.match(error.message, holds)
      assert.include(error.message, `process ${holder.pid} on `)
      assert.match(error.message, /since \d{4}-.*: gave up after 1m/)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))
}
