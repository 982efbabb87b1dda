import { AuthManager } from "@effect-authn/core"
import { OidcProvider } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { age, expired, filed, login, renewer, tokenOf } from "./fixtures.ts"

// In the soak, what is a matter of luck is played more often.
const rounds = process.env["EFFECT_AUTHN_ROUNDS"] === undefined ? 1 : 3

describe("processes that share one expired session, under rotation", { concurrent: false }, () => {
  const isToken = (said: string) => said.length > 30

  const play = (count: number, lock?: "unlocked") =>
    Effect.gen(function*() {
      const directory = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
      const { errors, issuer, proxy } = yield* OidcProvider.OidcProvider
      const program = filed(directory)
      yield* Effect.provide(login, program)
      const children = yield* Effect.all(
        Array.from(
          { length: count },
          () => renewer(directory, { lock, environment: { AUTHN_ISSUER: issuer, AUTHN_CLIENT_ID: "cli" } })
        )
      )
      for (const { ready } of children) assert.strictEqual(yield* ready, "ready")
      // By a program that has not opened the session, or it would renew at once what it sees to be due.
      const before = yield* Effect.provide(age(expired), program)
      yield* proxy.forget
      // So that they do meet, also on a busy machine.
      yield* proxy.setKnobs({ latency: "3 seconds" })
      const said = yield* Effect.forEach(children, ({ tell }) => tell("token"), { concurrency: "unbounded" })
      assert.notInclude(said, tokenOf(before))
      assert.notInclude(said, "the process ended")
      const asked = (yield* proxy.ledger).filter(({ grant }) => grant === "refresh_token")
      const refreshed = yield* Effect.flatMap(AuthManager.AuthManager, (auth) => Effect.result(auth.refresh())).pipe(
        Effect.provide(program)
      )
      return {
        requests: asked.length,
        refused: asked.filter(({ status }) => status === 400).length,
        tokens: new Set(said.filter(isToken)).size,
        failures: said.filter((text) => !isToken(text)).length,
        isAlive: refreshed._tag === "Success",
        errors: yield* errors
      }
    }).pipe(Effect.scoped, Effect.provide([Layer.fresh(OidcProvider.layer()), NodeFileSystem.layer]))

  it.live("send one request, when they are sixteen, and all get its token", () =>
    Effect.gen(function*() {
      for (let round = 1; round <= rounds; round++) {
        assert.deepStrictEqual(yield* play(16), {
          requests: 1,
          refused: 0,
          tokens: 1,
          failures: 0,
          isAlive: true,
          errors: []
        })
      }
    }))

  it.live(
    "show that it is the lock: without it, the provider sees a refresh token again, and revokes the grant",
    () =>
      Effect.gen(function*() {
        for (let round = 1; round <= rounds; round++) {
          const seen = yield* play(4, "unlocked")
          assert.isAbove(seen.requests, 1)
          assert.isAbove(seen.refused, 0)
          assert.isFalse(seen.isAlive)
        }
      })
  )
})
