import { RedisTokenStorage } from "@effect-authn/storage-redis"
import { LeaseSuite, RedisServer } from "@effect-authn/testing"
import { NodeRedis } from "@effect/platform-node"
import { describe } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { afterAll } from "vitest"

// one server for all programs, which a layer of each program would start again
const scope = Scope.makeUnsafe()
const server = RedisServer.isThere
  ? await Effect.runPromise(Scope.provide(RedisServer.make(), scope))
  : undefined
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

describe.runIf(RedisServer.isThere)("RedisTokenStorage", () => {
  LeaseSuite.suite(
    "Redis",
    (lease) => RedisTokenStorage.layer({ lease }).pipe(Layer.provide(NodeRedis.layer({ url: server?.url() ?? "" })))
  )
})
