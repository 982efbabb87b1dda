import { assert, describe, inject, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
// The command has no library of its own to import from.
// @ts-expect-error TS2878: the tests' project emits nothing
import * as Authn from "../src/Authn.ts"
import { home } from "./authn.ts"

describe("authn --help, the short way", () => {
  it.live("says what the long way says, of every command", () =>
    Effect.gen(function*() {
      const own = yield* home
      const file = path.join(path.dirname(inject("bundle")), "help.json")
      const { withSimulator } = JSON.parse(fs.readFileSync(file, "utf8"))
      const paths = Authn.paths()
      assert.deepStrictEqual(Object.keys(withSimulator), paths.map((words) => words.join(" ")))
      assert.isAtLeast(paths.length, 20)
      for (const words of paths) {
        const { stdout } = yield* own.run([...words, "--help"])
        assert.strictEqual(withSimulator[words.join(" ")].plain, stdout, words.join(" "))
      }
      const started = yield* own.spawn(["login", "--help"])
      assert.deepStrictEqual([started.stdout, started.stderr, started.code], [withSimulator.login.plain, "", 0])
    }).pipe(Effect.scoped))
})
