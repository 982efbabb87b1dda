// Writers that are killed, again and again: what the files hold then.
import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Random } from "effect"
import { start, temporary } from "./children.ts"
import { filesIn, generationOf, get, put, use } from "./files.ts"

const rounds = Number(process.env["EFFECT_AUTHN_ROUNDS"] ?? 50)

layer(NodeFileSystem.layer, { excludeTestServices: true })("FileTokenStorage", (it) => {
  it.effect(
    `killed at any moment, it leaves a whole session and at most one temporary file (${rounds} times)`,
    () =>
      Effect.gen(function*() {
        const directories = yield* Effect.all([temporary, temporary])
        let cutShort = 0
        yield* Effect.forEach(directories, (directory, index) =>
          Effect.gen(function*() {
            for (let round = index; round < rounds; round += 2) {
              const writer = yield* start("writer", directory)
              const reported = Number(yield* writer.line)
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 30))
              yield* writer.kill
              if (filesIn(directory).length > 1) cutShort += 1
              assert.isAtMost(filesIn(directory).length, 2)
              const stored = generationOf(yield* use(directory, get()))
              assert.isAtLeast(stored, reported)
            }
          }).pipe(Effect.scoped), { concurrency: 2 })
        // the kills met writers at work
        assert.isAbove(cutShort, 0)
        for (const directory of directories) {
          const stored = generationOf(yield* use(directory, get()))
          yield* use(directory, put(stored + 1, stored))
          assert.lengthOf(filesIn(directory), 1)
        }
      }),
    300_000 + rounds * 2_000
  )

  it.effect(
    "killed before or inside any call of the file system, it leaves the old session or the new one",
    () =>
      Effect.gen(function*() {
        const outcomes = yield* Effect.forEach(Array.from({ length: 13 }, (_, point) => point), (point) =>
          Effect.gen(function*() {
            const directory = yield* temporary
            yield* use(directory, put(1, 0))
            const child = yield* start("crasher", directory, String(point))
            const { code, stderr } = yield* child.ended
            assert.include([0, null], code, stderr)
            const stored = generationOf(yield* use(directory, get()))
            yield* use(directory, put(stored + 1, stored))
            assert.lengthOf(filesIn(directory), 1)
            return { killed: code === null, stored }
          }), { concurrency: 2 })
        const killed = outcomes.filter((outcome) =>
          outcome.killed
        ).map((outcome) =>
          outcome.stored
        )
        assert.deepStrictEqual(killed, killed.toSorted((one, two) => one - two))
        assert.deepStrictEqual([...new Set(killed)], [1, 2])
        assert.isFalse(outcomes.at(-1)!.killed, "points after the last call")
      })
  )
})
