// Servers that others wrote, as npm brings them. They sign nothing: a restart has no keys to change.
import { AuthManager, BackgroundSleep } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { FileTokenStorage, NodeCallbackServer } from "@effect-authn/platform-node"
import { ScriptedUserAgent } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { age, expired, login, person, program, renewer, tokenOf } from "./fixtures.ts"
import { cloudflare, nodeOauth, run } from "./realProviders.ts"

const scopes = ["read"]

// One after the other: each starts a dozen programs.
describe("a server that others wrote", { concurrent: false }, () => {
  for (const kind of [nodeOauth, cloudflare]) {
    it.live(
      `${kind.name}: a login, twelve programs at the expiry, a restart, a refresh token again, a logout`,
      () =>
        Effect.gen(function*() {
          const files = yield* FileSystem.FileSystem
          const directory = yield* files.makeTempDirectoryScoped()
          const copy = yield* files.makeTempDirectoryScoped()
          const server = yield* run(kind)
          const { clientId, issuer } = server
          const environment = { AUTHN_ISSUER: issuer, AUTHN_CLIENT_ID: clientId, AUTHN_SCOPE: scopes.join(" ") }
          const over = (directory: string) =>
            Layer.fresh(program).pipe(
              Layer.provide(Layer.succeed(BackgroundSleep.BackgroundSleep, () => Effect.never)),
              Layer.provideMerge(Layer.provide(OidcIam.layer({ issuer, clientId, scopes }), FetchHttpClient.layer)),
              Layer.provideMerge(Layer.mergeAll(
                FileTokenStorage.layer({ directory }),
                NodeCallbackServer.layer(),
                ScriptedUserAgent.layerBrowser({}),
                person
              ))
            )
          const own = over(directory)
          const refused = Effect.map(
            Effect.flip(Effect.flatMap(AuthManager.AuthManager, (auth) => auth.token)),
            ({ _tag }) => _tag
          )
          yield* Effect.provide(login, own)
          const before = yield* Effect.provide(age(expired), own)
          yield* files.copy(directory, copy, { overwrite: true })

          server.delay(3000)
          const children = yield* Effect.all(Array.from({ length: 12 }, () => renewer(directory, { environment })))
          for (const { ready } of children) assert.strictEqual(yield* ready, "ready")
          const said = yield* Effect.forEach(children, ({ tell }) => tell("token"), { concurrency: "unbounded" })
          assert.strictEqual(new Set(said).size, 1)
          assert.isAbove(said[0]?.length ?? 0, 30)
          assert.notStrictEqual(said[0], tokenOf(before))
          assert.lengthOf(server.renewals, 1)

          server.delay(0)
          yield* server.restart
          yield* Effect.provide(age(expired), own)
          const next = yield* renewer(directory, { environment })
          assert.strictEqual(yield* next.ready, "ready")
          const renewed = yield* next.tell("token")
          assert.isAbove(renewed.length, 30)
          assert.notInclude(said, renewed)
          assert.strictEqual(new Set(server.renewals).size, 2)

          // Another machine's copy, with the first refresh token: it is sent once, and ends there alone.
          assert.deepStrictEqual(yield* Effect.provide(Effect.all([refused, refused]), over(copy)), [
            "ReauthenticationRequired",
            "ReauthenticationRequired"
          ])
          assert.strictEqual(server.renewals[2], server.renewals[0])
          assert.lengthOf(server.renewals, 3)

          assert.strictEqual(yield* next.tell("token"), renewed)
          assert.strictEqual(yield* next.tell("logout"), kind.farewell)
          assert.strictEqual(yield* Effect.provide(refused, own), "NotAuthenticated")
          assert.lengthOf(server.renewals, 3)
        }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))
    )
  }
})
