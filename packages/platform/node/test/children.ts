import { TestProcess } from "@effect-authn/testing"
import { assert } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import * as Path from "node:path"

/** A process of its own that runs one of the programs in `children/`. */
export const start = (program: string, ...args: ReadonlyArray<string>) =>
  TestProcess.start(Path.join(import.meta.dirname, "children", `${program}.ts`), args, {
    ...process.env,
    NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile")
  })

/** Runs a program of `children/` to its end, which has to be a good one. */
export const run = Effect.fnUntraced(function*(program: string, ...args: ReadonlyArray<string>) {
  const child = yield* start(program, ...args)
  const { code, stderr } = yield* child.ended
  assert.strictEqual(code, 0, stderr)
}, Effect.scoped)

export const temporary = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
