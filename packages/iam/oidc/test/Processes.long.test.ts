import { OidcProvider } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { grants } from "./fixtures.ts"

const program = join(import.meta.dirname, "children", "signer.ts")

const start = (directory: string, issuer: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [program, directory, issuer])),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => ({
      ready: once(child.stdout, "data"),
      go: Effect.sync(() => child.stdin.end("go\n")),
      outcome: Promise.all([text(child.stdout), text(child.stderr)])
    })
  )

it.live(
  "three programs that sign in at once open one browser, and share its session; also when one was there",
  () =>
    Effect.gen(function*() {
      const directory = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
      const { issuer } = yield* OidcProvider.OidcProvider
      const seen = new Set<string>()
      for (const round of [1, 2]) {
        const programs = yield* Effect.all(Array.from({ length: 3 }, () => start(directory, issuer)))
        yield* Effect.promise(() => Promise.all(programs.map(({ ready }) => ready)))
        for (const { go } of programs) yield* go
        const outcomes = yield* Effect.promise(() => Promise.all(programs.map(({ outcome }) => outcome)))
        assert.strictEqual(new Set(outcomes.map(([tokens]) => tokens)).size, 1)
        assert.strictEqual(outcomes.filter(([, told]) => told.includes("Your browser opens")).length, 1)
        assert.deepStrictEqual(yield* grants, Array.from({ length: round }, () => "authorization_code"))
        seen.add(outcomes[0]?.[0] ?? "")
      }
      assert.strictEqual(seen.size, 2)
    }).pipe(Effect.scoped, Effect.provide([OidcProvider.layer(), NodeFileSystem.layer]))
)
