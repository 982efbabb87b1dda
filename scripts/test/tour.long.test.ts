// The tour tells the truth: whatever goes wrong at the IAM, it says so and exits with a failure.
import { SimulatorApi } from "@effect-authn/testing"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Semaphore } from "effect"
import { TestConsole } from "effect/testing"
import * as path from "node:path"
import * as Terminal from "../tour/terminal.ts"
import { play, temporary } from "../tour/tour.ts"
import { run } from "./run.ts"

const main = path.join(import.meta.dirname, "../tour/main.ts")

/** The tour as it is typed. */
const tour = (...words: ReadonlyArray<string>) => run(process.execPath, [main, ...words])

/** The command in one file, packed once for all. */
class Packed
  extends Context.Service<Packed, { readonly authn: string }>()("effect-authn/scripts/test/tour.long.test/Packed")
{
  static readonly layer = Layer.effect(
    Packed,
    Effect.map(Effect.flatMap(temporary, Terminal.pack), (authn) => Packed.of({ authn }))
  )
}

/** The same in this process: whether it failed, and what it said. */
const played = (...words: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const { authn } = yield* Packed
    const exit = yield* Effect.exit(play(words, Effect.succeed(authn)))
    return {
      failed: Exit.isFailure(exit),
      stdout: (yield* TestConsole.logLines).join("\n"),
      stderr: (yield* TestConsole.errorLines).join("\n")
    }
  }).pipe(Effect.provide(Layer.fresh(TestConsole.layer)))

// A tour mostly waits. One that is to hold has its promises on time: it plays alone.
const turns = Semaphore.makeUnsafe(4)

layer(Packed.layer, { excludeTestServices: true })("the tour", (it) => {
  it.effect("exits with 0 when everything held", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* turns.withPermits(4)(tour())
      assert.strictEqual(code, 0, stdout + stderr)
      assert.include(stdout, "Everything held")
      assert.notInclude(stdout, "✗")
    }))

  it.effect("exits with a failure when a claim does not hold", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* turns.withPermit(tour("datalayer", "--fail", "login:503:1"))
      assert.strictEqual(code, 1, stdout + stderr)
      assert.notInclude(stdout, "Everything held")
      assert.include(stderr, "The tour ended early")
    }))

  // Where in the tour a route is asked for: only that part is played.
  const ofGenomcore = new Set<string>(["refresh", "echo", "jwks"])
  const cases = [
    ...SimulatorApi.Route.literals.map((route) => ({
      route,
      args: [ofGenomcore.has(route) ? "genomcore" : "datalayer", "--fail", `${route}:503:1`]
    })),
    ...["discovery", "authorization", "token", "device", "revocation"].map((route) => ({
      route: `the provider's ${route}`,
      args: ["oidc", "--fail-provider", route]
    }))
  ]
  for (const { args, route } of cases) {
    it.effect(`ends early when ${route} fails once`, () =>
      Effect.gen(function*() {
        const { failed, stderr, stdout } = yield* turns.withPermit(played(...args))
        assert.isTrue(failed, stdout + stderr)
        assert.include(stderr, "The tour ended early")
        // for this reason, and no other; a login whose code is sent again is one request too many on the ledger
        assert.match(
          stdout + stderr,
          route === "the provider's token" ? /✗ three logins at once opened one browser/ : /\b503\b/
        )
      }))
  }

  it.effect("goes on when the provider's keys fail once: a login asks for them again", () =>
    Effect.gen(function*() {
      const { failed, stderr, stdout } = yield* turns.withPermit(played("oidc", "--fail-provider", "jwks"))
      assert.isFalse(failed, stdout + stderr)
      assert.include(stdout, "503")
    }))

  it.effect("has no part of another name", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* turns.withPermit(tour("saml"))
      assert.strictEqual(code, 1)
      assert.include(stderr, "datalayer, genomcore, oidc")
    }))
})
