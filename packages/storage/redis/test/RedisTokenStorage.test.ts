// The contracts against a real server, plain and encrypted; without one they are left out, loudly.
import { EncryptedTokenStorage, EncryptionKeys } from "@effect-authn/core"
import { RedisTokenStorage } from "@effect-authn/storage-redis"
import { DueSessionsSuite, PendingLoginsSuite, RedisServer, TokenStorageSuite } from "@effect-authn/testing"
import { NodeRedis } from "@effect/platform-node"
import { describe } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import { afterAll } from "vitest"

// one server for all programs, which a layer of each program would start again
const scope = Scope.makeUnsafe()
const server = RedisServer.isThere
  ? await Effect.runPromise(Scope.provide(RedisServer.make(), scope))
  : undefined
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

let number = 0

/** Sessions under a prefix of their own. */
const storage = (options?: RedisTokenStorage.Options) =>
  RedisTokenStorage.layer({ prefix: `test-${++number}`, ...options }).pipe(
    Layer.provide(NodeRedis.layer({ url: server?.url() ?? "" }))
  )

describe.runIf(RedisServer.isThere)("RedisTokenStorage", () => {
  TokenStorageSuite.suite("Redis", storage())
  TokenStorageSuite.suite(
    "Redis, encrypted",
    EncryptedTokenStorage.layer(storage()).pipe(
      Layer.provide(EncryptionKeys.layerPassphrase(Effect.succeed(Redacted.make("correct horse battery staple"))))
    )
  )
  DueSessionsSuite.suite("Redis", storage())
  DueSessionsSuite.suite("Redis, one partition", storage({ partitions: 1 }))
  PendingLoginsSuite.suite("Redis", storage())
})
