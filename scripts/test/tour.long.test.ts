// The tour tells the truth: whatever goes wrong at the IAM, it says so and exits with a failure.
import { SimulatorApi } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Semaphore } from "effect"
import * as path from "node:path"
import { run } from "./run.ts"

const root = path.join(import.meta.dirname, "../..")
const main = path.join(root, "scripts/tour/main.ts")
const tour = (...flags: ReadonlyArray<string>) =>
  run(process.execPath, [main, ...flags], {
    // What is compiled once serves all: a third of the time that they take.
    env: { NODE_COMPILE_CACHE: path.join(root, "node_modules/.cache/tour") }
  })

// A tour is two or three processes which mostly wait. One that is to hold has its promises on time: it runs alone.
const turns = Semaphore.makeUnsafe(4)

describe("the tour", () => {
  it.live("exits with 0 when everything held", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* turns.withPermits(4)(tour())
      assert.strictEqual(code, 0, stdout + stderr)
      assert.include(stdout, "Everything held")
      assert.notInclude(stdout, "✗")
    }))

  // Where in the tour a route is asked for: only that part is played.
  const ofGenomcore = new Set<string>(["refresh", "echo", "jwks"])
  const cases = [
    ...SimulatorApi.Route.literals.map((route) => ({
      route,
      args: [ofGenomcore.has(route) ? "genomcore" : "datalayer", "--fail", `${route}:503:1`]
    })),
    ...["discovery", "authorization", "token", "jwks", "device", "revocation"].map((route) => ({
      route: `the provider's ${route}`,
      args: ["oidc", "--fail-provider", route]
    }))
  ]
  for (const { args, route } of cases) {
    it.live(`exits with a failure when ${route} fails once`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* turns.withPermit(tour(...args))
        assert.notStrictEqual(code, 0, stdout + stderr)
        assert.notInclude(stdout, "Everything held")
        assert.include(stderr, "The tour ended early")
        // for this reason, and no other
        assert.match(stdout + stderr, /\b503\b/)
      }))
  }

  it.live("has no part of another name", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* turns.withPermit(tour("saml"))
      assert.strictEqual(code, 1)
      assert.include(stderr, "datalayer, genomcore, oidc")
    }))
})
